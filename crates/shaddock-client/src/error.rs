//! Why a client has no connection, no answer, or no connection any more.

use std::time::Duration;

use bytes::Bytes;
use shaddock_protocol::EncodeError;

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`disconnect`](crate::Client::disconnect) was called, or the last handle was dropped.
    #[error("disconnected")]
    Disconnected,
    /// The server kicked us, and mostly says why.
    #[error("kicked by the server: {}", .0.as_deref().unwrap_or("no reason given"))]
    Kicked(Option<String>),
    /// The server ended the connection in order, without a word.
    #[error("closed by the server")]
    Ended,
    /// The server gave no sign of life for two heartbeats.
    #[error("the server's heartbeat stopped")]
    HeartbeatTimeout,
    /// The server said something that can't be understood.
    #[error("the server broke the protocol")]
    Protocol(#[source] shaddock_protocol::CloseReason),
    /// The connection broke. With the cause, in words.
    #[error("the connection broke: {0}")]
    Lost(String),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not an address this can connect to.
    #[error("not an address like ws://host:port or tcp://host:port")]
    Address,
    /// Nobody answers there, or what answers does not speak WebSocket.
    #[error("could not connect")]
    Wire(#[from] shaddock_transport::ConnectError),
    /// The server refuses this client: 500, or 501 for its type and version.
    #[error("the handshake was refused with {code}")]
    Refused {
        /// The server's code.
        code: u16,
    },
    /// The connection was over before the handshake was.
    #[error("the handshake did not end")]
    Closed(#[source] CloseReason),
    /// Connecting and the handshake took too long.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// Why a request has no answer, or a notify was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No answer came in time. One that comes later is dropped.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection is over. Whether the server saw the request can't be told.
    #[error("the connection is over")]
    Closed(#[source] CloseReason),
    /// The body can't be put in JSON.
    #[error("the body can't be put in JSON")]
    Json(#[source] serde_json::Error),
    /// The route or the body does not fit in a message. Nothing was sent.
    #[error("the message can't be sent")]
    Encode(#[from] EncodeError),
    /// The answer is not what was expected.
    #[error("the answer is not as expected")]
    Unexpected {
        /// What is wrong with it.
        source: serde_json::Error,
        /// The answer, as JSON text.
        body: Bytes,
    },
}
