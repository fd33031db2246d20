//! What all connections of one connector share.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::handshake::Answers;
use super::protobuf::Strings;
use super::tables::Speaker;
use super::{Package, PackageError, Tables};
use crate::Voice;

/// How a connector treats its clients.
#[derive(Debug, Clone)]
pub struct Config {
    /// How often a client should give a sign of life. `None`: no heartbeats, and silence is fine.
    pub heartbeat: Option<Duration>,
    /// How long a client may be silent; `None` is twice `heartbeat`, without which this is not used.
    pub timeout: Option<Duration>,
    /// How long handshake and ack may take together.
    pub handshake_timeout: Duration,
    /// How much a client may send.
    pub limits: Limits,
    /// Dictionary and protobuf, if they are on.
    pub tables: Arc<Tables>,
    /// Whether what is received are datagrams: each holds whole packages, and one that ends inside
    /// a package is refused, for the rest will not come.
    pub datagrams: bool,
    /// Whether each message must be signed with the key that its client sends in the handshake
    /// (`useCrypto`).
    ///
    /// A client without `sys.rsa` is refused. What is not signed, or not rightly, is dropped
    /// without an answer ([`Refusal::Signature`](crate::Refusal::Signature)). This proves only that
    /// messages come from whoever shook hands; TLS does more.
    #[cfg(feature = "crypto")]
    pub signed: bool,
}

/// How much a client may send before it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a package before the handshake is accepted.
    pub before_handshake: usize,
    /// Bytes of a package after it.
    pub package: usize,
    /// Bytes of packages that are kept if they come before the handshake is accepted and
    /// acknowledged.
    pub early: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: None,
            timeout: None,
            handshake_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            tables: Arc::default(),
            datagrams: false,
            #[cfg(feature = "crypto")]
            signed: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { before_handshake: 4 * 1024, package: 64 * 1024, early: 8 * 1024 }
    }
}

/// What all connections of one connector share: make it once, and a
/// [`Server`](super::Server) from it for each client. Clones are the same connector.
#[derive(Debug, Clone)]
pub struct Connector(Arc<RwLock<Arc<Shared>>>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) answers: Answers,
    pub(super) utf8: Voice,
    pub(super) surrogates: Voice,
}

impl Connector {
    /// Gets ready: all answers to handshakes are written here.
    ///
    /// # Errors
    ///
    /// When the tables are too long for a handshake.
    pub fn new(config: Config) -> Result<Self, PackageError> {
        let answers = Answers::new(&config)?;
        let voice = |strings| Voice::new(Speaker { tables: config.tables.clone(), strings });
        let utf8 = voice(Strings::Utf8);
        // JSON is the same for both.
        let surrogates = match config.tables.protos {
            Some(_) => voice(Strings::Surrogates),
            None => utf8.clone(),
        };
        let shared = Arc::new(Shared { config, answers, utf8, surrogates });
        Ok(Self(Arc::new(RwLock::new(shared))))
    }

    /// How clients that come now are treated.
    pub fn config(&self) -> Config {
        self.shared().config.clone()
    }

    /// Treats clients that come from now on as `other` does, with its tables. Those who are here
    /// notice nothing, and are spoken to in the voices they have.
    pub fn replace(&self, other: &Self) {
        let shared = other.shared();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shared;
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    /// How long a client may be silent, if that matters.
    pub(super) fn silence(&self) -> Option<Duration> {
        let heartbeat = self.config.heartbeat?;
        Some(self.config.timeout.unwrap_or(heartbeat.saturating_mul(2)))
    }

    /// The longest package, before the handshake or after it.
    pub(super) fn limit(&self, accepted: bool) -> usize {
        let Limits { before_handshake, package, .. } = self.config.limits;
        if accepted { package } else { before_handshake }.min(Package::MAX_BODY)
    }
}
