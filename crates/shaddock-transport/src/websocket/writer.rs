//! Bytes from frames.

use std::hash::{BuildHasher, RandomState};

use bytes::{BufMut, BytesMut};

use super::{
    Role,
    frame::{Head, Opcode},
    mask,
};

/// Puts frames into a write buffer.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    /// A client's masks come from here, zero in a server.
    seed: u64,
    /// The close frame is written: nothing may follow.
    closed: bool,
}

impl FrameWriter {
    pub(crate) fn new(role: Role) -> FrameWriter {
        let seed = match role {
            Role::Client => RandomState::new().hash_one(0) | 1,
            Role::Server => 0,
        };
        FrameWriter { seed, closed: false }
    }

    /// Writes one whole frame.
    pub(crate) fn write(&mut self, opcode: Opcode, payload: &[u8], out: &mut BytesMut) {
        if self.closed {
            return;
        }
        let mask = self.mask();
        out.reserve(Head::MAX + payload.len());
        Head { fin: true, opcode, mask, len: payload.len() as u64 }.encode(out);
        let start = out.len();
        out.put_slice(payload);
        if let Some(mut mask) = mask {
            mask::apply(&mut mask, &mut out[start..]);
        }
    }

    /// Writes a close frame; only the first one counts.
    pub(crate) fn close(&mut self, code: u16, out: &mut BytesMut) {
        self.write(Opcode::Close, &code.to_be_bytes(), out);
        self.closed = true;
    }

    /// The next mask. It keeps scripts from choosing what a proxy sees; we run none, so a xorshift will do.
    fn mask(&mut self) -> Option<[u8; 4]> {
        if self.seed == 0 {
            return None;
        }
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let [a, b, c, d, ..] = self.seed.to_be_bytes();
        Some([a, b, c, d])
    }
}
