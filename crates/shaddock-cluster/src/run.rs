//! What a node does with what arrives, and as time passes: it beats, and judges silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{oneshot, watch};
use tokio::time::{Duration, Instant};

use crate::engine::{Delivery, Link, Subject, Subscription};
use crate::error::CallFailure;
use crate::frame::{self, Frame, Place, Status, What};
use crate::ids::{Boot, Peer, ServerId};
use crate::inner::Inner;
use crate::receive::{Answer, Event, Receive, ReplyTo};
use crate::roster::{Beat, Greeting, Roster, Who};
use crate::subjects::Heard;

/// How many messages are taken in between two looks at the clock.
const BATCH: usize = 32;

/// How many senders are remembered that are not members.
const STRANGERS: usize = 4096;

pub(crate) struct Run {
    pub(crate) inner: Arc<Inner>,
    receiver: Arc<dyn Receive>,
    feed: Subscription,
    batch: Vec<Delivery>,
    pub(crate) link: watch::Receiver<Link>,
    roster: Roster,
    senders: FxHashMap<Boot, Sender>,
    /// Those who were here before and have not greeted this server yet.
    ungreeted: FxHashSet<ServerId>,
    all_know: Option<oneshot::Sender<()>>,
    /// When the link went down, and whether the calls under way still hope.
    down: Option<(Instant, bool)>,
    /// Another run of this server that beats, and since when.
    double: Option<(Boot, Instant)>,
    /// When this server last heard itself.
    echoed: Instant,
    next_beat: Instant,
    next_judgement: Instant,
    /// Last, so that all else is gone when the node has ended. Works even if a receiver panics.
    _end: End,
}

/// One run of another server, as a source of frames.
struct Sender {
    reply: Arc<ReplyTo>,
    /// That of the latest that it sent.
    place: Place,
    /// The number that its next cast should have.
    next: u64,
}

impl Sender {
    /// Takes note of a frame, and says whether it is late: something that was sent after it was here before. That
    /// happens where a broker stood still, and its clients went to another.
    fn is_late(&mut self, place: Place) -> bool {
        if place <= self.place {
            return true;
        }
        if self.place.met() != place.met() {
            // With each time that they meet the numbers of casts begin anew.
            self.next = 1;
        }
        self.place = place;
        false
    }
}

impl Run {
    pub(crate) fn new(
        inner: Arc<Inner>,
        receiver: Arc<dyn Receive>,
        feed: Subscription,
        beats: FxHashMap<ServerId, Beat>,
        all_know: oneshot::Sender<()>,
    ) -> Run {
        let now = Instant::now();
        let mut roster = Roster::new(inner.members.clone(), inner.timings.clone());
        let ungreeted = beats.keys().cloned().collect();
        for beat in beats.into_values() {
            let subject = inner.subjects.in_of(&beat.id);
            roster.beat(beat, now, || subject);
        }
        inner.calls.open();
        let run = Run {
            _end: End(Arc::clone(&inner)),
            link: inner.engine.link(),
            double: None,
            echoed: now,
            next_beat: now + inner.timings.beat,
            next_judgement: now + inner.timings.suspect,
            inner,
            receiver,
            feed,
            batch: Vec::with_capacity(BATCH),
            roster,
            senders: FxHashMap::default(),
            ungreeted,
            all_know: Some(all_know),
            down: None,
        };
        run.weigh();
        run
    }

    /// Looks how busy this server is, which the others are told from now on.
    fn weigh(&self) {
        self.inner.members.set_load(&self.inner.own.id, self.receiver.load());
    }

    /// Takes what has arrived, at most so many batches. Ready if there may be more, or, with false, at the end of the
    /// subscription.
    pub(crate) fn poll_hear(&mut self, cx: &mut Context<'_>, batches: usize) -> Poll<bool> {
        let mut batch = std::mem::take(&mut self.batch);
        let mut heard = BATCH;
        for _ in 0..batches {
            heard = match self.feed.poll_recv_many(cx, &mut batch, BATCH) {
                Poll::Ready(heard) => heard,
                Poll::Pending => {
                    self.batch = batch;
                    return Poll::Pending;
                }
            };
            let now = Instant::now();
            for delivery in batch.drain(..) {
                self.on_delivery(delivery, now);
                self.settle();
            }
            if heard < BATCH {
                break;
            }
        }
        self.batch = batch;
        match heard {
            0 => Poll::Ready(false),
            BATCH => Poll::Ready(true),
            _ => Poll::Pending,
        }
    }

    pub(crate) fn wake_at(&self) -> Instant {
        let mut wake_at = self.next_beat;
        let Inner { calls, unsent, .. } = &*self.inner;
        for sooner in [calls.look(), unsent.again()].into_iter().flatten() {
            wake_at = wake_at.min(sooner);
        }
        match self.down {
            None => wake_at.min(self.next_judgement),
            Some((since, true)) => wake_at.min(since + self.inner.timings.grace),
            Some((_, false)) => wake_at,
        }
    }

    pub(crate) fn on_time(&mut self) {
        let now = Instant::now();
        self.inner.calls.end_late(now);
        if self.inner.unsent.again().is_some_and(|again| again <= now) {
            self.retry_unsent();
        }
        match self.down {
            Some((since, true)) if since + self.inner.timings.grace <= now => {
                self.down = Some((since, false));
                self.inner.calls.end_all(&CallFailure::Disconnected);
            }
            Some(_) => {}
            None if self.next_judgement <= now => {
                // Who does not hear itself hears nobody. Either the process was frozen, and what others said is still to
                // be read, or nothing gets through, and the engine has yet to find out.
                if self.echoed + self.inner.timings.suspect <= now {
                    self.roster.forgive(now);
                }
                self.next_judgement = self.roster.judge(now);
            }
            None => {}
        }
        if self.next_beat <= now {
            self.weigh();
            self.inner.announce();
            self.next_beat = now + self.inner.timings.beat;
        }
    }

    /// Sends the answers again that found a queue full.
    fn retry_unsent(&self) {
        let Inner { own, unsent, .. } = &*self.inner;
        let lost = unsent.retry(Instant::now(), |reply| {
            self.inner.answer(&reply.to, reply.number, reply.status, &reply.payload)
        });
        if 0 < lost {
            tracing::warn!(server = %own.id, lost, "answers were given up that had found a queue full");
        }
    }

    /// The same for the last time.
    pub(crate) fn end_unsent(&self) {
        self.retry_unsent();
        let lost = self.inner.unsent.close();
        if 0 < lost {
            tracing::warn!(server = %self.inner.own.id, lost, "answers are given up, for this server leaves");
        }
    }

    pub(crate) fn on_link(&mut self, link: Link) {
        let now = Instant::now();
        match (link, self.down) {
            (Link::Down, None) => {
                tracing::warn!(server = %self.inner.own.id, "the link to the cluster is down");
                self.down = Some((now, true));
                self.receiver.event(Event::LinkLost);
            }
            (Link::Up, Some((since, _))) => {
                let after = now - since;
                tracing::info!(server = %self.inner.own.id, ?after, "the link to the cluster is back");
                self.down = None;
                self.roster.forgive(now);
                self.next_judgement = now + self.inner.timings.suspect;
                self.inner.announce();
                self.ask_who();
                self.receiver.event(Event::LinkBack { after });
            }
            _ => {}
        }
    }

    fn on_delivery(&mut self, delivery: Delivery, now: Instant) {
        let (subject, payload) = match delivery {
            Delivery::Message { subject, payload } => (subject, payload),
            Delivery::NobodyThere { token } => return self.on_nobody(token),
        };
        let understood = match self.inner.subjects.of(&subject) {
            Heard::Frame => self.on_frame(payload, now),
            Heard::Beat => read(&payload).map(|beat| self.on_beat(beat, now)),
            Heard::Greeting => read(&payload).map(|beat| self.on_greeting(beat, now)),
            Heard::Bye => read(&payload).map(|bye| self.roster.bye(&bye)),
            Heard::Who => read(&payload).map(|who| self.on_who(&who)),
            Heard::Unknown => None,
        };
        if understood.is_none() {
            self.inner.counts.unreadable.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(server = %self.inner.own.id, %subject, "a message that can't be read");
        }
    }

    fn on_frame(&mut self, mut bytes: Bytes, now: Instant) -> Option<()> {
        let Frame { what, from, to, place, id, kind, head } = frame::decode(&bytes).ok()?;
        let inner = &self.inner;
        let for_us = to == inner.own.boot;
        if let What::Answer { number, status } = what {
            if let Some(sender) = self.senders.get_mut(&from).filter(|_| for_us) {
                // Casts that were sent before it come too late from now on.
                sender.is_late(place);
            }
            // Without a waiting call the answer came too late, which is no fault.
            if let Some(waiting) = for_us.then(|| inner.calls.take(number)).flatten() {
                bytes.advance(head);
                let payload = bytes;
                waiting.end(match status {
                    Status::Answered => Ok(payload),
                    Status::Refused => {
                        Err(CallFailure::Refused(String::from_utf8_lossy(&payload).into_owned()))
                    }
                    Status::Stale => Err(CallFailure::NoResponders),
                });
            }
            return Some(());
        }
        let sender = match self.senders.entry(from) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let id: ServerId = std::str::from_utf8(id).ok()?.parse().ok()?;
                let kind = std::str::from_utf8(kind).ok()?.parse().ok()?;
                let subject = inner.subjects.in_of(&id);
                let peer = Peer { id, kind, boot: from };
                let reply = Arc::new(ReplyTo { peer, subject, lost: AtomicU32::new(0) });
                unknown.insert(Sender { reply, place: Place::default(), next: 1 })
            }
        };
        // The sessions and rooms that this is about were another run's, or have been let go of since the
        // sender was taken for dead, which it does not know yet.
        let counts = for_us && self.roster.hear(&sender.reply.peer.id, from, place.met());
        if counts && !self.roster.events.is_empty() {
            // That we were forgotten is told before anything that came after it.
            self.settle();
            return self.on_frame(bytes, now);
        }
        if !counts || sender.is_late(place) {
            inner.counts.stale.fetch_add(1, Ordering::Relaxed);
            if let What::Call { number, .. } = what {
                let answer = What::Answer { number, status: Status::Stale };
                let _ =
                    inner.publish(&sender.reply.subject, from, Place::default(), answer, &[], None);
            }
            return Some(());
        }
        // Not sliced, for what has one owner needs no count of them.
        bytes.advance(head);
        let payload = bytes;
        match what {
            What::Call { number, left } => {
                let deadline = now + Duration::from_millis(left.into());
                let answer = Answer::new(inner, &sender.reply, number, deadline);
                self.receiver.call(&sender.reply.peer, payload, answer);
            }
            What::Cast { seq } => {
                let missed = seq.saturating_sub(sender.next);
                sender.next = seq.saturating_add(1);
                if missed != 0 {
                    inner.counts.missed.fetch_add(missed, Ordering::Relaxed);
                    tracing::warn!(server = %inner.own.id, from = %sender.reply.peer.id, missed, "casts got lost");
                    self.receiver
                        .event(Event::Missed { from: sender.reply.peer.clone(), casts: missed });
                }
                self.receiver.cast(&sender.reply.peer, payload);
            }
            What::Answer { .. } => {}
        }
        Some(())
    }

    fn on_beat(&mut self, beat: Beat, now: Instant) {
        let own = &self.inner.own;
        if beat.id == own.id {
            if beat.boot == own.boot {
                self.echoed = now;
            } else {
                self.on_double(&beat, now);
            }
            return;
        }
        let (id, boot) = (beat.id.clone(), beat.boot);
        let subjects = &self.inner.subjects;
        self.roster.beat(beat, now, || subjects.in_of(&id));
        // One that was taken for dead is told until it knows.
        if self.roster.greeting(boot).is_some_and(|greeting| !greeting.sure) {
            self.greet(&id, boot);
        }
    }

    fn on_greeting(&mut self, beat: Beat, now: Instant) {
        self.ungreeted.remove(&beat.id);
        let (id, boot, greeting) = (beat.id.clone(), beat.boot, beat.greeting);
        self.on_beat(beat, now);
        let own = self.inner.own.boot;
        if let Some(Greeting { met, sure, .. }) = greeting.filter(|greeting| greeting.to == own) {
            self.roster.hear(&id, boot, met);
            if !sure {
                self.greet(&id, boot);
            }
        }
    }

    fn greet(&self, id: &ServerId, boot: Boot) {
        self.inner.say_beat(&self.inner.subjects.beat_of(id), self.roster.greeting(boot));
    }

    /// Another run of this server is there. The younger stays: it asked whether we were here, and we
    /// did not answer, so we were cut off and the others have taken us for dead.
    fn on_double(&mut self, beat: &Beat, now: Instant) {
        let own = &self.inner.own;
        let (boot, since) = *self.double.get_or_insert((beat.boot, now));
        if boot != beat.boot {
            self.double = Some((beat.boot, now));
        } else if now < since + self.inner.timings.suspect {
            // It may have ended: a beat of an earlier run of this server, which took long.
        } else if (beat.age, own.boot) < (self.inner.age(), beat.boot) {
            tracing::error!(server = %own.id, by = %beat.boot, "another run of this server is in the cluster");
            self.inner.stop.cancel();
            self.receiver.event(Event::Replaced { by: beat.boot });
        } else {
            self.inner.announce();
        }
    }

    fn on_who(&mut self, who: &Who) {
        if who.boot == self.inner.own.boot {
            return;
        }
        if let Ok(inbox) = Subject::new(&who.inbox) {
            self.inner.say_beat(&inbox, None);
        }
    }

    fn on_nobody(&mut self, number: u64) {
        let Some(waiting) = self.inner.calls.take(number) else {
            return;
        };
        let (to, boot) = waiting.to();
        self.roster.doubt(to, boot);
        self.ask_who();
        waiting.end(Err(CallFailure::NoResponders));
    }

    fn ask_who(&self) {
        let inner = &self.inner;
        let who = Who { boot: inner.own.boot, inbox: inner.subjects.own_beat.to_string() };
        inner.say(&inner.subjects.who, &who, None);
    }

    /// Acts on what the roster found, and tells the receiver.
    pub(crate) fn settle(&mut self) {
        for event in std::mem::take(&mut self.roster.events) {
            match &event {
                Event::Joined(member) => {
                    tracing::debug!(server = %self.inner.own.id, joined = %member.id, boot = %member.boot, "a server is here");
                    // It may not know us, and waits for this if it has just joined.
                    self.greet(&member.id, member.boot);
                }
                Event::Left(member) => {
                    tracing::debug!(server = %self.inner.own.id, left = %member.id, "a server has left");
                    self.forget(&member.id, member.boot);
                }
                Event::Died(member) => {
                    tracing::warn!(server = %self.inner.own.id, died = %member.id, boot = %member.boot, "a server is dead");
                    self.forget(&member.id, member.boot);
                }
                Event::Forgotten { by } => {
                    self.lose_calls_of(by.boot);
                    tracing::warn!(server = %self.inner.own.id, by = %by.id, "another server had taken this one for dead");
                }
                _ => {}
            }
            self.receiver.event(event);
        }
        if self.ungreeted.is_empty()
            && let Some(all_know) = self.all_know.take()
        {
            // Nobody waits if joining took too long.
            let _ = all_know.send(());
        }
    }

    /// Nobody waits any more for what this peer has asked until now.
    fn lose_calls_of(&self, boot: Boot) {
        if let Some(sender) = self.senders.get(&boot) {
            sender.reply.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn forget(&mut self, id: &ServerId, boot: Boot) {
        self.ungreeted.remove(id);
        self.lose_calls_of(boot);
        self.inner.calls.end_of(boot, &CallFailure::Gone);
        // The numbers of its casts are kept, for it may only be cut off; not those of all there ever were.
        if STRANGERS < self.senders.len() {
            let members = &self.inner.members;
            self.senders.retain(|boot, sender| {
                members.get(&sender.reply.peer.id).is_some_and(|member| member.boot == *boot)
            });
        }
    }
}

/// Ends a node when its loop does, however that comes.
struct End(Arc<Inner>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.stop.cancel();
        self.0.calls.close();
        self.0.unsent.close();
        self.0.ended.cancel();
    }
}

fn read<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<T> {
    rmp_serde::from_slice(payload).ok()
}
