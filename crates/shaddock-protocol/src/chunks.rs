//! What has arrived and is not read yet.

use std::mem;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Chunks in, frames out: one frame may come in many chunks, and many in one.
///
/// Bodies are slices of the chunks they came in; only a frame in pieces is copied together.
/// Nothing is allocated while no frame is under way, nor on the word of a head alone.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// What came last, if nothing was left over from before.
    chunk: Bytes,
    /// A frame in pieces, and what came after it. `chunk` is empty while this is not.
    pieces: BytesMut,
}

/// A frame that is there whole: what its head says, and how many bytes head and body have.
pub(crate) struct Frame<H> {
    pub(crate) head: H,
    pub(crate) head_len: usize,
    pub(crate) body_len: usize,
}

impl Chunks {
    /// Adds what has arrived.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.chunk = chunk;
        } else {
            self.pieces.put_slice(&mem::take(&mut self.chunk));
            self.pieces.put_slice(&chunk);
        }
    }

    /// Takes the frame at the front, once `find` says that it is whole.
    pub(crate) fn next<H, E>(
        &mut self,
        find: impl Fn(&[u8]) -> Result<Option<Frame<H>>, E>,
    ) -> Result<Option<(H, Bytes)>, E> {
        if self.pieces.is_empty() {
            let Some(frame) = find(&self.chunk)? else {
                if !self.chunk.is_empty() {
                    // Copied, so that a few bytes don't keep a whole read buffer alive.
                    self.pieces.put_slice(&mem::take(&mut self.chunk));
                }
                return Ok(None);
            };
            self.chunk.advance(frame.head_len);
            return Ok(Some((frame.head, self.chunk.split_to(frame.body_len))));
        }
        let Some(frame) = find(&self.pieces)? else {
            return Ok(None);
        };
        self.pieces.advance(frame.head_len);
        let body = self.pieces.split_to(frame.body_len).freeze();
        if self.pieces.is_empty() {
            self.pieces = BytesMut::new();
        }
        Ok(Some((frame.head, body)))
    }

    /// How many bytes wait to be read.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len() + self.pieces.len()
    }

    /// How many bytes of memory are held, chunks handed in not counted.
    pub(crate) fn capacity(&self) -> usize {
        self.pieces.capacity()
    }
}
