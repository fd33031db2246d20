//! What holds for one front-end, all said and done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::options::{Bind, FrontendOptions, RateOptions};
use super::overrides::merge;
use super::{ConfigError, Limits, Server, suggest};

/// What holds for one front-end, all said and done:
/// defaults, then `[frontend]`, then `[kind.<kind>]`, then `[server.<id>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    /// Where it listens. What clients are told is [`Server::public_host`] and its client port.
    pub listen: SocketAddr,
    /// Its heartbeat, if it has one.
    pub heartbeat: Option<Heartbeat>,
    /// Whether routes may be numbers.
    pub use_dict: bool,
    /// Whether bodies may be protobuf.
    pub use_protobuf: bool,
    /// The origins of pages that may connect, in lower case; `None` is any.
    pub origins: Option<Vec<String>>,
    /// How long handshake and ack may take together.
    pub handshake_timeout: Duration,
    /// What it takes from its clients.
    pub limits: Limits,
    /// How many messages a session may send; `None` is any number.
    pub rate: Option<Rate>,
}

/// How a front-end finds out that a client is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// What the handshake announces, in whole seconds.
    pub interval: Duration,
    /// The silence after which the client is gone.
    pub timeout: Duration,
}

/// How many messages a session may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Lays the options for `server` over one another and checks what they come to.
pub(super) fn resolve(layers: &toml::Table, server: &Server) -> Result<Frontend, ConfigError> {
    let place = format!("shaddock.toml, for {}", server.id);
    let error = |reason: String| ConfigError::invalid(&place, reason);

    let mut table = toml::Table::new();
    for path in [&["frontend"][..], &["kind", &server.kind], &["server", &server.id]] {
        if let Some(layer) = at(layers, path) {
            merge(&mut table, layer.clone());
        }
    }
    let options: FrontendOptions = table
        .try_into()
        .map_err(|cause: toml::de::Error| error(suggest::explain(cause.message())))?;

    let Some(client_port) = server.client_port else {
        return Err(error("a front-end needs a `clientPort` in servers.json".into()));
    };
    Ok(Frontend {
        listen: listen(options.bind, &server.host, client_port),
        heartbeat: heartbeat(&options).map_err(error)?,
        use_dict: options.use_dict,
        use_protobuf: options.use_protobuf,
        origins: origins(options.origins).map_err(error)?,
        handshake_timeout: options.handshake_timeout,
        limits: limits(options.limits, server.max_connections).map_err(error)?,
        rate: rate(options.rate).map_err(error)?,
    })
}

fn at<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

/// A `host` may be a name or another machine's view of this one, so only loopback is listened on as it is.
fn listen(bind: Option<Bind>, host: &str, client_port: u16) -> SocketAddr {
    match bind {
        Some(Bind { ip, port }) => SocketAddr::new(ip, port.unwrap_or(client_port)),
        None => SocketAddr::new(default_bind(host), client_port),
    }
}

fn default_bind(host: &str) -> IpAddr {
    if host == "localhost" {
        return Ipv4Addr::LOCALHOST.into();
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => ip,
        Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn heartbeat(options: &FrontendOptions) -> Result<Option<Heartbeat>, String> {
    if options.heartbeat == 0 {
        return Ok(None);
    }
    let interval = Duration::from_secs(options.heartbeat.into());
    let timeout = options.timeout.unwrap_or(interval * 2);
    if timeout <= interval {
        return Err(format!(
            "`timeout` ({} s) should be more than `heartbeat` ({} s)",
            timeout.as_secs_f64(),
            interval.as_secs()
        ));
    }
    Ok(Some(Heartbeat { interval, timeout }))
}

fn origins(origins: Vec<String>) -> Result<Option<Vec<String>>, String> {
    if origins.iter().any(|origin| origin == "*") {
        return Ok(None);
    }
    for origin in &origins {
        let host = origin.split_once("://").map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains('/')) {
            return Err(format!(
                "{origin:?} is no origin, which is a scheme and a host, such as \"https://game.example\""
            ));
        }
    }
    Ok(Some(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect()))
}

fn limits(limits: Limits, max_connections: Option<usize>) -> Result<Limits, String> {
    /// The length of a package has three bytes.
    const LONGEST: usize = 0xff_ffff;

    let limits = Limits { connections: max_connections.unwrap_or(limits.connections), ..limits };
    for (name, value, most) in [
        ("package", limits.package, LONGEST),
        ("handshake-package", limits.handshake_package, LONGEST),
        ("connections-per-address", limits.connections_per_address, usize::MAX),
        ("outbound-messages", limits.outbound_messages, usize::MAX),
        ("outbound-bytes", limits.outbound_bytes, usize::MAX),
    ] {
        if value == 0 {
            return Err(format!("`limits.{name}` is 0, which lets nothing through"));
        }
        if value > most {
            return Err(format!("`limits.{name}` is {value}, the wire allows {most}"));
        }
    }
    Ok(limits)
}

fn rate(options: RateOptions) -> Result<Option<Rate>, String> {
    let Some(per_second) = NonZeroU32::new(options.per_second) else {
        return Ok(None);
    };
    match options.burst.map_or(Some(per_second), NonZeroU32::new) {
        Some(burst) => Ok(Some(Rate { per_second, burst })),
        None => Err("`rate.burst` is 0, which lets nothing through".into()),
    }
}
