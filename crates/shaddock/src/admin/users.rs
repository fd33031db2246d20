//! Who may give orders, and how fast somebody can guess.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::order::{Credentials, Order, Quoted};
use crate::app::lock;
use crate::config::{AdminUser, Config};
use crate::error::{Fault, Result};
use crate::ids::ServerId;
use crate::tasks::Tasks;
use crate::telemetry::Seldom;

/// How a hash begins that we can check.
const HASH: &str = "$argon2";

/// The level that may change things.
const ADMINISTRATOR: u64 = 1;

/// After a wrong password no other is looked at for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Passwords that may wait to be looked at. Orders with the same one wait together.
const WAITING: usize = 16;

/// A hash of a password, for `adminUser.json`: argon2id with a salt of its own.
///
/// # Errors
///
/// If the password is empty, or the system has no randomness.
pub fn hash_password(password: &str) -> Result<String> {
    if password.is_empty() {
        return Err(Fault::new(400, "an empty password is none"));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    let hash =
        hash.map_err(|error| Fault::internal(format!("the password can't be hashed: {error}")))?;
    Ok(hash.to_string())
}

/// Says whether a password of `adminUser.json` is a hash.
///
/// # Errors
///
/// If it begins as one and is none.
pub(crate) fn check_hash(password: &str) -> Result<bool, String> {
    if !password.starts_with(HASH) {
        return Ok(false);
    }
    match PasswordHash::new(password) {
        Ok(PasswordHash { salt: Some(_), hash: Some(_), .. }) => Ok(true),
        Ok(_) => Err("it ends too early".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Those who may give orders in one process.
pub(crate) struct Operators {
    users: Vec<AdminUser>,
    environment: String,
    /// Fingerprints of passwords that were right once, so that only the first order takes long.
    /// With a random key, so that none can be made to fit.
    known: Mutex<FxHashMap<String, u64>>,
    key: RandomState,
    /// Passwords that are looked at now or soon, by their fingerprints.
    looking: Arc<Mutex<FxHashMap<u64, Look>>>,
    waiting: Arc<Semaphore>,
    turn: Arc<tokio::sync::Mutex<()>>,
    tasks: Tasks,
    seldom: Seldom,
}

/// Whether a password is right, for all who want to know.
type Look = Shared<BoxFuture<'static, bool>>;

impl Operators {
    pub(crate) fn new(config: &Config, tasks: &Tasks) -> Operators {
        Operators {
            users: config.admin_users.clone(),
            environment: config.environment.clone(),
            known: Mutex::default(),
            key: RandomState::new(),
            looking: Arc::default(),
            waiting: Arc::new(Semaphore::new(WAITING)),
            turn: Arc::default(),
            tasks: tasks.clone(),
            seldom: Seldom::default(),
        }
    }

    /// Sees to it that this user may give this order.
    pub(super) async fn admit(
        &self,
        from: &ServerId,
        credentials: &Credentials,
        order: &Order,
    ) -> Result<()> {
        let refused = |fault: Fault| {
            // Whoever reaches the broker can have this said, as often as they like.
            if self.seldom.now() {
                let (user, order) = (Quoted(&credentials.username), order.name());
                tracing::warn!(%from, %user, order, reason = fault.reason(), "an order was refused");
            }
            fault
        };
        let user = self.authenticate(credentials).await.map_err(refused)?;
        if order.changes() && user.level != ADMINISTRATOR {
            let (name, level) = (&user.username, user.level);
            return Err(refused(Fault::new(
                403,
                format!(
                    "{name} is of level {level}, which may look only: this needs level {ADMINISTRATOR}"
                ),
            )));
        }
        Ok(())
    }

    async fn authenticate(&self, credentials: &Credentials) -> Result<&AdminUser> {
        let Credentials { username, password } = credentials;
        // A password that stands there as it is counts while developing alone; elsewhere it is not even looked at.
        let counts = |user: &&AdminUser| {
            user.username == *username
                && (self.environment == "development" || user.password.expose().starts_with(HASH))
        };
        let user = self.users.iter().find(counts);
        let fingerprint = self.key.hash_one((username, password));
        if let Some(user) = user
            && lock(&self.known).get(username) == Some(&fingerprint)
        {
            return Ok(user);
        }
        let right = self.look(fingerprint, user, password)?.await;
        let Some(user) = user.filter(|_| right) else {
            return Err(Fault::new(401, "adminUser.json has no such user with this password"));
        };
        if !user.password.expose().starts_with(HASH) {
            tracing::warn!(
                user = username,
                "a password is not hashed in adminUser.json: outside of development it will let nobody in"
            );
        }
        lock(&self.known).insert(username.clone(), fingerprint);
        Ok(user)
    }

    /// Has a password looked at, once for all who ask meanwhile.
    fn look(&self, fingerprint: u64, user: Option<&AdminUser>, password: &str) -> Result<Look> {
        let mut looking = lock(&self.looking);
        if let Some(look) = looking.get(&fingerprint) {
            return Ok(look.clone());
        }
        let Ok(waiting) = self.waiting.clone().try_acquire_owned() else {
            return Err(Fault::new(429, "too many passwords wait to be looked at: try again soon"));
        };
        let (done, looked) = oneshot::channel();
        let look = async { looked.await.unwrap_or(false) }.boxed().shared();
        looking.insert(fingerprint, look.clone());
        let (turn, looking) = (self.turn.clone(), self.looking.clone());
        let (password, secret) = (password.to_owned(), user.map(|user| user.password.clone()));
        // A task, for somebody who guesses would not wait for the end of the pause.
        self.tasks.spawn("password", async move |stop| {
            let _turn = turn.lock().await;
            let begun = Instant::now();
            let looking_at = tokio::task::spawn_blocking(move || {
                secret.is_some_and(|secret| is_right(&password, secret.expose()))
            });
            let right = looking_at.await.unwrap_or(false);
            if !right {
                stop.run_until_cancelled(tokio::time::sleep_until(begun + PAUSE)).await;
            }
            drop(waiting);
            lock(&looking).remove(&fingerprint);
            let _ = done.send(right);
        });
        Ok(look)
    }
}

/// Whether this is the password, which the file has as a hash or as it is.
fn is_right(password: &str, secret: &str) -> bool {
    if !secret.starts_with(HASH) {
        return password == secret;
    }
    let hash = PasswordHash::new(secret);
    hash.is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

impl fmt::Debug for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operators").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_made_of_a_password_and_of_no_other() {
        let hash = hash_password("correct horse").unwrap();
        assert!(check_hash(&hash).unwrap());
        assert!(is_right("correct horse", &hash));
        assert!(!is_right("battery staple", &hash) && !is_right(&hash, &hash));
        assert_ne!(hash, hash_password("correct horse").unwrap(), "each has a salt of its own");
        assert!(hash_password("").is_err());
    }

    #[test]
    fn what_begins_as_a_hash_is_one() {
        assert!(!check_hash("admin").unwrap());
        assert!(check_hash("$argon2id$v=19$nonsense").is_err());
        assert!(check_hash("$argon2id$v=19$m=").is_err());
    }
}
