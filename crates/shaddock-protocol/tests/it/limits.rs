//! Every limit holds, and its error names it.

use std::time::Instant;

use bytes::Bytes;
use shaddock_protocol::pomelo::{
    Config, Connector, Dictionary, Kind, Message, MessageFault, Package, Protos, Server, Strings,
    WireRoute,
};
use shaddock_protocol::{CloseReason, Dialect, Event, Route};

fn server(accepted: bool) -> (Server, Instant) {
    let now = Instant::now();
    let mut server = Server::new(&Connector::new(Config::default()).unwrap(), now);
    if accepted {
        server.receive(Bytes::from_static(b"\x01\0\0\x0a{\"sys\":{}}"), now);
        assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
        server.accept(None, now);
    }
    (server, now)
}

fn close(accepted: bool, bytes: impl Into<Bytes>) -> Option<CloseReason> {
    let (mut server, now) = server(accepted);
    server.receive(bytes.into(), now);
    match server.poll_event(now)? {
        Event::Close(reason) => Some(reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_that_claims_too_much_closes() {
    let (len, limit) = (4097, 4096);
    assert_eq!(close(false, &b"\x01\0\x10\0"[..]), None);
    let reason = close(false, &b"\x01\0\x10\x01"[..]).unwrap();
    assert_eq!(reason, CloseReason::TooLongBeforeHandshake { len, limit });
    assert_eq!(
        reason.to_string(),
        "a package of 4097 bytes before the handshake, where 4096 are allowed"
    );

    let (len, limit) = (Package::MAX_BODY, 65536);
    assert_eq!(close(true, &b"\x04\x01\0\0"[..]), None);
    let reason = close(true, &b"\x04\xff\xff\xff"[..]).unwrap();
    assert_eq!(reason, CloseReason::TooLong { len, limit });
    assert_eq!(reason.to_string(), "a package of 16777215 bytes, where 65536 are allowed");
}

#[test]
fn an_unknown_kind_closes_at_its_first_byte() {
    for kind in [0, 6, b'G', 255] {
        assert_eq!(close(false, vec![kind]), Some(CloseReason::UnknownPackage(kind)));
    }
}

#[test]
fn little_is_kept_from_before_the_ack() {
    let reason = CloseReason::TooMuchEarly { limit: 8192 };
    for accepted in [false, true] {
        let package = Package { kind: Kind::Data, body: vec![0; 2044].into() }.encode().unwrap();
        assert_eq!(close(accepted, package.repeat(4)), None);
        assert_eq!(close(accepted, package.repeat(5)), Some(reason.clone()));
        assert_eq!(close(accepted, b"\x04\0\0\0".repeat(2049)), Some(reason.clone()));
    }
    assert_eq!(reason.to_string(), "more than 8192 bytes before the ack");
}

#[test]
fn little_is_kept_while_the_application_decides() {
    let (mut server, now) = server(false);
    server.receive(Bytes::from_static(b"\x01\0\0\x0a{\"sys\":{}}"), now);
    server.poll_event(now);
    server.receive(vec![4; 8192].into(), now);
    assert!(server.poll_event(now).is_none());
    server.receive(vec![4].into(), now);
    let Some(Event::Close(reason)) = server.poll_event(now) else { panic!("not closed") };
    assert_eq!(reason, CloseReason::TooMuchEarly { limit: 8192 });
}

#[test]
fn a_package_holds_16_mib_less_one() {
    let package = |len| Package { kind: Kind::Data, body: vec![0; len].into() }.encode();
    assert_eq!(package(0xff_ffff).unwrap().len(), 0x100_0003);
    assert_eq!(
        package(0x100_0000).unwrap_err().to_string(),
        "a package of 16777216 bytes, where 16777215 are allowed"
    );
}

#[test]
fn a_route_has_255_bytes() {
    let longest = format!("a.b.{}", "c".repeat(251));
    let longer = format!("{longest}c");
    assert_eq!(longest.parse::<Route>().unwrap().method().len(), 251);
    let text = "a route of 256 bytes, where 255 are allowed";
    assert_eq!(longer.parse::<Route>().unwrap_err().to_string(), text);
    let push = |route: &str| {
        Message::Push { route: WireRoute::Text(route.into()), body: Bytes::new() }.encode()
    };
    assert_eq!(push(&longest).unwrap().len(), 257);
    assert_eq!(push(&longer).unwrap_err().to_string(), text);
}

#[test]
fn an_id_has_32_bits() {
    let request = |id| Message::Request { id, route: WireRoute::Code(1), body: Bytes::new() };
    let bytes = request(u32::MAX).encode().unwrap();
    assert_eq!(bytes, &b"\x01\xff\xff\xff\xff\x0f\0\x01"[..]);
    assert_eq!(Message::decode(bytes), Ok(request(u32::MAX)));
    for wide in [&b"\x01\xff\xff\xff\xff\x1f\0\x01"[..], b"\x01\x80\x80\x80\x80\x80\0\0\x01"] {
        let error = Message::decode(Bytes::from_static(wide)).unwrap_err();
        assert_eq!((error.id, error.fault), (None, MessageFault::WideId));
        assert_eq!(error.to_string(), "an id over 4294967295");
    }
}

#[test]
fn a_dictionary_has_65535_codes() {
    let build = |len| Dictionary::build([""; 0], (0..len).map(|code| format!("on{code}")));
    assert_eq!(build(65535).unwrap().code("on65534"), Some(65535));
    assert_eq!(
        build(65536).unwrap_err().to_string(),
        "a dictionary of 65536 routes, where 65535 are allowed"
    );
}

#[test]
fn tables_that_no_handshake_can_carry_are_found_at_start() {
    let routes = (0..25_000).map(|code| format!("{code:0>250}"));
    let dictionary = Dictionary::build([""; 0], routes).unwrap();
    let tables =
        shaddock_protocol::pomelo::Tables { dictionary: Some(dictionary.into()), protos: None };
    let error = Connector::new(Config { tables: tables.into(), ..Config::default() }).unwrap_err();
    assert!(error.to_string().ends_with("where 16777215 are allowed"), "{error}");
}

#[test]
fn protobuf_nests_64_deep() {
    let schema = r#"{
        "message N": { "optional N n": 1, "optional uInt32 v": 2 },
        "on": { "optional N n": 1 }
    }"#;
    let protos = Protos::parse(schema, "{}").unwrap();
    let nested = |depth| {
        let open = r#"{"n":"#.repeat(depth);
        format!("{open}{{\"v\":1}}{}", "}".repeat(depth))
    };
    let schema = protos.server("on").unwrap();
    let deepest = schema.encode(nested(64).as_bytes(), Strings::Utf8).unwrap();
    assert_eq!(schema.decode(&deepest).unwrap(), nested(64));
    let error = protos.check("on", nested(65).as_bytes()).unwrap_err().to_string();
    assert!(error.contains("nested deeper than 64"), "{error}");

    // Messages in messages in messages.
    let mut body = Vec::new();
    for _ in 0..2_000 {
        let mut longer = vec![0x0a];
        let mut len = body.len();
        while 0x80 <= len {
            longer.push((len % 0x80 + 0x80).try_into().unwrap());
            len /= 0x80;
        }
        longer.push(len.try_into().unwrap());
        longer.append(&mut body);
        body = longer;
    }
    let error = schema.decode(&body).unwrap_err();
    assert_eq!(error.to_string(), "nested deeper than 64");
}
