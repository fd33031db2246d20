//! What servers tell operators.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{ServerId, SessionId, Uid};

/// How a server is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The framework's version.
    pub version: String,
    /// The process it runs in.
    pub pid: u32,
    /// The servers of that process, itself included.
    pub process: Vec<ServerId>,
    /// How long this run of it has lasted.
    pub uptime: Duration,
    /// Bytes of memory that the process holds, where that can be told.
    pub memory: Option<u64>,
    /// Sessions now, on a front-end.
    pub sessions: usize,
    /// Uids that sessions here are bound to.
    pub users: usize,
    /// How busy it is, in its kind's own unit: see [`Server::load`](crate::Server::load).
    #[serde(default)]
    pub load: Option<u64>,
    /// Channels that are open.
    pub channels: usize,
    /// Calls of other servers that wait for their answer.
    pub calls_waiting: usize,
    /// What it has counted since the process began, by the name of the metric, and its labels if it has any but the server's.
    pub counters: BTreeMap<String, u64>,
}

/// Who is logged in at a front-end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Users {
    /// Sessions that are bound to a uid, however many are listed.
    pub bound: usize,
    /// Those listed, the latest first.
    pub users: Vec<User>,
}

/// A session that is bound to a uid.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// Whose it is.
    pub uid: Uid,
    /// Which session.
    pub session: SessionId,
    /// Where its client is.
    pub address: IpAddr,
}

/// One session.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionReport {
    /// Which.
    pub session: SessionId,
    /// Where its client is.
    pub peer: SocketAddr,
    /// Whose it is, if it is bound.
    pub uid: Option<Uid>,
    /// Its settings.
    pub settings: Map<String, Value>,
    /// Messages that wait for the client to read.
    pub frames_waiting: usize,
    /// Bytes of them.
    pub bytes_waiting: usize,
    /// Its messages that other servers have not answered yet.
    pub forwarded: usize,
}

/// The memory of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Memory {
    /// The process.
    pub pid: u32,
    /// Bytes it holds.
    pub resident: u64,
    /// Bytes it held at most.
    pub peak: u64,
    /// Its threads.
    pub threads: u64,
}

/// What waits on a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queues {
    /// Calls of other servers that wait for their answer.
    pub calls_waiting: usize,
    /// Messages of sessions that front-ends have sent on.
    pub lanes: Lanes,
    /// One-way calls of other servers.
    pub one_way_calls: Lanes,
    /// Messages for clients, on a front-end.
    pub mailboxes: Option<Mailboxes>,
}

/// Lanes: what came from one sender is done one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lanes {
    /// Those that are at work.
    pub busy: usize,
    /// Jobs that wait in them, but for those under way.
    pub waiting: usize,
}

/// What waits for clients to read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mailboxes {
    /// Clients that something waits for.
    pub clients: usize,
    /// Messages.
    pub frames: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// Bytes that wait for the slowest client.
    pub slowest: usize,
}

/// Connections of a front-end, from [`Status::counters`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// Accepted since the process began.
    pub accepted: u64,
    /// Of those, the ones that were sent away.
    pub refused: u64,
    /// Sessions that have ended.
    pub closed: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

impl Status {
    /// What a counter has come to, summed over its labels.
    pub fn counter(&self, name: &str) -> u64 {
        let labelled = |counter: &str| {
            counter.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.counters.iter().filter(|(counter, _)| labelled(counter)).map(|(_, value)| value).sum()
    }

    /// What became of the connections of a front-end.
    pub fn connected(&self) -> Connected {
        Connected {
            accepted: self.counter("shaddock_connections_total"),
            refused: self.counter("shaddock_refused_connections_total"),
            closed: self.counter("shaddock_closed_sessions_total"),
            received: self.counter("shaddock_received_bytes_total"),
            sent: self.counter("shaddock_sent_bytes_total"),
        }
    }
}
