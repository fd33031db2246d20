//! The address of a handler.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which handler a message is for: `chat.chatHandler.send`, parsed once.
///
/// Three parts: the kind of server, the handler, the method. Cloning one copies no text.
///
/// # Examples
///
/// ```
/// # use shaddock_protocol::Route;
/// let route: Route = "chat.chatHandler.send".parse()?;
/// assert_eq!((route.kind(), route.handler(), route.method()), ("chat", "chatHandler", "send"));
/// assert_eq!(route.rest(), "chatHandler.send");
/// # Ok::<(), shaddock_protocol::RouteError>(())
/// ```
#[derive(Clone)]
pub struct Route {
    text: ByteString,
    /// Where the two dots are. A route has at most 255 bytes.
    dots: (u8, u8),
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The wire has one byte for the length of a route.
    #[error("a route of {len} bytes, where {limit} are allowed", limit = Route::MAX)]
    TooLong {
        /// How many bytes there were.
        len: usize,
    },
    /// It isn't a server kind, a handler and a method with dots between.
    #[error("a route has three parts, like `chat.chatHandler.send`, and this has {parts}")]
    Parts {
        /// How many there were.
        parts: usize,
    },
    /// Nothing stands before, between or after the dots.
    #[error("a part of the route is empty")]
    EmptyPart,
}

impl Route {
    /// The longest route in bytes, of handlers and of pushes.
    pub const MAX: usize = u8::MAX as usize;

    /// Parses `text`, and keeps it.
    ///
    /// # Errors
    ///
    /// When it is too long or has not three parts.
    pub fn parse(text: impl Into<ByteString>) -> Result<Self, RouteError> {
        let text = text.into();
        if Self::MAX < text.len() {
            return Err(RouteError::TooLong { len: text.len() });
        }
        let mut dots = [0; 2];
        let mut parts = usize::from(!text.is_empty());
        for (byte, at) in text.bytes().zip(0_u8..) {
            if byte == b'.' {
                if let Some(dot) = dots.get_mut(parts - 1) {
                    *dot = at;
                }
                parts += 1;
            }
        }
        if parts != 3 {
            return Err(RouteError::Parts { parts });
        }
        let [first, second] = dots;
        if first == 0 || second == first + 1 || usize::from(second) + 1 == text.len() {
            return Err(RouteError::EmptyPart);
        }
        Ok(Self { text, dots: (first, second) })
    }

    /// The whole route.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind of server: `chat`.
    pub fn kind(&self) -> &str {
        &self.text[..usize::from(self.dots.0)]
    }

    /// The handler: `chatHandler`.
    pub fn handler(&self) -> &str {
        &self.text[usize::from(self.dots.0) + 1..usize::from(self.dots.1)]
    }

    /// The method of the handler: `send`.
    pub fn method(&self) -> &str {
        &self.text[usize::from(self.dots.1) + 1..]
    }

    /// Handler and method, as they are registered with a server: `chatHandler.send`.
    pub fn rest(&self) -> &str {
        &self.text[usize::from(self.dots.0) + 1..]
    }
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        Self::parse(text)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({})", self.text)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl AsRef<str> for Route {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Route {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_three_parts_with_something_in_each() {
        let parts = |text: &str| match text.parse::<Route>() {
            Ok(route) => Ok([route.kind(), route.handler(), route.method()].map(str::to_owned)),
            Err(error) => Err(error),
        };
        assert_eq!(parts("chat.a.b"), Ok(["chat", "a", "b"].map(str::to_owned)));
        for (text, found) in [("", 0), ("chat", 1), ("chat.a", 2), ("a.b.c.d", 4), ("...", 4)] {
            assert_eq!(parts(text), Err(RouteError::Parts { parts: found }), "{text}");
        }
        for text in ["..", ".a.b", "a..b", "a.b."] {
            assert_eq!(parts(text), Err(RouteError::EmptyPart), "{text}");
        }
        let longest = format!("a.b.{}", "c".repeat(Route::MAX - 4));
        assert!(parts(&longest).is_ok());
        assert_eq!(parts(&format!("{longest}c")), Err(RouteError::TooLong { len: Route::MAX + 1 }));
    }
}
