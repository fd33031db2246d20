//! One client connection, as handlers see it: `Session`.

pub(crate) mod claim;
pub(crate) mod connection;
pub(crate) mod fences;
pub(crate) mod lane;
pub(crate) mod mailbox;
pub(crate) mod record;
pub(crate) mod remote;
pub(crate) mod settings;
pub(crate) mod table;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::channel::push::Pusher;
use crate::error::{Fault, Result};
use crate::ids::{Member, ServerId, SessionId, Uid};
use crate::rpc::caller::RpcError;
use record::Record;
use settings::Settings;

/// One client connection. The same on the front-end that holds it and on back-ends.
///
/// Settings and the uid live on the front-end. What changes them there takes effect at once; on a
/// back-end it travels there and is awaited, and this copy changes with it. A back-end's copy was
/// made when the message was sent: what others changed since is not in it.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Session(Place);

#[derive(Clone)]
enum Place {
    Here(Arc<Record>),
    Far(Arc<Far>),
}

/// A session of another server's.
struct Far {
    id: SessionId,
    frontend: ServerId,
    peer: SocketAddr,
    state: Mutex<Identity>,
    pusher: Pusher,
}

/// Who a session is: what travels with each of its messages.
#[derive(Clone, Default, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: Option<Uid>,
    pub(crate) settings: Settings,
    /// The fencing token of its claim on the uid; 0 without one.
    pub(crate) revision: u64,
}

/// A session's messages to servers of `kind` go elsewhere now, or to a server that has lost it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Moved {
    /// The kind of server whose owner changed.
    pub kind: crate::ids::Kind,
    /// Where they went, if that server still lives.
    pub from: Option<ServerId>,
    /// Where they go now. If that is where they went, the server had taken this front-end for dead: it took
    /// its members out of the channels, and told those who were left.
    pub to: ServerId,
    /// Whether the old owner hands over: it has what it was sent answered.
    pub(crate) is_handed_over: bool,
    /// How often the hook failed.
    pub(crate) failures: u32,
    /// Dropped when it was followed.
    pub(crate) _under_way: Option<TaskTrackerToken>,
}

impl Moved {
    /// Whether the server is the same, and had lost the session for a while: see [`to`](Moved::to).
    pub fn is_return(&self) -> bool {
        self.from.as_ref() == Some(&self.to)
    }
}

/// Why a session was not bound.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else is logged in under this uid, here or on another front-end.
    #[error("another session is bound to this uid")]
    Taken,
    /// A session is bound once; this one is someone already.
    #[error("the session is bound to {0} already")]
    Bound(Uid),
    /// The client has gone.
    #[error("the session is closed")]
    Closed,
    /// It could not be found out whether the uid is free. Sessions that are bound stay what they are.
    #[error("the session's front-end or the directory of uids can't be reached: {0}")]
    Unreachable(String),
}

/// What can be changed in a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    Bind { uid: Uid, how: How },
    Unbind,
    Update { set: Map<String, Value>, remove: Vec<String> },
    Kick { reason: Option<String> },
}

/// Who else may be bound to a uid.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Shared,
    Unique,
    Kicking { reason: Option<String> },
}

/// Why it was not changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Unchanged {
    Taken,
    Bound(Uid),
    Closed,
    Unreachable(String),
}

impl From<Unchanged> for BindError {
    fn from(why: Unchanged) -> BindError {
        match why {
            Unchanged::Taken => BindError::Taken,
            Unchanged::Bound(uid) => BindError::Bound(uid),
            Unchanged::Closed => BindError::Closed,
            Unchanged::Unreachable(what) => BindError::Unreachable(what),
        }
    }
}

impl Session {
    pub(crate) fn here(record: Arc<Record>) -> Session {
        Session(Place::Here(record))
    }

    pub(crate) fn far(
        id: SessionId,
        frontend: ServerId,
        peer: SocketAddr,
        identity: Identity,
        pusher: Pusher,
    ) -> Session {
        let state = Mutex::new(identity);
        Session(Place::Far(Arc::new(Far { id, frontend, peer, state, pusher })))
    }

    /// Which connection it is.
    pub fn id(&self) -> SessionId {
        match &self.0 {
            Place::Here(record) => record.id,
            Place::Far(far) => far.id,
        }
    }

    /// The front-end that holds the connection.
    pub fn frontend(&self) -> &ServerId {
        match &self.0 {
            Place::Here(record) => &record.frontend.id,
            Place::Far(far) => &far.frontend,
        }
    }

    /// The address the client connected from.
    pub fn remote_addr(&self) -> SocketAddr {
        match &self.0 {
            Place::Here(record) => record.peer,
            Place::Far(far) => far.peer,
        }
    }

    /// The user bound to it.
    ///
    /// # Errors
    ///
    /// A fault with code 500 if there is none.
    pub fn uid(&self) -> Result<Uid> {
        self.find_uid().ok_or_else(unbound)
    }

    /// The user bound to it, if there is one.
    pub fn find_uid(&self) -> Option<Uid> {
        self.identity(|identity| identity.uid.clone())
    }

    /// The session as a member of channels.
    ///
    /// # Errors
    ///
    /// A fault with code 500 if it is not bound to a uid.
    pub fn member(&self) -> Result<Member> {
        let (uid, revision) = self.identity(|identity| (identity.uid.clone(), identity.revision));
        let uid = uid.ok_or_else(unbound)?;
        Ok(Member { uid, frontend: self.frontend().clone(), session: self.id(), revision })
    }

    /// The setting `name`.
    ///
    /// # Errors
    ///
    /// A fault with code 500 if it was never set, or is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.identity(|identity| match identity.settings.read().get(name) {
            Some(value) => T::deserialize(value)
                .map_err(|error| Fault::internal(format!("the session's `{name}`: {error}"))),
            None => Err(Fault::new(500, format!("the session has no `{name}`"))),
        })
    }

    /// Sets one setting.
    ///
    /// # Errors
    ///
    /// If the value can't be written as JSON, the session is gone, or its front-end can't be reached.
    pub async fn set(&self, name: &str, value: impl Serialize) -> Result<()> {
        let set = Map::from_iter([(name.to_owned(), serde_json::to_value(value)?)]);
        self.update(set).await
    }

    /// Sets several settings in one step.
    ///
    /// # Errors
    ///
    /// If the session is gone, or its front-end can't be reached.
    pub async fn update(&self, set: Map<String, Value>) -> Result<()> {
        self.change_settings(set, Vec::new()).await
    }

    /// Takes one setting out.
    ///
    /// # Errors
    ///
    /// If the session is gone, or its front-end can't be reached.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.change_settings(Map::new(), vec![name.to_owned()]).await
    }

    /// Says who the session belongs to. Several sessions may be bound to one uid.
    ///
    /// # Errors
    ///
    /// If it is bound to another uid already, is gone, or can't be reached.
    pub async fn bind(&self, uid: impl Into<Uid>) -> Result<(), BindError> {
        self.bind_as(uid.into(), How::Shared).await
    }

    /// Says who the session belongs to, if nobody else in the whole cluster is bound to `uid` this way.
    ///
    /// The claim is held until the session has ended and its close hook has run. If the front-end dies, it is
    /// free when the others have found that out: within
    /// [`Timings::dead`](shaddock_cluster::Timings::dead). If it was only cut off, its sessions keep their
    /// uids but for those that were given to others meanwhile: these are kicked, told `logged in elsewhere`.
    ///
    /// # Errors
    ///
    /// [`BindError::Taken`] if another session holds the uid; [`BindError::Unreachable`] if the cluster's
    /// key-value store can't be reached, which through `?` is code 500; else as [`bind`](Session::bind).
    pub async fn bind_unique(&self, uid: impl Into<Uid>) -> Result<(), BindError> {
        self.bind_as(uid.into(), How::Unique).await
    }

    /// As [`bind_unique`](Session::bind_unique), but one who holds the uid is kicked; with a reason it is told that.
    ///
    /// This waits until the other's close hook has run, up to ten seconds. Of many who do this at once one
    /// gets the uid.
    ///
    /// # Errors
    ///
    /// [`BindError::Taken`] if another was quicker, or the one who was kicked takes too long to end; else as
    /// [`bind_unique`](Session::bind_unique).
    pub async fn bind_unique_kicking(
        &self,
        uid: impl Into<Uid>,
        reason: Option<&str>,
    ) -> Result<(), BindError> {
        let reason = reason.map(str::to_owned);
        self.bind_as(uid.into(), How::Kicking { reason }).await
    }

    /// Says that the session belongs to nobody any more.
    ///
    /// # Errors
    ///
    /// If the session is gone or can't be reached.
    pub async fn unbind(&self) -> Result<(), BindError> {
        self.change(Change::Unbind).await?;
        if let Place::Far(far) = &self.0 {
            let mut copy = far.lock();
            (copy.uid, copy.revision) = (None, 0);
        }
        Ok(())
    }

    /// Closes the session. With a reason the client is told it in a kick package.
    ///
    /// Returns when the front-end has been told; the close hook runs after what is being handled.
    /// To kick a session that has gone already is no error.
    ///
    /// # Errors
    ///
    /// If the front-end can't be reached.
    pub async fn kick(&self, reason: Option<&str>) -> Result<()> {
        let reason = reason.map(str::to_owned);
        match self.change(Change::Kick { reason }).await {
            Ok(_) | Err(BindError::Closed) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Pushes to this client alone.
    ///
    /// # Errors
    ///
    /// If the body can't be written as JSON, does not fit the route's schema, or the front-end
    /// can't be reached. A client that has gone is no error.
    pub fn push(&self, route: &str, body: &impl Serialize) -> Result<()> {
        match &self.0 {
            Place::Here(record) => record.push(route, &record.frontend.pusher.encode(route, body)?),
            Place::Far(far) => {
                let body = far.pusher.encode(route, body)?;
                far.pusher.push_to(&far.frontend, &[far.id], route, &body)
            }
        }
    }

    pub(crate) fn identity<R>(&self, read: impl FnOnce(&Identity) -> R) -> R {
        match &self.0 {
            Place::Here(record) => record.identity(read),
            Place::Far(far) => read(&far.lock()),
        }
    }

    async fn change_settings(&self, set: Map<String, Value>, remove: Vec<String>) -> Result<()> {
        let copy = matches!(self.0, Place::Far(_)).then(|| (set.clone(), remove.clone()));
        self.change(Change::Update { set, remove }).await?;
        if let (Place::Far(far), Some((set, remove))) = (&self.0, copy) {
            far.lock().settings.update(set, &remove);
        }
        Ok(())
    }

    async fn bind_as(&self, uid: Uid, how: How) -> Result<(), BindError> {
        let revision = self.change(Change::Bind { uid: uid.clone(), how }).await?;
        if let Place::Far(far) = &self.0 {
            let mut copy = far.lock();
            (copy.uid, copy.revision) = (Some(uid), revision);
        }
        Ok(())
    }

    /// Gives the revision by which the session has its uid.
    async fn change(&self, change: Change) -> Result<u64, BindError> {
        match &self.0 {
            Place::Here(record) => record.apply(change).await.map_err(BindError::from),
            Place::Far(far) => {
                let ask =
                    far.pusher.caller().remote(&far.frontend, remote::SERVICE, remote::CHANGE);
                let done: Result<Result<u64, Unchanged>, RpcError> =
                    ask.call(&(far.id, change)).await;
                match done {
                    Ok(done) => done.map_err(BindError::from),
                    Err(error) => Err(BindError::Unreachable(error.to_string())),
                }
            }
        }
    }
}

fn unbound() -> Fault {
    Fault::new(500, "the session is not bound to a uid")
}

impl Far {
    fn lock(&self) -> std::sync::MutexGuard<'_, Identity> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} at {}, uid {:?})", self.id(), self.frontend(), self.find_uid())
    }
}
