//! Messages: what a data package holds.

use std::num::NonZeroU32;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::package::{self, Kind};
use crate::EncodeError;
use crate::text;

/// One message as it is on the wire: the route may be a code, the body is not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A client asks.
    Request {
        /// What the response will carry. A request with id 0 is a notify.
        id: u32,
        /// For which handler.
        route: WireRoute,
        /// JSON or protobuf.
        body: Bytes,
    },
    /// A client tells.
    Notify {
        /// For which handler.
        route: WireRoute,
        /// JSON or protobuf.
        body: Bytes,
    },
    /// The server answers.
    Response {
        /// The id of the request.
        id: u32,
        /// JSON or protobuf.
        body: Bytes,
    },
    /// The server tells.
    Push {
        /// What about.
        route: WireRoute,
        /// JSON or protobuf.
        body: Bytes,
    },
}

/// A route as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireRoute {
    /// Spelled out.
    Text(ByteString),
    /// By its code in the dictionary.
    Code(u16),
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct MessageError {
    /// The request to answer, if it is one and its id could be read.
    pub id: Option<NonZeroU32>,
    /// What is wrong with it.
    pub fault: MessageFault,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageFault {
    /// Not even a flag.
    #[error("an empty message")]
    Empty,
    /// The type is none of request, notify, response, push.
    #[error("no message has type {0}")]
    UnknownType(u8),
    /// The message ends inside its id.
    #[error("the id is cut off")]
    ShortId,
    /// The id has more than five bytes, or more than 32 bits.
    #[error("an id over {limit}", limit = u32::MAX)]
    WideId,
    /// The message ends inside its route.
    #[error("the route is cut off")]
    ShortRoute,
}

const CODE: u8 = 1;
const REQUEST: u8 = 0;
const NOTIFY: u8 = 1 << 1;
const RESPONSE: u8 = 2 << 1;
const PUSH: u8 = 3 << 1;

impl Message {
    /// The bytes of this message, without a package around.
    ///
    /// # Errors
    ///
    /// When the route is too long.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        self.put(&mut out)?;
        Ok(out.freeze())
    }

    /// The bytes of a data package that holds this message.
    ///
    /// # Errors
    ///
    /// When the route or the whole is too long.
    pub fn package(&self) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        package::begin(&mut out);
        self.put(&mut out)?;
        Ok(package::finish(out, Kind::Data)?)
    }

    /// Reads a message; route and body are slices of `bytes`.
    ///
    /// Surrogates in the route are joined. The bits for compressed bodies, which no client sets,
    /// are ignored.
    ///
    /// # Errors
    ///
    /// When the bytes end too early, or no message looks like this.
    pub fn decode(mut bytes: Bytes) -> Result<Self, MessageError> {
        let unanswerable = |fault| MessageError { id: None, fault };
        let flag = bytes.try_get_u8().map_err(|_| unanswerable(MessageFault::Empty))?;
        match flag & 0b1110 {
            REQUEST => {
                let id = take_id(&mut bytes).map_err(unanswerable)?;
                let route = take_route(flag, &mut bytes)
                    .map_err(|fault| MessageError { id: NonZeroU32::new(id), fault })?;
                Ok(Self::Request { id, route, body: bytes })
            }
            NOTIFY => {
                let route = take_route(flag, &mut bytes).map_err(unanswerable)?;
                Ok(Self::Notify { route, body: bytes })
            }
            RESPONSE => {
                let id = take_id(&mut bytes).map_err(unanswerable)?;
                Ok(Self::Response { id, body: bytes })
            }
            PUSH => {
                let route = take_route(flag, &mut bytes).map_err(unanswerable)?;
                Ok(Self::Push { route, body: bytes })
            }
            unknown => Err(unanswerable(MessageFault::UnknownType(unknown >> 1))),
        }
    }

    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let body = match self {
            Self::Request { id, route, body } => {
                put_request(out, *id, route.as_ref())?;
                body
            }
            Self::Notify { route, body } => {
                put_notify(out, route.as_ref())?;
                body
            }
            Self::Response { id, body } => {
                put_response(out, *id);
                body
            }
            Self::Push { route, body } => {
                put_push(out, route.as_ref())?;
                body
            }
        };
        out.put_slice(body);
        Ok(())
    }
}

impl WireRoute {
    fn as_ref(&self) -> RouteRef<'_> {
        match self {
            Self::Text(text) => RouteRef::Text(text),
            Self::Code(code) => RouteRef::Code(*code),
        }
    }
}

/// A route to be written.
#[derive(Clone, Copy)]
pub(super) enum RouteRef<'a> {
    Text(&'a str),
    Code(u16),
}

/// Writes what stands before the body of a request.
pub(super) fn put_request(
    out: &mut BytesMut,
    id: u32,
    route: RouteRef<'_>,
) -> Result<(), EncodeError> {
    out.put_u8(REQUEST | route.flag());
    put_id(out, id);
    route.put(out)
}

/// Writes what stands before the body of a notify.
pub(super) fn put_notify(out: &mut BytesMut, route: RouteRef<'_>) -> Result<(), EncodeError> {
    out.put_u8(NOTIFY | route.flag());
    route.put(out)
}

/// Writes what stands before the body of a response.
pub(super) fn put_response(out: &mut BytesMut, id: u32) {
    out.put_u8(RESPONSE);
    put_id(out, id);
}

/// Writes what stands before the body of a push.
pub(super) fn put_push(out: &mut BytesMut, route: RouteRef<'_>) -> Result<(), EncodeError> {
    out.put_u8(PUSH | route.flag());
    route.put(out)
}

impl RouteRef<'_> {
    fn flag(self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::Code(_) => CODE,
        }
    }

    fn put(self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Code(code) => out.put_u16(code),
            Self::Text(text) => {
                let len = text.len();
                out.put_u8(u8::try_from(len).map_err(|_| EncodeError::Route { len })?);
                out.put_slice(text.as_bytes());
            }
        }
        Ok(())
    }
}

/// Seven bits a byte, the lowest first, the highest bit set on all but the last.
fn put_id(out: &mut BytesMut, id: u32) {
    let mut rest = id;
    while 0x80 <= rest {
        out.put_u8(0x80 | rest.to_le_bytes()[0]);
        rest >>= 7;
    }
    out.put_u8(rest.to_le_bytes()[0]);
}

fn take_id(bytes: &mut Bytes) -> Result<u32, MessageFault> {
    let mut id = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = bytes.try_get_u8().map_err(|_| MessageFault::ShortId)?;
        id |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(id).map_err(|_| MessageFault::WideId);
        }
    }
    Err(MessageFault::WideId)
}

fn take_route(flag: u8, bytes: &mut Bytes) -> Result<WireRoute, MessageFault> {
    if flag & CODE == CODE {
        return match bytes.try_get_u16() {
            Ok(code) => Ok(WireRoute::Code(code)),
            Err(_) => Err(MessageFault::ShortRoute),
        };
    }
    let len = bytes.try_get_u8().map_err(|_| MessageFault::ShortRoute)?.into();
    if bytes.len() < len {
        return Err(MessageFault::ShortRoute);
    }
    Ok(WireRoute::Text(text::repair(bytes.split_to(len))))
}
