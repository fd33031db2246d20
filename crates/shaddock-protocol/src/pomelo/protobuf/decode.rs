//! Protobuf to JSON text.

use std::io::Write as _;

use bytes::Bytes;

use super::definition::Rule;
use super::encode::MAX_DEPTH;
use super::schema::{Field, Kind, Message, Schema, Schemas, Seen};
use super::varint;
use crate::text;

/// Why a protobuf body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// Nothing can be skipped, since wire types can't be trusted.
    #[error("no field has tag {0}")]
    UnknownTag(u64),
    /// A number, or what a length or a count announced, is not all there.
    #[error("the body ends inside {field}")]
    Short {
        /// The field, or `a tag`.
        field: String,
    },
    /// Messages in messages in messages.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

impl Schema<'_> {
    /// Reads a body as JSON. Members are in the order in which they came.
    ///
    /// Surrogates are joined; what JSON has no number for, such as `NaN`, becomes `null`.
    ///
    /// # Errors
    ///
    /// When a tag is unknown or the bytes end too early.
    pub fn decode(&self, body: &[u8]) -> Result<Bytes, ProtobufError> {
        let mut out = Vec::with_capacity(2 * body.len() + 16);
        Decoder { all: self.all, out: &mut out, depth: 0 }.message(self.message, body)?;
        Ok(out.into())
    }
}

struct Decoder<'a> {
    all: &'a Schemas,
    out: &'a mut Vec<u8>,
    depth: usize,
}

impl Decoder<'_> {
    /// Writes the message in `body`, which it fills.
    ///
    /// Elements of one array may be apart, and the last of several values counts: so where each
    /// value is gets noted first, and written afterwards.
    fn message(&mut self, message: &Message, body: &[u8]) -> Result<(), ProtobufError> {
        if MAX_DEPTH < self.depth {
            return Err(ProtobufError::TooDeep);
        }
        self.depth += 1;
        let mut values = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let tag = varint::take(&mut rest).ok_or_else(|| short("a tag"))? >> 3;
            let field = message.by_tag(tag).ok_or(ProtobufError::UnknownTag(tag))?;
            let value = take_value(&message.fields[field], &mut rest)
                .ok_or_else(|| short(&message.fields[field].name))?;
            values.push((field, value));
        }
        self.out.push(b'{');
        let mut seen = Seen::none_of(message);
        for (at, &(index, value)) in values.iter().enumerate() {
            if !seen.insert(index) {
                continue;
            }
            let field = &message.fields[index];
            if at != 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(field.json.as_bytes());
            let mut all =
                values[at..].iter().filter(|(of, _)| *of == index).map(|(_, value)| *value);
            if field.rule == Rule::Repeated {
                self.array(field, all)?;
            } else {
                let mut last = all.next_back().unwrap_or(value);
                self.value(field, &mut last)?;
            }
        }
        self.out.push(b'}');
        self.depth -= 1;
        Ok(())
    }

    fn array<'b>(
        &mut self,
        field: &Field,
        values: impl Iterator<Item = &'b [u8]>,
    ) -> Result<(), ProtobufError> {
        self.out.push(b'[');
        let start = self.out.len();
        for mut elements in values {
            if field.kind.is_number() {
                while !elements.is_empty() {
                    self.element(field, start, &mut elements)?;
                }
            } else {
                self.element(field, start, &mut elements)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes an element of the array whose elements start at `start`.
    fn element(
        &mut self,
        field: &Field,
        start: usize,
        bytes: &mut &[u8],
    ) -> Result<(), ProtobufError> {
        if start < self.out.len() {
            self.out.push(b',');
        }
        self.value(field, bytes)
    }

    /// Writes one value: of numbers the first of `bytes`, of strings and messages all of it.
    fn value(&mut self, field: &Field, bytes: &mut &[u8]) -> Result<(), ProtobufError> {
        let cut = || short(&field.name);
        match field.kind {
            Kind::UInt => {
                let number = varint::take(bytes).ok_or_else(cut)?;
                match i64::try_from(number) {
                    Ok(number) => self.integer(number),
                    Err(_) => self.number(number as f64),
                }
            }
            Kind::SInt => {
                let zigzag = varint::take(bytes).ok_or_else(cut)?;
                self.integer((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
            Kind::Float => {
                let (first, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
                *bytes = rest;
                self.number(f32::from_le_bytes(*first).into());
            }
            Kind::Double => {
                let (first, rest) = bytes.split_first_chunk().ok_or_else(cut)?;
                *bytes = rest;
                self.number(f64::from_le_bytes(*first));
            }
            Kind::String => {
                serde_json::to_writer(&mut *self.out, &*text::lossy(bytes)).expect("text is JSON");
            }
            Kind::Message(index) => self.message(self.all.message(index), bytes)?,
        }
        Ok(())
    }

    fn integer(&mut self, number: i64) {
        // What a client can't tell apart is printed as a client would.
        if 1 << 53 < number.unsigned_abs() {
            return self.number(number as f64);
        }
        write!(self.out, "{number}").expect("memory takes everything");
    }

    /// Writes a number as JavaScript does: 160, not 160.0.
    fn number(&mut self, number: f64) {
        let written = match number.abs() {
            _ if !number.is_finite() => write!(self.out, "null"),
            0.0 | 1e-6..1e21 => write!(self.out, "{number}"),
            _ => write!(self.out, "{number:e}"),
        };
        written.expect("memory takes everything");
    }
}

impl Kind {
    fn is_number(self) -> bool {
        !matches!(self, Self::String | Self::Message(_))
    }
}

/// Takes a value off the front of `bytes`, or a counted array of numbers, without its length or
/// count, if it's all there.
fn take_value<'b>(field: &Field, bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = match field.kind {
        Kind::String | Kind::Message(_) => usize::try_from(varint::take(bytes)?).ok()?,
        kind => {
            let count = match field.rule {
                Rule::Repeated => usize::try_from(varint::take(bytes)?).ok()?,
                Rule::Required | Rule::Optional => 1,
            };
            match kind {
                Kind::Float => count.checked_mul(4)?,
                Kind::Double => count.checked_mul(8)?,
                _ => {
                    let mut rest = *bytes;
                    for _ in 0..count {
                        varint::take(&mut rest)?;
                    }
                    bytes.len() - rest.len()
                }
            }
        }
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

fn short(field: &str) -> ProtobufError {
    ProtobufError::Short { field: field.to_owned() }
}
