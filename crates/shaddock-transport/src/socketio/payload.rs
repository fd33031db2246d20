//! The packets in the bodies of polls and posts, one behind the other.

use std::{borrow::Cow, fmt::Write as _};

use super::packet::SocketIoViolation;

/// The packets of a post, taken off one by one.
#[derive(Debug)]
pub(super) struct Payload {
    body: Vec<u8>,
    at: usize,
    form: Form,
}

/// How a client writes payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `6:4hello`: the length in units of UTF-16, decimal.
    Text,
    /// What browsers with XMLHttpRequest 2 may send: a kind, the length as decimal digits from 0 to 9, 255.
    Binary,
}

impl Payload {
    pub(super) fn new(body: Vec<u8>, form: Form) -> Payload {
        Payload { body, at: 0, form }
    }

    /// The next packet; `None` behind the last one.
    pub(super) fn next(&mut self) -> Option<Result<String, SocketIoViolation>> {
        loop {
            let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
            let (packet, used) = match self.form {
                Form::Text => text(rest),
                Form::Binary => binary(rest),
            }
            .unwrap_or((Some(Err(SocketIoViolation::Payload)), rest.len()));
            self.at += used;
            if packet.is_some() {
                return packet;
            }
        }
    }
}

/// A packet, or `None` for one to pass over, and how much of the body it takes up.
type Taken = (Option<Result<String, SocketIoViolation>>, usize);

fn text(rest: &[u8]) -> Option<Taken> {
    let colon = rest.iter().take(DIGITS + 1).position(|byte| *byte == b':')?;
    let (digits, packet) = (rest.get(..colon)?, rest.get(colon + 1..)?);
    let units: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    let len = units_to_bytes(packet, units)?;
    let packet = str::from_utf8(packet.get(..len)?).ok()?;
    let taken = (!packet.is_empty()).then(|| Ok(decoded_once(packet).into_owned()));
    Some((taken, colon + 1 + len))
}

fn binary(rest: &[u8]) -> Option<Taken> {
    let (&kind, rest) = rest.split_first()?;
    let end = rest.iter().take(DIGITS + 1).position(|byte| *byte == 255)?;
    let mut len = 0;
    for digit in rest.get(..end)? {
        len = len * 10 + Some(usize::from(*digit)).filter(|digit| *digit < 10)?;
    }
    let packet = rest.get(end + 1..)?.get(..len)?;
    // Binary packets carry nothing for us.
    let taken = (kind == 0).then(|| match str::from_utf8(packet) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(SocketIoViolation::NoText),
    });
    Some((taken, 1 + end + 1 + len))
}

/// As many digits as a length has.
const DIGITS: usize = 8;

/// How many bytes of UTF-8 begin `bytes` for that many units of UTF-16.
fn units_to_bytes(bytes: &[u8], units: usize) -> Option<usize> {
    let mut left = units;
    for (at, byte) in bytes.iter().enumerate() {
        let is_within_a_char = byte & 0xc0 == 0x80;
        if left == 0 && !is_within_a_char {
            return Some(at);
        }
        if !is_within_a_char {
            left = left.checked_sub(if *byte < 0xf0 { 1 } else { 2 })?;
        }
    }
    (left == 0).then_some(bytes.len())
}

/// What a client of the 1.x line meant: it takes each byte of UTF-8 for a character, and encodes those.
fn decoded_once(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|char| u8::try_from(char).ok()).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => text.into(),
        _ => text.into(),
    }
}

/// Adds a packet to the answer of a poll.
pub(super) fn put(out: &mut String, packet: &str) {
    let units = packet.encode_utf16().count();
    let _ = write!(out, "{units}:{packet}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &[u8], form: Form) -> Result<Vec<String>, SocketIoViolation> {
        let mut payload = Payload::new(body.to_vec(), form);
        std::iter::from_fn(|| payload.next()).collect()
    }

    #[test]
    fn packets_are_as_long_as_they_say() {
        let text = |body: &str| all(body.as_bytes(), Form::Text);
        let owned = |packets: &[&str]| Ok(packets.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(text("1:26:4hello"), owned(&["2", "4hello"]));
        assert_eq!(text("0:"), owned(&[]));
        assert_eq!(text("5:4二😀x1:2"), owned(&["4二😀x", "2"]));
        // As clients of the 1.x line write it.
        assert_eq!(text("5:4Ã©\u{80}"), Err(SocketIoViolation::Payload));
        assert_eq!(text("3:4Ã©1:2"), owned(&["4é", "2"]));
        assert_eq!(text("8:4ð\u{9f}\u{98}\u{80}äº\u{8c}"), owned(&["4😀二"]));
        for broken in ["x", "1", ":", "1:", "3:ab", "2:a😀", "-1:a", "99999999999:a", "1 :a"] {
            assert_eq!(text(broken), Err(SocketIoViolation::Payload), "{broken}");
        }
    }

    #[test]
    fn binary_payloads_are_read_too() {
        let body = [&b"\0\x01\xff2\x01\x02\xff\x04\x09\0\x01\0\xff"[..], "4hällöwe".as_bytes()];
        let body = body.concat();
        assert_eq!(all(&body, Form::Binary), Ok(vec!["2".to_owned(), "4hällöwe".to_owned()]));
        for broken in [&b"\0"[..], b"\0\x01", b"\0\x01\xff", b"\0\x0b\xff2", b"\0\x01\xff\xff"] {
            assert!(all(broken, Form::Binary).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_taken(packets in prop::collection::vec("[ -~]{1,20}", 0..10)) {
            let mut out = String::new();
            for packet in &packets {
                put(&mut out, packet);
            }
            prop_assert_eq!(all(out.as_bytes(), Form::Text), Ok(packets));
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..60), is_text in any::<bool>()) {
            let form = if is_text { Form::Text } else { Form::Binary };
            let _ = all(&body, form);
        }
    }
}
