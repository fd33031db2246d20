//! A connector of one's own: a line of text for each message, over TCP.
//!
//! A client says `login <name>` first, and then `<route> <body>` on a line for each request. It is answered in order,
//! a line each, and hears `<route> <body>` of pushes after a `!`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use shaddock::connector::{
    CloseReason, Connector, Dialect, Encode, EncodeError, Event, Incoming, Listener, Message,
    OpenError, Refusal, Site, Voice, Wire, WireError,
};
use shaddock::{Hello, Route, StartError};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// What all clients of a front-end share.
pub(crate) struct Lines {
    address: SocketAddr,
    limit: usize,
    patience: Duration,
    voice: Voice,
}

impl Lines {
    pub(crate) fn new(site: &Site<'_>) -> Result<Lines, StartError> {
        let options = site.options();
        Ok(Lines {
            address: options.listen,
            limit: options.limits.package,
            patience: options.handshake_timeout,
            voice: Voice::new(Text),
        })
    }
}

impl Connector for Lines {
    type Listener = Port;
    type Dialect = Line;

    async fn listen(&self) -> io::Result<Port> {
        Ok(Port(TcpListener::bind(self.address).await?))
    }

    fn dialect(&self, now: Instant) -> Line {
        Line {
            voice: self.voice.clone(),
            limit: self.limit,
            received: BytesMut::new(),
            transmit: VecDeque::new(),
            deadline: Some(now + self.patience),
            state: State::New,
        }
    }
}

/// What clients are told.
struct Text;

impl Encode for Text {
    fn response(&self, _: NonZeroU32, _: &Route, body: &Bytes) -> Result<Bytes, EncodeError> {
        Ok([body, &b"\n"[..]].concat().into())
    }

    fn fault(&self, _: NonZeroU32, _: Option<&Route>) -> Bytes {
        Bytes::from_static(b"failed\n")
    }

    fn push(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        if route.contains(' ') {
            return Err(EncodeError::Unfit(format!("there is a space in {route:?}")));
        }
        Ok([b"!", route.as_bytes(), b" ", body, b"\n"].concat().into())
    }
}

/// What one client says.
pub(crate) struct Line {
    voice: Voice,
    limit: usize,
    received: BytesMut,
    transmit: VecDeque<Bytes>,
    deadline: Option<Instant>,
    state: State,
}

enum State {
    New,
    Deciding,
    Accepted,
    Working,
    Closing(CloseReason),
    Closed,
}

impl Line {
    fn on_line(&mut self, line: &str) -> Option<Event> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, "{}"));
        if let State::New = self.state {
            if first != "login" {
                self.state = State::Closing(CloseReason::BadHandshake);
                return None;
            }
            self.state = State::Deciding;
            return Some(Event::Handshake(Hello { user: Some(json!(rest)), ..Hello::default() }));
        }
        Some(match first.parse::<Route>() {
            Ok(route) => {
                let body = Bytes::copy_from_slice(rest.as_bytes());
                Event::Message(Message { id: NonZeroU32::new(1), route, body })
            }
            Err(error) => {
                self.transmit.push_back(Bytes::from_static(b"failed\n"));
                Event::Refused { id: None, reason: error.into() }
            }
        })
    }

    fn close(&mut self, reason: CloseReason, word: Option<String>) {
        self.transmit.extend(word.map(Bytes::from));
        self.state = State::Closing(reason);
    }
}

impl Dialect for Line {
    fn receive(&mut self, chunk: Bytes, _: Instant) {
        self.received.extend_from_slice(&chunk);
    }

    fn poll_event(&mut self, _: Instant) -> Option<Event> {
        loop {
            match &self.state {
                State::Deciding | State::Closed => return None,
                State::Accepted => {
                    self.state = State::Working;
                    return Some(Event::Ready);
                }
                State::Closing(reason) => {
                    let reason = reason.clone();
                    self.state = State::Closed;
                    return Some(Event::Close(reason));
                }
                State::New | State::Working => {}
            }
            let end = self.received.iter().position(|&byte| byte == b'\n');
            if self.limit < end.unwrap_or(self.received.len()) {
                self.close(CloseReason::Violation("a line that is too long"), None);
                continue;
            }
            let line = self.received.split_to(end?);
            self.received.advance(1);
            let Ok(line) = str::from_utf8(&line) else {
                let reason = Refusal::Unreadable("a line that is no text");
                return Some(Event::Refused { id: None, reason });
            };
            if let Some(event) = self.on_line(line) {
                return Some(event);
            }
        }
    }

    fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmit.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.close(CloseReason::HandshakeTimeout, None);
        }
    }

    fn accept(&mut self, user: Option<&RawValue>, _: Instant) {
        let word = user.map_or("null", RawValue::get);
        self.transmit.push_back(format!("welcome {word}\n").into());
        self.deadline = None;
        self.state = State::Accepted;
    }

    fn refuse(&mut self, code: u16, more: &Map<String, Value>) {
        let why = more.get("msg").and_then(Value::as_str).unwrap_or_default();
        self.close(CloseReason::Refused(code), Some(format!("go away: {code} {why}\n")));
    }

    fn kick(&mut self, reason: Option<&str>) {
        self.close(CloseReason::Kicked, reason.map(|reason| format!("bye: {reason}\n")));
    }

    fn voice(&self) -> &Voice {
        &self.voice
    }

    // Clients are not expected to say anything.
    fn suspend_timeout(&mut self) {}

    fn resume_timeout(&mut self, _: Instant) {}
}

/// Where clients connect.
pub(crate) struct Port(TcpListener);

impl Listener for Port {
    type Incoming = Caller;

    fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    async fn accept(&mut self) -> io::Result<Caller> {
        let (stream, peer) = self.0.accept().await?;
        Ok(Caller { stream, peer })
    }
}

/// Somebody who connected.
pub(crate) struct Caller {
    stream: TcpStream,
    peer: SocketAddr,
}

impl Incoming for Caller {
    type Wire = Cable;

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    async fn open(self) -> Result<Cable, OpenError> {
        // A client that says nothing is no client yet.
        poll_fn(|cx| self.stream.poll_read_ready(cx)).await?;
        Ok(Cable { stream: self.stream, peer: self.peer, out: BytesMut::new() })
    }
}

/// What carries the bytes of one client.
pub(crate) struct Cable {
    stream: TcpStream,
    peer: SocketAddr,
    out: BytesMut,
}

impl Wire for Cable {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        let mut room = [0; 2048];
        let mut buffer = ReadBuf::new(&mut room);
        Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => None,
            Ok(()) => Some(Ok(Bytes::copy_from_slice(buffer.filled()))),
            Err(error) => Some(Err(error.into())),
        })
    }

    fn send(&mut self, chunk: &Bytes) {
        self.out.extend_from_slice(chunk);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.out.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn unsent(&self) -> usize {
        self.out.len()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn kind(&self) -> &'static str {
        "lines"
    }
}
