//! `servers.json`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::ConfigError;
use super::entry::{Entry, check_name};
use super::files::Sources;

/// One server: an entry of `servers.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Unique in the cluster, of letters, digits, `-` and `_`.
    pub id: String,
    /// What pomelo calls its type: `gate`, `connector`, `chat`.
    pub kind: String,
    /// The machine it runs on, as the other machines know it.
    pub host: String,
    /// The port of pomelo's RPC. Nothing listens on it: servers talk through the cluster's engine.
    pub port: Option<u16>,
    /// The address that clients are told, if it is not `host`.
    pub client_host: Option<String>,
    /// The port for clients. A front-end always has one.
    pub client_port: Option<u16>,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// How many connections it holds, if that was said.
    pub max_connections: Option<usize>,
    /// Whether to start it again when it has died.
    pub auto_restart: bool,
    /// Whether to start it again even if that means ending its old process.
    pub restart_force: bool,
    /// Its share where servers are picked by weight; 1 if nothing was said.
    pub weight: u32,
    /// All other keys of the entry, for the application.
    pub extra: Map<String, Value>,
}

impl Server {
    /// Reads an entry as servers.json has them that is not in it, for a server that is added while others run.
    ///
    /// # Errors
    ///
    /// If it could not stand in servers.json, or stands for several servers.
    pub fn from_json(kind: &str, entry: Map<String, Value>) -> Result<Server, ConfigError> {
        let mut entry = Entry { place: "a new server".to_owned(), map: entry };
        check_name(kind).map_err(|reason| entry.error(format!("its kind {reason}")))?;
        if entry.map.contains_key("clusterCount") {
            return Err(
                entry.error("`clusterCount` is for servers.json: servers are added one by one")
            );
        }
        let id = entry.name("id")?;
        entry.place = format!("a new server, {id}");
        server(entry, id, kind, &mut Vec::new())
    }

    /// The address that clients are told: `clientHost`, else `host`.
    pub fn public_host(&self) -> &str {
        self.client_host.as_deref().unwrap_or(&self.host)
    }
}

/// The keys that mean something here. The last two are pomelo's and are refused with a warning.
const KEYS: &[&str] = &[
    "id",
    "host",
    "port",
    "clientPort",
    "clientHost",
    "frontend",
    "max-connections",
    "auto-restart",
    "restart-force",
    "weight",
    "clusterCount",
    "cpu",
    "args",
];
const REFUSED: &[(&str, &str)] = &[
    ("cpu", "one process uses all cores; bind it from outside if you must"),
    ("args", "these are options for node"),
];

/// Reads the servers of this environment, in the file's order.
pub(super) fn read(sources: &mut Sources<'_>) -> Result<Vec<Server>, ConfigError> {
    const NAME: &str = "servers.json";
    let Some(json) = sources.json(NAME)? else {
        let looked = format!("{} and {}", sources.shown(NAME), sources.shown(&sources.own(NAME)));
        return Err(ConfigError::NoServers { looked });
    };
    let file = json.file;
    let Value::Object(kinds) = json.value else {
        return Err(ConfigError::invalid(
            file,
            "should be an object of lists, one for each kind of server",
        ));
    };

    let mut servers: Vec<Server> = Vec::new();
    for (kind, entries) in kinds {
        check_name(&kind)
            .map_err(|reason| ConfigError::invalid(&file, format!("a kind {reason}")))?;
        if !entries.is_array() {
            let reason = format!(
                "`{kind}` should be a list of servers (if it is an environment: this one is `{}`)",
                sources.environment
            );
            return Err(ConfigError::invalid(file, reason));
        }
        let mut clustered = 0;
        for entry in Entry::list(&file, &kind, entries)? {
            for mut entry in expand(entry, &kind, &mut clustered)? {
                let id = entry.name("id")?;
                entry.place = format!("{file}: {id}");
                servers.push(server(entry, id, &kind, &mut sources.warnings)?);
            }
        }
    }

    if servers.is_empty() {
        let reason = format!("has no servers for the environment `{}`", sources.environment);
        return Err(ConfigError::invalid(file, reason));
    }
    let mut seen = HashMap::new();
    for server in &servers {
        if let Some(kind) = seen.insert(&server.id, &server.kind) {
            let reason = format!(
                "the id `{}` is given twice (in `{kind}` and `{}`)",
                server.id, server.kind
            );
            return Err(ConfigError::invalid(file, reason));
        }
    }
    Ok(servers)
}

/// Makes `clusterCount` entries of one: texts that end in `++` count up, ids run on over the kind.
fn expand(entry: Entry, kind: &str, clustered: &mut u64) -> Result<Vec<Entry>, ConfigError> {
    let Some(count) = entry.number("clusterCount")? else {
        let counting = entry.map.iter().find(|(_, value)| base(value).is_some());
        return match counting {
            Some((key, value)) => {
                Err(entry.error(format!("`{key}` is {value}, which needs a `clusterCount`")))
            }
            None => Ok(vec![entry]),
        };
    };
    if !(1..=10_000).contains(&count) {
        return Err(entry.error(format!("`clusterCount` is {count}, it should be 1 to 10000")));
    }

    let mut entries = Vec::new();
    for i in 0..count {
        let mut map = entry.map.clone();
        map.shift_remove("clusterCount");
        map.insert("id".into(), format!("cluster-server-{kind}-{}", *clustered + i).into());
        for (key, value) in &mut map {
            let Some(base) = base(value) else { continue };
            let Some(number) = base.parse::<u64>().ok().and_then(|base| base.checked_add(i)) else {
                return Err(
                    entry.error(format!("`{key}` is {value}, it should be a number and `++`"))
                );
            };
            *value = number.into();
        }
        entries.push(Entry { place: entry.place.clone(), map });
    }
    *clustered += count;
    Ok(entries)
}

/// The `3050` of `"3050++"`.
fn base(value: &Value) -> Option<&str> {
    value.as_str()?.strip_suffix("++")
}

fn server(
    entry: Entry,
    id: String,
    kind: &str,
    warnings: &mut Vec<String>,
) -> Result<Server, ConfigError> {
    let max_connections = match entry.number("max-connections")? {
        None => None,
        Some(number) => match usize::try_from(number) {
            Ok(number) if number != 0 => Some(number),
            _ => return Err(entry.error("`max-connections` should be 1 or more")),
        },
    };
    let weight = match entry.number("weight")? {
        None => 1,
        Some(number) => u32::try_from(number)
            .map_err(|_| entry.error(format!("`weight` is {number}, which is too much")))?,
    };
    let server = Server {
        id,
        kind: kind.to_owned(),
        host: entry.text("host")?,
        port: entry.port("port")?,
        client_host: entry.optional_text("clientHost")?,
        client_port: entry.port("clientPort")?,
        frontend: entry.flag("frontend")?,
        max_connections,
        auto_restart: entry.flag("auto-restart")?,
        restart_force: entry.flag("restart-force")?,
        weight,
        extra: Map::new(),
    };

    match (server.frontend, server.client_port) {
        (true, None) => {
            return Err(entry.error("`frontend` is true and `clientPort` is missing"));
        }
        (false, Some(_)) => warnings.push(format!(
            "{}: has a `clientPort`, but no client can connect without `\"frontend\": true`",
            entry.place
        )),
        _ => {}
    }
    for (key, why) in REFUSED {
        if entry.map.contains_key(*key) {
            warnings.push(format!("{}: `{key}` is not used: {why}", entry.place));
        }
    }
    entry.near_misses(KEYS, warnings);

    let extra = entry.map.into_iter().filter(|(key, _)| !KEYS.contains(&key.as_str())).collect();
    Ok(Server { extra, ..server })
}
