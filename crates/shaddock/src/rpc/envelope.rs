//! The inner wire: what servers say to one another, inside the cluster's calls and casts.
//!
//! MessagePack with field names, so that servers of two versions can talk: a reader skips what it
//! does not know. Clients' bodies stay the JSON bytes they are. What is sent most is in `forward.rs`.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::forward::{self, Forward};
use crate::error::Fault;
use crate::ids::{SessionId, is_zero};

/// What is answered.
#[derive(Debug)]
pub(crate) enum Ask<'a> {
    /// A client's message, for a handler here. Notifies are acknowledged too.
    Forward(Forward<'a>),
    /// A method of a remote.
    Remote(Method<'a>),
}

impl<'a> Ask<'a> {
    /// Writes it.
    pub(crate) fn pack(&self) -> Result<Bytes, rmp_serde::encode::Error> {
        match self {
            Ask::Forward(forward) => Ok(forward.pack()),
            Ask::Remote(method) => pack(method),
        }
    }

    /// Reads it; what it borrows stays in `bytes`.
    pub(crate) fn unpack(bytes: &'a [u8]) -> Result<Ask<'a>, Unreadable> {
        if bytes.first() == Some(&forward::MARK) {
            return Forward::unpack(bytes).map(Ask::Forward).ok_or(Unreadable::Forward);
        }
        Ok(Ask::Remote(unpack(bytes)?))
    }
}

/// Why a question was not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("a client's message is cut short, or has no text where it should")]
    Forward,
    #[error(transparent)]
    Method(#[from] rmp_serde::decode::Error),
}

/// What is not answered.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Tell<'a> {
    /// A message for some sessions of the front-end it is sent to.
    #[serde(rename = "p", borrow)]
    Push(Push<'a>),
    /// A method of a remote, one way.
    #[serde(rename = "r", borrow)]
    Remote(Method<'a>),
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Method<'a> {
    #[serde(rename = "s", borrow)]
    pub(crate) service: &'a str,
    #[serde(rename = "m", borrow)]
    pub(crate) method: &'a str,
    /// Of what is asked the owner of a key, the key.
    #[serde(rename = "k", borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a str>,
    /// How often an old owner of the key passed it on.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub(crate) passed: u8,
    #[serde(rename = "a", borrow, with = "serde_bytes")]
    pub(crate) args: &'a [u8],
}

#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) struct Push<'a> {
    #[serde(rename = "r", borrow)]
    pub(crate) route: &'a str,
    #[serde(rename = "b", borrow, with = "serde_bytes")]
    pub(crate) body: &'a [u8],
    #[serde(rename = "t", borrow)]
    pub(crate) to: To<'a>,
}

/// Whom a push is for.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub(crate) enum To<'a> {
    /// These sessions: eight bytes each, little-endian, so that a channel keeps the list ready.
    #[serde(rename = "s", borrow, with = "serde_bytes")]
    Sessions(&'a [u8]),
    /// Every session of a uid.
    #[serde(rename = "u", borrow)]
    Uid(&'a str),
    /// Every session that is in this group.
    #[serde(rename = "g", borrow)]
    Group(&'a str),
    /// Every session whose settings have these values; those without a uid too, if `unbound` says so.
    #[serde(rename = "a")]
    All {
        #[serde(rename = "w")]
        with: serde_json::Map<String, serde_json::Value>,
        #[serde(rename = "b")]
        unbound: bool,
    },
}

/// Writes session ids as a push carries them.
pub(crate) fn pack_sessions(ids: impl Iterator<Item = SessionId>) -> Bytes {
    let mut packed = BytesMut::new();
    for id in ids {
        packed.put_u64_le(id.0);
    }
    packed.freeze()
}

/// Reads them.
pub(crate) fn unpack_sessions(packed: &[u8]) -> impl Iterator<Item = SessionId> {
    packed.as_chunks::<8>().0.iter().map(|id| SessionId(u64::from_le_bytes(*id)))
}

/// Writes a value with field names.
pub(crate) fn pack<T: Serialize>(value: &T) -> Result<Bytes, rmp_serde::encode::Error> {
    let mut buffer = Vec::new();
    rmp_serde::encode::write_named(&mut buffer, value)?;
    Ok(buffer.into())
}

/// Reads it; what it borrows stays in `bytes`.
pub(crate) fn unpack<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

const DONE: u8 = 0;
const FAILED: u8 = 1;

/// An answer: what came out, or why nothing did.
pub(crate) fn pack_answer(answer: Result<Bytes, Fault>) -> Bytes {
    let (mark, rest) = match answer {
        Ok(body) => (DONE, body),
        Err(fault) => (FAILED, pack(&fault).unwrap_or_default()),
    };
    let mut packed = BytesMut::with_capacity(1 + rest.len());
    packed.put_u8(mark);
    packed.put_slice(&rest);
    packed.freeze()
}

/// Reads one.
pub(crate) fn unpack_answer(mut packed: Bytes) -> Result<Bytes, Fault> {
    match packed.first() {
        Some(&DONE) => {
            packed.advance(1);
            Ok(packed)
        }
        Some(&FAILED) => {
            Err(unpack(&packed[1..]).unwrap_or_else(|_| Fault::internal("an unreadable fault")))
        }
        _ => Err(Fault::internal("an unreadable answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_fault() {
        let fault = Fault::new(404, "no such room").with("room", 1);
        let read = unpack_answer(pack_answer(Err(fault))).unwrap_err();
        assert_eq!((read.code(), read.reason()), (404, "no such room"));
        assert_eq!(unpack_answer(pack_answer(Ok(Bytes::from_static(b"x")))).unwrap(), "x");
    }

    #[test]
    fn session_ids_come_back() {
        let ids = [SessionId(1), SessionId(u64::MAX)];
        let packed = pack_sessions(ids.into_iter());
        assert!(unpack_sessions(&packed).eq(ids));
    }
}
