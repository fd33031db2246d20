//! Messages that clients sign.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::{
    Client, ClientEvent, ClientOptions, Config, Connector, Kind, Message, Package, Protos, Server,
    Signer, Strings, Tables, WireRoute,
};
use shaddock_protocol::{CloseReason, Dialect, EncodeError, Event, Refusal};

use crate::vectors::VECTORS;

/// Of `{"x":1,"s":"hello"}`, and of `{}`.
const HELLO: &str = "8a351323b18d7f8a15088c89b713e17d831a6a23842baeca011e967f24ec79b1f15d3b84ff488499449534b849c313b75ae13c8c55813fe2887f57053d4dc5fecee4eec409119a90b2d0eccfebe2ccd2508b1cfcd0eb63b37b1a53ec055603d6ad629f522165613a6c5d1e70f79ae1b9def0a8888747912529778ff76127a678";
const NOTHING: &str = "500404ddc83d6d2759292339abd9a1ce9c5cacf9c829c0b9e5e807040597f9519a4679f21fb8f55dc898ffb1cb13eb0b59e6da9d0db08fe15f837761e82af68524af831f8171974ac9013ec89f31ab1c43fb300b0f522bb7e84bc45f1df5905702ab050786c7a262f74241b1bf0f1a8a060ffe7c9a1dc4c42953285b01509969";
/// Of `{"x":"你😀"}` as pomelo has it: the bytes of its UTF-16 units, each as a character.
const TWICE: &str = "1122e2c90fd744026e58fc5d8155b725d2fa884e1dfed49c240853663df1ab48c68e8e7d76e965fdd7504792a85546def6d7d9b41ea1d455a416ffd1522ea78fdf3e83062971c1c2fa2537cf571c299a013f296a3ad5fdea06f80325127742aeb5598b9af98e0d60cbbc89ea994884d35df90098beb197adae51d8d0e2bd7362";

fn rsa() -> Value {
    let key = &VECTORS["crypto_key"];
    json!({ "rsa_n": key["n_hex"], "rsa_e": key["e"] })
}

fn package(kind: Kind, body: impl Into<Bytes>) -> Bytes {
    let body = body.into();
    Package { kind, body }.encode().unwrap()
}

/// A machine that has been told this key, and what it says of it.
fn greeted(sys: &Value, tables: Tables) -> (Server, Option<Event>) {
    let now = Instant::now();
    let config = Config { signed: true, tables: Arc::new(tables), ..Config::default() };
    let mut server = Server::new(&Connector::new(config).unwrap(), now);
    let hello = json!({ "sys": sys }).to_string();
    server.receive(package(Kind::Handshake, hello), now);
    let event = server.poll_event(now);
    (server, event)
}

fn working(rsa: &Value, tables: Tables) -> Server {
    let (mut server, event) = greeted(&json!({ "rsa": rsa }), tables);
    assert!(matches!(event, Some(Event::Handshake(_))), "{event:?}");
    let now = Instant::now();
    server.accept(None, now);
    server.receive(package(Kind::Ack, ""), now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    while server.poll_transmit().is_some() {}
    server
}

fn say(server: &mut Server, route: WireRoute, body: impl Into<Bytes>) -> Option<Event> {
    let body = body.into();
    let now = Instant::now();
    let message = Message::Request { id: 7, route, body };
    server.receive(message.package().unwrap(), now);
    server.poll_event(now)
}

fn ask(server: &mut Server, body: impl Into<Bytes>) -> Option<Event> {
    say(server, WireRoute::Text("a.b.c".into()), body)
}

/// Dropped, and not answered.
fn is_dropped(server: &mut Server, event: Option<Event>) -> bool {
    let refused = matches!(event, Some(Event::Refused { id: None, reason: Refusal::Signature }));
    refused && server.poll_transmit().is_none()
}

#[test]
fn the_signature_may_stand_anywhere_and_is_taken_out() {
    let mut server = working(&rsa(), Tables::default());
    for body in [
        format!(r#"{{"x":1,"s":"hello","__crypto__":"{HELLO}"}}"#),
        format!(r#"{{"x":1,"__crypto__":"{HELLO}","s":"hello"}}"#),
        format!(r#"{{ "__crypto__": "{HELLO}", "x": 1, "s": "hello" }}"#),
        format!(r#"{{"x":1,"s":"hello","__crypto__":"{}"}}"#, HELLO.to_uppercase()),
    ] {
        let Some(Event::Message(message)) = ask(&mut server, body.clone()) else {
            panic!("{body}")
        };
        assert_eq!(message.body, r#"{"x":1,"s":"hello"}"#);
    }
    let Some(Event::Message(message)) =
        ask(&mut server, format!(r#"{{"__crypto__":"{NOTHING}"}}"#))
    else {
        panic!("a body of nothing else")
    };
    assert_eq!(message.body, "{}");
}

#[test]
fn chinese_text_may_be_signed_as_pomelo_would_have_it() {
    let mut server = working(&rsa(), Tables::default());
    let event = ask(&mut server, format!(r#"{{"x":"你😀","__crypto__":"{TWICE}"}}"#));
    let Some(Event::Message(message)) = event else { panic!("{event:?}") };
    assert_eq!(message.body, r#"{"x":"你😀"}"#);
}

#[test]
fn what_is_not_signed_is_dropped_and_the_connection_stays() {
    let mut server = working(&rsa(), Tables::default());
    let short = &HELLO[2..];
    for body in [
        r#"{"x":1,"s":"hello"}"#.to_owned(),
        r#"{"x":1,"s":"hello","__crypto__":""}"#.to_owned(),
        r#"{"x":1,"s":"hello","__crypto__":5}"#.to_owned(),
        r#"{"x":1,"s":"hello","__crypto__":"zz"}"#.to_owned(),
        format!(r#"{{"x":1,"s":"hello","__crypto__":"{short}"}}"#),
        format!(r#"{{"x":1,"s":"hello","__crypto__":"0{HELLO}"}}"#),
        format!(r#"{{"s":"hello","x":1,"__crypto__":"{HELLO}"}}"#),
        format!(r#"{{"x":1,"s":"你","__crypto__":"{HELLO}"}}"#),
        format!(r#"["__crypto__","{HELLO}"]"#),
        "no JSON".to_owned(),
        String::new(),
    ] {
        let event = ask(&mut server, body.clone());
        assert!(is_dropped(&mut server, event), "{body}");
    }
    let signed = format!(r#"{{"x":1,"s":"hello","__crypto__":"{HELLO}"}}"#);
    assert!(matches!(ask(&mut server, signed), Some(Event::Message(_))));
}

#[test]
fn only_what_is_signed_is_answered() {
    let signed = format!(r#"{{"__crypto__":"{NOTHING}"}}"#);
    for route in [WireRoute::Code(9), WireRoute::Text("a.b".into())] {
        let mut server = working(&rsa(), Tables::default());
        let event = say(&mut server, route.clone(), "{}");
        assert!(is_dropped(&mut server, event), "{route:?}");
        let event = say(&mut server, route, signed.clone());
        assert!(matches!(event, Some(Event::Refused { id: Some(_), .. })), "{event:?}");
        assert!(server.poll_transmit().is_some());
    }

    let mut server = working(&rsa(), Tables::default());
    let now = Instant::now();
    server.receive(package(Kind::Data, &b"\0\x07\x05a.b"[..]), now);
    let event = server.poll_event(now);
    assert!(matches!(event, Some(Event::Refused { id: None, .. })), "{event:?}");
    assert_eq!(server.poll_transmit(), None);

    let attack = WireRoute::Text("a.b.constructor".into());
    let event = say(&mut server, attack, "{}");
    assert!(is_dropped(&mut server, event));
}

#[test]
fn a_schema_may_have_a_field_for_the_signature() {
    let schema = r#"{ "a.b.c": {
        "required uInt32 x": 1, "optional string s": 2, "optional string __crypto__": 3
    } }"#;
    let protos = Protos::parse(schema, schema).unwrap();
    let signed = json!({ "x": 1, "s": "hello", "__crypto__": HELLO }).to_string();
    let body = protos.server("a.b.c").unwrap().encode(signed.as_bytes(), Strings::Utf8).unwrap();
    let tables = Tables { dictionary: None, protos: Some(protos.into()) };
    let mut server = working(&rsa(), tables);
    let Some(Event::Message(message)) = ask(&mut server, body) else { panic!("not taken") };
    assert_eq!(message.body, r#"{"x":1,"s":"hello"}"#);
    let event = ask(&mut server, "\u{ff}");
    assert!(is_dropped(&mut server, event), "a body that does not decode");
}

#[test]
fn a_client_without_a_key_is_refused() {
    for sys in [json!({ "type": "t" }), json!({ "rsa": 5 }), json!({ "rsa": null })] {
        let (mut server, event) = greeted(&sys, Tables::default());
        assert!(matches!(event, Some(Event::Close(CloseReason::BadHandshake))));
        let answer = server.poll_transmit().unwrap();
        assert_eq!(answer, package(Kind::Handshake, r#"{"code":500}"#));
    }
}

#[test]
fn a_client_with_half_a_key_is_let_in_and_not_heard() {
    let (n, e) = (&rsa()["rsa_n"], 65537);
    for rsa in [
        json!({}),
        json!({ "rsa_n": n }),
        json!({ "rsa_n": 5, "rsa_e": e }),
        json!({ "rsa_n": "xyz", "rsa_e": e }),
        json!({ "rsa_n": "", "rsa_e": 0 }),
        json!({ "rsa_n": "0123", "rsa_e": e }),
    ] {
        let mut server = working(&rsa, Tables::default());
        let signed = format!(r#"{{"x":1,"s":"hello","__crypto__":"{HELLO}"}}"#);
        let event = ask(&mut server, signed);
        assert!(is_dropped(&mut server, event), "{rsa}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_but_what_was_signed_comes_through(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut server = working(&rsa(), Tables::default());
        let mut body = format!(r#"{{"x":1,"s":"hello","__crypto__":"{HELLO}"}}"#).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        match ask(&mut server, body) {
            Some(Event::Message(message)) => prop_assert_eq!(message.body, r#"{"x":1,"s":"hello"}"#),
            event => prop_assert!(is_dropped(&mut server, event)),
        }
    }
}

/// Signs the few texts that node-bignumber has signed with the key.
#[derive(Debug)]
struct Recorded;

impl Signer for Recorded {
    fn modulus(&self) -> Vec<u8> {
        unhex(rsa()["rsa_n"].as_str().unwrap())
    }

    fn exponent(&self) -> u64 {
        65537
    }

    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let twice: String = "{\"x\":\"ä½\u{a0}í\u{a0}½í¸\u{80}\"}".into();
        let signature = match text {
            br#"{"x":1,"s":"hello"}"# => HELLO,
            b"{}" => NOTHING,
            text if text == twice.as_bytes() => TWICE,
            _ => return None,
        };
        Some(unhex(signature))
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// A client that signs, let in by a server that wants it to.
fn signing(tables: Tables) -> (Client, Server) {
    let now = Instant::now();
    let config = Config { signed: true, tables: Arc::new(tables), ..Config::default() };
    let mut server = Server::new(&Connector::new(config).unwrap(), now);
    let options = ClientOptions { signer: Some(Arc::new(Recorded)), ..ClientOptions::default() };
    let mut client = Client::new(options, now);
    server.receive(client.poll_transmit().unwrap(), now);
    assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
    server.accept(None, now);
    client.receive(server.poll_transmit().unwrap(), now);
    assert!(matches!(client.poll_event(now), Some(ClientEvent::Ready(_))));
    server.receive(client.poll_transmit().unwrap(), now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    (client, server)
}

#[test]
fn what_a_client_signs_is_believed() {
    let field =
        r#""optional uInt32 x": 1, "optional string s": 2, "optional string __crypto__": 3"#;
    let protos = Protos::parse("{}", &format!(r#"{{ "a.b.c": {{ {field} }} }}"#)).unwrap();
    for protos in [None, Some(Arc::new(protos))] {
        let typed = protos.is_some();
        let (mut client, mut server) = signing(Tables { dictionary: None, protos });
        for (body, signed) in [
            (r#"{ "x": 1.0, "s": "hello" }"#, r#"{"x":1,"s":"hello"}"#),
            (r#"{"__crypto__":"another","x":1,"s":"hello"}"#, r#"{"x":1,"s":"hello"}"#),
            ("{}", "{}"),
            (r#"{"x":"你😀"}"#, r#"{"x":"你😀"}"#),
        ] {
            if typed && signed.contains('你') {
                continue;
            }
            let now = Instant::now();
            server.receive(
                client.request(1.try_into().unwrap(), "a.b.c", &body.into()).unwrap(),
                now,
            );
            let Some(Event::Message(message)) = server.poll_event(now) else { panic!("{body}") };
            assert_eq!(message.body, signed);
        }
    }
}

#[test]
fn what_can_not_be_signed_is_not_sent() {
    let (client, _) = signing(Tables::default());
    for (body, why) in [
        ("[1]", "its body is no object"),
        ("{", "its body is no object"),
        (r#"{"x":2}"#, "the key makes no signature"),
    ] {
        let error = client.notify("a.b.c", &body.into()).unwrap_err();
        assert_eq!(error, EncodeError::Unsigned(why));
    }
}
