//! Named sets of members to push to: `Channel` and the `Channels` of a server.

pub(crate) mod push;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::error::{Fault, Result};
use crate::ids::{Member, ServerId, SessionId, Uid};
use crate::rpc::envelope;
use push::Pusher;

/// The channels of one server. Cheap to clone; an argument of handlers.
///
/// Each server has its own, also where several run in one process: equal names on two servers are
/// two channels.
#[derive(Clone)]
pub struct Channels(Arc<Registry>);

struct Registry {
    rooms: Mutex<FxHashMap<Arc<str>, Arc<Room>>>,
    pusher: Pusher,
}

/// A named set of members to push to.
///
/// A channel belongs to the server that opened it. Its members are on any front-end; a push sends
/// one message to each front-end that has members, however many. Push, join and leave happen one
/// after another, and none of them waits: every member sees the same order.
///
/// A member whose front-end died is taken out, and the server's
/// [`on_lost_member`](crate::Server::on_lost_member) hook runs.
#[derive(Clone)]
pub struct Channel {
    registry: Arc<Registry>,
    room: Arc<Room>,
}

struct Room {
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fronts: Vec<Front>,
    /// By uid, where to find them.
    members: FxHashMap<Uid, Vec<(ServerId, SessionId)>>,
    count: usize,
    free_when_empty: bool,
    gone: bool,
}

/// The members at one front-end, in the order they came.
struct Front {
    id: ServerId,
    members: Vec<(Uid, SessionId)>,
    /// Their ids as a push carries them, until somebody comes or goes.
    packed: Option<Bytes>,
}

impl Channels {
    pub(crate) fn new(pusher: Pusher) -> Channels {
        Channels(Arc::new(Registry { rooms: Mutex::default(), pusher }))
    }

    /// The channel `name`, made if there is none.
    pub fn open(&self, name: &str) -> Channel {
        let mut rooms = lock(&self.0.rooms);
        let room = match rooms.get(name) {
            Some(room) => room.clone(),
            None => {
                let name: Arc<str> = name.into();
                let room = Arc::new(Room { name: name.clone(), state: Mutex::default() });
                rooms.insert(name, room.clone());
                room
            }
        };
        Channel { registry: self.0.clone(), room }
    }

    /// The channel `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<Channel> {
        let room = lock(&self.0.rooms).get(name)?.clone();
        Some(Channel { registry: self.0.clone(), room })
    }

    /// The names of all channels.
    pub fn names(&self) -> Vec<String> {
        lock(&self.0.rooms).keys().map(|name| name.to_string()).collect()
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        lock(&self.0.rooms).len()
    }

    /// Pushes to a list of members, in no channel.
    ///
    /// # Errors
    ///
    /// If the body can't be written as JSON or does not fit the route's schema, or a front-end
    /// can't be reached; the others get theirs all the same.
    pub fn push_to(&self, members: &[Member], route: &str, body: &impl Serialize) -> Result<()> {
        let body = self.0.pusher.encode(route, body)?;
        let mut fronts: FxHashMap<&ServerId, Vec<SessionId>> = FxHashMap::default();
        for member in members {
            fronts.entry(&member.frontend).or_default().push(member.session);
        }
        let mut sent = Ok(());
        for (frontend, sessions) in fronts {
            let told = self.0.pusher.push_to(frontend, &sessions, route, &body);
            sent = sent.and(told);
        }
        sent
    }

    /// Takes out everybody who was at `frontend`, and says who was where.
    pub(crate) fn lose_frontend(&self, frontend: &ServerId) -> Vec<(Channel, Member)> {
        let rooms: Vec<_> = lock(&self.0.rooms).values().cloned().collect();
        let mut lost = Vec::new();
        for room in rooms {
            let channel = Channel { registry: self.0.clone(), room };
            let members = channel.with_leaving(|state| state.lose_front(frontend));
            lost.extend(members.into_iter().map(|member| (channel.clone(), member)));
        }
        lost
    }
}

impl Channel {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.room.name
    }

    /// From now on the last one to leave takes the channel away.
    pub fn free_when_empty(&self) {
        self.with(|state| state.free_when_empty = true);
    }

    /// Lets a member in. Says whether they were outside.
    pub fn join(&self, member: Member) -> bool {
        self.inside(|state| state.join(member.clone()))
    }

    /// Tells those inside, then lets the member in, in one step: the newcomer does not hear
    /// themselves, and of two who come at once one hears the other. Says whether they were outside;
    /// if they were in already, nobody is told.
    ///
    /// # Errors
    ///
    /// As [`push`](Channel::push); a body that can't be sent lets nobody in.
    pub fn join_telling(&self, member: Member, route: &str, body: &impl Serialize) -> Result<bool> {
        let pusher = &self.registry.pusher;
        let body = pusher.encode(route, body)?;
        Ok(self.inside(|state| {
            if state.has(&member) {
                return false;
            }
            // A front-end that can't be reached now loses its members in a moment.
            let _ = state.push(pusher, route, &body);
            state.join(member.clone())
        }))
    }

    /// Lets a member out. Says whether they were inside.
    pub fn leave(&self, member: &Member) -> bool {
        self.with_leaving(|state| state.leave(member))
    }

    /// Lets a member out and tells those left, in one step. Says whether they were inside.
    ///
    /// # Errors
    ///
    /// As [`push`](Channel::push); the member is out all the same.
    pub fn leave_telling(
        &self,
        member: &Member,
        route: &str,
        body: &impl Serialize,
    ) -> Result<bool> {
        let pusher = &self.registry.pusher;
        let encoded = pusher.encode(route, body);
        self.with_leaving(|state| {
            let left = state.leave(member);
            if left {
                state.push(pusher, route, &encoded?)?;
            }
            Ok(left)
        })
    }

    /// Everybody inside.
    pub fn members(&self) -> Vec<Member> {
        self.with(|state| state.all().collect())
    }

    /// The uids of everybody inside, in the order they came to each front-end.
    pub fn uids(&self) -> Vec<Uid> {
        self.with(|state| {
            state
                .fronts
                .iter()
                .flat_map(|front| &front.members)
                .map(|(uid, _)| uid.clone())
                .collect()
        })
    }

    /// How many members there are.
    pub fn count(&self) -> usize {
        self.with(|state| state.count)
    }

    /// Whether anybody of this uid is inside.
    pub fn contains(&self, uid: &str) -> bool {
        self.with(|state| state.members.contains_key(uid))
    }

    /// Pushes to everybody inside.
    ///
    /// # Errors
    ///
    /// If the body can't be written as JSON or does not fit the route's schema: then nobody gets
    /// it. If a front-end can't be reached: then those of the others get it.
    pub fn push(&self, route: &str, body: &impl Serialize) -> Result<()> {
        let pusher = &self.registry.pusher;
        let body = pusher.encode(route, body)?;
        self.with(|state| state.push(pusher, route, &body))
    }

    /// Pushes to one user inside, on every connection they are in with.
    ///
    /// # Errors
    ///
    /// A fault with code 500 if there is no such user inside; else as [`push`](Channel::push).
    pub fn push_to(&self, uid: &str, route: &str, body: &impl Serialize) -> Result<()> {
        let pusher = &self.registry.pusher;
        let body = pusher.encode(route, body)?;
        self.with(|state| {
            let Some(places) = state.members.get(uid) else {
                return Err(Fault::new(500, format!("{uid} is not in {}", self.room.name)));
            };
            let mut sent = Ok(());
            for (frontend, session) in places {
                let told = pusher.push_to(frontend, &[*session], route, &body);
                sent = sent.and(told);
            }
            sent
        })
    }

    /// Takes the channel away, with everybody in it.
    pub fn destroy(&self) {
        let room = self.current();
        let mut rooms = lock(&self.registry.rooms);
        *lock(&room.state) = State { gone: true, ..State::default() };
        remove(&mut rooms, &room);
    }

    /// The room that has this channel's name: another one, if this was taken away and opened again.
    fn current(&self) -> Arc<Room> {
        let gone = lock(&self.room.state).gone;
        let other = gone.then(|| lock(&self.registry.rooms).get(self.name()).cloned());
        other.flatten().unwrap_or_else(|| self.room.clone())
    }

    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut lock(&self.current().state))
    }

    /// As `with`, for what may empty the channel.
    fn with_leaving<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let room = self.current();
        let (result, freed) = {
            let mut state = lock(&room.state);
            let result = act(&mut state);
            (result, state.is_free())
        };
        if freed {
            let mut rooms = lock(&self.registry.rooms);
            let mut state = lock(&room.state);
            // Somebody may have come in between.
            if state.is_free() {
                state.gone = true;
                remove(&mut rooms, &room);
            }
        }
        result
    }

    /// As `with`, for what somebody comes in by: never in a room that was taken away.
    fn inside<R>(&self, act: impl Fn(&mut State) -> R) -> R {
        loop {
            let room = self.current();
            let mut state = lock(&room.state);
            if !state.gone {
                return act(&mut state);
            }
            let free_when_empty = state.free_when_empty;
            drop(state);
            let again = Channels(self.registry.clone()).open(self.name());
            lock(&again.room.state).free_when_empty |= free_when_empty;
        }
    }
}

/// Takes `room` out of the registry, unless another has its name by now.
fn remove(rooms: &mut FxHashMap<Arc<str>, Arc<Room>>, room: &Arc<Room>) {
    if rooms.get(&room.name).is_some_and(|other| Arc::ptr_eq(other, room)) {
        rooms.remove(&room.name);
    }
}

impl State {
    fn is_free(&self) -> bool {
        self.count == 0 && self.free_when_empty && !self.gone
    }

    fn has(&self, member: &Member) -> bool {
        self.members.get(&member.uid).is_some_and(|places| {
            places.iter().any(|(frontend, session)| {
                *frontend == member.frontend && *session == member.session
            })
        })
    }

    fn join(&mut self, member: Member) -> bool {
        if self.has(&member) {
            return false;
        }
        let Member { uid, frontend, session } = member;
        self.members.entry(uid.clone()).or_default().push((frontend.clone(), session));
        let front = match self.fronts.iter().position(|front| front.id == frontend) {
            Some(at) => &mut self.fronts[at],
            None => {
                self.fronts.push(Front { id: frontend, members: Vec::new(), packed: None });
                let last = self.fronts.len() - 1;
                &mut self.fronts[last]
            }
        };
        front.members.push((uid, session));
        front.packed = None;
        self.count += 1;
        true
    }

    fn leave(&mut self, member: &Member) -> bool {
        if !self.has(member) {
            return false;
        }
        if let Some(places) = self.members.get_mut(&member.uid) {
            places.retain(|(frontend, session)| {
                *frontend != member.frontend || *session != member.session
            });
            if places.is_empty() {
                self.members.remove(&member.uid);
            }
        }
        if let Some(front) = self.fronts.iter_mut().find(|front| front.id == member.frontend) {
            front.members.retain(|(uid, session)| *session != member.session || *uid != member.uid);
            front.packed = None;
        }
        self.fronts.retain(|front| !front.members.is_empty());
        self.count -= 1;
        true
    }

    fn lose_front(&mut self, frontend: &ServerId) -> Vec<Member> {
        let Some(at) = self.fronts.iter().position(|front| front.id == *frontend) else {
            return Vec::new();
        };
        let front = self.fronts.remove(at);
        self.count -= front.members.len();
        for (uid, _) in &front.members {
            if let Some(places) = self.members.get_mut(uid) {
                places.retain(|(other, _)| other != frontend);
                if places.is_empty() {
                    self.members.remove(uid);
                }
            }
        }
        let member = |(uid, session)| Member { uid, frontend: front.id.clone(), session };
        front.members.into_iter().map(member).collect()
    }

    fn all(&self) -> impl Iterator<Item = Member> {
        self.fronts.iter().flat_map(|front| {
            front.members.iter().map(|(uid, session)| Member {
                uid: uid.clone(),
                frontend: front.id.clone(),
                session: *session,
            })
        })
    }

    fn push(&mut self, pusher: &Pusher, route: &str, body: &Bytes) -> Result<()> {
        let mut sent = Ok(());
        for front in &mut self.fronts {
            let packed = front.packed.get_or_insert_with(|| {
                envelope::pack_sessions(front.members.iter().map(|(_, session)| *session))
            });
            let told = pusher.push_packed(&front.id, packed, route, body);
            sent = sent.and(told);
        }
        sent
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channels({})", self.count())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({}, {} members)", self.name(), self.count())
    }
}
