//! JSON to protobuf, in one pass and without a tree between.

use std::fmt;

use bytes::{BufMut, BytesMut};
use serde::Deserializer;
use serde::de::value::{self, U32Deserializer};
use serde::de::{
    DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use super::definition::Rule;
use super::schema::{Field, Kind, Message, Schema, Schemas, Seen};
use super::varint;
use crate::text;

/// How strings are written, which no form suits all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strings {
    /// As everywhere.
    Utf8,
    /// Characters above U+FFFF as two surrogates, for clients of the type `js-websocket`.
    Surrogates,
}

/// Why a body does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{route}: {field}: {reason}")]
pub struct BodyError {
    /// Whose schema.
    pub route: String,
    /// The field, with those it is in: `path.x`. Empty if it's the whole body.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

/// Integers are exact in every client up to here.
const MAX_UINT: u64 = (1 << 53) - 1;
/// What zig-zag leaves of that.
const MAX_SINT: i64 = (1 << 52) - 1;
const MIN_SINT: i64 = -(1 << 52);

/// How deep messages may be nested, in either direction.
pub(super) const MAX_DEPTH: usize = 64;

impl Schema<'_> {
    /// Writes `body`, JSON, behind what `out` has.
    pub(in crate::pomelo) fn put_json(
        &self,
        body: &[u8],
        strings: Strings,
        out: &mut BytesMut,
    ) -> Result<(), BodyError> {
        let mut json = serde_json::Deserializer::from_slice(body);
        self.put(&mut json, strings, out)?;
        json.end().map_err(|error| self.error(String::new(), &error))
    }

    /// Writes `body` behind what `out` has.
    pub(super) fn put<'de, D: Deserializer<'de>>(
        &self,
        body: D,
        strings: Strings,
        out: &mut BytesMut,
    ) -> Result<(), BodyError> {
        let before = out.len();
        let mut encoder = self.encoder(strings, out);
        let written =
            MessageSeed { encoder: &mut encoder, message: self.message }.deserialize(body);
        let field = encoder.path.iter().rev().copied().collect::<Vec<_>>().join(".");
        match written {
            Err(error) => Err(self.error(field, &error)),
            Ok(()) if out.len() == before => {
                Err(self.error(field, &"nothing of it is in the schema"))
            }
            Ok(()) => Ok(()),
        }
    }

    fn encoder<'e>(&'e self, strings: Strings, out: &'e mut BytesMut) -> Encoder<'e> {
        Encoder { all: self.all, strings, out, path: Vec::new(), depth: 0 }
    }

    fn error(&self, field: String, reason: &dyn fmt::Display) -> BodyError {
        BodyError { route: self.route.to_owned(), field, reason: reason.to_string() }
    }

    /// Writes the field `name` alone, if there is one for numbers, and be others required.
    pub(in crate::pomelo) fn put_number(&self, out: &mut BytesMut, name: &str, number: u32) {
        let Some(index) = self.message.by_name(name) else {
            return;
        };
        let before = out.len();
        let mut encoder = self.encoder(Strings::Utf8, out);
        let number: U32Deserializer<value::Error> = number.into_deserializer();
        let seed = FieldSeed { encoder: &mut encoder, field: &self.message.fields[index] };
        if seed.deserialize(number).is_err() {
            out.truncate(before);
        }
    }
}

struct Encoder<'a> {
    all: &'a Schemas,
    strings: Strings,
    out: &'a mut BytesMut,
    /// Where an error happened, the innermost field first.
    path: Vec<&'a str>,
    depth: usize,
}

impl<'a> Encoder<'a> {
    fn put_tag(&mut self, field: &Field) {
        let wire = match field.kind {
            Kind::UInt | Kind::SInt => 0,
            Kind::Double => 1,
            Kind::String | Kind::Message(_) => 2,
            Kind::Float => 5,
        };
        varint::put(self.out, u64::from(field.tag) << 3 | wire);
    }

    fn put_value<'de, D: Deserializer<'de>>(
        &mut self,
        kind: Kind,
        value: D,
    ) -> Result<(), D::Error> {
        let Kind::Message(index) = kind else {
            return value.deserialize_any(ScalarVisitor { encoder: self, kind });
        };
        if self.depth == MAX_DEPTH {
            return Err(D::Error::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let start = self.out.len();
        let message = self.all.message(index);
        MessageSeed { encoder: self, message }.deserialize(value)?;
        self.depth -= 1;
        self.insert_length(start, self.out.len() - start);
        Ok(())
    }

    /// Writes a length or a count that is known only now before the bytes from `start` on.
    fn insert_length(&mut self, start: usize, length: usize) {
        let mut digits = [0; varint::MAX];
        let mut room = &mut digits[..];
        varint::put(&mut room, length as u64);
        let width = varint::MAX - room.len();
        let end = self.out.len();
        self.out.put_bytes(0, width);
        self.out.copy_within(start..end, start + width);
        self.out[start..start + width].copy_from_slice(&digits[..width]);
    }
}

struct MessageSeed<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    message: &'a Message,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { encoder, message } = self;
        let mut seen = Seen::none_of(message);
        while let Some(index) = map.next_key_seed(NameSeed(message))? {
            let Some(index) = index else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &message.fields[index];
            let written = match seen.insert(index) {
                true => map.next_value_seed(FieldSeed { encoder: &mut *encoder, field }),
                false => Err(A::Error::custom("it is there twice")),
            };
            written.inspect_err(|_| encoder.path.push(&field.name))?;
        }
        for (index, field) in message.fields.iter().enumerate() {
            if field.rule == Rule::Required && !seen.contains(index) {
                encoder.path.push(&field.name);
                return Err(A::Error::custom("it is required and missing"));
            }
        }
        Ok(())
    }
}

/// Finds the field of a name, if the schema has it.
struct NameSeed<'a>(&'a Message);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.by_name(name))
    }
}

struct FieldSeed<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    field: &'a Field,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.field.rule == Rule::Repeated {
            return deserializer.deserialize_seq(self);
        }
        self.encoder.put_tag(self.field);
        self.encoder.put_value(self.field.kind, deserializer)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { encoder, field } = self;
        if let Kind::String | Kind::Message(_) = field.kind {
            while seq.next_element_seed(ElementSeed { encoder: &mut *encoder, field })?.is_some() {}
            return Ok(());
        }
        let before = encoder.out.len();
        encoder.put_tag(field);
        let start = encoder.out.len();
        let mut count = 0;
        while seq
            .next_element_seed(NumberSeed { encoder: &mut *encoder, kind: field.kind })?
            .is_some()
        {
            count += 1;
        }
        match count {
            0 => encoder.out.truncate(before),
            _ => encoder.insert_length(start, count),
        }
        Ok(())
    }
}

/// A repeated string or message has its tag before every element.
struct ElementSeed<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    field: &'a Field,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.encoder.put_tag(self.field);
        self.encoder.put_value(self.field.kind, deserializer)
    }
}

/// A repeated number has one tag, and a count, before all elements.
struct NumberSeed<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    kind: Kind,
}

impl<'de> DeserializeSeed<'de> for NumberSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.encoder.put_value(self.kind, deserializer)
    }
}

struct ScalarVisitor<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    kind: Kind,
}

impl<'de> Visitor<'de> for ScalarVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::UInt => write!(f, "an integer from 0 to {MAX_UINT}"),
            Kind::SInt => write!(f, "an integer from {MIN_SINT} to {MAX_SINT}"),
            Kind::Float | Kind::Double => f.write_str("a number"),
            Kind::String => f.write_str("a string"),
            Kind::Message(_) => f.write_str("an object"),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        match self.kind {
            Kind::UInt if number <= MAX_UINT => varint::put(self.encoder.out, number),
            Kind::SInt if let Ok(signed) = i64::try_from(number) => return self.visit_i64(signed),
            Kind::Float | Kind::Double => return self.visit_f64(number as f64),
            _ => {
                return Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self));
            }
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        match self.kind {
            Kind::UInt if let Ok(number) = u64::try_from(number) => return self.visit_u64(number),
            Kind::SInt if (MIN_SINT..=MAX_SINT).contains(&number) => {
                // Zig-zag: 0, -1, 1, -2, ..
                varint::put(self.encoder.out, (number << 1 ^ number >> 63).cast_unsigned());
            }
            Kind::Float | Kind::Double => return self.visit_f64(number as f64),
            _ => {
                return Err(E::invalid_value(serde::de::Unexpected::Signed(number), &self));
            }
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        match self.kind {
            Kind::Float => self.encoder.out.put_f32_le(number as f32),
            Kind::Double => self.encoder.out.put_f64_le(number),
            // 3.0 is how some write 3.
            Kind::UInt | Kind::SInt if number.fract() == 0.0 && number.abs() <= MAX_UINT as f64 => {
                return self.visit_i64(number as i64);
            }
            _ => return Err(E::invalid_type(serde::de::Unexpected::Float(number), &self)),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, string: &str) -> Result<(), E> {
        if self.kind != Kind::String {
            return Err(E::invalid_type(serde::de::Unexpected::Str(string), &self));
        }
        match self.encoder.strings {
            Strings::Utf8 => {
                varint::put(self.encoder.out, string.len() as u64);
                self.encoder.out.put_slice(string.as_bytes());
            }
            Strings::Surrogates => {
                let start = self.encoder.out.len();
                text::put_surrogates(self.encoder.out, string);
                self.encoder.insert_length(start, self.encoder.out.len() - start);
            }
        }
        Ok(())
    }
}
