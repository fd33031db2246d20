//! Who has a unique name in the whole cluster: one login for each user, one runner of each job.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::store::{Store, StoreError};

/// Names that one at a time may have, over a [`Store`].
///
/// Names are any text of up to 380 bytes; owners are bytes in which whoever claims says who it is. They should tell apart all who
/// may claim, session and [`Boot`](crate::Boot) included: a claim whose answer got lost is found again by
/// its owner.
///
/// A claim does not end by itself. If its owner died, who finds it takes it over with
/// [`take_over`](Self::take_over), which one of many manages.
///
/// # Examples
///
/// ```
/// # tokio_test::block_on(async {
/// use shaddock_cluster::{ClaimError, Directory, Engine, memory::Memory};
///
/// let logins = Directory::new(Memory::new().store("login").await?);
/// let claim = logins.claim("py", "connector-1/7").await?;
/// assert!(matches!(logins.claim("py", "connector-2/3").await, Err(ClaimError::Taken { .. })));
///
/// logins.release(&claim).await?;
/// assert!(logins.claim("py", "connector-2/3").await.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Directory {
    store: Arc<dyn Store>,
}

/// A name and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The name.
    pub name: String,
    /// Who has it.
    pub owner: Bytes,
    /// The fencing token: of two claims to a name, the greater one came later.
    pub revision: u64,
}

/// Why a name is not ours.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another has it.
    #[error("the name is taken")]
    Taken {
        /// The other's claim.
        by: Claim,
    },
    /// It was ours, or whose it was, and nobody has it now.
    #[error("the claim is gone")]
    Gone,
    /// The store failed. The claim may have been made: make it again with the same owner.
    #[error("the directory does not answer")]
    Store(#[from] StoreError),
}

impl Directory {
    /// The directory in a store, which should have no other use.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Directory {
        Directory { store }
    }

    /// Takes a name that nobody has. Of many who try, one gets it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Taken`] by another; by the same owner it is not taken, but ours.
    pub async fn claim(&self, name: &str, owner: impl AsRef<[u8]>) -> Result<Claim, ClaimError> {
        let owner = Bytes::copy_from_slice(owner.as_ref());
        loop {
            match self.store.create(&key(name), owner.clone()).await {
                Ok(revision) => {
                    return Ok(Claim { name: name.to_owned(), owner, revision });
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
            match self.get(name).await? {
                Some(claim) if claim.owner == owner => return Ok(claim),
                Some(by) => return Err(ClaimError::Taken { by }),
                // Released in between.
                None => {}
            }
        }
    }

    /// Takes a name from who has it, if it still has it.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Taken`] or [`ClaimError::Gone`] when another was faster.
    pub async fn take_over(
        &self,
        from: &Claim,
        owner: impl AsRef<[u8]>,
    ) -> Result<Claim, ClaimError> {
        let owner = Bytes::copy_from_slice(owner.as_ref());
        match self.store.update(&key(&from.name), owner.clone(), from.revision).await {
            Ok(revision) => Ok(Claim { name: from.name.clone(), owner, revision }),
            Err(StoreError::Conflict) => match self.get(&from.name).await? {
                Some(claim) if claim.owner == owner => Ok(claim),
                Some(by) => Err(ClaimError::Taken { by }),
                None => Err(ClaimError::Gone),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a claim anew, after a time in which another may have taken it over.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Taken`] or [`ClaimError::Gone`] when it is ours no more.
    pub async fn renew(&self, claim: &Claim) -> Result<Claim, ClaimError> {
        self.take_over(claim, &claim.owner).await
    }

    /// Gives a name back. Returns whether it was still ours.
    ///
    /// # Errors
    ///
    /// When the store fails: the claim may be gone or not.
    pub async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        match self.store.delete(&key(&claim.name), claim.revision).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who has a name.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn get(&self, name: &str) -> Result<Option<Claim>, StoreError> {
        let entry = self.store.get(&key(name)).await?;
        Ok(entry.map(|entry| Claim {
            name: name.to_owned(),
            owner: entry.value,
            revision: entry.revision,
        }))
    }
}

/// Names are any text, keys are not.
fn key(name: &str) -> String {
    format!("u{}", BASE64_URL_SAFE_NO_PAD.encode(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::check_key;

    #[test]
    fn any_name_makes_a_key() {
        for name in ["", "py", "a b.c*>", "张三🍊", &"x".repeat(380)] {
            assert!(check_key(&key(name)).is_ok(), "{name}");
        }
        assert_ne!(key("a"), key("A"));
    }
}
