//! What both sides of a connection agree on: codes for routes, schemas for bodies.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::message::{self, RouteRef};
use super::package::{self, Kind, Package};
use super::protobuf::{Schema, Strings};
use super::{Dictionary, Protos};
use crate::voice::Encode;
use crate::{EncodeError, Route, text};

/// The tables that a connector uses, each if it is turned on.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Two-byte codes for routes (`useDict`).
    pub dictionary: Option<Arc<Dictionary>>,
    /// Schemas for bodies (`useProtobuf`).
    pub protos: Option<Arc<Protos>>,
}

impl Tables {
    /// The schema of responses to, and pushes of, `route`.
    pub(super) fn server_schema(&self, route: &str) -> Option<Schema<'_>> {
        self.protos.as_ref()?.server(route)
    }

    /// The schema of requests and notifies to `route`.
    pub(super) fn client_schema(&self, route: &str) -> Option<Schema<'_>> {
        self.protos.as_ref()?.client(route)
    }

    /// How `route` is written.
    pub(super) fn shorten<'a>(&self, route: &'a str) -> RouteRef<'a> {
        match self.dictionary.as_ref().and_then(|dictionary| dictionary.code(route)) {
            Some(code) => RouteRef::Code(code),
            None => RouteRef::Text(route),
        }
    }
}

/// A data package whose message starts as `head` writes it, with `body` as `schema` has it.
pub(super) fn encode(
    head: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    body: &[u8],
    schema: Option<Schema<'_>>,
    strings: Strings,
) -> Result<Bytes, EncodeError> {
    let mut out = begin(head, body)?;
    match schema {
        Some(schema) => schema.put_json(body, strings, &mut out)?,
        None => text::put_json(&mut out, body),
    }
    Ok(package::finish(out, Kind::Data)?)
}

/// The same with `body` as it is.
#[cfg(feature = "crypto")]
pub(super) fn encode_raw(
    head: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    body: &[u8],
) -> Result<Bytes, EncodeError> {
    let mut out = begin(head, body)?;
    out.put_slice(body);
    Ok(package::finish(out, Kind::Data)?)
}

fn begin(
    head: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    body: &[u8],
) -> Result<BytesMut, EncodeError> {
    let mut out = BytesMut::with_capacity(Package::HEADER + HEAD + body.len());
    package::begin(&mut out);
    head(&mut out)?;
    Ok(out)
}

/// Room for what most messages have before their body.
const HEAD: usize = 44;

/// How a connector speaks to clients whose strings are written in one way.
pub(super) struct Speaker {
    pub(super) tables: Arc<Tables>,
    pub(super) strings: Strings,
}

impl Encode for Speaker {
    fn response(&self, id: NonZeroU32, route: &Route, body: &Bytes) -> Result<Bytes, EncodeError> {
        let head = |out: &mut BytesMut| {
            message::put_response(out, id.get());
            Ok(())
        };
        encode(head, body, self.tables.server_schema(route.as_str()), self.strings)
    }

    fn fault(&self, id: NonZeroU32, route: Option<&Route>) -> Bytes {
        let mut out = BytesMut::with_capacity(32);
        package::begin(&mut out);
        message::put_response(&mut out, id.get());
        match route.and_then(|route| self.tables.server_schema(route.as_str())) {
            Some(schema) => schema.put_number(&mut out, "code", 500),
            None => out.put_slice(br#"{"code":500}"#),
        }
        package::finish(out, Kind::Data).expect("a few bytes are not too long")
    }

    fn push(&self, route: &str, body: &Bytes) -> Result<Bytes, EncodeError> {
        let head = |out: &mut BytesMut| message::put_push(out, self.tables.shorten(route));
        encode(head, body, self.tables.server_schema(route), self.strings)
    }
}
