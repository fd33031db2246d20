//! Datagrams: each address that sends some has a wire.

mod clients;
mod wire;

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::{ToSocketAddrs, UdpSocket};

use self::clients::Clients;
pub use self::wire::UdpWire;
use crate::{Incoming, Listener, Losses, OpenError};

/// Listens on a port for datagrams. A connection is an address and port that sends them; each datagram is one chunk.
///
/// Nothing says that a client is gone: its address is kept until its wire is dropped, so whoever speaks over the wire
/// must have a time-out for silence. The address's next datagram then makes a new connection.
///
/// Datagrams reach their wires within [`accept`](Listener::accept): go on calling it. Once the listener is dropped, its
/// wires can send but nobody is heard any more.
///
/// # Forged addresses
///
/// A datagram's sender can be forged, and what is answered goes to whom it names. So nothing is sent to an address
/// that has not spoken, and an address is *unproven* until a datagram came from it after one of ours was sent there:
/// of those there are only [as many as one allows](UdpConfig::unproven). More can't be done without another first
/// step, which the clients that exist do not know. Keep the answer to a handshake small where this is open to the
/// world.
///
/// # Examples
///
/// ```
/// use shaddock_transport::{Incoming, Listener, UdpConfig, UdpListener, Wire};
///
/// # tokio_test::block_on(async {
/// let mut listener = UdpListener::bind("127.0.0.1:0", UdpConfig::default()).await?;
/// let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"hello", listener.local_addr()?).await?;
///
/// let mut wire = listener.accept().await?.open().await?;
/// let Some(chunk) = wire.receive().await.transpose()? else { return Ok(()) };
/// wire.send(&chunk);
/// wire.flush().await?;
/// let mut answer = [0; 5];
/// client.recv(&mut answer).await?;
/// assert_eq!(answer, *b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UdpListener {
    shared: Arc<Shared>,
    config: UdpConfig,
    buffer: Box<[u8]>,
}

/// What a [`UdpListener`] can be told.
#[derive(Clone, Debug)]
pub struct UdpConfig {
    /// As many addresses as may be unproven. One more, and the oldest of them is forgotten: its wire breaks.
    pub unproven: usize,
}

impl Default for UdpConfig {
    fn default() -> UdpConfig {
        UdpConfig { unproven: 1024 }
    }
}

impl UdpListener {
    /// Takes a port.
    ///
    /// # Errors
    ///
    /// When the port is taken, or not ours to take.
    pub async fn bind(addr: impl ToSocketAddrs, config: UdpConfig) -> io::Result<UdpListener> {
        let socket = UdpSocket::bind(addr).await?;
        // All clients share it. The kernel gives as much of this as it allows, and what is there now is enough to run.
        let _ = SockRef::from(&socket).set_recv_buffer_size(KERNEL_BUFFER);
        let _ = SockRef::from(&socket).set_send_buffer_size(KERNEL_BUFFER);
        let shared = Shared { socket, clients: Clients::default(), losses: Arc::default() };
        Ok(UdpListener {
            shared: Arc::new(shared),
            config,
            buffer: vec![0; usize::from(u16::MAX)].into_boxed_slice(),
        })
    }

    /// Where it listens: the port that was given for port 0.
    ///
    /// # Errors
    ///
    /// When the kernel does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// What was lost here, for metrics.
    #[must_use]
    pub fn losses(&self) -> Arc<UdpLosses> {
        self.shared.losses.clone()
    }
}

/// As much as the kernel is asked to keep of what came and of what is to go.
const KERNEL_BUFFER: usize = 2 * 1024 * 1024;

impl Listener for UdpListener {
    type Incoming = UdpIncoming;

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    async fn accept(&mut self) -> io::Result<UdpIncoming> {
        loop {
            let (len, peer) = match self.shared.socket.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                // A datagram of ours found nobody. That is about one client, not about us.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => continue,
                Err(error) => return Err(error),
            };
            let datagram = Bytes::copy_from_slice(self.buffer.get(..len).unwrap_or_default());
            if datagram.is_empty() {
                continue;
            }
            let (clients, losses) = (&self.shared.clients, &self.shared.losses);
            if let Some(client) = clients.take(peer, datagram, self.config.unproven, losses) {
                return Ok(UdpIncoming(UdpWire::new(self.shared.clone(), client)));
            }
        }
    }

    fn losses(&self) -> Option<Arc<dyn Losses>> {
        Some(self.shared.losses.clone())
    }
}

impl Losses for UdpLosses {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts =
            [("unread", self.unread()), ("too_long", self.too_long()), ("unsent", self.unsent())];
        counts.to_vec()
    }
}

/// An address that sent its first datagram. Drop it to forget it.
#[derive(Debug)]
pub struct UdpIncoming(UdpWire);

impl Incoming for UdpIncoming {
    type Wire = UdpWire;

    fn peer(&self) -> SocketAddr {
        crate::Wire::peer(&self.0)
    }

    async fn open(self) -> Result<UdpWire, OpenError> {
        Ok(self.0)
    }
}

/// How many datagrams were lost on our side since the port was taken.
#[derive(Debug, Default)]
pub struct UdpLosses {
    unread: AtomicU64,
    too_long: AtomicU64,
    unsent: AtomicU64,
}

impl UdpLosses {
    /// Those that came for a wire whose inbox was full.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Those that were to be sent and are longer than a datagram can be.
    #[must_use]
    pub fn too_long(&self) -> u64 {
        self.too_long.load(Ordering::Relaxed)
    }

    /// Those that the kernel refused to send, as a rule because it knows no way there.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }
}

/// What a listener and its wires have in common.
#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    clients: Clients,
    losses: Arc<UdpLosses>,
}
