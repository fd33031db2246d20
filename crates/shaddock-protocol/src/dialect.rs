//! One connection as a server sees it, whatever its client speaks.

use std::num::NonZeroU32;
use std::time::Instant;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::pomelo::{MessageFault, ProtobufError};
use crate::{Route, RouteError, Voice};

/// The server's side of one connection: bytes and time in, events and bytes out.
///
/// Whoever owns it does this, in a loop: hand in what arrived ([`receive`](Self::receive)), take
/// events while there is room for messages ([`poll_event`](Self::poll_event)), send what the
/// machine has to say ([`poll_transmit`](Self::poll_transmit)), wait for bytes or for
/// [`poll_timeout`](Self::poll_timeout). After [`Event::Handshake`] nothing more is decoded until
/// it is answered by [`accept`](Self::accept) or [`refuse`](Self::refuse): best not to read on so
/// long, since little is kept, and to ask for events again afterwards. After [`Event::Close`]
/// what [`poll_transmit`](Self::poll_transmit) still gives is to be sent, and the connection
/// closed.
pub trait Dialect: Send + 'static {
    /// Takes bytes from the client. Nothing is decoded before [`poll_event`](Self::poll_event).
    fn receive(&mut self, chunk: Bytes, now: Instant);

    /// Decodes until something happened, or nothing whole is left.
    fn poll_event(&mut self, now: Instant) -> Option<Event>;

    /// What the machine itself sends next: handshake, heartbeat, kick, answers to bad requests.
    fn poll_transmit(&mut self) -> Option<Bytes>;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Looks at the time, which may lead to [`Event::Close`].
    fn handle_timeout(&mut self, now: Instant);

    /// Lets the client in, with a word for it if the application has one.
    ///
    /// `null`, `false`, `0` and `""` count as no word, as they do for pomelo.
    fn accept(&mut self, user: Option<&RawValue>, now: Instant);

    /// Sends the client away: 500 for failed, 501 for a client type or version that is not served.
    ///
    /// It is told the code and `more`, if its protocol has a place for them.
    fn refuse(&mut self, code: u16, more: &Map<String, Value>);

    /// Closes the connection, and tells the client why if it is in, there is a reason, and its
    /// protocol has a word for it.
    fn kick(&mut self, reason: Option<&str>);

    /// How to speak to this client; settled once the handshake is accepted.
    fn voice(&self) -> &Voice;

    /// Stops counting silence: we don't read from this client now.
    fn suspend_timeout(&mut self);

    /// Counts silence again, from `now` on.
    fn resume_timeout(&mut self, now: Instant);
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// A client wants in: answer by [`Dialect::accept`] or [`Dialect::refuse`].
    Handshake(Hello),
    /// It is in: pushes may go, and messages follow.
    Ready,
    /// It asks or tells something.
    Message(Incoming),
    /// It sent a message that can't be handed on.
    Refused {
        /// The request, if it was one and is answered.
        id: Option<NonZeroU32>,
        /// What was wrong.
        reason: Refusal,
    },
    /// Send what is left, and close the connection. Nothing follows.
    Close(CloseReason),
}

/// What a client says of itself when it comes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hello {
    /// What kind of client: `js-websocket`, `unity-socket`.
    pub client_type: Option<String>,
    /// Its version.
    pub client_version: Option<String>,
    /// What it says to the application.
    pub user: Option<Value>,
}

/// A request or a notify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// What the response must carry; a notify has none.
    pub id: Option<NonZeroU32>,
    /// For which handler.
    pub route: Route,
    /// JSON text, for all that is known: [`text::read`](crate::text::read) finds out, for whoever handles it parses it
    /// anyway.
    ///
    /// It may be a slice of a chunk that was received, which it keeps in memory.
    pub body: Bytes,
}

/// Why a message can't be handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its bytes are no message.
    #[error("malformed: {0}")]
    Malformed(#[from] MessageFault),
    /// It is for no handler.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// There is no dictionary, or it has nothing for this side under the code.
    #[error("no route has code {0}")]
    UnknownCode(u16),
    /// Its body does not decode.
    #[error(transparent)]
    Protobuf(#[from] ProtobufError),
    /// A response from a client, or a request from a server.
    #[error("a message that only the other side may send")]
    WrongSide,
    /// Messages must be signed, and this one is not, or not by its sender. It gets no answer.
    #[error("the signature is missing or wrong")]
    Signature,
    /// A datagram holds less than its packages claim.
    #[error("a datagram that ends inside a package")]
    Truncated,
    /// A dialect of another's can't read it, for this reason.
    #[error("{0}")]
    Unreadable(&'static str),
}

/// Why a connection closes, from the side whose machine says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Handshake and ack took too long.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// The first package is no handshake that can be read.
    #[error("the handshake is not one")]
    BadHandshake,
    /// The handshake was refused with this code.
    #[error("refused with {0}")]
    Refused(u16),
    /// Nothing was heard for too long.
    #[error("no sign of life in time")]
    HeartbeatTimeout,
    /// It was kicked.
    #[error("kicked")]
    Kicked,
    /// It called a `constructor`.
    #[error("attacked")]
    Attack,
    /// The other side sent a package that only this side may send.
    #[error("kicked by a client")]
    KickFromClient,
    /// A package claims more than is allowed before the handshake.
    #[error("a package of {len} bytes before the handshake, where {limit} are allowed")]
    TooLongBeforeHandshake {
        /// What it claims.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A package claims more than is allowed.
    #[error("a package of {len} bytes, where {limit} are allowed")]
    TooLong {
        /// What it claims.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// More was sent before the ack than is kept.
    #[error("more than {limit} bytes before the ack")]
    TooMuchEarly {
        /// How many bytes are kept.
        limit: usize,
    },
    /// No package starts like this.
    #[error("a package of unknown kind {0}")]
    UnknownPackage(u8),
    /// The client says goodbye. What it sent before is meant.
    #[error("the client said goodbye")]
    Left,
    /// The client does not keep to MQTT.
    #[cfg(feature = "mqtt")]
    #[error(transparent)]
    Mqtt(#[from] crate::mqtt::PacketError),
    /// The client breaks a rule of a dialect of another's: which one.
    #[error("{0}")]
    Violation(&'static str),
}

impl Refusal {
    /// A short name, the same for all of its kind: a label for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Route(_) => "route",
            Self::UnknownCode(_) => "unknown_code",
            Self::Protobuf(_) => "protobuf",
            Self::WrongSide => "wrong_side",
            Self::Signature => "signature",
            Self::Truncated => "truncated",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl CloseReason {
    /// A short name, the same for all of its kind: a label for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HandshakeTimeout => "handshake_timeout",
            Self::BadHandshake => "bad_handshake",
            Self::Refused(_) => "refused",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Kicked => "kicked",
            Self::Attack => "attack",
            Self::KickFromClient => "kick_from_client",
            Self::TooLongBeforeHandshake { .. } => "too_long_before_handshake",
            Self::TooLong { .. } => "too_long",
            Self::TooMuchEarly { .. } => "too_much_early",
            Self::UnknownPackage(_) => "unknown_package",
            Self::Left => "left",
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => "mqtt",
            Self::Violation(_) => "violation",
        }
    }
}
