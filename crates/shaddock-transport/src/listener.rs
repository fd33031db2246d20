//! Where wires come from.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use crate::Wire;

/// Gives connections as they arrive.
pub trait Listener: Send + 'static {
    /// What arrives.
    type Incoming: Incoming;

    /// Where it listens, if that is an address of the network.
    fn address(&self) -> Option<SocketAddr>;

    /// The next connection. Never waits for a client's bytes, so a silent client holds up nobody. Cancel-safe.
    ///
    /// # Errors
    ///
    /// When the process can't accept now, mostly because it has too many files open: wait a little and call again.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Incoming>> + Send;

    /// What counts the losses, where something may be lost and its connection goes on.
    fn losses(&self) -> Option<Arc<dyn Losses>> {
        None
    }
}

/// Counts what was lost at a listener since it took its address, for metrics.
pub trait Losses: Send + Sync + 'static {
    /// How much was lost, by reason: each a word of small letters and `_`.
    fn counts(&self) -> Vec<(&'static str, u64)>;
}

/// A connection of which nothing was read. Drop it to close it.
pub trait Incoming: Send + 'static {
    /// What it becomes.
    type Wire: Wire;

    /// Whether it may be one of several connections of a client that has a wire, and end as [`OpenError::Served`].
    ///
    /// If so, limits on clients are for wires, and one listens for those who have one until it is closed.
    const MAY_BE_SERVED: bool = false;

    /// Who connected: the socket's other end, which may be a proxy. The wire's [`peer`](Wire::peer) has the last word.
    fn peer(&self) -> SocketAddr;

    /// Finds out what the client speaks and does what must be done first.
    ///
    /// Waits for the client's bytes, so put a deadline around it. Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// When this client does not get a wire; it was told so if it spoke HTTP.
    fn open(self) -> impl Future<Output = Result<Self::Wire, OpenError>> + Send;
}

/// Why a connection did not become a wire.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The client went away before it had said enough.
    #[error("the client left before it said what it wants")]
    Left,
    /// The first byte begins neither a package nor an HTTP request.
    #[error("no protocol begins with byte {0}")]
    Unknown(u8),
    /// A trusted proxy began the connection with nothing that can be read as a header of the PROXY protocol.
    #[error("a proxy did not say whom it speaks for: {reason}")]
    Proxy {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No TLS could be agreed upon.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// An HTTP request that is none for this port, or not let in. It was answered with this status.
    #[error("an HTTP request was answered with {status}: {reason}")]
    Refused {
        /// The status of the answer, such as 400, 403 or 426.
        status: u16,
        /// What the answer says.
        reason: &'static str,
    },
    /// Nothing is wrong: it carried one more request of a client that has a wire already.
    #[error("the request belongs to a wire that is there")]
    Served,
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
}
