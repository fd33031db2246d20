//! The door of a front-end: who may come in, and the task that each one gets.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use shaddock_protocol::pomelo::{Connector, Server as Machine};
use shaddock_transport::{Incoming, Listener, OpenError, Wire};
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::filters::Meter;
use crate::ids::SessionId;
use crate::running::{Core, Inbox};
use crate::session::connection::{Connection, Terms};
use crate::session::mailbox::Bounds;
use crate::session::record::{Frontend, Record};
use crate::tasks::Tasks;

/// How often a client without heartbeats is asked whether it lives.
const PROBE: Duration = Duration::from_secs(60);

/// How long to wait when the process can't accept, as a rule for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lets clients in, and gives each a task.
pub(crate) struct Door {
    core: Arc<Core>,
    frontend: Arc<Frontend>,
    connector: Connector,
    options: config::Frontend,
    guests: Guests,
    next_session: AtomicUsize,
    /// The upper half of the ids of sessions: another one each time the server starts.
    run: u64,
    /// What is accepted goes on here.
    connections: Tasks,
}

impl Door {
    pub(crate) fn new(
        core: Arc<Core>,
        frontend: Arc<Frontend>,
        connector: Connector,
        options: config::Frontend,
        connections: Tasks,
    ) -> Door {
        let guests = Guests {
            most: options.limits.connections,
            most_per_address: options.limits.connections_per_address,
            count: AtomicUsize::new(0),
            by_address: Mutex::default(),
        };
        let run = Frontend::upper_half(core.router.caller().node().peer().boot);
        let next_session = AtomicUsize::new(1);
        Door { core, frontend, connector, options, guests, next_session, run, connections }
    }

    /// Accepts until the server stops listening.
    pub(crate) fn open<L: Listener>(self: Arc<Door>, listening: &Tasks, mut listener: L) {
        listening.spawn("door", async move |stop| {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok(incoming) => self.clone().accept(incoming),
                    Err(error) => {
                        tracing::warn!(server = %self.core.id, %error, "connections can't be accepted now");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    fn accept<I: Incoming>(self: Arc<Door>, incoming: I) {
        let metrics = &self.frontend.metrics;
        metrics.connections.increment(1);
        let peer = incoming.peer();
        if let Err(reason) = self.guests.enter(peer.ip()) {
            // Dropped, and so closed at once: one that is left hanging learns nothing.
            metrics.refused(reason);
            if self.frontend.seldom.now() {
                tracing::warn!(server = %self.core.id, %peer, reason, "connections are refused");
            }
            return;
        }
        let guest = Guest { door: self.clone(), address: peer.ip() };
        self.connections.spawn("connection", async move |stop| {
            let door = guest.door.clone();
            let came = Instant::now();
            // Boxed, so that an open connection does not carry the room for this along.
            let opening =
                Box::pin(tokio::time::timeout(door.options.handshake_timeout, incoming.open()));
            let opened = stop.run_until_cancelled(opening).await;
            // Made in a function of its own and boxed: what is moved from here to there would leave
            // room behind in every task.
            let Some(connection) = opened.and_then(|opened| door.admit(opened, peer, came, &stop))
            else {
                return;
            };
            let ending = connection.run().await;
            door.frontend.metrics.sessions.decrement(1.0);
            door.frontend.metrics.closed(ending.name());
            drop(guest);
        });
    }

    /// A session for a connection that was opened.
    fn admit<W: Wire>(
        &self,
        opened: Result<Result<W, OpenError>, Elapsed>,
        peer: SocketAddr,
        came: Instant,
        stop: &CancellationToken,
    ) -> Option<Box<Connection<W, Machine>>> {
        match opened {
            Ok(Ok(wire)) => Some(Box::new(self.session(wire, came, stop))),
            Ok(Err(error)) => {
                self.refuse(peer, &error);
                None
            }
            Err(_) => {
                self.frontend.metrics.refused("silent");
                tracing::debug!(server = %self.core.id, %peer, "a connection said nothing in time");
                None
            }
        }
    }

    fn refuse(&self, peer: SocketAddr, error: &OpenError) {
        let reason = match error {
            OpenError::Left => "left",
            OpenError::Unknown(_) => "unknown_protocol",
            OpenError::Refused { .. } => "http",
            _ => "io",
        };
        self.frontend.metrics.refused(reason);
        tracing::debug!(server = %self.core.id, %peer, %error, "a connection became no session");
    }

    fn session<W: Wire>(
        &self,
        wire: W,
        came: Instant,
        stop: &CancellationToken,
    ) -> Connection<W, Machine> {
        let number = self.next_session.fetch_add(1, Ordering::Relaxed) as u64;
        let limits = &self.options.limits;
        let bounds = Bounds { frames: limits.outbound_messages, bytes: limits.outbound_bytes };
        let id = SessionId(self.run | (number & u64::from(u32::MAX)));
        let record = Arc::new(Record::new(id, wire.peer(), self.frontend.clone(), bounds));
        let terms = Terms {
            lane: self.core.app.config().requests.lane,
            probe: self.options.heartbeat.is_none().then_some(PROBE),
            drain: self.core.patience + Duration::from_secs(1),
        };
        let machine = Machine::new(&self.connector, came.into_std());
        let meter = self.options.rate.map(|rate| Box::new(Meter::new(rate.per_second, rate.burst)));
        self.frontend.table.insert(record.clone());
        self.frontend.metrics.sessions.increment(1.0);
        let desk = Arc::new(Inbox(self.core.clone()));
        Connection::new(wire, machine, record, desk, terms, meter, stop.clone())
    }
}

/// How many are inside, in all and by address.
struct Guests {
    most: usize,
    most_per_address: usize,
    count: AtomicUsize,
    by_address: Mutex<FxHashMap<IpAddr, usize>>,
}

impl Guests {
    fn enter(&self, address: IpAddr) -> Result<(), &'static str> {
        let address = place(address);
        if self.most <= self.count.fetch_add(1, Ordering::AcqRel) {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err("connections");
        }
        // Whoever is on this machine may well be a proxy, or a test.
        if address.is_loopback() {
            return Ok(());
        }
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.entry(address).or_default();
        if self.most_per_address <= *here {
            drop(by_address);
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err("connections_per_address");
        }
        *here += 1;
        Ok(())
    }

    fn leave(&self, address: IpAddr) {
        let address = place(address);
        self.count.fetch_sub(1, Ordering::AcqRel);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network, for a subscriber has all of it.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            const NETWORK: u128 = u128::MAX << 64;
            IpAddr::V6((address.to_bits() & NETWORK).into())
        }
        address => address,
    }
}

/// Somebody inside. Whatever happens to their task, they leave.
struct Guest {
    door: Arc<Door>,
    address: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.door.guests.leave(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(most: usize, most_per_address: usize) -> Guests {
        Guests { most, most_per_address, count: AtomicUsize::new(0), by_address: Mutex::default() }
    }

    #[test]
    fn those_who_were_refused_do_not_count() {
        let guests = guests(1, 9);
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        guests.enter(address).unwrap();
        for _ in 0..5 {
            assert_eq!(guests.enter(address), Err("connections"));
        }
        guests.leave(address);
        assert_eq!(guests.enter(address), Ok(()));
    }

    #[test]
    fn one_address_can_not_take_every_place() {
        let guests = guests(9, 2);
        let [one, other, here]: [IpAddr; 3] =
            ["10.0.0.1", "10.0.0.2", "::ffff:127.0.0.1"].map(|address| address.parse().unwrap());
        guests.enter(one).unwrap();
        guests.enter(one).unwrap();
        assert_eq!(guests.enter(one), Err("connections_per_address"));
        guests.enter(other).unwrap();
        for _ in 0..3 {
            guests.enter(here).unwrap();
        }
        let network: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|address| address.parse().unwrap());
        assert_eq!(
            network.map(|address| guests.enter(address)),
            [Ok(()), Ok(()), Err("connections_per_address")]
        );
    }
}
