//! The machine of a Socket.IO client.

use std::time::Instant;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shaddock_protocol::socketio::{Connector, Limits, Server};
use shaddock_protocol::{CloseReason, Dialect, Event, Hello, Incoming};

use crate::fuzz_dialects;

fn server() -> Server {
    Server::new(&Connector::new(Limits::default()))
}

fn working() -> Server {
    let mut server = server();
    let now = Instant::now();
    assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
    server.accept(None, now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    server
}

fn say(server: &mut Server, text: &str) -> Option<Event> {
    let now = Instant::now();
    server.receive(Bytes::copy_from_slice(text.as_bytes()), now);
    server.poll_event(now)
}

fn message(server: &mut Server, text: &str) -> Incoming {
    match say(server, text) {
        Some(Event::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn closes(server: &mut Server) -> CloseReason {
    match server.poll_event(Instant::now()) {
        Some(Event::Close(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// What the original client writes.
fn text(id: u32, route: &str, body: &str) -> String {
    let units = u8::try_from(route.encode_utf16().count()).unwrap();
    let head: String = id.to_be_bytes().into_iter().chain([units]).map(char::from).collect();
    head + route + body
}

#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Server>() <= 256, "{}", size_of::<Server>());
}

#[test]
fn the_application_is_asked_before_anything_is_read() {
    let mut server = server();
    let now = Instant::now();
    let Some(Event::Handshake(hello)) = say(&mut server, &text(1, "a.b.c", "{}")) else {
        panic!("not asked")
    };
    assert_eq!(hello, Hello::default());
    assert!(server.poll_event(now).is_none());
    server.accept(None, now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    assert!(matches!(server.poll_event(now), Some(Event::Message(_))));
    assert_eq!((server.poll_transmit(), server.poll_timeout()), (None, None));
}

#[test]
fn a_refused_client_is_closed() {
    let mut server = server();
    server.poll_event(Instant::now());
    server.refuse(501, &Map::new());
    assert_eq!(closes(&mut server), CloseReason::Refused(501));
    assert_eq!(server.poll_transmit(), None);
    assert!(say(&mut server, &text(1, "a.b.c", "{}")).is_none());
}

#[test]
fn a_body_is_json_whatever_was_sent() {
    for (sent, body) in [
        ("", "{}"),
        ("{bad", "{}"),
        ("null", "{}"),
        ("[1, 2]", "[1, 2]"),
        (r#""😀\ud83d""#, r#""😀\ufffd""#),
    ] {
        let said = message(&mut working(), &text(1, "a.b.c", sent)).body;
        assert_eq!(shaddock_protocol::text::body(said), body);
    }
}

#[test]
fn a_text_that_cannot_be_read_is_refused() {
    for (said, reason, answered) in [
        ("", "malformed: an empty message", false),
        ("\0\0\0", "malformed: the id is cut off", false),
        ("\0\0\u{100}\0", "malformed: an id over 4294967295", false),
        ("\0\0\0\x07", "malformed: the route is cut off", false),
        ("\0\0\0\x07\u{100}", "malformed: the route is cut off", false),
        ("\0\0\0\x07\x05a.b", "malformed: the route is cut off", false),
        ("\0\0\0\x07\x01😀", "malformed: the route is cut off", false),
        (
            "\0\0\0\x07\0",
            "a route has three parts, like `chat.chatHandler.send`, and this has 0",
            true,
        ),
        (
            "\0\0\0\0\x01a{}",
            "a route has three parts, like `chat.chatHandler.send`, and this has 1",
            false,
        ),
    ] {
        let mut server = working();
        let Some(Event::Refused { id, reason: told }) = say(&mut server, said) else {
            panic!("{said:?}")
        };
        assert_eq!((told.to_string().as_str(), id.is_some()), (reason, answered));
        let answer = server.poll_transmit();
        assert_eq!(answer, answered.then(|| r#"{"id":7,"body":{"code":500}}"#.into()));
        message(&mut server, &text(1, "a.b.c", "{}"));
    }
}

#[test]
fn whoever_calls_a_constructor_is_kicked() {
    let mut server = working();
    let Some(Event::Close(reason)) = say(&mut server, &text(1, "a.b.constructor", "{}")) else {
        panic!("not closed")
    };
    assert_eq!(reason, CloseReason::Attack);
    assert_eq!(server.poll_transmit(), Some(r#"{"route":"onKick","reason":"attack"}"#.into()));
    assert!(server.poll_event(Instant::now()).is_none());
}

#[test]
fn only_who_is_in_is_told_why_it_is_kicked() {
    let mut inside = working();
    inside.kick(Some("bye 你"));
    let told = r#"{"route":"onKick","reason":"bye \u4F60"}"#;
    assert_eq!(inside.poll_transmit(), Some(told.into()));
    assert_eq!(closes(&mut inside), CloseReason::Kicked);

    let mut silent = working();
    silent.kick(None);
    assert_eq!(silent.poll_transmit(), None);
    assert_eq!(closes(&mut silent), CloseReason::Kicked);

    let mut outside = server();
    outside.kick(Some("bye"));
    assert_eq!(outside.poll_transmit(), None);
    assert_eq!(closes(&mut outside), CloseReason::Kicked);
}

#[test]
fn every_limit_is_named_by_its_error() {
    let now = Instant::now();
    let mut longest = working();
    longest.receive(vec![b'a'; 65536].into(), now);
    assert!(matches!(longest.poll_event(now), Some(Event::Refused { .. })));
    longest.receive(vec![b'a'; 65537].into(), now);
    let reason = closes(&mut longest).to_string();
    assert_eq!(reason, "a package of 65537 bytes, where 65536 are allowed");

    let mut early = server();
    early.poll_event(now);
    for _ in 0..1638 {
        early.receive(Bytes::new(), now);
    }
    assert!(early.poll_event(now).is_none());
    early.receive(Bytes::new(), now);
    let reason = closes(&mut early).to_string();
    assert_eq!(reason, "more than 8192 bytes before the ack");
}

#[test]
fn clients_of_one_connector_are_spoken_to_alike() {
    let connector = Connector::new(Limits::default());
    let voice = || Server::new(&connector).voice().clone();
    assert_eq!(voice(), voice());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_is_heard(
        id in any::<u32>(),
        route in "[^.]{1,40}\\.[^.]{1,40}\\.[^.]{1,3}",
        body in vec(any::<String>(), 0..5),
    ) {
        prop_assume!(route.len() <= 255);
        let body = json!(body).to_string();
        let heard = message(&mut working(), &text(id, &route, &body));
        prop_assert_eq!((heard.id, heard.route.as_str()), (id.try_into().ok(), &*route));
        prop_assert_eq!(heard.body, body);
    }

    #[test]
    fn what_goes_out_is_ascii_and_says_the_same(
        id in 1..=u32::MAX,
        route in any::<String>(),
        body in vec(any::<String>(), 0..5),
    ) {
        let server = working();
        let bytes = json!(body).to_string().into();
        let pushed = server.voice().push(&route, &bytes).unwrap();
        let answered = server.voice()
            .response(id.try_into().unwrap(), &"a.b.c".parse().unwrap(), &bytes)
            .unwrap();
        prop_assert!(pushed.is_ascii() && answered.is_ascii());
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        prop_assert_eq!(read(&pushed), json!({ "route": route, "body": body }));
        prop_assert_eq!(read(&answered), json!({ "id": id, "body": body }));
    }

    #[test]
    fn no_text_breaks_anything(bytes in vec(any::<u8>(), 0..80)) {
        fuzz_dialects::socketio(&bytes);
    }
}
