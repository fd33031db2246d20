//! When a lost connection is made anew.

use std::time::Duration;

use fastrand::Rng;

/// How a lost connection is made anew, for [`Builder::reconnect`](crate::Builder::reconnect).
///
/// The first attempt comes after `first`, and each one after twice the time of the one before, but after `longest` at most.
/// Each of these is cut by up to a half, at random, so that not all clients of a server that was restarted come at once. A
/// connection that lasts for `longest` starts this over.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use shaddock_client::{Client, Reconnect};
///
/// let reconnect = Reconnect { longest: Duration::from_secs(5), queue: 16, ..Reconnect::default() };
/// let builder = Client::builder().reconnect(reconnect);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Before the first attempt: half a second unless said otherwise.
    pub first: Duration,
    /// Between attempts: half a minute at most unless said otherwise.
    pub longest: Duration,
    /// After so many attempts in a row it is given up. `None`, which it is unless said otherwise: never.
    pub attempts: Option<u32>,
    /// As many requests and notifies wait for the next connection; those after them are refused. None unless said
    /// otherwise, so that nobody is surprised by what is said late.
    pub queue: usize,
    /// What chance begins with, where a test wants the same each time.
    pub seed: Option<u64>,
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            attempts: None,
            queue: 0,
            seed: None,
        }
    }
}

/// Counts attempts.
#[derive(Debug)]
pub(crate) struct BackOff {
    plan: Reconnect,
    /// Attempts in a row.
    attempts: u32,
    random: Rng,
}

impl BackOff {
    pub(crate) fn new(plan: Reconnect) -> BackOff {
        let random = plan.seed.map_or_else(Rng::new, Rng::with_seed);
        BackOff { plan, attempts: 0, random }
    }

    /// The connection lasted so long.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if self.plan.longest <= time {
            self.attempts = 0;
        }
    }

    /// The number of the next attempt, and when it is; `None` if there is to be no other.
    pub(crate) fn next(&mut self) -> Option<(u32, Duration)> {
        if self.plan.attempts.is_some_and(|limit| limit <= self.attempts) {
            return None;
        }
        let doubled = self.plan.first.saturating_mul(2_u32.saturating_pow(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        let wait = doubled.min(self.plan.longest).mul_f64(1.0 - self.random.f64() / 2.0);
        Some((self.attempts, wait))
    }

    /// How many attempts there were in a row.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_never_cut_by_more_than_half() {
        for seed in 0..100 {
            let plan = Reconnect { seed: Some(seed), attempts: Some(40), ..Reconnect::default() };
            let mut back_off = BackOff::new(plan.clone());
            let mut whole = plan.first;
            while let Some((attempt, wait)) = back_off.next() {
                assert!(whole / 2 <= wait && wait <= whole, "{attempt}: {wait:?} of {whole:?}");
                whole = plan.longest.min(whole * 2);
            }
            assert_eq!(back_off.attempts(), 40);
            back_off.lasted(plan.longest - Duration::from_millis(1));
            assert_eq!(back_off.next(), None);
            back_off.lasted(plan.longest);
            assert!(
                back_off.next().is_some_and(|(attempt, wait)| attempt == 1 && wait <= plan.first)
            );
        }
    }

    #[test]
    fn chance_is_a_seed() {
        let waits = |seed| {
            let mut back_off = BackOff::new(Reconnect { seed, ..Reconnect::default() });
            [(); 8].map(|()| back_off.next())
        };
        assert_eq!(waits(Some(7)), waits(Some(7)));
        assert_ne!(waits(Some(7)), waits(Some(8)));
    }
}
