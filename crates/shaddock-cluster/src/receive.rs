//! What a server does with what others send.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use crate::engine::{PublishError, Subject};
use crate::error::CastFailure;
use crate::frame::Status;
use crate::ids::{Boot, Peer};
use crate::inner::Inner;
use crate::members::Member;
use crate::unsent::Reply;

/// Takes what arrives for one server.
///
/// These are called one after the other, in the order in which each sender sent: by the server's own loop, or, within
/// [`trampoline::run`](crate::trampoline::run), on the thread of whoever sent last. They must not block, wait or panic:
/// what takes time goes to a queue or a task.
pub trait Receive: Send + Sync + 'static {
    /// A server asks something. The answer may be sent later, from anywhere.
    fn call(&self, from: &Peer, payload: Bytes, answer: Answer);

    /// A server says something.
    fn cast(&self, from: &Peer, payload: Bytes);

    /// How busy this server is, as a number that others of its kind say of themselves in the same unit. Asked before each
    /// beat, which tells the others: see [`Members::load`](crate::Members::load). A server that says nothing is
    /// neither preferred nor avoided.
    fn load(&self) -> Option<u64> {
        None
    }

    /// The cluster changed. [`Members`](crate::Members) knows it already.
    fn event(&self, event: Event) {
        let _ = event;
    }
}

/// A change in the cluster, as one server sees it. Every change is told once, in order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A server came, or came back.
    Joined(Member),
    /// A server has another [`Meta`](crate::Meta), or is [`Leaving`](crate::State::Leaving), or is so no more.
    Changed(Member),
    /// A server was not heard of for a while.
    Suspect(Member),
    /// A suspect is well.
    Alive(Member),
    /// A server went as it should. Calls that waited for it have ended.
    Left(Member),
    /// A server was not heard of for too long, or another run of it came in its place. Calls that waited
    /// for it have ended. If it was only cut off, it joins again with the same boot, and hears that it was
    /// [`Forgotten`](Event::Forgotten); until it has, nothing that it sends is taken.
    Died(Member),
    /// A server had taken this one for dead and let go of what it knew of it. It has taken it in again, and
    /// took nothing that was sent before this. [`Died`](Event::Died) and [`Joined`](Event::Joined), as the other saw them.
    Forgotten {
        /// The other.
        by: Member,
    },
    /// Casts of this peer got lost on the way.
    Missed {
        /// Who sent them.
        from: Peer,
        /// How many.
        casts: u64,
    },
    /// The link to the cluster went down. Nobody is taken for dead while it is.
    LinkLost,
    /// The link is back. After more than [`Timings::dead`](crate::Timings::dead) the others have taken
    /// this server for dead meanwhile.
    LinkBack {
        /// How long it was down.
        after: Duration,
    },
    /// Another run of this very server is in the cluster, and this one, which must have been cut off, has
    /// left it for good. The program should stop serving.
    Replaced {
        /// The other run.
        by: Boot,
    },
}

/// The one answer to a call.
///
/// Dropped without an answer it tells the caller so at once.
pub struct Answer {
    inner: Arc<Inner>,
    to: Arc<ReplyTo>,
    number: u64,
    deadline: Instant,
    /// How often the asker had been lost when it asked.
    lost: u32,
    sent: bool,
}

/// Where the answers to one peer go.
pub(crate) struct ReplyTo {
    pub(crate) peer: Peer,
    pub(crate) subject: Subject,
    /// How often this peer was lost, or had lost this server.
    pub(crate) lost: AtomicU32,
}

impl Answer {
    pub(crate) fn new(
        inner: &Arc<Inner>,
        to: &Arc<ReplyTo>,
        number: u64,
        deadline: Instant,
    ) -> Answer {
        let lost = to.lost.load(Ordering::Relaxed);
        Answer { inner: Arc::clone(inner), to: Arc::clone(to), number, deadline, lost, sent: false }
    }

    /// Who asked.
    #[must_use]
    pub fn to(&self) -> &Peer {
        &self.to.peer
    }

    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the caller may wait still. It does not once it was taken for dead, or had taken this server for dead, since
    /// it asked: what is not begun by then should not be, for its sessions are served elsewhere.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.to.lost.load(Ordering::Relaxed) == self.lost
    }

    /// Answers. If a queue on the way is full, the answer goes as soon as there is room, and comes after what is sent
    /// to the caller meanwhile.
    ///
    /// # Errors
    ///
    /// When the answer is not on its way, the caller waits until its deadline; but for an answer that is
    /// too large, of which it is told.
    pub fn send(mut self, payload: impl AsRef<[u8]>) -> Result<(), CastFailure> {
        let sent = self.publish(Status::Answered, payload.as_ref());
        if let Err(PublishError::TooLarge { len, limit }) = sent {
            let reason = format!("the answer has {len} bytes, where {limit} are allowed");
            self.publish(Status::Refused, reason.as_bytes())?;
        }
        Ok(sent?)
    }

    /// Declines, with a reason that is for programs and logs, not for people.
    ///
    /// # Errors
    ///
    /// When the refusal is not on its way, the caller waits until its deadline.
    pub fn refuse(mut self, reason: &str) -> Result<(), CastFailure> {
        Ok(self.publish(Status::Refused, reason.as_bytes())?)
    }

    fn publish(&mut self, status: Status, payload: &[u8]) -> Result<(), PublishError> {
        self.sent = true;
        let sent = self.inner.answer(&self.to, self.number, status, payload);
        if sent != Err(PublishError::Full) {
            return sent;
        }
        let (to, payload) = (Arc::clone(&self.to), Bytes::copy_from_slice(payload));
        let Answer { number, deadline, .. } = *self;
        let is_kept = self.inner.keep(Reply { to, number, deadline, status, payload });
        if is_kept { Ok(()) } else { sent }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("to", &self.to.peer)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.sent {
            // Nobody is left to be told if this fails; the caller has its deadline.
            let _ = self.publish(Status::Refused, b"the call was dropped without an answer");
        }
    }
}
