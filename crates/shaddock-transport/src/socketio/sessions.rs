//! The sessions of clients that poll, and the requests that come for them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};

use super::{payload::Payload, visitor::Visitor};
use crate::HybridWire;

/// The sessions whose clients poll, by their ids.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Arc<str>, Arc<Visits>>>);

/// A request for a session that is there.
#[derive(Debug)]
pub(super) enum Visit {
    /// It waits for what there is to say.
    Poll(Visitor),
    /// It says something.
    Post(Visitor, Payload),
    /// It would go on as a WebSocket.
    Upgrade(Box<HybridWire>),
}

/// The visits of one session that its wire has not seen yet.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    visits: VecDeque<Visit>,
    waker: Option<Waker>,
}

/// As many visits as wait for one session. A client has a poll and a post at a time.
const MOST: usize = 4;

/// A session that is known by its id as long as this lives.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: Arc<str>,
    visits: Arc<Visits>,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// A new session.
    pub(super) fn open(self: &Arc<Self>) -> io::Result<Session> {
        let session = Session { id: new_id()?, visits: Arc::default(), sessions: self.clone() };
        self.lock().insert(session.id.clone(), session.visits.clone());
        Ok(session)
    }

    /// Where to leave visits for a session.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Visits>> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Visits>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id that nobody can guess: who has it may speak for the client.
pub(super) fn new_id() -> io::Result<Arc<str>> {
    let mut id = [0; 15];
    getrandom::fill(&mut id)?;
    Ok(BASE64.encode(id).into())
}

impl Visits {
    /// Leaves a visit. One too many is dropped, and its connection with it. Of posts, which are long, one waits.
    pub(super) fn leave(&self, visit: Visit) {
        let mut waiting = self.lock();
        let is_post = |visit: &Visit| matches!(visit, Visit::Post(..));
        let is_second = is_post(&visit) && waiting.visits.iter().any(is_post);
        if waiting.visits.len() < MOST && !is_second {
            waiting.visits.push_back(visit);
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// The next visit.
    pub(super) fn poll_visit(&self, cx: &mut Context<'_>) -> Poll<Visit> {
        let mut waiting = self.visits.lock();
        if let Some(visit) = waiting.visits.pop_front() {
            return Poll::Ready(visit);
        }
        // With nothing in it, it holds nothing.
        waiting.visits = VecDeque::new();
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
        // Whoever has found the session just now may hold on to it a little longer.
        self.visits.lock().visits.clear();
    }
}
