//! Lanes: jobs that are done one after another, each lane beside the others.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustc_hash::FxHashMap;
use shaddock_cluster::trampoline;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::ids::SessionId;
use crate::tasks::Tasks;

/// How long jobs are done by whoever brought them before they get a task.
const SHORT: Duration = Duration::from_micros(200);

/// Something to be done in its turn.
pub(crate) type Job = BoxFuture<'static, ()>;

/// Does the jobs of each key in the order they came. A lane has a task only while it has jobs that wait or take long.
pub(crate) struct Lanes<K> {
    lanes: Mutex<FxHashMap<K, VecDeque<Job>>>,
    tasks: Tasks,
    bound: usize,
}

impl<K: Clone + Eq + Hash + Send + 'static> Lanes<K> {
    /// Lanes of at most `bound` waiting jobs each.
    pub(crate) fn new(tasks: Tasks, bound: usize) -> Lanes<K> {
        Lanes { lanes: Mutex::default(), tasks, bound }
    }

    /// Queues a job. In the turn of its session, if it has one, it may be done at once.
    ///
    /// # Errors
    ///
    /// Gives the job back if the lane is full.
    pub(crate) fn push(
        self: &Arc<Self>,
        key: K,
        session: Option<SessionId>,
        job: Job,
    ) -> Result<(), Job> {
        let mut lanes = self.lock();
        if let Some(waiting) = lanes.get_mut(&key) {
            if self.bound <= waiting.len() {
                return Err(job);
            }
            waiting.push_back(job);
            return Ok(());
        }
        lanes.insert(key.clone(), VecDeque::new());
        drop(lanes);
        let under_way = self.tasks.under_way();
        let lane = Lane { lanes: self.clone(), key, job, under_way };
        let left = match session {
            Some(session) => trampoline::leave_last(session.get(), lane, Lane::begin),
            None => Err(lane),
        };
        if let Err(lane) = left {
            lane.spawn();
        }
        Ok(())
    }

    /// The lanes that have work, and the jobs that wait in them.
    pub(crate) fn load(&self) -> (usize, usize) {
        let lanes = self.lock();
        (lanes.len(), lanes.values().map(VecDeque::len).sum())
    }

    fn next(&self, key: &K) -> Option<Job> {
        let mut lanes = self.lock();
        let next = lanes.get_mut(key)?.pop_front();
        if next.is_none() {
            lanes.remove(key);
        }
        next
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FxHashMap<K, VecDeque<Job>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane with work, and the job that is next.
struct Lane<K> {
    lanes: Arc<Lanes<K>>,
    key: K,
    job: Job,
    /// A hand-over and a stop wait for it, task or not.
    under_way: TaskTrackerToken,
}

impl<K: Clone + Eq + Hash + Send + 'static> Lane<K> {
    /// Does what can be done at once, here and now.
    fn begin(mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let began = Instant::now();
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.job.poll_unpin(&mut cx))) {
                Ok(Poll::Pending) => return self.spawn(),
                Ok(Poll::Ready(())) => {}
                Err(_) => tracing::error!("a job in a lane panicked"),
            }
            let Some(next) = self.lanes.next(&self.key) else { return };
            self.job = next;
            if SHORT < began.elapsed() {
                return self.spawn();
            }
        }
    }

    fn spawn(self) {
        let Lane { lanes, key, mut job, under_way } = self;
        lanes.tasks.clone().run("lane", async move {
            loop {
                let done = AssertUnwindSafe(job);
                if done.catch_unwind().await.is_err() {
                    tracing::error!("a job in a lane panicked");
                }
                let Some(next) = lanes.next(&key) else { break };
                job = next;
            }
        });
        drop(under_way);
    }
}

impl<K> fmt::Debug for Lanes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("bound", &self.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const ME: SessionId = SessionId(7);

    /// Lanes, and whether nothing in them is under way.
    fn lanes() -> (Arc<Lanes<u8>>, impl Fn() -> bool + Clone) {
        let tasks = Tasks::root();
        let lanes = Arc::new(Lanes::new(tasks.clone(), 2));
        (lanes, move || tasks.idle(Duration::ZERO).now_or_never() == Some(true))
    }

    #[tokio::test]
    async fn what_is_done_at_once_is_under_way_until_it_is_done() {
        let (lanes, is_idle) = lanes();
        let was_idle = Arc::new(AtomicBool::new(true));
        trampoline::run(ME.get(), || {
            let (was_idle, is_idle_there) = (was_idle.clone(), is_idle.clone());
            let job = async move { was_idle.store(is_idle_there(), Ordering::Relaxed) };
            assert!(lanes.push(1, Some(ME), job.boxed()).is_ok());
            assert!(!is_idle(), "it is left");
        });
        assert!(!was_idle.load(Ordering::Relaxed), "it is being done");
        assert!(is_idle());
    }

    #[tokio::test]
    async fn what_waits_gets_a_task_and_keeps_its_turn() {
        let (lanes, is_idle) = lanes();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (go_on, waits) = tokio::sync::oneshot::channel();
        let note = |number| {
            let log = log.clone();
            move || log.lock().unwrap().push(number)
        };
        trampoline::run(ME.get(), || {
            let (before, after) = (note(1), note(2));
            let job = async move {
                before();
                waits.await.unwrap();
                after();
            };
            assert!(lanes.push(1, Some(ME), job.boxed()).is_ok());
            let next = note(3);
            assert!(lanes.push(1, Some(ME), async move { next() }.boxed()).is_ok());
        });
        assert_eq!(*log.lock().unwrap(), [1]);
        assert!(!is_idle());
        go_on.send(()).unwrap();
        assert!(lanes.tasks.idle(Duration::from_secs(5)).await);
        assert_eq!(*log.lock().unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn what_is_not_of_this_turn_holds_nobody_up() {
        let (lanes, is_idle) = lanes();
        let done = Arc::new(AtomicBool::new(false));
        for (lane, session) in [(1, Some(SessionId(8))), (2, None)] {
            trampoline::run(ME.get(), || {
                let done = done.clone();
                let job = async move { done.store(true, Ordering::Relaxed) };
                assert!(lanes.push(lane, session, job.boxed()).is_ok());
            });
            assert!(!done.load(Ordering::Relaxed) && !is_idle());
            assert!(lanes.tasks.idle(Duration::from_secs(5)).await);
            assert!(done.swap(false, Ordering::Relaxed));
        }
    }
}
