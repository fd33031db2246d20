//! What waits for one subscriber.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep};

use super::Wire;
use crate::engine::{Delivery, Source};

/// A queue in the order in which its messages are due, with room for so many of each lane. It refuses what
/// has no room.
pub(super) struct Queue {
    wire: Arc<Wire>,
    number: u64,
    capacity: usize,
    waiting: Mutex<Waiting>,
}

struct Waiting {
    messages: VecDeque<Message>,
    /// How many of each lane are in it.
    counts: Vec<usize>,
    reader: Option<Waker>,
}

struct Message {
    due: Option<Instant>,
    lane: usize,
    delivery: Delivery,
}

impl Queue {
    pub(super) fn new(wire: Arc<Wire>, number: u64, lanes: usize, capacity: usize) -> Queue {
        let waiting = Waiting { messages: VecDeque::new(), counts: vec![0; lanes], reader: None };
        Queue { wire, number, capacity, waiting: Mutex::new(waiting) }
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Adds a message that is due at some time, or now; returns false if its lane has no room.
    pub(super) fn push(&self, lane: usize, delivery: Delivery, due: Option<Instant>) -> bool {
        let reader = {
            let waiting = &mut *self.waiting();
            match waiting.counts.get_mut(lane) {
                Some(count) if *count < self.capacity => *count += 1,
                _ => return false,
            }
            let message = Message { due, lane, delivery };
            match due {
                None => waiting.messages.push_back(message),
                Some(_) => {
                    let at = waiting.messages.partition_point(|other| other.due <= due);
                    waiting.messages.insert(at, message);
                }
            }
            waiting.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop_due(&mut self) -> Option<Delivery> {
        let is_late = |due| Instant::now() < due;
        if self.messages.front()?.due.is_some_and(is_late) {
            return None;
        }
        let Message { lane, delivery, .. } = self.messages.pop_front()?;
        if let Some(count) = self.counts.get_mut(lane) {
            *count -= 1;
        }
        Some(delivery)
    }
}

/// The one who reads a queue.
pub(super) struct Reader<F: Fn(&Arc<Queue>)> {
    queue: Arc<Queue>,
    sleep: Option<Pin<Box<Sleep>>>,
    unsubscribe: F,
}

impl<F: Fn(&Arc<Queue>)> Reader<F> {
    pub(super) fn new(queue: Arc<Queue>, unsubscribe: F) -> Reader<F> {
        Reader { queue, sleep: None, unsubscribe }
    }

    /// Takes what is due, at most `limit`. After less than that, the task is woken for the next.
    fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        mut take: impl FnMut(Delivery),
    ) -> Poll<usize> {
        let mut taken = 0;
        loop {
            let due = {
                let waiting = &mut *self.queue.waiting();
                while taken < limit
                    && let Some(delivery) = waiting.pop_due()
                {
                    take(delivery);
                    taken += 1;
                }
                if taken == limit {
                    return Poll::Ready(taken);
                }
                waiting.reader = Some(cx.waker().clone());
                waiting.messages.front().and_then(|message| message.due)
            };
            if let Some(due) = due {
                let sleep =
                    self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
                if sleep.deadline() != due {
                    sleep.as_mut().reset(due);
                }
                if sleep.as_mut().poll(cx).is_ready() {
                    continue;
                }
            }
            return if taken == 0 { Poll::Pending } else { Poll::Ready(taken) };
        }
    }
}

impl<F: Fn(&Arc<Queue>) + Send> Source<Delivery> for Reader<F> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut next = None;
        self.poll_due(cx, 1, |delivery| next = Some(delivery)).map(|_| next)
    }

    fn poll_next_many(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Delivery>,
        limit: usize,
    ) -> Poll<usize> {
        self.poll_due(cx, limit, |delivery| batch.push(delivery))
    }
}

impl<F: Fn(&Arc<Queue>)> Drop for Reader<F> {
    fn drop(&mut self) {
        (self.unsubscribe)(&self.queue);
    }
}
