//! Judges who is alive: beats and silence in, events out. It asks no clock; `now` is an argument.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use crate::config::Timings;
use crate::engine::Subject;
use crate::frame::Met;
use crate::ids::{Boot, Kind, Peer, ServerId};
use crate::members::{Member, Members, Meta, State};
use crate::receive::Event;

/// What every server tells all others once in a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) id: ServerId,
    pub(crate) kind: Kind,
    pub(crate) boot: Boot,
    /// Milliseconds since this run began: of two runs of one server the younger is right.
    pub(crate) age: u64,
    #[serde(default)]
    pub(crate) frontend: bool,
    #[serde(default)]
    pub(crate) leaving: bool,
    /// How many servers this one believes to be well, itself included.
    #[serde(default)]
    pub(crate) well: u64,
    /// How busy it is, in its kind's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<u64>,
    #[serde(default)]
    pub(crate) meta: Arc<Meta>,
    /// For one server alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) greeting: Option<Greeting>,
}

/// What a server says to one that it has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    /// Which run is meant: another may have its id by now.
    pub(crate) to: Boot,
    pub(crate) met: Met,
    /// Whether the sender is sure that the other knows this. If not, it should be greeted back.
    pub(crate) sure: bool,
}

/// How many runs of other servers are remembered that are not members any more.
const STRANGERS: usize = 4096;

/// Said by a server that goes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bye {
    pub(crate) id: ServerId,
    pub(crate) boot: Boot,
}

/// Asks everyone for a beat.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) boot: Boot,
    /// Where to send it.
    pub(crate) inbox: String,
}

/// What one server knows of when it heard of the others. The table that everyone reads is its output.
pub(crate) struct Roster {
    members: Members,
    timings: Timings,
    heard: FxHashMap<ServerId, Heard>,
    /// Every run of a server that was met, those that are taken for dead too.
    acquaintances: FxHashMap<Boot, Acquaintance>,
    /// What happened since someone took it.
    pub(crate) events: Vec<Event>,
}

struct Heard {
    boot: Boot,
    last: Instant,
    /// Its age as it said last.
    age: u64,
}

#[derive(Clone, Copy)]
struct Acquaintance {
    met: Met,
    /// When it began, at the latest: a beat that took long makes it seem later.
    began: Instant,
    /// It has said good-bye. What may yet come of it was sent before.
    has_left: bool,
    /// How often it knows that it was taken in.
    known: u32,
    /// Whether it is a member.
    here: bool,
}

impl Roster {
    pub(crate) fn new(members: Members, timings: Timings) -> Roster {
        Roster {
            members,
            timings,
            heard: FxHashMap::default(),
            acquaintances: FxHashMap::default(),
            events: Vec::new(),
        }
    }

    /// Takes in a beat of another server; `subject` is where to reach it.
    pub(crate) fn beat(&mut self, beat: Beat, now: Instant, subject: impl FnOnce() -> Subject) {
        let began = now.checked_sub(Duration::from_millis(beat.age)).unwrap_or(now);
        let (began, is_new) = match self.acquaintances.get_mut(&beat.boot) {
            Some(other) if other.has_left => return,
            Some(other) => {
                other.began = other.began.min(began);
                (other.began, false)
            }
            None => (began, true),
        };
        // Of two that began at once it is the newcomer, and among those who are known always the same one.
        let is_younger = |other: Boot| {
            let since = self.acquaintances.get(&other).map_or(now, |other| other.began);
            since < began || (since == began && (is_new || other < beat.boot))
        };
        match self.heard.get_mut(&beat.id) {
            Some(heard) if heard.boot == beat.boot => {
                heard.last = now;
                // What it tells about itself has changed since, for another one came before it.
                if beat.age < heard.age {
                    return;
                }
                heard.age = beat.age;
            }
            Some(heard) if !is_younger(heard.boot) => return,
            known => {
                if known.is_some() {
                    self.remove(&beat.id, Event::Died);
                }
                self.heard
                    .insert(beat.id.clone(), Heard { boot: beat.boot, last: now, age: beat.age });
            }
        }
        let known = self.members.get(&beat.id);
        let (id, load) = (beat.id.clone(), beat.load);
        let state = if beat.leaving { State::Leaving } else { State::Alive };
        let peer = Peer { id: beat.id, kind: beat.kind, boot: beat.boot };
        let member = Member::new(peer, beat.frontend, state, beat.meta);
        let met = match known {
            None => self.meet(member.boot, began),
            Some(_) => self.acquaintances.get(&member.boot).map_or(Met::FIRST, |other| other.met),
        };
        match known {
            None => self.events.push(Event::Joined(member.clone())),
            Some(known) if known == member => return self.members.set_load(&id, load),
            Some(known) => {
                if known.state == State::Suspect {
                    self.events.push(Event::Alive(member.clone()));
                }
                if known.meta != member.meta || (known.state == State::Leaving) != beat.leaving {
                    self.events.push(Event::Changed(member.clone()));
                }
            }
        }
        self.members.put(member, met, subject);
        self.members.set_load(&id, load);
    }

    /// Takes in what another knows of having met us, with a message of its. Says whether the message counts:
    /// what was sent before the other knew that it was taken for dead does not.
    pub(crate) fn hear(&mut self, id: &ServerId, boot: Boot, met: Met) -> bool {
        let Some(other) = self.acquaintances.get_mut(&boot) else {
            return true;
        };
        if !other.here {
            return false;
        }
        other.known = other.known.max(met.theirs);
        let counts = other.met.ours <= met.theirs;
        if other.met.theirs < met.ours {
            other.met.theirs = met.ours;
            let met = other.met;
            if let Some(by) = self.members.get(id) {
                self.members.meet(id, met);
                self.events.push(Event::Forgotten { by });
            }
        }
        counts
    }

    /// How to greet a member.
    pub(crate) fn greeting(&self, boot: Boot) -> Option<Greeting> {
        let Acquaintance { met, known, here, .. } = *self.acquaintances.get(&boot)?;
        here.then_some(Greeting { to: boot, met, sure: met.ours <= known })
    }

    /// A run of a server comes in, perhaps again.
    fn meet(&mut self, boot: Boot, began: Instant) -> Met {
        let met = Met { ours: 0, ..Met::FIRST };
        let new = Acquaintance { met, began, has_left: false, known: 1, here: true };
        let other = self.acquaintances.entry(boot).or_insert(new);
        other.met.ours += 1;
        other.here = true;
        other.met
    }

    /// Takes in a good-bye.
    pub(crate) fn bye(&mut self, bye: &Bye) {
        if let Some(other) = self.acquaintances.get_mut(&bye.boot) {
            other.has_left = true;
        }
        if self.heard.get(&bye.id).is_some_and(|heard| heard.boot == bye.boot) {
            self.remove(&bye.id, Event::Left);
        }
    }

    /// Does not trust this run of a server any more, until it is heard of.
    pub(crate) fn doubt(&mut self, id: &ServerId, boot: Boot) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if member.boot == boot && member.state == State::Alive {
            self.suspect(member);
        }
    }

    /// Judges everyone by their silence, and returns when to do it again.
    pub(crate) fn judge(&mut self, now: Instant) -> Instant {
        let mut next = now + self.timings.suspect;
        let mut silent = Vec::new();
        for (id, heard) in &self.heard {
            if heard.last + self.timings.suspect <= now {
                silent.push((id.clone(), heard.last + self.timings.dead));
            } else {
                next = next.min(heard.last + self.timings.suspect);
            }
        }
        // One order, whatever the map's, so that a run can be repeated.
        silent.sort_unstable();
        for (id, death) in silent {
            if death <= now {
                self.remove(&id, Event::Died);
                continue;
            }
            next = next.min(death);
            if let Some(member) =
                self.members.get(&id).filter(|member| member.state == State::Alive)
            {
                self.suspect(member);
            }
        }
        next
    }

    /// Gives everyone a whole period: their silence was ours.
    pub(crate) fn forgive(&mut self, now: Instant) {
        for heard in self.heard.values_mut() {
            heard.last = now;
        }
    }

    fn suspect(&mut self, mut member: Member) {
        member.state = State::Suspect;
        self.events.push(Event::Suspect(member.clone()));
        let met = self.acquaintances.get(&member.boot).map_or(Met::FIRST, |other| other.met);
        self.members.put(member, met, || unreachable!("a member that is known has a line"));
    }

    fn remove(&mut self, id: &ServerId, event: fn(Member) -> Event) {
        self.heard.remove(id);
        if let Some(member) = self.members.remove(id) {
            if let Some(other) = self.acquaintances.get_mut(&member.boot) {
                other.here = false;
            }
            if STRANGERS + self.heard.len() < self.acquaintances.len() {
                self.acquaintances.retain(|_, other| other.here);
            }
            self.events.push(event(member));
        }
    }
}
