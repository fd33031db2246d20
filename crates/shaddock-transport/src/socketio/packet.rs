//! The packets of engine.io 3, with those of socket.io 4 inside its messages, as text.

use std::fmt::Write as _;

use serde_json::value::RawValue;

/// What a client says in one packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// A `message` event with one text.
    Text(String),
    Ping,
    /// A ping over the WebSocket that it may go on with.
    Probe,
    /// It goes on with that WebSocket.
    Upgrade,
    /// It leaves in order.
    Leave,
    /// Other events, acknowledgements, namespaces: not heard, as in pomelo.
    Other,
}

/// What we say that never varies.
pub(super) const CLOSE: &str = "1";
pub(super) const PONG: &str = "3";
pub(super) const PONG_PROBE: &str = "3probe";
pub(super) const NOOP: &str = "6";
/// The client is in the namespace that there is.
pub(super) const CONNECTED: &str = "40";
/// It is put out of it, and does not come back by itself.
pub(super) const DISCONNECTED: &str = "41";

/// How a client's packets break the rules of Socket.IO. Its wire can't go on after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocketIoViolation {
    /// The body of a post is not made of packets.
    #[error("a body is no payload of engine.io")]
    Payload,
    /// A packet has a byte that is no UTF-8.
    #[error("a packet is no text")]
    NoText,
    /// No packet of engine.io begins like this.
    #[error("what came is no packet of engine.io")]
    Packet,
    /// No packet of socket.io begins like this.
    #[error("a message is no packet of socket.io")]
    Message,
    /// An event has no array of JSON.
    #[error("an event has no array of JSON")]
    Event,
}

impl Packet {
    /// Reads a packet.
    pub(super) fn decode(text: &str) -> Result<Packet, SocketIoViolation> {
        match text {
            "1" => return Ok(Packet::Leave),
            "2probe" => return Ok(Packet::Probe),
            "5" => return Ok(Packet::Upgrade),
            _ => {}
        }
        let mut chars = text.chars();
        match chars.next() {
            Some('2') => Ok(Packet::Ping),
            Some('4') => message(chars.as_str()),
            Some('3' | '6' | 'b') => Ok(Packet::Other),
            _ => Err(SocketIoViolation::Packet),
        }
    }
}

/// Reads what is inside a message.
fn message(text: &str) -> Result<Packet, SocketIoViolation> {
    let mut chars = text.chars();
    match chars.next() {
        Some('1') if chars.as_str().is_empty() => Ok(Packet::Leave),
        Some('2') => event(chars.as_str()),
        Some('0' | '1' | '3'..='6') => Ok(Packet::Other),
        _ => Err(SocketIoViolation::Message),
    }
}

/// Reads an event: perhaps a namespace and the number of an acknowledgement, then an array with its name first.
fn event(text: &str) -> Result<Packet, SocketIoViolation> {
    let text = match text.strip_prefix("/,") {
        Some(rest) => rest,
        None if text.starts_with('/') => return Ok(Packet::Other),
        None => text,
    };
    let json = text.trim_start_matches(|char: char| char.is_ascii_digit());
    let Ok(parts) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return Err(SocketIoViolation::Event);
    };
    match parts.as_slice() {
        [name, text, ..] if name.get() == r#""message""# => {
            Ok(serde_json::from_str(text.get()).map_or(Packet::Other, Packet::Text))
        }
        _ => Ok(Packet::Other),
    }
}

/// The first packet a client gets: its session, and how often to ping.
pub(super) fn open(sid: &str, may_upgrade: bool, interval: u128, timeout: u128) -> String {
    let upgrades = if may_upgrade { r#""websocket""# } else { "" };
    format!(
        r#"0{{"sid":"{sid}","upgrades":[{upgrades}],"pingInterval":{interval},"pingTimeout":{timeout}}}"#
    )
}

/// A `message` event with one text, all of it ASCII: clients of the 1.x line decode twice what they poll.
pub(super) fn text(text: &[u8]) -> String {
    let mut out = String::with_capacity(16 + text.len() + text.len() / 4);
    out.push_str(r#"42["message",""#);
    for char in String::from_utf8_lossy(text).chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            ' '..='~' => out.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push_str(r#""]"#);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_say_what_the_client_wants() {
        let text = |text: &str| Ok(Packet::Text(text.to_owned()));
        for (packet, expected) in [
            ("2", Ok(Packet::Ping)),
            ("2probe", Ok(Packet::Probe)),
            ("5", Ok(Packet::Upgrade)),
            ("1", Ok(Packet::Leave)),
            ("41", Ok(Packet::Leave)),
            (r#"42["message","hé 😀\u0000"]"#, text("hé 😀\0")),
            (r#"42/,["message","x"]"#, text("x")),
            (r#"4217["message","x"]"#, text("x")),
            (r#"42["message","x",{}]"#, text("x")),
            (r#"42["message",{}]"#, Ok(Packet::Other)),
            (r#"42["message"]"#, Ok(Packet::Other)),
            (r#"42["other","x"]"#, Ok(Packet::Other)),
            (r#"42/room,["message","x"]"#, Ok(Packet::Other)),
            ("40/room", Ok(Packet::Other)),
            ("41/room", Ok(Packet::Other)),
            ("6", Ok(Packet::Other)),
            ("b4AAAA", Ok(Packet::Other)),
            ("", Err(SocketIoViolation::Packet)),
            ("9", Err(SocketIoViolation::Packet)),
            ("4", Err(SocketIoViolation::Message)),
            ("42", Err(SocketIoViolation::Event)),
            (r#"42["message","#, Err(SocketIoViolation::Event)),
        ] {
            assert_eq!(Packet::decode(packet), expected, "{packet}");
        }
    }

    proptest! {
        #[test]
        fn a_text_goes_out_in_ascii_and_means_the_same(said in any::<String>()) {
            let packet = text(said.as_bytes());
            prop_assert!(packet.is_ascii());
            prop_assert_eq!(Packet::decode(&packet), Ok(Packet::Text(said)));
        }

        #[test]
        fn no_text_panics(said in any::<String>()) {
            let _ = Packet::decode(&said);
        }
    }
}
