//! The read buffer that all wires of a thread share, so that an idle one needs none.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// As much as one read takes.
const SIZE: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into_boxed_slice());
}

/// Reads once, at most `limit` bytes, and gives what came to `take`; an empty slice is the end of the stream.
pub(crate) fn poll_read<S, T>(
    stream: &mut S,
    cx: &mut Context<'_>,
    limit: usize,
    take: impl FnOnce(&mut [u8]) -> T,
) -> Poll<io::Result<T>>
where
    S: AsyncRead + Unpin,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let limit = limit.min(scratch.len());
        let mut buf = ReadBuf::new(&mut scratch[..limit]);
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(take(buf.filled_mut())))
    })
}

/// Reads and forgets what comes, until the stream ends or 1 MiB was there at once.
///
/// A socket that is closed with unread bytes resets the connection, and the peer may lose our last words.
pub(crate) fn poll_discard<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    for _ in 0..16 {
        if ready!(poll_read(stream, cx, SIZE, |bytes| bytes.is_empty()))? {
            break;
        }
    }
    Poll::Ready(Ok(()))
}
