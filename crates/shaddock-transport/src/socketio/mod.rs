//! Socket.IO for clients of its 1.x and 2.x lines: engine.io 3 by WebSocket, by polling, and from one to the other.

mod packet;
mod payload;
mod polling;
mod request;
mod sessions;
mod visitor;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub use self::{packet::SocketIoViolation, wire::SocketIoWire};
use self::{
    payload::Payload,
    request::{Ask, Refused, Request},
    sessions::{Sessions, Visit},
    visitor::Visitor,
};
use crate::{
    Hybrid, HybridIncoming, HybridWire, Incoming, Listener, OpenError, Socket,
    http::Upgrade,
    hybrid::{open, read_more},
    websocket::Role,
};

/// Listens on a port for clients of Socket.IO.
///
/// Origins, proxies and TLS are those of the [`Hybrid`] that it is made from. There is one namespace, `/`, at the path
/// `/socket.io/`; a chunk is the text of one `message` event, both ways. Pages from elsewhere may poll as far as
/// origins allow.
///
/// # Requests and wires
///
/// Each request of a client that polls has a connection of its own. The first one becomes the wire. The others are
/// handed to it when they are opened, and that ends with [`OpenError::Served`]: no deadline or limit for connections
/// holds for them any longer. There are never more than a dozen for one wire, which the task that polls the wire serves.
///
/// Once the listener is dropped no poll can come, so what a client can still be told is what fits into the answer of
/// the poll that waits.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use shaddock_transport::{
///     Hybrid, HybridConfig, Incoming, Listener, SocketIo, SocketIoConfig, Wire,
/// };
/// # use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::TcpStream};
///
/// # tokio_test::block_on(async {
/// let hybrid = Hybrid::bind("127.0.0.1:0", HybridConfig::default()).await?;
/// let mut listener = SocketIo::new(hybrid, SocketIoConfig::default());
/// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// # client.write_all(b"GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\n\r\n").await?;
/// let mut wire = listener.accept().await?.open().await?;
/// wire.send(&Bytes::from_static(b"hello"));
/// wire.flush().await?;
/// # let mut answer = String::new();
/// # client.read_to_string(&mut answer).await?;
/// # assert!(answer.ends_with(r#"2:4021:42["message","hello"]"#));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct SocketIo {
    hybrid: Hybrid,
    shared: Arc<Shared>,
}

/// What a [`SocketIo`] can be told.
#[derive(Clone, Debug)]
pub struct SocketIoConfig {
    /// How often clients ping.
    pub ping_interval: Duration,
    /// How long clients wait for the answer.
    pub ping_timeout: Duration,
    /// Bytes that a WebSocket message or the body of a request may have.
    pub limit: usize,
}

impl Default for SocketIoConfig {
    fn default() -> SocketIoConfig {
        SocketIoConfig {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(60),
            limit: 1024 * 1024,
        }
    }
}

/// What a listener's connections have in common.
#[derive(Debug)]
struct Shared {
    config: SocketIoConfig,
    sessions: Arc<Sessions>,
}

impl SocketIo {
    /// Listens where `hybrid` does.
    #[must_use]
    pub fn new(hybrid: Hybrid, config: SocketIoConfig) -> SocketIo {
        SocketIo { hybrid, shared: Arc::new(Shared { config, sessions: Arc::default() }) }
    }

    /// Where it listens: the port that was given for port 0.
    ///
    /// # Errors
    ///
    /// When the kernel does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.hybrid.local_addr()
    }
}

impl Listener for SocketIo {
    type Incoming = SocketIoIncoming;

    fn address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    async fn accept(&mut self) -> io::Result<SocketIoIncoming> {
        let incoming = self.hybrid.accept().await?;
        Ok(SocketIoIncoming { incoming, shared: self.shared.clone() })
    }
}

/// A connection to a [`SocketIo`] of which nothing was read.
#[derive(Debug)]
pub struct SocketIoIncoming {
    incoming: HybridIncoming,
    shared: Arc<Shared>,
}

impl Incoming for SocketIoIncoming {
    type Wire = SocketIoWire;

    const MAY_BE_SERVED: bool = true;

    fn peer(&self) -> SocketAddr {
        self.incoming.peer()
    }

    async fn open(self) -> Result<SocketIoWire, OpenError> {
        let Shared { config, sessions } = &*self.shared;
        let http = self.incoming.config.clone();
        let (mut socket, peer) = self.incoming.reach().await?;
        let mut bytes = BytesMut::new();
        let request = loop {
            if read_more(&mut socket, &mut bytes).await? == 0 {
                return Err(OpenError::Left);
            }
            match bytes.first() {
                Some(b'A'..=b'Z') => {}
                Some(&other) => return Err(OpenError::Unknown(other)),
                None => return Err(OpenError::Left),
            }
            match Request::decode(&bytes, peer, &http, config.limit) {
                Ok(Some(request)) => break request,
                Ok(None) => {}
                Err(refused) => return refuse(socket, refused, &http.banner).await,
            }
        };
        let Request { len, speaker, origin, ask } = request;
        bytes.advance(len);
        match ask {
            Ask::Open => {
                let session = sessions.open()?;
                Ok(SocketIoWire::polling(session, Visitor { socket, origin }, speaker, config))
            }
            Ask::WebSocket(None, upgrade) => {
                let wire = websocket(socket, upgrade, bytes, config).await?;
                Ok(SocketIoWire::over(wire, speaker, config)?)
            }
            Ask::WebSocket(Some(id), upgrade) => {
                let Some(visits) = sessions.find(&id) else {
                    return refuse(socket, Refused::Session, &http.banner).await;
                };
                let wire = websocket(socket, upgrade, bytes, config).await?;
                visits.leave(Visit::Upgrade(Box::new(wire)));
                Err(OpenError::Served)
            }
            Ask::Poll(id) => {
                let Some(visits) = sessions.find(&id) else {
                    return refuse(socket, Refused::Session, &http.banner).await;
                };
                visits.leave(Visit::Poll(Visitor { socket, origin }));
                Err(OpenError::Served)
            }
            Ask::Post(id, len, form) => {
                let Some(visits) = sessions.find(&id) else {
                    return refuse(socket, Refused::Session, &http.banner).await;
                };
                // Grows as it comes, whatever length is claimed.
                let mut body = Vec::from(bytes);
                while body.len() < len {
                    if socket.read_buf(&mut body).await? == 0 {
                        return Err(OpenError::Left);
                    }
                }
                body.truncate(len);
                let payload = Payload::new(body, form);
                visits.leave(Visit::Post(Visitor { socket, origin }, payload));
                Err(OpenError::Served)
            }
            Ask::Preflight => {
                let mut answer = Visitor { socket, origin }.answer("");
                std::future::poll_fn(|cx| answer.poll(cx)).await?;
                Err(OpenError::Served)
            }
        }
    }
}

/// Answers an upgrade, and takes one message for one packet.
async fn websocket(
    mut socket: Socket,
    upgrade: Upgrade,
    early: BytesMut,
    config: &SocketIoConfig,
) -> Result<HybridWire, OpenError> {
    socket.write_all(upgrade.answer().as_bytes()).await?;
    socket.flush().await?;
    let wire = HybridWire::websocket(socket, upgrade.speaker, Role::Server, early);
    #[cfg(feature = "tls")]
    let wire = wire.inside_tls();
    Ok(wire.in_texts(config.limit))
}

/// Answers, and waits for the client to have read it and gone.
async fn refuse(
    mut socket: Socket,
    refused: Refused,
    banner: &str,
) -> Result<SocketIoWire, OpenError> {
    open::refuse(&mut socket, &refused.answer(banner)).await?;
    Err(OpenError::Refused { status: refused.status(), reason: refused.reason() })
}
