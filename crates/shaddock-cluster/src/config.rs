//! What a server is in the cluster, and how patient it is.

use tokio::time::Duration;

use crate::ids::{ClusterName, Kind, ServerId};
use crate::members::Meta;

/// What a server is in the cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its id, which no other server may have.
    pub id: ServerId,
    /// What it is for.
    pub kind: Kind,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// What it tells the others about itself.
    pub meta: Meta,
    /// When silence means something.
    pub timings: Timings,
    /// How many messages may wait for its loop, and how many words on who is there. Beyond, the engine refuses them or loses them, as engines
    /// can; nothing waits.
    pub queue: usize,
}

impl Config {
    /// A server of the cluster `shaddock`, with the usual timings.
    #[must_use]
    pub fn new(id: ServerId, kind: Kind) -> Config {
        Config {
            cluster: "shaddock".parse().expect("is a name"),
            id,
            kind,
            frontend: false,
            meta: Meta::new(),
            timings: Timings::default(),
            queue: 65_536,
        }
    }
}

/// When silence means something. All servers of a cluster should have the same.
#[derive(Debug, Clone)]
pub struct Timings {
    /// How often a server tells the others that it is there.
    pub beat: Duration,
    /// After how much silence a server is suspect.
    pub suspect: Duration,
    /// After how much silence it is dead.
    pub dead: Duration,
    /// How long one who joins waits for the others to answer. Only when some do not, that is: as a rule
    /// it takes two round trips.
    pub roll_call: Duration,
    /// For how long calls wait for a lost link to come back.
    pub grace: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            beat: Duration::from_secs(1),
            suspect: Duration::from_secs(2),
            dead: Duration::from_millis(3500),
            roll_call: Duration::from_millis(500),
            grace: Duration::from_millis(500),
        }
    }
}
