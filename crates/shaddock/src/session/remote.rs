//! What other servers ask of the sessions of this front-end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::mailbox::Order;
use super::record::Frontend;
use super::{Change, Unchanged};
use crate::error::Result;
use crate::ids::{ServerId, SessionId, Uid};
use crate::rpc::caller::Caller;
use crate::rpc::{RemoteService, decode_args, encode_result};
use crate::tasks::Tasks;

/// The name of the remote. Applications can't have one of this name: it is no identifier.
pub(crate) const SERVICE: &str = "@sessions";
/// Changes one session: `(SessionId, Change) -> Result<u64, Unchanged>`.
pub(crate) const CHANGE: &str = "change";
/// Kicks all sessions of a uid: `(uid, reason)`.
pub(crate) const KICK: &str = "kick";
/// Has the sessions of a uid find out whether they have it still: `(uid,)`.
pub(crate) const CONFIRM: &str = "confirm";
/// Says which of these have ended, or have another uid by now: `(Vec<(SessionId, uid)>,) -> Vec<SessionId>`.
pub(crate) const ENDED: &str = "ended";
/// Whether a session has claimed a uid, or is about to: `(SessionId, uid) -> bool`.
pub(crate) const HOLDS: &str = "holds";

/// Between two tries to tell a front-end something that it must know.
const AGAIN: Duration = Duration::from_secs(1);

/// Has the sessions of a uid at one front-end find out whether they have it still. Goes on until that is certain, or
/// the front-end is dead: then it does so by itself if it comes back.
pub(crate) fn have_confirmed(caller: &Caller, tasks: &Tasks, frontend: ServerId, uid: &str) {
    let (caller, uid) = (caller.clone(), uid.to_owned());
    tasks.spawn("claim", async move |stop| {
        let remote = caller.remote(&frontend, SERVICE, CONFIRM);
        while remote.call::<()>(&(&uid,)).await.is_err()
            && caller.node().members().get(&frontend).is_some()
            && stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_some()
        {}
    });
}

/// Does to the sessions here what other servers ask.
pub(crate) struct Sessions(pub(crate) Arc<Frontend>);

impl RemoteService for Sessions {
    fn call(
        self: Arc<Self>,
        method: &str,
        args: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes>>> {
        match method {
            CHANGE => Some(Box::pin(async move {
                let (id, change): (SessionId, Change) = decode_args(&args)?;
                let changed = match self.0.table.get(id) {
                    Some(record) => record.apply(change).await,
                    None => Err(Unchanged::Closed),
                };
                encode_result(&changed)
            })),
            KICK => Some(Box::pin(async move {
                let (uid, reason): (String, Option<String>) = decode_args(&args)?;
                for record in self.0.table.of_uid(&uid) {
                    // Of one that has gone meanwhile nothing is left to do.
                    let _ = record.apply(Change::Kick { reason: reason.clone() }).await;
                }
                encode_result(&())
            })),
            CONFIRM => Some(Box::pin(async move {
                let (uid,): (String,) = decode_args(&args)?;
                for record in self.0.table.of_uid(&uid) {
                    record.mailbox.order(Order::Confirm);
                }
                encode_result(&())
            })),
            HOLDS => Some(Box::pin(async move {
                let (session, uid): (SessionId, String) = decode_args(&args)?;
                encode_result(&self.0.holds(session, &uid))
            })),
            ENDED => Some(Box::pin(async move {
                let (members,): (Vec<(SessionId, Uid)>,) = decode_args(&args)?;
                encode_result(&self.0.table.ended(&members))
            })),
            _ => None,
        }
    }
}
