//! One connection of an MQTT client, from the server's side.

use std::fmt;
use std::mem;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::Connector;
use super::connector::Shared;
use super::packet::{self, Connect, Packet, PacketError, Publish, Qos, Version};
use super::publish;
use super::reply::Ask;
use super::write::{self, Answer};
use crate::chunks::Chunks;
use crate::{CloseReason, Dialect, Event, Hello, Incoming, Voice};

/// The machine of one client of an MQTT connector.
///
/// A CONNECT is the handshake: its [`Hello`] is of type `mqtt` and version `3.1` or `3.1.1`, and
/// has `{"clientId":"a","username":"b","password":"c"}` as `user`, each if given. (A password that
/// is not UTF-8 is base64, with `"passwordEncoding":"base64"`.) The application's word for a
/// client who is let in has no place in MQTT and is not sent. [`refuse`](Dialect::refuse) takes
/// the codes of MQTT, 1 to 5, as they are; 501 becomes 1 (version), 503 becomes 3 (unavailable),
/// 401 becomes 4 (bad user name or password), and any other 5 (not authorized). There is no place for more.
///
/// Ids of requests have the id of the packet in their lower half.
pub struct Server {
    shared: Arc<Shared>,
    state: State,
    version: Version,
    chunks: Chunks,
    transmit: BytesMut,
    /// Publishes of QoS 2 that the client may send again: it has not released them.
    unreleased: Vec<NonZeroU16>,
    /// How long the client may be silent.
    silence: Option<Duration>,
    /// When it is closed unless something happens.
    deadline: Option<Instant>,
    suspended: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet.
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
    /// The machine of a client that came at `now`.
    pub fn new(connector: &Connector, now: Instant) -> Self {
        let shared = connector.0.clone();
        Self {
            state: State::New,
            version: Version::V3_1_1,
            chunks: Chunks::default(),
            transmit: BytesMut::new(),
            unreleased: Vec::new(),
            silence: None,
            deadline: now.checked_add(shared.config.handshake_timeout),
            suspended: false,
            shared,
        }
    }

    fn handle(&mut self, packet: Packet) -> Option<Event> {
        match (packet, &self.state) {
            (Packet::Connect(connect), State::New) => return Some(self.connect(connect)),
            (_, State::New) => self.close(CloseReason::BadHandshake),
            (Packet::Connect(_), _) => self.close(PacketError::SecondConnect.into()),
            (Packet::Publish(publish), _) => return self.publish(&publish),
            (Packet::Subscribe { id, topics }, _) => return Some(self.subscribe(id, &topics)),
            (Packet::Unsubscribe(id), _) => self.answer(Answer::Unsubscribed, id),
            (Packet::Received(id), _) => self.answer(Answer::Release, id),
            (Packet::Release(id), _) => {
                self.unreleased.retain(|unreleased| *unreleased != id);
                self.answer(Answer::Complete, id);
            }
            // We send nothing again, so we don't wait for it either.
            (Packet::Acknowledged, _) => {}
            (Packet::Ping, _) => self.transmit.put_slice(&write::PONG),
            (Packet::Disconnect, _) => self.close(CloseReason::Left),
        }
        None
    }

    fn connect(&mut self, connect: Connect) -> Event {
        let keep_alive = Duration::from_secs(connect.keep_alive.into());
        let keep_alive = (!keep_alive.is_zero()).then_some(keep_alive * 3 / 2);
        self.silence = keep_alive.into_iter().chain(self.shared.config.timeout).min();
        self.version = connect.version;
        self.state = State::Deciding;
        let mut user = json!({ "clientId": &*connect.client });
        if let Some(username) = &connect.username {
            user["username"] = json!(&**username);
        }
        if let Some(password) = &connect.password {
            let (password, encoding) = publish::to_text(password);
            user["password"] = json!(password);
            if let Some(encoding) = encoding {
                user["passwordEncoding"] = json!(encoding);
            }
        }
        let version = match connect.version {
            Version::V3_1 => "3.1",
            Version::V3_1_1 => "3.1.1",
        };
        Event::Handshake(Hello {
            client_type: Some("mqtt".to_owned()),
            client_version: Some(version.to_owned()),
            user: Some(user),
        })
    }

    fn publish(&mut self, publish: &Publish) -> Option<Event> {
        if let Qos::Two(id) = publish.qos {
            let known = self.unreleased.contains(&id);
            let limit = self.shared.config.limits.unreleased;
            if !known && limit <= self.unreleased.len() {
                self.close(PacketError::Unreleased { limit }.into());
                return None;
            }
            self.answer(Answer::Received, id);
            if known {
                return None;
            }
            self.unreleased.push(id);
        }
        Some(Event::Message(Incoming {
            id: Ask::of_publish(publish.qos).map(Ask::to_id),
            route: self.shared.config.publish_route.clone(),
            body: publish.to_body(),
        }))
    }

    fn subscribe(&mut self, id: NonZeroU16, topics: &[(ByteString, u8)]) -> Event {
        let subscriptions: Vec<_> =
            topics.iter().map(|(topic, qos)| Subscription { topic, qos: *qos }).collect();
        let body = Subscriptions { subscriptions, message_id: id };
        let topics = u16::try_from(topics.len()).expect("a packet has few topics");
        Event::Message(Incoming {
            id: Some(Ask::Subscribe { id, topics }.to_id()),
            route: self.shared.config.subscribe_route.clone(),
            body: serde_json::to_vec(&body).expect("text and numbers are JSON").into(),
        })
    }

    fn answer(&mut self, answer: Answer, id: NonZeroU16) {
        write::put_answer(&mut self.transmit, answer, id);
    }

    /// What could not be read. Two of the reasons are told.
    fn broken(&mut self, error: PacketError) {
        if let State::New = self.state {
            match error {
                PacketError::Level(_) => self.transmit.put_slice(&write::connack(1)),
                PacketError::NoClientId => self.transmit.put_slice(&write::connack(2)),
                PacketError::TooLong { len, limit } => {
                    return self.close(CloseReason::TooLongBeforeHandshake { len, limit });
                }
                _ => {}
            }
        }
        self.close(match error {
            PacketError::TooLong { len, limit } => CloseReason::TooLong { len, limit },
            error => error.into(),
        });
    }

    fn push_deadline(&mut self, now: Instant) {
        self.deadline = self.silence.and_then(|silence| now.checked_add(silence));
    }

    fn close(&mut self, reason: CloseReason) {
        if !matches!(self.state, State::Closing(_) | State::Closed) {
            self.state = State::Closing(reason);
            self.deadline = None;
            self.chunks = Chunks::default();
            self.unreleased = Vec::new();
        }
    }
}

/// What the handler of subscriptions gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscriptions<'a> {
    subscriptions: Vec<Subscription<'a>>,
    message_id: NonZeroU16,
}

#[derive(Serialize)]
struct Subscription<'a> {
    topic: &'a str,
    qos: u8,
}

impl Dialect for Server {
    fn receive(&mut self, chunk: Bytes, _now: Instant) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        self.chunks.push(chunk);
        let limit = self.shared.config.limits.early;
        if matches!(self.state, State::Deciding) && limit < self.chunks.len() {
            self.close(CloseReason::TooMuchEarly { limit });
        }
    }

    fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let limits = self.shared.config.limits;
        loop {
            let limit = match &self.state {
                State::Closed | State::Deciding => return None,
                State::Closing(reason) => {
                    let reason = reason.clone();
                    self.state = State::Closed;
                    return Some(Event::Close(reason));
                }
                State::Accepted => {
                    self.state = State::Working;
                    return Some(Event::Ready);
                }
                State::New => limits.before_handshake,
                State::Working => limits.packet,
            };
            let found = self.chunks.next(|bytes| packet::find(bytes, limit));
            let decoded = match found {
                Ok(None) => return None,
                Ok(Some((first, body))) => Packet::decode(first, body, self.version),
                Err(error) => Err(error),
            };
            match decoded {
                Ok(packet) => {
                    if let State::Working = self.state {
                        self.push_deadline(now);
                    }
                    if let Some(event) = self.handle(packet) {
                        return Some(event);
                    }
                }
                Err(error) => self.broken(error),
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        let all = mem::take(&mut self.transmit);
        (!all.is_empty()).then(|| all.freeze())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let suspended = self.suspended && matches!(self.state, State::Working);
        if suspended { None } else { self.deadline }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.close(match self.state {
                State::Accepted | State::Working => CloseReason::HeartbeatTimeout,
                _ => CloseReason::HandshakeTimeout,
            });
        }
    }

    fn accept(&mut self, _user: Option<&RawValue>, now: Instant) {
        if let State::Deciding = self.state {
            self.transmit.put_slice(&write::connack(0));
            self.state = State::Accepted;
            self.push_deadline(now);
        }
    }

    fn refuse(&mut self, code: u16, _more: &Map<String, Value>) {
        if let State::Deciding = self.state {
            let mqtt = match code {
                401 => 4,
                501 => 1,
                503 => 3,
                code => u8::try_from(code).ok().filter(|code| (1..=5).contains(code)).unwrap_or(5),
            };
            self.transmit.put_slice(&write::connack(mqtt));
            self.close(CloseReason::Refused(code));
        }
    }

    fn kick(&mut self, _reason: Option<&str>) {
        self.close(CloseReason::Kicked);
    }

    fn voice(&self) -> &Voice {
        &self.shared.voice
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
