//! Messages as they came.

use serde::Serialize;
use serde_json::value::RawValue;
use shaddock::{FromRequest, Msg, Request, Result};

/// A message as JSON text.
pub(crate) struct Text(String);

impl FromRequest for Text {
    fn from_request(request: &Request) -> Result<Text> {
        Ok(Text(String::from_utf8(request.body().to_vec())?))
    }
}

#[derive(Serialize)]
pub(crate) struct Json {
    code: u16,
    json: String,
}

/// Shows what the server took the message for.
pub(crate) async fn json(text: Text) -> Result<Json> {
    Ok(Json { code: 200, json: text.0 })
}

/// Answers with the message.
pub(crate) async fn echo_message(Msg(message): Msg<Box<RawValue>>) -> Result<Box<RawValue>> {
    Ok(message)
}
