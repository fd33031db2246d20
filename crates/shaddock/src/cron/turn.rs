//! Who runs a job that one server of the cluster runs: its turns.

use serde::{Deserialize, Serialize};
use shaddock_cluster::{Claim, ClaimError, Node};

use super::Job;
use crate::ids::ServerId;
use crate::rpc::envelope;

/// How far the clock of another server may be ahead before its turns do not count: it will be put right.
const AHEAD: i64 = 60 * 60;

/// The last turn of a job: what the cluster's directory says of it.
#[derive(Serialize, Deserialize)]
struct Turn {
    /// The time it was for, in seconds since 1970.
    tick: i64,
    server: ServerId,
    boot: u64,
    running: bool,
}

/// A turn that is ours.
pub(super) struct Taken<'a> {
    node: &'a Node,
    tick: i64,
    claim: Claim,
}

/// Takes the turn of `job` for `tick`, unless it was taken, or the one before still runs.
///
/// Whoever dies in its turn has had it: nothing is run again that may have run.
pub(super) async fn take<'a>(
    node: &'a Node,
    job: &Job,
    tick: i64,
) -> Result<Option<Taken<'a>>, ClaimError> {
    let directory = node.directory("cron").await?;
    let name = format!("{}/{}", node.peer().kind, job.id);
    let mine = Turn::of(node, tick, true);
    let mut claimed = directory.claim(&name, &mine).await;
    loop {
        claimed = match claimed {
            Ok(claim) => return Ok(Some(Taken { node, tick, claim })),
            Err(ClaimError::Taken { by }) if is_over(&by, node, job, tick) => {
                directory.take_over(&by, &mine).await
            }
            Err(ClaimError::Taken { .. }) => return Ok(None),
            Err(ClaimError::Gone) => directory.claim(&name, &mine).await,
            Err(error) => return Err(error),
        }
    }
}

/// Whether the last turn leaves room for that of `tick`.
fn is_over(last: &Claim, node: &Node, job: &Job, tick: i64) -> bool {
    let Ok(last) = envelope::unpack::<Turn>(&last.owner) else {
        return true;
    };
    if (tick..tick + AHEAD).contains(&last.tick) {
        return false;
    }
    // Our own runs are known here, and there is none: only that it ended could not be said.
    let of_ours = last.boot == node.peer().boot.bits();
    let lives =
        || node.members().get(&last.server).is_some_and(|member| member.boot.bits() == last.boot);
    job.overlap || !last.running || of_ours || !lives()
}

impl Taken<'_> {
    /// The run has ended, and the next may begin.
    pub(super) async fn end(self) -> Result<(), ClaimError> {
        let directory = self.node.directory("cron").await?;
        match directory.take_over(&self.claim, Turn::of(self.node, self.tick, false)).await {
            // It went on without us: we were taken for dead, or may run twice at once.
            Ok(_) | Err(ClaimError::Taken { .. } | ClaimError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Turn {
    fn of(node: &Node, tick: i64, running: bool) -> Vec<u8> {
        let peer = node.peer();
        let turn = Turn { tick, server: peer.id.clone(), boot: peer.boot.bits(), running };
        envelope::pack(&turn).expect("has no map with odd keys").into()
    }
}
