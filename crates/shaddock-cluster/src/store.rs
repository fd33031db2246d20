//! A few values that all servers share.

use std::fmt;

use bytes::Bytes;

use crate::engine::{BoxFuture, EngineError, Feed};
use crate::ids::NameError;

/// Keys and values that all servers of an engine share, changed only by who knows their state.
///
/// Every change gives its key a revision greater than all before in this store, so that a revision
/// serves as a fencing token: who acts on a greater one came later. Keys are one to 512 of
/// `A-Z a-z 0-9 _ - =`.
///
/// For unique names there is [`Directory`](crate::Directory).
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Sets a key that has no value. Of many who try, one succeeds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when it has one.
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// Sets a key whose value has this revision, and returns the new one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when it has another, or no value.
    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The newest value of a key.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// Takes away the value of a key that has this revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when it has another, or no value.
    fn delete<'a>(&'a self, key: &'a str, revision: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// What is in the store now, then every change, in order for each key.
    ///
    /// The feed ends when the watcher falls too far behind, or loses the store: watch again.
    ///
    /// # Errors
    ///
    /// When the store can't be asked.
    fn watch(&self) -> BoxFuture<'_, Result<Watch, StoreError>>;
}

/// A value and when it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Its fencing token.
    pub revision: u64,
}

/// What happens in a store, for one who watches.
pub type Watch = Feed<Change>;

/// A key got another value, or lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: String,
    /// The new value; `None` when it was deleted.
    pub value: Option<Bytes>,
    /// The revision of this change.
    pub revision: u64,
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another was faster: the key is not in the state that was named.
    #[error("the key has another value by now")]
    Conflict,
    /// The store did not answer. What was asked may have been done or not.
    #[error("the store can't be reached")]
    Unreachable(#[source] Option<EngineError>),
    /// A store can't be called that.
    #[error("not a name for a store")]
    BadName(#[source] NameError),
    /// A key can't be that.
    #[error("not a key: one to 512 of A-Z, a-z, 0-9, _, - and = are")]
    BadKey,
    /// The value is larger than the engine carries.
    #[error("a value of {len} bytes, where {limit} are allowed")]
    TooLarge {
        /// What it has.
        len: usize,
        /// What it may have.
        limit: usize,
    },
}

/// The rule for keys, for those who write a store.
///
/// # Errors
///
/// [`StoreError::BadKey`].
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=');
    if key.is_empty() || 512 < key.len() || !key.bytes().all(fine) {
        return Err(StoreError::BadKey);
    }
    Ok(())
}
