//! Text as clients write it, and as they can read it.
//!
//! Browsers running pomelo's client write a character above U+FFFF as two surrogates of three
//! bytes each, and misread four-byte UTF-8. Inside the server, text is UTF-8; here is the border.

use std::borrow::Cow;
use std::io;

use bytes::{BufMut, Bytes};
use bytestring::ByteString;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::ser::{CompactFormatter, Formatter};

/// Writes `value` as JSON that every client reads: characters above U+FFFF as `\uD83D\uDE00`.
///
/// # Errors
///
/// When `value` is nothing that JSON can say, such as a map whose keys are not text.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut json = Vec::with_capacity(128);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut json, Escaping))?;
    Ok(json.into())
}

/// Rewrites characters above U+FFFF in JSON text as `\uD83D\uDE00`.
///
/// Gives back the same bytes if there are none.
pub fn escape(json: Bytes) -> Bytes {
    if !has_wide(&json) {
        return json;
    }
    let mut escaped = Vec::with_capacity(json.len() + 32);
    put_json(&mut escaped, &json);
    escaped.into()
}

/// Reads text from a client: joins separately encoded surrogates, puts U+FFFD for what is no text.
///
/// Gives back the same bytes if there is nothing to repair.
pub fn repair(bytes: Bytes) -> ByteString {
    ByteString::try_from(repaired(bytes)).expect("it is repaired")
}

fn repaired(bytes: Bytes) -> Bytes {
    let text = match lossy(&bytes) {
        Cow::Owned(text) => Some(text),
        Cow::Borrowed(_) => None,
    };
    text.map_or(bytes, Bytes::from)
}

/// As [`repair`], for borrowed bytes.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        let error = match str::from_utf8(rest) {
            Ok(valid) if text.is_empty() && rest.len() == bytes.len() => return valid.into(),
            Ok(valid) => return (text + valid).into(),
            Err(error) => error,
        };
        let (valid, broken) = rest.split_at(error.valid_up_to());
        text.push_str(str::from_utf8(valid).unwrap_or_default());
        if let Some((joined, after)) = surrogates(broken) {
            text.push(joined);
            rest = after;
        } else {
            text.push(char::REPLACEMENT_CHARACTER);
            let skip = error.error_len().unwrap_or(broken.len());
            rest = broken.get(skip..).unwrap_or_default();
        }
    }
}

/// The body of a message as JSON text: what is empty, `null` or not JSON becomes `{}`.
pub fn body(bytes: Bytes) -> Bytes {
    let json = json(bytes);
    let is_said = str::from_utf8(&json).ok().and_then(said).is_some_and(is_json);
    if is_said { json } else { Bytes::from_static(b"{}") }
}

/// Reads the [`body`] of a message from what a client sent, in one pass: to look first whether it is JSON would take
/// 1,300 instructions more for a message of three fields.
///
/// # Errors
///
/// If it is JSON, and no `T`; or `{}` is no `T`, and it is not JSON.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    // As a whole, so that nobody looks at each piece of text in it.
    let Some(text) = str::from_utf8(bytes).ok().and_then(said) else {
        return serde_json::from_str("{}");
    };
    serde_json::from_str(text)
        .or_else(|error| if is_json(text) { Err(error) } else { serde_json::from_str("{}") })
}

/// What there is in a body, if it is not empty or `null`.
fn said(body: &str) -> Option<&str> {
    Some(body).filter(|body| !matches!(body.trim_ascii(), "" | "null"))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// JSON text from the other side, repaired.
pub(crate) fn json(bytes: Bytes) -> Bytes {
    pair_escapes(repaired(bytes))
}

/// Writes JSON text as every client reads it.
pub(crate) fn put_json(out: &mut impl BufMut, json: &[u8]) {
    if has_wide(json) {
        put_escaped(out, &lossy(json), WIDE);
    } else {
        out.put_slice(json);
    }
}

/// Writes JSON text with nothing but ASCII: what is above comes out right however often, and as
/// whatever, it is encoded again on its way.
#[cfg(feature = "socketio")]
pub(crate) fn put_ascii(out: &mut impl BufMut, json: &[u8]) {
    put_escaped(out, &lossy(json), '\u{80}');
}

/// Writes `text` with each character above U+FFFF as two surrogates of three bytes.
pub(crate) fn put_surrogates(out: &mut impl BufMut, text: &str) {
    put_units(out, text, WIDE, |out, unit| {
        let [high, low] = unit.to_be_bytes();
        out.put_u8(0xe0 | high >> 4);
        out.put_u8(0x80 | (high & 0x0f) << 2 | low >> 6);
        out.put_u8(0x80 | low & 0x3f);
    });
}

/// Writes `text` with each character from `least` on as one or two escapes.
fn put_escaped(out: &mut impl BufMut, text: &str, least: char) {
    put_units(out, text, least, |out, unit| out.put_slice(format!("\\u{unit:04X}").as_bytes()));
}

/// The first character that takes two surrogates.
const WIDE: char = '\u{10000}';

/// Writes `text`, and calls `put` for the units of each character from `least` on.
fn put_units<B: BufMut>(out: &mut B, text: &str, least: char, put: impl Fn(&mut B, u16)) {
    let mut rest = text;
    while let Some((at, wide)) = rest.char_indices().find(|(_, c)| least <= *c) {
        let (before, after) = rest.split_at(at);
        out.put_slice(before.as_bytes());
        for unit in wide.encode_utf16(&mut [0; 2]) {
            put(out, *unit);
        }
        rest = &after[wide.len_utf8()..];
    }
    out.put_slice(rest.as_bytes());
}

/// Whether there are characters above U+FFFF.
fn has_wide(text: &[u8]) -> bool {
    // Without a way out of the loop it runs over many bytes at a time.
    0xf0 <= text.iter().fold(0, |most, byte| most.max(*byte))
}

/// A character made of two surrogates at the front of `bytes`, and what follows it.
fn surrogates(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (&[0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf], rest) =
        bytes.split_first_chunk::<6>()?
    else {
        return None;
    };
    let high = u32::from(a & 0x0f) << 6 | u32::from(b & 0x3f);
    let low = u32::from(c & 0x0f) << 6 | u32::from(d & 0x3f);
    Some((char::from_u32(0x1_0000 + (high << 10 | low))?, rest))
}

/// Puts U+FFFD for `\uD83D` without its second half, as an input cut in two leaves it, for which
/// the whole text would else be refused.
fn pair_escapes(json: Bytes) -> Bytes {
    if !json.contains(&b'\\') {
        return json;
    }
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|&byte| byte == b'\\') {
        at += found;
        match (unit(&json[at..]), json.get(at + 6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                lone.push(at);
                at += 6;
            }
            (Some(_), _) => at += 6,
            // Another escape, such as `\"`: two bytes, if the text does not end here.
            (None, _) => at = json.len().min(at + 2),
        }
    }
    if lone.is_empty() {
        return json;
    }
    let mut json = Vec::from(json);
    for at in lone {
        json[at + 2..at + 6].copy_from_slice(b"fffd");
    }
    json.into()
}

/// The UTF-16 unit of an escape at the front of `json`.
fn unit(json: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = json.first_chunk::<6>()? else {
        return None;
    };
    digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// JSON as short as it gets, with characters above U+FFFF escaped.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !has_wide(fragment.as_bytes()) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut escaped = Vec::with_capacity(fragment.len() + 32);
        put_escaped(&mut escaped, fragment, WIDE);
        writer.write_all(&escaped)
    }
}
