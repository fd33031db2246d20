//! pomelo's JSON objects, read key by key.

use serde_json::{Map, Value};

use super::{ConfigError, suggest};

/// One JSON object of pomelo's files, read key by key with pomelo's leniency:
/// a number or a truth value may also be written as text.
pub(super) struct Entry {
    /// The file and what is known of the entry, for errors.
    pub(super) place: String,
    pub(super) map: Map<String, Value>,
}

impl Entry {
    pub(super) fn new(place: String, value: Value) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Entry { place, map }),
            other => Err(ConfigError::invalid(place, format!("{other} is no object"))),
        }
    }

    /// The entries of a list, each called `name[0]`, `name[1]` until its id is known.
    pub(super) fn list(file: &str, name: &str, value: Value) -> Result<Vec<Self>, ConfigError> {
        let Value::Array(values) = value else {
            let reason = match name {
                "" => "should be a list".to_owned(),
                name => format!("`{name}` should be a list"),
            };
            return Err(ConfigError::invalid(file, reason));
        };
        values
            .into_iter()
            .enumerate()
            .map(|(i, value)| Entry::new(format!("{file}: {name}[{i}]"), value))
            .collect()
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::invalid(&self.place, reason)
    }

    /// A text that must be there.
    pub(super) fn text(&self, key: &str) -> Result<String, ConfigError> {
        self.optional_text(key)?.ok_or_else(|| self.error(format!("`{key}` is missing")))
    }

    pub(super) fn optional_text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.error(format!("`{key}` is {other}, it should be a text"))),
        }
    }

    /// A name that goes into routes, addresses and file names.
    pub(super) fn name(&self, key: &str) -> Result<String, ConfigError> {
        let name = self.text(key)?;
        check_name(&name).map_err(|reason| self.error(format!("`{key}` {reason}")))?;
        Ok(name)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.map.get(key) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64(),
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(format!("`{key}` is {value}, it should be a whole number"))),
        }
    }

    pub(super) fn port(&self, key: &str) -> Result<Option<u16>, ConfigError> {
        let Some(number) = self.number(key)? else {
            return Ok(None);
        };
        match u16::try_from(number) {
            Ok(port) if port != 0 => Ok(Some(port)),
            _ => Err(self.error(format!("`{key}` is {number}, a port is 1 to 65535"))),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.map.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" => Ok(false),
            Some(other) => {
                Err(self.error(format!("`{key}` is {other}, it should be true or false")))
            }
        }
    }

    /// Warns of keys that are none of `known` but look like one.
    pub(super) fn near_misses(&self, known: &[&str], warnings: &mut Vec<String>) {
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            if let Some(meant) = suggest::nearest(key, known.iter().copied()) {
                warnings.push(format!(
                    "{}: `{key}` means nothing here: did you mean `{meant}`?",
                    self.place
                ));
            }
        }
    }
}

/// Ids of servers and names of kinds are letters, digits, `-` and `_`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    {
        return Ok(());
    }
    Err(format!("is {name:?}, it should be of letters, digits, `-` and `_`"))
}
