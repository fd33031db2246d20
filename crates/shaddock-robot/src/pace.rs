//! When who speaks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::timer::Timer;
use crate::worker::Worker;

/// What makes one client speak.
#[derive(Debug)]
pub(crate) enum Pace {
    /// As soon as fewer messages than this are under way.
    Closed(usize),
    /// When it is its turn.
    Open(Rc<Turns>),
}

/// The moments at which a client was or is to speak, and has not yet.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    due: RefCell<VecDeque<Instant>>,
    more: Notify,
}

/// As many messages as one client has under way at most when a server falls behind the rate.
const UNDER_WAY: usize = 16 * 1024;

impl Pace {
    /// The moment for which the next message is meant, if it is to be sent now.
    pub(crate) fn next(&self, under_way: usize, now: Instant) -> Option<Instant> {
        match self {
            Self::Closed(outstanding) => (under_way < *outstanding).then_some(now),
            Self::Open(turns) if under_way < UNDER_WAY => turns.due.borrow_mut().pop_front(),
            Self::Open(_) => None,
        }
    }

    /// How many messages should have been sent.
    pub(crate) fn behind(&self) -> usize {
        match self {
            Self::Closed(_) => 0,
            Self::Open(turns) => turns.due.borrow().len(),
        }
    }

    /// Waits for another turn; for ever where there are none.
    pub(crate) async fn turn(&self) {
        match self {
            Self::Closed(_) => std::future::pending().await,
            Self::Open(turns) => turns.more.notified().await,
        }
    }
}

/// Gives those who speak their turns, one after another, `rate` times a second; the thread's first is one of `threads`.
///
/// The moments depend on the start alone: whoever is late stays behind, and nothing is left out.
pub(crate) async fn conduct(worker: Rc<Worker>, rate: f64, speakers: Vec<Rc<Turns>>, timer: Timer) {
    let Some(start) = worker.phases.started().await else {
        return;
    };
    let every = 1.0 / rate;
    // Threads take turns, too.
    let first = every * worker.number as f64 / worker.plan.threads as f64;
    let until = start + worker.plan.warm_up + worker.plan.time;
    let turns = async {
        for (turn, speaker) in speakers.iter().cycle().enumerate() {
            let at = start + Duration::from_secs_f64(first + every * turn as f64);
            if until <= at {
                return;
            }
            if Instant::now() < at
                && let Err(error) = timer.wait(at).await
            {
                return worker.tally().error(format_args!("the timer failed: {error}"));
            }
            speaker.due.borrow_mut().push_back(at);
            speaker.more.notify_one();
        }
    };
    tokio::select! {
        // What was due before the end comes first, however late it is seen.
        biased;
        () = turns => {}
        () = worker.phases.draining() => {}
    }
}
