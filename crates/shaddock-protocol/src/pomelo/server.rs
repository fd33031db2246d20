//! One connection of a pomelo client, from the server's side.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::connector::Shared;
use super::handshake::{self, Request};
use super::package::{self, Kind};
#[cfg(feature = "crypto")]
use super::signature::Signer;
use super::{Connector, Message, MessageError, Package, PackageError, Packages, WireRoute};
use crate::{CloseReason, Dialect, Event, Incoming, Refusal, Route, Voice, text};

/// The machine of one client of a hybrid connector, or of a UDP connector.
///
/// Messages that come before the ack, which pomelo drops, are kept, within [`Limits`], and
/// handed on after [`Event::Ready`]. Every request that can't be handed on is answered. Any
/// package is a sign of life.
///
/// [`Limits`]: super::Limits
pub struct Server {
    shared: Arc<Shared>,
    voice: Voice,
    state: State,
    packages: Packages,
    /// Messages from before the ack.
    early: VecDeque<Bytes>,
    transmit: VecDeque<Bytes>,
    /// When it is closed unless something happens.
    deadline: Option<Instant>,
    suspended: bool,
    /// Datagrams that ended inside a package, and are yet to be told of.
    truncated: u32,
    /// Who must have signed each message.
    #[cfg(feature = "crypto")]
    signer: Option<Box<Signer>>,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet.
    New,
    /// The application decides on the handshake; nothing is decoded.
    Deciding(Box<Request>),
    /// The handshake is answered.
    Accepted,
    /// The ack came.
    Working,
    /// The reason is yet to be told.
    Closing(CloseReason),
    Closed,
}

impl Server {
    /// The machine of a client that came at `now`.
    pub fn new(connector: &Connector, now: Instant) -> Self {
        let shared = connector.shared();
        Self {
            voice: shared.utf8.clone(),
            state: State::New,
            packages: Packages::default(),
            early: VecDeque::new(),
            transmit: VecDeque::new(),
            deadline: now.checked_add(shared.config.handshake_timeout),
            suspended: false,
            truncated: 0,
            #[cfg(feature = "crypto")]
            signer: None,
            shared,
        }
    }

    fn handle(&mut self, package: Package, now: Instant) -> Option<Event> {
        match (package.kind, &self.state) {
            (Kind::Kick, _) => {
                self.close(CloseReason::KickFromClient);
                None
            }
            (Kind::Handshake, State::New) => {
                let Some(mut request) = self.request(package.body) else {
                    self.transmit.push_back(handshake::refused(500, &Map::new()));
                    self.close(CloseReason::BadHandshake);
                    return None;
                };
                let hello = mem::take(&mut request.hello);
                if hello.client_type.as_deref() == Some("js-websocket") {
                    self.voice = self.shared.surrogates.clone();
                }
                self.state = State::Deciding(Box::new(request));
                Some(Event::Handshake(hello))
            }
            (Kind::Ack, State::Accepted) => {
                self.state = State::Working;
                self.deadline = None;
                self.beat(now);
                Some(Event::Ready)
            }
            (Kind::Heartbeat, State::Working) => {
                self.beat(now);
                None
            }
            (Kind::Data, State::Working) => {
                self.push_deadline(now);
                Some(self.message(package.body))
            }
            (Kind::Data, State::New | State::Accepted) => {
                self.keep(&package.body);
                None
            }
            // A second handshake, an ack or a heartbeat at the wrong time: pomelo ignores them.
            _ => None,
        }
    }

    /// What a client says first, if that is enough.
    fn request(&mut self, body: Bytes) -> Option<Request> {
        let request = Request::parse(body)?;
        #[cfg(feature = "crypto")]
        if self.shared.config.signed {
            self.signer = Some(Box::new(Signer::parse(request.rsa.as_ref()?)?));
        }
        Some(request)
    }

    fn message(&mut self, bytes: Bytes) -> Event {
        let (id, route, body) = match Message::decode(bytes) {
            Ok(Message::Request { id, route, body }) => (NonZeroU32::new(id), route, body),
            Ok(Message::Notify { route, body } | Message::Push { route, body }) => {
                (None, route, body)
            }
            Ok(Message::Response { .. }) => return self.refused(None, None, Refusal::WrongSide),
            Err(error) => return self.malformed(error),
        };
        let route = self.route(route);
        let tables = &self.shared.config.tables;
        let body = match route.as_ref().map(|route| tables.client_schema(route.as_str())) {
            Ok(Some(schema)) => schema.decode(&body),
            _ => Ok(text::json(body)),
        };
        #[cfg(feature = "crypto")]
        let body = match &self.signer {
            None => body,
            Some(signer) => match body.ok().and_then(|body| signer.verify(&body)) {
                Some(unsigned) => Ok(unsigned),
                None => return self.refused(None, None, Refusal::Signature),
            },
        };
        let route = match route {
            Ok(route) => route,
            Err(reason) => return self.refused(id, None, reason),
        };
        if route.method() == "constructor" {
            self.kick_as(Some("attack"), CloseReason::Attack);
            self.state = State::Closed;
            return Event::Close(CloseReason::Attack);
        }
        match body {
            Ok(body) => Event::Message(Incoming { id, route, body }),
            Err(error) => self.refused(id, Some(&route), error.into()),
        }
    }

    fn malformed(&mut self, error: MessageError) -> Event {
        let id = error.id;
        // What can't be read is not signed, so it gets no answer where it should be.
        #[cfg(feature = "crypto")]
        let id = id.filter(|_| self.signer.is_none());
        self.refused(id, None, error.fault.into())
    }

    fn route(&self, route: WireRoute) -> Result<Route, Refusal> {
        match route {
            WireRoute::Text(text) => Ok(Route::parse(text)?),
            WireRoute::Code(code) => {
                let dictionary = self.shared.config.tables.dictionary.as_ref();
                let route = dictionary.and_then(|dictionary| dictionary.route(code));
                route.cloned().ok_or(Refusal::UnknownCode(code))
            }
        }
    }

    fn refused(&mut self, id: Option<NonZeroU32>, route: Option<&Route>, reason: Refusal) -> Event {
        if let Some(id) = id {
            self.transmit.push_back(self.voice.fault(id, route));
        }
        Event::Refused { id, reason }
    }

    fn keep(&mut self, body: &Bytes) {
        // Copied, so that it does not keep a whole read buffer alive.
        self.early.push_back(Bytes::copy_from_slice(body));
        let limit = self.shared.config.limits.early;
        let kept: usize = self.early.iter().map(|body| Package::HEADER + body.len()).sum();
        if limit < kept {
            self.close(CloseReason::TooMuchEarly { limit });
        }
    }

    /// A sign of life that wants one back.
    fn beat(&mut self, now: Instant) {
        if self.shared.config.heartbeat.is_some() {
            self.transmit.push_back(Bytes::from_static(&[Kind::Heartbeat as u8, 0, 0, 0]));
            self.push_deadline(now);
        }
    }

    fn push_deadline(&mut self, now: Instant) {
        let silence = self.shared.silence();
        self.deadline = silence.and_then(|silence| now.checked_add(silence));
    }

    fn kick_as(&mut self, reason: Option<&str>, close: CloseReason) {
        if let (State::Working, Some(reason)) = (&self.state, reason) {
            let json = text::to_json(&serde_json::json!({ "reason": reason }));
            let json = json.expect("text is JSON");
            let kick = package::build(Kind::Kick, json.len(), |out| out.put_slice(&json));
            // A reason of 16 MiB is not worth telling.
            self.transmit.extend(kick.ok());
        }
        self.close(close);
    }

    fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(reason);
            self.deadline = None;
            self.packages = Packages::default();
            self.early = VecDeque::new();
        }
    }
}

impl Dialect for Server {
    fn receive(&mut self, mut chunk: Bytes, _now: Instant) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        if self.shared.config.datagrams {
            let whole = package::whole(&chunk);
            self.truncated = self.truncated.saturating_add((whole < chunk.len()).into());
            chunk.truncate(whole);
        }
        self.packages.push(chunk);
        let limit = self.shared.config.limits.early;
        if matches!(self.state, State::Deciding(_)) && limit < self.packages.len() {
            self.close(CloseReason::TooMuchEarly { limit });
        }
    }

    fn poll_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            let accepted = match &self.state {
                State::Closed => return None,
                State::Closing(reason) => {
                    let reason = reason.clone();
                    self.state = State::Closed;
                    return Some(Event::Close(reason));
                }
                State::Deciding(_) => return None,
                State::New => false,
                State::Accepted => true,
                State::Working => {
                    if let Some(body) = self.early.pop_front() {
                        if self.early.is_empty() {
                            self.early = VecDeque::new();
                        }
                        return Some(self.message(body));
                    }
                    true
                }
            };
            if let Some(left) = self.truncated.checked_sub(1) {
                self.truncated = left;
                return Some(self.refused(None, None, Refusal::Truncated));
            }
            let limit = self.shared.limit(accepted);
            match self.packages.next(limit) {
                Ok(Some(package)) => {
                    if let Some(event) = self.handle(package, now) {
                        return Some(event);
                    }
                }
                Ok(None) => return None,
                Err(PackageError::UnknownKind(kind)) => {
                    self.close(CloseReason::UnknownPackage(kind));
                }
                Err(PackageError::TooLong { len, limit }) if accepted => {
                    self.close(CloseReason::TooLong { len, limit });
                }
                Err(PackageError::TooLong { len, limit }) => {
                    self.close(CloseReason::TooLongBeforeHandshake { len, limit });
                }
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        let next = self.transmit.pop_front()?;
        if self.transmit.is_empty() {
            // An idle connection holds no queue.
            self.transmit = VecDeque::new();
        }
        Some(next)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let suspended = self.suspended && matches!(self.state, State::Working);
        if suspended { None } else { self.deadline }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.close(match self.state {
                State::Working => CloseReason::HeartbeatTimeout,
                _ => CloseReason::HandshakeTimeout,
            });
        }
    }

    fn accept(&mut self, user: Option<&RawValue>, _now: Instant) {
        let State::Deciding(request) = &self.state else {
            return;
        };
        let Shared { config, answers, .. } = &*self.shared;
        match answers.accept(request, &config.tables, user) {
            Ok(answer) => {
                self.transmit.push_back(answer);
                self.state = State::Accepted;
            }
            // Only what the application says can be too long here.
            Err(_) => self.refuse(500, &Map::new()),
        }
    }

    fn refuse(&mut self, code: u16, more: &Map<String, Value>) {
        if let State::Deciding(_) = self.state {
            self.transmit.push_back(handshake::refused(code, more));
            self.close(CloseReason::Refused(code));
        }
    }

    fn kick(&mut self, reason: Option<&str>) {
        self.kick_as(reason, CloseReason::Kicked);
    }

    fn voice(&self) -> &Voice {
        &self.voice
    }

    fn suspend_timeout(&mut self) {
        self.suspended = true;
    }

    fn resume_timeout(&mut self, now: Instant) {
        if mem::take(&mut self.suspended) && matches!(self.state, State::Working) {
            self.push_deadline(now);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("state", &self.state).finish_non_exhaustive()
    }
}
