//! One server's presence in the cluster.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::calls::{Calls, Then};
use crate::directory::Directory;
use crate::engine::{Back, BoxFuture, Engine, PublishError, Subject};
use crate::error::{CallError, CallFailure, CastError, CastFailure, JoinError};
use crate::frame::{self, What};
use crate::ids::{Boot, ClusterName, Kind, Peer, ServerId};
use crate::join;
use crate::members::{Line, Member, Members, Meta, State};
use crate::receive::Receive;
use crate::roster::{Beat, Bye};
use crate::store::{Store, StoreError};
use crate::subjects::Subjects;

/// A server in the cluster: who else is there, and the way to them.
///
/// A cheap handle; when the last one is dropped the server leaves.
///
/// # Order
///
/// All that one server sends to another arrives in the order in which it was sent: casts, calls and
/// answers alike. What a server casts before it answers is there before the answer.
///
/// # Loss
///
/// Nothing arrives twice, since nothing is sent again. A call always ends: with the answer, at once when
/// nobody is there or the server goes, at its deadline else. Lost casts are counted where they are missed:
/// [`Event::Missed`](crate::Event::Missed).
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
    _leave: Arc<DropGuard>,
}

/// What a server is in the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its id, which no other server may have.
    pub id: ServerId,
    /// What it is for.
    pub kind: Kind,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// What it tells the others about itself.
    pub meta: Meta,
    /// When silence means something.
    pub timings: Timings,
    /// How many messages may wait for its loop, and how many words on who is there. Beyond, the engine refuses them or loses them, as engines
    /// can; nothing waits.
    pub queue: usize,
}

impl Config {
    /// A server of the cluster `shaddock`, with the usual timings.
    #[must_use]
    pub fn new(id: ServerId, kind: Kind) -> Config {
        Config {
            cluster: "shaddock".parse().expect("is a name"),
            id,
            kind,
            frontend: false,
            meta: Meta::new(),
            timings: Timings::default(),
            queue: 65_536,
        }
    }
}

/// When silence means something. All servers of a cluster should have the same.
#[derive(Debug, Clone)]
pub struct Timings {
    /// How often a server tells the others that it is there.
    pub beat: Duration,
    /// After how much silence a server is suspect.
    pub suspect: Duration,
    /// After how much silence it is dead.
    pub dead: Duration,
    /// How long one who joins waits for the others to answer. Only when some do not, that is: as a rule
    /// it takes two round trips.
    pub roll_call: Duration,
    /// For how long calls wait for a lost link to come back.
    pub grace: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            beat: Duration::from_secs(1),
            suspect: Duration::from_secs(2),
            dead: Duration::from_millis(3500),
            roll_call: Duration::from_millis(500),
            grace: Duration::from_millis(500),
        }
    }
}

impl Node {
    /// A server that is to enter the cluster. Until it [`enter`](Node::enter)s, it reaches nobody.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, config: Config) -> Node {
        let inner = Arc::new(Inner::new(engine, config));
        let leave = Arc::new(inner.stop.clone().drop_guard());
        Node {
            inner,
            _leave: leave,
        }
    }

    /// Enters the cluster, once.
    ///
    /// Whoever was in it before is known when this returns, and knows this server. The work is done by one
    /// task, given to `spawn`, which ends when the node leaves.
    ///
    /// # Errors
    ///
    /// When a server of this id is alive, or the engine can't.
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
            Box::new(|end| drop(tx.send(end))),
        );
        Call {
            inner: Arc::clone(&self.inner),
            to: to.clone(),
            number,
            rx,
        }
    }

    /// Asks another server, and runs `then` with the end of the call: exactly once, whatever happens.
    ///
    /// It runs on the loop that reads what others send, or in here if nothing can be sent, and must
    /// neither wait nor panic. This costs no task and no timer for a call.
    pub fn call_then(
        &self,
        to: &ServerId,
        payload: impl AsRef<[u8]>,
        deadline: Instant,
        then: impl FnOnce(Result<Bytes, CallError>) + Send + 'static,
    ) {
        self.inner
            .call(to, payload.as_ref(), deadline, Box::new(then));
    }

    /// Tells another server something.
    ///
    /// # Errors
    ///
    /// When it was not sent. That it was does not mean that it arrives.
    pub fn cast(&self, to: &ServerId, payload: impl AsRef<[u8]>) -> Result<(), CastError> {
        let Some(line) = self.inner.members.line(to) else {
            return Err(CastError {
                server: to.clone(),
                failure: CastFailure::NoSuchServer,
            });
        };
        self.inner.cast(&line, payload.as_ref())
    }

    /// Tells all servers of a kind something, this one too if it is of that kind, and returns the errors
    /// of those it could not be sent to.
    ///
    /// These are as many casts: on each line they keep their place among what else is sent.
    #[must_use = "some may not have been reached"]
    pub fn cast_kind(&self, kind: &Kind, payload: impl AsRef<[u8]>) -> Vec<CastError> {
        let lines = self.inner.members.lines_of(kind);
        lines
            .iter()
            .filter_map(|line| self.inner.cast(line, payload.as_ref()).err())
            .collect()
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

    /// Tells the others that this server is about to go: it answers still, but should get nothing new.
    pub fn set_leaving(&self) {
        self.inner.change(|told| told.leaving = true);
    }

    /// Tells the others something else about this server.
    pub fn set_meta(&self, meta: Meta) {
        self.inner.change(|told| told.meta = Arc::new(meta));
    }

    /// Leaves the cluster, and returns when the task has ended. Calls under way end as [`CallFailure::Closed`].
    pub async fn leave(&self) {
        self.inner.stop.cancel();
        self.inner.ended.cancelled().await;
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
        self.inner
            .engine
            .store(&format!("{}_{name}", self.inner.cluster))
            .await
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
                Err(CallError {
                    server: self.to.clone(),
                    failure: CallFailure::Closed,
                })
            })
        })
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.inner.calls.take(number);
        }
    }
}

/// What the handles, the answers and the loop of a node share. It does not keep the node in the cluster.
pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) own: Peer,
    pub(crate) cluster: ClusterName,
    pub(crate) subjects: Subjects,
    pub(crate) timings: Timings,
    pub(crate) queue: usize,
    pub(crate) members: Members,
    pub(crate) calls: Calls,
    pub(crate) counts: Counts,
    /// Cancelled to leave.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the loop has ended.
    pub(crate) ended: CancellationToken,
    frontend: bool,
    began: Instant,
    told: Mutex<Told>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) missed: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) unreadable: AtomicU64,
}

/// What changes of what a server tells about itself.
struct Told {
    leaving: bool,
    meta: Arc<Meta>,
}

impl Inner {
    fn new(engine: Arc<dyn Engine>, config: Config) -> Inner {
        let own = Peer {
            id: config.id,
            kind: config.kind,
            boot: Boot::random(),
        };
        let inner = Inner {
            engine,
            subjects: Subjects::new(&config.cluster, &own),
            own,
            cluster: config.cluster,
            timings: config.timings,
            queue: config.queue,
            members: Members::new(),
            calls: Calls::default(),
            counts: Counts::default(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            frontend: config.frontend,
            began: Instant::now(),
            told: Mutex::new(Told {
                leaving: false,
                meta: Arc::new(config.meta),
            }),
        };
        inner.show_own(&inner.told.lock().unwrap_or_else(PoisonError::into_inner));
        inner
    }

    /// Puts a frame on its way.
    pub(crate) fn publish(
        &self,
        subject: &Subject,
        to: Boot,
        what: What,
        payload: &[u8],
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError> {
        // Looked at before the payload is copied.
        let (len, limit) = (frame::HEAD + payload.len(), self.engine.max_payload());
        if limit < len {
            return Err(PublishError::TooLarge { len, limit });
        }
        self.engine
            .publish(subject, frame::encode(&self.own, to, what, payload), back)
    }

    /// Sends a call and returns its number; `then` has run already if there is none.
    fn call(&self, to: &ServerId, payload: &[u8], deadline: Instant, then: Then) -> Option<u64> {
        let fail = |then: Then, failure| {
            then(Err(CallError {
                server: to.clone(),
                failure,
            }))
        };
        let Some(line) = self.members.line(to) else {
            fail(then, CallFailure::NoSuchServer);
            return None;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            fail(then, CallFailure::Timeout);
            return None;
        }
        let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        // Kept before it is sent: the answer may be here at once.
        let number = match self.calls.add(to, line.boot, deadline, then) {
            Ok(number) => number,
            Err(then) => {
                fail(then, CallFailure::Closed);
                return None;
            }
        };
        let back = Back {
            subject: &self.subjects.void,
            token: number,
        };
        let sent = self.publish(
            &line.subject,
            line.boot,
            What::Call { number, left },
            payload,
            Some(back),
        );
        if let Err(error) = sent {
            if let Some(waiting) = self.calls.take(number) {
                waiting.end(Err(CastFailure::from(error).into()));
            }
            return None;
        }
        Some(number)
    }

    fn cast(&self, line: &Line, payload: &[u8]) -> Result<(), CastError> {
        if self.stop.is_cancelled() {
            return Err(CastError {
                server: line.to.clone(),
                failure: CastFailure::Closed,
            });
        }
        let sent = {
            let mut seq = line.seq.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = self.publish(
                &line.subject,
                line.boot,
                What::Cast { seq: *seq + 1 },
                payload,
                None,
            );
            // A number is used up by what was sent, or those refused here would be missed there.
            if sent.is_ok() {
                *seq += 1;
            }
            sent
        };
        sent.map_err(|error| CastError {
            server: line.to.clone(),
            failure: error.into(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Told)) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut told);
            self.show_own(&told);
        }
        self.announce(&self.subjects.beat_all);
    }

    /// Shows this server in its own table.
    fn show_own(&self, told: &Told) {
        let state = if told.leaving {
            State::Leaving
        } else {
            State::Alive
        };
        let member = Member::new(
            self.own.clone(),
            self.frontend,
            state,
            Arc::clone(&told.meta),
        );
        self.members.put(member, || self.subjects.own_in.clone());
    }

    /// Says on `subject` that this server is there. If it can't be said now, it will be with the next beat.
    pub(crate) fn announce(&self, subject: &Subject) {
        let (leaving, meta) = {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            (told.leaving, Arc::clone(&told.meta))
        };
        let beat = Beat {
            id: self.own.id.clone(),
            kind: self.own.kind.clone(),
            boot: self.own.boot,
            age: self.age(),
            frontend: self.frontend,
            leaving,
            well: self.members.well(),
            meta,
        };
        self.say(subject, &beat, None);
    }

    pub(crate) fn say_bye(&self) {
        let bye = Bye {
            id: self.own.id.clone(),
            boot: self.own.boot,
        };
        self.say(&self.subjects.bye_all, &bye, None);
    }

    /// Publishes something that is not a frame, with field names.
    pub(crate) fn say(
        &self,
        subject: &Subject,
        words: &impl serde::Serialize,
        back: Option<Back<'_>>,
    ) {
        let bytes = rmp_serde::to_vec_named(words).expect("these have no maps with odd keys");
        if let Err(error) = self.engine.publish(subject, bytes.into(), back) {
            tracing::debug!(server = %self.own.id, %subject, %error, "not said to the cluster");
        }
    }

    /// Milliseconds since this run began.
    pub(crate) fn age(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
