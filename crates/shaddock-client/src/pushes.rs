//! Queues of what the server pushes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

/// What the server pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// What it is about: "onChat".
    pub route: ByteString,
    /// JSON text, whatever it was on the wire.
    pub body: Bytes,
}

impl Push {
    /// The body as a value.
    ///
    /// # Errors
    ///
    /// When it is not like that.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}

/// Pushes in the order they came, of one route or of all.
///
/// It holds a bounded number that was not taken. When it is full the oldest gives way to the newest and is counted as
/// [`missed`](Pushes::missed), so a reader that does not read holds up nobody. A push that no queue asks for is forgotten.
pub struct Pushes {
    queue: Arc<Queue>,
    subscriptions: Arc<Subscriptions>,
}

impl Pushes {
    /// The next push; `None` when the connection is closed and all were taken. Cancel-safe.
    pub async fn next(&mut self) -> Option<Push> {
        loop {
            {
                let mut state = self.queue.lock();
                match state.waiting.pop_front() {
                    Some(push) => return Some(push),
                    None if state.closed => return None,
                    None => {}
                }
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The next push if it is here. What was pushed before a reply is here when the reply is.
    pub fn try_next(&mut self) -> Option<Push> {
        self.queue.lock().waiting.pop_front()
    }

    /// How many pushes gave way to newer ones.
    pub fn missed(&self) -> u64 {
        self.queue.lock().missed
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        self.subscriptions.lock().queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

impl fmt::Debug for Pushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushes").field("route", &self.queue.route).finish_non_exhaustive()
    }
}

/// Every queue of one client.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    state: Mutex<Subscribed>,
}

#[derive(Debug, Default)]
struct Subscribed {
    queues: Vec<Arc<Queue>>,
    closed: bool,
}

#[derive(Debug)]
struct Queue {
    /// `None` for all routes.
    route: Option<String>,
    limit: usize,
    state: Mutex<Queued>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queued {
    waiting: VecDeque<Push>,
    missed: u64,
    closed: bool,
}

impl Subscriptions {
    /// A queue for pushes of this route, or of all.
    pub(crate) fn add(self: &Arc<Self>, route: Option<&str>, limit: usize) -> Pushes {
        let mut subscribed = self.lock();
        let queued = Queued { closed: subscribed.closed, ..Queued::default() };
        let queue = Arc::new(Queue {
            route: route.map(str::to_owned),
            limit: limit.max(1),
            state: Mutex::new(queued),
            arrived: Notify::new(),
        });
        subscribed.queues.push(queue.clone());
        Pushes { queue, subscriptions: self.clone() }
    }

    /// Gives a push to every queue that asks for it.
    pub(crate) fn push(&self, push: &Push) {
        for queue in &self.lock().queues {
            if queue.route.as_ref().is_none_or(|route| *route == *push.route) {
                let mut state = queue.lock();
                if state.waiting.len() == queue.limit {
                    state.waiting.pop_front();
                    state.missed += 1;
                }
                state.waiting.push_back(push.clone());
                queue.arrived.notify_one();
            }
        }
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        let mut subscribed = self.lock();
        subscribed.closed = true;
        for queue in &subscribed.queues {
            queue.lock().closed = true;
            queue.arrived.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Subscribed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(route: &str, number: usize) -> Push {
        Push { route: route.into(), body: Bytes::from(number.to_string()) }
    }

    #[tokio::test]
    async fn each_queue_gets_what_it_asks_for_in_order() {
        let subscriptions = Arc::new(Subscriptions::default());
        let mut chat = subscriptions.add(Some("onChat"), 8);
        let mut all = subscriptions.add(None, 8);
        subscriptions.push(&push("onAdd", 1));
        subscriptions.push(&push("onChat", 2));
        subscriptions.close();
        assert_eq!(chat.next().await, Some(push("onChat", 2)));
        assert_eq!(chat.next().await, None);
        assert_eq!(all.next().await, Some(push("onAdd", 1)));
        assert_eq!(all.try_next(), Some(push("onChat", 2)));
        assert_eq!(all.next().await, None);
        assert_eq!(subscriptions.add(None, 8).next().await, None);
    }

    #[test]
    fn a_full_queue_forgets_its_oldest_and_says_so() {
        let subscriptions = Arc::new(Subscriptions::default());
        let mut pushes = subscriptions.add(None, 2);
        for number in 1..=5 {
            subscriptions.push(&push("onChat", number));
        }
        assert_eq!(pushes.missed(), 3);
        assert_eq!(pushes.try_next(), Some(push("onChat", 4)));
        assert_eq!(pushes.try_next(), Some(push("onChat", 5)));
        assert_eq!(pushes.try_next(), None);
    }

    #[test]
    fn a_dropped_queue_is_forgotten() {
        let subscriptions = Arc::new(Subscriptions::default());
        drop(subscriptions.add(None, 2));
        assert!(subscriptions.lock().queues.is_empty());
    }
}
