//! What servers ask a front-end about the groups of its sessions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tokio::time::Instant;

use crate::error::{Fault, Result};
use crate::ids::{SessionId, Uid};
use crate::rpc::{RemoteService, decode_args, encode_result};
use crate::session::record::{Frontend, Record};

/// The name of the remote. Applications can't have one of this name: it is no identifier.
pub(crate) const SERVICE: &str = "@groups";
/// `(group, session, uid, time)`.
pub(crate) const JOIN: &str = "join";
/// `(group, session)`.
pub(crate) const LEAVE: &str = "leave";
/// `(group,)`.
pub(crate) const DESTROY: &str = "destroy";
/// `(group,) -> Members`.
pub(crate) const MEMBERS: &str = "members";
/// `(group,) -> number`.
pub(crate) const COUNT: &str = "count";

/// Each with its session, its uid, and by which revision it has it.
pub(crate) type Members = Vec<(SessionId, Uid, u64)>;

/// The groups of the sessions of one front-end.
pub(crate) struct OwnGroups(pub(crate) Arc<Frontend>);

impl RemoteService for OwnGroups {
    fn call(
        self: Arc<Self>,
        method: &str,
        args: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes>>> {
        let done = match method {
            JOIN => self.join(&args),
            LEAVE => self.leave(&args),
            DESTROY => self.destroy(&args),
            MEMBERS => self.members(&args),
            COUNT => self.count(&args),
            _ => return None,
        };
        Some(ready(done).boxed())
    }
}

impl OwnGroups {
    fn join(&self, args: &Bytes) -> Result<Bytes> {
        let (group, session, uid, time): (String, SessionId, Uid, Option<Duration>) =
            decode_args(args)?;
        let record = self.0.table.get(session);
        let record =
            record.ok_or_else(|| Fault::internal(format!("session {session} has ended")))?;
        // A time that has no end on this clock has none.
        let term = time.and_then(|time| Instant::now().checked_add(time));
        record.join(&group, &uid, term)?;
        encode_result(&())
    }

    fn leave(&self, args: &Bytes) -> Result<Bytes> {
        let (group, session): (String, SessionId) = decode_args(args)?;
        self.0.groups.leave(&group, session);
        encode_result(&())
    }

    fn destroy(&self, args: &Bytes) -> Result<Bytes> {
        let (group,): (String,) = decode_args(args)?;
        self.0.groups.destroy(&group);
        encode_result(&())
    }

    fn members(&self, args: &Bytes) -> Result<Bytes> {
        let (group,): (String,) = decode_args(args)?;
        let present = self.0.groups.members(&group).into_iter();
        let records = present.filter_map(|session| self.0.table.get(session));
        let member = |record: Arc<Record>| {
            let (uid, revision) =
                record.identity(|identity| (identity.uid.clone(), identity.revision));
            Some((record.id, uid?, revision))
        };
        let members: Members = records.filter_map(member).collect();
        encode_result(&members)
    }

    fn count(&self, args: &Bytes) -> Result<Bytes> {
        let (group,): (String,) = decode_args(args)?;
        encode_result(&self.0.groups.count(&group))
    }
}
