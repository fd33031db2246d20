//! What is to go wrong, and whom that may concern.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// A program of the chat, and the host it is on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) host: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Broker,
    Chat,
    Connector,
    Gate,
}

pub(crate) const HOSTS: usize = 3;

/// Where gate and connectors let clients in.
pub(crate) const CLIENT_PORT: u16 = 3050;

/// All of the programs.
pub(crate) const PLACES: [Place; 8] = [
    Place { name: "broker-1", kind: Kind::Broker, host: 0 },
    Place { name: "broker-2", kind: Kind::Broker, host: 1 },
    Place { name: "broker-3", kind: Kind::Broker, host: 2 },
    Place { name: "gate-server-1", kind: Kind::Gate, host: 0 },
    Place { name: "connector-server-1", kind: Kind::Connector, host: 1 },
    Place { name: "connector-server-2", kind: Kind::Connector, host: 2 },
    Place { name: "chat-server-1", kind: Kind::Chat, host: 0 },
    Place { name: "chat-server-2", kind: Kind::Chat, host: 1 },
];

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    pub(crate) lasts: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// It dies, and is started again.
    Kill(&'static Place),
    /// It stands still.
    Freeze(&'static Place),
    /// This host is cut off.
    Cut(usize),
}

/// Each program killed once, and each host cut off for ten seconds.
pub(crate) fn each() -> Vec<Fault> {
    let kills =
        PLACES.iter().map(|place| Fault { what: What::Kill(place), lasts: Duration::from_secs(2) });
    let cuts =
        (0..HOSTS).map(|host| Fault { what: What::Cut(host), lasts: Duration::from_secs(10) });
    kills.chain(cuts).collect()
}

/// Whatever chance says.
pub(crate) fn random(random: &mut Rng, count: usize) -> Vec<Fault> {
    let fault = |_| {
        let place = random.choice(&PLACES).expect("there are some");
        let (what, longest) = match random.u8(..3) {
            0 => (What::Kill(place), 5_000),
            1 => (What::Freeze(place), 8_000),
            _ => (What::Cut(random.usize(..HOSTS)), 10_000),
        };
        Fault { what, lasts: Duration::from_millis(random.u64(200..longest)) }
    };
    (0..count).map(fault).collect()
}

/// The address of a host.
pub(crate) fn address(host: usize) -> String {
    format!("10.77.0.{}", host + 1)
}

impl Place {
    /// The address of its host.
    pub(crate) fn address(&self) -> String {
        address(self.host)
    }
}

impl Fault {
    /// Whether words may get lost, or be refused, on the way between somebody at `connector` and a room whose
    /// home is `chat`.
    pub(crate) fn may_touch(&self, connector: &str, chat: &str) -> bool {
        match self.what {
            What::Kill(place) | What::Freeze(place) => match place.kind {
                Kind::Gate => false,
                Kind::Connector => place.name == connector,
                Kind::Chat => place.name == chat,
                // What is on its way through it, wherever it comes from.
                Kind::Broker => true,
            },
            // There is a broker on each host.
            What::Cut(_) => true,
        }
    }

    /// Whether clients may lose their connection to `connector`.
    pub(crate) fn may_disconnect(&self, connector: &str) -> bool {
        match self.what {
            What::Kill(place) | What::Freeze(place) => place.name == connector,
            What::Cut(host) => {
                PLACES.iter().any(|place| place.name == connector && place.host == host)
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = self.lasts.as_secs_f64();
        match self.what {
            What::Kill(place) => write!(f, "{} is dead for {lasts:.1} s", place.name),
            What::Freeze(place) => write!(f, "{} is frozen for {lasts:.1} s", place.name),
            What::Cut(host) => write!(f, "host {} is cut off for {lasts:.1} s", host + 1),
        }
    }
}
