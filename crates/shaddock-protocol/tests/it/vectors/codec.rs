//! Packages, messages, text, the gate's checksum.

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::{
    Dictionary, Kind, Message, Package, Packages, Protos, Strings, WireRoute,
};
use shaddock_protocol::{crc32_index, text as wire_text};

use super::{Judge, VECTORS, bytes, cases, hex, refused, text};

#[test]
fn packages_are_encoded_as_recorded() {
    let mut judge = Judge::default();
    for case in cases("package_encode") {
        assert!(judge.takes(case));
        let filler = case["body_fill"]["count"].as_u64().map(|count| {
            let byte = bytes(&case["body_fill"]["byte"])[0];
            vec![byte; count.try_into().unwrap()]
        });
        let kind =
            case["type"].as_u64().and_then(|kind| Kind::try_from(u8::try_from(kind).ok()?).ok());
        let body = filler.clone().unwrap_or_else(|| bytes(&case["body"])).into();
        let encoded = kind.and_then(|kind| Package { kind, body }.encode().ok());
        let (actual, recorded) = match filler {
            None => (encoded.as_deref().map_or_else(refused, hex), case["hex"].clone()),
            // Too long to show: the recorded checksum is that of head and filler.
            Some(filler) => {
                let whole = encoded.map(|encoded| {
                    encoded.strip_prefix(&bytes(&case["head"])[..]) == Some(&filler)
                });
                (whole.map_or_else(refused, Value::from), json!(true))
            }
        };
        judge.hear(text(&case["id"]), &actual, &recorded);
    }
    judge.close("package_encode", 52, 6, 0);
}

#[test]
fn packages_are_decoded_as_recorded() {
    let mut judge = Judge::default();
    for case in cases("package_decode") {
        assert!(judge.takes(case));
        let mut stream = Packages::default();
        stream.push(bytes(&case["hex"]).into());
        let mut packages = Vec::new();
        let end = loop {
            match stream.next(Package::MAX_BODY) {
                Ok(Some(Package { kind, body })) => {
                    let body = if body.is_empty() { Value::Null } else { hex(&body) };
                    packages.push(json!({ "type": kind as u8, "body": body }));
                }
                Ok(None) if stream.is_empty() => break None,
                Ok(None) => break Some("waits"),
                Err(_) => break Some("refused"),
            }
        };
        let mut actual = json!({ "packages": packages });
        if let Some(end) = end {
            actual["then"] = end.into();
        }
        judge.hear(text(&case["id"]), &actual, &json!({ "packages": case["packages"] }));
    }
    judge.close("package_decode", 59, 13, 0);
}

#[test]
fn messages_are_encoded_as_recorded() {
    let mut judge = Judge::default();
    for case in cases("message_encode") {
        if !judge.takes(case) {
            continue;
        }
        let encoded = message(case).and_then(|message| message.encode().ok());
        let recorded = if case.get("error").is_some() { refused() } else { case["hex"].clone() };
        judge.hear(text(&case["id"]), &encoded.as_deref().map_or_else(refused, hex), &recorded);
    }
    judge.close("message_encode", 162, 10, 4);
}

/// The message of a case, if types allow it.
fn message(case: &Value) -> Option<Message> {
    let body = Bytes::from(bytes(&case["body"]));
    let id = u32::try_from(case["msg_id"].as_u64()?).ok()?;
    let route = || match (case["compress"] == 1, &case["route"]) {
        (true, code) => Some(WireRoute::Code(u16::try_from(code.as_u64()?).ok()?)),
        (false, route) => Some(WireRoute::Text(route.as_str().unwrap_or_default().into())),
    };
    Some(match case["type"].as_u64()? {
        0 => Message::Request { id, route: route()?, body },
        1 => Message::Notify { route: route()?, body },
        2 => Message::Response { id, body },
        3 => Message::Push { route: route()?, body },
        _ => return None,
    })
}

#[test]
fn messages_are_decoded_as_recorded() {
    let mut judge = Judge::default();
    for case in cases("message_decode") {
        assert!(judge.takes(case));
        let show = |id: u32, kind: u8, route: Option<WireRoute>, body: &Bytes| {
            let (compress, route) = match route {
                None => (0, Value::Null),
                Some(WireRoute::Text(route)) => (0, Value::from(&*route)),
                Some(WireRoute::Code(code)) => (1, Value::from(code)),
            };
            let body = hex(body);
            json!({ "msg_id": id, "type": kind, "compress": compress, "route": route, "body": body })
        };
        let actual = match Message::decode(bytes(&case["hex"]).into()) {
            Err(_) => refused(),
            Ok(Message::Request { id, route, body }) => show(id, 0, Some(route), &body),
            Ok(Message::Notify { route, body }) => show(0, 1, Some(route), &body),
            Ok(Message::Response { id, body }) => show(id, 2, None, &body),
            Ok(Message::Push { route, body }) => show(0, 3, Some(route), &body),
        };
        let mut recorded = case.get("message").cloned().unwrap_or_else(refused);
        if let Some(message) = recorded.as_object_mut() {
            // The bit is read over, as pomelo does, so nothing of it is left to see.
            message.shift_remove("gzip");
        }
        judge.hear(text(&case["id"]), &actual, &recorded);
    }
    judge.close("message_decode", 183, 15, 0);
}

#[test]
fn the_gate_finds_the_recorded_server() {
    let mut judge = Judge::default();
    for case in cases("crc_routing") {
        assert!(judge.takes(case));
        let key = text(&case["s"]);
        let index = |n: &str| (n.to_owned(), crc32_index(key, n.parse().unwrap()).into());
        let actual = Value::Object(["2", "3", "5", "7"].map(index).into_iter().collect());
        judge.hear(text(&case["id"]), &actual, &case["index_of"]);
    }
    judge.close("crc_routing", 21, 0, 0);
}

#[test]
fn text_is_written_as_node_and_browsers_do() {
    let protos = Protos::parse(r#"{ "on": { "optional string s": 1 } }"#, "{}").unwrap();
    let schema = protos.server("on").unwrap();
    let mut judge = Judge::default();
    for case in cases("string_codec") {
        assert!(judge.takes(case));
        let units: Vec<u16> = serde_json::from_value(case["s_utf16"].clone()).unwrap();
        let string = String::from_utf16_lossy(&units);
        let written = |strings| {
            let body = schema.encode(json!({ "s": string }).to_string().as_bytes(), strings);
            // Tag and length are a byte each.
            hex(&body.unwrap()[2..])
        };
        let actual = json!({
            "node": written(Strings::Utf8),
            "browser": written(Strings::Surrogates),
            "read": wire_text::repair(bytes(&case["browser_hex"]).into()).to_string(),
        });
        let recorded = json!({
            "node": case["node_hex"],
            "browser": case["browser_hex"],
            "read": string,
        });
        judge.hear(text(&case["id"]), &actual, &recorded);
    }
    judge.close("string_codec", 8, 1, 0);
}

#[test]
fn the_dictionary_is_the_recorded_one() {
    let app = &VECTORS["transcript_app"];
    let routes = app["handlers"].as_object().unwrap().keys().map(String::as_str);
    let extra = app["dictionary_json"].as_array().unwrap().iter().map(text);
    let dictionary = Dictionary::build(routes, extra).unwrap();
    assert_eq!(dictionary.version(), VECTORS["handshake_full"]["json"]["sys"]["dictVersion"]);
}
