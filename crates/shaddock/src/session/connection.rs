//! The task of one client connection: bytes in, messages to handlers, frames out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::value::RawValue;
use shaddock_protocol::{CloseReason, Dialect, Event, Hello, Incoming};
use shaddock_transport::{Wire, WireError};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::Moved;
use super::lane::Job;
use super::mailbox::Order;
use super::record::Record;
use crate::error::Fault;
use crate::filters::Meter;

/// How much may wait in a wire's own buffer before frames stay in the mailbox, where they are counted.
const WIRE_BUFFER: usize = 64 * 1024;

/// How long a peer may take over an orderly close before the socket is dropped.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Those who handle what a session says. The session knows nothing else of them.
pub(crate) trait Desk: Send + Sync + 'static {
    /// Whether a client may come in, by what it said of itself.
    fn greet(&self, record: &Arc<Record>, hello: Hello) -> Greeting;
    /// Takes a message; what is to be done here comes back as a job.
    fn take(&self, record: &Arc<Record>, message: Incoming) -> Taken;
    /// What to do about a key that has a new owner.
    fn moved(&self, record: &Arc<Record>, moved: Moved) -> Job;
    /// What to do when the session has ended, once.
    fn closed(&self, record: &Arc<Record>) -> Job;
}

/// The answer to a handshake.
pub(crate) enum Greeting {
    Accept(Option<Box<RawValue>>),
}

/// What became of a message.
pub(crate) enum Taken {
    /// It is handled here; the session's next message waits for it.
    InOrder(Job),
    /// It is handled here, beside others.
    Beside(Job),
    /// It was sent on, or answered.
    Done,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the client left")]
    Left,
    #[error("the connection was lost: {0}")]
    Lost(WireError),
    #[error(transparent)]
    Dialect(CloseReason),
    #[error("the client does not read what is sent to it")]
    Overflow,
    #[error("the client gave no sign of life when asked for one")]
    Silent,
    #[error("the server stops")]
    Stopping,
}

impl Ending {
    /// The label of the counter.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Ending::Left => "left",
            Ending::Lost(_) => "lost",
            Ending::Dialect(reason) => reason.name(),
            Ending::Overflow => "overflow",
            Ending::Silent => "silent",
            Ending::Stopping => "stopping",
        }
    }

    /// Whether a limit of ours ended it.
    fn is_a_limit(&self) -> bool {
        use CloseReason as Reason;
        matches!(
            self,
            Ending::Overflow
                | Ending::Dialect(
                    Reason::HandshakeTimeout
                        | Reason::TooLongBeforeHandshake { .. }
                        | Reason::TooLong { .. }
                        | Reason::TooMuchEarly { .. }
                )
        )
    }

    /// Whether there is still somebody who could read what is under way.
    fn leaves_a_reader(&self) -> bool {
        match self {
            Ending::Stopping | Ending::Silent => true,
            Ending::Dialect(_) => true,
            Ending::Left | Ending::Lost(_) | Ending::Overflow => false,
        }
    }
}

/// What a look at the clock says.
enum Tick {
    /// Nothing to do before the timer fires.
    Wait,
    /// Something changed: look at everything again.
    Again,
    /// The client is dead.
    Silent,
}

/// What a connection may use up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Messages under way or waiting, before we stop reading from this client.
    pub(crate) lane: usize,
    /// How often a client without heartbeats is asked whether it lives.
    pub(crate) probe: Option<Duration>,
    /// How long what is under way may take once the connection has ended.
    pub(crate) drain: Duration,
}

/// One connection: a wire, the dialect spoken over it, and what it asked for.
///
/// One task does all of it, so that a batch of requests costs one wake-up and one write.
pub(crate) struct Connection<W, D> {
    wire: W,
    dialect: D,
    record: Arc<Record>,
    desk: Arc<dyn Desk>,
    terms: Terms,
    meter: Option<Box<Meter>>,
    stop: CancellationToken,
    /// Messages that wait for the one being handled.
    waiting: VecDeque<Incoming>,
    moves: VecDeque<Moved>,
    running: Option<Job>,
    beside: Option<Box<FuturesUnordered<Job>>>,
    /// Boxed, for a connection without any deadline has none.
    sleep: Option<Pin<Box<Sleep>>>,
    /// When a client without heartbeats was last known to live.
    heard: Instant,
    /// Whether the dialect was told that we have stopped reading.
    suspended: bool,
}

impl<W: Wire, D: Dialect> Connection<W, D> {
    pub(crate) fn new(
        wire: W,
        dialect: D,
        record: Arc<Record>,
        desk: Arc<dyn Desk>,
        terms: Terms,
        meter: Option<Box<Meter>>,
        stop: CancellationToken,
    ) -> Connection<W, D> {
        Connection {
            wire,
            dialect,
            record,
            desk,
            terms,
            meter,
            stop,
            waiting: VecDeque::new(),
            moves: VecDeque::new(),
            running: None,
            beside: None,
            sleep: None,
            heard: Instant::now(),
            suspended: false,
        }
    }

    /// Serves the client until the connection ends, and brings everything it began to its end.
    pub(crate) async fn run(mut self) -> Ending {
        let stop = self.stop.clone();
        let ending = {
            let mut stopped = std::pin::pin!(stop.cancelled());
            poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Ending::Stopping);
                }
                self.poll_open(cx)
            })
            .await
        };
        self.log(&ending);
        if !ending.leaves_a_reader() {
            self.close_wire().await;
        }
        let keep = matches!(ending, Ending::Stopping | Ending::Left | Ending::Lost(_));
        if !keep {
            self.waiting.clear();
        }
        let limit = self.terms.drain;
        let drained = poll_fn(|cx| self.poll_drain(cx, keep));
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!(
                server = %self.record.frontend.id, session = %self.record.id,
                "requests were abandoned at the end of a session",
            );
        }
        self.running = None;
        self.beside = None;
        self.desk.closed(&self.record).await;
        if ending.leaves_a_reader() {
            self.send_out();
            self.close_wire().await;
        }
        ending
    }

    /// What limits did is news; the coming and going of clients is not.
    fn log(&self, ending: &Ending) {
        let (server, session, peer) = (&self.record.frontend.id, self.record.id, self.record.peer);
        let reason = ending.name();
        if ending.is_a_limit() {
            tracing::warn!(%server, %session, %peer, reason, why = %ending, "a client is closed for a limit");
        } else {
            tracing::debug!(%server, %session, %peer, reason, why = %ending, "a connection ends");
        }
    }

    /// Everything that can be done now, and then one write.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.record.mailbox.register(cx.waker());
        let now = Instant::now();
        loop {
            if let Some(ending) = self.hear(cx, now) {
                // What the dialect has to say about it goes out with the close.
                self.send_out();
                return Poll::Ready(ending);
            }
            if let Some(ending) = self.speak(cx) {
                return Poll::Ready(ending);
            }
            match self.tick(cx, now) {
                Tick::Wait => return Poll::Pending,
                Tick::Again => {}
                Tick::Silent => return Poll::Ready(Ending::Silent),
            }
        }
    }

    /// Reads and handles until there is nothing to read, or no room for it.
    fn hear(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<Ending> {
        loop {
            while self.has_room() {
                match self.dialect.poll_event(now.into_std()) {
                    Some(Event::Close(reason)) => return Some(Ending::Dialect(reason)),
                    Some(event) => self.on_event(event, now),
                    None => break,
                }
            }
            self.poll_lane(cx);
            if !self.has_room() {
                if !self.suspended {
                    self.suspended = true;
                    self.record.frontend.metrics.suspensions.increment(1);
                    self.dialect.suspend_timeout();
                }
                return None;
            }
            if self.suspended {
                self.suspended = false;
                self.dialect.resume_timeout(now.into_std());
                continue; // what was left in the dialect comes first
            }
            match self.wire.poll_receive(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.heard = now;
                    self.record.frontend.metrics.bytes_in.increment(chunk.len() as u64);
                    self.dialect.receive(chunk, now.into_std());
                }
                Poll::Ready(None) => return Some(Ending::Left),
                Poll::Ready(Some(Err(error))) => return Some(Ending::Lost(error)),
                Poll::Pending => return None,
            }
        }
    }

    fn has_room(&self) -> bool {
        let beside = self.beside.as_ref().map_or(0, |beside| beside.len());
        self.waiting.len() + beside + self.record.forwarded() < self.terms.lane
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        let metrics = &self.record.frontend.metrics;
        match event {
            Event::Handshake(hello) => match self.desk.greet(&self.record, hello) {
                Greeting::Accept(user) => self.dialect.accept(user.as_deref(), now.into_std()),
            },
            Event::Ready => self.record.set_voice(self.dialect.voice().clone()),
            Event::Message(message) => {
                metrics.messages.increment(1);
                if self.meter.as_ref().is_none_or(|meter| meter.allows()) {
                    self.waiting.push_back(message);
                } else {
                    metrics.rate_limited.increment(1);
                    let fault = Fault::new(429, "too many requests");
                    self.record.respond(message.id, &message.route, &fault.to_body());
                }
            }
            Event::Refused { id: _, reason } => {
                metrics.malformed.increment(1);
                tracing::debug!(
                    server = %self.record.frontend.id, session = %self.record.id, %reason,
                    "a message was refused",
                );
            }
            Event::Close(_) => {} // the caller's
        }
    }

    /// Handles what waits, each message after the one before it.
    fn poll_lane(&mut self, cx: &mut Context<'_>) {
        if let Some(beside) = &mut self.beside {
            while let Poll::Ready(Some(())) = beside.poll_next_unpin(cx) {}
            if beside.is_empty() {
                self.beside = None;
            }
        }
        loop {
            if let Some(running) = &mut self.running {
                if running.poll_unpin(cx).is_pending() {
                    return;
                }
                self.running = None;
            }
            if let Some(moved) = self.moves.pop_front() {
                self.running = Some(self.desk.moved(&self.record, moved));
                continue;
            }
            let Some(message) = self.waiting.pop_front() else { break };
            match self.desk.take(&self.record, message) {
                Taken::InOrder(job) => self.running = Some(job),
                Taken::Beside(mut job) => {
                    if job.poll_unpin(cx).is_pending() {
                        self.beside.get_or_insert_default().push(job);
                        // So that it is polled once inside, and wakes us when it can go on.
                        cx.waker().wake_by_ref();
                    }
                }
                Taken::Done => {}
            }
        }
        if self.waiting.is_empty() && 16 < self.waiting.capacity() {
            self.waiting = VecDeque::new();
        }
    }

    /// Gives the wire what waits for the client, and writes it.
    fn speak(&mut self, cx: &mut Context<'_>) -> Option<Ending> {
        loop {
            let more = match self.collect() {
                Ok(more) => more,
                Err(ending) => return Some(ending),
            };
            if !self.moves.is_empty() {
                self.poll_lane(cx);
            }
            match self.wire.poll_flush(cx) {
                Poll::Ready(Ok(())) if more => {}
                Poll::Ready(Ok(())) | Poll::Pending => return None,
                Poll::Ready(Err(error)) => return Some(Ending::Lost(error.into())),
            }
        }
    }

    /// Empties the mailbox into the wire, as far as there is room. Says whether there is more.
    fn collect(&mut self) -> Result<bool, Ending> {
        let metrics = &self.record.frontend.metrics;
        let wire = &mut self.wire;
        if WIRE_BUFFER <= wire.unsent() {
            return Ok(false);
        }
        let collected = self.record.mailbox.collect(|frame| {
            metrics.bytes_out.increment(frame.len() as u64);
            wire.send(frame);
            wire.unsent() < WIRE_BUFFER
        });
        while let Some(frame) = self.dialect.poll_transmit() {
            self.wire.send(&frame);
        }
        if collected.overflow {
            return Err(Ending::Overflow);
        }
        for order in collected.orders {
            match order {
                Order::Moved(moved) => self.moves.push_back(moved),
                Order::Kick(reason) => {
                    self.dialect.kick(reason.as_deref());
                    self.send_out();
                    return Err(Ending::Dialect(CloseReason::Kicked));
                }
            }
        }
        Ok(collected.more)
    }

    /// Puts everything that is ready into the wire's buffer, for the close to write.
    fn send_out(&mut self) {
        let wire = &mut self.wire;
        self.record.mailbox.collect(|frame| {
            wire.send(frame);
            true
        });
        while let Some(frame) = self.dialect.poll_transmit() {
            self.wire.send(&frame);
        }
    }

    /// The heartbeat, and the search for the dead where there is none.
    fn tick(&mut self, cx: &mut Context<'_>, now: Instant) -> Tick {
        loop {
            let probe = self.terms.probe.map(|every| self.heard + every);
            let timeout = self.dialect.poll_timeout().map(Instant::from_std);
            let Some(deadline) = [probe, timeout].into_iter().flatten().min() else {
                self.sleep = None;
                return Tick::Wait;
            };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            // Deadlines move on with every heartbeat; the timer is set again only when it has fired.
            if deadline < sleep.deadline() {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Tick::Wait;
            }
            // Of all that is idle this much is sure: it has not said anything for a while.
            self.record.mailbox.shrink();
            if now < deadline {
                sleep.as_mut().reset(deadline);
                continue;
            }
            if timeout.is_some_and(|timeout| timeout <= now) {
                self.dialect.handle_timeout(now.into_std());
                return Tick::Again;
            }
            if !self.wire.ping() {
                return Tick::Silent;
            }
            self.heard = now;
            return Tick::Again;
        }
    }

    /// Ready when nothing of this session is under way any more.
    fn poll_drain(&mut self, cx: &mut Context<'_>, keep: bool) -> Poll<()> {
        self.record.mailbox.register(cx.waker());
        let now = Instant::now();
        while keep && self.has_room() {
            match self.dialect.poll_event(now.into_std()) {
                Some(Event::Message(message)) => self.waiting.push_back(message),
                Some(_) => {}
                None => break,
            }
        }
        self.poll_lane(cx);
        // Whoever can still read gets the answers as they come.
        let _ = self.speak(cx);
        let idle = self.running.is_none()
            && self.beside.is_none()
            && self.waiting.is_empty()
            && self.record.forwarded() == 0;
        if idle { Poll::Ready(()) } else { Poll::Pending }
    }

    async fn close_wire(&mut self) {
        let closed = poll_fn(|cx| self.wire.poll_close(cx));
        match tokio::time::timeout(CLOSE_LIMIT, closed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::trace!(session = %self.record.id, %error, "a close failed"),
            Err(_) => tracing::trace!(session = %self.record.id, "a peer did not take its close"),
        }
    }
}
