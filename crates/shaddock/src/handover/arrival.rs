//! A server that is added: it enters the cluster as one that is not ready, and gets what is its own.

use std::sync::Arc;

use shaddock_cluster::{Boot, State};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout};

use super::kin::make_known;
use super::turn::Turn;
use super::{ARRIVES, SERVICE};
use crate::running::Core;

/// How long it waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long others may take to learn that it is ready, before the next one begins.
const NEWS: Duration = Duration::from_secs(2);

/// Makes `core`, which is about to enter the cluster, one that is not ready, if there may be something to hand over.
pub(crate) fn prepare(core: &Core) {
    if core.definition.on_handover.is_some() {
        core.router.caller().node().set_leaving();
        core.handover.kin().arriving.insert(core.boot());
    }
}

/// Has all others of its kind hand over what `core` owns, and tells the cluster that it is ready. Those that start
/// `together` do so one after another, and as long as nobody else is in the cluster, that is turn enough.
pub(crate) async fn arrive(core: &Arc<Core>, together: &[Boot]) {
    if core.definition.on_handover.is_none() {
        return;
    }
    // Kept until it has arrived. Whoever stops it before goes on with its turn.
    let mut turn = core.handover.arrival.lock().await;
    let arrival = async {
        let members = core.router.caller().node().members().all();
        let is_alone = members.iter().all(|member| together.contains(&member.boot));
        if !is_alone {
            *turn = Turn::take(core, Instant::now() + PATIENCE).await;
        }
        if is_alone || turn.is_some() {
            ask_for_keys(core).await;
        }
        core.router.caller().node().set_staying();
        core.handover.kin().arriving.remove(&core.boot());
        be_known(core).await;
    };
    let arrived = core.handover.stops.run_until_cancelled(arrival).await;
    if arrived.is_some()
        && let Some(turn) = turn.take()
    {
        let _ = timeout(NEWS, turn.give_back()).await;
    }
}

/// Has those who own keys hand over what `core` is to have. One after another, for what one of them has under way may
/// need the next.
async fn ask_for_keys(core: &Core) {
    for owner in core.heirs(&[core.boot()]).iter().filter(|owner| owner.state != State::Suspect) {
        let ready = core.router.caller().remote(&owner.id, SERVICE, ARRIVES);
        if let Err(error) = ready.call::<()>(&()).await {
            tracing::warn!(server = %core.id, from = %owner.id, %error, "nothing was handed over: sessions will follow their keys");
        }
    }
}

/// Has all others know that `core` owns keys, and waits a moment for that.
async fn be_known(core: &Arc<Core>) {
    let (all_know, known) = oneshot::channel();
    let core = core.clone();
    core.tasks.clone().run("arrival", async move {
        let own = [core.boot()];
        let told = make_known(&core, &own, true, &own);
        core.handover.stops.run_until_cancelled(told).await;
        // Nobody waits if it took too long.
        let _ = all_know.send(());
    });
    let _ = timeout(NEWS, known).await;
}
