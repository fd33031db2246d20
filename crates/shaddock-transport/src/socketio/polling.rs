//! A client that polls: requests that come one by one, and what waits for them.

use std::{
    io, mem,
    task::{Context, Poll, ready},
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
    /// What a request says, until all of it was heard, and the request: a client posts again only when it is answered.
    post: Option<(Option<Visitor>, Payload)>,
    answers: Vec<Answer>,
    upgrade: Option<Upgrading>,
}

/// A WebSocket that the client may go on with.
#[derive(Debug)]
struct Upgrading {
    wire: Box<HybridWire>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    /// It works. From now on no request waits, so that the client can stop polling.
    Proved,
    /// The client has stopped: all that is sent goes here. What it posted is yet to be heard.
    Done,
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

    /// Leaves a packet for the next poll, or for the WebSocket that the client goes on with.
    pub(super) fn put(&mut self, packet: &str) {
        match &mut self.upgrade {
            Some(Upgrading { wire, stage: Stage::Done }) => {
                wire.send(&Bytes::copy_from_slice(packet.as_bytes()));
            }
            _ => payload::put(&mut self.out, packet),
        }
    }

    pub(super) fn unsent(&self) -> usize {
        let answers: usize = self.answers.iter().map(Answer::unwritten).sum();
        self.out.len() + answers + self.upgrade.as_ref().map_or(0, |upgrade| upgrade.wire.unsent())
    }

    /// What the client does next.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, WireError>> {
        loop {
            self.take_visits(cx);
            self.poll_upgrade(cx);
            if let Some((visitor, mut payload)) = self.post.take() {
                match payload.next() {
                    Some(Ok(packet)) => {
                        self.post = Some((visitor, payload));
                        return Poll::Ready(Ok(Step::Says(packet)));
                    }
                    Some(Err(violation)) => return Poll::Ready(Err(violation.into())),
                    None => self.answers.extend(visitor.map(|visitor| visitor.answer(DONE))),
                }
                continue;
            }
            // So that whoever only receives answers posts, too.
            if let Poll::Ready(Err(error)) = self.poll_answers(cx) {
                return Poll::Ready(Err(error.into()));
            }
            if let Some(upgrade) = self.upgrade.take_if(|upgrade| upgrade.stage == Stage::Done) {
                return Poll::Ready(Ok(Step::Upgrades(upgrade.wire)));
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
        // A client goes on with its WebSocket to hear what waits, even while nothing more is received from it.
        self.poll_upgrade(cx);
        let is_upgrading = self.is_upgrading();
        if (!self.out.is_empty() || is_upgrading)
            && let Some(poll) = self.poll.take()
        {
            self.answer(poll);
        }
        if let Some(Upgrading { wire, stage: Stage::Done }) = &mut self.upgrade {
            ready!(wire.poll_flush(cx))?;
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
        if let Some((Some(visitor), _)) = self.post.take() {
            self.answers.push(visitor.answer(DONE));
        }
        self.poll_answers(cx)
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
                    self.post = Some((Some(visitor), payload));
                }
                // Two at once have no order.
                Visit::Post(..) => {}
                Visit::Upgrade(wire) => {
                    if self.upgrade.as_ref().is_none_or(|former| former.stage != Stage::Done) {
                        self.upgrade = Some(Upgrading { wire, stage: Stage::Begun });
                    }
                }
            }
        }
    }

    fn is_upgrading(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.stage != Stage::Begun)
    }

    /// Drives the WebSocket that the client may go on with, until it does.
    fn poll_upgrade(&mut self, cx: &mut Context<'_>) {
        while let Some(mut upgrade) = self.upgrade.take_if(|upgrade| upgrade.stage != Stage::Done) {
            let said = match upgrade.wire.poll_receive(cx) {
                Poll::Ready(Some(Ok(chunk))) => str::from_utf8(&chunk).map(Packet::decode),
                // It can poll as before.
                Poll::Ready(_) => return,
                Poll::Pending => {
                    // What can't be written is for the next read to find.
                    let _ = upgrade.wire.poll_flush(cx);
                    self.upgrade = Some(upgrade);
                    break;
                }
            };
            match (said, upgrade.stage) {
                // Only once, for what it does not read would pile up.
                (Ok(Ok(Packet::Probe)), Stage::Begun) => {
                    upgrade.wire.send(&Bytes::from_static(packet::PONG_PROBE.as_bytes()));
                    upgrade.stage = Stage::Proved;
                }
                (Ok(Ok(Packet::Upgrade)), Stage::Proved) => {
                    let out = mem::take(&mut self.out);
                    let mut waiting = Payload::new(out.into_bytes(), Form::Text);
                    while let Some(Ok(packet)) = waiting.next() {
                        upgrade.wire.send(&Bytes::from(packet));
                    }
                    upgrade.stage = Stage::Done;
                }
                _ => return,
            }
            self.upgrade = Some(upgrade);
        }
        // The client waits for this, and does not poll meanwhile, so all of it might never be heard.
        if self.is_upgrading()
            && let Some((visitor, _)) = &mut self.post
            && let Some(visitor) = visitor.take()
        {
            self.answers.push(visitor.answer(DONE));
        }
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
