//! A session where it lives: on its front-end.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use shaddock_cluster::{Claim, ClaimError, Directory};
use shaddock_protocol::{Route, Voice};
use tokio::sync::broadcast;

use super::mailbox::{Bounds, Mailbox, Order, Refused};
use super::table::SessionTable;
use super::{Change, Identity, Session, Unchanged};
use crate::app::AppEvent;
use crate::channel::push::Pusher;
use crate::error::Result;
use crate::ids::{ServerId, SessionId, Uid};
use crate::telemetry::FrontendMetrics;

/// What the sessions of one front-end share.
pub(crate) struct Frontend {
    pub(crate) id: ServerId,
    pub(crate) table: SessionTable,
    pub(crate) directory: Directory,
    pub(crate) pusher: Pusher,
    pub(crate) events: broadcast::Sender<AppEvent>,
    pub(crate) metrics: FrontendMetrics,
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
}

#[derive(Default)]
struct State {
    identity: Identity,
    claim: Option<Claim>,
    /// The identity as it travels, until it changes.
    packed: Option<Bytes>,
    ended: bool,
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
        }
    }

    pub(crate) fn identity<R>(&self, read: impl FnOnce(&Identity) -> R) -> R {
        read(&self.lock().identity)
    }

    /// The identity as it travels with each message; encoded again only when it has changed.
    pub(crate) fn packed_identity(&self) -> Bytes {
        let mut state = self.lock();
        if let Some(packed) = &state.packed {
            return packed.clone();
        }
        let packed = crate::rpc::envelope::pack(&state.identity).unwrap_or_default();
        state.packed = Some(packed.clone());
        packed
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
        self.post(frame);
    }

    pub(crate) fn forwarded(&self) -> usize {
        self.forwarded.load(Ordering::Acquire)
    }

    pub(crate) fn begin_forward(&self) {
        self.forwarded.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end_forward(&self) {
        self.forwarded.fetch_sub(1, Ordering::AcqRel);
        // The task may wait for room, or for the last answer before it ends. If the answer was
        // posted this wakes it no second time.
        self.mailbox.wake();
    }

    pub(crate) async fn apply(self: &Arc<Record>, change: Change) -> Result<(), Unchanged> {
        match change {
            Change::Bind { uid, unique } => self.bind(uid, unique).await,
            Change::Unbind => {
                self.unbind().await;
                Ok(())
            }
            Change::Update { set, remove } => {
                let mut state = self.lock();
                if state.ended {
                    return Err(Unchanged::Closed);
                }
                state.identity.update(set, &remove);
                state.packed = None;
                Ok(())
            }
            Change::Kick { reason } => {
                self.mailbox.order(Order::Kick(reason));
                Ok(())
            }
        }
    }

    async fn bind(self: &Arc<Record>, uid: Uid, unique: bool) -> Result<(), Unchanged> {
        if let Some(bound) = self.bound_or_ended()? {
            return if bound == uid {
                Ok(())
            } else {
                Err(Unchanged::Bound(bound))
            };
        }
        let claim = if unique {
            let owner = format!("{}/{}", self.frontend.id, self.id);
            match self.frontend.directory.claim(&uid, owner).await {
                Ok(claim) => Some(claim),
                Err(ClaimError::Taken { .. }) => return Err(Unchanged::Taken),
                Err(error) => return Err(Unchanged::Unreachable(error.to_string())),
            }
        } else {
            None
        };
        let refused = {
            let mut state = self.lock();
            if state.ended {
                Some(Unchanged::Closed)
            } else if let Some(bound) = &state.identity.uid {
                Some(Unchanged::Bound(bound.clone()))
            } else {
                state.identity.uid = Some(uid.clone());
                state.claim = claim.clone();
                state.packed = None;
                None
            }
        };
        if let Some(why) = refused {
            self.release(claim).await;
            return Err(why);
        }
        self.frontend.table.bind(uid.clone(), self.id);
        self.tell(AppEvent::SessionBound {
            session: Session::here(self.clone()),
            uid,
        });
        Ok(())
    }

    fn bound_or_ended(&self) -> Result<Option<Uid>, Unchanged> {
        let state = self.lock();
        if state.ended {
            Err(Unchanged::Closed)
        } else {
            Ok(state.identity.uid.clone())
        }
    }

    async fn unbind(self: &Arc<Record>) {
        let (uid, claim) = {
            let mut state = self.lock();
            state.packed = None;
            (state.identity.uid.take(), state.claim.take())
        };
        if let Some(uid) = uid {
            self.frontend.table.unbind(&uid, self.id);
            self.release(claim).await;
            self.tell(AppEvent::SessionUnbound {
                session: Session::here(self.clone()),
                uid,
            });
        }
    }

    /// The end, after the close hook: out of the table, and the claim on the uid given back.
    pub(crate) async fn end(&self) {
        let (uid, claim) = {
            let mut state = self.lock();
            state.ended = true;
            (state.identity.uid.clone(), state.claim.take())
        };
        self.mailbox.close();
        if let Some(uid) = uid {
            self.frontend.table.unbind(&uid, self.id);
        }
        self.frontend.table.remove(self.id);
        self.release(claim).await;
    }

    async fn release(&self, claim: Option<Claim>) {
        let Some(claim) = claim else { return };
        if let Err(error) = self.frontend.directory.release(&claim).await {
            tracing::warn!(server = %self.frontend.id, session = %self.id, %error, "a uid was not released");
        }
    }

    pub(crate) fn tell(&self, event: AppEvent) {
        // Nobody listening is no error.
        let _ = self.frontend.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
