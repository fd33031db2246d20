//! What the handles, the answers and the loop of a node share: the way out.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::calls::{Calls, Then};
use crate::config::{Config, Timings};
use crate::engine::{Back, Engine, PublishError, Subject};
use crate::error::{CallError, CallFailure, CastError, CastFailure};
use crate::frame::{self, Met, Place, Status, What};
use crate::ids::{Boot, ClusterName, Peer, ServerId};
use crate::members::{Line, Member, Members, Meta, State};
use crate::pick;
use crate::receive::ReplyTo;
use crate::roster::{Beat, Bye, Greeting};
use crate::subjects::Subjects;
use crate::unsent::{Reply, Unsent};

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
    pub(crate) unsent: Unsent,
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
pub(crate) struct Told {
    pub(crate) leaving: bool,
    pub(crate) meta: Arc<Meta>,
}

impl Inner {
    pub(crate) fn new(engine: Arc<dyn Engine>, config: Config) -> Inner {
        let own = Peer { id: config.id, kind: config.kind, boot: Boot::random() };
        let inner = Inner {
            engine,
            subjects: Subjects::new(&config.cluster, &own),
            cluster: config.cluster,
            timings: config.timings,
            queue: config.queue,
            // By its name, so that a run can be repeated, and servers don't draw alike.
            members: Members::new(pick::hash(own.id.as_str().as_bytes())),
            own,
            calls: Calls::default(),
            unsent: Unsent::default(),
            counts: Counts::default(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            frontend: config.frontend,
            began: Instant::now(),
            told: Mutex::new(Told { leaving: false, meta: Arc::new(config.meta) }),
        };
        inner.show_own(&inner.told.lock().unwrap_or_else(PoisonError::into_inner));
        inner
    }

    /// Puts a frame on its way, behind all that went out on this line before. `what` it is may depend on how many casts
    /// those were.
    pub(crate) fn send(
        &self,
        line: &Line,
        what: impl FnOnce(u64) -> What,
        payload: &[u8],
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError> {
        let mut sent = line.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, what) = (sent.place.next(), what(sent.casts));
        self.publish(&line.subject, line.boot, place, what, payload, back)?;
        // What was refused here has taken nobody's place, or it would be missed there.
        sent.place = place;
        if let What::Cast { seq } = what {
            sent.casts = seq;
        }
        Ok(())
    }

    /// Puts a frame on its way.
    pub(crate) fn publish(
        &self,
        subject: &Subject,
        to: Boot,
        place: Place,
        what: What,
        payload: &[u8],
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError> {
        // Looked at before the payload is copied.
        let (len, limit) = (frame::HEAD + payload.len(), self.engine.max_payload());
        if limit < len {
            return Err(PublishError::TooLarge { len, limit });
        }
        self.engine.publish(subject, frame::encode(&self.own, to, place, what, payload), back)
    }

    /// Sends a call and returns its number; `then` has run already if there is none.
    pub(crate) fn call(
        &self,
        to: &ServerId,
        payload: &[u8],
        deadline: Instant,
        then: Then,
    ) -> Option<u64> {
        let fail = |then: Then, failure| then(Err(CallError { server: to.clone(), failure }));
        let lines = self.members.lines();
        let Some(line) = lines.get(to) else {
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
        let back = Back { subject: &self.subjects.void, token: number };
        let sent = self.send(line, |_| What::Call { number, left }, payload, Some(back));
        if let Err(error) = sent {
            if let Some(waiting) = self.calls.take(number) {
                waiting.end(Err(CastFailure::from(error).into()));
            }
            return None;
        }
        Some(number)
    }

    /// Answers a call.
    pub(crate) fn answer(
        &self,
        to: &ReplyTo,
        number: u64,
        status: Status,
        payload: &[u8],
    ) -> Result<(), PublishError> {
        let what = What::Answer { number, status };
        let ReplyTo { peer, subject, .. } = to;
        let lines = self.members.lines();
        match lines.get(&peer.id).filter(|line| line.boot == peer.boot) {
            Some(line) => self.send(line, |_| what, payload, None),
            // Whose answer it is says its number: it counts although its run is not known here any more.
            None => self.publish(subject, peer.boot, Place::default(), what, payload, None),
        }
    }

    /// Keeps an answer that found a queue full, to be sent again. Says whether anybody is there to do so.
    pub(crate) fn keep(&self, reply: Reply) -> bool {
        let is_kept = self.unsent.keep(reply);
        if is_kept {
            self.calls.look_sooner();
        }
        is_kept
    }

    pub(crate) fn cast(&self, line: &Line, payload: &[u8]) -> Result<(), CastError> {
        if !self.calls.is_open() {
            return Err(CastError { server: line.to.clone(), failure: CastFailure::Closed });
        }
        let sent = self.send(line, |casts| What::Cast { seq: casts + 1 }, payload, None);
        sent.map_err(|error| CastError { server: line.to.clone(), failure: error.into() })
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Told)) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut told);
            self.show_own(&told);
        }
        if self.calls.is_open() {
            self.announce();
        }
    }

    /// Shows this server in its own table.
    fn show_own(&self, told: &Told) {
        let state = if told.leaving { State::Leaving } else { State::Alive };
        let member = Member::new(self.own.clone(), self.frontend, state, Arc::clone(&told.meta));
        self.members.put(member, Met::FIRST, || self.subjects.own_in.clone());
    }

    /// Says to all that this server is there. If it can't be said now, it will be with the next beat.
    pub(crate) fn announce(&self) {
        self.say_beat(&self.subjects.beat_all, None);
    }

    /// Says that this server is there, to one who asked, or greets one it has met.
    pub(crate) fn say_beat(&self, subject: &Subject, greeting: Option<Greeting>) {
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
            load: self.members.load(&self.own.id),
            meta,
            greeting,
        };
        self.say(subject, &beat, None);
    }

    pub(crate) fn say_bye(&self) {
        let bye = Bye { id: self.own.id.clone(), boot: self.own.boot };
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
