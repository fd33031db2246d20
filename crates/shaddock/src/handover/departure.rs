//! Servers that stop: they hand over what they have, and leave when nobody sends anything to them any more.

use std::sync::Arc;

use futures_util::future::join_all;
use shaddock_cluster::{Boot, Members, State};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::kin::{Kin, ask, make_known};
use super::turn::Turn;
use super::{TURNS_BACK, hand_over};
use crate::running::Core;

/// Servers of one kind that stop together.
pub(crate) struct Departure {
    cores: Vec<Arc<Core>>,
    turn: Option<Turn>,
}

impl Departure {
    /// Hands over all that `cores` own, to the others of their kind. Without any they keep what they have.
    pub(crate) async fn begin(cores: Vec<Arc<Core>>, limit: Duration) -> Departure {
        let end = Instant::now() + limit;
        let mut departure = Departure { cores, turn: None };
        let hands_over = |core: &Arc<Core>| core.definition.on_handover.is_some();
        if departure.cores.iter().all(hands_over) {
            departure.hand_over(end).await;
        }
        departure
    }

    async fn hand_over(&mut self, end: Instant) {
        for core in &self.cores {
            core.handover.stops.cancel();
            // One that was about to arrive does not any more.
            let begun = core.handover.arrival.lock().await.take();
            if begun.is_some() {
                if core.is_arriving() {
                    let mut others = core.others(&[]);
                    others.retain(|other| other.state != State::Suspect);
                    ask(core, others, TURNS_BACK, &()).await;
                }
                self.turn = begun;
            }
        }
        let owns = self.turn.is_some() || !self.cores.iter().all(|core| core.is_arriving());
        let together = self.boots();
        let [first, ..] = &*self.cores else { return };
        if !owns || first.others(&together).is_empty() {
            return;
        }
        let left = end.saturating_duration_since(Instant::now());
        // By default until it is known whether somebody who had the turn is dead. A third is left for the hand-over.
        let (wait_until, give_up) = (Instant::now() + left / 4, Instant::now() + left * 2 / 3);
        while self.turn.is_none() {
            // Where nobody else owns keys, those who are about to are let in first.
            let is_time = |_: &Members| {
                !first.heirs(&together).is_empty() || first.others(&together).is_empty()
            };
            let members = first.router.caller().node().members();
            let _ = timeout_at(wait_until, members.until(is_time)).await;
            let Some(turn) = Turn::take(first, give_up).await else { return };
            if is_time(members) || wait_until <= Instant::now() {
                self.turn = Some(turn);
            } else {
                let _ = timeout_at(give_up, turn.give_back()).await;
            }
        }
        if !first.heirs(&together).is_empty() {
            let handed = self.cores.iter().map(|core| {
                let together = together.clone();
                let leave = move |kin: &mut Kin| kin.left.extend(together);
                hand_over(core, core.boot(), leave, end, CancellationToken::new())
            });
            join_all(handed).await;
        }
    }

    /// Waits until every other server but those that stop `together` with them sends to others what it sent to them,
    /// which have said that they leave.
    pub(crate) async fn end(self, together: &[Boot], limit: Duration) {
        if let [first, ..] = &*self.cores {
            let _ = timeout(limit, make_known(first, &self.boots(), false, together)).await;
        }
        if let Some(turn) = self.turn {
            let _ = timeout(limit, turn.give_back()).await;
        }
    }

    fn boots(&self) -> Vec<Boot> {
        self.cores.iter().map(|core| core.boot()).collect()
    }
}

/// Whether `core` may have something to hand over to others than those that stop `together` with it.
pub(crate) fn hands_over(core: &Core, together: &[Boot]) -> bool {
    core.definition.on_handover.is_some() && !core.others(together).is_empty()
}
