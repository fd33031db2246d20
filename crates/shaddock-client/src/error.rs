//! Why a client has no connection, no answer, or no connection any more.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use shaddock_protocol::EncodeError;

/// Why a connection is over, or there will be no other.
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
    /// The server, which had let us in before, refuses us: 500, or 501 for our type and version.
    #[error("refused by the server with {code}{}", message(.answer))]
    Refused {
        /// The server's code.
        code: u16,
        /// All that it says, with the code: an object, whose `msg` is for people if there is one.
        answer: Value,
    },
    /// Logging in again ended in an error of its own. With that, in words.
    #[error("could not log in again: {0}")]
    LogIn(String),
    /// The connection was lost, and could not be made anew.
    #[error("given up after {attempts} attempts: {last}")]
    GaveUp {
        /// How often it was tried.
        attempts: u32,
        /// What kept the last of them from being a connection, in words.
        last: String,
    },
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not an address this can connect to.
    #[error(
        "not an address like ws://host:port, wss://host:port, tcp://host:port or tls://host:port"
    )]
    Address,
    /// The address is for TLS, which is not in this build.
    #[error("for wss:// and tls:// the crate needs its feature `tls`")]
    NoTls,
    /// Nobody is there to be believed about who the server is.
    #[cfg(feature = "tls")]
    #[error("no server can be trusted")]
    Trust(#[from] shaddock_transport::TlsError),
    /// What was given to [`Builder::connect_with`](crate::Builder::connect_with) gave no wire.
    #[error("could not connect")]
    Dial(#[source] Box<dyn Error + Send + Sync>),
    /// Nobody answers there, or what answers does not speak WebSocket.
    #[error("could not connect")]
    Wire(#[from] shaddock_transport::ConnectError),
    /// The server refuses this client: 500, or 501 for its type and version.
    #[error("the handshake was refused with {code}{}", message(.answer))]
    Refused {
        /// The server's code.
        code: u16,
        /// All that it says, with the code: an object, whose `msg` is for people if there is one.
        answer: Value,
    },
    /// The connection was over before the handshake was.
    #[error("the handshake did not end")]
    Closed(#[source] CloseReason),
    /// The server let us in, and logging in failed.
    #[error("could not log in")]
    LogIn(#[source] Box<dyn Error + Send + Sync>),
    /// Connecting, the handshake and logging in took too long.
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
    /// The connection is over, if not for ever. Whether the server saw the request can't be told.
    #[error("the connection is over")]
    Closed(#[source] CloseReason),
    /// Nothing was sent: the connection is being made anew, and there is no room in
    /// [`Reconnect::queue`](crate::Reconnect::queue).
    #[error("not connected at the moment")]
    Reconnecting,
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

/// An error and its causes in one line.
pub(crate) fn words(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", words(source)),
        None => error.to_string(),
    }
}

/// What an answer says to people, behind a colon.
fn message(answer: &Value) -> String {
    let message = answer.get("msg").and_then(Value::as_str);
    message.map(|message| format!(": {message}")).unwrap_or_default()
}
