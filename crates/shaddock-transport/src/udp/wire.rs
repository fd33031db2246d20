//! The wire of one address.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Shared, clients::Client};
use crate::{Wire, WireError};

/// Datagrams to and from one address. Dropping it forgets the address.
///
/// What is sent may be lost, and what comes may be out of order or come twice. A datagram that finds the inbox full
/// (128 KiB) is dropped, and so is a chunk that is longer than 65,507 bytes.
pub struct UdpWire {
    shared: Arc<Shared>,
    client: Arc<Client>,
    /// The write buffer.
    out: VecDeque<Bytes>,
    /// Bytes in it.
    unsent: usize,
    /// Until the kernel has room again.
    blocked: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send>>>,
    /// Something came since [`Wire::ping`] was last called.
    heard: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// We ended it: nothing more is sent.
    Closed,
    /// The listener forgot the address, and the caller knows.
    Forgotten,
}

/// The longest chunk that fits a datagram of IPv4.
const LONGEST: usize = 65_507;

impl UdpWire {
    pub(super) fn new(shared: Arc<Shared>, client: Arc<Client>) -> UdpWire {
        UdpWire {
            shared,
            client,
            out: VecDeque::new(),
            unsent: 0,
            blocked: None,
            heard: true,
            state: State::Open,
        }
    }
}

impl Wire for UdpWire {
    /// Never `None` while the listener knows the address: nothing says that a client has ended.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        if self.state == State::Forgotten {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(match ready!(self.client.poll_next(cx)) {
            Some(datagram) => {
                self.heard = true;
                Ok(datagram)
            }
            None => {
                self.state = State::Forgotten;
                let error = "forgotten for one of too many addresses that did not answer yet";
                Err(io::Error::new(ErrorKind::ConnectionAborted, error).into())
            }
        }))
    }

    /// One datagram. Where it is too long it is dropped, which is logged and counted.
    fn send(&mut self, chunk: &Bytes) {
        let bytes = chunk.len();
        if LONGEST < bytes {
            self.shared.losses.too_long.fetch_add(1, Ordering::Relaxed);
            let peer = self.client.address;
            tracing::warn!(%peer, bytes, "what is longer than a datagram is not sent");
        } else if bytes != 0 && self.state == State::Open {
            self.unsent += bytes;
            self.out.push_back(chunk.clone());
        }
    }

    /// An address that can't be reached is no error: datagrams may be lost.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(blocked) = &mut self.blocked {
                ready!(blocked.as_mut().poll(cx))?;
                self.blocked = None;
            }
            let Some(chunk) = self.out.front() else {
                break;
            };
            let (socket, peer) = (&self.shared.socket, self.client.address);
            match socket.try_send_to(chunk, peer) {
                Ok(_) => self.client.answered(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // Wires share the socket, and only this way of waiting takes more than one of them.
                    let shared = self.shared.clone();
                    self.blocked = Some(Box::pin(async move { shared.socket.writable().await }));
                    continue;
                }
                Err(error) => {
                    self.shared.losses.unsent.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(%peer, %error, "a datagram could not be sent");
                }
            }
            self.unsent -= chunk.len();
            self.out.pop_front();
        }
        self.out = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn unsent(&self) -> usize {
        self.unsent
    }

    /// Flushes; the client is told nothing, for there is no way to.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        if self.state == State::Open {
            self.state = State::Closed;
        }
        Poll::Ready(Ok(()))
    }

    /// There is no way to ask, so this only says whether something came since the last call.
    fn ping(&mut self) -> bool {
        mem::replace(&mut self.heard, false)
    }

    fn peer(&self) -> SocketAddr {
        self.client.address
    }

    fn kind(&self) -> &'static str {
        "udp"
    }
}

impl Drop for UdpWire {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
    }
}

impl fmt::Debug for UdpWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpWire")
            .field("peer", &self.client.address)
            .field("unsent", &self.unsent)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
