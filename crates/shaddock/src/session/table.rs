//! The sessions of one front-end, by id and by uid.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustc_hash::FxHashMap;

use super::record::Record;
use crate::ids::{SessionId, Uid};

/// Every session of one front-end. Hands out clones, never guards.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    maps: RwLock<Maps>,
}

#[derive(Debug, Default)]
struct Maps {
    by_id: FxHashMap<SessionId, Arc<Record>>,
    by_uid: FxHashMap<Uid, Vec<SessionId>>,
}

impl SessionTable {
    pub(crate) fn insert(&self, record: Arc<Record>) {
        self.write().by_id.insert(record.id, record);
    }

    pub(crate) fn remove(&self, id: SessionId) {
        self.write().by_id.remove(&id);
    }

    pub(crate) fn bind(&self, uid: Uid, id: SessionId) {
        self.write().by_uid.entry(uid).or_default().push(id);
    }

    pub(crate) fn unbind(&self, uid: &Uid, id: SessionId) {
        let mut maps = self.write();
        if let Some(ids) = maps.by_uid.get_mut(uid) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                maps.by_uid.remove(uid);
            }
        }
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<Arc<Record>> {
        self.read().by_id.get(&id).cloned()
    }

    pub(crate) fn of_uid(&self, uid: &str) -> Vec<Arc<Record>> {
        let maps = self.read();
        let ids = maps.by_uid.get(uid).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| maps.by_id.get(id).cloned()).collect()
    }

    /// Those of `members` that are not here, or have another uid.
    pub(crate) fn ended(&self, members: &[(SessionId, Uid)]) -> Vec<SessionId> {
        let maps = self.read();
        let is_here = |(id, uid): &(SessionId, Uid)| {
            maps.by_id.contains_key(id) && maps.by_uid.get(uid).is_some_and(|ids| ids.contains(id))
        };
        members.iter().filter(|member| !is_here(member)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        self.read().by_id.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.read().by_id.len()
    }

    /// How many uids sessions are bound to.
    pub(crate) fn count_uids(&self) -> usize {
        self.read().by_uid.len()
    }

    /// Calls `visit` with each of `ids` that is here, under one lock: it must be quick.
    pub(crate) fn visit(
        &self,
        ids: impl Iterator<Item = SessionId>,
        mut visit: impl FnMut(&Record),
    ) {
        let maps = self.read();
        for id in ids {
            if let Some(record) = maps.by_id.get(&id) {
                visit(record);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
