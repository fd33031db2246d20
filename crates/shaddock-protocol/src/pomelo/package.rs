//! Packages: what everything on the wire of pomelo's clients is wrapped in.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::chunks::{Chunks, Frame};

/// One package: a kind, a length of three bytes, a body.
///
/// # Examples
///
/// ```
/// # use shaddock_protocol::pomelo::{Kind, Package, PackageError};
/// # use bytes::Bytes;
/// let mut wire = Package { kind: Kind::Data, body: Bytes::from_static(b"hi") }.encode()?;
/// assert_eq!(wire, &b"\x04\0\0\x02hi"[..]);
/// let package = Package::decode(&mut wire, 64)?.expect("it is whole");
/// assert_eq!(package.body, "hi");
/// # Ok::<(), PackageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What it is for.
    pub kind: Kind,
    /// What is inside.
    pub body: Bytes,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first package of either side: JSON.
    Handshake = 1,
    /// The client has read the server's handshake.
    Ack = 2,
    /// A sign of life.
    Heartbeat = 3,
    /// A message.
    Data = 4,
    /// The server closes the connection: JSON with the reason.
    Kick = 5,
}

/// Why a package could not be read or written. The connection can't go on after reading failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The first byte is none of 1 to 5.
    #[error("no package has kind {0}")]
    UnknownKind(u8),
    /// The body is, or claims to be, longer than allowed.
    #[error("a package of {len} bytes, where {limit} are allowed")]
    TooLong {
        /// The length of the body.
        len: usize,
        /// The longest that is allowed.
        limit: usize,
    },
}

impl Package {
    /// Bytes before the body.
    pub const HEADER: usize = 4;
    /// The longest body that three bytes can say.
    pub const MAX_BODY: usize = 0xff_ffff;

    /// The bytes of this package.
    ///
    /// # Errors
    ///
    /// When the body is longer than [`Package::MAX_BODY`].
    pub fn encode(&self) -> Result<Bytes, PackageError> {
        build(self.kind, self.body.len(), |out| out.put_slice(&self.body))
    }

    /// Takes one whole package off the front of `buf`, or leaves `buf` alone.
    ///
    /// # Errors
    ///
    /// When no package starts like this, or its body is longer than `limit`.
    pub fn decode(buf: &mut Bytes, limit: usize) -> Result<Option<Self>, PackageError> {
        let Some((kind, len)) = head(buf, limit)? else {
            return Ok(None);
        };
        buf.advance(Self::HEADER);
        Ok(Some(Self { kind, body: buf.split_to(len) }))
    }
}

impl TryFrom<u8> for Kind {
    type Error = PackageError;

    fn try_from(byte: u8) -> Result<Self, PackageError> {
        match byte {
            1 => Ok(Self::Handshake),
            2 => Ok(Self::Ack),
            3 => Ok(Self::Heartbeat),
            4 => Ok(Self::Data),
            5 => Ok(Self::Kick),
            unknown => Err(PackageError::UnknownKind(unknown)),
        }
    }
}

/// Chunks in, packages out: one package may come in many chunks, and many in one.
///
/// Bodies are slices of the chunks they came in; only a package in pieces is copied together.
/// Nothing is allocated while no package is under way, nor on the word of a header alone.
#[derive(Debug, Default)]
pub struct Packages(Chunks);

impl Packages {
    /// Adds what has arrived.
    pub fn push(&mut self, chunk: Bytes) {
        self.0.push(chunk);
    }

    /// The next package, if it is whole.
    ///
    /// # Errors
    ///
    /// As [`Package::decode`]; the same again if called again.
    pub fn next(&mut self, limit: usize) -> Result<Option<Package>, PackageError> {
        let found = self.0.next(|bytes| {
            let head = head(bytes, limit)?;
            Ok(head.map(|(kind, body_len)| Frame {
                head: kind,
                head_len: Package::HEADER,
                body_len,
            }))
        })?;
        Ok(found.map(|(kind, body)| Package { kind, body }))
    }

    /// How many bytes wait to be read.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no bytes wait.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of memory are held, chunks handed in not counted.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// How many bytes of `datagram` are whole packages; all of them if it holds what is no package.
pub(super) fn whole(datagram: &Bytes) -> usize {
    let mut rest = datagram.clone();
    loop {
        match Package::decode(&mut rest, Package::MAX_BODY) {
            Ok(Some(_)) => {}
            Ok(None) => return datagram.len() - rest.len(),
            Err(_) => return datagram.len(),
        }
    }
}

/// The bytes of a package whose body, of about `size` bytes, is written by `write`.
pub(super) fn build(
    kind: Kind,
    size: usize,
    write: impl FnOnce(&mut BytesMut),
) -> Result<Bytes, PackageError> {
    let mut out = BytesMut::with_capacity(Package::HEADER + size);
    begin(&mut out);
    write(&mut out);
    finish(out, kind)
}

/// Leaves room for the head of a package.
pub(super) fn begin(out: &mut BytesMut) {
    out.put_bytes(0, Package::HEADER);
}

/// Writes the head before a body that is complete.
pub(super) fn finish(mut out: BytesMut, kind: Kind) -> Result<Bytes, PackageError> {
    let len = out.len().saturating_sub(Package::HEADER);
    let limit = Package::MAX_BODY;
    let bytes = u32::try_from(len).ok().filter(|_| len <= limit).map(u32::to_be_bytes);
    let Some([_, a, b, c]) = bytes else {
        return Err(PackageError::TooLong { len, limit });
    };
    if let Some(head) = out.first_chunk_mut() {
        *head = [kind as u8, a, b, c];
    }
    Ok(out.freeze())
}

/// Kind and length of the package at the front of `bytes`, once all of it is there.
fn head(bytes: &[u8], limit: usize) -> Result<Option<(Kind, usize)>, PackageError> {
    let Some(&kind) = bytes.first() else {
        return Ok(None);
    };
    let kind = Kind::try_from(kind)?;
    let Some(&[_, a, b, c]) = bytes.first_chunk::<{ Package::HEADER }>() else {
        return Ok(None);
    };
    let len = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if limit < len {
        return Err(PackageError::TooLong { len, limit });
    }
    Ok((len <= bytes.len() - Package::HEADER).then_some((kind, len)))
}
