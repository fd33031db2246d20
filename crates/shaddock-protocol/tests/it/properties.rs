//! What holds for all packages, messages, bodies and texts.

use std::time::Instant;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::{
    Config, Connector, Kind, Message, Package, Packages, Protos, Server, Strings, WireRoute,
};
use shaddock_protocol::{Dialect, Event, text};

use crate::fuzz_targets;

fn packages() -> impl Strategy<Value = Vec<Package>> {
    let kind = (1..=5u8).prop_map(|kind| Kind::try_from(kind).unwrap());
    let package = (kind, vec(any::<u8>(), 0..40));
    vec(package.prop_map(|(kind, body)| Package { kind, body: body.into() }), 0..20)
}

fn messages() -> impl Strategy<Value = Message> {
    let route = prop_oneof![
        any::<u16>().prop_map(WireRoute::Code),
        "[^\u{0}]{0,63}".prop_map(|text| WireRoute::Text(text.into())),
    ];
    let body = || vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (0..4u8, any::<u32>(), route, body()).prop_map(|(kind, id, route, body)| match kind {
        0 => Message::Request { id, route, body },
        1 => Message::Notify { route, body },
        2 => Message::Response { id, body },
        _ => Message::Push { route, body },
    })
}

const SCHEMA: &str = r#"{ "on": {
    "message P": { "required float x": 1, "optional string name": 2 },
    "optional uInt32 u": 1, "optional sInt32 s": 2, "optional double d": 3, "optional string t": 4,
    "repeated int32 is": 5, "repeated string ts": 6, "optional P p": 7, "repeated P ps": 8
} }"#;

fn bodies() -> impl Strategy<Value = Value> {
    let p = || {
        (any::<i16>(), option::of(any::<String>())).prop_map(|(x, name)| match name {
            Some(name) => json!({ "x": x, "name": name }),
            None => json!({ "x": x }),
        })
    };
    let integer = -(1i64 << 52)..(1i64 << 52);
    (
        (0..1u64 << 53, integer.clone(), -1e9..1e9, any::<String>()),
        vec(integer, 1..9),
        vec(any::<String>(), 1..9),
        p(),
        vec(p(), 1..5),
    )
        .prop_map(|((u, s, d, t), is, ts, p, ps)| {
            json!({ "u": u, "s": s, "d": d, "t": t, "is": is, "ts": ts, "p": p, "ps": ps })
        })
}

/// What the machine does with these bytes, cut at every `piece`.
fn events(bytes: &[u8], piece: usize) -> (Vec<String>, Vec<Bytes>) {
    let now = Instant::now();
    let mut server = Server::new(&Connector::new(Config::default()).unwrap(), now);
    let (mut events, mut sent) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(piece) {
        server.receive(Bytes::copy_from_slice(chunk), now);
        while let Some(event) = server.poll_event(now) {
            if matches!(event, Event::Handshake(_)) {
                server.accept(None, now);
            }
            events.push(format!("{event:?}"));
        }
        sent.extend(std::iter::from_fn(|| server.poll_transmit()));
    }
    (events, sent)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_the_same_packages_come_out(packages in packages(), cuts in vec(1..50usize, 1..50)) {
        let mut bytes: Bytes =
            packages.iter().flat_map(|package| package.encode().unwrap()).collect();
        let mut cuts = cuts.into_iter().cycle();
        let mut stream = Packages::default();
        let mut came = Vec::new();
        while !bytes.is_empty() {
            let cut = cuts.next().unwrap().min(bytes.len());
            stream.push(bytes.split_to(cut));
            while let Some(package) = stream.next(64).unwrap() {
                came.push(package);
            }
        }
        prop_assert!(stream.is_empty());
        prop_assert_eq!(stream.capacity(), 0);
        prop_assert_eq!(came, packages);
    }

    #[test]
    fn a_message_that_is_encoded_is_decoded(message in messages()) {
        prop_assert_eq!(Message::decode(message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn a_body_that_is_encoded_is_decoded(body in bodies()) {
        let protos = Protos::parse(SCHEMA, "{}").unwrap();
        let schema = protos.server("on").unwrap();
        for strings in [Strings::Utf8, Strings::Surrogates] {
            let encoded = schema.encode(body.to_string().as_bytes(), strings).unwrap();
            let decoded: Value = serde_json::from_slice(&schema.decode(&encoded).unwrap()).unwrap();
            // 1.0 comes back as 1, which is the same number to a client.
            prop_assert_eq!(decoded["d"].as_f64(), body["d"].as_f64());
            let mut expected = body.clone();
            expected["d"] = decoded["d"].clone();
            prop_assert_eq!(decoded, expected);
        }
    }

    #[test]
    fn escaped_json_says_the_same(value in vec(any::<String>(), 0..5)) {
        let json = text::to_json(&value).unwrap();
        prop_assert!(json.iter().all(|byte| *byte < 0xf0));
        prop_assert_eq!(&text::escape(serde_json::to_vec(&value).unwrap().into()), &json);
        prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&json).unwrap(), value);
    }

    #[test]
    fn a_body_is_read_as_what_it_says(bytes in "[ ntul0\\[\\]{}:\"a\\\\]{0,6}|null|\\{\"a\": ?[^ ]{1,3}\\}") {
        let body = text::body(Bytes::from(bytes.clone()));
        let said: Value = serde_json::from_slice(&body).expect("a body is JSON");
        prop_assert_eq!(text::read::<Value>(bytes.as_bytes()).unwrap(), said);
    }

    #[test]
    fn repaired_bytes_are_text_as_others_would_read_it(bytes in vec(any::<u8>(), 0..80)) {
        let repaired = text::repair(Bytes::from(bytes.clone()));
        if !bytes.contains(&0xed) {
            prop_assert_eq!(&*repaired, &*String::from_utf8_lossy(&bytes));
        }
        prop_assert_eq!(text::repair(repaired.clone().into_bytes()), repaired);
    }

    #[test]
    fn a_machine_does_the_same_however_bytes_are_cut(
        messages in vec(prop_oneof![
            messages().prop_map(|message| message.package().unwrap()),
            vec(any::<u8>(), 0..20).prop_map(|body| {
                Package { kind: Kind::Data, body: body.into() }.encode().unwrap()
            }),
            Just(Bytes::from_static(b"\x03\0\0\0")),
            (0..10u8).prop_map(|kind| vec![kind, 0, 0, 0].into()),
        ], 0..20),
        piece in 1..100usize,
    ) {
        let mut bytes = b"\x01\0\0\x0a{\"sys\":{}}\x02\0\0\0".to_vec();
        bytes.extend(messages.iter().flatten());
        prop_assert_eq!(events(&bytes, piece), events(&bytes, bytes.len()));
    }

    #[test]
    fn no_bytes_break_anything(bytes in vec(any::<u8>(), 0..200)) {
        fuzz_targets::package(&bytes);
        fuzz_targets::message(&bytes);
        fuzz_targets::handshake(&bytes);
        fuzz_targets::protobuf(&bytes);
        events(&[&b"\x01\0\0\x0a{\"sys\":{}}\x02\0\0\0\x04\0\0\x50"[..], &bytes].concat(), 1000);
    }
}
