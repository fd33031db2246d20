//! What a robot is to do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a robot is to do, against which server, and how long.
///
/// # Examples
///
/// ```no_run
/// use shaddock_robot::{Entrance, Plan, Scenario};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut plan = Plan::new(
///     Scenario::Chat { rooms: 10, senders: 2, stalled: 0 },
///     Entrance::Gate("127.0.0.1:3014".parse()?),
/// );
/// plan.members = 100;
/// plan.rate = Some(20.0);
/// let report = shaddock_robot::run(plan).await?;
/// println!("{report}");
/// assert!(report.is_clean());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the clients do.
    pub scenario: Scenario,
    /// Where they come in.
    pub entrance: Entrance,
    /// How they speak.
    pub speech: Speech,
    /// How many there are; in rooms there are rooms × members.
    pub clients: usize,
    /// How many users share a room: the last room may have fewer.
    pub members: usize,
    /// Messages that each client has under way at once, where no rate is given.
    pub outstanding: usize,
    /// Messages a second, in all: each is due at its moment, and its latency counts from there, however late it could
    /// be sent. Without a rate the next message waits until there are fewer than `outstanding`.
    pub rate: Option<f64>,
    /// Bytes of text in each message.
    pub size: usize,
    /// How many log in at once while all come in.
    pub entering: usize,
    /// Not counted, from when all are in.
    pub warm_up: Duration,
    /// Counted, after that.
    pub time: Duration,
    /// After the end: how long to wait for what is under way, which is lost then.
    pub patience: Duration,
    /// Threads that do the work, each with a part of the clients. A room is of one thread.
    pub threads: usize,
    /// The processes of the server, of which CPU time and memory are read, with their children.
    pub pids: Vec<u32>,
    /// What the run is called in reports.
    pub label: String,
}

/// What the clients do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scenario {
    /// Each logs in, asks `route` with `{"d": text}`, and is answered the same.
    Echo {
        /// Such as `connector.entryHandler.echo`.
        route: String,
    },
    /// All log in, and in each room some say something to everybody there.
    Chat {
        /// How many rooms, of [`Plan::members`] each.
        rooms: usize,
        /// How many of each room speak; the others listen.
        senders: usize,
        /// How many of each room read nothing once they are in, but for saying that they are alive. What is said is not
        /// due to them.
        stalled: usize,
    },
    /// One after another comes in by the gate and leaves, [`Plan::clients`] at a time.
    Login {
        /// Ends after so many logins, if the time is not over before.
        total: Option<usize>,
        /// Nobody leaves before the end.
        stay: bool,
    },
    /// All log in and do nothing but heartbeats.
    Idle,
    /// All log in; then all are cut off at once and come back at once, under other names, and again.
    ///
    /// Latency counts from the moment of the storm.
    Storm {
        /// From one storm to the next. The first is when the warm-up is over.
        every: Duration,
    },
    /// A chat for long, while visitors come and go; [`Plan::rate`] is one message a second and room unless given.
    Soak {
        /// As of a chat.
        rooms: usize,
        /// As of a chat.
        senders: usize,
        /// How many visitors there are at a time. Each stays in a room for a second, and comes again as somebody else.
        visitors: usize,
    },
}

/// Where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entrance {
    /// They ask the gate for a connector.
    Gate(Address),
    /// They go to this connector.
    Connector(Address),
}

/// A host and a port, as in `127.0.0.1:3014`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address; an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speech {
    /// WebSocket.
    #[default]
    WebSocket,
    /// Raw TCP.
    Tcp,
}

/// Not a host and a port.
#[derive(Debug, thiserror::Error)]
#[error("not a host and a port, as in 127.0.0.1:3014")]
pub struct AddressError;

/// Why a plan can't be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub(crate) &'static str);

impl Plan {
    /// 100 clients in rooms of 10, one message of 64 bytes under way for each, for 10 s after 2 s of warm-up.
    ///
    /// Half of the machine's cores do the work: the others are the server's.
    pub fn new(scenario: Scenario, entrance: Entrance) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        Self {
            scenario,
            entrance,
            speech: Speech::default(),
            clients: 100,
            members: 10,
            outstanding: 1,
            rate: None,
            size: 64,
            entering: 50,
            warm_up: Duration::from_secs(2),
            time: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            threads: (cores / 2).max(1),
            pids: Vec::new(),
            label: String::new(),
        }
    }

    /// How many clients there are in rooms, or as they are.
    pub(crate) fn population(&self) -> usize {
        match self.scenario {
            Scenario::Chat { rooms, .. } | Scenario::Soak { rooms, .. } => rooms * self.members,
            _ => self.clients,
        }
    }

    /// Says what makes no sense.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let fault = |wrong: bool, text| if wrong { Err(PlanError(text)) } else { Ok(()) };
        fault(self.population() == 0, "there are no clients: give at least one")?;
        fault(self.members == 0, "a room needs at least one member")?;
        fault(self.threads == 0, "the work needs at least one thread")?;
        fault(self.entering == 0, "at least one client must log in at a time")?;
        fault(self.outstanding == 0, "at least one message must be under way at a time")?;
        fault(self.time.is_zero(), "the time to measure is zero")?;
        fault(
            self.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)),
            "the rate must be a number of messages a second over zero",
        )?;
        if let Scenario::Storm { every } = self.scenario {
            fault(every.is_zero(), "there must be some time from storm to storm")?;
        }
        if let Scenario::Chat { senders, .. } | Scenario::Soak { senders, .. } = self.scenario {
            fault(senders == 0, "somebody in each room must speak: give at least one sender")?;
            fault(self.members < senders, "a room can't have more senders than members")?;
        }
        if let Scenario::Chat { senders, stalled, .. } = self.scenario {
            fault(self.members < senders + stalled, "a sender can't be stalled, too")?;
        }
        Ok(())
    }
}

impl Scenario {
    /// Its name on the command line and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Echo { .. } => "echo",
            Self::Chat { .. } => "chat",
            Self::Login { .. } => "login",
            Self::Idle => "idle",
            Self::Storm { .. } => "storm",
            Self::Soak { .. } => "soak",
        }
    }

    /// What is counted: the unit of rates and of CPU time.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Echo { .. } => "echo",
            Self::Chat { .. } | Self::Soak { .. } => "copy",
            Self::Login { .. } | Self::Storm { .. } => "login",
            Self::Idle => "connection second",
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let port = port.parse().map_err(|_| AddressError)?;
        if host.is_empty() || host.contains('/') {
            return Err(AddressError);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
