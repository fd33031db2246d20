//! What moves bytes between servers, and what it must promise.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::watch;

use crate::ids::{NameError, check_name};
use crate::store::{Store, StoreError};

/// A future in a box, as traits behind `dyn` need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Moves bytes to subjects, and keeps a few shared values.
///
/// An engine knows no servers, calls or members: [`Node`](crate::Node) builds these on it, alike for
/// every engine. The feature `contract` has the tests that an engine must pass.
///
/// # Promises
///
/// * What one engine publishes to the subjects of one [`Pattern`] arrives in the order of the calls of
///   `publish`, in every subscription. Where a subscription has several patterns and the engine can't
///   keep the order between them, it prefers those named first.
/// * A payload arrives at most once. It may be lost; nothing is sent again.
/// * Subscribers hear what their own engine publishes, too.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Puts `payload` on its way to whoever is subscribed to `subject`.
    ///
    /// Returns at once: it is called under short locks, and from a loop that must not wait.
    /// With `back`, an engine that learns that nobody is subscribed there says so with
    /// [`Delivery::NobodyThere`].
    ///
    /// # Errors
    ///
    /// When this payload is not on its way to every subscriber, and why.
    fn publish(
        &self,
        subject: &Subject,
        payload: Bytes,
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError>;

    /// Everything published to `patterns` from now on, through one queue with room for `capacity` messages
    /// of each pattern, so that a flood on one does not keep out the others.
    ///
    /// Someone who publishes after this has returned reaches the subscription. Without room the
    /// engine refuses or loses what comes next; it never waits. Dropping the subscription ends it.
    fn subscribe(
        &self,
        patterns: Vec<Pattern>,
        capacity: usize,
    ) -> BoxFuture<'_, Result<Subscription, EngineError>>;

    /// Whether the others can be reached now, and when that changes.
    fn link(&self) -> watch::Receiver<Link>;

    /// The key-value store of this name, made if it is not there.
    ///
    /// The name follows the rules of [`ServerId`](crate::ServerId).
    fn store(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>>;

    /// The largest payload, in bytes.
    fn max_payload(&self) -> usize;

    /// Waits until what was published has left this process, which may then end.
    ///
    /// It ends in any case, soon.
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Where something is published: names joined by dots.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Checks and keeps `text`.
    ///
    /// # Errors
    ///
    /// When a part between dots is not a name.
    pub fn new(text: &str) -> Result<Subject, NameError> {
        text.split('.').try_for_each(check_name)?;
        Ok(Subject(text.into()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which subjects a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This subject.
    Exactly(Subject),
    /// Every subject that begins with this one and a dot, however long (`a.b.>` in NATS).
    Below(Subject),
}

/// Where to say that nobody was there to hear something.
#[derive(Debug, Clone, Copy)]
pub struct Back<'a> {
    /// A subject that the asker is subscribed to. An engine may append a dot and the token to it, so
    /// the subscription should be to all below it.
    pub subject: &'a Subject,
    /// Comes back as it is.
    pub token: u64,
}

/// What comes out of a subscription.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Something published.
    Message {
        /// Where it was published.
        subject: Subject,
        /// What was published.
        payload: Bytes,
    },
    /// Nobody was there for what was published with this token in [`Back`].
    NobodyThere {
        /// The token.
        token: u64,
    },
}

/// What an engine delivers to one subscriber.
pub type Subscription = Feed<Delivery>;

/// A stream of values from an engine; it ends when the engine ends it.
pub struct Feed<T>(Box<dyn Source<T>>);

/// What is inside a [`Feed`].
pub trait Source<T>: Send {
    /// The next value, as in a stream. After the end it is `None` again.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>>;

    /// The same for [`Feed::poll_recv_many`], where many can be had for less.
    fn poll_next_many(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<T>,
        limit: usize,
    ) -> Poll<usize> {
        let before = batch.len();
        while batch.len() - before < limit {
            match self.poll_next(cx) {
                Poll::Ready(Some(value)) => batch.push(value),
                Poll::Pending if batch.len() == before => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(None) => {
                    // The end is told apart.
                    if before < batch.len() {
                        cx.waker().wake_by_ref();
                    }
                    break;
                }
            }
        }
        Poll::Ready(batch.len() - before)
    }
}

impl<T> Feed<T> {
    /// Wraps an engine's own kind of queue.
    pub fn new(source: impl Source<T> + 'static) -> Feed<T> {
        Feed(Box::new(source))
    }

    /// The next value, or `None` at the end. Cancel-safe.
    pub async fn recv(&mut self) -> Option<T> {
        std::future::poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// Appends what is there to `batch`, `limit` values at most, and returns how many; none means the end.
    ///
    /// Less than `limit` is all there was: the task of `cx` is woken when there is more.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<T>,
        limit: usize,
    ) -> Poll<usize> {
        self.0.poll_next_many(cx, batch, limit)
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

/// Whether an engine reaches the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Up,
    /// It does not; it is trying.
    Down,
}

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A queue on the way has no room. The engine is fine: waiting may help.
    #[error("a queue on the way is full")]
    Full,
    /// The payload is larger than the engine carries.
    #[error("a payload of {len} bytes, where {limit} are allowed")]
    TooLarge {
        /// What it has.
        len: usize,
        /// What it may have.
        limit: usize,
    },
    /// The others can't be reached now.
    #[error("the link to the cluster is down")]
    NoLink,
}

/// Why an engine can't do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    message: String,
    #[source]
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    /// An error that says what could not be done.
    pub fn new(message: impl Into<String>) -> EngineError {
        EngineError { message: message.into(), cause: None }
    }

    /// The same, with the reason.
    #[must_use]
    pub fn because(self, cause: impl std::error::Error + Send + Sync + 'static) -> EngineError {
        EngineError { cause: Some(Arc::new(cause)), ..self }
    }
}
