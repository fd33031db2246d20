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

    /// Queues a job.
    ///
    /// # Errors
    ///
    /// Gives the job back if the lane is full.
    pub(crate) fn push(self: &Arc<Self>, key: K, job: Job) -> Result<(), Job> {
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
        let lane = Lane { lanes: self.clone(), key, job };
        if let Err(lane) = trampoline::leave_last(lane, Lane::begin) {
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
        let Lane { lanes, key, mut job } = self;
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
    }
}

impl<K> fmt::Debug for Lanes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("bound", &self.bound).finish_non_exhaustive()
    }
}
