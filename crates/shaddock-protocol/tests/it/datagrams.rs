//! Packages in datagrams, one or more in each, none in two.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use shaddock_protocol::pomelo::{
    Config, Connector, Dictionary, Kind, Message, Package, Protos, Server, Tables, WireRoute,
};
use shaddock_protocol::{CloseReason, Dialect, Event, Refusal};

fn config() -> Config {
    Config {
        datagrams: true,
        heartbeat: Some(Duration::from_secs(2)),
        timeout: Some(Duration::from_secs(5)),
        ..Config::default()
    }
}

fn package(kind: Kind, body: impl Into<Bytes>) -> Bytes {
    let body = body.into();
    Package { kind, body }.encode().unwrap()
}

fn hello() -> Bytes {
    package(Kind::Handshake, json!({ "sys": { "type": "t" } }).to_string())
}

fn request(id: u32) -> Bytes {
    let route = WireRoute::Text("a.b.c".into());
    let body = Bytes::new();
    Message::Request { id, route, body }.package().unwrap()
}

fn server(config: Config) -> (Server, Instant) {
    let now = Instant::now();
    let server = Server::new(&Connector::new(config).unwrap(), now);
    (server, now)
}

fn working(config: Config) -> (Server, Instant) {
    let (mut server, now) = server(config);
    for datagram in [hello(), package(Kind::Ack, "")] {
        server.receive(datagram, now);
        assert!(server.poll_event(now).is_some());
        server.accept(None, now);
    }
    while server.poll_transmit().is_some() {}
    (server, now)
}

fn is_truncated(event: Option<Event>) -> bool {
    let truncated = Refusal::Truncated;
    matches!(event, Some(Event::Refused { id: None, reason }) if reason == truncated)
}

#[test]
fn a_datagram_that_ends_inside_a_package_is_refused_alone() {
    let (mut server, now) = working(config());
    let whole = request(1);
    for len in 1..whole.len() {
        server.receive(whole.slice(..len), now);
        assert!(is_truncated(server.poll_event(now)), "{len} bytes");
        assert!(server.poll_event(now).is_none());
        assert_eq!(server.poll_transmit(), None);
    }
    server.receive(whole, now);
    assert!(matches!(server.poll_event(now), Some(Event::Message(_))));
    assert_eq!(Refusal::Truncated.name(), "truncated");
}

#[test]
fn what_is_whole_in_a_datagram_counts() {
    let (mut server, now) = working(config());
    let two_and_a_half = [request(1), request(2), request(3).slice(..9)].concat();
    server.receive(two_and_a_half.into(), now);
    let events: Vec<_> = std::iter::from_fn(|| server.poll_event(now)).collect();
    let [refused, Event::Message(one), Event::Message(two)] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(matches!(refused, Event::Refused { .. }));
    assert_eq!([one.id, two.id], [1.try_into().ok(), 2.try_into().ok()]);
}

#[test]
fn a_datagram_of_nothing_is_nothing() {
    let (mut server, now) = working(config());
    server.receive(Bytes::new(), now);
    assert!(server.poll_event(now).is_none());
}

#[test]
fn what_overtakes_the_ack_is_kept() {
    let (mut server, now) = server(config());
    for datagram in [request(1), hello(), request(2), request(3).slice(..9)] {
        server.receive(datagram, now);
        if let Some(Event::Handshake(_)) = server.poll_event(now) {
            server.accept(None, now);
        }
    }
    server.receive(package(Kind::Ack, ""), now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    for id in 1..=2 {
        let Some(Event::Message(message)) = server.poll_event(now) else {
            panic!("no message {id}")
        };
        assert_eq!(message.id, id.try_into().ok());
    }
}

#[test]
fn silence_ends_it_as_it_ends_a_stream() {
    let (mut server, mut now) = working(config());
    now += Duration::from_secs(4);
    server.receive(package(Kind::Heartbeat, ""), now);
    assert!(server.poll_event(now).is_none());
    assert_eq!(server.poll_transmit(), Some(package(Kind::Heartbeat, "")));
    now += Duration::from_secs(5);
    assert_eq!(server.poll_timeout(), Some(now));
    server.handle_timeout(now);
    let Some(Event::Close(reason)) = server.poll_event(now) else { panic!("not closed") };
    assert_eq!(reason, CloseReason::HeartbeatTimeout);
}

#[test]
fn a_datagram_that_is_no_package_closes() {
    let (mut server, now) = working(config());
    server.receive(Bytes::from_static(b"GET / HTTP/1.1"), now);
    let Some(Event::Close(reason)) = server.poll_event(now) else { panic!("not closed") };
    assert_eq!(reason, CloseReason::UnknownPackage(b'G'));
}

#[test]
fn dictionary_and_protobuf_work() {
    let schema = r#"{ "a.b.c": { "required uInt32 n": 1 }, "on": { "required string s": 1 } }"#;
    let tables = Tables {
        dictionary: Some(Arc::new(Dictionary::build(["a.b.c"], ["on"]).unwrap())),
        protos: Some(Arc::new(Protos::parse(schema, schema).unwrap())),
    };
    let (mut server, now) = working(Config { tables: Arc::new(tables), ..config() });
    server.receive(package(Kind::Data, &b"\x01\x07\0\x01\x08\x05"[..]), now);
    let Some(Event::Message(message)) = server.poll_event(now) else { panic!("no message") };
    assert_eq!(message.body, r#"{"n":5}"#);
    let pushed = server.voice().push("on", &r#"{"s":"a"}"#.into()).unwrap();
    assert_eq!(pushed, package(Kind::Data, &b"\x07\0\x02\x0a\x01a"[..]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_datagram_spoils_the_next(datagrams in vec(vec(any::<u8>(), 0..20), 0..10)) {
        let (mut server, now) = working(config());
        for datagram in datagrams {
            server.receive(datagram.into(), now);
            while let Some(event) = server.poll_event(now) {
                if let Event::Close(_) = event {
                    return Ok(());
                }
            }
            server.receive(request(1), now);
            let event = server.poll_event(now);
            prop_assert!(matches!(event, Some(Event::Message(_))), "{:?}", event);
        }
    }
}
