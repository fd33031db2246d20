//! The machine of an MQTT client.

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shaddock_protocol::mqtt::{Config, Connector, Limits, PacketError, Server};
use shaddock_protocol::{CloseReason, Dialect, Event, Hello, Incoming, Route, Voice};

use crate::fuzz_dialects;

/// A machine and its clock.
struct Line {
    server: Server,
    now: Instant,
}

fn config() -> Config {
    let route = |text: &str| text.parse::<Route>().unwrap();
    Config::new(route("c.mqtt.publish"), route("c.mqtt.subscribe"))
}

fn line(config: Config) -> Line {
    let now = Instant::now();
    let server = Server::new(&Connector::new(config), now);
    Line { server, now }
}

/// One that has let a client of 3.1.1 in, with this keep-alive.
fn working_with(config: Config, keep_alive: u16) -> Line {
    let mut line = line(config);
    line.receive(&connect("MQTT", 4, 2, keep_alive, &["me"]));
    assert!(matches!(line.event(), Some(Event::Handshake(_))));
    line.server.accept(None, line.now);
    assert_eq!(line.sent(), b"\x20\x02\0\0");
    assert!(matches!(line.event(), Some(Event::Ready)));
    line
}

fn working() -> Line {
    working_with(config(), 0)
}

impl Line {
    fn receive(&mut self, bytes: &[u8]) {
        self.server.receive(Bytes::copy_from_slice(bytes), self.now);
    }

    fn event(&mut self) -> Option<Event> {
        self.server.poll_event(self.now)
    }

    fn message(&mut self) -> Incoming {
        match self.event() {
            Some(Event::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn closes(&mut self) -> CloseReason {
        match self.event() {
            Some(Event::Close(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// All that the machine sends.
    fn sent(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.server.poll_transmit()).flatten().collect()
    }

    /// What comes of one packet that is no message: only an answer.
    fn answer(&mut self, packet_bytes: &[u8]) -> Vec<u8> {
        self.receive(packet_bytes);
        assert!(self.event().is_none());
        self.sent()
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
        }
    }

    /// What a handler's result is to the client.
    fn response(&self, message: &Incoming, result: &str) -> Result<Bytes, String> {
        let id = message.id.unwrap();
        let body = Bytes::copy_from_slice(result.as_bytes());
        let response = self.server.voice().response(id, &message.route, &body);
        response.map_err(|error| error.to_string())
    }
}

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut packet = vec![first];
    let mut len = body.len();
    while 0x80 <= len {
        packet.push((len % 0x80 + 0x80).try_into().unwrap());
        len /= 0x80;
    }
    packet.push(len.try_into().unwrap());
    packet.extend(body);
    packet
}

fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let len = u16::try_from(text.as_ref().len()).unwrap();
    [&len.to_be_bytes(), text.as_ref()].concat()
}

fn connect(name: &str, level: u8, flags: u8, keep_alive: u16, fields: &[&str]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(text).collect();
    let head = [&text(name)[..], &[level, flags], &keep_alive.to_be_bytes()].concat();
    packet(0x10, &[&head, &fields])
}

fn publish(flags: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let id = id.map(u16::to_be_bytes);
    let id = id.as_ref().map_or(&[][..], |id| id);
    packet(0x30 | flags, &[&text(topic), id, payload])
}

fn subscribe(id: u16, topics: &[(&str, u8)]) -> Vec<u8> {
    let topics: Vec<u8> =
        topics.iter().flat_map(|(topic, qos)| [text(topic), vec![*qos]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), &topics])
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Server>() <= 256, "{}", size_of::<Server>());
}

#[test]
fn a_client_says_what_it_is() {
    let will = ["me", "gone", "me is gone", "py", "secret"];
    let cases = [
        (connect("MQIsdp", 3, 0, 60, &["me"]), "3.1", json!({ "clientId": "me" })),
        (connect("MQTT", 4, 2, 0, &[""]), "3.1.1", json!({ "clientId": "" })),
        (
            connect("MQTT", 4, 0b1110_1110, 0, &will),
            "3.1.1",
            json!({ "clientId": "me", "username": "py", "password": "secret" }),
        ),
    ];
    for (packet, version, user) in cases {
        let mut line = line(config());
        line.receive(&packet);
        let Some(Event::Handshake(hello)) = line.event() else { panic!("{user}") };
        let expected = Hello {
            client_type: Some("mqtt".into()),
            client_version: Some(version.into()),
            user: Some(user),
        };
        assert_eq!(hello, expected);
    }

    let mut line = line(config());
    let fields = [text("me"), text("py"), text([0xff, 0])].concat();
    line.receive(&packet(0x10, &[b"\0\x04MQTT\x04\xc2\0\0", &fields]));
    let Some(Event::Handshake(hello)) = line.event() else { panic!("a password of bytes") };
    let user = hello.user.unwrap();
    assert_eq!((&user["password"], &user["passwordEncoding"]), (&json!("/wA="), &json!("base64")));
}

#[test]
fn a_client_that_waits_for_no_answer_is_served() {
    let mut line = line(config());
    line.receive(&[connect("MQTT", 4, 2, 0, &["me"]), publish(0, "t", None, b"p")].concat());
    assert!(matches!(line.event(), Some(Event::Handshake(_))));
    assert!(line.event().is_none(), "nothing is decoded while the application decides");
    line.server.accept(None, line.now);
    assert!(matches!(line.event(), Some(Event::Ready)));
    assert_eq!(json_of(&line.message().body)["payload"], "p");
}

#[test]
fn a_refused_client_gets_a_code_of_mqtt() {
    for (code, sent) in [(500, 5), (401, 4), (501, 1), (503, 3), (2, 2), (4, 4), (6, 5)] {
        let mut line = line(config());
        line.receive(&connect("MQTT", 4, 2, 0, &["me"]));
        line.event();
        line.server.refuse(code, &Map::new());
        assert_eq!(line.sent(), [0x20, 2, 0, sent]);
        assert_eq!(line.closes(), CloseReason::Refused(code));
    }
}

#[test]
fn a_connect_that_asks_for_too_much_is_told_so() {
    let no_id = PacketError::NoClientId;
    for (packet, answer, reason) in [
        (connect("MQTT", 5, 2, 0, &["me"]), &b"\x20\x02\0\x01"[..], PacketError::Level(5)),
        (connect("MQIsdp", 4, 2, 0, &["me"]), b"\x20\x02\0\x01", PacketError::Level(4)),
        (connect("MQIsdp", 3, 2, 0, &[""]), b"\x20\x02\0\x02", no_id.clone()),
        (connect("MQTT", 4, 0, 0, &[""]), b"\x20\x02\0\x02", no_id),
        (connect("HTTP", 4, 2, 0, &["me"]), b"", PacketError::Protocol),
        (connect("MQTT", 4, 3, 0, &["me"]), b"", PacketError::ConnectFlags(3)),
        (connect("MQTT", 4, 0x22, 0, &["me"]), b"", PacketError::ConnectFlags(0x22)),
        (connect("MQTT", 4, 0x1e, 0, &["me"]), b"", PacketError::ConnectFlags(0x1e)),
        (connect("MQTT", 4, 0x42, 0, &["me", "p"]), b"", PacketError::ConnectFlags(0x42)),
        (connect("MQTT", 4, 0x82, 0, &["me"]), b"", PacketError::Short),
        (connect("MQTT", 4, 2, 0, &["me", "x"]), b"", PacketError::LeftOver(3)),
    ] {
        let mut line = line(config());
        line.receive(&packet);
        assert_eq!(line.closes(), reason.into());
        assert_eq!(line.sent(), answer);
    }
}

#[test]
fn only_a_connect_opens_and_only_one() {
    let mut new = line(config());
    new.receive(b"\xc0\0");
    assert_eq!(new.closes(), CloseReason::BadHandshake);

    let mut line = working();
    line.receive(&connect("MQTT", 4, 2, 0, &["me"]));
    assert_eq!(line.closes(), PacketError::SecondConnect.into());
    assert!(line.event().is_none());
}

#[test]
fn a_publish_of_qos_0_is_a_notify() {
    let mut line = working();
    line.receive(&publish(1, "a/b", None, "你".as_bytes()));
    let message = line.message();
    assert_eq!((message.id, message.route.as_str()), (None, "c.mqtt.publish"));
    let publish = r#"{"topic":"a/b","payload":"你","qos":0,"retain":true,"dup":false}"#;
    assert_eq!(message.body, publish);
    assert!(line.sent().is_empty());
}

#[test]
fn a_payload_that_is_no_text_is_base64() {
    let mut line = working();
    line.receive(&publish(0, "t", None, &[0xff, 0]));
    let body = json_of(&line.message().body);
    assert_eq!((&body["payload"], &body["encoding"]), (&json!("/wA="), &json!("base64")));
    let pushed = line.server.voice().push("", &body.to_string().into()).unwrap();
    assert_eq!(pushed, publish(0, "t", None, &[0xff, 0]));
}

#[test]
fn a_publish_of_qos_1_is_acknowledged_when_it_is_handled() {
    let mut line = working();
    line.receive(&publish(2, "t", Some(9), b"p"));
    let message = line.message();
    assert_eq!(json_of(&message.body)["messageId"], 9);
    assert_eq!(message.id, 9.try_into().ok());
    assert!(line.sent().is_empty());

    let reply = line.response(&message, r#"{"topic":"r","payload":"x"}"#);
    assert_eq!(reply.unwrap(), [&publish(0, "r", None, b"x")[..], b"\x40\x02\0\x09"].concat());
    for nothing in ["{}", r#"{"code":500}"#] {
        assert_eq!(line.response(&message, nothing).unwrap(), &b"\x40\x02\0\x09"[..]);
    }
    let fault = line.server.voice().fault(message.id.unwrap(), Some(&message.route));
    assert_eq!(fault, &b"\x40\x02\0\x09"[..]);
}

#[test]
fn a_publish_of_qos_2_is_handled_once() {
    let mut line = working();
    let (received, complete) = (b"\x50\x02\0\x09", b"\x70\x02\0\x09");
    line.receive(&publish(4, "t", Some(9), b"p"));
    let message = line.message();
    assert_eq!(json_of(&message.body)["messageId"], 9);
    assert_eq!(line.sent(), received);
    assert_eq!(line.answer(&publish(0xc, "t", Some(9), b"p")), received, "again");
    assert_eq!(line.response(&message, "{}").unwrap(), "");
    assert_eq!(line.server.voice().fault(message.id.unwrap(), None), "");
    let reply = line.response(&message, r#"{"topic":"r"}"#);
    assert_eq!(reply.unwrap(), publish(0, "r", None, b""));

    assert_eq!(line.answer(b"\x62\x02\0\x09"), complete);
    assert_eq!(line.answer(b"\x62\x02\0\x09"), complete, "again");
    line.receive(&publish(4, "t", Some(9), b"another"));
    assert_eq!(json_of(&line.message().body)["payload"], "another");
}

#[test]
fn a_client_may_acknowledge_what_is_pushed() {
    let mut line = working();
    assert_eq!(line.answer(b"\x40\x02\0\x01"), b"");
    assert_eq!(line.answer(b"\x50\x02\0\x01"), b"\x62\x02\0\x01");
    assert_eq!(line.answer(b"\x70\x02\0\x01"), b"");
}

#[test]
fn a_subscription_is_granted_by_the_handler() {
    let mut line = working();
    line.receive(&subscribe(7, &[("a/+", 0), ("b", 2)]));
    let message = line.message();
    assert_eq!(message.route.as_str(), "c.mqtt.subscribe");
    assert_eq!(
        message.body,
        r#"{"subscriptions":[{"topic":"a/+","qos":0},{"topic":"b","qos":2}],"messageId":7}"#
    );
    let granted = |granted: [u8; 2]| [&b"\x90\x04\0\x07"[..], &granted].concat();
    assert_eq!(line.response(&message, "[0,2]").unwrap(), granted([0, 2]));
    assert_eq!(line.response(&message, "[128,1]").unwrap(), granted([128, 1]));
    assert_eq!(line.response(&message, r#"{"code":500}"#).unwrap(), granted([128, 128]));
    assert_eq!(
        line.server.voice().fault(message.id.unwrap(), Some(&message.route)),
        granted([128, 128])
    );
    for (result, error) in [
        ("[0]", "[0] was granted for 2 topics"),
        ("[0,3]", "[0, 3] was granted for 2 topics"),
        ("[0,256]", "neither a publish nor a list of what is granted: "),
        ("5", "neither a publish nor a list of what is granted: "),
    ] {
        let told = line.response(&message, result).unwrap_err();
        assert!(told.starts_with(error), "{told}");
    }
}

#[test]
fn what_concerns_no_handler_is_answered_at_once() {
    let mut line = working();
    assert_eq!(line.answer(b"\xc0\0"), b"\xd0\0");
    let unsubscribe = packet(0xa2, &[b"\0\x08", &text("a"), &text("b/#")]);
    assert_eq!(line.answer(&unsubscribe), b"\xb0\x02\0\x08");
}

#[test]
fn a_client_of_3_1_may_say_again_what_it_said() {
    for (version, taken) in [(("MQIsdp", 3), true), (("MQTT", 4), false)] {
        let mut line = line(config());
        line.receive(&connect(version.0, version.1, 2, 0, &["me"]));
        line.event();
        line.server.accept(None, line.now);
        line.event();
        line.sent();
        line.receive(b"\x6a\x02\0\x09");
        assert_eq!(line.event().is_none(), taken);
        assert_eq!(line.sent() == b"\x70\x02\0\x09", taken);
    }
}

#[test]
fn silence_ends_after_one_and_a_half_keep_alives() {
    let mut line = working_with(config(), 10);
    for _ in 0..3 {
        line.wait(14_999);
        assert_eq!(line.answer(b"\xc0\0"), b"\xd0\0");
    }
    line.wait(14_999);
    assert!(line.event().is_none());
    line.wait(1);
    assert_eq!(line.closes(), CloseReason::HeartbeatTimeout);
    assert!(line.sent().is_empty());
}

#[test]
fn the_shorter_of_both_time_outs_counts() {
    let six = || Config { timeout: Some(Duration::from_secs(6)), ..config() };
    for (config, keep_alive, millis) in [
        (six(), 0, Some(6000)),
        (six(), 60, Some(6000)),
        (six(), 3, Some(4500)),
        (config(), 0, None),
    ] {
        let line = working_with(config, keep_alive);
        let left = line.server.poll_timeout().map(|at| at - line.now);
        assert_eq!(left, millis.map(Duration::from_millis));
    }
}

#[test]
fn silence_is_not_counted_while_nothing_is_read() {
    let mut line = working_with(config(), 10);
    line.server.suspend_timeout();
    line.wait(1_000_000);
    assert!(line.event().is_none());
    line.server.resume_timeout(line.now);
    line.wait(14_999);
    assert!(line.event().is_none());
    line.wait(1);
    assert_eq!(line.closes(), CloseReason::HeartbeatTimeout);
}

#[test]
fn a_client_has_ten_seconds_to_connect() {
    let mut line = line(config());
    line.wait(9_999);
    assert!(line.event().is_none());
    line.wait(1);
    assert_eq!(line.closes(), CloseReason::HandshakeTimeout);
}

#[test]
fn a_kick_closes_without_a_word() {
    let mut line = working();
    line.server.kick(Some("bye"));
    assert!(line.sent().is_empty());
    assert_eq!(line.closes(), CloseReason::Kicked);
    line.receive(b"\xc0\0");
    assert!(line.event().is_none());
    assert!(line.sent().is_empty());
}

#[test]
fn who_says_goodbye_meant_what_it_said() {
    let mut line = working();
    line.receive(&[&publish(0, "t", None, b"p")[..], b"\xe0\0", b"\xc0\0"].concat());
    assert_eq!(json_of(&line.message().body)["payload"], "p");
    assert_eq!(line.closes(), CloseReason::Left);
    assert!(line.sent().is_empty());
}

#[test]
fn what_is_not_mqtt_closes() {
    let cases: [(&[u8], PacketError); 17] = [
        (b"\x20\x02\0\0", PacketError::UnknownType(2)),
        (b"\x00", PacketError::UnknownType(0)),
        (b"\xf0", PacketError::UnknownType(15)),
        (b"\xc1\0", PacketError::Flags { kind: 12, flags: 1 }),
        (b"\x80\0", PacketError::Flags { kind: 8, flags: 0 }),
        (b"\xc0\x80\x80\x80\x80", PacketError::WideLength),
        (b"\xc0\x01a", PacketError::LeftOver(1)),
        (b"\x30\0", PacketError::Short),
        (b"\x30\x03\0\x02a", PacketError::Short),
        (b"\x30\x02\0\0", PacketError::Topic),
        (b"\x30\x05\0\x03a/#", PacketError::Topic),
        (b"\x30\x03\0\x01\xff", PacketError::Text),
        (b"\x30\x03\0\x01\0", PacketError::Text),
        (b"\x32\x05\0\x01a\0\0", PacketError::ZeroId),
        (b"\x36\x05\0\x01a\0\x01", PacketError::Qos(3)),
        (b"\x82\x06\0\x01\0\x01a\x03", PacketError::Qos(3)),
        (b"\x82\x02\0\x01", PacketError::Topics { len: 0 }),
    ];
    for (bytes, error) in cases {
        let mut line = working();
        line.receive(bytes);
        assert_eq!(line.closes(), error.into(), "{bytes:?}");
    }
}

#[test]
fn every_limit_is_named_by_its_error() {
    let close = |mut line: Line, bytes: &[u8]| {
        line.receive(bytes);
        loop {
            match line.event() {
                Some(Event::Close(reason)) => return Some(reason.to_string()),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let told = |text: &str| Some(text.to_owned());

    assert_eq!(close(line(config()), b"\x10\x80\x20"), None);
    assert_eq!(
        close(line(config()), b"\x10\x81\x20"),
        told("a package of 4097 bytes before the handshake, where 4096 are allowed")
    );
    assert_eq!(close(working(), b"\x30\x80\x80\x04"), None);
    assert_eq!(
        close(working(), b"\x30\xff\xff\xff\x7f"),
        told("a package of 268435455 bytes, where 65536 are allowed")
    );

    let topics = |len| subscribe(1, &vec![("a", 0); len]);
    assert_eq!(close(working(), &topics(1024)), None);
    assert_eq!(
        close(working(), &topics(1025)),
        told("a subscription to 1025 topics, where 1 to 1024 are allowed")
    );

    let twos: Vec<u8> = (1..=257).flat_map(|id| publish(4, "t", Some(id), b"")).collect();
    let one = publish(4, "t", Some(1), b"").len();
    assert_eq!(close(working(), &twos[..256 * one]), None);
    assert_eq!(close(working(), &twos), told("more than 256 publishes that are not released"));

    let mut deciding = line(config());
    deciding.receive(&connect("MQTT", 4, 2, 0, &["me"]));
    deciding.event();
    deciding.receive(&vec![0; Limits::default().early]);
    assert!(deciding.event().is_none());
    assert_eq!(close(deciding, b"\0"), told("more than 8192 bytes before the ack"));

    let long = json!({ "topic": "t".repeat(65536) }).to_string();
    let error = working().server.voice().push("", &long.into()).unwrap_err();
    assert_eq!(error.to_string(), "a packet of 65536 bytes, where 65535 are allowed");
}

#[test]
fn a_body_that_is_no_publish_is_not_sent() {
    let line = working();
    for (body, error) in [
        ("{}", "a publish needs a topic, which has no wildcards"),
        (r#"{"topic":"a/+"}"#, "a publish needs a topic, which has no wildcards"),
        (r#"{"topic":"a","qos":1}"#, "a publish of QoS 1 needs a messageId"),
        (r#"{"topic":"a","qos":3}"#, "no quality of service is 3"),
        (r#"{"topic":"a","payload":"?","encoding":"base64"}"#, "the payload is no base64: "),
        (r#"{"topic":"a","payload":5}"#, "neither a publish nor a list of what is granted: "),
        (r#"["a","b"]"#, "neither a publish nor a list of what is granted: not an object"),
    ] {
        let told = line.server.voice().push("on", &body.into()).unwrap_err().to_string();
        assert!(told.starts_with(error), "{told}");
    }
}

#[test]
fn clients_of_one_connector_are_spoken_to_alike() {
    let connector = Connector::new(config());
    let voice = || -> Voice { Server::new(&connector, Instant::now()).voice().clone() };
    assert_eq!(voice(), voice());
}

fn topics() -> impl Strategy<Value = String> {
    "[^+#\u{0}]{1,20}"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_in_goes_out_the_same(
        topic in topics(),
        payload in vec(any::<u8>(), 0..300),
        (retain, dup) in any::<(bool, bool)>(),
        id in option::of((1..3u8, 1..=u16::MAX)),
    ) {
        let (qos, id) = id.unzip();
        let flags = u8::from(retain) | qos.unwrap_or(0) << 1 | u8::from(dup) << 3;
        let bytes = publish(flags, &topic, id, &payload);
        let mut line = working();
        line.receive(&bytes);
        let message = line.message();
        prop_assert_eq!(line.server.voice().push("", &message.body).unwrap(), bytes);
        let body = json_of(&message.body);
        let said = body["payload"].as_str().unwrap();
        let said = match body.get("encoding") {
            None => said.as_bytes().to_vec(),
            Some(_) => BASE64_STANDARD.decode(said).unwrap(),
        };
        prop_assert_eq!(said, payload);
    }

    #[test]
    fn every_topic_gets_an_answer(topics in vec((topics(), 0..3u8), 1..20), id in 1..=u16::MAX) {
        let asked: Vec<_> = topics.iter().map(|(topic, qos)| (&**topic, *qos)).collect();
        let mut line = working();
        line.receive(&subscribe(id, &asked));
        let message = line.message();
        let granted: Vec<u8> = topics.iter().map(|(_, qos)| *qos).collect();
        let expected = packet(0x90, &[&id.to_be_bytes(), &granted]);
        prop_assert_eq!(line.response(&message, &json!(granted).to_string()).unwrap(), expected);
        let refused = packet(0x90, &[&id.to_be_bytes(), &vec![128; topics.len()]]);
        prop_assert_eq!(line.server.voice().fault(message.id.unwrap(), None), refused);
    }

    #[test]
    fn no_bytes_break_anything(bytes in vec(any::<u8>(), 0..200)) {
        fuzz_dialects::mqtt(&bytes);
    }

    #[test]
    fn no_change_of_a_byte_breaks_anything(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = [
            publish(2, "a/b", Some(9), b"p"),
            subscribe(7, &[("a/+", 0), ("b", 2)]),
            publish(4, "t", Some(9), b"p"),
            packet(0xa2, &[b"\0\x08", &text("a")]),
            b"\x62\x02\0\x09\xc0\0\xe0\0".to_vec(),
        ]
        .concat();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        fuzz_dialects::mqtt(&bytes);
    }
}
