//! The calls that wait for an answer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::error::{CallError, CallFailure};
use crate::ids::{Boot, ServerId};
use crate::trampoline;

/// What runs when a call ends.
pub(crate) type Then = Box<dyn FnOnce(Result<Bytes, CallError>) + Send>;

/// Between two looks for calls that are late, at least: a call ends at most this long after its deadline.
const LATE: Duration = Duration::from_millis(5);

/// Every call that waits, by number. Each ends once: whoever takes it out runs what it waits with.
#[derive(Default)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    /// Wakes the loop when a call came whose deadline is before the next look.
    pub(crate) sooner: Notify,
}

#[derive(Default)]
struct Table {
    last: u64,
    waiting: FxHashMap<u64, Waiting>,
    /// When the loop looks for late calls. Moved only by a look, or by a call that would be missed: calls
    /// that were answered leave nothing to clean up.
    look: Option<Instant>,
    /// Whether there is a loop that ends them.
    open: bool,
}

pub(crate) struct Waiting {
    to: ServerId,
    boot: Boot,
    deadline: Instant,
    then: Then,
}

impl Waiting {
    pub(crate) fn to(&self) -> (&ServerId, Boot) {
        (&self.to, self.boot)
    }

    pub(crate) fn end(self, end: Result<Bytes, CallFailure>) {
        (self.then)(end.map_err(|failure| CallError { server: self.to, failure }));
    }
}

impl Calls {
    /// Keeps a call and returns its number, or gives it back when no more can be made.
    pub(crate) fn add(
        &self,
        to: &ServerId,
        boot: Boot,
        deadline: Instant,
        then: Then,
    ) -> Result<u64, Then> {
        let mut table = self.table();
        if !table.open {
            return Err(then);
        }
        table.last += 1;
        let number = table.last;
        table.waiting.insert(number, Waiting { to: to.clone(), boot, deadline, then });
        if table.look.is_none_or(|look| deadline < look) {
            table.look = Some(deadline);
            drop(table);
            self.look_sooner();
        }
        Ok(number)
    }

    pub(crate) fn take(&self, number: u64) -> Option<Waiting> {
        self.table().waiting.remove(&number)
    }

    pub(crate) fn count(&self) -> usize {
        self.table().waiting.len()
    }

    /// Has the loop look at the time.
    pub(crate) fn look_sooner(&self) {
        trampoline::woke();
        self.sooner.notify_one();
    }

    /// When to look for late calls.
    pub(crate) fn look(&self) -> Option<Instant> {
        self.table().look
    }

    /// Ends those that are late.
    pub(crate) fn end_late(&self, now: Instant) {
        let late = {
            let mut table = self.table();
            let late = table.extract(|waiting| waiting.deadline <= now);
            table.look = table
                .waiting
                .values()
                .map(|waiting| waiting.deadline)
                .min()
                .map(|next| next.max(now + LATE));
            late
        };
        for waiting in late {
            waiting.end(Err(CallFailure::Timeout));
        }
    }

    /// Ends those that wait for this run of a server.
    pub(crate) fn end_of(&self, boot: Boot, failure: &CallFailure) {
        let gone = self.table().extract(|waiting| waiting.boot == boot);
        for waiting in gone {
            waiting.end(Err(failure.clone()));
        }
    }

    /// Ends all.
    pub(crate) fn end_all(&self, failure: &CallFailure) {
        let all = self.table().extract(|_| true);
        for waiting in all {
            waiting.end(Err(failure.clone()));
        }
    }

    /// Lets calls in.
    pub(crate) fn open(&self) {
        self.table().open = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.table().open
    }

    /// Ends all and lets no more in.
    pub(crate) fn close(&self) {
        self.table().open = false;
        self.end_all(&CallFailure::Closed);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes out what `which` chooses, oldest first: the order of the calls is the order of their ends.
    fn extract(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut taken: Vec<(u64, Waiting)> =
            self.waiting.extract_if(|_, waiting| which(waiting)).collect();
        taken.sort_unstable_by_key(|(number, _)| *number);
        taken.into_iter().map(|(_, waiting)| waiting).collect()
    }
}
