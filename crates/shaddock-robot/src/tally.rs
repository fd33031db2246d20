//! What is counted while a robot works.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

/// Messages, each counted once, from the first to the last and also outside of the time that is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests that were sent; of logins, those that were begun.
    pub sent: u64,
    /// What arrived of what was due: answers to echoes, copies of chat messages, logins that were let in.
    pub received: u64,
    /// What was due and did not arrive.
    pub lost: u64,
    /// What arrived again.
    pub doubled: u64,
    /// What arrived after something that was sent later by the same client.
    pub out_of_order: u64,
    /// Whatever else went wrong; see [`Report::errors`](crate::Report::errors).
    pub errors: u64,
}

/// What one thread has counted.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    /// What went wrong, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
    /// What should yet arrive: answers, copies.
    pub(crate) due: u64,
    /// Requests whose own answer says nothing but that it worked.
    pub(crate) unanswered: u64,
    /// Clients that are in, or have failed to come in.
    pub(crate) settled: usize,
    /// When something last arrived.
    pub(crate) last: Option<Instant>,
    /// Since somebody last took it.
    pub(crate) interval: Interval,
    /// Nothing is counted to `latencies` that was intended at another time.
    pub(crate) window: Option<(Instant, Instant)>,
    /// Of what was intended within the window, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// What was counted in some seconds.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) units: u64,
    /// Of what arrived, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// More different errors are one "others": a server can say what it likes.
const KINDS: usize = 20;

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            errors: BTreeMap::new(),
            due: 0,
            unanswered: 0,
            settled: 0,
            last: None,
            interval: Interval::default(),
            window: None,
            latencies: histogram(),
        }
    }
}

impl Default for Interval {
    fn default() -> Self {
        Self { units: 0, latencies: histogram() }
    }
}

impl Tally {
    /// Something is begun of which one thing is due.
    pub(crate) fn begun(&mut self) {
        self.counts.sent += 1;
        self.due += 1;
    }

    /// What was begun has failed: it is an error, and not lost.
    pub(crate) fn failed(&mut self, why: impl ToString) {
        self.due = self.due.saturating_sub(1);
        self.error(why);
    }

    /// Something arrived that was due, and that was intended at `intended`.
    pub(crate) fn arrived(&mut self, intended: Instant, now: Instant) {
        self.counts.received += 1;
        self.due = self.due.saturating_sub(1);
        self.interval.units += 1;
        self.last = Some(now);
        let latency = now.saturating_duration_since(intended);
        self.interval.latencies.saturating_record(nanoseconds(latency));
        if self.window.is_some_and(|(from, until)| from <= intended && intended < until) {
            self.latencies.saturating_record(nanoseconds(latency));
        }
    }

    /// Something went wrong.
    pub(crate) fn error(&mut self, what: impl ToString) {
        self.counts.errors += 1;
        let what = what.to_string();
        let what = match self.errors.len() < KINDS || self.errors.contains_key(&what) {
            true => what,
            false => "others".to_owned(),
        };
        *self.errors.entry(what).or_default() += 1;
    }

    /// What happened since it was last called.
    pub(crate) fn take_interval(&mut self) -> Interval {
        mem::take(&mut self.interval)
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: &Tally) {
        let Counts { sent, received, lost, doubled, out_of_order, errors } = &other.counts;
        self.counts.sent += sent;
        self.counts.received += received;
        self.counts.lost += lost;
        self.counts.doubled += doubled;
        self.counts.out_of_order += out_of_order;
        self.counts.errors += errors;
        for (what, count) in &other.errors {
            *self.errors.entry(what.clone()).or_default() += count;
        }
        self.due += other.due;
        self.unanswered += other.unanswered;
        self.settled += other.settled;
        self.last = self.last.max(other.last);
        self.latencies.add(&other.latencies).expect("all histograms are alike");
    }
}

impl Interval {
    /// Adds what another thread has counted in the same time.
    pub(crate) fn add(&mut self, other: &Interval) {
        self.units += other.units;
        self.latencies.add(&other.latencies).expect("all histograms are alike");
    }
}

/// From 1 µs to 10 minutes, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are in order")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_from_the_intended_moment_and_only_within_the_window() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut tally = Tally { due: 3, window: Some((at(10), at(20))), ..Tally::default() };
        for intended in [5, 15, 20] {
            tally.arrived(at(intended), at(25));
        }
        assert_eq!((tally.counts.received, tally.due, tally.interval.units), (3, 0, 3));
        assert_eq!(tally.latencies.len(), 1);
        assert_eq!(tally.latencies.max() / 1_000_000, 10);
        assert_eq!(tally.take_interval().latencies.len(), 3);
        assert_eq!(tally.take_interval().units, 0);
    }

    #[test]
    fn of_very_many_different_errors_some_are_kept() {
        let mut tally = Tally::default();
        for number in 0..100 {
            tally.error(number);
        }
        assert_eq!((tally.errors.len(), tally.errors["others"]), (KINDS + 1, 80));
        assert_eq!(tally.counts.errors, 100);
    }
}
