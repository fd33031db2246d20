//! A client that polls: requests that come one by one, and what waits for them.

use std::{
    io, mem,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    packet::{self, Packet},
    payload::{self, Form, Payload},
    sessions::{Session, Visit},
    visitor::{Answer, Visitor},
};
use crate::{HybridWire, Wire, WireError};

/// The requests of a client that polls, and what there is to say to it.
#[derive(Debug)]
pub(super) struct Polling {
    session: Session,
    /// What waits for a poll, as it goes into its answer.
    out: String,
    /// The request that waits for something to say.
    poll: Option<Visitor>,
    /// The request that says something, until all of it was heard: a client posts again only when it is answered.
    post: Option<(Visitor, Payload)>,
    answers: Vec<Answer>,
    upgrade: Option<Upgrading>,
}

/// A WebSocket that the client may go on with.
#[derive(Debug)]
struct Upgrading {
    wire: Box<HybridWire>,
    /// It works. From now on no poll waits, so that the client can stop polling.
    is_proved: bool,
}

/// What a client that polls does.
#[derive(Debug)]
pub(super) enum Step {
    /// It says this packet.
    Says(String),
    /// It goes on with a WebSocket.
    Upgrades(Box<HybridWire>),
    /// It gave up a request that was not answered yet.
    Leaves,
}

/// What a post is told when all of it was heard.
const DONE: &str = "ok";

/// As many answers as may be under way. A client that reads has one or two.
const ANSWERS: usize = 4;

impl Polling {
    /// A client that begins with a poll.
    pub(super) fn new(session: Session, poll: Visitor) -> Polling {
        Polling {
            session,
            out: String::new(),
            poll: Some(poll),
            post: None,
            answers: Vec::new(),
            upgrade: None,
        }
    }

    /// Leaves a packet for the next poll.
    pub(super) fn put(&mut self, packet: &str) {
        payload::put(&mut self.out, packet);
    }

    pub(super) fn unsent(&self) -> usize {
        self.out.len() + self.answers.iter().map(Answer::unwritten).sum::<usize>()
    }

    /// What the client does next.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, WireError>> {
        loop {
            self.take_visits(cx);
            if let Some((visitor, mut payload)) = self.post.take() {
                match payload.next() {
                    Some(Ok(packet)) => {
                        self.post = Some((visitor, payload));
                        return Poll::Ready(Ok(Step::Says(packet)));
                    }
                    Some(Err(violation)) => return Poll::Ready(Err(violation.into())),
                    None => self.answers.push(visitor.answer(DONE)),
                }
                continue;
            }
            if let Some(wire) = self.poll_upgrade(cx) {
                return Poll::Ready(Ok(Step::Upgrades(wire)));
            }
            // So that whoever only receives answers posts, too.
            if let Poll::Ready(Err(error)) = self.poll_answers(cx) {
                return Poll::Ready(Err(error.into()));
            }
            return match self.poll.as_mut().is_some_and(|poll| poll.has_left(cx)) {
                true => Poll::Ready(Ok(Step::Leaves)),
                false => Poll::Pending,
            };
        }
    }

    /// Ready when nothing is left to say and every answer is with the kernel.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_visits(cx);
        let is_upgrading = self.upgrade.as_ref().is_some_and(|upgrade| upgrade.is_proved);
        if (!self.out.is_empty() || is_upgrading)
            && let Some(poll) = self.poll.take()
        {
            self.answer(poll);
        }
        match self.poll_answers(cx) {
            Poll::Ready(Ok(())) if !self.out.is_empty() => Poll::Pending,
            other => other,
        }
    }

    /// Answers the requests of a client that has left. Ready when that is done.
    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out = String::new();
        if let Some(poll) = self.poll.take() {
            self.answer(poll);
        }
        if let Some((visitor, _)) = self.post.take() {
            self.answers.push(visitor.answer(DONE));
        }
        self.poll_answers(cx)
    }

    /// What waits for a poll that will not come any more, packet by packet.
    pub(super) fn into_waiting(self) -> impl Iterator<Item = Bytes> {
        let mut payload = Payload::new(self.out.into_bytes(), Form::Text);
        std::iter::from_fn(move || payload.next()?.ok().map(Bytes::from))
    }

    /// Gives a poll all there is to say.
    fn answer(&mut self, poll: Visitor) {
        let mut out = mem::take(&mut self.out);
        if out.is_empty() {
            payload::put(&mut out, packet::NOOP);
        }
        self.answers.push(poll.answer(&out));
    }

    fn take_visits(&mut self, cx: &mut Context<'_>) {
        while self.answers.len() < ANSWERS
            && let Poll::Ready(visit) = self.session.poll_visit(cx)
        {
            match visit {
                Visit::Poll(visitor) => {
                    if let Some(former) = self.poll.replace(visitor) {
                        self.answer(former);
                    }
                }
                Visit::Post(visitor, payload) if self.post.is_none() => {
                    self.post = Some((visitor, payload));
                }
                // Two at once have no order.
                Visit::Post(..) => {}
                Visit::Upgrade(wire) => {
                    self.upgrade = Some(Upgrading { wire, is_proved: false });
                }
            }
        }
    }

    /// Drives the WebSocket that the client may go on with, and gives it when it does.
    fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> Option<Box<HybridWire>> {
        while let Some(mut upgrade) = self.upgrade.take() {
            let said = match upgrade.wire.poll_receive(cx) {
                Poll::Ready(Some(Ok(chunk))) => str::from_utf8(&chunk).map(Packet::decode),
                // It can poll as before.
                Poll::Ready(_) => return None,
                Poll::Pending => {
                    // What can't be written is for the next read to find.
                    let _ = upgrade.wire.poll_flush(cx);
                    self.upgrade = Some(upgrade);
                    return None;
                }
            };
            match said {
                // Only once, for what it does not read would pile up.
                Ok(Ok(Packet::Probe)) if !upgrade.is_proved => {
                    upgrade.wire.send(&Bytes::from_static(packet::PONG_PROBE.as_bytes()));
                    upgrade.is_proved = true;
                    self.upgrade = Some(upgrade);
                }
                Ok(Ok(Packet::Upgrade)) if upgrade.is_proved => return Some(upgrade.wire),
                _ => {}
            }
        }
        None
    }

    /// Writes what it can. An answer that can't be written is lost, and so is the client.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let was_full = ANSWERS <= self.answers.len();
        let mut failed = None;
        self.answers.retain_mut(|answer| match answer.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(written) => {
                failed = written.err().or(failed.take());
                false
            }
        });
        if was_full && self.answers.len() < ANSWERS {
            // There is room for visits again, which nobody looked for meanwhile.
            cx.waker().wake_by_ref();
        }
        if self.answers.is_empty() {
            // An idle wire holds no buffer.
            self.answers = Vec::new();
        }
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if self.answers.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}
