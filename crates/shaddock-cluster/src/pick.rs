//! Key to server: rendezvous hashing, with a hash that is written down. And any two servers, by chance.
//!
//! Every server gets a weight for the key, and the greatest wins. When a server goes, only its keys move,
//! and they spread over all the others; when one comes, it takes its share and nothing else moves.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::members::Member;

/// A 64-bit hash that is the same on every machine and in every version: FNV-1a over the bytes, then the
/// finalizer of splitmix64, without which similar keys would stay close.
///
/// # Examples
///
/// ```
/// use shaddock_cluster::hash;
///
/// assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
/// assert_eq!(hash(b"lobby"), 0x9cef_5397_b504_887d);
/// ```
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The weight of a server for a key: `mix(hash(key) ^ hash(id))`.
fn weight(key: u64, id: u64) -> u64 {
    mix(key ^ id)
}

/// The finalizer of splitmix64: each bit of the input changes each bit of the output half of the time.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The member of `members`, sorted by id, that `key` belongs to: the one with the greatest weight for it, of
/// equal ones the last.
#[must_use]
pub fn rendezvous<'a>(members: &'a [Member], key: &[u8]) -> Option<&'a Member> {
    let key = hash(key);
    members.iter().max_by_key(|member| weight(key, member.hash()))
}

/// Draws by chance: the numbers of splitmix64, from a seed on.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(AtomicU64::new(seed))
    }

    /// Two numbers below `count`, which may be the same one. None, if there is none.
    pub(crate) fn throw(&self, count: usize) -> Option<[usize; 2]> {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let count = u64::from(u32::try_from(count).ok().filter(|count| *count != 0)?);
        let drawn = mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP));
        // Each half of its bits is a part of a whole, which `count` is.
        let part = |bits: u64| usize::try_from((bits * count) >> 32).ok();
        Some([part(drawn >> 32)?, part(drawn & 0xffff_ffff)?])
    }
}
