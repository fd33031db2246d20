//! What holds for one front-end, all said and done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shaddock_protocol::Route;
use shaddock_transport::{Forwarding, Networks};

use super::options::{Bind, FrontendOptions, Protocol, RateOptions};
use super::overrides::merge;
use super::{ConfigError, Limits, Server, suggest};

/// What holds for one front-end, all said and done:
/// defaults, then `[frontend]`, then `[kind.<kind>]`, then `[server.<id>]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    /// Where it listens. What clients are told is [`Server::public_host`] and its client port.
    pub listen: SocketAddr,
    /// What its clients speak.
    pub connector: Connector,
    /// What it shows its clients; `None` is no TLS.
    pub certificate: Option<Certificate>,
    /// Its heartbeat, if it has one.
    pub heartbeat: Option<Heartbeat>,
    /// Whether routes may be numbers.
    pub use_dict: bool,
    /// Whether bodies may be protobuf.
    pub use_protobuf: bool,
    /// Whether clients must sign their messages.
    pub use_crypto: bool,
    /// The origins of pages that may connect, in lower case; `None` is any.
    pub origins: Option<Vec<String>>,
    /// Who may not connect, and who alone may: what [`ServerHandle::access`] begins with.
    ///
    /// [`ServerHandle::access`]: crate::ServerHandle::access
    pub deny: Networks,
    /// Who alone may connect; none is everyone.
    pub allow: Networks,
    /// The proxies that are believed about whom they speak for.
    pub trusted_proxies: Networks,
    /// Whether those begin connections with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The header that those set in HTTP requests.
    pub forwarded: Forwarding,
    /// How long handshake and ack may take together.
    pub handshake_timeout: Duration,
    /// What it takes from its clients.
    pub limits: Limits,
    /// How many messages a session may send; `None` is any number.
    pub rate: Option<Rate>,
}

/// What the clients of a front-end speak.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connector {
    /// pomelo's protocol, over WebSocket and TCP.
    Hybrid,
    /// pomelo's protocol, in datagrams.
    Udp,
    /// MQTT, over TCP and WebSocket.
    Mqtt {
        /// The handler of what clients publish.
        publish: Route,
        /// The handler of what they subscribe to.
        subscribe: Route,
        /// How long they may be silent, if that is less than what they ask for.
        timeout: Option<Duration>,
    },
    /// pomelo's texts, over Socket.IO 1.x and 2.x.
    SocketIo,
}

impl Frontend {
    /// How long a client is silent before its wire is asked whether it lives, where it has no heartbeat of pomelo's.
    pub(crate) fn probe(&self) -> Option<Duration> {
        match (&self.connector, self.heartbeat) {
            (Connector::SocketIo, Some(heartbeat)) => Some(heartbeat.timeout),
            (_, Some(_)) => None,
            (_, None) => Some(PROBE),
        }
    }
}

/// How often a client without heartbeats is asked whether it lives.
const PROBE: Duration = Duration::from_secs(60);

/// What clients of Socket.IO are told, unless one says otherwise.
const SOCKETIO_HEARTBEAT: Heartbeat =
    Heartbeat { interval: Duration::from_secs(25), timeout: Duration::from_secs(85) };

/// Files for TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, with those that it is signed with behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
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
///
/// Paths are relative to `folder`.
pub(super) fn resolve(
    layers: &toml::Table,
    folder: &Path,
    server: &Server,
) -> Result<Frontend, ConfigError> {
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
    missing_feature(&options).map_err(error)?;
    Ok(Frontend {
        listen: listen(options.bind, &server.host, client_port),
        connector: connector(&options).map_err(error)?,
        certificate: certificate(&options, folder).map_err(error)?,
        heartbeat: heartbeat(&options).map_err(error)?,
        use_dict: options.use_dict,
        use_protobuf: options.use_protobuf,
        use_crypto: options.use_crypto,
        deny: options.deny,
        allow: options.allow,
        trusted_proxies: options.trusted_proxies,
        proxy_protocol: options.proxy_protocol,
        forwarded: options.forwarded,
        origins: origins(options.origins).map_err(error)?,
        handshake_timeout: options.handshake_timeout,
        limits: limits(options.limits, server.max_connections).map_err(error)?,
        rate: rate(options.rate).map_err(error)?,
    })
}

fn at<'a>(table: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

/// What is asked for must have been compiled in.
fn missing_feature(options: &FrontendOptions) -> Result<(), String> {
    let udp = options.connector == Protocol::Udp;
    let mqtt = options.connector == Protocol::Mqtt;
    let socketio = options.connector == Protocol::SocketIo;
    let tls = options.certificate.is_some() || options.key.is_some();
    for (asked, option, feature, is_there) in [
        (udp, "`connector` is \"udp\"", "udp", cfg!(feature = "udp")),
        (mqtt, "`connector` is \"mqtt\"", "mqtt", cfg!(feature = "mqtt")),
        (socketio, "`connector` is \"socketio\"", "socketio", cfg!(feature = "socketio")),
        (tls, "there is a `certificate` or a `key`", "tls", cfg!(feature = "tls")),
        (options.use_crypto, "`use-crypto` is true", "crypto", cfg!(feature = "crypto")),
    ] {
        if asked && !is_there {
            return Err(format!(
                "{option}, and this program was built without the feature `{feature}` of shaddock"
            ));
        }
    }
    Ok(())
}

fn connector(options: &FrontendOptions) -> Result<Connector, String> {
    let route = |name: &str, route: &Option<String>| match route {
        Some(route) => route.parse::<Route>().map_err(|error| format!("`{name}`: {error}")),
        None => Err(format!("`connector` is \"mqtt\" and `{name}` is missing")),
    };
    match options.connector {
        Protocol::Hybrid => Ok(Connector::Hybrid),
        Protocol::Udp if options.heartbeat == 0 => Err(
            "`connector` is \"udp\" and there is no `heartbeat`: nothing else tells that a client is gone"
                .into(),
        ),
        Protocol::Udp => Ok(Connector::Udp),
        Protocol::Mqtt if options.use_crypto => {
            Err("`use-crypto` is true, and clients of MQTT sign nothing".into())
        }
        Protocol::SocketIo if options.use_crypto => {
            Err("`use-crypto` is true, and clients of Socket.IO sign nothing".into())
        }
        Protocol::SocketIo => Ok(Connector::SocketIo),
        Protocol::Mqtt => Ok(Connector::Mqtt {
            publish: route("publish-route", &options.publish_route)?,
            subscribe: route("subscribe-route", &options.subscribe_route)?,
            timeout: options.timeout,
        }),
    }
}

fn certificate(options: &FrontendOptions, folder: &Path) -> Result<Option<Certificate>, String> {
    match (&options.certificate, &options.key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err("there is a `certificate` and no `key`".into()),
        (None, Some(_)) => Err("there is a `key` and no `certificate`".into()),
        (Some(_), Some(_)) if options.connector == Protocol::Udp => {
            Err("`connector` is \"udp\" and there is a `certificate`: datagrams have no TLS here"
                .into())
        }
        (Some(certificate), Some(key)) => {
            Ok(Some(Certificate { certificate: folder.join(certificate), key: folder.join(key) }))
        }
    }
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
        let is_socketio = options.connector == Protocol::SocketIo;
        return Ok(is_socketio.then_some(SOCKETIO_HEARTBEAT));
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
