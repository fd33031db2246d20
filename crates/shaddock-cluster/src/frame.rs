//! What one server says to another: a short head, then the payload as it came.
//!
//! The head is written by hand and not with names, as other things between servers are: it is on every
//! message, and its fields are the few that any version needs. Two versions still understand each other,
//! since the head says how long it is: later fields go to its end, where an older reader skips them.
//!
//! ```text
//! 0   version, 1
//! 1   what: 1 call, 2 cast, 3 answer
//! 2   length of the head, u16; all numbers are big-endian
//! 4   boot of the sender, u64
//! 12  boot of the receiver, u64
//! 20  number: of the call, also in its answer; of the cast, counted from 1 for each receiver
//! 28  call: milliseconds left; answer: its status; u32
//! 32  how often the sender took the receiver in, u32
//! 36  how often the receiver took the sender in, as the sender knows, u32
//! 40  length and bytes of the sender's id, then of its kind
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::ids::{Boot, Peer};

const VERSION: u8 = 1;
const FIXED: usize = 48;

/// The longest head that this version writes.
pub(crate) const HEAD: usize = FIXED + 2 * (1 + 64);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Call { number: u64, left: u32 },
    Cast { seq: u64 },
    Answer { number: u64, status: Status },
}

/// How a call ended at the server that was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The payload is the answer.
    Answered,
    /// It declined; the payload says why.
    Refused,
    /// It was meant for an earlier run of the server, and nothing was done.
    Stale,
}

/// How often two servers took each other in, as one of them knows: once when they first met, and again after
/// each time that one had taken the other for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Met {
    /// How often whoever says this took in the one it says it to.
    pub(crate) ours: u32,
    /// How often that one took in whoever says this.
    pub(crate) theirs: u32,
}

impl Met {
    /// What two who have not met yet will know.
    pub(crate) const FIRST: Met = Met { ours: 1, theirs: 1 };
}

/// Where a frame stands among all that one server sends to another: what is less was sent before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    met: (u32, u32),
    number: u64,
}

impl Place {
    /// The place `number`, from 1 on, since the two met like this.
    pub(crate) fn new(met: Met, number: u64) -> Place {
        Place { met: (met.ours, met.theirs), number }
    }

    /// The one after this.
    pub(crate) fn next(self) -> Place {
        Place { number: self.number + 1, ..self }
    }

    /// How the two had met.
    pub(crate) fn met(self) -> Met {
        let (ours, theirs) = self.met;
        Met { ours, theirs }
    }
}

/// A frame that came in. The sender's id and kind are as yet unchecked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) what: What,
    pub(crate) from: Boot,
    pub(crate) to: Boot,
    pub(crate) place: Place,
    pub(crate) id: &'a [u8],
    pub(crate) kind: &'a [u8],
    /// Where the payload begins.
    pub(crate) head: usize,
}

/// Writes a frame; the one place where a payload is copied.
pub(crate) fn encode(from: &Peer, to: Boot, place: Place, what: What, payload: &[u8]) -> Bytes {
    let (id, kind) = (from.id.as_str().as_bytes(), from.kind.as_str().as_bytes());
    let head = FIXED + 2 + id.len() + kind.len();
    let (code, number, word) = match what {
        What::Call { number, left } => (1, number, left),
        What::Cast { seq } => (2, seq, 0),
        What::Answer { number, status: Status::Answered } => (3, number, 0),
        What::Answer { number, status: Status::Refused } => (3, number, 1),
        What::Answer { number, status: Status::Stale } => (3, number, 2),
    };
    // Put together first: 48 bytes that are there take a third of the instructions of as many that may have to grow.
    let mut fixed = [0; FIXED];
    {
        let mut fixed = &mut fixed[..];
        fixed.put_u8(VERSION);
        fixed.put_u8(code);
        fixed.put_u16(u16::try_from(head).expect("names have at most 64 bytes"));
        fixed.put_u64(from.boot.bits());
        fixed.put_u64(to.bits());
        fixed.put_u64(number);
        fixed.put_u32(word);
        fixed.put_u32(place.met.0);
        fixed.put_u32(place.met.1);
        fixed.put_u64(place.number);
    }
    let mut buf = BytesMut::with_capacity(head + payload.len());
    buf.put_slice(&fixed);
    for name in [id, kind] {
        buf.put_u8(u8::try_from(name.len()).expect("names have at most 64 bytes"));
        buf.put_slice(name);
    }
    buf.put_slice(payload);
    buf.freeze()
}

/// Reads the head of a frame, or says what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (head, _) = bytes.split_first_chunk::<FIXED>().ok_or(FrameError::Short)?;
    let [version, code, l0, l1, numbers @ ..] = head;
    if *version != VERSION {
        return Err(FrameError::Version(*version));
    }
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    if length < FIXED || bytes.len() < length {
        return Err(FrameError::Short);
    }
    let mut numbers = &numbers[..];
    let (from, to, number) =
        (take_u64(&mut numbers)?, take_u64(&mut numbers)?, take_u64(&mut numbers)?);
    let word = take_u32(&mut numbers)?;
    let met = (take_u32(&mut numbers)?, take_u32(&mut numbers)?);
    let place = Place { met, number: take_u64(&mut numbers)? };
    let what = match (code, word) {
        (1, left) => What::Call { number, left },
        (2, _) => What::Cast { seq: number },
        (3, 0) => What::Answer { number, status: Status::Answered },
        (3, 2) => What::Answer { number, status: Status::Stale },
        // A status of a later version is some way of not answering.
        (3, _) => What::Answer { number, status: Status::Refused },
        (&code, _) => return Err(FrameError::Code(code)),
    };
    let mut names = bytes.get(FIXED..length).ok_or(FrameError::Short)?;
    Ok(Frame {
        what,
        from: Boot::from_bits(from),
        to: Boot::from_bits(to),
        place,
        id: take_name(&mut names)?,
        kind: take_name(&mut names)?,
        head: length,
    })
}

/// Why a frame could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame ends early")]
    Short,
    #[error("a frame of version {0}")]
    Version(u8),
    #[error("no frame has code {0}")]
    Code(u8),
}

fn take_u64(bytes: &mut &[u8]) -> Result<u64, FrameError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
    *bytes = rest;
    Ok(u64::from_be_bytes(*number))
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, FrameError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(FrameError::Short)?;
    *bytes = rest;
    Ok(u32::from_be_bytes(*number))
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let (len, rest) = bytes.split_first().ok_or(FrameError::Short)?;
    let (name, rest) = rest.split_at_checked(usize::from(*len)).ok_or(FrameError::Short)?;
    *bytes = rest;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer() -> Peer {
        Peer {
            id: "chat-1".parse().unwrap(),
            kind: "chat".parse().unwrap(),
            boot: Boot::from_bits(7),
        }
    }

    fn any_what() -> impl Strategy<Value = What> {
        prop_oneof![
            (any::<u64>(), any::<u32>()).prop_map(|(number, left)| What::Call { number, left }),
            any::<u64>().prop_map(|seq| What::Cast { seq }),
            (
                any::<u64>(),
                prop_oneof![Just(Status::Answered), Just(Status::Refused), Just(Status::Stale)]
            )
                .prop_map(|(number, status)| What::Answer { number, status }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(what in any_what(), to: u64, met: (u32, u32), number: u64, payload: Vec<u8>) {
            let place = Place { met, number };
            let bytes = encode(&peer(), Boot::from_bits(to), place, what, &payload);
            let frame = decode(&bytes).unwrap();
            prop_assert_eq!((frame.what, frame.place), (what, place));
            prop_assert_eq!((frame.from.bits(), frame.to.bits()), (7, to));
            prop_assert_eq!((frame.id, frame.kind), (&b"chat-1"[..], &b"chat"[..]));
            prop_assert_eq!(&bytes[frame.head..], &payload[..]);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_cut_or_changed_frame_does_no_harm(cut in 0..70usize, at in 0..70usize, byte: u8) {
            let frame = encode(&peer(), Boot::from_bits(1), Place::default(), What::Cast { seq: 1 }, b"hello");
            let mut changed = frame[..frame.len().min(cut)].to_vec();
            if let Some(there) = changed.get_mut(at) {
                *there = byte;
            }
            let _ = decode(&changed);
        }
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let frame =
            encode(&peer(), Boot::from_bits(1), Place::default(), What::Cast { seq: 3 }, b"hello");
        let head = usize::from(frame[3]);
        let mut longer = frame.to_vec();
        longer.splice(head..head, *b"more");
        longer[3] += 4;
        let (later, now) = (decode(&longer).unwrap(), decode(&frame).unwrap());
        assert_eq!((later.what, later.id, later.kind), (now.what, now.id, now.kind));
        assert_eq!(longer[later.head..], *b"hello");
    }
}
