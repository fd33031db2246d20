//! The door of a front-end: who may come in, and the task that each one gets.

mod guests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shaddock_transport::{Incoming, Listener, OpenError, Wire};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::connector::Connector;
use crate::filters::Meter;
use crate::frontend::guests::{Guest, Guests};
use crate::ids::SessionId;
use crate::running::{Core, Inbox};
use crate::session::connection::{Connection, Terms};
use crate::session::mailbox::Bounds;
use crate::session::record::{Frontend, Record};
use crate::tasks::Tasks;

/// How long to wait when the process can't accept, as a rule for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lets clients in, and gives each a task.
pub(crate) struct Door<C> {
    connector: Arc<C>,
    premises: Premises,
    guests: Arc<Guests>,
    /// Connections of which it is not yet known whether they are requests of clients that are inside.
    requests: Arc<Guests>,
    next_session: AtomicUsize,
    /// The upper half of the ids of sessions: another one each time the server starts.
    run: u64,
}

/// What a door leads into.
pub(crate) struct Premises {
    pub(crate) core: Arc<Core>,
    pub(crate) frontend: Arc<Frontend>,
    pub(crate) options: config::Frontend,
    /// What listens.
    pub(crate) listening: Tasks,
    /// What was accepted.
    pub(crate) connections: Tasks,
    /// What still comes for those who are inside once nobody new is let in. Stops when they have gone.
    pub(crate) lingering: Tasks,
}

/// As many requests as a client has under way: a poll, a post, and the one to go on with a WebSocket.
const REQUESTS: usize = 3;

impl<C: Connector> Door<C> {
    pub(crate) fn new(connector: Arc<C>, premises: Premises) -> Arc<Door<C>> {
        let limits = &premises.options.limits;
        let (most, most_per_address) = (limits.connections, limits.connections_per_address);
        let guests = Arc::new(Guests::new(most, most_per_address));
        let requests = Arc::new(Guests::new(
            most.saturating_mul(REQUESTS),
            most_per_address.saturating_mul(REQUESTS),
        ));
        let run = Frontend::upper_half(premises.core.router.caller().node().peer().boot);
        let next_session = AtomicUsize::new(1);
        Arc::new(Door { connector, premises, guests, requests, next_session, run })
    }

    /// Accepts until the server stops listening.
    pub(crate) fn open<L: Listener>(self: Arc<Self>, mut listener: L) {
        if let Some(losses) = listener.losses() {
            // A door is opened once.
            let _ = self.premises.frontend.losses.set(losses);
        }
        let listening = self.premises.listening.clone();
        listening.spawn("door", async move |stop| {
            self.listen(&mut listener, &self.premises.connections, stop).await;
            if L::Incoming::MAY_BE_SERVED {
                let lingering = self.premises.lingering.clone();
                lingering.spawn("side door", async move |stop| {
                    self.listen(&mut listener, &self.premises.lingering, stop).await;
                });
            }
        });
    }

    async fn listen<L: Listener>(
        self: &Arc<Self>,
        listener: &mut L,
        tasks: &Tasks,
        stop: CancellationToken,
    ) {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok(incoming) => self.clone().accept(incoming, tasks),
                Err(error) => {
                    tracing::warn!(server = %self.premises.core.id, %error, "connections can't be accepted now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accept<I: Incoming>(self: Arc<Self>, incoming: I, tasks: &Tasks) {
        if !I::MAY_BE_SERVED {
            self.premises.frontend.metrics.connections.increment(1);
        }
        let peer = incoming.peer();
        let places = if I::MAY_BE_SERVED { &self.requests } else { &self.guests };
        let let_in = places.enter().and_then(|mut guest| {
            // Whom a proxy speaks for is known when the connection is open.
            if !self.premises.options.trusted_proxies.contain(peer.ip()) {
                self.let_in(&mut guest, peer.ip())?;
            }
            Ok(guest)
        });
        let mut guest = match let_in {
            Ok(guest) => guest,
            // Dropped, and so closed at once: one that is left hanging learns nothing.
            Err(reason) => return self.turn_away(peer, reason),
        };
        let door = self.clone();
        tasks.spawn("connection", async move |stop| {
            let came = Instant::now();
            // Boxed, so that an open connection does not carry the room for this along.
            let opening = Box::pin(tokio::time::timeout(
                door.premises.options.handshake_timeout,
                incoming.open(),
            ));
            let opened = stop.run_until_cancelled(opening).await;
            // Made in a function of its own and boxed: what is moved from here to there would leave
            // room behind in every task.
            let admit = |opened| door.admit::<I>(opened, &mut guest, peer, came, &stop);
            let Some(connection) = opened.and_then(admit) else {
                return;
            };
            let ending = connection.run().await;
            door.premises.frontend.metrics.sessions.decrement(1.0);
            door.premises.frontend.metrics.closed(ending.name());
            drop(guest);
        });
    }

    /// Whether somebody from here may come in, and one more of them.
    fn let_in(&self, guest: &mut Guest, address: IpAddr) -> Result<(), &'static str> {
        if !self.premises.frontend.access.allows(address) {
            return Err("access");
        }
        guest.settle(address)
    }

    /// A place for a client whose request was the first one.
    fn place(&self) -> Result<Guest, &'static str> {
        if self.premises.listening.is_stopping() {
            return Err("stopping");
        }
        self.guests.enter()
    }

    fn turn_away(&self, peer: SocketAddr, reason: &'static str) {
        self.premises.frontend.metrics.refused(reason);
        if self.premises.frontend.seldom.now() {
            tracing::warn!(server = %self.premises.core.id, %peer, reason, "connections are refused");
        }
    }

    /// A session for a connection that was opened.
    fn admit<I: Incoming>(
        &self,
        opened: Result<Result<I::Wire, OpenError>, Elapsed>,
        guest: &mut Guest,
        peer: SocketAddr,
        came: Instant,
        stop: &CancellationToken,
    ) -> Option<Box<Connection<I::Wire, C::Dialect>>> {
        if I::MAY_BE_SERVED && !matches!(opened, Ok(Err(OpenError::Served))) {
            self.premises.frontend.metrics.connections.increment(1);
        }
        match opened {
            Ok(Ok(wire)) => {
                let client = wire.peer();
                if I::MAY_BE_SERVED {
                    // Its place among the requests is free again.
                    match self.place() {
                        Ok(place) => *guest = place,
                        Err(reason) => {
                            self.turn_away(client, reason);
                            return None;
                        }
                    }
                }
                if !guest.is_settled()
                    && let Err(reason) = self.let_in(guest, client.ip())
                {
                    self.turn_away(client, reason);
                    return None;
                }
                Some(Box::new(self.session(wire, came, stop)))
            }
            Ok(Err(error)) => {
                self.refuse(peer, &error);
                None
            }
            Err(_) => {
                self.premises.frontend.metrics.refused("silent");
                tracing::debug!(server = %self.premises.core.id, %peer, "a connection said nothing in time");
                None
            }
        }
    }

    fn refuse(&self, peer: SocketAddr, error: &OpenError) {
        let reason = match error {
            OpenError::Served => return,
            OpenError::Left => "left",
            OpenError::Unknown(_) => "unknown_protocol",
            OpenError::Refused { .. } => "http",
            OpenError::Proxy { .. } => "proxy",
            OpenError::Tls(_) => "tls",
            _ => "io",
        };
        self.premises.frontend.metrics.refused(reason);
        tracing::debug!(server = %self.premises.core.id, %peer, %error, "a connection became no session");
    }

    fn session<W: Wire>(
        &self,
        wire: W,
        came: Instant,
        stop: &CancellationToken,
    ) -> Connection<W, C::Dialect> {
        let number = self.next_session.fetch_add(1, Ordering::Relaxed) as u64;
        let limits = &self.premises.options.limits;
        let bounds = Bounds { frames: limits.outbound_messages, bytes: limits.outbound_bytes };
        let id = SessionId(self.run | (number & u64::from(u32::MAX)));
        let record = Arc::new(Record::new(id, wire.peer(), self.premises.frontend.clone(), bounds));
        let terms = Terms {
            lane: self.premises.core.app.config().requests.lane,
            probe: self.premises.options.probe(),
            drain: self.premises.core.patience + Duration::from_secs(1),
        };
        let machine = self.connector.dialect(came.into_std());
        let meter = self
            .premises
            .options
            .rate
            .map(|rate| Box::new(Meter::new(rate.per_second, rate.burst)));
        self.premises.frontend.table.insert(record.clone());
        self.premises.frontend.metrics.sessions.increment(1.0);
        let desk = Arc::new(Inbox(self.premises.core.clone()));
        Connection::new(wire, machine, record, desk, terms, meter, stop.clone())
    }
}
