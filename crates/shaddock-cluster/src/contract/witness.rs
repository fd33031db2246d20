//! A server for tests: it keeps what it gets until the test asks.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use crate::{Answer, Config, Engine, Event, JoinError, Node, Peer, Receive};

/// A node, and what it received.
#[derive(Debug)]
pub struct Witness {
    /// The node.
    pub node: Node,
    heard: mpsc::Receiver<Heard>,
    load: Arc<Mutex<Option<u64>>>,
    task: AbortHandle,
}

/// Something that a node received.
#[derive(Debug)]
pub enum Heard {
    /// A call, to be answered.
    Call(Peer, Bytes, Answer),
    /// A cast.
    Cast(Peer, Bytes),
    /// A change in the cluster.
    Event(Event),
}

struct Ear {
    tx: mpsc::Sender<Heard>,
    load: Arc<Mutex<Option<u64>>>,
}

impl Receive for Ear {
    fn call(&self, from: &Peer, payload: Bytes, answer: Answer) {
        self.hear(Heard::Call(from.clone(), payload, answer));
    }

    fn cast(&self, from: &Peer, payload: Bytes) {
        self.hear(Heard::Cast(from.clone(), payload));
    }

    fn load(&self) -> Option<u64> {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: Event) {
        self.hear(Heard::Event(event));
    }
}

impl Ear {
    fn hear(&self, heard: Heard) {
        if let Err(mpsc::error::TrySendError::Full(heard)) = self.tx.try_send(heard) {
            panic!("more than a test can take: {heard:?}");
        }
    }
}

impl Witness {
    /// Joins as this server.
    ///
    /// # Errors
    ///
    /// As [`Node::join`].
    pub async fn join(engine: Arc<dyn Engine>, config: Config) -> Result<Witness, JoinError> {
        let (tx, heard) = mpsc::channel(1 << 20);
        let load = Arc::new(Mutex::new(None));
        let ear = Arc::new(Ear { tx, load: load.clone() });
        let mut task = None;
        // Tests own what they spawn through the handle below.
        #[allow(clippy::disallowed_methods)]
        let node = Node::join(engine, config, ear, |run| task = Some(tokio::spawn(run))).await?;
        let task = task.as_ref().map(JoinHandle::abort_handle).expect("who joins has a task");
        Ok(Witness { node, heard, load, task })
    }

    /// From now on it says that it has this load; before it says nothing.
    pub fn is_busy_with(&self, load: u64) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
    }

    /// The next thing received.
    ///
    /// # Panics
    ///
    /// When the node has ended.
    pub async fn heard(&mut self) -> Heard {
        self.heard.recv().await.expect("the node is there")
    }

    /// The next call; what comes before it is forgotten.
    pub async fn called(&mut self) -> (Bytes, Answer) {
        loop {
            if let Heard::Call(_, payload, answer) = self.heard().await {
                return (payload, answer);
            }
        }
    }

    /// The next cast; what comes before it is forgotten.
    pub async fn told(&mut self) -> Bytes {
        loop {
            if let Heard::Cast(_, payload) = self.heard().await {
                return payload;
            }
        }
    }

    /// The next event; what comes before it is forgotten.
    pub async fn event(&mut self) -> Event {
        loop {
            if let Heard::Event(event) = self.heard().await {
                return event;
            }
        }
    }

    /// What was received and not asked for yet.
    pub fn rest(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }

    /// Ends the node without a good-bye, as if its process were killed.
    pub fn crash(&self) {
        self.task.abort();
    }
}
