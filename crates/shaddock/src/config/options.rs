//! `shaddock.toml`, strictly.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use shaddock_transport::{Forwarding, Network, Networks};

use super::Cluster;

/// All of `shaddock.toml`, strictly. `reference.toml` says what each key is for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    pub(super) frontend: FrontendOptions,
    pub(super) kind: Sections,
    pub(super) server: Sections,
    pub(super) requests: Requests,
    pub(super) remotes: Remotes,
    pub(super) stop: Stop,
    pub(super) metrics: Metrics,
    pub(super) cluster: Cluster,
    pub(super) log: Log,
    pub(super) app: toml::Table,
}

/// Options by the name of a kind or the id of a server.
pub(super) type Sections = BTreeMap<String, FrontendOptions>;

/// What may stand in `[frontend]`, `[kind.x]` and `[server.x]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct FrontendOptions {
    pub(super) connector: Protocol,
    pub(super) publish_route: Option<String>,
    pub(super) subscribe_route: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) heartbeat: u32,
    #[serde(deserialize_with = "some_seconds")]
    pub(super) timeout: Option<Duration>,
    pub(super) use_dict: bool,
    pub(super) use_protobuf: bool,
    pub(super) use_crypto: bool,
    pub(super) origins: Vec<String>,
    #[serde(deserialize_with = "networks")]
    pub(super) deny: Networks,
    #[serde(deserialize_with = "networks")]
    pub(super) allow: Networks,
    #[serde(deserialize_with = "networks")]
    pub(super) trusted_proxies: Networks,
    pub(super) proxy_protocol: bool,
    #[serde(deserialize_with = "forwarding")]
    pub(super) forwarded: Forwarding,
    pub(super) bind: Option<Bind>,
    #[serde(deserialize_with = "seconds")]
    pub(super) handshake_timeout: Duration,
    pub(super) limits: Limits,
    pub(super) rate: RateOptions,
}

impl Default for FrontendOptions {
    fn default() -> Self {
        Self {
            connector: Protocol::Hybrid,
            publish_route: None,
            subscribe_route: None,
            certificate: None,
            key: None,
            heartbeat: 0,
            timeout: None,
            use_dict: false,
            use_protobuf: false,
            use_crypto: false,
            origins: vec!["*".into()],
            deny: Networks::default(),
            allow: Networks::default(),
            trusted_proxies: Networks::default(),
            proxy_protocol: false,
            forwarded: Forwarding::default(),
            bind: None,
            handshake_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            rate: RateOptions::default(),
        }
    }
}

/// What the clients of a front-end speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Hybrid,
    Udp,
    Mqtt,
    SocketIo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RateOptions {
    pub(super) per_second: u32,
    pub(super) burst: Option<u32>,
}

/// What a front-end takes from its clients before it closes one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Bytes of a package's body after the handshake.
    pub package: usize,
    /// Bytes of a package's body before the handshake is done.
    pub handshake_package: usize,
    /// Connections in all: `max-connections` of `servers.json`, where there is one.
    #[serde(skip)]
    pub connections: usize,
    /// Connections from one address; loopback is exempt.
    pub connections_per_address: usize,
    /// Messages waiting for a client that reads slowly.
    pub outbound_messages: usize,
    /// Bytes waiting for a client that reads slowly.
    pub outbound_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            package: 64 * 1024,
            handshake_package: 4 * 1024,
            connections: 100_000,
            connections_per_address: 1024,
            outbound_messages: 1024,
            outbound_bytes: 1024 * 1024,
        }
    }
}

/// `[requests]`: what holds for the requests of clients, on front-ends and back-ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requests {
    /// When a request without an answer gets an error.
    #[serde(deserialize_with = "seconds")]
    pub deadline: Duration,
    /// Messages of one session that may wait on one server.
    pub lane: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), lane: 256 }
    }
}

/// `[remotes]`: what holds for calls between servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remotes {
    /// When a call without an answer fails.
    #[serde(deserialize_with = "seconds")]
    pub deadline: Duration,
}

impl Default for Remotes {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(5) }
    }
}

/// `[stop]`: how the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stop {
    /// How long what is under way may take to finish.
    #[serde(deserialize_with = "seconds")]
    pub deadline: Duration,
    /// What a front-end pushes to its clients when it stops, with `{"seconds": ..}`, so that they go elsewhere.
    pub push: Option<String>,
    /// How long they may take to do so: at most four fifths of `deadline`, or half of that where back-ends stop
    /// with it, which have to hand over what they have.
    #[serde(deserialize_with = "seconds")]
    pub grace: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), push: None, grace: Duration::from_secs(5) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub(super) enabled: bool,
    pub(super) bind: Option<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { enabled: true, bind: None }
    }
}

/// `[log]`: what goes to the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or levels by module: `info,shaddock=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

/// Where to listen: an address, with a port if it is not the one that clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(ip) = text.parse() {
            return Ok(Bind { ip, port: None });
        }
        match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Bind { ip: address.ip(), port: Some(address.port()) }),
            Err(_) => Err(de::Error::custom(format!(
                "{text:?} is no address to listen on, such as \"0.0.0.0\", \"127.0.0.1:3050\" or \"[::]:3050\""
            ))),
        }
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Networks, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse::<Network>().map_err(de::Error::custom)).collect()
}

fn forwarding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Forwarding, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "ignored" => Ok(Forwarding::Ignored),
        "x-forwarded-for" => Ok(Forwarding::XForwardedFor),
        "forwarded" => Ok(Forwarding::Forwarded),
        other => Err(de::Error::custom(format!(
            "{other:?} is no header of proxies: there are \"x-forwarded-for\", \"forwarded\" and \"ignored\""
        ))),
    }
}

fn some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

/// Seconds, where none at all make sense, too.
pub(super) fn seconds_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    match value {
        toml::Value::Integer(0) => Ok(Duration::ZERO),
        value => seconds(value).map_err(de::Error::custom),
    }
}

/// Seconds above 0, so that a deadline always is one, and at most a year, so that clocks can add them.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Seconds;

    impl Visitor<'_> for Seconds {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("seconds, such as 10 or 0.5, above 0 and at most a year")
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            match u64::try_from(seconds) {
                Ok(whole) if (1..=YEAR).contains(&whole) => Ok(Duration::from_secs(whole)),
                _ => Err(E::invalid_value(de::Unexpected::Signed(seconds), &self)),
            }
        }

        fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
            match Duration::try_from_secs_f64(seconds) {
                Ok(span) if !span.is_zero() && span.as_secs() < YEAR => Ok(span),
                _ => Err(E::invalid_value(de::Unexpected::Float(seconds), &self)),
            }
        }
    }

    const YEAR: u64 = 365 * 24 * 60 * 60;
    deserializer.deserialize_any(Seconds)
}
