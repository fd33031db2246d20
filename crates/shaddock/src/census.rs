//! Members whose sessions have ended and nobody said so, found by asking their front-ends.
//!
//! Whoever leaves says so: by a close hook, mostly. When that message gets lost, or comes before the one that
//! let them in, a ghost stays. So each server asks now and then.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use tokio::time::{Instant, interval_at};

use crate::ids::{ServerId, SessionId, Uid};
use crate::running::Core;
use crate::session::remote;

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// How many members a question is about.
const CHUNK: usize = 4096;

/// From now on asks the front-ends of the members of a server's channels.
pub(crate) fn take(core: &Arc<Core>) {
    let server = core.clone();
    core.tasks.spawn("census", async move |stop| {
        let mut tick = interval_at(Instant::now() + EVERY, EVERY);
        let mut strangers = FxHashSet::default();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            strangers = ask(&server, &strangers);
        }
    });
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
