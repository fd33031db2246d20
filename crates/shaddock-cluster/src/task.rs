//! The task of a node, and those who take its turn: whoever has just sent it something.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::task::{ArcWake, AtomicWaker, waker_ref};

use crate::engine::Link;
use crate::run::Run;
use crate::trampoline;

/// How many batches are taken before others have a turn: enough that queues don't fill where there are many tasks.
const BATCHES: usize = 128;

/// Why the task looks up from the messages.
enum Interrupt {
    Stop,
    Link(Link),
    Time,
    /// A call must end before the next look at the clock.
    Sooner,
}

/// Runs a node until it leaves, or can't hear the cluster any more.
pub(crate) async fn run(run: Run) {
    let (inner, mut link) = (run.inner.clone(), run.link.clone());
    let ending = Ending(Arc::new(Shared { run: Mutex::new(Some(run)), task: AtomicWaker::new() }));
    let shared = &ending.0;
    let told = waker_ref(shared);
    let stopped = loop {
        let settle = |run: &mut Run| {
            run.settle();
            run.wake_at()
        };
        let Some(wake_at) = shared.with(settle) else { break false };
        // Every branch is cancel-safe.
        let interrupt = async {
            tokio::select! {
                biased;
                () = inner.stop.cancelled() => Interrupt::Stop,
                Ok(()) = link.changed() => Interrupt::Link(*link.borrow_and_update()),
                () = tokio::time::sleep_until(wake_at) => Interrupt::Time,
                () = inner.calls.sooner.notified() => Interrupt::Sooner,
            }
        };
        // Looked at when it has been woken, and not for each message that arrives: 1,000 instructions less for a
        // request that is sent on.
        let mut interrupts = FuturesUnordered::from_iter([interrupt]);
        let hear = poll_fn(|cx| {
            shared.task.register(cx.waker());
            let hear = |run: &mut Run| run.poll_hear(&mut Context::from_waker(&told), BATCHES);
            match shared.with(hear) {
                Some(Poll::Ready(true)) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(false)) | None => Poll::Ready(()),
            }
        });
        // Messages come last, so that a flood of them delays no beat.
        let interrupt = tokio::select! {
            biased;
            Some(interrupt) = interrupts.next() => interrupt,
            () = hear => break false,
        };
        match interrupt {
            Interrupt::Stop => break true,
            Interrupt::Link(link) => drop(shared.with(|run| run.on_link(link))),
            Interrupt::Time => drop(shared.with(Run::on_time)),
            Interrupt::Sooner => {}
        }
    };
    if !stopped {
        let panicked = shared.run.is_poisoned();
        tracing::error!(server = %inner.own.id, panicked, "a server does not hear the cluster any more");
    }
    // Whoever has heard that it goes hears no more of it, and the other way round.
    let run = shared.end();
    if let Some(run) = &run {
        run.end_unsent();
    }
    inner.say_bye();
    drop(run);
}

/// A run, and the task that has to be woken for it if nobody sees to it first.
struct Shared {
    /// Nothing once the task has ended.
    run: Mutex<Option<Run>>,
    task: AtomicWaker,
}

impl Shared {
    /// Does something with the run. Gives nothing if it has ended, or something that was done before panicked.
    fn with<T>(&self, what: impl FnOnce(&mut Run) -> T) -> Option<T> {
        self.run.lock().ok()?.as_mut().map(what)
    }

    /// Nobody does anything with the run any more.
    fn end(&self) -> Option<Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes what has arrived, on the thread of whoever sent last. More than a batch is the task's.
    fn hear_here(self: Arc<Shared>) {
        let told = waker_ref(&self);
        // A panic is the task's, as if it had been there: it finds a lock that is poisoned.
        let heard = catch_unwind(AssertUnwindSafe(|| {
            let run = &mut *self.run.try_lock().ok()?;
            Some(run.as_mut()?.poll_hear(&mut Context::from_waker(&told), 1))
        }));
        if !matches!(heard, Ok(Some(Poll::Pending))) {
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        trampoline::woke();
        self.task.wake();
    }
}

impl ArcWake for Shared {
    fn wake_by_ref(shared: &Arc<Shared>) {
        ArcWake::wake(shared.clone());
    }

    fn wake(self: Arc<Shared>) {
        if let Err(shared) = trampoline::leave(self, Shared::hear_here) {
            shared.wake_task();
        }
    }
}

/// Ends a run when its task does, however that comes: the engine keeps the waker, and so all of it.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}
