//! Numbers of seven bits a byte, the lowest first.

use bytes::BufMut;

/// The most bytes of 64 bits.
pub(super) const MAX: usize = 10;

pub(super) fn put(out: &mut impl BufMut, number: u64) {
    let mut rest = number;
    while 0x80 <= rest {
        out.put_u8(0x80 | rest.to_le_bytes()[0]);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

/// Takes a number off the front of `bytes`, unless it ends too early or is wider than 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for (index, &byte) in bytes.iter().take(MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * index);
        if shifted >> (7 * index) != bits {
            return None;
        }
        number |= shifted;
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(number);
        }
    }
    None
}
