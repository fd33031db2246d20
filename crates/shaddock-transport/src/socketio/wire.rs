//! The wire of one client.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    SocketIoConfig, packet,
    packet::{Packet, SocketIoViolation},
    polling::{Polling, Step},
    sessions::{Session, new_id},
    visitor::Visitor,
};
use crate::{HybridWire, Wire, WireError};

/// A client of Socket.IO. Each chunk is the text of one `message` event.
///
/// A client that polls may go on with a WebSocket; nothing is lost or changes its place then. What is sent while it
/// does not poll waits, which [`unsent`](Wire::unsent) counts. A client pings by itself.
#[derive(Debug)]
pub struct SocketIoWire {
    way: Way,
    peer: SocketAddr,
    server_name: Option<Box<str>>,
    /// A ping waits for its answer. There is at most one, so that a flood of them is answered now and then.
    pinged: bool,
    /// Something came since [`Wire::ping`] was last called.
    heard: bool,
    state: State,
}

#[derive(Debug)]
enum Way {
    WebSocket(Box<HybridWire>),
    Polling(Box<Polling>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// We ended it, and say so.
    Closing,
    /// The client left, or can't be reached: nothing more is received or sent.
    Over,
}

impl SocketIoWire {
    /// A client that came over WebSocket.
    pub(super) fn over(
        wire: HybridWire,
        peer: SocketAddr,
        config: &SocketIoConfig,
    ) -> io::Result<SocketIoWire> {
        let server_name = wire.server_name().map(Box::from);
        let open = open(&new_id()?, false, config);
        Ok(SocketIoWire::new(Way::WebSocket(Box::new(wire)), open, peer, server_name))
    }

    /// A client that polls.
    pub(super) fn polling(
        session: Session,
        poll: Visitor,
        peer: SocketAddr,
        config: &SocketIoConfig,
    ) -> SocketIoWire {
        let server_name = poll.server_name().map(Box::from);
        let open = open(&session.id, true, config);
        let way = Way::Polling(Box::new(Polling::new(session, poll)));
        SocketIoWire::new(way, open, peer, server_name)
    }

    fn new(
        way: Way,
        open: String,
        peer: SocketAddr,
        server_name: Option<Box<str>>,
    ) -> SocketIoWire {
        let state = State::Open;
        let mut wire = SocketIoWire { way, peer, server_name, pinged: false, heard: true, state };
        wire.put(open);
        wire.put(packet::CONNECTED.to_owned());
        wire
    }

    fn put(&mut self, packet: String) {
        match &mut self.way {
            Way::WebSocket(wire) => wire.send(&Bytes::from(packet)),
            Way::Polling(polling) => polling.put(&packet),
        }
    }

    /// The next packet; `None` when the client has left.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Packet>, WireError>> {
        let packet = loop {
            match &mut self.way {
                Way::WebSocket(wire) => {
                    let Some(chunk) = ready!(wire.poll_receive(cx)).transpose()? else {
                        return Poll::Ready(Ok(None));
                    };
                    break str::from_utf8(&chunk)
                        .map_err(|_| SocketIoViolation::NoText)
                        .and_then(Packet::decode);
                }
                Way::Polling(polling) => match ready!(polling.poll_next(cx))? {
                    Step::Says(packet) => break Packet::decode(&packet),
                    Step::Upgrades(wire) => self.way = Way::WebSocket(wire),
                    Step::Leaves => return Poll::Ready(Ok(None)),
                },
            }
        };
        Poll::Ready(packet.map(Some).map_err(WireError::from))
    }
}

fn open(id: &str, may_upgrade: bool, config: &SocketIoConfig) -> String {
    let (interval, timeout) = (config.ping_interval.as_millis(), config.ping_timeout.as_millis());
    packet::open(id, may_upgrade, interval, timeout)
}

impl Wire for SocketIoWire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            if self.state == State::Over {
                return Poll::Ready(None);
            }
            let packet = ready!(self.poll_packet(cx));
            self.heard = true;
            match packet {
                Ok(Some(Packet::Text(text))) => return Poll::Ready(Some(Ok(text.into()))),
                Ok(Some(Packet::Ping)) => self.pinged = true,
                Ok(Some(Packet::Probe | Packet::Upgrade | Packet::Other)) => {}
                Ok(Some(Packet::Leave) | None) => self.state = State::Over,
                Err(error) => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn send(&mut self, chunk: &Bytes) {
        if self.state == State::Open && !chunk.is_empty() {
            self.put(packet::text(chunk));
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pinged) {
            self.put(packet::PONG.to_owned());
        }
        match &mut self.way {
            Way::WebSocket(wire) => wire.poll_flush(cx),
            Way::Polling(polling) => polling.poll_flush(cx),
        }
    }

    fn unsent(&self) -> usize {
        match &self.way {
            Way::WebSocket(wire) => wire.unsent(),
            Way::Polling(polling) => polling.unsent(),
        }
    }

    /// As on other wires; a client that polls is told in the answer to its next poll, for which this waits.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state == State::Open {
            self.put(packet::DISCONNECTED.to_owned());
            if let Way::Polling(polling) = &mut self.way {
                polling.put(packet::CLOSE);
            }
            self.state = State::Closing;
        }
        match &mut self.way {
            Way::WebSocket(wire) => wire.poll_close(cx),
            Way::Polling(polling) if self.state == State::Over => polling.poll_part(cx),
            Way::Polling(polling) => polling.poll_flush(cx),
        }
    }

    fn ping(&mut self) -> bool {
        std::mem::replace(&mut self.heard, false)
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    fn kind(&self) -> &'static str {
        match &self.way {
            Way::WebSocket(wire) => wire.kind(),
            Way::Polling(_) => "polling",
        }
    }
}
