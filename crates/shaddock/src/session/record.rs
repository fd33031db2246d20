//! A session where it lives: on its front-end.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;
use shaddock_cluster::{Claim, Directory};
use shaddock_protocol::{Route, Voice};
use shaddock_transport::{AccessList, Losses};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::mailbox::{Bounds, Mailbox, Order, Refused};
use super::table::SessionTable;
use super::{Change, How, Identity, Session, Unchanged};
use crate::app::AppEvent;
use crate::channel::push::{Deliver, Pusher};
use crate::error::{Fault, Result};
use crate::group::table::{GROUPS, Memberships, Term, TooMany};
use crate::ids::{Kind, ServerId, SessionId, Uid};
use crate::rpc::envelope::{self, To};
use crate::tasks::Tasks;
use crate::telemetry::{FrontendMetrics, Seldom};

/// What the sessions of one front-end share.
pub(crate) struct Frontend {
    pub(crate) id: ServerId,
    pub(crate) table: SessionTable,
    pub(crate) groups: Memberships,
    pub(crate) directory: Directory,
    pub(crate) pusher: Pusher,
    pub(crate) events: broadcast::Sender<AppEvent>,
    /// Where claims are made, so that none is lost with whoever asked for it.
    pub(crate) tasks: Tasks,
    /// How many claims are made anew or given back at once, when the directory was slow or away.
    pub(crate) confirming: Arc<Semaphore>,
    /// Sessions that follow their keys to another owner, for each kind of server.
    pub(crate) following: FxHashMap<Kind, Tasks>,
    pub(crate) metrics: FrontendMetrics,
    /// For warnings that a client can bring about.
    pub(crate) seldom: Seldom,
    /// Who may connect.
    pub(crate) access: AccessList,
    /// What counts the datagrams that are lost, if it has any.
    pub(crate) losses: OnceLock<Arc<dyn Losses>>,
}

impl Frontend {
    /// Counts a session that follows its key to another owner, until it has.
    pub(crate) fn begin_following(&self, kind: &Kind) -> Option<TaskTrackerToken> {
        Some(self.following.get(kind)?.under_way())
    }

    /// Waits until no session is left that follows its key to another owner, at most `limit`. Says whether that came.
    pub(crate) async fn have_followed(&self, kind: &Kind, limit: Duration) -> bool {
        match self.following.get(kind) {
            Some(following) => following.idle(limit).await,
            None => true,
        }
    }
}

/// A push for some of our sessions: encoded once for each voice.
impl Deliver for Frontend {
    fn deliver(&self, route: &str, body: &Bytes, to: &To<'_>) {
        let mut frames = Frames { route, body, made: Vec::new() };
        let mut delivered = 0;
        let mut deliver = |record: &Record| {
            if let Some(frame) = record.voice().and_then(|voice| frames.of(voice)) {
                record.post(frame);
                delivered += 1;
            }
        };
        match to {
            To::Sessions(ids) => self.table.visit(envelope::unpack_sessions(ids), deliver),
            To::Group(group) => self.table.visit(self.groups.members(group).into_iter(), deliver),
            To::Uid(uid) => self.table.of_uid(uid).iter().for_each(|record| deliver(record)),
            To::All { with, unbound } => {
                for record in self.table.all() {
                    let wanted = record.identity(|Identity { uid, settings, .. }| {
                        (*unbound || uid.is_some())
                            && with
                                .iter()
                                .all(|(name, value)| settings.read().get(name) == Some(value))
                    });
                    if wanted {
                        deliver(&record);
                    }
                }
            }
        }
        self.metrics.pushed.increment(delivered);
    }
}

/// One session, on the front-end that holds its connection.
pub(crate) struct Record {
    pub(crate) id: SessionId,
    pub(crate) peer: SocketAddr,
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) mailbox: Mailbox,
    voice: OnceLock<Voice>,
    state: Mutex<State>,
    /// Messages sent on to other servers that have not been answered yet.
    forwarded: AtomicUsize,
    /// How often it claimed a uid.
    pub(super) attempts: AtomicU32,
    /// Reasons to doubt that its uid is still its own, which are being looked into.
    pub(super) doubts: AtomicU32,
}

#[derive(Default)]
pub(super) struct State {
    identity: Identity,
    pub(super) claim: Option<Claim>,
    /// The uid that is being claimed right now.
    pub(super) claiming: Option<Uid>,
    pub(super) ended: bool,
}

impl Record {
    pub(crate) fn new(
        id: SessionId,
        peer: SocketAddr,
        frontend: Arc<Frontend>,
        bounds: Bounds,
    ) -> Record {
        Record {
            id,
            peer,
            frontend,
            mailbox: Mailbox::new(bounds),
            voice: OnceLock::new(),
            state: Mutex::default(),
            forwarded: AtomicUsize::new(0),
            attempts: AtomicU32::new(0),
            doubts: AtomicU32::new(0),
        }
    }

    pub(crate) fn identity<R>(&self, read: impl FnOnce(&Identity) -> R) -> R {
        read(&self.lock().identity)
    }

    /// How the client is spoken to, known from the handshake on.
    pub(crate) fn voice(&self) -> Option<&Voice> {
        self.voice.get()
    }

    pub(crate) fn set_voice(&self, voice: Voice) {
        // A second handshake is ignored by the dialect, so the first one stays.
        let _ = self.voice.set(voice);
    }

    /// Pushes an encoded body to this client. One that has gone is no error.
    pub(crate) fn push(&self, route: &str, body: &Bytes) -> Result<()> {
        let Some(voice) = self.voice() else {
            return Ok(());
        };
        let frame = voice.push(route, body)?;
        self.post(frame);
        Ok(())
    }

    /// Leaves a frame for the client, or has it closed if it does not read.
    pub(crate) fn post(&self, frame: Bytes) {
        if self.mailbox.post(frame) == Err(Refused::Full) {
            self.frontend.metrics.overflows.increment(1);
        }
    }

    /// Answers request `id` of this client; a notify, which has none, is not answered.
    pub(crate) fn respond(&self, id: Option<NonZeroU32>, route: &Route, body: &Bytes) {
        let (Some(voice), Some(id)) = (self.voice(), id) else {
            return;
        };
        let frame = voice.response(id, route, body).unwrap_or_else(|error| {
            tracing::error!(server = %self.frontend.id, %route, %error, "a reply can't be encoded");
            voice.fault(id, Some(route))
        });
        // Some protocols have no answer for what they call a request.
        if !frame.is_empty() {
            self.post(frame);
        }
    }

    pub(crate) fn forwarded(&self) -> usize {
        self.forwarded.load(Ordering::Acquire)
    }

    /// Counts a message as sent on until what is returned is dropped.
    pub(crate) fn begin_forward(self: &Arc<Record>) -> Forwarding {
        self.forwarded.fetch_add(1, Ordering::AcqRel);
        Forwarding(self.clone())
    }

    /// Changes the session, and says by which revision it has its uid.
    pub(crate) async fn apply(self: &Arc<Record>, change: Change) -> Result<u64, Unchanged> {
        match change {
            Change::Bind { uid, how } => self.bind(uid, how).await?,
            Change::Unbind => {
                self.unbind().await;
            }
            Change::Update { set, remove } => {
                let mut state = self.lock();
                if state.ended {
                    return Err(Unchanged::Closed);
                }
                state.identity.settings.update(set, &remove);
            }
            Change::Kick { reason } => {
                self.mailbox.order(Order::Kick(reason));
            }
        }
        Ok(self.lock().identity.revision)
    }

    async fn bind(self: &Arc<Record>, uid: Uid, how: How) -> Result<(), Unchanged> {
        let unique = how != How::Shared;
        {
            let mut state = self.lock();
            if state.ended {
                return Err(Unchanged::Closed);
            }
            match state.identity.uid.as_ref().or(state.claiming.as_ref()) {
                Some(bound) if *bound != uid => return Err(Unchanged::Bound(bound.clone())),
                // Somebody else is asking for the same claim on behalf of this session.
                Some(_) if state.claiming.is_some() => return Err(Unchanged::Bound(uid)),
                Some(_) if !unique || state.claim.is_some() => return Ok(()),
                _ if !unique => {
                    self.settle(&mut state, uid, None);
                    return Ok(());
                }
                _ => state.claiming = Some(uid.clone()),
            }
        }
        self.claim(uid, how).await
    }

    /// The session belongs to somebody from now on.
    pub(super) fn settle(self: &Arc<Record>, state: &mut State, uid: Uid, claim: Option<Claim>) {
        state.hold(claim);
        if state.identity.uid.replace(uid.clone()).is_none() {
            self.frontend.table.bind(uid.clone(), self.id);
            self.tell(AppEvent::SessionBound { session: Session::here(self.clone()), uid });
        }
    }

    async fn unbind(self: &Arc<Record>) {
        let (uid, claim) = {
            let mut state = self.lock();
            if state.ended {
                return;
            }
            let claim = state.claim.take();
            state.hold(None);
            let uid = state.identity.uid.take();
            if let Some(uid) = &uid {
                self.frontend.table.unbind(uid, self.id);
                self.frontend.groups.forget(self.id);
            }
            (uid, claim)
        };
        self.release(claim).await;
        if let Some(uid) = uid {
            self.tell(AppEvent::SessionUnbound { session: Session::here(self.clone()), uid });
        }
    }

    /// Takes the session into a group, if it still is `uid`'s.
    pub(crate) fn join(&self, group: &str, uid: &Uid, term: Term) -> Result<()> {
        // Kept until it is in, so that it can't lose its uid in between and stay.
        let state = self.lock();
        if state.ended || state.identity.uid.as_ref() != Some(uid) {
            return Err(Fault::internal(format!("session {} is not {uid}'s any more", self.id)));
        }
        self.frontend.groups.join(group, self.id, term).map_err(|TooMany| {
            Fault::internal(format!("session {} is in {GROUPS} groups already", self.id))
        })
    }

    /// The end, after the close hook: out of the table, and the claim on the uid given back.
    pub(crate) async fn end(&self) {
        self.mailbox.close();
        let claim = {
            let mut state = self.lock();
            state.ended = true;
            if let Some(uid) = &state.identity.uid {
                self.frontend.table.unbind(uid, self.id);
                self.frontend.groups.forget(self.id);
            }
            state.claim.take()
        };
        self.frontend.table.remove(self.id);
        self.release(claim).await;
    }

    pub(crate) fn tell(&self, event: AppEvent) {
        // Nobody listening is no error.
        let _ = self.frontend.events.send(event);
    }

    /// Whether its uid is its alone.
    pub(crate) fn has_claim(&self) -> bool {
        self.lock().claim.is_some()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// By this claim the session has its uid from now on.
    pub(super) fn hold(&mut self, claim: Option<Claim>) {
        self.identity.revision = claim.as_ref().map_or(0, |claim| claim.revision);
        self.claim = claim;
    }
}

/// A message that was sent on and not answered yet.
#[derive(Debug)]
pub(crate) struct Forwarding(Arc<Record>);

impl Forwarding {
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.0
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.forwarded.fetch_sub(1, Ordering::AcqRel);
        // The connection may wait for room, or for the last answer before it ends.
        self.0.mailbox.wake();
    }
}

/// The frames of one push, made as they are needed.
struct Frames<'a> {
    route: &'a str,
    body: &'a Bytes,
    made: Vec<(Voice, Option<Bytes>)>,
}

impl Frames<'_> {
    fn of(&mut self, voice: &Voice) -> Option<Bytes> {
        if let Some((_, frame)) = self.made.iter().find(|(made, _)| made == voice) {
            return frame.clone();
        }
        let frame = match voice.push(self.route, self.body) {
            Ok(frame) => Some(frame),
            Err(error) => {
                tracing::error!(route = self.route, %error, "a push can't be encoded");
                None
            }
        };
        self.made.push((voice.clone(), frame.clone()));
        frame
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
