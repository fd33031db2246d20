//! What a process says, line by line.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// The longest line, in bytes. A longer one comes in pieces.
const LONGEST: u64 = 64 * 1024;

/// A pipe that a process writes to. Whatever it writes there, it is read on.
pub(super) struct Pipe<R> {
    reader: BufReader<R>,
    /// What was read of the next line.
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pipe<R> {
    pub(super) fn new(reader: R) -> Pipe<R> {
        Pipe { reader: BufReader::new(reader), line: Vec::new() }
    }

    /// The next line, without its end. Bytes that are no text are replaced. Nothing when the pipe is closed.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<String> {
        let room = LONGEST.saturating_sub(self.line.len() as u64);
        let mut reader = (&mut self.reader).take(room);
        // Cancelled, it leaves what it has read in the line.
        let read = reader.read_until(b'\n', &mut self.line).await;
        if self.line.is_empty() || read.is_err() {
            return None;
        }
        let line = String::from_utf8_lossy(&self.line);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let line = line.strip_suffix('\r').unwrap_or(line).to_owned();
        self.line.clear();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<String> {
        let mut pipe = Pipe::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = pipe.next().await {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_do_not_end_it() {
        let said = lines(b"caf\xe9\r\n\n@alive\nno end").await;
        assert_eq!(said, ["caf\u{fffd}", "", "@alive", "no end"]);
        assert!(lines(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let said = lines(&vec![b'x'; 150_000]).await;
        assert_eq!(said.iter().map(String::len).collect::<Vec<_>>(), [65_536, 65_536, 18_928]);
    }

    #[tokio::test]
    async fn what_was_read_before_it_was_cancelled_is_kept() {
        let (reader, mut writer) = tokio::io::duplex(64);
        let mut pipe = Pipe::new(reader);
        writer.write_all(b"on").await.unwrap();
        {
            let mut next = pin!(pipe.next());
            let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        writer.write_all(b"e\ntwo\n").await.unwrap();
        assert_eq!(pipe.next().await.as_deref(), Some("one"));
        assert_eq!(pipe.next().await.as_deref(), Some("two"));
    }
}
