//! The dictionary: two-byte codes for routes.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytestring::ByteString;
use md5::{Digest, Md5};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use crate::Route;

/// Routes and their codes, the same on every front-end and known to clients by the handshake.
///
/// # Examples
///
/// ```
/// # use shaddock_protocol::pomelo::{Dictionary, DictionaryError};
/// let dictionary = Dictionary::build(["chat.chatHandler.send"], ["onChat", "onLeave"])?;
/// assert_eq!(dictionary.code("onChat"), Some(2));
/// # Ok::<(), DictionaryError>(())
/// ```
#[derive(Debug)]
pub struct Dictionary {
    codes: FxHashMap<ByteString, u16>,
    entries: FxHashMap<u16, Entry>,
    version: String,
    /// The JSON of route → code and of code → route.
    json: (String, String),
}

/// Why there is no dictionary of these routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DictionaryError {
    /// Codes have two bytes, and 0 is none.
    #[error("a dictionary of {len} routes, where {limit} are allowed", limit = u16::MAX)]
    TooMany {
        /// How many routes there are.
        len: usize,
    },
    /// No message could carry this route spelled out.
    #[error("a route of {len} bytes, where {limit} are allowed: {route}", limit = Route::MAX)]
    TooLong {
        /// The route.
        route: String,
        /// Its length.
        len: usize,
    },
    /// The dictionary in a handshake is not one.
    #[error("the dictionary gives {route} no code from 0 to {limit}", limit = u16::MAX)]
    Code {
        /// The route.
        route: String,
    },
}

#[derive(Debug)]
struct Entry {
    text: ByteString,
    /// Unless it's the route of pushes.
    route: Option<Route>,
}

impl Dictionary {
    /// Numbers the routes of all handlers, sorted as JavaScript sorts, and then `extra`, the
    /// entries of `dictionary.json`, as they come.
    ///
    /// A route that comes again in `extra` is known by both codes and written with the later.
    ///
    /// # Errors
    ///
    /// When there are more than 65,535, or one is longer than a message can carry.
    pub fn build<R: Into<ByteString>, E: Into<ByteString>>(
        routes: impl IntoIterator<Item = R>,
        extra: impl IntoIterator<Item = E>,
    ) -> Result<Self, DictionaryError> {
        let mut routes: Vec<ByteString> = routes.into_iter().map(Into::into).collect();
        routes.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        routes.dedup();
        routes.extend(extra.into_iter().map(Into::into));
        if let Some(route) = routes.iter().find(|route| Route::MAX < route.len()) {
            return Err(DictionaryError::TooLong { route: route.to_string(), len: route.len() });
        }
        let len = routes.len();
        if usize::from(u16::MAX) < len {
            return Err(DictionaryError::TooMany { len });
        }
        let mut codes = Map::new();
        let mut names = Map::new();
        for (code, route) in (1..=u16::MAX).zip(&routes) {
            codes.insert(route.to_string(), code.into());
            names.insert(code.to_string(), Value::from(&**route));
        }
        Ok(Self::new(&codes, &names, (1..=u16::MAX).zip(routes), None))
    }

    /// The dictionary that a server sent: route → code, and the version it gave.
    pub(super) fn of_handshake(
        codes: &Map<String, Value>,
        version: &str,
    ) -> Result<Self, DictionaryError> {
        let mut entries = Vec::new();
        let mut names = Map::new();
        for (route, code) in codes {
            let code = code.as_u64().and_then(|code| u16::try_from(code).ok());
            let Some(code) = code else {
                return Err(DictionaryError::Code { route: route.clone() });
            };
            names.insert(code.to_string(), Value::from(&**route));
            entries.push((code, ByteString::from(&**route)));
        }
        Ok(Self::new(codes, &names, entries, Some(version)))
    }

    fn new(
        codes: &Map<String, Value>,
        names: &Map<String, Value>,
        entries: impl IntoIterator<Item = (u16, ByteString)>,
        version: Option<&str>,
    ) -> Self {
        let json = (json(codes), json(names));
        let version = version.map_or_else(|| digest(&[&json.0]), str::to_owned);
        let mut dictionary =
            Self { codes: FxHashMap::default(), entries: FxHashMap::default(), version, json };
        for (code, text) in entries {
            dictionary.codes.insert(text.clone(), code);
            let route = Route::parse(text.clone()).ok();
            dictionary.entries.insert(code, Entry { text, route });
        }
        dictionary
    }

    /// The code to write for `route`.
    pub fn code(&self, route: &str) -> Option<u16> {
        self.codes.get(route).copied()
    }

    /// What `code` stands for, be it the route of a handler or of pushes.
    pub fn text(&self, code: u16) -> Option<&ByteString> {
        Some(&self.entries.get(&code)?.text)
    }

    /// The handler that `code` stands for.
    pub fn route(&self, code: u16) -> Option<&Route> {
        self.entries.get(&code)?.route.as_ref()
    }

    /// Changes when the dictionary does; clients that have this one are not sent it again.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The JSON of route → code.
    pub(super) fn codes_json(&self) -> &str {
        &self.json.0
    }

    /// The JSON of code → route.
    pub(super) fn routes_json(&self) -> &str {
        &self.json.1
    }
}

/// The version of tables with this JSON: what pomelo computes, so that caches of clients hold.
pub(super) fn digest(json: &[&str]) -> String {
    let mut hash = Md5::new();
    for part in json {
        hash.update(part);
    }
    BASE64_STANDARD.encode(hash.finalize())
}

fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).expect("maps of text are JSON")
}
