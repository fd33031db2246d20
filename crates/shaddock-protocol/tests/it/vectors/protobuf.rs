//! Schemas, and bodies by them.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value, json};
use shaddock_protocol::pomelo::{Protos, SchemaError, Strings};

use super::{Judge, VECTORS, bytes, cases, hex, refused, text};

/// The schemas of a case, with the other messages of the file only if all of them are sound.
fn protos(schema: &str, route: &str) -> Result<Protos, SchemaError> {
    let file = &VECTORS["protobuf_schemas"][schema];
    let file = match schema {
        "odd" => &Value::Object(
            file.get(route).map(|one| (route.to_owned(), one.clone())).into_iter().collect(),
        ),
        _ => file,
    };
    Protos::parse(&file.to_string(), "{}")
}

#[test]
fn schemas_are_parsed_as_recorded() {
    let mut judge = Judge::default();
    for (name, messages) in VECTORS["protobuf_parsed"].as_object().unwrap() {
        for (route, recorded) in messages.as_object().unwrap() {
            let parsed = protos(name, route).map(|protos| {
                let mut all: Map<String, Value> = serde_json::from_str(protos.json().0).unwrap();
                all.remove(route).unwrap()
            });
            judge.hear(&format!("{name}.{route}"), &parsed.unwrap_or_else(|_| refused()), recorded);
        }
    }
    judge.close("protobuf_parsed", 21, 5, 0);
}

#[test]
fn bodies_are_encoded_as_recorded() {
    let mut judge = Judge::default();
    let mut coercions = 0;
    for case in cases("protobuf_encode") {
        if !judge.takes(case) {
            continue;
        }
        let id = text(&case["id"]);
        let protos = protos(text(&case["schema"]), text(&case["route"]));
        let schema = protos.as_ref().ok().and_then(|protos| protos.server(text(&case["route"])));
        let encode = |strings| {
            let body =
                schema.and_then(|schema| schema.encode_from(Body(&case["msg"]), strings).ok());
            body.as_deref().map_or_else(refused, hex)
        };
        let actual = encode(Strings::Utf8);
        if case["js_coercion"] == true {
            coercions += 1;
            judge.ran += 1;
            assert_eq!(actual, refused(), "{id}");
            continue;
        }
        // `null` says that the encoder gave nothing, which is an error here.
        let recorded = if case["hex"].is_null() { refused() } else { case["hex"].clone() };
        judge.hear(id, &actual, &recorded);
        let of_strings =
            case["msg"].as_object().is_some_and(|msg| msg.values().all(Value::is_string));
        if of_strings && let Some(browser) = case["browser"].get("hex") {
            assert_eq!(&encode(Strings::Surrogates), browser, "{id} as a browser writes it");
        }
    }
    assert_eq!(coercions, 11);
    judge.close("protobuf_encode", 201, 2, 8);
}

#[test]
fn bodies_are_decoded_as_recorded() {
    let mut judge = Judge::default();
    for case in cases("protobuf_decode") {
        assert!(judge.takes(case));
        let actual = match protos(text(&case["schema"]), text(&case["route"])) {
            Err(_) => refused(),
            Ok(protos) => match protos.server(text(&case["route"])) {
                None => Value::Null,
                Some(schema) => match schema.decode(&bytes(&case["hex"])) {
                    Ok(json) => serde_json::from_slice(&json).unwrap(),
                    Err(_) => refused(),
                },
            },
        };
        let recorded = match case.get("error") {
            Some(_) => refused(),
            None => minus_zero(&case["msg"]),
        };
        judge.hear(text(&case["id"]), &actual, &recorded);
    }
    judge.close("protobuf_decode", 314, 23, 0);
}

/// JSON has `-0`, only most who write it do not.
fn minus_zero(value: &Value) -> Value {
    match value {
        Value::Object(members) if members.get("$").is_some_and(|what| what == "-0") => json!(-0.0),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), minus_zero(value))).collect()
        }
        other => other.clone(),
    }
}

/// A body of a case, with the values that JSON can't hold.
#[derive(Clone, Copy)]
struct Body<'a>(&'a Value);

#[derive(Debug)]
struct Refused(String);

impl<'de> Deserializer<'de> for Body<'_> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::String(string) => visitor.visit_str(string),
            Value::Array(list) => visitor.visit_seq(SeqDeserializer::new(list.iter().map(Body))),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap()),
            },
            Value::Object(members) => match members.get("$").and_then(Value::as_str) {
                None => {
                    let members = members.iter();
                    let members = members.map(|(name, value)| (name.as_str(), Body(value)));
                    visitor.visit_map(MapDeserializer::new(
                        members.filter(|(_, value)| value.0.get("$") != Some(&json!("undefined"))),
                    ))
                }
                Some("NaN") => visitor.visit_f64(f64::NAN),
                Some("Infinity") => visitor.visit_f64(f64::INFINITY),
                Some("-Infinity") => visitor.visit_f64(f64::NEG_INFINITY),
                Some("-0") => visitor.visit_f64(-0.0),
                Some("utf16") => {
                    let units: Vec<u16> = serde_json::from_value(members["units"].clone()).unwrap();
                    visitor.visit_str(&String::from_utf16_lossy(&units))
                }
                Some(other) => Err(Refused::custom(other)),
            },
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Refused> for Body<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
