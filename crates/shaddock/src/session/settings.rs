//! What the application keeps with a session.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::rpc::envelope;

/// Names and their values. They travel with each message, and are read and written only when somebody needs them to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// As they came; empty if they did not, or have changed since.
    came: Bytes,
    packed: OnceLock<Bytes>,
    read: OnceLock<Map<String, Value>>,
}

impl Settings {
    /// As they came with a message.
    pub(crate) fn unread(packed: &[u8]) -> Settings {
        // Copied, for a session may be kept, and the message should not be with it.
        Settings { came: Bytes::copy_from_slice(packed), ..Settings::default() }
    }

    /// What is in them.
    pub(crate) fn read(&self) -> &Map<String, Value> {
        self.read.get_or_init(|| {
            if self.came.is_empty() {
                return Map::new();
            }
            envelope::unpack(&self.came).unwrap_or_else(|error| {
                tracing::error!(%error, "the settings of a session are unreadable");
                Map::new()
            })
        })
    }

    /// As they travel; written again only when they have changed.
    pub(crate) fn packed(&self) -> &Bytes {
        if !self.came.is_empty() {
            return &self.came;
        }
        self.packed.get_or_init(|| match self.read() {
            none if none.is_empty() => Bytes::new(),
            some => envelope::pack(some).expect("JSON can be written"),
        })
    }

    pub(super) fn update(&mut self, set: Map<String, Value>, remove: &[String]) {
        self.read();
        self.came = Bytes::new();
        self.packed.take();
        let Some(read) = self.read.get_mut() else { return };
        read.extend(set);
        for name in remove {
            read.shift_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_set_on_one_server_is_read_on_another() {
        let mut settings = Settings::default();
        assert_eq!(settings.packed(), "", "nothing takes no room");
        let Value::Object(some) = json!({ "rid": "lobby", "level": 3 }) else { unreachable!() };
        settings.update(some, &["nothing".to_owned()]);
        settings.update(Map::new(), &["level".to_owned()]);
        let there = Settings::unread(settings.packed());
        assert_eq!(Value::from(there.read().clone()), json!({ "rid": "lobby" }));
        assert!(Settings::unread(b"").read().is_empty());
        assert!(Settings::unread(b"odd").read().is_empty());
    }
}
