//! pomelo's smaller files.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::entry::Entry;
use super::files::Sources;
use super::{ConfigError, Server};
use crate::admin;
use crate::cron::{Job, Schedule};

/// `master.json`, and each stand-by master of `masterha.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Its id.
    pub id: String,
    /// Its machine.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Master {
    /// Where it listens: on `host` if that is an address, on all addresses if it is a name.
    pub fn listen(&self) -> SocketAddr {
        let ip = match self.host.as_str() {
            "localhost" => Ipv4Addr::LOCALHOST.into(),
            host => host.parse::<IpAddr>().unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        };
        SocketAddr::new(ip, self.port)
    }
}

/// A person who may use the console: an entry of `adminUser.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUser {
    /// Its id.
    pub id: String,
    /// The name to log in with.
    pub username: String,
    /// The password, as the file has it.
    pub password: Secret,
    /// 1 is an administrator.
    pub level: u64,
}

/// What servers of a kind show to be let in: an entry of `adminServer.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminServer {
    /// The kind; pomelo's `type`.
    pub kind: String,
    /// The token.
    pub token: Secret,
}

/// A text that does not show in logs.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A job with its times: an entry of `crons.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// Where it is written.
    pub place: String,
    /// The kind of server it runs on.
    pub kind: String,
    /// The one server it runs on, if it is not all of the kind.
    pub server: Option<String>,
    /// What runs, and when.
    pub job: Job,
}

pub(super) fn master(sources: &mut Sources<'_>) -> Result<Option<Master>, ConfigError> {
    match sources.optional_json("master.json")? {
        Some(json) => one_master(Entry::new(json.file, json.value)?).map(Some),
        None => Ok(None),
    }
}

pub(super) fn stand_by_masters(sources: &mut Sources<'_>) -> Result<Vec<Master>, ConfigError> {
    let Some(json) = sources.optional_json("masterha.json")? else {
        return Ok(Vec::new());
    };
    let mut whole = Entry::new(json.file.clone(), json.value)?;
    let list = whole.map.remove("masterha").ok_or_else(|| whole.error("`masterha` is missing"))?;
    sources.warnings.push(format!(
        "{}: not used: no server needs a master, so none needs a stand-by",
        json.file
    ));
    Entry::list(&json.file, "masterha", list)?.into_iter().map(one_master).collect()
}

fn one_master(entry: Entry) -> Result<Master, ConfigError> {
    Ok(Master {
        id: entry.name("id")?,
        host: entry.text("host")?,
        port: entry.port("port")?.ok_or_else(|| entry.error("`port` is missing"))?,
    })
}

pub(super) fn admin_users(sources: &mut Sources<'_>) -> Result<Vec<AdminUser>, ConfigError> {
    let Some(json) = sources.optional_json("adminUser.json")? else {
        return Ok(Vec::new());
    };
    let (mut users, mut plain) = (Vec::new(), Vec::new());
    let mut names = HashSet::new();
    for entry in Entry::list(&json.file, "", json.value)? {
        let user = AdminUser {
            id: entry.text("id")?,
            username: entry.text("username")?,
            password: Secret(entry.text("password")?),
            level: entry.number("level")?.ok_or_else(|| entry.error("`level` is missing"))?,
        };
        if !names.insert(user.username.clone()) {
            return Err(entry.error(format!("the username `{}` is given twice", user.username)));
        }
        match admin::check_hash(user.password.expose()) {
            Ok(true) => {}
            Ok(false) => plain.push(user.username.clone()),
            Err(error) => {
                return Err(
                    entry.error(format!("`password` begins as a hash, and is none: {error}"))
                );
            }
        }
        users.push(user);
    }
    if sources.environment != "development" && !plain.is_empty() {
        sources.warnings.push(format!(
            "{}: not hashed, which is for development alone, and so let nobody in: the passwords of {}; \
             `hash-password` makes hashes",
            json.file,
            plain.join(", "),
        ));
    }
    Ok(users)
}

/// `None` if there is no such file, which for pomelo means that everybody may come.
pub(super) fn admin_servers(
    sources: &mut Sources<'_>,
    servers: &[Server],
) -> Result<Option<Vec<AdminServer>>, ConfigError> {
    let Some(json) = sources.optional_json("adminServer.json")? else {
        return Ok(None);
    };
    let mut tokens = Vec::new();
    let mut kinds = HashSet::new();
    for entry in Entry::list(&json.file, "", json.value)? {
        let kind = entry.name("type")?;
        if !kinds.insert(kind.clone()) {
            return Err(entry.error(format!("the type `{kind}` is given twice")));
        }
        tokens.push(AdminServer { kind, token: Secret(entry.text("token")?) });
    }
    for server in servers {
        if kinds.insert(server.kind.clone()) {
            sources
                .warnings
                .push(format!("{}: there is no token for `{}`", json.file, server.kind));
        }
    }
    Ok(Some(tokens))
}

pub(super) fn crons(
    sources: &mut Sources<'_>,
    servers: &[Server],
) -> Result<Vec<Cron>, ConfigError> {
    let Some(json) = sources.optional_json("crons.json")? else {
        return Ok(Vec::new());
    };
    let mut crons = Vec::new();
    let mut ids = HashSet::new();
    for (kind, entries) in Entry::new(json.file.clone(), json.value)?.map {
        for entry in Entry::list(&json.file, &kind, entries)? {
            let cron = cron(&entry, &kind)?;
            if !ids.insert((kind.clone(), cron.job.id.clone())) {
                return Err(entry.error(format!("the id `{}` is given twice", cron.job.id)));
            }
            let mut there =
                servers.iter().filter(|server| server.kind == kind).map(|server| &server.id);
            if let Some(id) = &cron.server
                && !there.any(|server| server == id)
            {
                return Err(entry.error(format!(
                    "`serverId` is `{id}`, and servers.json has no `{kind}` of this id"
                )));
            }
            if cron.server.is_none() && there.next().is_none() {
                sources.warnings.push(format!("{}: no server runs this", entry.place));
            }
            let keys = ["id", "time", "action", "serverId", "once", "overlap"];
            entry.near_misses(&keys, &mut sources.warnings);
            crons.push(cron);
        }
    }
    Ok(crons)
}

fn cron(entry: &Entry, kind: &str) -> Result<Cron, ConfigError> {
    let schedule = Schedule::pomelo(&entry.text("time")?)
        .map_err(|error| entry.error(format!("`time`: {error}")))?;
    let action = entry.text("action")?;
    match action.split_once('.') {
        Some((file, method)) if !file.is_empty() && !method.is_empty() && !method.contains('.') => {
        }
        _ => {
            return Err(entry.error(format!("`action` is {action:?}, it should be `file.method`")));
        }
    }
    let mut job = Job::new(entry.text("id")?, schedule, action);
    job.once = entry.flag("once")?;
    job.overlap = entry.flag("overlap")?;
    Ok(Cron {
        place: entry.place.clone(),
        kind: kind.to_owned(),
        server: entry.optional_text("serverId")?,
        job,
    })
}

/// Files that are pomelo's and have no meaning here.
pub(super) fn acknowledge(sources: &mut Sources<'_>) -> Result<(), ConfigError> {
    if let Some(file) = sources.find("log4js.json")? {
        sources
            .warnings
            .push(format!("{}: not used: what to log is `log.filter` of shaddock.toml", file.name));
    }
    Ok(())
}
