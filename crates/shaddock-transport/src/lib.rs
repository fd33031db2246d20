//! How a client's bytes arrive at a Shaddock server: WebSocket and TCP on one port, and in memory.
//!
//! A [`Listener`] gives [`Incoming`] connections; opening one finds out what it speaks and gives a [`Wire`], which
//! carries chunks of bytes both ways. Nothing here knows packages, routes or sessions: a chunk may hold half a package
//! or three.
//!
//! * [`Hybrid`] listens on a port for WebSocket and raw TCP, told apart by the first byte.
//! * Inside TLS, with the feature `tls`: give [`HybridConfig`] a `Tls`, and it reads certificates anew when told.
//! * Behind [`Proxies`] that are trusted, a wire's peer is the client.
//! * `UdpListener`, with the feature `udp`, gives a wire for each address that sends datagrams.
//! * `SocketIo`, with the feature `socketio`, gives a wire for each client of Socket.IO, by WebSocket or polling.
//! * An [`AccessList`] says who may connect, by network.
//! * [`memory`] does the same without sockets, for tests under paused time.
//! * [`connect_websocket`], [`connect_tcp`] and `connect_tls` are the client's side.
//!
//! No deadline is kept here and no limit on connections: both belong to the caller, who has the clock and the counters.
//! An idle wire holds no buffer.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use shaddock_transport::{Hybrid, HybridConfig, Incoming, Listener, Wire, connect_websocket};
//!
//! # tokio_test::block_on(async {
//! let mut hybrid = Hybrid::bind("127.0.0.1:0", HybridConfig::default()).await?;
//! let url = format!("ws://{}", hybrid.local_addr()?);
//!
//! let server = async {
//!     let mut wire = hybrid.accept().await?.open().await?;
//!     let Some(chunk) = wire.receive().await.transpose()? else { return Ok(()) };
//!     wire.send(&chunk);
//!     wire.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let client = async {
//!     let mut wire = connect_websocket(&url).await?;
//!     wire.send(&Bytes::from_static(b"hello"));
//!     wire.flush().await?;
//!     assert_eq!(wire.receive().await.transpose()?, Some(Bytes::from_static(b"hello")));
//!     assert!(wire.receive().await.is_none());
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let (server, client) = tokio::join!(server, client);
//! server.and(client)
//! # }).unwrap();
//! ```

mod connect;
mod http;
mod hybrid;
mod listener;
pub mod memory;
mod networks;
mod proxy;
mod scratch;
#[cfg(feature = "socketio")]
mod socketio;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "udp")]
mod udp;
mod websocket;
mod wire;

#[cfg(feature = "tls")]
pub use connect::connect_tls;
pub use connect::{ConnectError, connect_tcp, connect_websocket};
pub use hybrid::{Hybrid, HybridConfig, HybridIncoming, HybridWire, Socket};
pub use listener::{Incoming, Listener, Losses, OpenError};
pub use networks::{AccessList, Network, NetworkError, Networks};
pub use proxy::{Forwarding, Proxies};
#[cfg(feature = "socketio")]
pub use socketio::{SocketIo, SocketIoConfig, SocketIoIncoming, SocketIoViolation, SocketIoWire};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError, Trust};
#[cfg(feature = "udp")]
pub use udp::{UdpConfig, UdpIncoming, UdpListener, UdpWire};
pub use websocket::Violation;
pub use wire::{Wire, WireError};
