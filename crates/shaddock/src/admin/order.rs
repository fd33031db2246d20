//! What operators say to servers.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::ServerId;

/// Who an operator is, and how they show it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credentials {
    #[serde(rename = "u")]
    pub(super) username: String,
    #[serde(rename = "p")]
    pub(super) password: String,
}

impl Credentials {
    /// A user of `adminUser.json`.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { username: username.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A server that is to be started in a process that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum NewServer {
    /// One of the servers.json that the process has read.
    Configured(ServerId),
    /// One that is in no file: see [`config::Server::from_json`](crate::config::Server::from_json).
    Entry {
        /// What kind it is.
        kind: String,
        /// Its entry, as servers.json would have it.
        entry: Map<String, Value>,
    },
}

/// What a server is asked or told to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    Status,
    Users {
        limit: usize,
    },
    Sessions {
        name: String,
    },
    Config,
    Memory,
    Queues,
    Blacklist,
    Stop,
    Restart,
    /// Ends the process at once, if it runs no other servers than these.
    Kill {
        servers: Vec<ServerId>,
    },
    Add(NewServer),
    Broadcast {
        route: String,
        body: Value,
        unbound: bool,
    },
    Kick {
        uid: String,
        reason: Option<String>,
    },
    Deny {
        network: String,
    },
    Pardon {
        network: String,
    },
    Call {
        remote: String,
        method: String,
        args: Vec<Value>,
    },
}

impl Order {
    /// Whether it changes anything, and so is for administrators alone.
    pub(super) fn changes(&self) -> bool {
        match self {
            Order::Status
            | Order::Users { .. }
            | Order::Sessions { .. }
            | Order::Config
            | Order::Memory
            | Order::Queues
            | Order::Blacklist => false,
            Order::Stop
            | Order::Restart
            | Order::Kill { .. }
            | Order::Add(_)
            | Order::Broadcast { .. }
            | Order::Kick { .. }
            | Order::Deny { .. }
            | Order::Pardon { .. }
            | Order::Call { .. } => true,
        }
    }
}

/// As the log has it: what is to be done, and to whom, but not what is said to them.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Status => f.write_str("status"),
            Order::Users { .. } => f.write_str("users"),
            Order::Sessions { name } => write!(f, "sessions of {name}"),
            Order::Config => f.write_str("config"),
            Order::Memory => f.write_str("memory"),
            Order::Queues => f.write_str("queues"),
            Order::Blacklist => f.write_str("blacklist"),
            Order::Stop => f.write_str("stop"),
            Order::Restart => f.write_str("restart"),
            Order::Kill { .. } => f.write_str("kill"),
            Order::Add(NewServer::Configured(id)) => write!(f, "add {id}"),
            Order::Add(NewServer::Entry { kind, entry }) => {
                let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
                write!(f, "add {kind} {id}")
            }
            Order::Broadcast { route, .. } => write!(f, "broadcast {route}"),
            Order::Kick { uid, .. } => write!(f, "kick {uid}"),
            Order::Deny { network } => write!(f, "deny {network}"),
            Order::Pardon { network } => write!(f, "pardon {network}"),
            Order::Call { remote, method, .. } => write!(f, "call {remote}.{method}"),
        }
    }
}
