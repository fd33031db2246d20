//! Who is in the cluster, as everyone may read it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::{ArcSwap, Guard};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::engine::Subject;
use crate::frame::{Met, Place};
use crate::ids::{Boot, Kind, Peer, ServerId};
use crate::pick::{self, Dice};

/// What servers tell about themselves: addresses and whatever else others should know.
pub type Meta = serde_json::Map<String, serde_json::Value>;

/// A server in the cluster, as it was when asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its id.
    pub id: ServerId,
    /// What it is for.
    pub kind: Kind,
    /// Which run of it.
    pub boot: Boot,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// How it is.
    pub state: State,
    /// What it tells about itself.
    pub meta: Arc<Meta>,
    hash: u64,
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Well.
    Alive,
    /// Not heard of for a while. It may be back in a moment, so keyed picks still go there.
    Suspect,
    /// About to go, or not ready yet: it answers, and should get nothing new.
    Leaving,
}

impl Member {
    pub(crate) fn new(peer: Peer, frontend: bool, state: State, meta: Arc<Meta>) -> Member {
        let hash = pick::hash(peer.id.as_str().as_bytes());
        Member { id: peer.id, kind: peer.kind, boot: peer.boot, frontend, state, meta, hash }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// The members of a cluster as one server knows them, itself included.
///
/// A cheap handle on a table that changes; what it returns does not. To be told of every change, once and
/// in order, see [`Receive::event`](crate::Receive::event).
#[derive(Debug, Clone)]
pub struct Members(Arc<Shared>);

impl Members {
    /// The member with this id, in whatever state.
    #[must_use]
    pub fn get(&self, id: &ServerId) -> Option<Member> {
        self.table().by_id.get(id).map(|entry| entry.member.clone())
    }

    /// The members of a kind that may get something new, sorted by id: all but the leaving.
    #[must_use]
    pub fn of_kind(&self, kind: &Kind) -> Arc<[Member]> {
        self.table().by_kind.get(kind).cloned().unwrap_or_else(|| Arc::from([]))
    }

    /// Every member in whatever state, sorted by id.
    #[must_use]
    pub fn all(&self) -> Vec<Member> {
        let mut all: Vec<Member> =
            self.table().by_id.values().map(|entry| entry.member.clone()).collect();
        all.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The member of a kind that a key belongs to: the same one, whoever asks, as long as they know the
    /// same members. Whether a member is suspect does not count: a hiccup moves nothing.
    #[must_use]
    pub fn pick(&self, kind: &Kind, key: &[u8]) -> Option<Member> {
        pick::rendezvous(self.table().by_kind.get(kind)?, key).cloned()
    }

    /// Any member of a kind, in turn; one that is not suspect if there is one.
    #[must_use]
    pub fn any(&self, kind: &Kind) -> Option<Member> {
        let members = self.of_kind(kind);
        let start = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || {
            members
                .iter()
                .cycle()
                .skip(start.checked_rem(members.len()).unwrap_or(0))
                .take(members.len())
        };
        in_turn().find(|member| member.state == State::Alive).or_else(|| in_turn().next()).cloned()
    }

    /// How busy a member is, as it said with its last beat: see [`Receive::load`](crate::Receive::load). Nothing, if it says
    /// nothing.
    #[must_use]
    pub fn load(&self, id: &ServerId) -> Option<u64> {
        self.table().by_id.get(id)?.load
    }

    /// A member of a kind, rather one with little [load](Members::load): of two that are drawn at random, which may be the
    /// same one, the less loaded. Suspects are drawn only where there is nobody else.
    ///
    /// Loads are old by the time they are compared. With the least loaded of all, whoever is asked between two beats
    /// would send everybody to one server; so of two servers the less loaded one is chosen three times of four, and of
    /// many no one more often than twice its share. (M. Mitzenmacher: The Power of Two Choices in Randomized Load
    /// Balancing, 1996; How Useful Is Old Information?, 2000.)
    #[must_use]
    pub fn lighter(&self, kind: &Kind) -> Option<Member> {
        let table = self.table();
        let members = table.by_kind.get(kind)?;
        let is_alive = |member: &&Member| member.state == State::Alive;
        let mut drawn_from: Vec<&Member> = members.iter().filter(is_alive).collect();
        if drawn_from.is_empty() {
            drawn_from = members.iter().collect();
        }
        let [one, other] = self.0.dice.throw(drawn_from.len())?.map(|at| drawn_from[at]);
        let load = |member: &Member| table.by_id.get(&member.id)?.load;
        let is_other_lighter = match (load(one), load(other)) {
            (Some(one), Some(other)) => other < one,
            // Nothing is known that speaks for either.
            _ => false,
        };
        Some(if is_other_lighter { other } else { one }.clone())
    }

    /// A number that grows with every change, to wait on.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Waits until `true_of` is true of the members. Forever, if it never is.
    pub async fn until(&self, mut true_of: impl FnMut(&Members) -> bool) {
        let mut version = self.version();
        while !true_of(self) {
            // The sender lives in `self`, so this can't fail.
            let _ = version.changed().await;
        }
    }
}

/// The way to one run of one server.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) to: ServerId,
    pub(crate) boot: Boot,
    pub(crate) subject: Subject,
    pub(crate) met: Met,
    /// Held while a frame is published, so that frames go out in the order of their places.
    pub(crate) sent: Mutex<Sent>,
}

/// What went out on a line.
#[derive(Debug)]
pub(crate) struct Sent {
    /// That of the last frame.
    pub(crate) place: Place,
    /// How many casts.
    pub(crate) casts: u64,
}

impl Sent {
    fn nothing(met: Met) -> Mutex<Sent> {
        Mutex::new(Sent { place: Place::new(met, 0), casts: 0 })
    }
}

#[derive(Debug)]
struct Shared {
    table: RwLock<Table>,
    /// Those of the table, for who sends.
    lines: ArcSwap<Lines>,
    version: watch::Sender<u64>,
    turn: AtomicUsize,
    dice: Dice,
    /// How many there are, suspects excepted: beats carry it.
    well: AtomicU64,
}

/// The way to each member.
pub(crate) type Lines = FxHashMap<ServerId, Arc<Line>>;

#[derive(Debug, Default)]
struct Table {
    by_id: FxHashMap<ServerId, TableEntry>,
    /// Without the leaving, sorted by id.
    by_kind: FxHashMap<Kind, Arc<[Member]>>,
}

#[derive(Debug)]
struct TableEntry {
    member: Member,
    line: Arc<Line>,
    /// No part of the member, for it changes with each beat, and is no news.
    load: Option<u64>,
}

impl Members {
    /// Draws that begin with the same seed are the same.
    pub(crate) fn new(seed: u64) -> Members {
        Members(Arc::new(Shared {
            table: RwLock::default(),
            lines: ArcSwap::default(),
            version: watch::Sender::new(0),
            turn: AtomicUsize::new(0),
            dice: Dice::new(seed),
            well: AtomicU64::new(0),
        }))
    }

    /// The lines to all, as they are now.
    pub(crate) fn lines(&self) -> Guard<Arc<Lines>> {
        self.0.lines.load()
    }

    /// The lines to all of a kind, the leaving too.
    pub(crate) fn lines_of(&self, kind: &Kind) -> Vec<Arc<Line>> {
        let table = self.table();
        let of_kind = table.by_id.values().filter(|entry| entry.member.kind == *kind);
        of_kind.map(|entry| Arc::clone(&entry.line)).collect()
    }

    pub(crate) fn well(&self) -> u64 {
        self.0.well.load(Ordering::Relaxed)
    }

    /// Puts a member in, or another state of it. Its line stays as long as its boot does, and nobody has
    /// forgotten anybody.
    pub(crate) fn put(&self, member: Member, met: Met, subject: impl FnOnce() -> Subject) {
        self.change(|table| {
            let (line, load) = match table.by_id.remove(&member.id) {
                Some(old) if old.line.boot == member.boot && old.line.met == met => {
                    (old.line, old.load)
                }
                _ => {
                    let line = Line {
                        to: member.id.clone(),
                        boot: member.boot,
                        subject: subject(),
                        met,
                        sent: Sent::nothing(met),
                    };
                    (Arc::new(line), None)
                }
            };
            table.by_id.insert(member.id.clone(), TableEntry { member, line, load });
        });
    }

    /// The line to a member begins anew: one of the two had forgotten the other.
    pub(crate) fn meet(&self, id: &ServerId, met: Met) {
        self.change(|table| {
            if let Some(TableEntry { line, .. }) = table.by_id.get_mut(id) {
                let (to, boot, subject) = (line.to.clone(), line.boot, line.subject.clone());
                *line = Arc::new(Line { to, boot, subject, met, sent: Sent::nothing(met) });
            }
        });
    }

    /// A member has said how busy it is.
    pub(crate) fn set_load(&self, id: &ServerId, load: Option<u64>) {
        let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = table.by_id.get_mut(id) {
            entry.load = load;
        }
    }

    pub(crate) fn remove(&self, id: &ServerId) -> Option<Member> {
        self.change(|table| table.by_id.remove(id).map(|entry| entry.member))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let changed = {
            let mut table = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
            let changed = change(&mut table);
            let well =
                table.by_id.values().filter(|entry| entry.member.state != State::Suspect).count();
            self.0.well.store(well.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
            table.index();
            let lines = table.by_id.iter().map(|(id, entry)| (id.clone(), Arc::clone(&entry.line)));
            self.0.lines.store(Arc::new(lines.collect()));
            changed
        };
        self.0.version.send_modify(|version| *version += 1);
        changed
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Groups anew. Changes are rare and reads are not.
    fn index(&mut self) {
        let mut by_kind: FxHashMap<Kind, Vec<Member>> = FxHashMap::default();
        for TableEntry { member, .. } in self.by_id.values() {
            if member.state != State::Leaving {
                by_kind.entry(member.kind.clone()).or_default().push(member.clone());
            }
        }
        self.by_kind = by_kind
            .into_iter()
            .map(|(kind, mut members)| {
                members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                (kind, members.into())
            })
            .collect();
    }
}
