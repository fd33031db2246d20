//! A client that talks: sends when it should, and hears what comes.

use std::pin::pin;

use shaddock_protocol::pomelo::ClientEvent;
use shaddock_transport::Wire;
use tokio::time::Instant;

use crate::link::{Link, LinkError};
use crate::pace::Pace;
use crate::tally::Tally;
use crate::worker::Worker;

/// What a client says and makes of what it hears.
pub(crate) trait Part<W: Wire> {
    /// How many messages it has under way.
    fn under_way(&self) -> usize;

    /// Sends a message that was intended for `intended`, and counts it.
    fn say(
        &mut self,
        link: &mut Link<W>,
        intended: Instant,
        tally: &mut Tally,
    ) -> Result<(), LinkError>;

    /// Makes something of what came, and counts it.
    fn hear(&mut self, event: ClientEvent, now: Instant, tally: &mut Tally);

    /// Resolves when something else changed [`Part::under_way`].
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// Talks from the start to the end of a run; ends before that only when the connection does.
pub(crate) async fn talk<W: Wire>(
    worker: &Worker,
    link: &mut Link<W>,
    part: &mut impl Part<W>,
    pace: Option<&Pace>,
) -> Result<(), LinkError> {
    let mut started = pin!(worker.phases.started());
    let mut draining = pin!(worker.phases.draining());
    let mut over = pin!(worker.phases.over());
    // Who has not noticed the start yet hears those who have.
    let mut is_waiting = true;
    let mut speaking: Option<&Pace> = None;
    let mut now = Instant::now();
    loop {
        if let Some(pace) = speaking
            && let Some(intended) = pace.next(part.under_way(), now)
        {
            let mut tally = worker.tally();
            let mut next = Some(intended);
            while let Some(intended) = next {
                part.say(link, intended, &mut tally)?;
                next = pace.next(part.under_way(), now);
            }
        }
        // All of these may be cancelled: what they wait for is kept by the connection, the pace and the phases.
        tokio::select! {
            biased;
            more = link.more() => {
                now = more?;
                let mut tally = worker.tally();
                while let Some(event) = link.next(now)? {
                    part.hear(event, now, &mut tally);
                }
            }
            () = part.changed() => now = Instant::now(),
            () = turn(speaking) => now = Instant::now(),
            start = &mut started, if is_waiting => {
                is_waiting = false;
                speaking = start.and(pace);
                now = Instant::now();
            }
            () = &mut draining, if speaking.is_some() => {
                // What it should have said by now, and could not.
                let behind = speaking.take().map_or(0, Pace::behind);
                if behind != 0 {
                    let mut tally = worker.tally();
                    for _ in 0..behind {
                        tally.error("could not be sent in time");
                    }
                }
            }
            () = &mut over => return Ok(()),
        }
    }
}

async fn turn(pace: Option<&Pace>) {
    match pace {
        Some(pace) => pace.turn().await,
        None => std::future::pending().await,
    }
}
