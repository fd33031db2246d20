//! Wires without sockets, for tests: both ends in one process, bounded as a socket is, and under paused time.
//!
//! # Examples
//!
//! ```
//! use bytes::Bytes;
//! use shaddock_transport::{Wire, memory};
//!
//! # tokio_test::block_on(async {
//! let (mut one, mut other) = memory::pair();
//! one.send(&Bytes::from_static(b"hello"));
//! one.close().await?;
//! assert_eq!(other.receive().await.transpose()?, Some(Bytes::from_static(b"hello")));
//! assert!(other.receive().await.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
};

use bytes::BytesMut;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use crate::{HybridWire, Incoming, Listener, OpenError, hybrid::Kind};

/// One end of a connection in memory. A stream of bytes like TCP: chunks may arrive joined or cut.
pub type MemoryWire = HybridWire<DuplexStream>;

/// As many bytes as are under way in each direction unless one says otherwise.
pub const CAPACITY: usize = 16 * 1024;

/// As many connections as wait to be accepted.
const BACKLOG: usize = 128;

/// A connection whose ends hold [`CAPACITY`] bytes each way; a peer that does not read then stalls the other's flush.
#[must_use]
pub fn pair() -> (MemoryWire, MemoryWire) {
    pair_with_capacity(CAPACITY)
}

/// A connection that holds `capacity` bytes each way.
#[must_use]
pub fn pair_with_capacity(capacity: usize) -> (MemoryWire, MemoryWire) {
    let (one, other) = duplex(capacity);
    (wire(one, LOOPBACK), wire(other, LOOPBACK))
}

/// A place to listen at, and the way to reach it. Connections hold `capacity` bytes each way.
#[must_use]
pub fn listen(capacity: usize) -> (MemoryListener, MemoryConnector) {
    let (connections, incoming) = mpsc::channel(BACKLOG);
    (MemoryListener { incoming }, MemoryConnector { connections, capacity })
}

/// Listens for connections in memory. Dropping it refuses them.
#[derive(Debug)]
pub struct MemoryListener {
    incoming: mpsc::Receiver<MemoryIncoming>,
}

/// Connects to a [`MemoryListener`].
#[derive(Clone, Debug)]
pub struct MemoryConnector {
    connections: mpsc::Sender<MemoryIncoming>,
    capacity: usize,
}

/// A connection to a [`MemoryListener`] that is not yet open.
#[derive(Debug)]
pub struct MemoryIncoming {
    stream: DuplexStream,
    peer: SocketAddr,
}

impl MemoryConnector {
    /// Connects from this machine. Waits while the listener has 128 connections to accept.
    ///
    /// # Errors
    ///
    /// When nobody listens any more.
    pub async fn connect(&self) -> io::Result<MemoryWire> {
        self.connect_from(LOOPBACK).await
    }

    /// Connects as if from elsewhere, which limits per address can tell.
    ///
    /// # Errors
    ///
    /// When nobody listens any more.
    pub async fn connect_from(&self, peer: SocketAddr) -> io::Result<MemoryWire> {
        let (ours, stream) = duplex(self.capacity);
        match self.connections.send(MemoryIncoming { stream, peer }).await {
            Ok(()) => Ok(wire(ours, LOOPBACK)),
            Err(_) => Err(ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl Listener for MemoryListener {
    type Incoming = MemoryIncoming;

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    /// Waits for ever once every connector is gone.
    async fn accept(&mut self) -> io::Result<MemoryIncoming> {
        match self.incoming.recv().await {
            Some(incoming) => Ok(incoming),
            None => std::future::pending().await,
        }
    }
}

impl Incoming for MemoryIncoming {
    type Wire = MemoryWire;

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    async fn open(self) -> Result<MemoryWire, OpenError> {
        Ok(wire(self.stream, self.peer))
    }
}

/// Who connects in memory, unless one says otherwise.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn wire(stream: DuplexStream, peer: SocketAddr) -> MemoryWire {
    HybridWire::raw(stream, peer, Kind::Memory, BytesMut::new())
}
