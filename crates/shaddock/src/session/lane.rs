//! Lanes: jobs that are done one after another, each lane beside the others.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use rustc_hash::FxHashMap;

use crate::tasks::Tasks;

/// Something to be done in its turn.
pub(crate) type Job = BoxFuture<'static, ()>;

/// Does the jobs of each key in the order they came. A lane has a task only while it has jobs.
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
        let this = self.clone();
        self.tasks.run("lane", async move {
            let mut job = job;
            loop {
                let done = std::panic::AssertUnwindSafe(job);
                if futures_util::FutureExt::catch_unwind(done).await.is_err() {
                    tracing::error!("a job in a lane panicked");
                }
                let Some(next) = this.next(&key) else { break };
                job = next;
            }
        });
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

impl<K> fmt::Debug for Lanes<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("bound", &self.bound).finish_non_exhaustive()
    }
}
