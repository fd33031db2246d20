//! One connection to a server.

use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use shaddock_protocol::pomelo::{Client, ClientEvent, ClientOptions, Kind, Package, Tables};
use shaddock_protocol::{CloseReason, EncodeError, text};
use shaddock_transport::{
    ConnectError, HybridWire, Wire, WireError, connect_tcp, connect_websocket,
};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use crate::{Address, Speech};

/// A connection whose handshake is done: a wire, and the machine of a client.
///
/// Whoever owns it calls [`Link::more`] again and again, and [`Link::next`] until there is nothing left. What is
/// [sent](Link::send) leaves with the next call of `more`, in one write.
pub(crate) struct Link<W> {
    wire: W,
    machine: Client,
    /// For the machine's heartbeats and deadlines. Those mostly move on: it is set anew when it rings, or rings too late.
    alarm: Pin<Box<Sleep>>,
}

/// Why a connection ended, or never was one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("could not connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("no connection within {0:?}")]
    Slow(Duration),
    #[error("no answer within {0:?}")]
    Unanswered(Duration),
    #[error("{0}: {source}", source = source_of(.0))]
    Wire(#[from] WireError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection")]
    Ended,
    #[error("kicked{}", .0.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Kicked(Option<String>),
    #[error("closed: {0}")]
    Closed(CloseReason),
    #[error("can't be sent: {0}")]
    Encode(#[from] EncodeError),
}

fn source_of(error: &WireError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// Between two heartbeats of one who reads nothing, and so is never asked for them.
const BEAT: Duration = Duration::from_secs(1);

/// How long connecting may take, and leaving.
const PATIENCE: Duration = Duration::from_secs(30);

impl Link<HybridWire> {
    /// Connects and shakes hands.
    pub(crate) async fn open(address: &Address, speech: Speech) -> Result<Self, LinkError> {
        let Address { host, port } = address;
        let connect = async {
            match speech {
                Speech::WebSocket => connect_websocket(&format!("ws://{host}:{port}")).await,
                Speech::Tcp => connect_tcp((host.as_str(), *port)).await,
            }
        };
        let wire = timeout(PATIENCE, connect).await.map_err(|_| LinkError::Slow(PATIENCE))??;
        Self::greet(wire).await
    }
}

impl<W: Wire> Link<W> {
    /// Shakes hands.
    pub(crate) async fn greet(wire: W) -> Result<Self, LinkError> {
        let now = Instant::now();
        let options = ClientOptions { handshake_timeout: PATIENCE, ..ClientOptions::default() };
        let machine = Client::new(options, now.into_std());
        let mut link = Self { wire, machine, alarm: Box::pin(sleep_until(now)) };
        loop {
            let now = link.more().await?;
            if let Some(ClientEvent::Ready(_)) = link.next(now)? {
                return Ok(link);
            }
        }
    }

    /// Waits until something came, and says when that was. Sends meanwhile what there is to send. Cancel-safe.
    pub(crate) fn more(&mut self) -> impl Future<Output = Result<Instant, LinkError>> {
        poll_fn(|cx| self.poll_more(cx))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Instant, LinkError>> {
        loop {
            self.transmit();
            if self.wire.unsent() != 0
                && let Poll::Ready(flushed) = self.wire.poll_flush(cx)
            {
                flushed?;
            }
            if let Poll::Ready(received) = self.wire.poll_receive(cx) {
                let chunk = received.ok_or(LinkError::Ended)??;
                let now = Instant::now();
                self.machine.receive(chunk, now.into_std());
                return Poll::Ready(Ok(now));
            }
            let Some(at) = self.machine.poll_timeout() else {
                return Poll::Pending;
            };
            let at = Instant::from_std(at);
            if self.alarm.is_elapsed() || at < self.alarm.deadline() {
                self.alarm.as_mut().reset(at);
            }
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now().into_std();
            self.machine.handle_timeout(now);
            // The machine gave up, and says so.
            if self.machine.poll_timeout().is_none() {
                return Poll::Ready(Ok(now.into()));
            }
        }
    }

    /// The next thing that came.
    pub(crate) fn next(&mut self, now: Instant) -> Result<Option<ClientEvent>, LinkError> {
        match self.machine.poll_event(now.into_std()) {
            Some(ClientEvent::Kicked { reason }) => Err(LinkError::Kicked(reason)),
            Some(ClientEvent::Close(reason)) => Err(LinkError::Closed(reason)),
            event => Ok(event),
        }
    }

    /// Has a package sent by the next [`Link::more`].
    pub(crate) fn send(&mut self, package: &Bytes) {
        // The ack first: pomelo drops what comes before it.
        self.transmit();
        self.wire.send(package);
    }

    /// Has sent what the machine sends by itself.
    fn transmit(&mut self) {
        while let Some(bytes) = self.machine.poll_transmit() {
            self.wire.send(&bytes);
        }
    }

    /// The package of a request.
    pub(crate) fn request(
        &mut self,
        id: NonZeroU32,
        route: &str,
        body: &Bytes,
    ) -> Result<Bytes, LinkError> {
        Ok(self.machine.request(id, route, body)?)
    }

    /// What the server gave in the handshake.
    pub(crate) fn tables(&self) -> &Tables {
        self.machine.tables()
    }

    /// Asks something and waits for the answer. Whatever else comes meanwhile is forgotten.
    pub(crate) async fn ask(&mut self, route: &str, body: &Value) -> Result<Value, LinkError> {
        let body = text::to_json(body).expect("a value is JSON");
        let package = self.request(NonZeroU32::MIN, route, &body)?;
        self.send(&package);
        let answered = async {
            loop {
                let now = self.more().await?;
                while let Some(event) = self.next(now)? {
                    if let ClientEvent::Response { id: 1, body } = event {
                        return Ok(serde_json::from_slice(&body).unwrap_or_default());
                    }
                }
            }
        };
        timeout(PATIENCE, answered).await.map_err(|_| LinkError::Unanswered(PATIENCE))?
    }

    /// Stays, until the connection ends: answers heartbeats and forgets all that comes.
    pub(crate) async fn stay(&mut self) -> LinkError {
        loop {
            let forgotten = async {
                let now = self.more().await?;
                while self.next(now)?.is_some() {}
                Ok(())
            };
            if let Err(error) = forgotten.await {
                return error;
            }
        }
    }

    /// Stays, and reads nothing: whatever comes fills the buffers on the way. Heartbeats go out all the same. Ends when
    /// the server cuts it off.
    pub(crate) async fn stall(&mut self) {
        let beat = Package { kind: Kind::Heartbeat, body: Bytes::new() };
        let beat = beat.encode().expect("an empty package has the right size");
        loop {
            sleep(BEAT).await;
            self.wire.send(&beat);
            if poll_fn(|cx| self.wire.poll_flush(cx)).await.is_err() {
                return;
            }
        }
    }

    /// Leaves in order.
    pub(crate) async fn leave(mut self) {
        // A server that does not let us go loses us anyway.
        let _ = timeout(PATIENCE, self.wire.close()).await;
    }
}
