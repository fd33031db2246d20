//! Schemas that are sound, those that are not, and bodies that don't fit.

use shaddock_protocol::pomelo::{Protos, Strings};

fn refusal(server: &str) -> String {
    Protos::parse(server, "{}").unwrap_err().to_string()
}

#[test]
fn a_schema_that_would_corrupt_messages_is_refused() {
    for (file, expected) in [
        (r#"{ "on": { "optional uInt64 x": 1 } }"#, "on: x: no type is called uInt64: there are"),
        (
            r#"{ "on": { "message A": { "message B": {}, "optional A a": 1 } } }"#,
            "on.A: a: no type is called A",
        ),
        (
            r#"{ "on": { "optional float a": 1, "required float a": 2 } }"#,
            "on: required float a: the name a is taken",
        ),
        (
            r#"{ "on": { "optional float __tags": 1 } }"#,
            "on: optional float __tags: the name __tags is taken",
        ),
        (
            r#"{ "on": { "optional float a": 0, "optional float b": 0 } }"#,
            "on: optional float b: tag 0 is taken",
        ),
        (
            r#"{ "on": { "optional float a": "1" } }"#,
            "on: optional float a: a tag is a number from 0 to 536870911",
        ),
        (r#"{ "on": { "optional float a": 536870912 } }"#, "on: optional float a: a tag is"),
        (r#"{ "on": 5 }"#, "on: a message is an object"),
        ("[]", "a message is an object"),
        ("{", "not JSON: EOF while parsing an object"),
    ] {
        let error = refusal(file);
        assert!(error.starts_with(expected), "{file}\n{error}");
    }
}

#[test]
fn what_is_wrong_is_on_a_line() {
    for (file, line) in [
        ("{\n\"on\": 5 }", 2),
        ("[]", 1),
        ("{\n\n", 3),
        ("{\n\"on\": {\n\"optional float a\": -1 } }", 3),
        ("{\n\"on\": {\n\"message A\": {\n\"optional none a\": 1 } } }", 4),
        ("{\n\"on\": {\"optional float a\": 1,\n\"optional sInt32 a\": 2} }", 3),
    ] {
        let error = Protos::parse(file, "{}").unwrap_err();
        assert_eq!(error.line, Some(line), "{file}\n{error}");
    }
    let skipped = Protos::parse("{ \"on\": {\n\n\"a\": 1 } }", "{}").unwrap();
    assert_eq!(skipped.ignored()[0].line, Some(3));
}

#[test]
fn what_pomelo_skips_is_skipped_and_told() {
    let file = r#"{ "on": {
        "requred float a": 1, "optional float": 2, "optional float b": 3, "optional float c": 3
    } }"#;
    let protos = Protos::parse(file, "{}").unwrap();
    let ignored: Vec<String> = protos.ignored().iter().map(ToString::to_string).collect();
    let key =
        "a field is `required`, `optional` or `repeated`, its type, its name, with a space between";
    assert_eq!(
        ignored,
        [
            format!("on: requred float a: {key}"),
            format!("on: optional float: {key}"),
            "on: optional float c: tag 3 is taken by a field before: give it another number"
                .to_owned(),
        ]
    );
    let body = protos.server("on").unwrap().encode(br#"{"a":1,"b":1,"c":1}"#, Strings::Utf8);
    assert_eq!(body.unwrap(), &b"\x1d\0\0\x80\x3f"[..]);
}

#[test]
fn a_body_that_does_not_fit_says_where() {
    let file = r#"{ "onMove": {
        "message Path": { "required uInt32 x": 1 },
        "repeated Path path": 1, "optional sInt32 speed": 2, "optional string who": 3
    } }"#;
    let protos = Protos::parse(file, "{}").unwrap();
    for (body, expected) in [
        (r#"{"path":[{"x":1},{}]}"#, "onMove: path.x: it is required and missing"),
        (
            r#"{"path":[{"x":-1}]}"#,
            "onMove: path.x: invalid value: integer `-1`, expected an integer from 0 to 9007199254740991",
        ),
        (r#"{"path":[{"x":9007199254740992}]}"#, "onMove: path.x: invalid value"),
        (r#"{"path":5}"#, "onMove: path: invalid type: integer `5`, expected an array"),
        (
            r#"{"speed":1.5}"#,
            "onMove: speed: invalid type: floating point `1.5`, expected an integer from -4503599627370496 to 4503599627370495",
        ),
        (r#"{"speed":null}"#, "onMove: speed: invalid type: null"),
        (r#"{"speed":1,"speed":2}"#, "onMove: speed: it is there twice"),
        (r#"{"who":5}"#, "onMove: who: invalid value: integer `5`, expected a string"),
        (r#"{"nobody":5}"#, "onMove: : nothing of it is in the schema"),
        (r#"[1]"#, "onMove: : invalid type: sequence, expected an object"),
        (r#"{"speed":1} x"#, "onMove: : trailing characters"),
    ] {
        let error = protos.check("onMove", body.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{body}\n{error}");
    }
    assert_eq!(protos.check("onMove", br#"{"speed":3.0,"other":[{}]}"#), Ok(()));
    assert_eq!(protos.check("onOther", b"not even JSON"), Ok(()));
}

#[test]
fn a_message_may_have_many_fields() {
    let fields: Vec<String> = (0..200).map(|i| format!(r#""required uInt32 f{i}": {i}"#)).collect();
    let protos =
        Protos::parse(&format!(r#"{{ "on": {{ {} }} }}"#, fields.join(",")), "{}").unwrap();
    let schema = protos.server("on").unwrap();
    let members: Vec<String> = (0..200).rev().map(|i| format!(r#""f{i}":{i}"#)).collect();
    let json = format!("{{{}}}", members.join(","));
    let body = schema.encode(json.as_bytes(), Strings::Utf8).unwrap();
    assert_eq!(schema.decode(&body).unwrap(), json);
    let fewer = json.replace(r#""f150":150,"#, "");
    let error = schema.encode(fewer.as_bytes(), Strings::Utf8).unwrap_err().to_string();
    assert!(error.starts_with("on: f150: it is required and missing"), "{error}");
}

#[test]
fn elements_may_be_apart_and_the_last_value_counts() {
    let file = r#"{ "on": {
        "repeated string s": 1, "optional uInt32 u": 2, "repeated uInt32 n": 3
    } }"#;
    let protos = Protos::parse(file, "{}").unwrap();
    let body = b"\x10\x01\x0a\x01a\x18\x02\x01\x02\x0a\x01b\x10\x05\x18\x01\x03\x18\x00";
    let json = protos.server("on").unwrap().decode(body).unwrap();
    assert_eq!(json, r#"{"u":5,"s":["a","b"],"n":[1,2,3]}"#);
}

#[test]
fn numbers_are_printed_as_javascript_does() {
    let protos = Protos::parse(r#"{ "on": { "optional double d": 1 } }"#, "{}").unwrap();
    let schema = protos.server("on").unwrap();
    for (number, printed) in [
        (160.0, "160"),
        (-0.5, "-0.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e21"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (0.1, "0.1"),
    ] {
        let json = schema.decode(&[&[9][..], &f64::to_le_bytes(number)].concat()).unwrap();
        assert_eq!(json, format!(r#"{{"d":{printed}}}"#));
    }
}
