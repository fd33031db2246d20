//! Whose turn it is to hand over: of one kind, one at a time in the whole cluster.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shaddock_cluster::{Boot, Claim, ClaimError, Directory};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::SERVICE;
use crate::ids::ServerId;
use crate::rpc::{caller, envelope};
use crate::running::Core;

/// Answered when the turn of the server that is asked is over, if it has one.
pub(super) const OVER: &str = "over";

/// How long to wait for that answer before looking again.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for news of a server that is not known.
const NEWS: Duration = Duration::from_millis(100);
/// How long it takes at most until one that lives is known: it is heard of every second.
const UNKNOWN: Duration = Duration::from_millis(2500);

/// The turn of a server. Once it is dropped, others may take it over.
pub(super) struct Turn {
    directory: Directory,
    claim: Claim,
    _busy: Busy,
}

/// Who has it: what the cluster's directory says.
#[derive(Serialize, Deserialize)]
struct Holder {
    server: ServerId,
    boot: Boot,
    /// Which of its two turns this is.
    arrives: bool,
}

/// A server has its turn, or is about to get it, until this is dropped.
struct Busy(watch::Sender<bool>);

impl Busy {
    fn begin(sign: &watch::Sender<bool>) -> Busy {
        sign.send_replace(true);
        Busy(sign.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Turn {
    /// Waits for the turn of `core` at most until `end`. What it can't have is said in the log.
    pub(super) async fn take(core: &Arc<Core>, end: Instant) -> Option<Turn> {
        let busy = Busy::begin(&core.handover.has_turn);
        match timeout_at(end, claim(core)).await {
            Ok(Ok((directory, claim))) => return Some(Turn { directory, claim, _busy: busy }),
            Ok(Err(error)) => {
                tracing::warn!(server = %core.id, %error, "nobody knows whose turn it is to hand over: sessions will follow their keys");
            }
            Err(_) => {
                tracing::warn!(server = %core.id, "others of its kind hand over for too long: sessions will follow their keys");
            }
        }
        None
    }

    /// The next one may begin.
    pub(super) async fn give_back(self) {
        if let Err(error) = self.directory.release(&self.claim).await {
            // Whoever is next asks, and takes it over.
            tracing::debug!(%error, "a turn was not given back");
        }
    }
}

async fn claim(core: &Core) -> Result<(Directory, Claim), ClaimError> {
    let node = core.router.caller().node();
    let directory = node.directory("handover").await?;
    let own = Holder { server: core.id.clone(), boot: core.boot(), arrives: core.is_arriving() };
    let own = envelope::pack(&own).expect("has no map with odd keys");
    // The turn of somebody who is not known, and since when.
    let mut strange = None;
    loop {
        let by = match directory.claim(core.kind.as_str(), &own).await {
            Ok(claim) => return Ok((directory, claim)),
            Err(ClaimError::Taken { by }) => by,
            Err(error) => return Err(error),
        };
        let is_over = match envelope::unpack::<Holder>(&by.owner) {
            // It could not be given back.
            Ok(holder) if holder.boot == core.boot() => true,
            Ok(holder) if holder.is_known(core) => holder.has_ended(core).await,
            Ok(holder) => {
                let since = match strange {
                    Some((revision, since)) if revision == by.revision => since,
                    _ => Instant::now(),
                };
                strange = Some((by.revision, since));
                let known = node.members().until(|_| holder.is_known(core));
                timeout(NEWS, known).await.is_err() && UNKNOWN <= since.elapsed()
            }
            Err(_) => true,
        };
        if is_over {
            match directory.take_over(&by, &own).await {
                Ok(claim) => return Ok((directory, claim)),
                // Another was faster.
                Err(ClaimError::Taken { .. } | ClaimError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Holder {
    fn is_known(&self, core: &Core) -> bool {
        let member = core.router.caller().node().members().get(&self.server);
        member.is_some_and(|member| member.boot == self.boot)
    }

    /// Waits for a moment until its turn has ended, and says whether it has: it says so, or is there no more.
    async fn has_ended(&self, core: &Core) -> bool {
        let over = core.router.caller().remote(&self.server, SERVICE, OVER);
        let asked = caller::until(Instant::now() + LOOK, over.call::<()>(&()));
        if asked.await.is_ok() {
            return true;
        }
        let gone = core.router.caller().node().members().until(|_| !self.is_known(core));
        timeout(NEWS, gone).await.is_ok()
    }
}
