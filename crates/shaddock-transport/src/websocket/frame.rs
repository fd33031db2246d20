//! The head of a frame: two bytes, a longer length if need be, a mask if it comes from a client.

use bytes::{BufMut, BytesMut};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    /// Control frames may come between the frames of a message.
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

impl TryFrom<u8> for Opcode {
    type Error = Violation;

    fn try_from(code: u8) -> Result<Opcode, Violation> {
        Ok(match code {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation::ReservedOpcode(code)),
        })
    }
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last frame of its message.
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    /// Bytes of payload. As claimed: nothing is reserved for it.
    pub(crate) len: u64,
}

impl Head {
    /// The longest a head can be.
    pub(crate) const MAX: usize = 14;

    /// Reads the head at the front of `bytes` and says how long it is; `None` when more is needed.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Head, usize)>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::try_from(first & 0x0f)?;
        let (len, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from(u16::from_be_bytes(len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((&len, rest)) => (u64::from_be_bytes(len), rest),
                None => return Ok(None),
            },
            len => (u64::from(len), rest),
        };
        if len >> 63 != 0 {
            return Err(Violation::Length);
        }
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => match rest.split_first_chunk() {
                Some((&mask, rest)) => (Some(mask), rest),
                None => return Ok(None),
            },
        };
        let head = Head { fin: first & 0x80 != 0, opcode, mask, len };
        Ok(Some((head, bytes.len() - rest.len())))
    }

    /// Writes the head in its shortest form.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.fin) << 7 | self.opcode as u8);
        let masked = u8::from(self.mask.is_some()) << 7;
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len @ ..126), _) => out.put_u8(masked | len),
            (_, Ok(len)) => {
                out.put_u8(masked | 126);
                out.put_u16(len);
            }
            _ => {
                out.put_u8(masked | 127);
                out.put_u64(self.len);
            }
        }
        if let Some(mask) = self.mask {
            out.put_slice(&mask);
        }
    }
}

/// How a peer's frames break the rules of WebSocket. The connection can't go on after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A client must mask its frames.
    #[error("a client's frame is not masked")]
    Unmasked,
    /// A server must not mask its frames.
    #[error("a server's frame is masked")]
    Masked,
    /// Bits for extensions, of which none was agreed.
    #[error("a frame has reserved bits set")]
    ReservedBits,
    /// No frame has this opcode.
    #[error("no frame has opcode {0}")]
    ReservedOpcode(u8),
    /// The length needs more than 63 bits.
    #[error("a frame's length has its highest bit set")]
    Length,
    /// A ping, pong or close with more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A ping, pong or close in pieces.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A continuation where no message is open.
    #[error("a continuation of no message")]
    NothingToContinue,
    /// A new message inside a fragmented one.
    #[error("a message begins inside another one")]
    Interleaved,
    /// A message that is longer than those this wire takes.
    #[error("a message is too long")]
    LongMessage,
    /// A close with a code that must not be sent, or half a code.
    #[error("a close frame has no valid code")]
    CloseCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(len: u64, mask: Option<[u8; 4]>) -> Head {
        Head { fin: true, opcode: Opcode::Binary, mask, len }
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, size) in
            [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (u64::MAX >> 1, 10)]
        {
            let mut out = BytesMut::new();
            head(len, None).encode(&mut out);
            assert_eq!(out.len(), size, "length {len}");
            assert_eq!(Head::decode(&out), Ok(Some((head(len, None), size))));
        }
    }

    #[test]
    fn a_head_waits_until_it_is_whole() {
        for len in [5, 300, 70_000] {
            let mut out = BytesMut::new();
            let whole = head(len, Some([1, 2, 3, 4]));
            whole.encode(&mut out);
            for cut in 0..out.len() {
                assert_eq!(Head::decode(&out[..cut]), Ok(None), "length {len}, cut at {cut}");
            }
            assert_eq!(Head::decode(&out), Ok(Some((whole, out.len()))));
        }
    }

    #[test]
    fn bits_opcodes_and_lengths_that_must_not_be_are_refused() {
        assert_eq!(Head::decode(&[0xc2, 0]), Err(Violation::ReservedBits));
        assert_eq!(Head::decode(&[0x92, 0]), Err(Violation::ReservedBits));
        assert_eq!(Head::decode(&[0x83, 0]), Err(Violation::ReservedOpcode(3)));
        assert_eq!(Head::decode(&[0x8f, 0]), Err(Violation::ReservedOpcode(15)));
        assert_eq!(Head::decode(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Violation::Length));
    }
}
