//! How pomelo's gate spreads users over connectors.

use std::num::NonZeroUsize;

/// Which of `n` servers pomelo gives `key` to, so that old and new gates agree.
///
/// The checksum is CRC-32 over the low byte of each UTF-16 unit, taken as a signed number and
/// made positive.
///
/// # Examples
///
/// ```
/// # use shaddock_protocol::crc32_index;
/// assert_eq!(crc32_index("a", 3.try_into()?), 1);
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
pub fn crc32_index(key: &str, n: NonZeroUsize) -> usize {
    let crc = key.encode_utf16().fold(u32::MAX, |crc, unit| {
        let [low, _] = unit.to_le_bytes();
        (0..8).fold(crc ^ u32::from(low), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    });
    let sum = (!crc).cast_signed().unsigned_abs();
    // A 32-bit number fits, except on 16-bit machines, where the remainder is still right.
    usize::try_from(u64::from(sum) % n.get() as u64).unwrap_or(0)
}
