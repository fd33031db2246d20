//! One HTTP request on a connection of its own, and the answer to it.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::request::answer;
use crate::{Socket, scratch};

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) socket: Socket,
    /// The page it comes from, which must be told that it may read the answer.
    pub(super) origin: Option<Box<str>>,
}

/// An answer that is being written.
#[derive(Debug)]
pub(super) struct Answer {
    socket: Socket,
    unwritten: BytesMut,
}

impl Visitor {
    /// Begins to answer, with 200 and a text.
    pub(super) fn answer(self, text: &str) -> Answer {
        let answer = answer(self.origin.as_deref(), text);
        Answer { socket: self.socket, unwritten: BytesMut::from(answer.as_bytes()) }
    }

    /// The name that its connection asked for by TLS.
    pub(super) fn server_name(&self) -> Option<&str> {
        #[cfg(feature = "tls")]
        return self.socket.server_name();
        #[cfg(not(feature = "tls"))]
        None
    }

    /// Whether it has gone without waiting for its answer.
    pub(super) fn has_left(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let is_end = |bytes: &mut [u8]| bytes.is_empty();
            match scratch::poll_read(&mut self.socket, cx, usize::MAX, is_end) {
                // What follows a request on its connection is not asked for.
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
    }
}

impl Answer {
    /// Bytes that are not with the kernel yet.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Ready when all is written and the connection may be dropped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unwritten))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.unwritten.advance(written),
            }
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
