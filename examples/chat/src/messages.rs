//! What the chat's clients and servers say, field by field.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// To the gate: who looks for a connector.
#[derive(Serialize, Deserialize, Debug)]
pub struct Query {
    /// The user's name; nobody without one is answered.
    #[serde(default)]
    pub uid: String,
}

/// From the gate: the connector to use.
#[derive(Serialize, Deserialize, Debug)]
pub struct Entry {
    /// 200.
    pub code: u16,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// To a connector: who comes into which room.
#[derive(Serialize, Deserialize, Debug)]
pub struct Enter {
    /// The user's name.
    pub username: String,
    /// The room.
    pub rid: String,
}

/// From a connector: who is in the room.
#[derive(Serialize, Deserialize, Debug)]
pub struct Users {
    /// Their names, the newcomer's too.
    pub users: Vec<String>,
}

/// To a chat server: what somebody says. Who and where is known from the session.
#[derive(Serialize, Deserialize, Debug)]
pub struct Say {
    /// The words.
    pub content: String,
    /// To whom: a name, or `*` for all.
    pub target: String,
}

/// Pushed as `onChat`: what somebody said.
#[derive(Serialize, Deserialize, Debug)]
pub struct Said {
    /// The words.
    pub msg: String,
    /// Whose they are.
    pub from: String,
    /// For whom they are.
    pub target: String,
}

/// Pushed as `onAdd` and `onLeave`: somebody came or went.
#[derive(Serialize, Deserialize, Debug)]
pub struct Somebody {
    /// The push's own name, which clients expect in the body as well.
    pub route: String,
    /// Who.
    pub user: String,
}

/// To a connector or a chat server that echoes, and back.
#[derive(Serialize, Deserialize, Debug)]
pub struct Echo {
    /// Anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d: Option<Box<RawValue>>,
}
