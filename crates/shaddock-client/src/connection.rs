//! One connection: it moves bytes between a wire and the protocol's machine, and sleeps.

use std::{
    collections::HashMap,
    future::poll_fn,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use shaddock_protocol::{
    self as protocol, EncodeError,
    pomelo::{Client as Machine, ClientEvent, ClientOptions, Tables, Welcome},
};
use shaddock_transport::{Wire, WireError};
use tokio::time::{Instant, sleep_until};

use crate::{
    CloseReason, ConnectError, Push, RequestError,
    commands::{Command, Commands, Reply, Then},
    error::words,
    pushes::Subscriptions,
};

/// While the wire holds more unsent bytes than this no command is taken, so that they wait too.
const HIGH_WATER: usize = 64 * 1024;

/// A wire, the machine that understands it, and who waits for an answer.
pub(crate) struct Connection<W> {
    wire: W,
    machine: Machine,
    subscriptions: Arc<Subscriptions>,
    pending: HashMap<NonZeroU32, Reply<Bytes>>,
    /// When so many wait, those are forgotten whose asker has gone.
    sweep_at: usize,
    last_id: NonZeroU32,
    /// Why we were kicked, until the close that follows.
    kicked: Option<String>,
}

impl<W: Wire> Connection<W> {
    pub(crate) fn new(
        wire: W,
        options: ClientOptions,
        subscriptions: Arc<Subscriptions>,
    ) -> Connection<W> {
        Connection {
            wire,
            machine: Machine::new(options, now()),
            subscriptions,
            pending: HashMap::new(),
            sweep_at: SWEEP,
            last_id: NonZeroU32::MAX,
            kicked: None,
        }
    }

    pub(crate) fn tables(&self) -> &Tables {
        self.machine.tables()
    }

    /// Says who we are, and waits to be let in.
    pub(crate) async fn shake_hands(&mut self) -> Result<Welcome, ConnectError> {
        loop {
            while let Some(event) = self.machine.poll_event(now()) {
                match event {
                    ClientEvent::Ready(welcome) => return Ok(welcome),
                    ClientEvent::Refused { code, answer } => {
                        return Err(ConnectError::Refused { code, answer });
                    }
                    event => {
                        if let Some(reason) = self.handle(event) {
                            return Err(ConnectError::Closed(reason));
                        }
                    }
                }
            }
            self.transmit();
            self.wait().await.map_err(ConnectError::Closed)?;
        }
    }

    /// Works until the connection is over, and tells why. Cancel-safe: call it again to go on.
    pub(crate) async fn work(&mut self, commands: &mut Commands) -> CloseReason {
        loop {
            while let Some(event) = self.machine.poll_event(now()) {
                if let Some(reason) = self.handle(event) {
                    return reason;
                }
            }
            self.transmit();
            let room = self.wire.unsent() < HIGH_WATER;
            // Cancel-safe: what is not finished stays in the wire or in the queue.
            tokio::select! {
                waited = self.wait() => {
                    if let Err(reason) = waited {
                        return reason;
                    }
                }
                command = commands.next(), if room => {
                    let Some(command) = command else { return CloseReason::Disconnected };
                    self.obey(command);
                    // What else is there leaves in the same write.
                    while self.wire.unsent() < HIGH_WATER && let Some(command) = commands.try_next() {
                        self.obey(command);
                    }
                }
            }
        }
    }

    pub(crate) fn obey(&mut self, command: Command) {
        let Command { route, body, then, .. } = command;
        match then {
            Then::Answer(reply) => self.request(&route, &body, reply),
            Then::Sent(sent) => {
                // Whoever asked may be gone.
                let _ = sent.send(self.notify(&route, &body).map_err(RequestError::from));
            }
        }
    }

    /// Tells all who wait for an answer that none will come.
    pub(crate) fn fail(&mut self, reason: &CloseReason) {
        for (_, asker) in self.pending.drain() {
            let _ = asker.send(Err(RequestError::Closed(reason.clone())));
        }
    }

    /// Ends in order: what was sent is flushed.
    pub(crate) async fn close(&mut self) {
        // One that broke can't be ended in order.
        let _ = self.wire.close().await;
    }

    /// Waits until bytes came, or much was written, or it is time for the machine.
    async fn wait(&mut self) -> Result<(), CloseReason> {
        let deadline = self.machine.poll_timeout();
        let (wire, machine) = (&mut self.wire, &mut self.machine);
        let moved = poll_fn(|cx| poll_wire(wire, cx));
        let moved = match deadline {
            None => moved.await,
            Some(deadline) => tokio::select! {
                moved = moved => moved,
                () = sleep_until(Instant::from_std(deadline)) => {
                    machine.handle_timeout(now());
                    return Ok(());
                }
            },
        };
        match moved {
            Moved::Wrote => {}
            Moved::Received(chunk) => machine.receive(chunk, now()),
            Moved::Ended => return Err(CloseReason::Ended),
            Moved::Broke(error) => return Err(CloseReason::Lost(words(&error))),
        }
        Ok(())
    }

    /// What the machine itself has to say.
    fn transmit(&mut self) {
        while let Some(bytes) = self.machine.poll_transmit() {
            self.wire.send(&bytes);
        }
    }

    /// Does what an event asks for; a reason if it is the last.
    fn handle(&mut self, event: ClientEvent) -> Option<CloseReason> {
        match event {
            // They are of the handshake.
            ClientEvent::Ready(_) | ClientEvent::Refused { .. } => {}
            ClientEvent::Response { id, body } => {
                let asker = NonZeroU32::new(id).and_then(|id| self.pending.remove(&id));
                if let Some(asker) = asker {
                    // Who asked may have stopped waiting.
                    let _ = asker.send(Ok(body));
                }
            }
            ClientEvent::Push { route, body } => self.subscriptions.push(&Push { route, body }),
            ClientEvent::Unreadable(refusal) => {
                tracing::warn!(%refusal, "the server sent a message that can't be read");
            }
            ClientEvent::Kicked { reason } => self.kicked = reason,
            ClientEvent::Close(reason) => return Some(self.why(reason)),
        }
        None
    }

    fn why(&mut self, reason: protocol::CloseReason) -> CloseReason {
        match reason {
            protocol::CloseReason::Kicked => CloseReason::Kicked(self.kicked.take()),
            protocol::CloseReason::HeartbeatTimeout => CloseReason::HeartbeatTimeout,
            other => CloseReason::Protocol(other),
        }
    }

    fn request(&mut self, route: &str, body: &Bytes, reply: Reply<Bytes>) {
        if self.pending.len() >= self.sweep_at {
            self.sweep();
        }
        let id = self.next_id();
        match self.machine.request(id, route, body) {
            Ok(bytes) => {
                self.wire.send(&bytes);
                self.pending.insert(id, reply);
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
            }
        }
    }

    fn notify(&mut self, route: &str, body: &Bytes) -> Result<(), EncodeError> {
        self.wire.send(&self.machine.notify(route, body)?);
        Ok(())
    }

    /// Forgets the requests whose askers stopped waiting.
    fn sweep(&mut self) {
        let machine = &mut self.machine;
        self.pending.retain(|id, asker| {
            let waits = !asker.is_closed();
            if !waits {
                machine.forget(*id);
            }
            waits
        });
        self.sweep_at = SWEEP.max(2 * self.pending.len());
    }

    /// From 1 up and round again, past those that still wait.
    fn next_id(&mut self) -> NonZeroU32 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(NonZeroU32::MIN);
            if !self.pending.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

/// So many requests wait before it is worth looking for those that nobody waits for.
const SWEEP: usize = 64;

/// What the wire did.
enum Moved {
    Received(Bytes),
    /// There is room for more commands.
    Wrote,
    Ended,
    Broke(WireError),
}

/// Writes what waits, and reads.
fn poll_wire(wire: &mut impl Wire, cx: &mut Context<'_>) -> Poll<Moved> {
    let full = HIGH_WATER <= wire.unsent();
    let flushed = match wire.unsent() {
        0 => Poll::Pending,
        _ => wire.poll_flush(cx),
    };
    match (wire.poll_receive(cx), flushed) {
        (Poll::Ready(Some(Ok(chunk))), _) => Poll::Ready(Moved::Received(chunk)),
        (Poll::Ready(Some(Err(error))), _) => Poll::Ready(Moved::Broke(error)),
        (Poll::Ready(None), _) => Poll::Ready(Moved::Ended),
        // Only when all is read: a server that has gone may have said why.
        (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Moved::Broke(error.into())),
        (Poll::Pending, _) if full && wire.unsent() < HIGH_WATER => Poll::Ready(Moved::Wrote),
        (Poll::Pending, _) => Poll::Pending,
    }
}

/// Tokio's time, which tests can stop.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
