//! What becomes of a message between two connections.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::{Duration, Instant};

/// How bad it is between connections.
#[derive(Debug, Clone, Default)]
pub struct Chaos {
    /// How long messages take. Two that go from one connection to one subscription keep their order, unless one is late.
    pub delay: Range<Duration>,
    /// Which part of the messages gets lost, from 0 to 1. Of what is asked of a store, as much gets no
    /// answer, half of it done and half not.
    pub loss: f64,
    /// Which part of the messages, from 0 to 1, takes up to two seconds longer and is overtaken by others, as what was in
    /// a broker that stood still.
    pub late: f64,
}

/// How much longer a message takes at most that is late.
const LATE: Duration = Duration::from_secs(2);

/// Decides by a seed.
pub(super) struct Weather {
    random: u64,
    chaos: Chaos,
    parted: FxHashSet<(u64, u64)>,
    /// When the last message from a connection to a queue is due: the next one is not before it.
    last_due: FxHashMap<(u64, u64), Instant>,
}

pub(super) enum Fate {
    Arrives(Option<Instant>),
    Lost,
}

impl Weather {
    pub(super) fn calm() -> Weather {
        Weather::new(0, Chaos::default())
    }

    pub(super) fn new(seed: u64, chaos: Chaos) -> Weather {
        Weather {
            random: seed,
            chaos,
            parted: FxHashSet::default(),
            last_due: FxHashMap::default(),
        }
    }

    pub(super) fn change(&mut self, chaos: Chaos) {
        self.chaos = chaos;
    }

    pub(super) fn part(&mut self, a: u64, b: u64) {
        self.parted.insert((a.min(b), a.max(b)));
    }

    pub(super) fn meet(&mut self, a: u64, b: u64) {
        self.parted.remove(&(a.min(b), a.max(b)));
    }

    pub(super) fn fate(&mut self, from: u64, to: u64, queue: u64) -> Fate {
        if self.parted.contains(&(from.min(to), from.max(to))) || self.strikes() {
            return Fate::Lost;
        }
        if self.chaos.late == 0.0 && self.chaos.delay.is_empty() && self.last_due.is_empty() {
            return Fate::Arrives(None);
        }
        let due = Instant::now() + self.delay();
        if 0.0 < self.chaos.late && self.unit() < self.chaos.late {
            return Fate::Arrives(Some(due + LATE.mul_f64(self.unit())));
        }
        let last = self.last_due.entry((from, queue)).or_insert(due);
        *last = due.max(*last);
        Fate::Arrives(Some(*last))
    }

    /// Whether this one gets lost.
    pub(super) fn strikes(&mut self) -> bool {
        0.0 < self.chaos.loss && self.unit() < self.chaos.loss
    }

    /// Heads or tails.
    pub(super) fn coin(&mut self) -> bool {
        self.unit() < 0.5
    }

    pub(super) fn delay(&mut self) -> Duration {
        let Range { start, end } = self.chaos.delay;
        start + end.saturating_sub(start).mul_f64(self.unit())
    }

    /// The next number of splitmix64, as one from 0 to 1.
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = crate::pick::mix(self.random);
        f64::from(u32::try_from(z >> 32).expect("has 32 bits")) / 4_294_967_296.0
    }
}
