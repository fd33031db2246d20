//! Answers that found a queue on the way full.
//!
//! Nobody but the caller could ask again, and that would be for nothing: it was done already. So they wait here, no
//! more of them than others have calls under way, until there is room or their callers have stopped waiting.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashSet;
use tokio::time::{Duration, Instant};

use crate::engine::PublishError;
use crate::frame::Status;
use crate::ids::Boot;
use crate::receive::ReplyTo;

/// How long they wait before they are sent again.
const AGAIN: Duration = Duration::from_millis(5);

/// An answer to one call.
pub(crate) struct Reply {
    pub(crate) to: Arc<ReplyTo>,
    pub(crate) number: u64,
    pub(crate) deadline: Instant,
    pub(crate) status: Status,
    pub(crate) payload: Bytes,
}

/// Those of one server, the first to fail first.
#[derive(Default)]
pub(crate) struct Unsent(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    replies: Vec<Reply>,
    /// When they are sent again; nothing while there are none.
    again: Option<Instant>,
    /// Whether nobody will.
    is_closed: bool,
}

impl Unsent {
    /// Keeps one, until they are [closed](Self::close). Says whether it did.
    pub(crate) fn keep(&self, reply: Reply) -> bool {
        let mut waiting = self.lock();
        if !waiting.is_closed {
            waiting.replies.push(reply);
            waiting.again.get_or_insert_with(|| Instant::now() + AGAIN);
        }
        !waiting.is_closed
    }

    /// When to [`retry`](Self::retry).
    pub(crate) fn again(&self) -> Option<Instant> {
        self.lock().again
    }

    /// Sends those for which somebody waits still, and says how many are given up. Whoever had no room for one is left
    /// in peace.
    pub(crate) fn retry(
        &self,
        now: Instant,
        send: impl Fn(&Reply) -> Result<(), PublishError>,
    ) -> usize {
        let mut replies = mem::take(&mut self.lock().replies);
        let mut full = FxHashSet::<Boot>::default();
        let mut given_up = 0;
        replies.retain(|reply| {
            let boot = reply.to.peer.boot;
            let sent = match () {
                () if reply.deadline <= now => Err(None),
                () if full.contains(&boot) => Err(Some(PublishError::Full)),
                () => send(reply).map_err(Some),
            };
            let is_full = sent == Err(Some(PublishError::Full));
            if is_full {
                full.insert(boot);
            } else if sent.is_err() {
                given_up += 1;
            }
            is_full
        });
        let mut waiting = self.lock();
        replies.append(&mut waiting.replies);
        waiting.again = (!replies.is_empty()).then(|| now + AGAIN);
        waiting.replies = replies;
        given_up
    }

    /// Takes no more, and says how many are given up.
    pub(crate) fn close(&self) -> usize {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        mem::take(&mut waiting.replies).len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::engine::Subject;
    use crate::ids::Peer;

    fn peer(name: &str) -> Arc<ReplyTo> {
        let peer =
            Peer { id: name.parse().unwrap(), kind: name.parse().unwrap(), boot: Boot::random() };
        Arc::new(ReplyTo { peer, subject: Subject::new(name).unwrap(), lost: AtomicU32::new(0) })
    }

    #[test]
    fn they_are_sent_in_order_once_there_is_room_while_somebody_waits() {
        let unsent = Unsent::default();
        let (full, free) = (peer("full"), peer("free"));
        let start = Instant::now();
        let mut number = 0;
        let keep = |to: &Arc<ReplyTo>, number, seconds| {
            let deadline = start + Duration::from_secs(seconds);
            let (to, payload) = (to.clone(), Bytes::new());
            unsent.keep(Reply { to, number, deadline, status: Status::Answered, payload })
        };
        let kept = [(&full, 9), (&full, 1), (&free, 9), (&free, 0)].map(|(to, seconds)| {
            number += 1;
            keep(to, number, seconds)
        });
        assert_eq!(kept, [true; 4]);
        let tried = RefCell::new(Vec::new());
        let mut is_full = true;
        for (seconds, expected, lost) in [(1, vec![1, 3], 2), (2, vec![1], 0), (3, vec![], 0)] {
            let given_up = unsent.retry(start + Duration::from_secs(seconds), |reply| {
                tried.borrow_mut().push(reply.number);
                let has_room = !is_full || reply.to.peer == free.peer;
                if has_room { Ok(()) } else { Err(PublishError::Full) }
            });
            assert_eq!((tried.take(), given_up), (expected, lost), "after {seconds} s");
            is_full = false;
        }
        assert_eq!(unsent.again(), None);
        assert!(keep(&full, 5, 9));
        assert_eq!(unsent.close(), 1);
        assert!(!keep(&full, 6, 9));
    }
}
