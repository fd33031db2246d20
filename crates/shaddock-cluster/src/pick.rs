//! Key to server: rendezvous hashing, with a hash that is written down.
//!
//! Every server gets a weight for the key, and the greatest wins. When a server goes, only its keys move,
//! and they spread over all the others; when one comes, it takes its share and nothing else moves.

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
