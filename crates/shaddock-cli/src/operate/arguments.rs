//! What may be said about servers that run.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

/// What is done with the servers of a running cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Operate {
    /// List the servers that run
    List,
    /// Show servers, connections, users, a session, configuration, memory or queues
    Show {
        #[command(subcommand)]
        what: Show,
    },
    /// Show how servers are in a table that changes as they do; q leaves it
    Top {
        /// Print one table and end
        #[arg(long)]
        once: bool,
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
        every: Duration,
    },
    /// Stop servers in order, front-ends first; back-ends hand over to the others; a process that has none left ends
    Stop(Chosen),
    /// Stop servers in order and start them again in the same process, one after another
    Restart(Chosen),
    /// End the processes of servers at once, with all that is under way
    Kill(Chosen),
    /// Start one more server in a process that runs; the others of its kind hand over to it
    Add {
        /// A server of servers.json, or the entry of another: kind=chat id=chat-9 host=127.0.0.1
        #[arg(required = true, value_name = "ID|KEY=VALUE")]
        entry: Vec<String>,
        /// Start it in the process of this server [default: one of the same kind]
        #[arg(long, value_name = "ID")]
        beside: Option<String>,
    },
    /// Push to the clients of all front-ends
    Broadcast {
        /// The route, such as onNews
        route: String,
        /// The message, as JSON
        #[arg(value_parser = json)]
        message: Value,
        /// To the clients of this kind of front-end alone
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// To clients that have not logged in, too
        #[arg(long)]
        unbound: bool,
    },
    /// Close all sessions of a user
    Kick {
        /// Whose
        uid: String,
        /// What the client is told
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say from where nobody may connect, until the front-ends start again
    Blacklist {
        #[command(subcommand)]
        what: Option<Blacklist>,
    },
    /// Call a method of a remote by hand
    Call {
        /// Which server does it
        server: String,
        /// What it does, such as ChatRemote.kick
        #[arg(value_name = "REMOTE.METHOD")]
        method: String,
        /// Its arguments, each as JSON
        #[arg(value_parser = json)]
        args: Vec<Value>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Show {
    /// All servers, as `list`
    Servers,
    /// What became of the connections of front-ends
    Connections,
    /// Who is logged in
    Users {
        /// How many to show of each front-end
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// The sessions of a user, or the one of an id
    Session {
        /// A uid, or the id of a session
        name: String,
    },
    /// What a server is configured with
    Config {
        /// Which
        server: String,
    },
    /// The memory of processes
    Memory,
    /// What waits on servers
    Queues,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Blacklist {
    /// Show the networks that are on it
    List,
    /// Put networks on it, such as 198.51.100.0/24 or 192.0.2.7
    Add {
        /// Which
        #[arg(required = true)]
        networks: Vec<String>,
    },
    /// Take networks off it
    Remove {
        /// Which, as `list` shows them
        #[arg(required = true)]
        networks: Vec<String>,
    },
}

/// Servers: those named, or all on purpose.
#[derive(Debug, Args)]
pub(crate) struct Chosen {
    /// Which
    #[arg(required_unless_present = "all")]
    pub(crate) servers: Vec<String>,
    /// All there are
    #[arg(long, conflicts_with = "servers")]
    pub(crate) all: bool,
}

/// Who asks.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// A user of adminUser.json, for what is done with servers that run
    #[arg(
        long,
        global = true,
        env = "SHADDOCK_USER",
        default_value = "admin",
        value_name = "NAME"
    )]
    pub(crate) user: String,
    /// Read the user's password from stdin [default: $SHADDOCK_PASSWORD, else it is asked for]
    #[arg(long, global = true)]
    pub(crate) password_stdin: bool,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}; a text is written '\"text\"'"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let some = seconds.filter(|time| (0.1..=3600.0).contains(&time.as_secs_f64()));
    some.ok_or_else(|| "seconds, from 0.1 to 3600, are needed".to_owned())
}
