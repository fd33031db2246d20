//! What goes wrong in handlers and remotes: `Fault`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shaddock_protocol::text;

/// What a handler, a remote or a component returns.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// Why a request failed: what the client is told, and what the log is told.
///
/// The client gets the fields and nothing else: [`Fault::new`] gives `{"code": code}`, and
/// [`with`](Fault::with) adds to it. The reason is for the log. A fault without a code gets
/// `"code": 500` appended when it is sent.
///
/// Any other error becomes a fault with code 500 through `?`; its text and its causes go to the
/// log, never to a client. For that reason a `Fault` is not itself a [`std::error::Error`].
///
/// # Examples
///
/// ```
/// use shaddock::Fault;
///
/// let fault = Fault::new(404, "no such room").with("room", "lobby");
/// assert_eq!(&fault.to_body()[..], br#"{"code":404,"room":"lobby"}"#);
/// assert_eq!(fault.to_string(), "404: no such room");
/// ```
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fault(Box<Inner>);

#[derive(Serialize, Deserialize)]
struct Inner {
    reason: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl Fault {
    /// The code of everything that went wrong on our side.
    pub const INTERNAL: i64 = 500;

    /// A fault of which the client is told `code`, and the log `reason`.
    pub fn new(code: i64, reason: impl Into<Cow<'static, str>>) -> Fault {
        let fields = Map::from_iter([("code".to_owned(), Value::from(code))]);
        Fault::with_fields(fields, reason)
    }

    /// A fault of which the client is told `fields`, in their order.
    pub fn with_fields(fields: Map<String, Value>, reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault(Box::new(Inner { reason: reason.into(), fields }))
    }

    /// A fault of our own making: the client is told `{"code":500}`.
    pub(crate) fn internal(reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault::with_fields(Map::new(), reason)
    }

    /// Tells the client one thing more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Fault {
        self.0.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The same for the client, with another reason for the log.
    pub(crate) fn because(mut self, reason: String) -> Fault {
        self.0.reason = reason.into();
        self
    }

    /// The code the client sees; 500 if none was given.
    pub fn code(&self) -> i64 {
        self.0.fields.get("code").and_then(Value::as_i64).unwrap_or(Fault::INTERNAL)
    }

    /// Whether it is a fault of ours: one that no code was given for.
    ///
    /// Those are logged as warnings; what an application answers on purpose, and what clients get
    /// wrong, is only worth a line when debugging.
    pub fn is_internal(&self) -> bool {
        !self.0.fields.contains_key("code")
    }

    /// What a client that is sent away is told: a code that handshakes can have and that is no
    /// welcome, and the other fields.
    pub(crate) fn refusal(&self) -> (u16, &Map<String, Value>) {
        let code = u16::try_from(self.code()).ok().filter(|code| *code != WELCOME);
        (code.unwrap_or(500), &self.0.fields)
    }

    /// What the log says.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The body the client gets, as JSON.
    pub fn to_body(&self) -> Bytes {
        if self.0.fields.is_empty() {
            return Bytes::from_static(br#"{"code":500}"#);
        }
        let has_code = self.0.fields.get("code").is_some_and(|code| *code != Value::Null);
        let encoded = if has_code {
            text::to_json(&self.0.fields)
        } else {
            let mut fields = self.0.fields.clone();
            fields.shift_remove("code");
            fields.insert("code".to_owned(), Value::from(Fault::INTERNAL));
            text::to_json(&fields)
        };
        encoded.unwrap_or_else(|_| Bytes::from_static(br#"{"code":500}"#))
    }
}

/// The code of a handshake that lets a client in.
const WELCOME: u16 = 200;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.reason())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Fault {
    fn from(error: E) -> Fault {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        Fault::internal(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_appended_where_none_was_given() {
        let fields = Map::from_iter([("msg".to_owned(), Value::from("no code"))]);
        let fault = Fault::with_fields(fields, "refused");
        assert_eq!(&fault.to_body()[..], br#"{"msg":"no code","code":500}"#);
    }

    #[test]
    fn a_foreign_error_tells_the_client_nothing() {
        let fault = Fault::from("x".parse::<u8>().unwrap_err());
        assert_eq!(&fault.to_body()[..], br#"{"code":500}"#);
        assert_eq!(fault.reason(), "invalid digit found in string");
    }
}
