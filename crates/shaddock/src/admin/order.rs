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
    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Order::Status => "status",
            Order::Users { .. } => "users",
            Order::Sessions { .. } => "sessions",
            Order::Config => "config",
            Order::Memory => "memory",
            Order::Queues => "queues",
            Order::Blacklist => "blacklist",
            Order::Stop => "stop",
            Order::Restart => "restart",
            Order::Kill { .. } => "kill",
            Order::Add(_) => "add",
            Order::Broadcast { .. } => "broadcast",
            Order::Kick { .. } => "kick",
            Order::Deny { .. } => "deny",
            Order::Pardon { .. } => "pardon",
            Order::Call { .. } => "call",
        }
    }

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
        f.write_str(self.name())?;
        match self {
            Order::Sessions { name } => write!(f, " {}", Quoted(name)),
            Order::Add(NewServer::Configured(id)) => write!(f, " {id}"),
            Order::Add(NewServer::Entry { kind, entry }) => {
                let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
                write!(f, " {} {}", Quoted(kind), Quoted(id))
            }
            Order::Broadcast { route, .. } => write!(f, " {}", Quoted(route)),
            Order::Kick { uid, .. } => write!(f, " {}", Quoted(uid)),
            Order::Deny { network } | Order::Pardon { network } => {
                write!(f, " {}", Quoted(network))
            }
            Order::Call { remote, method, .. } => {
                write!(f, " {}", Quoted(&format!("{remote}.{method}")))
            }
            _ => Ok(()),
        }
    }
}

/// What somebody else wrote, as the log has it: on one line, and not much of it.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        match self.0.char_indices().nth(MOST) {
            Some((end, _)) => write!(f, "{:?}...", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_short_line_of_the_log() {
        let kick = |uid: &str| Order::Kick { uid: uid.to_owned(), reason: None }.to_string();
        assert_eq!(kick("py"), "kick \"py\"");
        assert_eq!(kick("py\n2026 all is well"), "kick \"py\\n2026 all is well\"");
        assert_eq!(
            kick(&"\u{1f600}".repeat(1000)),
            format!("kick \"{}\"...", "\u{1f600}".repeat(64))
        );
        assert_eq!(Order::Stop.to_string(), "stop");
    }
}
