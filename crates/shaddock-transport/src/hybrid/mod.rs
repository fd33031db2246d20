//! One port for WebSocket and raw TCP.

pub(crate) mod open;
mod socket;
mod wire;

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};

pub(crate) use self::{open::read_more, wire::Kind};
pub use self::{socket::Socket, wire::HybridWire};
#[cfg(feature = "tls")]
use crate::Tls;
use crate::{Incoming, Listener, OpenError, Proxies, proxy};

/// Listens on a port for WebSocket and raw TCP, told apart by a connection's first byte.
#[derive(Debug)]
pub struct Hybrid {
    listener: TcpListener,
    config: Arc<HybridConfig>,
}

/// What a [`Hybrid`] can be told.
#[derive(Clone, Debug)]
pub struct HybridConfig {
    /// Web pages may come only from these origins (`https://game.example`); `None` lets in every page.
    ///
    /// Programs that are no browsers send no origin, and are let in.
    pub origins: Option<Vec<String>>,
    /// What a plain HTTP request is told.
    pub banner: String,
    /// What raw TCP may begin with, none of it a capital letter: those begin HTTP. As it comes, the kinds of
    /// pomelo's packages; MQTT begins with 16.
    pub raw: RangeInclusive<u8>,
    /// After this time without traffic the kernel asks whether the peer is still there; `None` to not ask.
    pub keepalive: Option<Duration>,
    /// Which proxies are believed about whom they speak for: none, unless one says otherwise.
    pub proxies: Proxies,
    /// With it all connections are TLS; `None` for none of them.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<Tls>>,
}

impl Default for HybridConfig {
    fn default() -> HybridConfig {
        HybridConfig {
            origins: None,
            banner: "This port is for game clients: it speaks WebSocket and TCP.".to_owned(),
            raw: 1..=5,
            keepalive: Some(Duration::from_secs(60)),
            proxies: Proxies::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Hybrid {
    /// Takes a port.
    ///
    /// # Errors
    ///
    /// When the port is taken, or not ours to take.
    pub async fn bind(addr: impl ToSocketAddrs, config: HybridConfig) -> io::Result<Hybrid> {
        let listener = listen(addr, &config).await?;
        Ok(Hybrid { listener, config: Arc::new(config) })
    }

    /// Where it listens: the port that was given for port 0.
    ///
    /// # Errors
    ///
    /// When the kernel does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What was given for TLS, to have its files read again.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.config.tls.as_ref()
    }
}

/// As many connections as the kernel holds until they are accepted. Tokio asks for 128, and when a
/// thousand clients come back at once the others would wait for a retransmission.
const BACKLOG: u32 = 4096;

/// How many bytes the kernel takes of us for a client beyond what it has sent. It would take megabytes for one that does
/// not read, where no limit of ours sees them.
#[cfg(target_os = "linux")]
const UNSENT_IN_KERNEL: u32 = 128 * 1024;

async fn listen(addr: impl ToSocketAddrs, config: &HybridConfig) -> io::Result<TcpListener> {
    let mut refused = None;
    for addr in lookup_host(addr).await? {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        set_options(&SockRef::from(&socket), config)?;
        match socket.bind(addr).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()))
}

/// What connections inherit, so that it costs each of them nothing: four system calls, 1 % of a login.
fn set_options(socket: &SockRef<'_>, config: &HybridConfig) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = config.keepalive {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    // Kernels that lack it can do without.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_IN_KERNEL);
    Ok(())
}

impl Listener for Hybrid {
    type Incoming = HybridIncoming;

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    async fn accept(&mut self) -> io::Result<HybridIncoming> {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let config = self.config.clone();
                    return Ok(HybridIncoming { stream, peer, config });
                }
                // That was about one client, not about us.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Between the questions of the kernel, once it began to ask.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);

/// A connection to a [`Hybrid`] of which nothing was read.
#[derive(Debug)]
pub struct HybridIncoming {
    stream: TcpStream,
    peer: SocketAddr,
    pub(crate) config: Arc<HybridConfig>,
}

impl Incoming for HybridIncoming {
    type Wire = HybridWire;

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    async fn open(self) -> Result<HybridWire, OpenError> {
        let config = self.config.clone();
        let (socket, peer) = self.reach().await?;
        let wire = HybridWire::accept(socket, peer, &config).await?;
        #[cfg(feature = "tls")]
        let wire = wire.inside_tls();
        Ok(wire)
    }
}

impl HybridIncoming {
    /// The client itself, behind the PROXY protocol and TLS.
    pub(crate) async fn reach(self) -> Result<(Socket, SocketAddr), OpenError> {
        let HybridIncoming { mut stream, mut peer, config } = self;
        if config.proxies.begins_with_header(peer)
            && let Some(client) = proxy::read_header(&mut stream).await?
        {
            peer = client;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &config.tls {
            let socket = tls.accept(stream).await.map_err(OpenError::Tls)?;
            return Ok((socket, peer));
        }
        Ok((Socket::from(stream), peer))
    }
}
