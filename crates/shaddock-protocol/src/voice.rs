//! How to speak to a client.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;

use crate::Route;
use crate::pomelo::{BodyError, PackageError};

/// Turns bodies, JSON text, into the bytes that a client understands.
///
/// Clients with equal voices get equal bytes: a push is encoded once per voice, not per client.
#[derive(Clone)]
pub struct Voice(Arc<dyn Encode>);

/// What a voice does: bodies, JSON text, to whole messages as they travel.
pub trait Encode: Send + Sync + 'static {
    /// The answer to a request. Where it is empty, there is none to send.
    ///
    /// # Errors
    ///
    /// When the body can't be written for this client; [`fault`](Self::fault) goes instead.
    fn response(&self, id: NonZeroU32, route: &Route, body: &Bytes) -> Result<Bytes, EncodeError>;

    /// The answer to a request when there is none. The route is missing where it could not be read.
    fn fault(&self, id: NonZeroU32, route: Option<&Route>) -> Bytes;

    /// A push.
    ///
    /// # Errors
    ///
    /// When the body can't be written for this client; it is not sent.
    fn push(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError>;
}

/// Why something could not be written for a client. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A route has one byte for its length.
    #[error("a route of {len} bytes, where {limit} are allowed", limit = Route::MAX)]
    Route {
        /// The length of the route.
        len: usize,
    },
    /// The handshake is not done, or the connection closed.
    #[error("the connection is not ready")]
    NotReady,
    /// The message is too long for a package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The body does not fit its protobuf schema.
    #[error(transparent)]
    Protobuf(#[from] BodyError),
    /// A message that is to be signed can't be.
    #[cfg(feature = "crypto")]
    #[error("the message can't be signed: {0}")]
    Unsigned(&'static str),
    /// The body can't go out as a packet of MQTT.
    #[cfg(feature = "mqtt")]
    #[error(transparent)]
    Mqtt(#[from] crate::mqtt::ReplyError),
    /// A dialect of another's can't write it, for this reason.
    #[error("{0}")]
    Unfit(String),
}

impl Voice {
    /// A voice that is equal to itself and its clones. Make one for all the clients that get equal bytes.
    pub fn new(encode: impl Encode) -> Self {
        Self(Arc::new(encode))
    }

    /// The answer to request `id`, which was for `route`. Where it is empty, there is none to send.
    ///
    /// # Errors
    ///
    /// When `body` does not fit its schema or is too long; [`Voice::fault`] can go instead.
    pub fn response(
        &self,
        id: NonZeroU32,
        route: &Route,
        body: &Bytes,
    ) -> Result<Bytes, EncodeError> {
        self.0.response(id, route, body)
    }

    /// The answer to request `id` when there is none: `{"code":500}`.
    ///
    /// If responses to `route` have a schema, what of this it can hold, which may be nothing. An MQTT
    /// client is told only that its packet came.
    pub fn fault(&self, id: NonZeroU32, route: Option<&Route>) -> Bytes {
        self.0.fault(id, route)
    }

    /// A push of `body` under `route`, which may be any text.
    ///
    /// # Errors
    ///
    /// When the route is too long, or `body` does not fit its schema or is too long.
    pub fn push(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        self.0.push(route, body)
    }
}

impl PartialEq for Voice {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Voice {}

impl Hash for Voice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Voice({:p})", Arc::as_ptr(&self.0))
    }
}
