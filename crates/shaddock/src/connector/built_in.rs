//! The connectors that shaddock.toml can name.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

#[cfg(feature = "mqtt")]
use shaddock_protocol::mqtt;
use shaddock_protocol::pomelo;
#[cfg(feature = "socketio")]
use shaddock_protocol::socketio;
use shaddock_transport::HybridConfig;
#[cfg(feature = "socketio")]
use shaddock_transport::SocketIoConfig;
#[cfg(feature = "udp")]
use shaddock_transport::{UdpConfig, UdpListener};

use super::{Connector, Fitted, Site};
use crate::app::StartError;
#[cfg(any(feature = "mqtt", feature = "socketio", feature = "udp"))]
use crate::config;

/// The one that the options name.
pub(crate) fn built_in(site: &Site<'_>) -> Result<Fitted, StartError> {
    match &site.options().connector {
        #[cfg(feature = "udp")]
        config::Connector::Udp => Ok(Fitted::new(Udp::new(site)?, site)),
        #[cfg(feature = "mqtt")]
        config::Connector::Mqtt { publish, subscribe, timeout } => {
            let clients = mqtt::Config {
                timeout: *timeout,
                ..mqtt::Config::new(publish.clone(), subscribe.clone())
            };
            Ok(Fitted::new(Mqtt::new(clients, site)?, site))
        }
        #[cfg(feature = "socketio")]
        config::Connector::SocketIo => Ok(Fitted::new(SocketIo::new(site)?, site)),
        // What was not compiled in was refused with the configuration.
        _ => Ok(Fitted::new(Hybrid::new(site)?, site)),
    }
}

/// Pomelo's protocol over WebSocket and TCP.
struct Hybrid {
    address: SocketAddr,
    config: HybridConfig,
    clients: pomelo::Connector,
}

impl Hybrid {
    fn new(site: &Site<'_>) -> Result<Hybrid, StartError> {
        let address = site.options().listen;
        Ok(Hybrid { address, config: site.hybrid()?, clients: site.pomelo()? })
    }
}

impl Connector for Hybrid {
    type Listener = shaddock_transport::Hybrid;
    type Dialect = pomelo::Server;

    async fn listen(&self) -> io::Result<shaddock_transport::Hybrid> {
        shaddock_transport::Hybrid::bind(self.address, self.config.clone()).await
    }

    fn dialect(&self, now: Instant) -> pomelo::Server {
        pomelo::Server::new(&self.clients, now)
    }
}

/// Pomelo's protocol in datagrams.
#[cfg(feature = "udp")]
struct Udp {
    address: SocketAddr,
    clients: pomelo::Connector,
}

#[cfg(feature = "udp")]
impl Udp {
    fn new(site: &Site<'_>) -> Result<Udp, StartError> {
        Ok(Udp { address: site.options().listen, clients: site.pomelo()? })
    }
}

#[cfg(feature = "udp")]
impl Connector for Udp {
    type Listener = UdpListener;
    type Dialect = pomelo::Server;

    async fn listen(&self) -> io::Result<UdpListener> {
        UdpListener::bind(self.address, UdpConfig::default()).await
    }

    fn dialect(&self, now: Instant) -> pomelo::Server {
        pomelo::Server::new(&self.clients, now)
    }
}

/// MQTT over TCP and WebSocket.
#[cfg(feature = "mqtt")]
struct Mqtt {
    address: SocketAddr,
    config: HybridConfig,
    clients: mqtt::Connector,
}

#[cfg(feature = "mqtt")]
impl Mqtt {
    /// What a client begins with: CONNECT.
    const BEGINNING: u8 = 0x10;

    fn new(clients: mqtt::Config, site: &Site<'_>) -> Result<Mqtt, StartError> {
        let (id, options) = (&site.entry().id, site.options());
        let config = HybridConfig {
            banner: format!("This is {id}, a Shaddock server: it speaks MQTT.\n"),
            raw: Mqtt::BEGINNING..=Mqtt::BEGINNING,
            ..site.hybrid()?
        };
        let clients = mqtt::Connector::new(mqtt::Config {
            handshake_timeout: options.handshake_timeout,
            limits: mqtt::Limits {
                before_handshake: options.limits.handshake_package,
                packet: options.limits.package,
                ..mqtt::Limits::default()
            },
            ..clients
        });
        Ok(Mqtt { address: options.listen, config, clients })
    }
}

#[cfg(feature = "mqtt")]
impl Connector for Mqtt {
    type Listener = shaddock_transport::Hybrid;
    type Dialect = mqtt::Server;

    async fn listen(&self) -> io::Result<shaddock_transport::Hybrid> {
        shaddock_transport::Hybrid::bind(self.address, self.config.clone()).await
    }

    fn dialect(&self, now: Instant) -> mqtt::Server {
        mqtt::Server::new(&self.clients, now)
    }
}

/// Pomelo's texts over Socket.IO.
#[cfg(feature = "socketio")]
struct SocketIo {
    address: SocketAddr,
    http: HybridConfig,
    config: SocketIoConfig,
    clients: socketio::Connector,
}

#[cfg(feature = "socketio")]
impl SocketIo {
    fn new(site: &Site<'_>) -> Result<SocketIo, StartError> {
        let (id, options) = (&site.entry().id, site.options());
        let http = HybridConfig {
            banner: format!("This is {id}, a Shaddock server: it speaks Socket.IO.\n"),
            ..site.hybrid()?
        };
        let mut config = SocketIoConfig::default();
        // A text is longer on its way, where its quotation marks are marked.
        config.limit = config.limit.max(2 * options.limits.package);
        if let Some(heartbeat) = options.heartbeat {
            config.ping_interval = heartbeat.interval;
            config.ping_timeout = heartbeat.timeout - heartbeat.interval;
        }
        let clients = socketio::Connector::new(socketio::Limits {
            message: options.limits.package,
            early: options.limits.handshake_package,
        });
        Ok(SocketIo { address: options.listen, http, config, clients })
    }
}

#[cfg(feature = "socketio")]
impl Connector for SocketIo {
    type Listener = shaddock_transport::SocketIo;
    type Dialect = socketio::Server;

    async fn listen(&self) -> io::Result<shaddock_transport::SocketIo> {
        let hybrid = shaddock_transport::Hybrid::bind(self.address, self.http.clone()).await?;
        Ok(shaddock_transport::SocketIo::new(hybrid, self.config.clone()))
    }

    fn dialect(&self, _now: Instant) -> socketio::Server {
        socketio::Server::new(&self.clients)
    }
}
