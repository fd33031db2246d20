//! A connection as the rest of the framework sees it.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::Violation;

/// A connection that carries chunks of bytes both ways.
///
/// A chunk may hold half a package or three: whoever reads reassembles. One task owns a wire and polls all of it.
///
/// The write buffer has no bound of its own: look at [`unsent`](Wire::unsent) before you [`send`](Wire::send) to a peer
/// that may not read.
pub trait Wire: Send + Unpin + 'static {
    /// What arrived, in order. `None` means that the peer ended in order, and so does every call after an error.
    ///
    /// Pings and the peer's close are answered in here, so keep calling while the connection lives.
    ///
    /// # Errors
    ///
    /// When the connection broke or the peer broke the rules; then [`poll_close`](Wire::poll_close) tells it which one.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>>;

    /// Puts a chunk into the write buffer: one WebSocket message where there are messages. An empty chunk is nothing.
    fn send(&mut self, chunk: &Bytes);

    /// Ready when all that was sent is with the kernel. As many chunks as there are go out in one write.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// How many bytes wait in the write buffer.
    fn unsent(&self) -> usize;

    /// Ends in order: everything sent is flushed, a WebSocket is told 1000 (or how it broke the rules), and the write
    /// side is shut down. Does not wait for the peer's own end.
    ///
    /// It waits for a peer that does not read, so put a deadline around it.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Asks the peer for a sign of life, where the wire has a way to; false when there was none since the last call.
    ///
    /// For peers that have no heartbeat. A WebSocket is pinged; for TCP the kernel asks (keepalive), and this is true.
    fn ping(&mut self) -> bool {
        true
    }

    /// Where the peer is: the client, if a trusted proxy says so.
    fn peer(&self) -> SocketAddr;

    /// The host name that the client asked for when it shook hands by TLS, if it did.
    fn server_name(&self) -> Option<&str> {
        None
    }

    /// The wire's name in logs and metrics: "websocket", "tcp", "wss", "tls", "udp", "polling", "memory".
    fn kind(&self) -> &'static str;

    /// [`poll_receive`](Wire::poll_receive) as a future. Cancel-safe.
    fn receive(&mut self) -> impl Future<Output = Option<Result<Bytes, WireError>>> + Send {
        poll_fn(|cx| self.poll_receive(cx))
    }

    /// [`poll_flush`](Wire::poll_flush) as a future. Cancel-safe.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// [`poll_close`](Wire::poll_close) as a future. Cancel-safe: call it again to go on.
    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|cx| self.poll_close(cx))
    }
}

/// Why a wire ended out of order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The connection broke, or ended in the middle of a frame.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The peer's WebSocket frames break a rule.
    #[error("the peer broke a rule of WebSocket")]
    Protocol(#[from] Violation),
    /// The peer's packets are none of Socket.IO.
    #[cfg(feature = "socketio")]
    #[error("the peer broke a rule of Socket.IO")]
    SocketIo(#[from] crate::SocketIoViolation),
}
