//! Packets as clients send them.

use std::num::NonZeroU16;

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use crate::chunks::Frame;

/// What a client sends.
#[derive(Debug)]
pub(super) enum Packet {
    Connect(Connect),
    Publish(Publish),
    /// The client has what we published; or, the second time, has forgotten its id.
    Acknowledged,
    /// PUBREC: the client has what we published with QoS 2.
    Received(NonZeroU16),
    /// PUBREL: the client forgets what it published with QoS 2.
    Release(NonZeroU16),
    Subscribe {
        id: NonZeroU16,
        topics: Vec<(ByteString, u8)>,
    },
    Unsubscribe(NonZeroU16),
    Ping,
    Disconnect,
}

#[derive(Debug)]
pub(super) struct Connect {
    pub(super) version: Version,
    /// Seconds.
    pub(super) keep_alive: u16,
    pub(super) client: ByteString,
    pub(super) username: Option<ByteString>,
    pub(super) password: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3_1,
    V3_1_1,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) topic: ByteString,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) dup: bool,
}

/// How a publish is acknowledged, and under which id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qos {
    Zero,
    One(NonZeroU16),
    Two(NonZeroU16),
}

/// Why a packet could not be read. The connection can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Only the server sends these, or nobody.
    #[error("no client sends a packet of type {0}")]
    UnknownType(u8),
    /// The lower half of the first byte is not what belongs to the type.
    #[error("a packet of type {kind} with flags {flags}")]
    Flags {
        /// The upper half.
        kind: u8,
        /// The lower half.
        flags: u8,
    },
    /// The length has more than four bytes.
    #[error("the length of a packet has more than four bytes")]
    WideLength,
    /// The packet is, or claims to be, longer than allowed.
    #[error("a packet of {len} bytes, where {limit} are allowed")]
    TooLong {
        /// What it claims.
        len: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The packet ends inside a field.
    #[error("the packet is cut off")]
    Short,
    /// The packet goes on where its fields end.
    #[error("{0} bytes after the end of a packet")]
    LeftOver(usize),
    /// Text that isn't UTF-8, or has a zero in it.
    #[error("text that is none")]
    Text,
    /// Ids start with 1.
    #[error("a packet with id 0")]
    ZeroId,
    /// There is 0, 1 and 2.
    #[error("no quality of service is {0}")]
    Qos(u8),
    /// It is empty, or has wildcards.
    #[error("a publish to no topic")]
    Topic,
    /// A subscription must have topics, and an answer for each of them.
    #[error("a subscription to {len} topics, where 1 to {limit} are allowed", limit = Self::MAX_TOPICS)]
    Topics {
        /// How many there were.
        len: usize,
    },
    /// The name is neither `MQTT` nor `MQIsdp`.
    #[error("a protocol of another name")]
    Protocol,
    /// Neither 3.1 nor 3.1.1.
    #[error("no MQTT of level {0} is spoken here")]
    Level(u8),
    /// The flags of a CONNECT contradict one another.
    #[error("a connect with flags {0}")]
    ConnectFlags(u8),
    /// A client without a name may not ask for a session that stays.
    #[error("a client without an id")]
    NoClientId,
    /// It is connected already.
    #[error("a second connect")]
    SecondConnect,
    /// Too many publishes of QoS 2 wait to be released.
    #[error("more than {limit} publishes that are not released")]
    Unreleased {
        /// How many may.
        limit: usize,
    },
}

pub(super) const CONNECT: u8 = 1;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

pub(super) const DUP: u8 = 0b1000;
pub(super) const RETAIN: u8 = 1;

impl PacketError {
    /// The most topics that one packet may subscribe to.
    pub const MAX_TOPICS: usize = 1024;
}

/// The packet at the front of `bytes`, once all of it is there: its first byte is the head.
pub(super) fn find(bytes: &[u8], limit: usize) -> Result<Option<Frame<u8>>, PacketError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let kind = first >> 4;
    if !matches!(kind, CONNECT | PUBLISH..=SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT) {
        return Err(PacketError::UnknownType(kind));
    }
    let mut len = 0;
    for (at, byte) in (0..4).zip(rest) {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            if limit < len {
                return Err(PacketError::TooLong { len, limit });
            }
            let head_len = 2 + at;
            return Ok((head_len + len <= bytes.len()).then_some(Frame {
                head: first,
                head_len,
                body_len: len,
            }));
        }
    }
    if 4 <= rest.len() {
        return Err(PacketError::WideLength);
    }
    Ok(None)
}

impl Packet {
    /// Reads a packet by its first byte and the bytes after its length.
    pub(super) fn decode(first: u8, body: Bytes, version: Version) -> Result<Self, PacketError> {
        let kind = first >> 4;
        let mut flags = first & 0xf;
        let mut fields = Fields(body);
        if kind == PUBLISH {
            return Ok(Self::Publish(fields.publish(flags)?));
        }
        if version == Version::V3_1 && matches!(kind, PUBREL | SUBSCRIBE | UNSUBSCRIBE) {
            // Only there may these come twice, and say so.
            flags &= !DUP;
        }
        let expected = if matches!(kind, PUBREL | SUBSCRIBE | UNSUBSCRIBE) { 0b0010 } else { 0 };
        if flags != expected {
            return Err(PacketError::Flags { kind, flags });
        }
        let packet = match kind {
            CONNECT => Self::Connect(fields.connect()?),
            PUBACK | PUBCOMP => {
                fields.id()?;
                Self::Acknowledged
            }
            PUBREC => Self::Received(fields.id()?),
            PUBREL => Self::Release(fields.id()?),
            SUBSCRIBE => {
                Self::Subscribe { id: fields.id()?, topics: fields.topics(Fields::subscription)? }
            }
            UNSUBSCRIBE => {
                let id = fields.id()?;
                fields.topics(Fields::filter)?;
                Self::Unsubscribe(id)
            }
            PINGREQ => Self::Ping,
            DISCONNECT => Self::Disconnect,
            unknown => return Err(PacketError::UnknownType(unknown)),
        };
        match fields.0.len() {
            0 => Ok(packet),
            left => Err(PacketError::LeftOver(left)),
        }
    }
}

/// What is left of a packet.
struct Fields(Bytes);

impl Fields {
    fn connect(&mut self) -> Result<Connect, PacketError> {
        let name = self.text()?;
        let level = self.u8()?;
        let version = match (&*name, level) {
            ("MQIsdp", 3) => Version::V3_1,
            ("MQTT", 4) => Version::V3_1_1,
            ("MQIsdp" | "MQTT", level) => return Err(PacketError::Level(level)),
            _ => return Err(PacketError::Protocol),
        };
        let flags = self.u8()?;
        let has = |bit: u8| flags & 1 << bit != 0;
        let [reserved, clean, will, will_retain, password, username] = [0, 1, 2, 5, 6, 7].map(has);
        let will_qos = flags >> 3 & 3;
        let contradictory = (reserved && version == Version::V3_1_1)
            || (!will && (will_retain || will_qos != 0))
            || will_qos == 3
            || (password && !username);
        if contradictory {
            return Err(PacketError::ConnectFlags(flags));
        }
        let keep_alive = self.u16()?;
        let client = self.text()?;
        if client.is_empty() && !(clean && version == Version::V3_1_1) {
            return Err(PacketError::NoClientId);
        }
        if will {
            self.text()?;
            self.bytes()?;
        }
        Ok(Connect {
            version,
            keep_alive,
            client,
            username: username.then(|| self.text()).transpose()?,
            password: password.then(|| self.bytes()).transpose()?,
        })
    }

    fn publish(&mut self, flags: u8) -> Result<Publish, PacketError> {
        let topic = self.text()?;
        if !is_topic(&topic) {
            return Err(PacketError::Topic);
        }
        let qos = match flags >> 1 & 3 {
            0 => Qos::Zero,
            1 => Qos::One(self.id()?),
            2 => Qos::Two(self.id()?),
            unknown => return Err(PacketError::Qos(unknown)),
        };
        Ok(Publish {
            topic,
            payload: std::mem::take(&mut self.0),
            qos,
            retain: flags & RETAIN != 0,
            dup: flags & DUP != 0,
        })
    }

    /// All that is left, in pieces that `read` takes.
    fn topics<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, PacketError>,
    ) -> Result<Vec<T>, PacketError> {
        let mut topics = Vec::new();
        while !self.0.is_empty() {
            topics.push(read(self)?);
        }
        let len = topics.len();
        if (1..=PacketError::MAX_TOPICS).contains(&len) {
            Ok(topics)
        } else {
            Err(PacketError::Topics { len })
        }
    }

    fn subscription(&mut self) -> Result<(ByteString, u8), PacketError> {
        let filter = self.filter()?;
        match self.u8()? {
            qos @ 0..=2 => Ok((filter, qos)),
            unknown => Err(PacketError::Qos(unknown)),
        }
    }

    fn filter(&mut self) -> Result<ByteString, PacketError> {
        let filter = self.text()?;
        if filter.is_empty() { Err(PacketError::Topic) } else { Ok(filter) }
    }

    fn id(&mut self) -> Result<NonZeroU16, PacketError> {
        NonZeroU16::new(self.u16()?).ok_or(PacketError::ZeroId)
    }

    fn text(&mut self) -> Result<ByteString, PacketError> {
        let text = ByteString::try_from(self.bytes()?).map_err(|_| PacketError::Text)?;
        if text.contains('\0') { Err(PacketError::Text) } else { Ok(text) }
    }

    fn bytes(&mut self) -> Result<Bytes, PacketError> {
        let len = self.u16()?.into();
        if self.0.len() < len {
            return Err(PacketError::Short);
        }
        Ok(self.0.split_to(len))
    }

    fn u16(&mut self) -> Result<u16, PacketError> {
        self.0.try_get_u16().map_err(|_| PacketError::Short)
    }

    fn u8(&mut self) -> Result<u8, PacketError> {
        self.0.try_get_u8().map_err(|_| PacketError::Short)
    }
}

impl Qos {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One(_) => 1,
            Self::Two(_) => 2,
        }
    }

    pub(super) fn id(self) -> Option<NonZeroU16> {
        match self {
            Self::Zero => None,
            Self::One(id) | Self::Two(id) => Some(id),
        }
    }
}

/// Whether something can be published under this: a name, not a pattern.
pub(super) fn is_topic(text: &str) -> bool {
    !text.is_empty() && !text.contains(['+', '#', '\0'])
}
