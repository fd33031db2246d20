//! The tables of an application, which may be read again while it runs.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use shaddock_protocol::pomelo::{
    self, BodyError, Dictionary, DictionaryError, PackageError, Protos,
};

use super::lock;
use crate::config::{self, Config, ConfigError};
use crate::server::Server;

/// Dictionary and schemas as clients that come now are given them.
///
/// Who is connected keeps what it was given: its connection holds on to its own tables.
#[derive(Debug)]
pub(crate) struct Tables {
    /// What clients may ask, which is numbered first.
    routes: Vec<String>,
    now: RwLock<Now>,
    /// Those who give them to clients.
    connectors: Mutex<Vec<pomelo::Connector>>,
}

#[derive(Debug)]
struct Now {
    dictionary: Arc<Dictionary>,
    protos: Arc<Protos>,
}

/// Why tables can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// A file is wrong.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The routes of the handlers and of dictionary.json can't all be numbered.
    #[error("the routes of handlers and of dictionary.json can't be numbered: {0}")]
    Dictionary(DictionaryError),
    /// A handshake can't carry them.
    #[error("dictionary and schemas are too large for a handshake: {0}")]
    TooLarge(PackageError),
}

impl Tables {
    /// What `config` says, for applications of `servers`.
    pub(super) fn new(config: &Config, servers: &[Server]) -> Result<Tables, TablesError> {
        let configured =
            |server: &&Server| config.servers.iter().any(|entry| entry.kind == server.kind);
        let routes: Vec<_> = servers.iter().filter(configured).flat_map(Server::routes).collect();
        let now = RwLock::new(Now::new(&routes, &config.tables)?);
        Ok(Tables { routes, now, connectors: Mutex::default() })
    }

    pub(crate) fn dictionary(&self) -> Arc<Dictionary> {
        self.read().dictionary.clone()
    }

    pub(crate) fn protos(&self) -> Arc<Protos> {
        self.read().protos.clone()
    }

    /// Whether a push or an answer fits the schema of its route, if there is one.
    pub(crate) fn check(&self, route: &str, body: &[u8]) -> Result<(), BodyError> {
        self.read().protos.check(route, body)
    }

    /// Has a connector given others when there are.
    pub(crate) fn follow(&self, connector: pomelo::Connector) {
        lock(&self.connectors).push(connector);
    }

    /// Gives clients that come from now on what `files` say, and says whether that is anything new.
    /// What is wrong changes nothing.
    pub(super) fn replace(&self, files: &config::Tables) -> Result<bool, TablesError> {
        let next = Now::new(&self.routes, files)?;
        // Held until the end, so that of two who call this one is first with all of it.
        let connectors = lock(&self.connectors);
        if self.read().versions() == next.versions() {
            return Ok(false);
        }
        let mut fresh = Vec::new();
        for connector in &*connectors {
            let mut config = connector.config();
            let (dictionary, protos) = (&config.tables.dictionary, &config.tables.protos);
            config.tables = Arc::new(pomelo::Tables {
                dictionary: dictionary.as_ref().map(|_| next.dictionary.clone()),
                protos: protos.as_ref().map(|_| next.protos.clone()),
            });
            fresh.push(pomelo::Connector::new(config).map_err(TablesError::TooLarge)?);
        }
        for (connector, fresh) in connectors.iter().zip(&fresh) {
            connector.replace(fresh);
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    fn read(&self) -> RwLockReadGuard<'_, Now> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn new(routes: &[String], files: &config::Tables) -> Result<Now, TablesError> {
        let (routes, extra) = (routes.iter().map(String::as_str), &files.dictionary);
        let dictionary = Dictionary::build(routes, extra.iter().map(String::as_str));
        let dictionary = Arc::new(dictionary.map_err(TablesError::Dictionary)?);
        Ok(Now { dictionary, protos: files.protos.clone() })
    }

    fn versions(&self) -> (&str, &str) {
        (self.dictionary.version(), self.protos.version())
    }
}
