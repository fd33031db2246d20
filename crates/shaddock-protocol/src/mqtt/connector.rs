//! What all connections of one connector share.

use std::sync::Arc;
use std::time::Duration;

use super::reply::Speaker;
use crate::{Route, Voice};

/// How a connector treats its clients.
#[derive(Debug, Clone)]
pub struct Config {
    /// The handler of what clients publish.
    pub publish_route: Route,
    /// The handler of what clients subscribe to.
    pub subscribe_route: Route,
    /// How long a client may be silent, if that is shorter than one and a half times the keep-alive
    /// that it asks for.
    pub timeout: Option<Duration>,
    /// How long a client may take to connect.
    pub handshake_timeout: Duration,
    /// How much a client may send.
    pub limits: Limits,
}

/// How much a client may send before it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a packet before it is let in.
    pub before_handshake: usize,
    /// Bytes of a packet after it.
    pub packet: usize,
    /// Bytes that are kept if they come before it is let in.
    pub early: usize,
    /// Publishes of QoS 2 that it has not released yet.
    pub unreleased: usize,
}

impl Config {
    /// No time-out but the client's own, and limits as they should be.
    pub fn new(publish_route: Route, subscribe_route: Route) -> Self {
        Self {
            publish_route,
            subscribe_route,
            timeout: None,
            handshake_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { before_handshake: 4 * 1024, packet: 64 * 1024, early: 8 * 1024, unreleased: 256 }
    }
}

/// What all connections of one connector share: make it once, and a [`Server`](super::Server)
/// from it for each client.
#[derive(Debug, Clone)]
pub struct Connector(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) voice: Voice,
}

impl Connector {
    /// Gets ready.
    pub fn new(config: Config) -> Self {
        let voice = Voice::new(Speaker);
        Self(Arc::new(Shared { config, voice }))
    }

    /// As it was made.
    pub fn config(&self) -> &Config {
        &self.0.config
    }
}
