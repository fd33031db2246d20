//! One connection to a pomelo server, from the client's side.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
#[cfg(feature = "crypto")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::handshake::{Request, Response};
use super::message;
use super::package::Kind;
use super::protobuf::Strings;
use super::tables::{self, Tables};
use super::{Message, Package, PackageError, Packages, WireRoute};
#[cfg(feature = "crypto")]
use super::{Signer, sign};
use crate::{CloseReason, EncodeError, Hello, Refusal, text};

/// What a client says of itself, and what it puts up with.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Its type and version, and what it has to say to the application.
    pub hello: Hello,
    /// What [`Client::tables`] gave on an earlier connection; not sent again if still current.
    pub tables: Tables,
    /// Bytes of a package from the server; tables are large.
    pub limit: usize,
    /// How long the server may take to answer the handshake.
    pub handshake_timeout: Duration,
    /// Signs requests and notifies. Their bodies must be objects then.
    ///
    /// Where a body has a schema, the signature gets through only if `string __crypto__` is in it.
    #[cfg(feature = "crypto")]
    pub signer: Option<Arc<dyn Signer>>,
}

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientEvent {
    /// The server lets us in: requests may go.
    Ready(Welcome),
    /// The answer to a request.
    Response {
        /// Which.
        id: u32,
        /// JSON text.
        body: Bytes,
    },
    /// The server tells something.
    Push {
        /// What about.
        route: ByteString,
        /// JSON text.
        body: Bytes,
    },
    /// The server sent a message that can't be read.
    Unreadable(Refusal),
    /// The server sends us away; [`ClientEvent::Close`] follows.
    Kicked {
        /// Why, if it says so.
        reason: Option<String>,
    },
    /// The server does not let us in; [`ClientEvent::Close`] follows.
    Refused {
        /// Its code.
        code: u16,
        /// All that it says, with the code: an object.
        answer: Value,
    },
    /// Close the connection. Nothing follows.
    Close(CloseReason),
}

/// What a server says when it lets a client in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Welcome {
    /// What the application has to say.
    pub user: Option<Value>,
    /// How often we give a sign of life, which the machine does by itself.
    pub heartbeat: Option<Duration>,
}

/// The machine of one connection to a server; the other end of [`Server`](super::Server).
///
/// The handshake is the first thing it wants to send.
pub struct Client {
    options: ClientOptions,
    state: State,
    packages: Packages,
    tables: Tables,
    /// Routes of requests whose response comes as protobuf.
    schemas: FxHashMap<u32, Box<str>>,
    transmit: VecDeque<Bytes>,
    heartbeat: Option<Duration>,
    next_heartbeat: Option<Instant>,
    /// When we give up unless the server says something.
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum State {
    New,
    Working,
    Closing(CloseReason),
    Closed,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            hello: Hello {
                client_type: Some("shaddock".to_owned()),
                client_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                user: None,
            },
            tables: Tables::default(),
            limit: Package::MAX_BODY,
            handshake_timeout: Duration::from_secs(10),
            #[cfg(feature = "crypto")]
            signer: None,
        }
    }
}

impl Client {
    /// The machine of a connection that was made at `now`.
    pub fn new(options: ClientOptions, now: Instant) -> Self {
        let (state, transmit) = match Request::encode(&options) {
            Ok(handshake) => (State::New, VecDeque::from([handshake])),
            Err(_) => (State::Closing(CloseReason::BadHandshake), VecDeque::new()),
        };
        Self {
            deadline: now.checked_add(options.handshake_timeout),
            options,
            state,
            packages: Packages::default(),
            tables: Tables::default(),
            schemas: FxHashMap::default(),
            transmit,
            heartbeat: None,
            next_heartbeat: None,
        }
    }

    /// Takes bytes from the server. Nothing is decoded before [`Client::poll_event`].
    pub fn receive(&mut self, chunk: Bytes, _now: Instant) {
        if matches!(self.state, State::New | State::Working) {
            self.packages.push(chunk);
        }
    }

    /// Decodes until something happened, or nothing whole is left.
    pub fn poll_event(&mut self, now: Instant) -> Option<ClientEvent> {
        loop {
            if let State::Closing(reason) = &self.state {
                let reason = reason.clone();
                self.state = State::Closed;
                return Some(ClientEvent::Close(reason));
            }
            match self.packages.next(self.options.limit) {
                Ok(Some(package)) => {
                    if let Some(event) = self.handle(package, now) {
                        return Some(event);
                    }
                }
                Ok(None) => return None,
                Err(PackageError::UnknownKind(kind)) => {
                    self.close(CloseReason::UnknownPackage(kind));
                }
                Err(PackageError::TooLong { len, limit }) => {
                    self.close(CloseReason::TooLong { len, limit });
                }
            }
        }
    }

    /// What the machine itself sends next: handshake, ack, heartbeats.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.pop_front()
    }

    /// When to call [`Client::handle_timeout`], if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.next_heartbeat).min()
    }

    /// Looks at the time: sends a heartbeat if one is due, or gives up on the server.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.deadline) {
            self.close(match self.state {
                State::New => CloseReason::HandshakeTimeout,
                _ => CloseReason::HeartbeatTimeout,
            });
        } else if due(self.next_heartbeat) {
            self.transmit.push_back(Bytes::from_static(&[Kind::Heartbeat as u8, 0, 0, 0]));
            self.next_heartbeat = self.heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
        }
    }

    /// The bytes of a request. Ids are the caller's choice, each used once at a time.
    ///
    /// # Errors
    ///
    /// When the body does not fit its schema or can't be signed, something is too long, or it's too early.
    pub fn request(
        &mut self,
        id: NonZeroU32,
        route: &str,
        body: &Bytes,
    ) -> Result<Bytes, EncodeError> {
        let id = id.get();
        let short = self.tables.shorten(route);
        let bytes = self.encode(|out| message::put_request(out, id, short), route, body)?;
        if self.tables.server_schema(route).is_some() {
            self.schemas.insert(id, route.into());
        }
        Ok(bytes)
    }

    /// Forgets a request: its response is not waited for any more.
    pub fn forget(&mut self, id: NonZeroU32) {
        self.schemas.remove(&id.get());
    }

    /// The bytes of a notify, which is not answered.
    ///
    /// # Errors
    ///
    /// As [`Client::request`].
    pub fn notify(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        let short = self.tables.shorten(route);
        self.encode(|out| message::put_notify(out, short), route, body)
    }

    /// The tables of this connection, for [`ClientOptions::tables`] of the next.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    fn encode(
        &self,
        head: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
        route: &str,
        body: &Bytes,
    ) -> Result<Bytes, EncodeError> {
        if !matches!(self.state, State::Working) {
            return Err(EncodeError::NotReady);
        }
        let schema = self.tables.client_schema(route);
        #[cfg(feature = "crypto")]
        if let Some(signer) = &self.options.signer {
            let signed = sign::sign(&**signer, body)?;
            return match schema {
                Some(_) => tables::encode(head, &signed, schema, Strings::Utf8),
                // As it was signed.
                None => tables::encode_raw(head, &signed),
            };
        }
        tables::encode(head, body, schema, Strings::Utf8)
    }

    fn handle(&mut self, package: Package, now: Instant) -> Option<ClientEvent> {
        if let Some(heartbeat) = self.heartbeat {
            self.deadline = now.checked_add(heartbeat.saturating_mul(2));
        }
        match (package.kind, &self.state) {
            (Kind::Handshake, State::New) => self.handshake(package.body, now),
            (Kind::Data, State::Working) => Some(self.message(package.body)),
            (Kind::Kick, _) => {
                let kick: Option<Value> = serde_json::from_slice(&text::json(package.body)).ok();
                let reason = kick.as_ref().and_then(|kick| kick.get("reason")?.as_str());
                self.close(CloseReason::Kicked);
                Some(ClientEvent::Kicked { reason: reason.map(str::to_owned) })
            }
            // Heartbeats answer ours, and have been counted above.
            _ => None,
        }
    }

    fn handshake(&mut self, body: Bytes, now: Instant) -> Option<ClientEvent> {
        let Some(response) = Response::parse(body.clone(), &self.options.tables) else {
            self.close(CloseReason::BadHandshake);
            return None;
        };
        if response.code != 200 {
            self.close(CloseReason::Refused(response.code));
            let answer = serde_json::from_slice(&text::json(body)).ok()?;
            return Some(ClientEvent::Refused { code: response.code, answer });
        }
        self.state = State::Working;
        self.tables = response.tables;
        self.heartbeat = response.heartbeat;
        self.next_heartbeat = self.heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
        self.deadline =
            self.heartbeat.and_then(|heartbeat| now.checked_add(heartbeat.saturating_mul(2)));
        self.transmit.push_back(Bytes::from_static(&[Kind::Ack as u8, 0, 0, 0]));
        Some(ClientEvent::Ready(Welcome { user: response.user, heartbeat: response.heartbeat }))
    }

    fn message(&mut self, bytes: Bytes) -> ClientEvent {
        let read = match Message::decode(bytes) {
            Ok(Message::Response { id, body }) => self.response(id, body),
            Ok(Message::Push { route, body }) => self.push(route, body),
            Ok(Message::Request { .. } | Message::Notify { .. }) => Err(Refusal::WrongSide),
            Err(error) => Err(error.fault.into()),
        };
        read.unwrap_or_else(ClientEvent::Unreadable)
    }

    fn response(&mut self, id: u32, body: Bytes) -> Result<ClientEvent, Refusal> {
        let route = self.schemas.remove(&id);
        let schema = route.as_deref().and_then(|route| self.tables.server_schema(route));
        let body = match schema {
            Some(schema) => schema.decode(&body)?,
            None => text::body(body),
        };
        Ok(ClientEvent::Response { id, body })
    }

    fn push(&self, route: WireRoute, body: Bytes) -> Result<ClientEvent, Refusal> {
        let route = match route {
            WireRoute::Text(text) => text,
            WireRoute::Code(code) => {
                let dictionary = self.tables.dictionary.as_ref();
                let text = dictionary.and_then(|dictionary| dictionary.text(code));
                text.cloned().ok_or(Refusal::UnknownCode(code))?
            }
        };
        let body = match self.tables.server_schema(&route) {
            Some(schema) => schema.decode(&body)?,
            None => text::body(body),
        };
        Ok(ClientEvent::Push { route, body })
    }

    fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, State::New | State::Working) {
            self.state = State::Closing(reason);
            self.deadline = None;
            self.next_heartbeat = None;
            self.packages = Packages::default();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("state", &self.state).finish_non_exhaustive()
    }
}
