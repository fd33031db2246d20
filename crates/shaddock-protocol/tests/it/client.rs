//! The machine of a client, against the server's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use serde_json::value::to_raw_value;
use shaddock_protocol::pomelo::{
    Client, ClientEvent, ClientOptions, Config, Connector, Dictionary, Protos, Server, Tables,
    Welcome,
};
use shaddock_protocol::{CloseReason, Dialect, EncodeError, Event, Incoming, Refusal};

/// Both machines, and their clock.
struct Pair {
    client: Client,
    server: Server,
    now: Instant,
    /// Bytes that the server sent.
    received: usize,
}

impl Pair {
    fn new(config: Config, options: ClientOptions) -> Self {
        let now = Instant::now();
        let server = Server::new(&Connector::new(config).unwrap(), now);
        Self { client: Client::new(options, now), server, now, received: 0 }
    }

    /// Past the handshake.
    fn ready(config: Config, options: ClientOptions) -> Self {
        let mut pair = Self::new(config, options);
        assert!(matches!(pair.at_server(), Some(Event::Handshake(_))));
        pair.server.accept(None, pair.now);
        assert!(matches!(pair.at_client(), Some(ClientEvent::Ready(_))));
        assert!(matches!(pair.at_server(), Some(Event::Ready)));
        pair
    }

    /// Carries what the client sends, until something happens at the server.
    fn at_server(&mut self) -> Option<Event> {
        while let Some(bytes) = self.client.poll_transmit() {
            self.server.receive(bytes, self.now);
        }
        self.server.poll_event(self.now)
    }

    /// Carries what the server sends, until something happens at the client.
    fn at_client(&mut self) -> Option<ClientEvent> {
        while let Some(bytes) = self.server.poll_transmit() {
            self.received += bytes.len();
            self.client.receive(bytes, self.now);
        }
        self.client.poll_event(self.now)
    }

    fn request(&mut self, id: u32, route: &str, body: &'static str) -> Incoming {
        let id = id.try_into().unwrap();
        let bytes = self.client.request(id, route, &body.into()).unwrap();
        self.server.receive(bytes, self.now);
        match self.at_server() {
            Some(Event::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.client.poll_timeout().is_some_and(|at| at <= self.now) {
            self.client.handle_timeout(self.now);
        }
    }
}

fn full() -> Config {
    let server =
        r#"{ "onChat": { "required string msg": 1 }, "a.b.c": { "optional float f": 1 } }"#;
    let client = r#"{ "a.b.c": { "repeated sInt32 nums": 2 } }"#;
    let tables = Tables {
        dictionary: Some(Arc::new(Dictionary::build(["a.b.c"], ["onChat"]).unwrap())),
        protos: Some(Arc::new(Protos::parse(server, client).unwrap())),
    };
    let heartbeat = Some(Duration::from_secs(3));
    Config { tables: tables.into(), heartbeat, ..Config::default() }
}

#[test]
fn client_and_server_say_what_they_have_to_say() {
    let user = Some(json!({ "token": "😀" }));
    let mut options = ClientOptions::default();
    options.hello.user = user.clone();
    let mut pair = Pair::new(full(), options.clone());
    let Some(Event::Handshake(hello)) = pair.at_server() else { panic!("no handshake") };
    assert_eq!(hello, options.hello);
    pair.server.accept(Some(&to_raw_value(&user).unwrap()), pair.now);
    let heartbeat = Some(Duration::from_secs(3));
    assert_eq!(pair.at_client(), Some(ClientEvent::Ready(Welcome { user, heartbeat })));
}

#[test]
fn bodies_are_json_on_both_ends_whatever_is_between() {
    let mut pair = Pair::ready(full(), ClientOptions::default());
    let message = pair.request(300, "a.b.c", r#"{"nums":[1,-2]}"#);
    assert_eq!(message.body, r#"{"nums":[1,-2]}"#);
    let voice = pair.server.voice();
    let push = voice.push("onChat", &r#"{"msg":"hi 😀"}"#.into()).unwrap();
    let other = voice.push("onOther", &r#"{"msg":"hi 😀"}"#.into()).unwrap();
    let id = message.id.unwrap();
    let reply = voice.response(id, &message.route, &r#"{"f":160.0}"#.into()).unwrap();
    for bytes in [push, other, reply] {
        pair.client.receive(bytes, pair.now);
    }
    let body = Bytes::from(r#"{"msg":"hi 😀"}"#);
    assert_eq!(pair.at_client(), Some(ClientEvent::Push { route: "onChat".into(), body }));
    let body = Bytes::from(r#"{"msg":"hi \uD83D\uDE00"}"#);
    assert_eq!(pair.at_client(), Some(ClientEvent::Push { route: "onOther".into(), body }));
    let body = Bytes::from(r#"{"f":160}"#);
    assert_eq!(pair.at_client(), Some(ClientEvent::Response { id: 300, body }));
}

#[test]
fn tables_come_once() {
    let config = full();
    let first = Pair::ready(config.clone(), ClientOptions::default());
    let tables = first.client.tables().clone();
    let options = ClientOptions { tables, ..ClientOptions::default() };
    let mut second = Pair::ready(config, options);
    assert!(second.received + 200 < first.received, "{} {}", second.received, first.received);
    let message = second.request(1, "a.b.c", r#"{"nums":[7]}"#);
    assert_eq!(message.body, r#"{"nums":[7]}"#);
}

#[test]
fn a_client_without_the_tables_that_a_server_leaves_out_gives_up() {
    let now = Instant::now();
    let mut client = Client::new(ClientOptions::default(), now);
    let answer = br#"{"code":200,"sys":{"useDict":true}}"#;
    client.receive([b"\x01\0\0\x23", &answer[..]].concat().into(), now);
    assert_eq!(client.poll_event(now), Some(ClientEvent::Close(CloseReason::BadHandshake)));
}

#[test]
fn a_client_shows_that_it_lives() {
    let mut pair = Pair::ready(full(), ClientOptions::default());
    for _ in 0..5 {
        pair.wait(3);
        assert!(pair.at_server().is_none());
        assert!(pair.at_client().is_none());
    }
    assert!(pair.server.poll_timeout().unwrap() > pair.now, "the server has heard of it");
}

#[test]
fn a_client_gives_up_on_a_silent_server() {
    let mut pair = Pair::ready(full(), ClientOptions::default());
    pair.wait(3);
    assert!(pair.client.poll_event(pair.now).is_none());
    pair.wait(2);
    pair.client.receive(Bytes::from_static(b"\x04\0\0\x05\x06\x01x{}"), pair.now);
    assert!(matches!(pair.client.poll_event(pair.now), Some(ClientEvent::Push { .. })));
    pair.wait(5);
    assert!(pair.client.poll_event(pair.now).is_none());
    pair.wait(1);
    let closed = ClientEvent::Close(CloseReason::HeartbeatTimeout);
    assert_eq!(pair.client.poll_event(pair.now), Some(closed));
}

#[test]
fn a_server_has_ten_seconds_for_the_handshake() {
    let mut pair = Pair::new(Config::default(), ClientOptions::default());
    pair.wait(10);
    let closed = ClientEvent::Close(CloseReason::HandshakeTimeout);
    assert_eq!(pair.client.poll_event(pair.now), Some(closed));
}

#[test]
fn a_client_hears_why_it_has_to_go() {
    let mut kicked = Pair::ready(Config::default(), ClientOptions::default());
    kicked.server.kick(Some("再见"));
    let reason = Some("再见".to_owned());
    assert_eq!(kicked.at_client(), Some(ClientEvent::Kicked { reason }));
    assert_eq!(kicked.at_client(), Some(ClientEvent::Close(CloseReason::Kicked)));

    let mut refused = Pair::new(Config::default(), ClientOptions::default());
    refused.at_server();
    let fields = json!({ "msg": "please update" });
    refused.server.refuse(501, fields.as_object().unwrap());
    let answer = json!({ "code": 501, "msg": "please update" });
    assert_eq!(refused.at_client(), Some(ClientEvent::Refused { code: 501, answer }));
    assert_eq!(refused.at_client(), Some(ClientEvent::Close(CloseReason::Refused(501))));
}

#[test]
fn what_a_server_should_not_send_is_told_and_the_connection_goes_on() {
    let mut pair = Pair::ready(full(), ClientOptions::default());
    for (bytes, refusal) in [
        (&b"\x04\0\0\x03\x07\0\x63"[..], Refusal::UnknownCode(99)),
        (b"\x04\0\0\x04\x00\x01\x01x", Refusal::WrongSide),
    ] {
        pair.client.receive(Bytes::from_static(bytes), pair.now);
        let event = pair.client.poll_event(pair.now);
        assert_eq!(event, Some(ClientEvent::Unreadable(refusal)));
    }
    pair.client.receive(Bytes::from_static(b"\x04\0\0\x03\x06\x01x"), pair.now);
    let push = ClientEvent::Push { route: "x".into(), body: "{}".into() };
    assert_eq!(pair.client.poll_event(pair.now), Some(push));
}

#[test]
fn nothing_is_asked_before_the_handshake() {
    let mut pair = Pair::new(Config::default(), ClientOptions::default());
    let early = pair.client.request(1.try_into().unwrap(), "a.b.c", &Bytes::new());
    assert_eq!(early, Err(EncodeError::NotReady));
}

#[test]
fn the_answer_to_a_forgotten_request_is_not_decoded() {
    let mut pair = Pair::ready(full(), ClientOptions::default());
    let message = pair.request(1, "a.b.c", r#"{"nums":[1]}"#);
    let id = message.id.unwrap();
    pair.client.forget(id);
    let reply = pair.server.voice().response(id, &message.route, &r#"{"f":1}"#.into()).unwrap();
    pair.client.receive(reply, pair.now);
    let event = ClientEvent::Response { id: 1, body: "{}".into() };
    assert_eq!(pair.at_client(), Some(event));
}
