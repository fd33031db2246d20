//! A connection that is a WebSocket or raw TCP.

use std::{
    io::{self, ErrorKind},
    mem,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Socket;
use crate::{
    Wire, WireError, scratch,
    websocket::{End, FrameReader, FrameWriter, Opcode, Received, Role, Violation},
};

/// A WebSocket or raw bytes over a stream: what a [`Hybrid`](crate::Hybrid) gives, and what clients connect by.
///
/// Over a WebSocket each chunk that is sent is one binary message; what is received may be binary or text, and comes as
/// it arrives, also in parts of a message. Over raw bytes chunks may arrive joined or cut.
///
/// While nothing is on its way it holds no buffer: reads go through one that the thread's wires share, and the write
/// buffer is given back when it is empty. TLS keeps buffers of its own.
#[derive(Debug)]
pub struct HybridWire<S = Socket> {
    stream: S,
    peer: SocketAddr,
    kind: Kind,
    server_name: Option<Box<str>>,
    websocket: Option<WebSocket>,
    /// What came together with the bytes that told what this is. Boxed, for it is there only at the beginning.
    early: Option<Box<BytesMut>>,
    /// The write buffer.
    out: BytesMut,
    receiving: Receiving,
    /// The write side is shut down.
    shut: bool,
}

/// What a wire is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp,
    WebSocket,
    Memory,
    #[cfg(feature = "tls")]
    Tls,
    #[cfg(feature = "tls")]
    Wss,
}

/// Whether there is more to receive.
#[derive(Debug)]
enum Receiving {
    Open,
    /// This is to be told, then it is over.
    Failed(Box<WireError>),
    Over,
}

#[derive(Debug)]
struct WebSocket {
    reader: FrameReader,
    writer: FrameWriter,
    /// The last ping that has no answer yet. One is kept, so that a flood of them is answered now and then.
    pinged: Option<Box<[u8]>>,
    /// Something came since [`Wire::ping`] was last called.
    heard: bool,
    /// A chunk is a whole message, and text going out.
    texts: Option<Box<Texts>>,
}

#[derive(Debug)]
struct Texts {
    /// What came of the message that is not whole yet.
    begun: BytesMut,
    /// Bytes that a message may have.
    limit: usize,
}

impl<S> HybridWire<S> {
    pub(crate) fn raw(stream: S, peer: SocketAddr, kind: Kind, early: BytesMut) -> HybridWire<S> {
        HybridWire {
            stream,
            peer,
            kind,
            server_name: None,
            websocket: None,
            early: (!early.is_empty()).then(|| Box::new(early)),
            out: BytesMut::new(),
            receiving: Receiving::Open,
            shut: false,
        }
    }

    pub(crate) fn websocket(
        stream: S,
        peer: SocketAddr,
        role: Role,
        early: BytesMut,
    ) -> HybridWire<S> {
        let websocket = WebSocket {
            reader: FrameReader::new(role),
            writer: FrameWriter::new(role),
            pinged: None,
            heard: true,
            texts: None,
        };
        HybridWire {
            websocket: Some(websocket),
            ..HybridWire::raw(stream, peer, Kind::WebSocket, early)
        }
    }

    /// Takes one message of a WebSocket for one chunk, of `limit` bytes at most, and sends text.
    #[cfg_attr(not(feature = "socketio"), allow(dead_code, reason = "only Socket.IO needs it"))]
    pub(crate) fn in_texts(mut self, limit: usize) -> HybridWire<S> {
        if let Some(websocket) = &mut self.websocket {
            websocket.reader.stop_behind_messages();
            websocket.texts = Some(Box::new(Texts { begun: BytesMut::new(), limit }));
        }
        self
    }
}

#[cfg(feature = "tls")]
impl HybridWire {
    /// Takes the name of a stream that is TLS.
    pub(crate) fn inside_tls(self) -> HybridWire {
        if !self.stream.is_tls() {
            return self;
        }
        HybridWire {
            kind: match self.websocket {
                Some(_) => Kind::Wss,
                None => Kind::Tls,
            },
            server_name: self.stream.server_name().map(Box::from),
            ..self
        }
    }
}

impl<S> Wire for HybridWire<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            match mem::replace(&mut self.receiving, Receiving::Over) {
                Receiving::Open => self.receiving = Receiving::Open,
                Receiving::Failed(error) => return Poll::Ready(Some(Err(*error))),
                Receiving::Over => return Poll::Ready(None),
            }
            match ready!(self.poll_read(cx)) {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Poll::Ready(Some(Ok(chunk))),
                Err(error) => self.receiving = Receiving::Failed(Box::new(error.into())),
            }
        }
    }

    fn send(&mut self, chunk: &Bytes) {
        match &mut self.websocket {
            _ if chunk.is_empty() => {}
            Some(websocket) => {
                let opcode = match websocket.texts {
                    Some(_) => Opcode::Text,
                    None => Opcode::Binary,
                };
                websocket.writer.write(opcode, chunk, &mut self.out);
            }
            None => self.out.put_slice(chunk),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.out.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))? {
                    0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                    written => self.out.advance(written),
                }
            }
            let Some(websocket) = &mut self.websocket else {
                break;
            };
            let Some(ping) = websocket.pinged.take() else {
                break;
            };
            websocket.writer.write(Opcode::Pong, &ping, &mut self.out);
        }
        self.out = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn unsent(&self) -> usize {
        let pinged = self.websocket.as_ref().and_then(|websocket| websocket.pinged.as_ref());
        self.out.len() + pinged.map_or(0, |ping| 2 + ping.len())
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        if let Some(websocket) = &mut self.websocket {
            websocket.writer.close(1000, &mut self.out);
        }
        ready!(self.poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.shut = true;
        // What the peer sent meanwhile. It may go on for ever, so this does not wait for more, nor for an end.
        let _ = scratch::poll_discard(&mut self.stream, cx);
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self) -> bool {
        let Some(websocket) = &mut self.websocket else {
            return true;
        };
        // Nothing is gained by a ping behind what the peer does not take.
        if self.out.is_empty() {
            websocket.writer.write(Opcode::Ping, &[], &mut self.out);
        }
        mem::replace(&mut websocket.heard, false)
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Tcp => "tcp",
            Kind::WebSocket => "websocket",
            Kind::Memory => "memory",
            #[cfg(feature = "tls")]
            Kind::Tls => "tls",
            #[cfg(feature = "tls")]
            Kind::Wss => "wss",
        }
    }
}

impl<S> HybridWire<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Reads once. An empty chunk says only that something happened.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.websocket.as_ref().is_some_and(|websocket| websocket.pinged.is_some()) {
            // What can't be written now, or ever, is for the next flush to find.
            let _ = self.poll_flush(cx);
        }
        let (websocket, out) = (&mut self.websocket, &mut self.out);
        let mut take = |bytes: &mut [u8]| match websocket {
            Some(websocket) => websocket.read(bytes, out),
            None if bytes.is_empty() => (Bytes::new(), 0, Receiving::Over),
            None => (Bytes::copy_from_slice(bytes), bytes.len(), Receiving::Open),
        };
        let (chunk, receiving) = match self.early.take() {
            Some(mut early) => {
                let (chunk, used, receiving) = take(&mut early);
                early.advance(used);
                self.early = (!early.is_empty()).then_some(early);
                (chunk, receiving)
            }
            None => ready!(scratch::poll_read(&mut self.stream, cx, usize::MAX, |bytes| {
                let (chunk, used, receiving) = take(bytes);
                let rest = bytes.get(used..).unwrap_or_default();
                self.early = (!rest.is_empty()).then(|| Box::new(BytesMut::from(rest)));
                (chunk, receiving)
            }))?,
        };
        self.receiving = receiving;
        if !matches!(self.receiving, Receiving::Open) {
            // A close is answered at once, whatever the caller does next.
            let _ = self.poll_flush(cx);
        }
        Poll::Ready(Ok(chunk))
    }
}

impl WebSocket {
    /// Takes the payload out of what was read, answers a close, and says how much was used and whether there can be
    /// more.
    fn read(&mut self, bytes: &mut [u8], out: &mut BytesMut) -> (Bytes, usize, Receiving) {
        if bytes.is_empty() {
            // Most clients that vanish send no close frame. Only half a message is out of order.
            let receiving = match self.reader.is_between_messages() {
                true => Receiving::Over,
                false => {
                    Receiving::Failed(Box::new(WireError::Io(ErrorKind::UnexpectedEof.into())))
                }
            };
            return (Bytes::new(), 0, receiving);
        }
        self.heard = true;
        let Received { data, ping, whole, used, mut end } = self.reader.read(bytes);
        if ping.is_some() {
            self.pinged = ping;
        }
        let chunk = match &mut self.texts {
            None => Bytes::copy_from_slice(&bytes[data]),
            Some(texts) => {
                texts.begun.extend_from_slice(&bytes[data]);
                if texts.limit < texts.begun.len() {
                    end = Some(End::Violation(Violation::LongMessage));
                }
                if whole && end.is_none() {
                    mem::take(&mut texts.begun).freeze()
                } else {
                    Bytes::new()
                }
            }
        };
        let receiving = match end {
            None => Receiving::Open,
            Some(End::Close(code)) => {
                self.writer.close(code.unwrap_or(1000), out);
                Receiving::Over
            }
            Some(End::Violation(violation)) => {
                let code = if violation == Violation::LongMessage { 1009 } else { 1002 };
                self.writer.close(code, out);
                Receiving::Failed(Box::new(violation.into()))
            }
        };
        (chunk, used, receiving)
    }
}
