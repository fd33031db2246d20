//! Whether a client may come in, and what it is told then.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use shaddock_protocol::{Hello, text};

use crate::error::Result;
use crate::server::ServerHandle;

/// Where a client comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Its address: the client's own, if a trusted proxy said so.
    pub address: SocketAddr,
    /// The host name that it asked for by TLS, if it did.
    pub server_name: Option<String>,
    /// How it came: "websocket", "tcp", "wss", "tls", "udp" or "memory".
    pub transport: &'static str,
}

/// An application's say on who may come in.
pub(crate) type HandshakeHook = Arc<
    dyn Fn(ServerHandle, Hello, Peer) -> BoxFuture<'static, Result<Box<RawValue>>> + Send + Sync,
>;

/// What a client is answered: a word of the application's, or why it is sent away.
pub(crate) type Greeting = BoxFuture<'static, Result<Box<RawValue>>>;

/// A word for a client, as JSON.
pub(crate) fn word(value: &impl Serialize) -> Result<Box<RawValue>> {
    Ok(serde_json::from_slice(&text::to_json(value)?)?)
}
