//! Packets as the server sends them.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};

use super::packet::{
    CONNECT, DUP, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, PacketError, Publish, RETAIN,
    SUBSCRIBE, UNSUBSCRIBE,
};

/// What answers a packet with no more than its id.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Answer {
    Published = PUBACK << 4,
    Received = PUBREC << 4,
    Release = PUBREL << 4 | 0b0010,
    Complete = PUBCOMP << 4,
    Unsubscribed = (UNSUBSCRIBE + 1) << 4,
}

/// PINGRESP.
pub(super) const PONG: [u8; 2] = [(PINGREQ + 1) << 4, 0];

/// CONNACK: 0 lets the client in.
pub(super) fn connack(code: u8) -> [u8; 4] {
    [(CONNECT + 1) << 4, 2, 0, code]
}

pub(super) fn put_answer(out: &mut BytesMut, answer: Answer, id: NonZeroU16) {
    out.put_slice(&[answer as u8, 2]);
    out.put_u16(id.get());
}

/// SUBACK: what is granted for each topic.
pub(super) fn put_granted(
    out: &mut BytesMut,
    id: NonZeroU16,
    granted: &[u8],
) -> Result<(), PacketError> {
    out.put_u8((SUBSCRIBE + 1) << 4);
    put_len(out, 2 + granted.len())?;
    out.put_u16(id.get());
    out.put_slice(granted);
    Ok(())
}

/// PUBLISH.
pub(super) fn put_publish(out: &mut BytesMut, publish: &Publish) -> Result<(), PacketError> {
    let Publish { topic, payload, qos, retain, dup } = publish;
    let flags = if *retain { RETAIN } else { 0 } | if *dup { DUP } else { 0 };
    let topic_len = u16::try_from(topic.len())
        .map_err(|_| PacketError::TooLong { len: topic.len(), limit: u16::MAX.into() })?;
    let id = qos.id();
    out.put_u8(PUBLISH << 4 | flags | qos.number() << 1);
    put_len(out, 2 + topic.len() + 2 * usize::from(id.is_some()) + payload.len())?;
    out.put_u16(topic_len);
    out.put_slice(topic.as_bytes());
    if let Some(id) = id {
        out.put_u16(id.get());
    }
    out.put_slice(payload);
    Ok(())
}

/// Seven bits a byte, the lowest first, the highest bit set on all but the last of four at most.
fn put_len(out: &mut BytesMut, len: usize) -> Result<(), PacketError> {
    let limit = (1 << 28) - 1;
    if limit < len {
        return Err(PacketError::TooLong { len, limit });
    }
    let mut rest = len;
    while 0x80 <= rest {
        out.put_u8(0x80 | rest.to_le_bytes()[0]);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
    Ok(())
}
