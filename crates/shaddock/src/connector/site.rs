//! What a connector is made from.

#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::sync::Arc;

use shaddock_protocol::pomelo::{self, Limits};
#[cfg(feature = "tls")]
use shaddock_transport::Tls;
use shaddock_transport::{HybridConfig, Proxies};

use crate::app::{StartError, Tables, TablesError};
use crate::config;

/// Where a connector is to work: one front-end, with its options and tables.
#[derive(Debug)]
pub struct Site<'a> {
    entry: &'a config::Server,
    options: &'a config::Frontend,
    tables: &'a Tables,
    /// What was read for it.
    #[cfg(feature = "tls")]
    certificates: RefCell<Vec<Arc<Tls>>>,
}

impl<'a> Site<'a> {
    pub(crate) fn new(
        entry: &'a config::Server,
        options: &'a config::Frontend,
        tables: &'a Tables,
    ) -> Site<'a> {
        Site {
            entry,
            options,
            tables,
            #[cfg(feature = "tls")]
            certificates: RefCell::default(),
        }
    }

    /// Its entry in servers.json, where an application may have keys of its own.
    pub fn entry(&self) -> &config::Server {
        self.entry
    }

    /// What shaddock.toml says of it.
    pub fn options(&self) -> &config::Frontend {
        self.options
    }

    /// What clients of pomelo speak, as the options say: with their tables, heartbeats and limits.
    ///
    /// Whoever connects when the files of the tables have changed gets new ones.
    ///
    /// # Errors
    ///
    /// When the tables don't fit into a handshake.
    pub fn pomelo(&self) -> Result<pomelo::Connector, StartError> {
        let options = self.options;
        let tables = pomelo::Tables {
            dictionary: options.use_dict.then(|| self.tables.dictionary()),
            protos: options.use_protobuf.then(|| self.tables.protos()),
        };
        let config = pomelo::Config {
            heartbeat: options.heartbeat.map(|heartbeat| heartbeat.interval),
            timeout: options.heartbeat.map(|heartbeat| heartbeat.timeout),
            handshake_timeout: options.handshake_timeout,
            limits: Limits {
                before_handshake: options.limits.handshake_package,
                package: options.limits.package,
                ..Limits::default()
            },
            tables: Arc::new(tables),
            ..pomelo::Config::default()
        };
        let config = pomelo::Config {
            datagrams: options.connector == config::Connector::Udp,
            #[cfg(feature = "crypto")]
            signed: options.use_crypto,
            // Where others of its users ask the protocol for signatures and we do not, there is one field more.
            ..config
        };
        let connector = pomelo::Connector::new(config).map_err(TablesError::TooLarge)?;
        self.tables.follow(connector.clone());
        Ok(connector)
    }

    /// How to listen for WebSocket and TCP, as the options say: in TLS, behind proxies, for pages of some origins.
    ///
    /// The files of a certificate are read here, and again while it is in use, when they change.
    ///
    /// # Errors
    ///
    /// When a certificate can't be used.
    pub fn hybrid(&self) -> Result<HybridConfig, StartError> {
        let options = self.options;
        #[cfg(feature = "tls")]
        let tls = match &options.certificate {
            Some(files) => {
                let tls = Tls::load(&files.certificate, &files.key)
                    .map_err(|source| StartError::Tls { id: self.entry.id.clone(), source })?;
                let tls = Arc::new(tls);
                self.certificates.borrow_mut().push(tls.clone());
                Some(tls)
            }
            None => None,
        };
        Ok(HybridConfig {
            origins: options.origins.clone(),
            banner: format!(
                "This is {}, a Shaddock server: it speaks pomelo's protocol over WebSocket and TCP.\n",
                self.entry.id,
            ),
            proxies: Proxies {
                trusted: options.trusted_proxies.clone(),
                proxy_protocol: options.proxy_protocol,
                header: options.forwarded,
            },
            #[cfg(feature = "tls")]
            tls,
            ..HybridConfig::default()
        })
    }

    /// The certificates that were read for it.
    #[cfg(feature = "tls")]
    pub(super) fn certificates(&self) -> Vec<Arc<Tls>> {
        self.certificates.take()
    }
}
