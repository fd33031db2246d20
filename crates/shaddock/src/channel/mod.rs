//! Named sets of members to push to: `Channel` and the `Channels` of a server.

pub(crate) mod push;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::error::{Fault, Result};
use crate::ids::{Member, ServerId, SessionId, Uid};
use crate::rpc::envelope;
use crate::session::fences::Fences;
use crate::session::remote::have_confirmed;
use crate::tasks::Tasks;
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
    fences: Fences,
    tasks: Tasks,
    on_lost: Box<OnLost>,
}

/// What runs for each member that was taken out without having left.
pub(crate) type OnLost = dyn Fn(Channel, Member) + Send + Sync;

/// A named set of members to push to.
///
/// A channel belongs to the server that opened it. Its members are on any front-end; a push sends
/// one message to each front-end that has members, however many. Push, join and leave happen one
/// after another, and none of them waits: every member sees the same order.
///
/// A member whose front-end died is taken out, and so is one whose uid another session has claimed since, and
/// one whose session has ended without anybody having said so here, within seconds. The server's
/// [`on_lost_member`](crate::Server::on_lost_member) hook runs for each.
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
    members: FxHashMap<Uid, Vec<Seat>>,
    count: usize,
    free_when_empty: bool,
    gone: bool,
}

/// Where somebody is.
struct Seat {
    frontend: ServerId,
    session: SessionId,
    revision: u64,
}

/// The members at one front-end, in the order they came.
struct Front {
    id: ServerId,
    members: Vec<(Uid, SessionId)>,
    /// Their ids as a push carries them, until somebody comes or goes.
    packed: Option<Bytes>,
}

impl Channels {
    pub(crate) fn new(pusher: Pusher, tasks: Tasks, on_lost: Box<OnLost>) -> Channels {
        let (rooms, fences) = (Mutex::default(), Fences::default());
        Channels(Arc::new(Registry { rooms, pusher, fences, tasks, on_lost }))
    }

    /// Whether nobody has claimed the uid since a session got it by this revision, for all that is known here.
    pub(crate) fn admit(&self, uid: &str, revision: u64) -> bool {
        self.0.fences.admit(uid, revision)
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

    /// Takes out everybody who was at `frontend`.
    pub(crate) fn lose_frontend(&self, frontend: &ServerId) {
        self.lose(|state| state.take(|member| member.frontend == *frontend, frontend));
    }

    /// Takes out everybody who was at `frontend`, and tells nobody: it had taken us for dead, and they are elsewhere.
    pub(crate) fn forget_frontend(&self, frontend: &ServerId) {
        self.take_out(|state| state.take(|member| member.frontend == *frontend, frontend));
    }

    /// Takes out the members at `frontend` whose sessions have ended.
    pub(crate) fn lose_sessions(&self, frontend: &ServerId, ended: &FxHashSet<SessionId>) {
        self.lose(|state| state.take(|member| ended.contains(&member.session), frontend));
    }

    /// Everybody, by front-end, each once.
    pub(crate) fn by_frontend(&self) -> FxHashMap<ServerId, FxHashSet<(SessionId, Uid)>> {
        let rooms: Vec<_> = lock(&self.0.rooms).values().cloned().collect();
        let mut all: FxHashMap<ServerId, FxHashSet<(SessionId, Uid)>> = FxHashMap::default();
        for room in rooms {
            for front in &lock(&room.state).fronts {
                let members = front.members.iter().map(|(uid, session)| (*session, uid.clone()));
                all.entry(front.id.clone()).or_default().extend(members);
            }
        }
        all
    }

    /// Takes a session at `frontend` out of the channel `name`, and tells nobody: it is elsewhere.
    pub(crate) fn forget_session(&self, name: &str, frontend: &ServerId, session: SessionId) {
        if let Some(channel) = self.get(name) {
            channel.with_leaving(|state| state.take(|member| member.session == session, frontend));
        }
    }

    /// The members of channels whose names `which` chooses, by front-end.
    pub(crate) fn members_of(
        &self,
        which: impl Fn(&str) -> bool,
    ) -> FxHashMap<ServerId, Vec<(Arc<str>, SessionId)>> {
        let mut rooms: Vec<_> = lock(&self.0.rooms).values().cloned().collect();
        rooms.retain(|room| which(&room.name));
        let mut all: FxHashMap<ServerId, Vec<(Arc<str>, SessionId)>> = FxHashMap::default();
        for room in rooms {
            for front in &lock(&room.state).fronts {
                let members = front.members.iter().map(|(_, id)| (room.name.clone(), *id));
                all.entry(front.id.clone()).or_default().extend(members);
            }
        }
        all
    }

    fn lose(&self, take: impl Fn(&mut State) -> Vec<Member>) {
        // All are out before anybody is told.
        for (channel, member) in self.take_out(take) {
            (self.0.on_lost)(channel, member);
        }
    }

    fn take_out(&self, take: impl Fn(&mut State) -> Vec<Member>) -> Vec<(Channel, Member)> {
        let rooms: Vec<_> = lock(&self.0.rooms).values().cloned().collect();
        let mut lost = Vec::new();
        for room in rooms {
            let channel = Channel { registry: self.0.clone(), room };
            let members = channel.with_leaving(&take);
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

    /// Lets a member in. Says whether they were outside, and may come in: one whose uid another session has
    /// claimed since may not, and one that had the uid before goes.
    pub fn join(&self, member: Member) -> bool {
        self.admit(&member) && self.inside(|state| state.join(member.clone()))
    }

    /// Tells those inside, then lets the member in, in one step: the newcomer does not hear
    /// themselves, and of two who come at once one hears the other. Says whether they came in, as
    /// [`join`](Channel::join) does; if not, nobody is told.
    ///
    /// # Errors
    ///
    /// As [`push`](Channel::push); a body that can't be sent lets nobody in.
    pub fn join_telling(&self, member: Member, route: &str, body: &impl Serialize) -> Result<bool> {
        let pusher = &self.registry.pusher;
        let body = pusher.encode(route, body)?;
        Ok(self.admit(&member)
            && self.inside(|state| {
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
            for Seat { frontend, session, .. } in places {
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

    /// Whether a member may come in. Those who had its uid before it go.
    fn admit(&self, member: &Member) -> bool {
        if !self.registry.fences.admit(&member.uid, member.revision) {
            return false;
        }
        // The room stays, even if it is empty for a moment. They may not know yet.
        for stale in self.with(|state| state.take_stale(member)) {
            let (caller, tasks) = (self.registry.pusher.caller(), &self.registry.tasks);
            have_confirmed(caller, tasks, stale.frontend.clone(), &stale.uid);
            (self.registry.on_lost)(self.clone(), stale);
        }
        true
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
            places
                .iter()
                .any(|seat| seat.frontend == member.frontend && seat.session == member.session)
        })
    }

    fn join(&mut self, member: Member) -> bool {
        if self.has(&member) {
            return false;
        }
        let Member { uid, frontend, session, revision } = member;
        let seat = Seat { frontend: frontend.clone(), session, revision };
        self.members.entry(uid.clone()).or_default().push(seat);
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
            places
                .retain(|seat| seat.frontend != member.frontend || seat.session != member.session);
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

    /// Takes out those at one front-end whom `which` chooses.
    fn take(&mut self, which: impl Fn(&Member) -> bool, frontend: &ServerId) -> Vec<Member> {
        let Some(front) = self.fronts.iter().find(|front| front.id == *frontend) else {
            return Vec::new();
        };
        let taken: Vec<_> = self.of(front).filter(which).collect();
        for member in &taken {
            self.leave(member);
        }
        taken
    }

    /// Takes out those who claimed the uid of `member` before it did.
    fn take_stale(&mut self, member: &Member) -> Vec<Member> {
        let seats = self.members.get(&member.uid).map(Vec::as_slice).unwrap_or_default();
        let stale = |seat: &&Seat| 0 < seat.revision && seat.revision < member.revision;
        let is_other =
            |other: &Member| other.frontend != member.frontend || other.session != member.session;
        let taken: Vec<_> = seats
            .iter()
            .filter(stale)
            .map(|seat| seat.member(&member.uid))
            .filter(is_other)
            .collect();
        for member in &taken {
            self.leave(member);
        }
        taken
    }

    fn all(&self) -> impl Iterator<Item = Member> {
        self.fronts.iter().flat_map(|front| self.of(front))
    }

    fn of<'a>(&'a self, front: &'a Front) -> impl Iterator<Item = Member> + 'a {
        front.members.iter().filter_map(|(uid, session)| {
            let seats = self.members.get(uid)?;
            let seat = |seat: &&Seat| seat.frontend == front.id && seat.session == *session;
            Some(seats.iter().find(seat)?.member(uid))
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

impl Seat {
    fn member(&self, uid: &Uid) -> Member {
        let Seat { frontend, session, revision } = self;
        let (uid, frontend) = (uid.clone(), frontend.clone());
        Member { uid, frontend, session: *session, revision: *revision }
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
