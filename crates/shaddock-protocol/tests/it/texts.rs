//! Text that browsers write, and that they can read.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_protocol::text;

#[test]
fn separate_surrogates_become_one_character() {
    for (bytes, expected) in [
        (&b"a\xed\xa0\xbd\xed\xb8\x80b"[..], "a😀b"),
        (b"\xed\xa0\xbd", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xed\xb8\x80\xed\xa0\xbd", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xed\xa0\xbd\xed\xa0\xbd\xed\xb8\x80", "\u{fffd}\u{fffd}\u{fffd}😀"),
        (b"x\xff\xe4\xbd", "x\u{fffd}\u{fffd}"),
        (b"\xe4\xbd\xa0\xf0\x9f\x98\x80", "你😀"),
    ] {
        assert_eq!(text::repair(Bytes::from_static(bytes)), expected);
    }
}

#[test]
fn text_without_fault_is_not_copied() {
    let bytes = Bytes::from("你好 😀".to_owned());
    assert_eq!(text::repair(bytes.clone()).as_ptr(), bytes.as_ptr());
    let json = Bytes::from(r#"{"a":"你好"}"#.to_owned());
    assert_eq!(text::escape(json.clone()).as_ptr(), json.as_ptr());
}

#[test]
fn what_is_no_json_is_read_as_an_empty_map() {
    for nothing in [&b""[..], b" ", b" null ", b"{", b"{}]", b"\xff", br#"{"a":1,}"#] {
        assert_eq!(text::read::<Value>(nothing).unwrap(), json!({}));
        assert_eq!(text::body(Bytes::from_static(nothing)), "{}");
    }
    let at_first_wrong = text::read::<BTreeMap<String, u8>>(br#"{"a":"b"]"#).unwrap();
    assert_eq!(at_first_wrong, BTreeMap::new(), "it is no map of numbers, but neither is it JSON");
    let error = text::read::<BTreeMap<String, u8>>(br#"{"a":"b"}"#).unwrap_err();
    assert!(error.is_data(), "{error}");
    assert!(text::read::<Vec<u8>>(b"").unwrap_err().is_data(), "an empty map is no list");
}

#[test]
fn json_escapes_what_browsers_misread() {
    let value = json!({ "😀": ["你", "a\"😀\n"] });
    let expected = r#"{"\uD83D\uDE00":["你","a\"\uD83D\uDE00\n"]}"#;
    assert_eq!(text::to_json(&value).unwrap(), expected);
    assert_eq!(text::escape(value.to_string().into()), expected);
}
