//! The key-value store of the memory engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Duration;

use super::{Hub, MAX_PAYLOAD, Wire};
use crate::engine::{BoxFuture, Source};
use crate::store::{Change, Entry, Store, StoreError, Watch, check_key};

/// How many changes a watcher may be behind, beyond what was there when it came.
const BEHIND: usize = 65_536;

/// How long who asks a store that does not answer waits.
const SILENCE: Duration = Duration::from_secs(15);

/// One store as one connection sees it.
pub(super) struct MemoryStore {
    values: Arc<Values>,
    hub: Arc<Hub>,
    wire: Arc<Wire>,
}

/// What is in one store.
#[derive(Default)]
pub(super) struct Values(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    revision: u64,
    entries: BTreeMap<String, Entry>,
    watchers: Vec<mpsc::Sender<Change>>,
}

impl MemoryStore {
    pub(super) fn new(values: Arc<Values>, hub: Arc<Hub>, wire: Arc<Wire>) -> MemoryStore {
        MemoryStore { values, hub, wire }
    }

    /// Does something to the values as if they were elsewhere: later, and perhaps without an answer.
    async fn ask<T>(
        &self,
        ask: impl FnOnce(&mut Inside) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.wire.has_stores.load(Ordering::Acquire) {
            tokio::time::sleep(SILENCE).await;
            return Err(StoreError::Unreachable(None));
        }
        let mut lost = None;
        if self.hub.rough.load(Ordering::Acquire) {
            let delay = {
                let mut weather = self.hub.weather();
                lost = weather.strikes().then(|| weather.coin());
                weather.delay()
            };
            tokio::time::sleep(delay).await;
        }
        if !self.wire.is_up() || lost == Some(false) {
            return Err(StoreError::Unreachable(None));
        }
        let answer = ask(&mut self.values.inside());
        if lost.is_some() { Err(StoreError::Unreachable(None)) } else { answer }
    }

    /// Sets a key whose entry has this revision, or that has none.
    async fn put(&self, key: &str, value: Bytes, revision: Option<u64>) -> Result<u64, StoreError> {
        check_key(key)?;
        if MAX_PAYLOAD < value.len() {
            return Err(StoreError::TooLarge { len: value.len(), limit: MAX_PAYLOAD });
        }
        self.ask(|inside| {
            if inside.entries.get(key).map(|entry| entry.revision) != revision {
                return Err(StoreError::Conflict);
            }
            Ok(inside.change(key, Some(value)))
        })
        .await
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

impl Store for MemoryStore {
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.put(key, value, None))
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.put(key, value, Some(revision)))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            self.ask(|inside| Ok(inside.entries.get(key).cloned())).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str, revision: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            self.ask(|inside| {
                if inside.entries.get(key).is_none_or(|entry| entry.revision != revision) {
                    return Err(StoreError::Conflict);
                }
                inside.change(key, None);
                Ok(())
            })
            .await
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(self.ask(|inside| {
            let (tx, rx) = mpsc::channel(inside.entries.len() + BEHIND);
            for (key, Entry { value, revision }) in &inside.entries {
                let change =
                    Change { key: key.clone(), value: Some(value.clone()), revision: *revision };
                tx.try_send(change).expect("has room for all");
            }
            inside.watchers.push(tx);
            Ok(Watch::new(Changes(rx)))
        }))
    }
}

/// What a store held at some time.
#[derive(Debug)]
pub(super) struct Kept {
    revision: u64,
    entries: BTreeMap<String, Entry>,
}

impl Values {
    pub(super) fn copy(&self) -> Kept {
        let inside = self.inside();
        Kept { revision: inside.revision, entries: inside.entries.clone() }
    }

    /// One that was not there then was empty.
    pub(super) fn become_what_was(&self, kept: Option<&Kept>) {
        let mut inside = self.inside();
        (inside.revision, inside.entries) =
            kept.map_or_else(Default::default, |kept| (kept.revision, kept.entries.clone()));
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn change(&mut self, key: &str, value: Option<Bytes>) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        match value.clone() {
            Some(value) => self.entries.insert(key.to_owned(), Entry { value, revision }),
            None => self.entries.remove(key),
        };
        let change = Change { key: key.to_owned(), value, revision };
        // One who is too far behind is dropped, which ends its feed.
        self.watchers.retain(|watcher| watcher.try_send(change.clone()).is_ok());
        revision
    }
}

struct Changes(mpsc::Receiver<Change>);

impl Source<Change> for Changes {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}
