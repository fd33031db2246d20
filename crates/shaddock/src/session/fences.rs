//! Which sessions were replaced: the newest claim that was seen on each uid.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

/// How many uids are remembered at least; twice as many at most, of 16 bytes each.
const REMEMBERED: usize = 65_536;

/// Refuses what a session says in the name of a uid that another session has claimed since.
///
/// A front-end that was cut off does not know which of its sessions have lost their uid; it will in a moment.
/// This keeps them from doing anything until then. Uids of long ago are forgotten.
#[derive(Default)]
pub(crate) struct Fences {
    /// The revisions seen lately and those seen before, by a hash that clients can't foresee.
    seen: Mutex<[FxHashMap<u64, u64>; 2]>,
    hasher: RandomState,
}

impl Fences {
    /// Whether no newer claim on `uid` was seen here. Without a claim, which is revision 0, nobody is refused.
    pub(crate) fn admit(&self, uid: &str, revision: u64) -> bool {
        if revision == 0 {
            return true;
        }
        let key = self.hasher.hash_one(uid);
        let [lately, before] = &mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lately.get(&key).copied();
        if known == Some(revision) {
            return true;
        }
        if known.or_else(|| before.get(&key).copied()).is_some_and(|newest| revision < newest) {
            return false;
        }
        if REMEMBERED <= lately.len() {
            *before = std::mem::take(lately);
        }
        lately.insert(key, revision);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_claim_is_refused_and_no_claim_is_not() {
        let fences = Fences::default();
        assert!(fences.admit("py", 3) && fences.admit("py", 3) && fences.admit("al", 1));
        assert!(fences.admit("py", 5));
        assert!(!fences.admit("py", 3) && fences.admit("py", 0) && fences.admit("py", 5));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let fences = Fences::default();
        for number in 0..5 * REMEMBERED {
            assert!(fences.admit(&number.to_string(), 7));
        }
        let seen = fences.seen.lock().unwrap();
        assert!(seen.iter().all(|seen| seen.len() <= REMEMBERED));
    }
}
