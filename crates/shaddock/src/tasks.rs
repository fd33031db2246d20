//! Every task has a name, an owner and an end.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt as _;
use shaddock_cluster::trampoline;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The tasks of one owner, and the sign that they should come to an end.
///
/// Stopping is a tree: cancelling an owner cancels those below it. A task that is told to stop
/// finishes what it does; one that has not when the deadline passes is dropped with the runtime.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn root() -> Tasks {
        Tasks { tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Tasks that stop when these do, or earlier.
    pub(crate) fn child(&self) -> Tasks {
        Tasks { tracker: TaskTracker::new(), stop: self.stop.child_token() }
    }

    /// Runs `work` until it ends. `name` is what the log calls it.
    ///
    /// The function is given the token that tells it to finish. A panic is logged, and ends that
    /// task alone.
    pub fn spawn<F, Fut>(&self, name: &'static str, work: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.run(name, work(self.stop.clone()));
    }

    /// Runs `work`, which ends by itself.
    pub(crate) fn run(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        trampoline::woke();
        self.tracker.spawn(async move {
            if work.await.is_err() {
                tracing::error!(task = name, "a task panicked");
            }
        });
    }

    /// Resolves when the tasks are told to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the tasks were told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until none of these tasks is left, at most `limit`, and tells them nothing. Says whether that came.
    pub(crate) async fn idle(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }

    /// Counts as one of these tasks until it is dropped.
    pub(crate) fn under_way(&self) -> TaskTrackerToken {
        self.tracker.token()
    }

    /// Tells the tasks to finish, and waits for them until `limit` has passed. Says whether all did.
    pub(crate) async fn finish(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.idle(limit).await
    }
}

/// Runs code of the application's where a panic would take more down than itself.
pub(crate) fn guarded<T>(what: &'static str, run: impl FnOnce() -> T) -> Option<T> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    if result.is_err() {
        tracing::error!(what, "the application's code panicked");
    }
    result.ok()
}
