//! One server's presence in the cluster.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::config::Config;
use crate::directory::Directory;
use crate::engine::{BoxFuture, Engine};
use crate::error::{CallError, CallFailure, CastError, CastFailure, JoinError};
use crate::frame;
use crate::ids::{Kind, Peer, ServerId};
use crate::inner::Inner;
use crate::join;
use crate::members::{Member, Members, Meta};
use crate::receive::Receive;
use crate::store::{Store, StoreError};
use crate::trampoline;

/// A server in the cluster: who else is there, and the way to them.
///
/// A cheap handle; when the last one is dropped the server leaves.
///
/// # Order
///
/// All that one server sends to another arrives in the order in which it was sent: casts, calls and
/// answers alike. What a server casts before it answers is there before the answer. An answer that finds a queue full
/// comes later, when there is room. Where an engine has changed the order, as brokers do that stood still, what comes
/// late is let go of: a call ends as if nobody were there, and a cast counts as lost.
///
/// # Loss
///
/// Nothing arrives twice, since nothing is sent again that may have arrived. A call always ends: with the answer, at
/// once when nobody is there or the server goes, at its deadline else. Lost casts are counted where they are missed:
/// [`Event::Missed`](crate::Event::Missed).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    _leave: Arc<DropGuard>,
}

impl Node {
    /// A server that is to enter the cluster. Until it [`enter`](Node::enter)s, it reaches nobody.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, config: Config) -> Node {
        let inner = Arc::new(Inner::new(engine, config));
        let leave = Arc::new(inner.stop.clone().drop_guard());
        Node { inner, _leave: leave }
    }

    /// Enters the cluster, once.
    ///
    /// Whoever was in it before is known when this returns, and knows this server. The work is done by one
    /// task, given to `spawn`, which ends when the node leaves.
    ///
    /// # Errors
    ///
    /// When a server of this id is alive, or the engine can't. It may be tried again.
    pub async fn enter(
        &self,
        receiver: Arc<dyn Receive>,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> Result<(), JoinError> {
        join::join(&self.inner, receiver, spawn).await
    }

    /// Makes a node and enters the cluster.
    ///
    /// # Errors
    ///
    /// As [`enter`](Node::enter).
    pub async fn join(
        engine: Arc<dyn Engine>,
        config: Config,
        receiver: Arc<dyn Receive>,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> Result<Node, JoinError> {
        let node = Node::new(engine, config);
        node.enter(receiver, spawn).await?;
        Ok(node)
    }

    /// Who this server is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.inner.own
    }

    /// Who is in the cluster.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.inner.members
    }

    /// Asks another server; sends at once, not when it is awaited.
    ///
    /// Dropping the future forgets the call. It is not taken back.
    pub fn call(&self, to: &ServerId, payload: impl AsRef<[u8]>, deadline: Instant) -> Call {
        let (tx, rx) = oneshot::channel();
        let number = self.inner.call(
            to,
            payload.as_ref(),
            deadline,
            Box::new(|end| {
                trampoline::woke();
                drop(tx.send(end));
            }),
        );
        Call { inner: Arc::clone(&self.inner), to: to.clone(), number, rx }
    }

    /// Asks another server, and runs `then` with the end of the call: exactly once, whatever happens.
    ///
    /// It runs where what others send is read, as [`Receive`] does, or in here if nothing can be sent, and must
    /// neither wait nor panic. This costs no task and no timer for a call.
    pub fn call_then(
        &self,
        to: &ServerId,
        payload: impl AsRef<[u8]>,
        deadline: Instant,
        then: impl FnOnce(Result<Bytes, CallError>) + Send + 'static,
    ) {
        self.inner.call(to, payload.as_ref(), deadline, Box::new(then));
    }

    /// Tells another server something.
    ///
    /// # Errors
    ///
    /// When it was not sent. That it was does not mean that it arrives.
    pub fn cast(&self, to: &ServerId, payload: impl AsRef<[u8]>) -> Result<(), CastError> {
        let lines = self.inner.members.lines();
        let Some(line) = lines.get(to) else {
            return Err(CastError { server: to.clone(), failure: CastFailure::NoSuchServer });
        };
        self.inner.cast(line, payload.as_ref())
    }

    /// Tells all servers of a kind something, this one too if it is of that kind, and returns the errors
    /// of those it could not be sent to.
    ///
    /// These are as many casts: on each line they keep their place among what else is sent.
    #[must_use = "some may not have been reached"]
    pub fn cast_kind(&self, kind: &Kind, payload: impl AsRef<[u8]>) -> Vec<CastError> {
        let lines = self.inner.members.lines_of(kind);
        lines.iter().filter_map(|line| self.inner.cast(line, payload.as_ref()).err()).collect()
    }

    /// Whether this server has been there for so long that it has heard of every other that lives.
    #[must_use]
    pub fn knows_all(&self) -> bool {
        self.inner.timings.dead.as_millis() <= u128::from(self.inner.age())
    }

    /// The member of a kind that a key belongs to; see [`Members::pick`].
    #[must_use]
    pub fn pick(&self, kind: &Kind, key: &[u8]) -> Option<Member> {
        self.inner.members.pick(kind, key)
    }

    /// Any member of a kind, in turn; see [`Members::any`].
    #[must_use]
    pub fn any(&self, kind: &Kind) -> Option<Member> {
        self.inner.members.any(kind)
    }

    /// Tells the others that this server is about to go: it answers still, but should get nothing new. Before
    /// it enters: that it is not ready yet.
    pub fn set_leaving(&self) {
        self.inner.change(|told| told.leaving = true);
    }

    /// Takes [`set_leaving`](Node::set_leaving) back: from now on this server should get what is its.
    pub fn set_staying(&self) {
        self.inner.change(|told| told.leaving = false);
    }

    /// Tells the others something else about this server.
    pub fn set_meta(&self, meta: Meta) {
        self.inner.change(|told| told.meta = Arc::new(meta));
    }

    /// Leaves the cluster if it is in, and returns when the task has ended and its good-bye is sent. Calls under
    /// way end as [`CallFailure::Closed`].
    pub async fn leave(&self) {
        self.inner.stop.cancel();
        if self.inner.calls.is_open() {
            self.inner.ended.cancelled().await;
        }
        self.inner.engine.flush().await;
    }

    /// Waits until this server has left the cluster, for whatever reason.
    pub async fn left(&self) {
        self.inner.ended.cancelled().await;
    }

    /// The largest payload of a cast, a call or an answer.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.engine.max_payload().saturating_sub(frame::HEAD)
    }

    /// A key-value store of this cluster.
    ///
    /// # Errors
    ///
    /// When the engine has none, or it can't be reached.
    pub async fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        self.inner.engine.store(&format!("{}_{name}", self.inner.cluster)).await
    }

    /// A directory of this cluster: who has which unique name.
    ///
    /// # Errors
    ///
    /// When the engine has no store, or it can't be reached.
    pub async fn directory(&self, name: &str) -> Result<Directory, StoreError> {
        Ok(Directory::new(self.store(name).await?))
    }

    /// What it counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counts = &self.inner.counts;
        Stats {
            waiting: self.inner.calls.count(),
            missed: counts.missed.load(Ordering::Relaxed),
            stale: counts.stale.load(Ordering::Relaxed),
            unreadable: counts.unreadable.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Node").field(&self.inner.own).finish()
    }
}

/// What a node counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Calls that wait for their answer now.
    pub waiting: usize,
    /// Casts of others that got lost.
    pub missed: u64,
    /// Casts and calls that were meant for an earlier run of this server, and not taken.
    pub stale: u64,
    /// Messages that were not understood.
    pub unreadable: u64,
}

/// A call under way: see [`Node::call`].
#[must_use = "dropping it forgets the call"]
pub struct Call {
    inner: Arc<Inner>,
    to: ServerId,
    number: Option<u64>,
    rx: oneshot::Receiver<Result<Bytes, CallError>>,
}

impl Future for Call {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.rx).poll(cx).map(|end| {
            self.number = None;
            end.unwrap_or_else(|_| {
                Err(CallError { server: self.to.clone(), failure: CallFailure::Closed })
            })
        })
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.inner.calls.take(number);
        }
    }
}
