//! How clients of MQTT are spoken to.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};

use super::packet::{PacketError, Publish, Qos};
use super::write::{self, Answer};
use crate::voice::Encode;
use crate::{EncodeError, Route};

/// Why a body can't go out to a client of MQTT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// It is no object of a publish, or no list of numbers.
    #[error("neither a publish nor a list of what is granted: {0}")]
    Body(String),
    /// `topic` is missing, empty, or has wildcards.
    #[error("a publish needs a topic, which has no wildcards")]
    Topic,
    /// Only QoS 0 goes without.
    #[error("a publish of QoS {qos} needs a messageId")]
    NoMessageId {
        /// The quality of service.
        qos: u8,
    },
    /// The payload is not what its `encoding` says.
    #[error("the payload is no base64: {0}")]
    Base64(String),
    /// Each topic needs an answer: 0, 1, 2 or 128.
    #[error("{granted:?} was granted for {asked} topics")]
    Granted {
        /// What there is.
        granted: Vec<u8>,
        /// How many topics there were.
        asked: u16,
    },
    /// It does not fit into a packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// The code for a topic that is not granted.
const NOT_GRANTED: u8 = 0x80;

/// What a request waits for. All of it is in the id that its response must carry, so that one voice
/// serves all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// An acknowledgement.
    One(NonZeroU16),
    /// Nothing: it has been acknowledged.
    Two(NonZeroU16),
    /// An answer for each of so many topics.
    Subscribe { id: NonZeroU16, topics: u16 },
}

impl Ask {
    /// In the upper half of the id of an [`Ask::Two`]; more than there can be topics.
    const TWO: u16 = u16::MAX;

    pub(super) fn of_publish(qos: Qos) -> Option<Self> {
        match qos {
            Qos::Zero => None,
            Qos::One(id) => Some(Self::One(id)),
            Qos::Two(id) => Some(Self::Two(id)),
        }
    }

    /// The lower half is the id of the packet.
    pub(super) fn to_id(self) -> NonZeroU32 {
        let (upper, id) = match self {
            Self::One(id) => (0, id),
            Self::Two(id) => (Self::TWO, id),
            Self::Subscribe { id, topics } => (topics, id),
        };
        NonZeroU32::from(id) | u32::from(upper) << 16
    }

    /// Nothing comes of an id that was none of ours.
    fn from_id(id: NonZeroU32) -> Option<Self> {
        let [a, b, c, d] = id.get().to_be_bytes();
        let id = NonZeroU16::new(u16::from_be_bytes([c, d]))?;
        Some(match u16::from_be_bytes([a, b]) {
            0 => Self::One(id),
            Self::TWO => Self::Two(id),
            topics => Self::Subscribe { id, topics },
        })
    }
}

/// How all clients of MQTT are spoken to.
pub(super) struct Speaker;

impl Encode for Speaker {
    fn response(&self, id: NonZeroU32, _: &Route, body: &Bytes) -> Result<Bytes, EncodeError> {
        let ask = Ask::from_id(id);
        let mut out = BytesMut::new();
        if let Some(Ask::Subscribe { id, topics }) = ask {
            let granted = granted(body, topics)?;
            write::put_granted(&mut out, id, &granted).map_err(ReplyError::from)?;
            return Ok(out.freeze());
        }
        if let Some(publish) = Publish::from_result(body)? {
            write::put_publish(&mut out, &publish).map_err(ReplyError::from)?;
        }
        if let Some(Ask::One(id)) = ask {
            write::put_answer(&mut out, Answer::Published, id);
        }
        Ok(out.freeze())
    }

    fn fault(&self, id: NonZeroU32, _: Option<&Route>) -> Bytes {
        let mut out = BytesMut::new();
        match Ask::from_id(id) {
            Some(Ask::One(id)) => write::put_answer(&mut out, Answer::Published, id),
            Some(Ask::Subscribe { id, topics }) => {
                write::put_granted(&mut out, id, &vec![NOT_GRANTED; topics.into()])
                    .expect("so many topics came in one packet");
            }
            Some(Ask::Two(_)) | None => {}
        }
        out.freeze()
    }

    fn push(&self, _: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        write::put_publish(&mut out, &Publish::from_body(body)?).map_err(ReplyError::from)?;
        Ok(out.freeze())
    }
}

/// What a handler grants: what its list says, or nothing if it says an object, such as a fault.
fn granted(body: &[u8], asked: u16) -> Result<Vec<u8>, ReplyError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return Ok(vec![NOT_GRANTED; asked.into()]);
    }
    let granted: Vec<u8> =
        serde_json::from_slice(body).map_err(|error| ReplyError::Body(error.to_string()))?;
    let sound = granted.iter().all(|qos| matches!(qos, 0..=2 | &NOT_GRANTED));
    if sound && granted.len() == usize::from(asked) {
        Ok(granted)
    } else {
        Err(ReplyError::Granted { granted, asked })
    }
}
