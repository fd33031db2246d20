//! Which sessions of one front-end are in which groups.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use crate::ids::SessionId;

/// How many groups a session may be in.
pub(crate) const GROUPS: usize = 1024;

/// Who is in which group. Sessions leave all of theirs when they end, so it is bounded by what they may be in.
///
/// Those whose time is over are let go of when somebody looks: there is no timer.
#[derive(Debug, Default)]
pub(crate) struct Memberships(Mutex<Maps>);

#[derive(Debug, Default)]
struct Maps {
    members: FxHashMap<Arc<str>, FxHashMap<SessionId, Term>>,
    groups: FxHashMap<SessionId, FxHashSet<Arc<str>>>,
}

/// Until when somebody is in.
pub(crate) type Term = Option<Instant>;

/// A session is in as many groups as it may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Memberships {
    pub(crate) fn join(&self, group: &str, session: SessionId, term: Term) -> Result<(), TooMany> {
        let mut maps = self.lock();
        if maps.groups.get(&session).is_some_and(|groups| GROUPS <= groups.len()) {
            maps.let_go_of(session);
        }
        let name = maps.members.get_key_value(group).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| group.into());
        let groups = maps.groups.entry(session).or_default();
        if GROUPS <= groups.len() && !groups.contains(&name) {
            return Err(TooMany);
        }
        groups.insert(name.clone());
        maps.members.entry(name).or_default().insert(session, term);
        Ok(())
    }

    pub(crate) fn leave(&self, group: &str, session: SessionId) {
        self.lock().remove(group, session);
    }

    /// A session has ended.
    pub(crate) fn forget(&self, session: SessionId) {
        let mut maps = self.lock();
        for group in maps.groups.remove(&session).unwrap_or_default() {
            maps.remove(&group, session);
        }
    }

    /// Everybody leaves.
    pub(crate) fn destroy(&self, group: &str) {
        let mut maps = self.lock();
        for session in maps.members.remove(group).unwrap_or_default().into_keys() {
            maps.remove(group, session);
        }
    }

    /// Who is in.
    pub(crate) fn members(&self, group: &str) -> Vec<SessionId> {
        let mut maps = self.lock();
        maps.present(group).map_or_else(Vec::new, |members| members.keys().copied().collect())
    }

    /// How many are in.
    pub(crate) fn count(&self, group: &str) -> usize {
        self.lock().present(group).map_or(0, FxHashMap::len)
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    /// Those in a group, when all whose time is over have been let go of.
    fn present(&mut self, group: &str) -> Option<&FxHashMap<SessionId, Term>> {
        let now = Instant::now();
        let Maps { members, groups } = self;
        members.get_mut(group)?.retain(|session, term| {
            let stays = term.is_none_or(|term| now < term);
            if !stays && let Some(own) = groups.get_mut(session) {
                own.remove(group);
                if own.is_empty() {
                    groups.remove(session);
                }
            }
            stays
        });
        if members.get(group)?.is_empty() {
            members.remove(group);
        }
        members.get(group)
    }

    fn remove(&mut self, group: &str, session: SessionId) {
        if let Some(members) = self.members.get_mut(group) {
            members.remove(&session);
            if members.is_empty() {
                self.members.remove(group);
            }
        }
        if let Some(groups) = self.groups.get_mut(&session) {
            groups.remove(group);
            if groups.is_empty() {
                self.groups.remove(&session);
            }
        }
    }

    /// Takes a session out of the groups in which its time is over.
    fn let_go_of(&mut self, session: SessionId) {
        let now = Instant::now();
        let is_over = |group: &&Arc<str>| {
            let term = self.members.get(*group).and_then(|members| members.get(&session));
            term.is_none_or(|term| term.is_some_and(|term| term <= now))
        };
        let groups = self.groups.get(&session).into_iter().flatten();
        let over: Vec<_> = groups.filter(is_over).cloned().collect();
        over.iter().for_each(|group| self.remove(group, session));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, advance};

    use super::*;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    #[test]
    fn nothing_is_left_of_those_who_left() {
        let groups = Memberships::default();
        for session in [A, B] {
            groups.join("red", session, None).unwrap();
            groups.join("blue", session, None).unwrap();
        }
        groups.leave("red", A);
        assert_eq!(groups.members("red"), [B]);
        groups.forget(B);
        assert_eq!((groups.members("red"), groups.members("blue")), (vec![], vec![A]));
        groups.destroy("blue");
        let maps = groups.lock();
        assert!(maps.members.is_empty() && maps.groups.is_empty(), "{maps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_in_a_bounded_number_of_groups_and_those_that_are_over_do_not_count() {
        let groups = Memberships::default();
        let soon = Some(Instant::now() + Duration::from_secs(1));
        groups.join("short", A, soon).unwrap();
        for n in 1..GROUPS {
            groups.join(&n.to_string(), A, None).unwrap();
        }
        assert_eq!(groups.join("more", A, None), Err(TooMany));
        groups.join("1", A, None).unwrap();
        advance(Duration::from_secs(1)).await;
        groups.join("more", A, None).unwrap();
        assert_eq!(groups.join("short", A, None), Err(TooMany));
        assert!(groups.members("short").is_empty());
    }
}
