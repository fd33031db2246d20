//! The engine in one process, which is also the one that tests torment.
//!
//! [`Memory::new`] makes a hub and a connection to it; any number of servers may use one connection, or
//! each have its own from [`Memory::connect`]. A connection can be cut off, or parted from another, and
//! with [`Memory::chaotic`] what travels between two connections is late and gets lost, as a seed says.

mod queue;
mod store;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use self::queue::{Queue, Reader};
use self::store::{Kept, MemoryStore};
pub use self::weather::Chaos;
use self::weather::{Fate, Weather};
use crate::engine::{
    Back, BoxFuture, Delivery, Engine, EngineError, Link, Pattern, PublishError, Subject,
    Subscription,
};
use crate::ids::check_name;
use crate::store::{Store, StoreError};

/// The largest payload: what brokers allow by default, so that what works here works there.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// A connection to the engine in one process.
///
/// # Examples
///
/// ```
/// use shaddock_cluster::memory::Memory;
///
/// let first = Memory::new();
/// let second = first.connect();
/// second.cut(); // the servers on it find themselves alone
/// second.heal();
/// ```
pub struct Memory {
    hub: Arc<Hub>,
    wire: Arc<Wire>,
}

impl Memory {
    /// A new hub, and the first connection to it. Everything arrives, at once.
    #[must_use]
    pub fn new() -> Arc<Memory> {
        Memory::on(Weather::calm(), false)
    }

    /// The same, where things go as `chaos` says. The same seed brings the same, as long as those who use it
    /// do the same; time is tokio's, so tests may pause it.
    #[must_use]
    pub fn chaotic(seed: u64, chaos: Chaos) -> Arc<Memory> {
        Memory::on(Weather::new(seed, chaos), true)
    }

    /// Other weather from now on, for all connections. What is on its way arrives as it would have.
    pub fn change(&self, chaos: Chaos) {
        self.hub.rough.store(true, Ordering::Release);
        self.hub.weather().change(chaos);
    }

    /// Another connection to the same hub.
    #[must_use]
    pub fn connect(&self) -> Arc<Memory> {
        Arc::new(Memory { hub: Arc::clone(&self.hub), wire: self.hub.wire() })
    }

    /// Cuts this connection: publishing fails, nothing arrives, and the store can't be reached.
    pub fn cut(&self) {
        self.wire.set(Link::Down);
    }

    /// Ends a cut. What was published meanwhile is lost.
    pub fn heal(&self) {
        self.wire.set(Link::Up);
    }

    /// Loses the stores alone: what is asked of them over this connection is not answered, and ends after a while.
    pub fn lose_stores(&self) {
        self.wire.has_stores.store(false, Ordering::Release);
    }

    /// Ends [`lose_stores`](Self::lose_stores).
    pub fn find_stores(&self) {
        self.wire.has_stores.store(true, Ordering::Release);
    }

    /// Loses whatever goes between this connection and another, while both believe that all is well.
    pub fn part_from(&self, other: &Memory) {
        self.hub.rough.store(true, Ordering::Release);
        self.hub.weather().part(self.wire.number, other.wire.number);
    }

    /// Ends [`part_from`](Self::part_from).
    pub fn meet(&self, other: &Memory) {
        self.hub.weather().meet(self.wire.number, other.wire.number);
    }

    /// What all stores hold now, for [`go_back_to`](Self::go_back_to).
    #[must_use]
    pub fn remember(&self) -> Remembered {
        let stores = self.hub.stores();
        Remembered(stores.iter().map(|(name, values)| (name.clone(), values.copy())).collect())
    }

    /// Makes all stores what they were, their revisions too, as brokers do that lose a disk or follow one that had not
    /// heard all. Watchers hear nothing of it.
    pub fn go_back_to(&self, then: &Remembered) {
        for (name, values) in self.hub.stores().iter() {
            values.become_what_was(then.0.get(name));
        }
    }

    fn on(weather: Weather, rough: bool) -> Arc<Memory> {
        let hub = Arc::new(Hub {
            routes: ArcSwap::default(),
            rough: AtomicBool::new(rough),
            weather: Mutex::new(weather),
            stores: Mutex::default(),
            last_number: AtomicU64::new(0),
        });
        let wire = hub.wire();
        Arc::new(Memory { hub, wire })
    }
}

/// What all stores held at some time.
#[derive(Debug)]
pub struct Remembered(BTreeMap<String, Kept>);

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("connection", &self.wire.number).finish_non_exhaustive()
    }
}

impl Engine for Memory {
    fn publish(
        &self,
        subject: &Subject,
        payload: Bytes,
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError> {
        if MAX_PAYLOAD < payload.len() {
            return Err(PublishError::TooLarge { len: payload.len(), limit: MAX_PAYLOAD });
        }
        if !self.wire.is_up() {
            return Err(PublishError::NoLink);
        }
        let routes = self.hub.routes.load();
        let (mut last, mut full) = (None::<&Place>, false);
        let mut carry = |place: &Place, payload: Bytes| {
            let message = Delivery::Message { subject: subject.clone(), payload };
            full |= !self.hub.carry(&self.wire, place, message);
        };
        routes.visit(subject.as_str(), |place| {
            if place.queue.wire().is_up()
                && let Some(before) = last.replace(place)
            {
                carry(before, payload.clone());
            }
        });
        if let Some(last) = last {
            // Most have one reader, who is given all of it.
            carry(last, payload);
        } else if let Some(Back { subject, token }) = back {
            routes.visit(subject.as_str(), |place| {
                // One that is full has more to worry about: the call has its deadline.
                self.hub.carry(&self.wire, place, Delivery::NobodyThere { token });
            });
        }
        if full { Err(PublishError::Full) } else { Ok(()) }
    }

    fn subscribe(
        &self,
        patterns: Vec<Pattern>,
        capacity: usize,
    ) -> BoxFuture<'_, Result<Subscription, EngineError>> {
        let queue = Arc::new(Queue::new(
            Arc::clone(&self.wire),
            self.hub.number(),
            patterns.len(),
            capacity,
        ));
        self.hub.change(|routes| {
            for (lane, pattern) in patterns.iter().enumerate() {
                routes.add(pattern, Place { queue: Arc::clone(&queue), lane });
            }
        });
        let hub = Arc::clone(&self.hub);
        let reader = Reader::new(queue, move |queue| {
            hub.change(|routes| {
                for pattern in &patterns {
                    routes.remove(pattern, queue);
                }
            });
        });
        Box::pin(async move { Ok(Subscription::new(reader)) })
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.wire.link.subscribe()
    }

    fn store(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
        let name = name.to_owned();
        Box::pin(async move {
            check_name(&name).map_err(StoreError::BadName)?;
            let mut stores = self.hub.stores();
            let values = Arc::clone(stores.entry(name).or_default());
            Ok(Arc::new(MemoryStore::new(values, Arc::clone(&self.hub), Arc::clone(&self.wire)))
                as Arc<dyn Store>)
        })
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}

/// What all connections share.
struct Hub {
    /// Read by every message, and copied by those who come and go.
    routes: ArcSwap<Routes>,
    /// Whether `weather` has to be asked at all.
    rough: AtomicBool,
    weather: Mutex<Weather>,
    stores: Mutex<BTreeMap<String, Arc<store::Values>>>,
    last_number: AtomicU64,
}

impl Hub {
    fn number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed)
    }

    fn wire(&self) -> Arc<Wire> {
        Arc::new(Wire {
            number: self.number(),
            link: watch::Sender::new(Link::Up),
            is_up: AtomicBool::new(true),
            has_stores: AtomicBool::new(true),
        })
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stores(&self) -> MutexGuard<'_, BTreeMap<String, Arc<store::Values>>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl Fn(&mut Routes)) {
        self.routes.rcu(|routes| {
            let mut routes = Routes::clone(routes);
            change(&mut routes);
            routes
        });
    }

    /// Brings something to a queue, or loses it. Returns false if the queue is full.
    fn carry(&self, from: &Wire, to: &Place, delivery: Delivery) -> bool {
        if !self.rough.load(Ordering::Acquire) {
            return to.queue.push(to.lane, delivery, None);
        }
        // Held until it is in the queue, so that no other overtakes it there.
        let mut weather = self.weather();
        match weather.fate(from.number, to.queue.wire().number, to.queue.number()) {
            Fate::Arrives(due) => to.queue.push(to.lane, delivery, due),
            Fate::Lost => true,
        }
    }
}

/// One connection, as the hub sees it.
struct Wire {
    number: u64,
    link: watch::Sender<Link>,
    /// Whether the link is up, without a lock: each message asks for this twice.
    is_up: AtomicBool,
    has_stores: AtomicBool,
}

impl Wire {
    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    fn set(&self, link: Link) {
        self.is_up.store(link == Link::Up, Ordering::Release);
        self.link.send_if_modified(|now| std::mem::replace(now, link) != link);
    }
}

/// Who listens to what.
#[derive(Clone, Default)]
struct Routes {
    exactly: FxHashMap<String, Vec<Place>>,
    below: FxHashMap<String, Vec<Place>>,
    /// Those of the names in `below`, each once.
    lengths: BTreeSet<usize>,
}

/// A queue, and which of its patterns something came by.
#[derive(Clone)]
struct Place {
    queue: Arc<Queue>,
    lane: usize,
}

impl Routes {
    fn add(&mut self, pattern: &Pattern, place: Place) {
        let (map, subject) = self.of(pattern);
        map.entry(subject.as_str().to_owned()).or_default().push(place);
        self.lengths = self.below.keys().map(String::len).collect();
    }

    fn remove(&mut self, pattern: &Pattern, queue: &Arc<Queue>) {
        let (map, subject) = self.of(pattern);
        let Some(places) = map.get_mut(subject.as_str()) else {
            return;
        };
        places.retain(|place| !Arc::ptr_eq(&place.queue, queue));
        if places.is_empty() {
            map.remove(subject.as_str());
        }
        self.lengths = self.below.keys().map(String::len).collect();
    }

    fn of<'a>(
        &mut self,
        pattern: &'a Pattern,
    ) -> (&mut FxHashMap<String, Vec<Place>>, &'a Subject) {
        match pattern {
            Pattern::Exactly(subject) => (&mut self.exactly, subject),
            Pattern::Below(subject) => (&mut self.below, subject),
        }
    }

    /// Shows `visit` everybody who listens to this.
    fn visit<'a>(&'a self, subject: &str, mut visit: impl FnMut(&'a Place)) {
        self.exactly.get(subject).into_iter().flatten().for_each(&mut visit);
        // A look at a length costs next to nothing, one into the map costs a hash.
        let above = self.lengths.iter().filter_map(|&len| subject.split_at_checked(len));
        for (above, _) in above.filter(|(_, rest)| rest.starts_with('.')) {
            self.below.get(above).into_iter().flatten().for_each(&mut visit);
        }
    }
}
