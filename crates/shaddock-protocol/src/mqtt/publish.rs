//! A publish as handlers and pushes have it.

use std::borrow::Cow;
use std::num::NonZeroU16;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::packet::{self, PacketError, Publish, Qos};
use super::reply::ReplyError;

/// The JSON of a publish.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    qos: u8,
    retain: bool,
    dup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<NonZeroU16>,
}

/// What a text stands for, if not for itself.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    Base64,
}

/// Bytes as JSON can say them: as text, if they are.
pub(super) fn to_text(bytes: &[u8]) -> (Cow<'_, str>, Option<Encoding>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.into(), None),
        Err(_) => (BASE64_STANDARD.encode(bytes).into(), Some(Encoding::Base64)),
    }
}

impl Publish {
    /// What a handler gets.
    pub(super) fn to_body(&self) -> Bytes {
        let (payload, encoding) = to_text(&self.payload);
        let body = Body {
            topic: Some(Cow::Borrowed(&*self.topic)),
            payload,
            encoding,
            qos: self.qos.number(),
            retain: self.retain,
            dup: self.dup,
            message_id: self.qos.id(),
        };
        serde_json::to_vec(&body).expect("text and numbers are JSON").into()
    }

    /// What a push says.
    pub(super) fn from_body(json: &[u8]) -> Result<Self, ReplyError> {
        Self::from_result(json)?.ok_or(ReplyError::Topic)
    }

    /// What a handler says, which is no publish if it has no `topic`.
    pub(super) fn from_result(json: &[u8]) -> Result<Option<Self>, ReplyError> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(ReplyError::Body("not an object".to_owned()));
        }
        let body: Body<'_> =
            serde_json::from_slice(json).map_err(|error| ReplyError::Body(error.to_string()))?;
        let Some(topic) = body.topic else {
            return Ok(None);
        };
        if !packet::is_topic(&topic) {
            return Err(ReplyError::Topic);
        }
        let payload = match body.encoding {
            None => body.payload.into_owned().into(),
            Some(Encoding::Base64) => BASE64_STANDARD
                .decode(&*body.payload)
                .map_err(|error| ReplyError::Base64(error.to_string()))?
                .into(),
        };
        let qos = match (body.qos, body.message_id) {
            (0, _) => Qos::Zero,
            (1, Some(id)) => Qos::One(id),
            (2, Some(id)) => Qos::Two(id),
            (qos @ 1..=2, None) => return Err(ReplyError::NoMessageId { qos }),
            (qos, _) => return Err(PacketError::Qos(qos).into()),
        };
        Ok(Some(Self {
            topic: topic.into_owned().into(),
            payload,
            qos,
            retain: body.retain,
            dup: body.dup,
        }))
    }
}
