//! The machine of a client, from the server's side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use shaddock_protocol::pomelo::{
    Config, Connector, Dictionary, Kind, Message, MessageFault, Package, Protos, Server, Tables,
    WireRoute,
};
use shaddock_protocol::{CloseReason, Dialect, Event, Hello, Refusal, text};

const ACK: &[u8] = b"\x02\0\0\0";
const HEARTBEAT: &[u8] = b"\x03\0\0\0";

/// A machine and its clock.
struct Line {
    server: Server,
    now: Instant,
}

fn line(config: Config) -> Line {
    let now = Instant::now();
    Line { server: Server::new(&Connector::new(config).unwrap(), now), now }
}

/// One that is past handshake and ack of a client of this type.
fn working(config: Config, client_type: &str) -> Line {
    let mut line = line(config);
    line.receive(&hello(client_type));
    assert!(matches!(line.event(), Some(Event::Handshake(_))));
    line.server.accept(None, line.now);
    line.receive(ACK);
    assert!(matches!(line.event(), Some(Event::Ready)));
    while line.server.poll_transmit().is_some() {}
    line
}

impl Line {
    fn receive(&mut self, bytes: &[u8]) {
        self.server.receive(Bytes::copy_from_slice(bytes), self.now);
    }

    fn event(&mut self) -> Option<Event> {
        self.server.poll_event(self.now)
    }

    fn closes(&mut self) -> CloseReason {
        match self.event() {
            Some(Event::Close(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn refuses(&mut self) -> Refusal {
        match self.event() {
            Some(Event::Refused { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The body of the next message.
    fn body(&mut self) -> Bytes {
        match self.event() {
            Some(Event::Message(message)) => text::body(message.body),
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
        }
    }

    /// The next package that the machine sends, without its head.
    fn sent(&mut self) -> Option<(Kind, Bytes)> {
        let mut bytes = self.server.poll_transmit()?;
        let package = Package::decode(&mut bytes, Package::MAX_BODY).unwrap().unwrap();
        Some((package.kind, package.body))
    }
}

fn hello(client_type: &str) -> Vec<u8> {
    package(Kind::Handshake, json!({ "sys": { "type": client_type } }).to_string())
}

fn package(kind: Kind, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = Bytes::copy_from_slice(body.as_ref());
    Package { kind, body }.encode().unwrap().into()
}

fn request(id: u32, route: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = Bytes::copy_from_slice(body.as_ref());
    let route = WireRoute::Text(route.into());
    Message::Request { id, route, body }.package().unwrap().into()
}

fn heartbeats() -> Config {
    Config { heartbeat: Some(Duration::from_secs(3)), ..Config::default() }
}

fn tables() -> Config {
    let server = r#"{
        "on": { "optional string s": 1 },
        "a.b.code": { "required uInt32 code": 1, "required string must": 2 },
        "a.b.other": { "optional string text": 1 }
    }"#;
    let client = r#"{ "a.b.code": { "required uInt32 n": 1 }, "a.b.other": {} }"#;
    let tables = Tables {
        dictionary: Some(Arc::new(Dictionary::build(["a.b.code"], ["on"]).unwrap())),
        protos: Some(Arc::new(Protos::parse(server, client).unwrap())),
    };
    Config { tables: Arc::new(tables), ..Config::default() }
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Server>() <= 256, "{}", size_of::<Server>());
}

#[test]
fn a_client_that_waits_for_no_answer_is_served() {
    let mut line = line(Config::default());
    line.receive(&[&hello("t")[..], ACK, &request(1, "a.b.c", "5")].concat());
    assert!(matches!(line.event(), Some(Event::Handshake(_))));
    assert!(line.event().is_none(), "nothing is decoded while the application decides");
    line.server.accept(None, line.now);
    assert!(matches!(line.event(), Some(Event::Ready)));
    assert_eq!(line.body(), "5");
}

#[test]
fn every_byte_may_come_alone() {
    let mut line = line(Config::default());
    let said = [&hello("t")[..], ACK, &request(1, "a.b.c", "{}")].concat();
    let mut events = Vec::new();
    for byte in said {
        line.receive(&[byte]);
        while let Some(event) = line.event() {
            if matches!(event, Event::Handshake(_)) {
                line.server.accept(None, line.now);
            }
            events.push(event);
        }
    }
    assert!(matches!(events[..], [Event::Handshake(_), Event::Ready, Event::Message(_)]));
}

#[test]
fn a_client_says_what_it_is() {
    let mut line = line(Config::default());
    let sys = json!({ "type": "js-websocket", "version": "0.0.1" });
    let json = json!({ "sys": sys, "user": { "token": "x" } }).to_string();
    line.receive(&package(Kind::Handshake, json));
    let Some(Event::Handshake(hello)) = line.event() else { panic!("no handshake") };
    assert_eq!(
        hello,
        Hello {
            client_type: Some("js-websocket".into()),
            client_version: Some("0.0.1".into()),
            user: Some(json!({ "token": "x" })),
        }
    );
}

#[test]
fn the_application_may_say_something_to_who_comes() {
    for (user, expected) in [
        (json!({ "a": "😀" }), r#"{"code":200,"sys":{},"user":{"a":"\uD83D\uDE00"}}"#),
        (json!(0), r#"{"code":200,"sys":{}}"#),
        (Value::Null, r#"{"code":200,"sys":{}}"#),
    ] {
        let mut line = line(Config::default());
        line.receive(&hello("t"));
        line.event();
        line.server.accept(Some(&to_raw_value(&user).unwrap()), line.now);
        assert_eq!(line.sent(), Some((Kind::Handshake, expected.into())));
    }
}

#[test]
fn handshake_and_ack_have_ten_seconds_together() {
    let mut silent = line(heartbeats());
    silent.wait(9);
    assert!(silent.event().is_none());
    silent.wait(1);
    assert_eq!(silent.closes(), CloseReason::HandshakeTimeout);

    let mut half = line(heartbeats());
    half.wait(8);
    half.receive(&hello("t"));
    half.event();
    half.server.accept(None, half.now);
    half.wait(2);
    assert_eq!(half.closes(), CloseReason::HandshakeTimeout);
}

#[test]
fn a_client_may_be_silent_for_two_heartbeats() {
    let mut line = working(heartbeats(), "t");
    for _ in 0..3 {
        line.wait(5);
        line.receive(HEARTBEAT);
        assert!(line.event().is_none());
        assert_eq!(line.sent(), Some((Kind::Heartbeat, Bytes::new())));
        line.wait(5);
        line.receive(&request(0, "a.b.c", "{}"));
        assert_eq!(line.body(), "{}");
        assert_eq!(line.sent(), None);
    }
    line.wait(6);
    assert_eq!(line.closes(), CloseReason::HeartbeatTimeout);
    assert_eq!(line.sent(), None, "no kick package tells of it");
}

#[test]
fn a_timeout_can_be_set_apart() {
    let mut line = working(Config { timeout: Some(Duration::from_secs(60)), ..heartbeats() }, "t");
    line.wait(59);
    assert!(line.event().is_none());
    line.wait(1);
    assert_eq!(line.closes(), CloseReason::HeartbeatTimeout);
}

#[test]
fn without_heartbeats_silence_is_fine() {
    let mut line = working(Config::default(), "t");
    assert_eq!(line.server.poll_timeout(), None);
    line.receive(HEARTBEAT);
    assert!(line.event().is_none());
    assert_eq!(line.sent(), None);
}

#[test]
fn silence_is_not_counted_while_nothing_is_read() {
    let mut line = working(heartbeats(), "t");
    line.server.suspend_timeout();
    line.wait(1000);
    assert!(line.event().is_none());
    line.server.resume_timeout(line.now);
    line.wait(5);
    assert!(line.event().is_none());
    line.wait(1);
    assert_eq!(line.closes(), CloseReason::HeartbeatTimeout);
}

#[test]
fn a_request_that_cannot_be_handed_on_is_answered() {
    let fault = Some((Kind::Data, Bytes::from_static(b"\x04\x07{\"code\":500}")));
    let cases: [(&[u8], &str); 6] = [
        (b"\x00\x07\x05a.b", "malformed"),
        (b"\x01\x07\x00", "malformed"),
        (b"\x01\x07\x03\xe7{}", "unknown_code"),
        (b"\x01\x07\x00\x02{}", "unknown_code"),
        (b"\x00\x07\x09plainword{}", "route"),
        (b"\x00\x07\x00{}", "route"),
    ];
    for (bytes, name) in cases {
        let mut line = working(tables(), "t");
        line.receive(&package(Kind::Data, bytes));
        assert_eq!(line.refuses().name(), name, "{bytes:?}");
        assert_eq!(line.sent(), fault, "{bytes:?}");
        line.receive(&request(1, "a.x.y", "1"));
        assert_eq!(line.body(), "1", "the connection goes on");
    }
}

#[test]
fn what_nobody_waits_for_is_only_counted() {
    let cases: [(&[u8], Refusal); 5] = [
        (b"", MessageFault::Empty.into()),
        (b"\x00\x80\x80\x80", MessageFault::ShortId.into()),
        (b"\x0e", MessageFault::UnknownType(7).into()),
        (b"\x04\x01{}", Refusal::WrongSide),
        (b"\x03\x00\x4d{}", Refusal::UnknownCode(77)),
    ];
    for (bytes, refusal) in cases {
        let mut line = working(Config::default(), "t");
        line.receive(&package(Kind::Data, bytes));
        assert_eq!(line.refuses(), refusal);
        assert_eq!(line.sent(), None);
    }
}

#[test]
fn a_fault_says_what_its_schema_can_hold() {
    for (route, fault) in [("a.b.code", &b"\x04\x07\x08\xf4\x03"[..]), ("a.b.other", b"\x04\x07")] {
        let mut line = working(tables(), "t");
        line.receive(&request(7, route, b"\xff"));
        assert_eq!(line.refuses().name(), "protobuf");
        assert_eq!(line.sent(), Some((Kind::Data, Bytes::from_static(fault))));
    }
}

#[test]
fn a_body_is_json_whatever_was_sent() {
    for (sent, body) in [
        (&b""[..], "{}"),
        (b" null ", "{}"),
        (b"{bad json", "{}"),
        (b"\"\xed\xa0\xbd\xed\xb8\x80\"", "\"😀\""),
        (b"\"\xff\"", "\"\u{fffd}\""),
        // Half a character, as an input field that counts units leaves it.
        (br#""x\ud83d""#, r#""x\ufffd""#),
        (br#""\\ud83d \ud83d\ude00 \udE00\ud83d""#, r#""\\ud83d \ud83d\ude00 \ufffd\ufffd""#),
        (b"[1, 2]", "[1, 2]"),
    ] {
        let mut line = working(Config::default(), "t");
        line.receive(&request(1, "a.b.c", sent));
        assert_eq!(line.body(), body);
    }
}

#[test]
fn whoever_calls_a_constructor_is_kicked() {
    let mut line = working(Config::default(), "t");
    line.receive(&request(1, "a.b.constructor", "{}"));
    assert_eq!(line.closes(), CloseReason::Attack);
    assert_eq!(line.sent(), Some((Kind::Kick, r#"{"reason":"attack"}"#.into())));
    assert!(line.event().is_none());
}

#[test]
fn only_who_is_in_is_told_why_it_is_kicked() {
    let mut inside = working(Config::default(), "t");
    inside.server.kick(Some("bye 😀"));
    assert_eq!(inside.sent(), Some((Kind::Kick, r#"{"reason":"bye \uD83D\uDE00"}"#.into())));
    assert_eq!(inside.closes(), CloseReason::Kicked);

    let mut outside = line(Config::default());
    outside.server.kick(Some("bye"));
    assert_eq!(outside.sent(), None);
    assert_eq!(outside.closes(), CloseReason::Kicked);
}

#[test]
fn nothing_follows_a_close() {
    let mut line = working(heartbeats(), "t");
    line.receive(&package(Kind::Kick, ""));
    assert_eq!(line.closes(), CloseReason::KickFromClient);
    line.receive(&request(1, "a.b.c", "{}"));
    line.server.kick(Some("late"));
    line.wait(1000);
    assert!(line.event().is_none());
    assert_eq!((line.sent(), line.server.poll_timeout()), (None, None));
}

#[test]
fn a_refused_client_gets_the_code_and_what_else_it_is_told() {
    let more = |json| serde_json::from_str(json).unwrap();
    let long = format!(r#"{{"msg":"{}"}}"#, "x".repeat(Package::MAX_BODY));
    for (more, sent) in [
        (Map::new(), r#"{"code":501}"#),
        (more(r#"{"msg":"再见😀","code":200}"#), r#"{"code":501,"msg":"再见\uD83D\uDE00"}"#),
        (more(&long), r#"{"code":501}"#),
    ] {
        let mut line = line(Config::default());
        line.receive(&hello("t"));
        line.event();
        line.server.refuse(501, &more);
        assert_eq!(line.sent(), Some((Kind::Handshake, sent.into())));
        assert_eq!(line.closes(), CloseReason::Refused(501));
    }
}

#[test]
fn a_push_is_encoded_once_for_all_who_understand_the_same() {
    let connector = Connector::new(tables()).unwrap();
    let client = |client_type| {
        let now = Instant::now();
        let mut line = Line { server: Server::new(&connector, now), now };
        line.receive(&hello(client_type));
        line.event();
        line.server.accept(None, now);
        line.server
    };
    let (one, two, browser) = (client("unity-socket"), client("cocos"), client("js-websocket"));
    assert_eq!(one.voice(), two.voice());
    assert_ne!(one.voice(), browser.voice());

    let body = r#"{"s":"😀"}"#.into();
    let push = |server: &Server, route| server.voice().push(route, &body).unwrap();
    assert_eq!(push(&one, "on"), &b"\x04\0\0\x09\x07\0\x02\x0a\x04\xf0\x9f\x98\x80"[..]);
    assert_eq!(
        push(&browser, "on"),
        &b"\x04\0\0\x0b\x07\0\x02\x0a\x06\xed\xa0\xbd\xed\xb8\x80"[..]
    );
    let json = push(&one, "onJson");
    assert!(json.ends_with(br#"{"s":"\uD83D\uDE00"}"#), "{json:?}");

    let plain = |client_type| working(Config::default(), client_type).server.voice().clone();
    assert_ne!(plain("js-websocket"), plain("js-websocket"), "of two connectors");
}

#[test]
fn without_protobuf_all_clients_understand_the_same() {
    let connector = Connector::new(Config::default()).unwrap();
    let voices = ["js-websocket", "unity-socket"].map(|client_type| {
        let now = Instant::now();
        let mut line = Line { server: Server::new(&connector, now), now };
        line.receive(&hello(client_type));
        line.event();
        line.server.voice().clone()
    });
    assert_eq!(voices[0], voices[1]);
}

#[test]
fn a_push_that_does_not_fit_its_schema_is_not_sent() {
    let line = working(tables(), "t");
    let error = line.server.voice().push("on", &r#"{"s":5}"#.into()).unwrap_err().to_string();
    assert!(error.starts_with("on: s: invalid value: integer `5`, expected a string"), "{error}");
}
