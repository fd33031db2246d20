//! The dialect of Socket.IO clients: texts in and out, one message each.
//!
//! A chunk that is received is the UTF-8 of one text, and what is sent is the text for one
//! `message` event. What carries them, and finds out who is gone, is no affair of this machine. A
//! text from a client is four characters of id, one for the length of the route, the route, and
//! JSON. What goes to a client is JSON, all of it ASCII: clients of the 1.x line encode twice when
//! they poll.
//!
//! # Examples
//!
//! ```
//! use std::time::Instant;
//! use shaddock_protocol::socketio::{Connector, Limits, Server};
//! use shaddock_protocol::{Dialect, Event};
//!
//! let now = Instant::now();
//! let mut server = Server::new(&Connector::new(Limits::default()));
//! assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
//! server.accept(None, now);
//! assert!(matches!(server.poll_event(now), Some(Event::Ready)));
//!
//! server.receive("\0\0\0\x02\x0achat.h.say{}".into(), now);
//! let Some(Event::Message(message)) = server.poll_event(now) else { panic!("no message") };
//! let id = message.id.expect("it is a request");
//! let reply = server.voice().response(id, &message.route, &r#"{"code":200}"#.into())?;
//! assert_eq!(reply, r#"{"id":2,"body":{"code":200}}"#);
//! # Ok::<(), shaddock_protocol::EncodeError>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::pomelo::MessageFault;
use crate::voice::Encode;
use crate::{
    CloseReason, Dialect, EncodeError, Event, Hello, Incoming, Refusal, Route, Voice, text,
};

/// How much a client may send before it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text.
    pub message: usize,
    /// Bytes of texts that are kept until it is let in.
    pub early: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 64 * 1024, early: 8 * 1024 }
    }
}

/// What all connections of one connector share: make it once, and a [`Server`] from it for each
/// client.
#[derive(Debug, Clone)]
pub struct Connector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    voice: Voice,
}

impl Connector {
    /// Gets ready.
    pub fn new(limits: Limits) -> Self {
        let voice = Voice::new(Speaker);
        Self(Arc::new(Shared { limits, voice }))
    }
}

/// The machine of one client of a Socket.IO connector.
///
/// Its clients don't shake hands. So that the application is asked all the same, the first event
/// is an [`Event::Handshake`] with an empty [`Hello`]; neither that the client is let in nor that
/// it is refused is told. There are no heartbeats and no time-outs here.
pub struct Server {
    shared: Arc<Shared>,
    state: State,
    texts: VecDeque<Bytes>,
    transmit: VecDeque<Bytes>,
}

#[derive(Debug)]
enum State {
    /// The application is yet to be asked.
    New,
    /// The application decides; nothing is decoded.
    Deciding,
    /// It is let in, which is yet to be told.
    Accepted,
    Working,
    /// The reason is yet to be told.
    Closing(CloseReason),
    Closed,
}

impl Server {
    /// The machine of a client that came.
    pub fn new(connector: &Connector) -> Self {
        Self {
            shared: connector.0.clone(),
            state: State::New,
            texts: VecDeque::new(),
            transmit: VecDeque::new(),
        }
    }

    fn message(&mut self, chunk: Bytes) -> Event {
        let (id, route, body) = match parse(chunk) {
            Ok(parts) => parts,
            Err(fault) => return self.refused(None, fault.into()),
        };
        match Route::parse(route) {
            Err(error) => self.refused(id, error.into()),
            Ok(route) if route.method() == "constructor" => {
                self.kick_as(Some("attack"), CloseReason::Attack);
                self.state = State::Closed;
                Event::Close(CloseReason::Attack)
            }
            Ok(route) => {
                let body = text::json(body);
                Event::Message(Incoming { id, route, body })
            }
        }
    }

    fn refused(&mut self, id: Option<NonZeroU32>, reason: Refusal) -> Event {
        self.transmit.extend(id.map(|id| self.shared.voice.fault(id, None)));
        Event::Refused { id, reason }
    }

    fn kick_as(&mut self, reason: Option<&str>, close: CloseReason) {
        if let (State::Accepted | State::Working, Some(reason)) = (&self.state, reason) {
            let kick = json!({ "route": "onKick", "reason": reason }).to_string();
            self.transmit.push_back(ascii(kick.as_bytes()));
        }
        self.close(close);
    }

    fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(reason);
            self.texts = VecDeque::new();
        }
    }
}

impl Dialect for Server {
    fn receive(&mut self, chunk: Bytes, _now: Instant) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        let Limits { message, early } = self.shared.limits;
        let len = chunk.len();
        if message < len {
            return self.close(CloseReason::TooLong { len, limit: message });
        }
        self.texts.push_back(chunk);
        if matches!(self.state, State::New | State::Deciding) {
            // Each takes some memory of its own, even if it is empty.
            let kept: usize = self.texts.iter().map(|text| HEADER + text.len()).sum();
            if early < kept {
                self.close(CloseReason::TooMuchEarly { limit: early });
            }
        }
    }

    fn poll_event(&mut self, _now: Instant) -> Option<Event> {
        match &self.state {
            State::New => {
                self.state = State::Deciding;
                Some(Event::Handshake(Hello::default()))
            }
            State::Accepted => {
                self.state = State::Working;
                Some(Event::Ready)
            }
            State::Working => {
                let text = self.texts.pop_front()?;
                if self.texts.is_empty() {
                    self.texts = VecDeque::new();
                }
                Some(self.message(text))
            }
            State::Closing(reason) => {
                let reason = reason.clone();
                self.state = State::Closed;
                Some(Event::Close(reason))
            }
            State::Deciding | State::Closed => None,
        }
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        let next = self.transmit.pop_front()?;
        if self.transmit.is_empty() {
            self.transmit = VecDeque::new();
        }
        Some(next)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn accept(&mut self, _user: Option<&RawValue>, _now: Instant) {
        if let State::Deciding = self.state {
            self.state = State::Accepted;
        }
    }

    fn refuse(&mut self, code: u16, _more: &Map<String, Value>) {
        if let State::Deciding = self.state {
            self.close(CloseReason::Refused(code));
        }
    }

    fn kick(&mut self, reason: Option<&str>) {
        self.kick_as(reason, CloseReason::Kicked);
    }

    fn voice(&self) -> &Voice {
        &self.shared.voice
    }

    fn suspend_timeout(&mut self) {}

    fn resume_timeout(&mut self, _now: Instant) {}
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Characters before the route.
const HEADER: usize = 5;

/// Id, route and body of a text. Characters are counted as JavaScript does: in units of UTF-16.
fn parse(chunk: Bytes) -> Result<(Option<NonZeroU32>, ByteString, Bytes), MessageFault> {
    let text = text::repair(chunk);
    if text.is_empty() {
        return Err(MessageFault::Empty);
    }
    let mut chars = text.chars();
    let mut id = [0; 4];
    for byte in &mut id {
        let char = chars.next().ok_or(MessageFault::ShortId)?;
        *byte = u8::try_from(char).map_err(|_| MessageFault::WideId)?;
    }
    let units = chars.next().ok_or(MessageFault::ShortRoute)?;
    let mut units = usize::from(u8::try_from(units).map_err(|_| MessageFault::ShortRoute)?);
    let rest = chars.as_str();
    while 0 < units {
        let char = chars.next().ok_or(MessageFault::ShortRoute)?;
        let left = units.checked_sub(char.len_utf16());
        units = left.ok_or(MessageFault::ShortRoute)?;
    }
    let body = chars.as_str();
    let route = text.slice_ref(&rest[..rest.len() - body.len()]);
    let body = text.as_bytes().slice_ref(body.as_bytes());
    Ok((NonZeroU32::new(u32::from_be_bytes(id)), route, body))
}

/// How all clients of Socket.IO are spoken to.
struct Speaker;

impl Encode for Speaker {
    fn response(&self, id: NonZeroU32, _: &Route, body: &Bytes) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::with_capacity(32 + body.len());
        out.put_slice(format!(r#"{{"id":{id},"body":"#).as_bytes());
        text::put_ascii(&mut out, body);
        out.put_u8(b'}');
        Ok(out.freeze())
    }

    fn fault(&self, id: NonZeroU32, _: Option<&Route>) -> Bytes {
        format!(r#"{{"id":{id},"body":{{"code":500}}}}"#).into()
    }

    fn push(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::with_capacity(32 + route.len() + body.len());
        out.put_slice(br#"{"route":"#);
        text::put_ascii(&mut out, serde_json::Value::from(route).to_string().as_bytes());
        out.put_slice(br#","body":"#);
        text::put_ascii(&mut out, body);
        out.put_u8(b'}');
        Ok(out.freeze())
    }
}

fn ascii(json: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(json.len());
    text::put_ascii(&mut out, json);
    out.freeze()
}
