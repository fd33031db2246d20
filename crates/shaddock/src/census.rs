//! Members whose sessions have ended and nobody said so, found by asking their front-ends.
//!
//! Whoever leaves says so: by a close hook, mostly. When that message gets lost, or comes before the one that
//! let them in, a ghost stays. So each server asks now and then.
//!
//! Another kind of ghost has a session: what servers that were parted from each other handed over may be where its
//! front-end never took it for, and nobody takes it away there. That is seen where a channel is named by its key.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustc_hash::FxHashSet;
use shaddock_cluster::Boot;
use tokio::time::{Instant, interval_at};

use crate::handover;
use crate::ids::{Kind, ServerId, SessionId, Uid};
use crate::running::Core;
use crate::session::{Session, remote};

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// How many members a question is about.
const CHUNK: usize = 4096;

/// From now on asks the front-ends of the members of a server's channels.
pub(crate) fn take(core: &Arc<Core>) {
    let server = core.clone();
    core.tasks.spawn("census", async move |stop| {
        let mut tick = interval_at(Instant::now() + EVERY, EVERY);
        let (mut strangers, mut strays) = (FxHashSet::default(), FxHashSet::default());
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            strangers = ask(&server, &strangers);
            let Some(found) = stop.run_until_cancelled(find_strays(&server)).await else { break };
            // One that is found once may be about to be taken out.
            for Stray { frontend, channel, session } in found.intersection(&strays) {
                server.channels.forget_session(channel, frontend, *session);
            }
            strays = found;
        }
    });
}

/// A member of a channel that is named by a key, whose session has this key and sends its messages elsewhere.
#[derive(PartialEq, Eq, Hash)]
struct Stray {
    frontend: ServerId,
    channel: Arc<str>,
    session: SessionId,
}

/// Asks about those in channels that belong elsewhere, if what they are named by is a key.
async fn find_strays(core: &Arc<Core>) -> FxHashSet<Stray> {
    if core.definition.on_handover.is_none() {
        return FxHashSet::default();
    }
    let is_elsewhere =
        |name: &str| core.router.of_key(&core.kind, name).is_ok_and(|owner| owner != core.id);
    let members = core.channels.members_of(is_elsewhere);
    let chunks = members
        .iter()
        .flat_map(|(frontend, members)| members.chunks(CHUNK).map(move |chunk| (frontend, chunk)));
    let asked = chunks.map(async |(frontend, chunk)| {
        let caller = core.router.caller();
        let strays = caller.remote(frontend, handover::SERVICE, handover::STRAYS);
        // Who can't be asked now is asked the next time.
        let strays: Vec<usize> = strays.call(&(&core.kind, chunk)).await.unwrap_or_default();
        let strays = strays.into_iter().filter_map(|at| chunk.get(at)).cloned();
        strays
            .map(|(channel, session)| Stray { frontend: frontend.clone(), channel, session })
            .collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Which of these members of channels on the server `of` a kind send their messages to another server of it, by the key
/// that their channel is named by.
pub(crate) fn strays(
    core: &Core,
    of: Boot,
    kind: &Kind,
    members: &[(String, SessionId)],
) -> Vec<usize> {
    let Some(frontend) = &core.frontend else { return Vec::new() };
    let is_stray = |(channel, session): &(String, SessionId)| {
        let Some(record) = frontend.table.get(*session) else { return false };
        let key = core.router.key(kind, &Session::here(record));
        key.is_ok_and(|key| key == *channel) && core.router.is_elsewhere(kind, channel, of)
    };
    let at = members.iter().enumerate().filter(|(_, member)| is_stray(member));
    at.map(|(at, _)| at).collect()
}

/// Asks once. `before` are the front-ends that were not there the last time, and so are those returned.
fn ask(core: &Arc<Core>, before: &FxHashSet<ServerId>) -> FxHashSet<ServerId> {
    let mut strangers = FxHashSet::default();
    for (frontend, members) in core.channels.by_frontend() {
        if core.router.caller().node().members().get(&frontend).is_some() {
            let members: Vec<_> = members.into_iter().collect();
            members.chunks(CHUNK).for_each(|chunk| ask_about(core, &frontend, chunk));
        } else if before.contains(&frontend) {
            core.channels.lose_frontend(&frontend);
        } else {
            // It may have come just now.
            strangers.insert(frontend);
        }
    }
    strangers
}

fn ask_about(core: &Arc<Core>, frontend: &ServerId, members: &[(SessionId, Uid)]) {
    let remote = core.router.caller().remote(frontend, remote::SERVICE, remote::ENDED);
    let (channels, at) = (core.channels.clone(), frontend.clone());
    let asked = remote.call_then(&(members,), move |ended: Vec<SessionId>| {
        if !ended.is_empty() {
            channels.lose_sessions(&at, &ended.into_iter().collect());
        }
    });
    if let Err(error) = asked {
        tracing::warn!(server = %core.id, %frontend, %error, "members can't be asked about");
    }
}
