//! What an application is told from outside: pomelo's `config/` folder, and `shaddock.toml` for the rest.
//!
//! pomelo's files are read as they are: `servers.json` (with `clusterCount` and `"3050++"`), `master.json`,
//! `adminUser.json`, `adminServer.json`, `masterha.json`, `crons.json`, `dictionary.json`,
//! `clientProtos.json` and `serverProtos.json`. Each is one file with an object per environment,
//! or the same name in a folder named for the environment; the former wins. Only `servers.json` must be there.
//! What is there and has no meaning here is named in [`Config::warnings`].
//!
//! `shaddock.toml` holds what pomelo said in code or had no word for. It is strict: an unknown key is an
//! error. An environment's own, `production/shaddock.toml`, is laid over it key by key, and [`Overrides`]
//! over both. No key of pomelo's files has a second home there.
//!
//! ```
//! use shaddock::config::{Config, Overrides};
//!
//! let files = [
//!     (
//!         "servers.json",
//!         r#"{"connector": [{"id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true}]}"#,
//!     ),
//!     ("shaddock.toml", "[kind.connector]\nheartbeat = 3\n"),
//! ];
//! let overrides = Overrides::default().set("frontend.use-dict", "true");
//! let config = Config::embedded(&files, None, &overrides)?;
//!
//! let connector = config.server("connector-1").expect("it is in the file");
//! let frontend = config.frontend(connector)?;
//! assert_eq!(frontend.heartbeat.map(|beat| beat.timeout.as_secs()), Some(6));
//! assert!(frontend.use_dict);
//! # Ok::<(), shaddock::config::ConfigError>(())
//! ```
//!
//! # Every key of `shaddock.toml`, with its default
//!
//! ```toml
#![doc = include_str!("reference.toml")]
//! ```

mod checks;
mod cluster;
mod entry;
mod error;
mod files;
mod frontend;
mod options;
mod overrides;
mod pomelo;
mod servers;
mod suggest;
mod tables;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use files::{Files, Sources};
use options::Options;

pub use cluster::{Cluster, Gaps};
pub use error::ConfigError;
pub use frontend::{Certificate, Connector, Frontend, Heartbeat, Rate};
pub use options::{Limits, Log, Remotes, Requests, Stop};
pub use overrides::Overrides;
pub use pomelo::{AdminServer, AdminUser, Cron, Master, Secret};
pub use servers::Server;
pub use tables::Tables;

/// All that an application is told from outside, read and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The environment it was read for.
    pub environment: String,
    /// The servers, in the file's order.
    pub servers: Vec<Server>,
    /// The master's address, where metrics are served.
    pub master: Option<Master>,
    /// Stand-by masters. Nothing needs them.
    pub stand_by_masters: Vec<Master>,
    /// Who may use the console.
    pub admin_users: Vec<AdminUser>,
    /// What servers show to be let in; `None` if there is no such file.
    pub admin_servers: Option<Vec<AdminServer>>,
    /// Jobs with their times.
    pub crons: Vec<Cron>,
    /// What clients are given in the handshake, where it is turned on.
    pub tables: Tables,
    /// `[requests]`
    pub requests: Requests,
    /// `[remotes]`
    pub remotes: Remotes,
    /// `[stop]`
    pub stop: Stop,
    /// Where `/metrics` and `/health` are; `None` if they are off, or neither `[metrics]` nor `master.json` says where.
    /// A process of some of the servers takes another port where this one is taken.
    pub metrics: Option<SocketAddr>,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[log]`
    pub log: Log,
    /// `[app]`: what the application reads itself.
    pub app: toml::Table,
    /// What was read and does not do what its writer may expect, a sentence each.
    pub warnings: Vec<String>,
    /// `[frontend]`, `[kind]` and `[server]`, to be laid over one another for each server.
    layers: toml::Table,
    /// Where paths begin; `None` if the files are built in.
    folder: Option<PathBuf>,
}

impl Config {
    /// Reads the folder `dir`.
    ///
    /// The environment is `environment`, else the variable `SHADDOCK_ENV`, else `NODE_ENV`, else `development`.
    ///
    /// # Errors
    ///
    /// If there is no `servers.json`, or if anything in the files or the overrides is wrong.
    pub fn load(
        dir: impl AsRef<Path>,
        environment: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        Self::read(Files::Folder(dir.as_ref()), environment, overrides)
    }

    /// Reads files that are built into the program, each a name such as `servers.json` and its text.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn embedded(
        files: &[(&str, &str)],
        environment: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        Self::read(Files::Embedded(files), environment, overrides)
    }

    fn read(
        files: Files<'_>,
        environment: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        let environment = self::environment(environment);
        let mut sources = Sources { files, environment: &environment, warnings: Vec::new() };

        let (mut layers, options) = self::options(&sources, overrides)?;
        // There are secrets in it, which nobody should see who has a configuration formatted.
        layers.remove("cluster");
        let folder = match files {
            Files::Folder(folder) => Some(folder.to_owned()),
            Files::Embedded(_) => None,
        };
        let servers = servers::read(&mut sources)?;
        let master = pomelo::master(&mut sources)?;

        let mut config = Config {
            stand_by_masters: pomelo::stand_by_masters(&mut sources)?,
            admin_users: pomelo::admin_users(&mut sources)?,
            admin_servers: pomelo::admin_servers(&mut sources, &servers)?,
            crons: pomelo::crons(&mut sources, &servers)?,
            tables: tables::read(&mut sources)?,
            metrics: (options.metrics.bind)
                .or(master.as_ref().map(Master::listen))
                .filter(|_| options.metrics.enabled),
            servers,
            master,
            requests: options.requests,
            remotes: options.remotes,
            stop: options.stop,
            cluster: options.cluster.resolve(folder.as_deref().unwrap_or(Path::new("")))?,
            log: options.log,
            app: options.app,
            warnings: Vec::new(),
            layers,
            folder,
            environment: environment.clone(),
        };
        pomelo::acknowledge(&mut sources)?;
        config.warnings = sources.warnings;
        config.check_sections(&options.kind, &options.server);
        config.check_frontends()?;
        if config.requests.lane == 0 {
            return Err(ConfigError::invalid(
                "shaddock.toml",
                "`requests.lane` is 0, which lets nothing through",
            ));
        }
        Ok(config)
    }

    /// The server with this id.
    pub fn server(&self, id: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// What holds for the front-end `server`.
    ///
    /// # Errors
    ///
    /// If its options do not fit together. Those of the servers that were read do, so this can only be
    /// for a server that was made or changed since.
    pub fn frontend(&self, server: &Server) -> Result<Frontend, ConfigError> {
        let folder = self.folder.as_deref().unwrap_or(Path::new(""));
        frontend::resolve(&self.layers, folder, server)
    }

    /// Whether it was read from files.
    pub(crate) fn can_change(&self) -> bool {
        self.folder.is_some()
    }

    /// Reads the files of the tables as they are now; `None` if they are built in, and can't change.
    ///
    /// # Errors
    ///
    /// If anything in them is wrong, or one that was there is gone.
    pub fn read_tables(&self) -> Result<Option<Tables>, ConfigError> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let (files, environment) = (Files::Folder(folder), self.environment.as_str());
        let tables = tables::read(&mut Sources { files, environment, warnings: Vec::new() })?;
        match self.tables.files.iter().find(|file| !tables.files.contains(file)) {
            Some(gone) => Err(ConfigError::invalid(gone, "it was there, and is not any more")),
            None => Ok(Some(tables)),
        }
    }
}

/// `shaddock.toml` with the overrides.
fn options(
    sources: &Sources<'_>,
    overrides: &Overrides,
) -> Result<(toml::Table, Options), ConfigError> {
    let layers = overrides.apply(read_toml(sources)?)?;
    let options = layers.clone().try_into().map_err(|error: toml::de::Error| {
        ConfigError::invalid("shaddock.toml", suggest::explain(error.message()))
    })?;
    Ok((layers, options))
}

fn environment(explicit: Option<&str>) -> String {
    choose_environment(explicit, |name| std::env::var(name).ok())
}

fn choose_environment(explicit: Option<&str>, var: impl Fn(&str) -> Option<String>) -> String {
    let given = |name: &String| !name.is_empty();
    explicit
        .map(str::to_owned)
        .or_else(|| var("SHADDOCK_ENV").filter(given))
        .or_else(|| var("NODE_ENV").filter(given))
        .unwrap_or_else(|| "development".to_owned())
}

/// `shaddock.toml` with the environment's own laid over it; each is checked alone, to have its lines.
fn read_toml(sources: &Sources<'_>) -> Result<toml::Table, ConfigError> {
    const NAME: &str = "shaddock.toml";
    let mut table = toml::Table::new();
    for path in [NAME.to_owned(), sources.own(NAME)] {
        let Some(file) = sources.read(&path)? else {
            continue;
        };
        let wrong = |error| ConfigError::toml(&file.name, &file.text, &error);
        toml::from_str::<Options>(&file.text).map_err(wrong)?;
        overrides::merge(&mut table, toml::from_str(&file.text).map_err(wrong)?);
    }
    Ok(table)
}
