//! What all servers of an application are made from, and whether it makes sense.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use rustc_hash::FxHashMap;
use serde_json::Value;
use shaddock_cluster::memory::Memory;
use shaddock_cluster::{Engine, Node};
#[cfg(feature = "mqtt")]
use shaddock_protocol::mqtt;
use shaddock_protocol::pomelo::{self, Dictionary, DictionaryError, Limits, Protos, Tables};
#[cfg(feature = "tls")]
use shaddock_transport::Tls;
use shaddock_transport::memory::{MemoryConnector, MemoryListener};
use shaddock_transport::{AccessList, Hybrid, HybridConfig, Proxies};
#[cfg(feature = "udp")]
use shaddock_transport::{UdpConfig, UdpListener};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{App, AppHandle, RouteInfo, Shared, StartError};
use crate::channel::Channels;
use crate::channel::push::Pusher;
use crate::cluster::{META_HOST, META_PORT};
use crate::component::DynComponent;
use crate::config::{self, Config};
use crate::handler::filter::{Around, Filters};
use crate::ids::{Kind, ServerId};
use crate::router::{Router, Rule};
use crate::rpc::caller::Caller;
use crate::running::Core;
use crate::server::Server;
use crate::session::lane::Lanes;
use crate::session::record::Frontend;
use crate::session::table::SessionTable;
use crate::tasks::Tasks;
use crate::telemetry::{self, FrontendMetrics, PushMetrics, Seldom, ServerMetrics, Telemetry};

/// How many events an application's listeners may fall behind.
const EVENTS: usize = 1024;

/// How many bytes a connection in memory holds each way.
const MEMORY_CAPACITY: usize = 64 * 1024;

/// What all servers of an application are made from.
pub(super) struct Plan {
    pub(super) app: AppHandle,
    engine: Arc<dyn Engine>,
    protos: Arc<Protos>,
    dictionary: Arc<Dictionary>,
    rules: Arc<FxHashMap<Kind, Rule>>,
    definitions: Vec<Arc<Server>>,
    filters: Vec<Arc<dyn Around>>,
    remote_filters: Vec<Arc<dyn Around>>,
    pub(super) entries: Vec<config::Server>,
    pub(super) components: Vec<Arc<dyn DynComponent>>,
}

/// Where an application runs.
pub(super) enum Place {
    Sockets,
    /// In tests: to each front-end a way in, to each server a link that can be cut.
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "made by the testing kit"))]
    Memory(InMemory),
}

/// The ways into an application in memory.
#[derive(Default)]
pub(super) struct InMemory {
    pub(super) doors: HashMap<ServerId, MemoryConnector>,
    pub(super) links: HashMap<ServerId, Arc<Memory>>,
}

pub(super) enum Listening {
    Socket(Hybrid),
    #[cfg(feature = "udp")]
    Udp(UdpListener),
    Memory(MemoryListener),
}

/// What the clients of a front-end are told, and held to.
pub(super) enum Connector {
    Pomelo(pomelo::Connector),
    #[cfg(feature = "mqtt")]
    Mqtt(mqtt::Connector),
}

impl Listening {
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listening::Socket(hybrid) => hybrid.local_addr().ok(),
            #[cfg(feature = "udp")]
            Listening::Udp(listener) => listener.local_addr().ok(),
            Listening::Memory(_) => None,
        }
    }
}

impl App {
    /// Looks whether it would start, without listening anywhere.
    ///
    /// # Errors
    ///
    /// As [`start`](App::start), but for addresses that are taken.
    pub async fn check(self) -> Result<(), StartError> {
        let plan = self.plan()?;
        let mut missing = Vec::new();
        for entry in &plan.entries {
            let core = plan.core(entry, &Place::Sockets).await?;
            core.furnish();
            missing.extend(core.check());
            if entry.frontend {
                let options = plan.app.config().frontend(entry)?;
                plan.hybrid(entry, &options)?;
                plan.connector(entry, &options)?;
            }
        }
        report(missing)
    }

    /// Every route that clients may ask, and every push route that has a code or a schema.
    ///
    /// # Errors
    ///
    /// If the dictionary can't be made, or a file of schemas is wrong.
    pub fn routes(&self) -> Result<Vec<RouteInfo>, StartError> {
        let (dictionary, protos) = (self.dictionary()?, self.protos()?);
        let handled: Vec<String> = self.servers.iter().flat_map(Server::routes).collect();
        let mut all = handled.clone();
        all.extend(self.config.dictionary.iter().cloned());
        all.extend(protos.routes().map(str::to_owned));
        all.sort();
        all.dedup();
        let info = |route: String| RouteInfo {
            code: dictionary.code(&route),
            handled: handled.contains(&route),
            client_schema: protos.client(&route).is_some(),
            server_schema: protos.server(&route).is_some(),
            route,
        };
        Ok(all.into_iter().map(info).collect())
    }

    /// The codes of the routes of every kind in servers.json, as every front-end has them.
    fn dictionary(&self) -> Result<Dictionary, DictionaryError> {
        let configured =
            |server: &&Server| self.config.servers.iter().any(|entry| entry.kind == server.kind);
        let routes = self.servers.iter().filter(configured).flat_map(Server::routes);
        Dictionary::build(routes, self.config.dictionary.iter().cloned())
    }

    fn protos(&self) -> Result<Protos, StartError> {
        let (server, client) = (&self.config.server_protos, &self.config.client_protos);
        let text = |file: &Option<config::Protos>| {
            file.as_ref().map_or("{}".to_owned(), |file| file.text.clone())
        };
        let files: Vec<_> =
            [server, client].into_iter().flatten().map(|protos| protos.file.as_str()).collect();
        Protos::parse(&text(server), &text(client))
            .map_err(|source| StartError::Schemas { files: files.join(" and "), source })
    }

    pub(super) fn plan(self) -> Result<Plan, StartError> {
        let (protos, dictionary) = (Arc::new(self.protos()?), Arc::new(self.dictionary()?));
        let mut kinds = FxHashMap::default();
        let mut frontend_kinds = Vec::new();
        let mut rules = FxHashMap::default();
        for server in &self.servers {
            let kind: Kind = server.kind.parse().map_err(|error| {
                StartError::Mismatch(format!(
                    "no kind of server can be called {:?}: {error}",
                    server.kind
                ))
            })?;
            if kinds.insert(server.kind.clone(), kind.clone()).is_some() {
                return Err(StartError::Mismatch(format!(
                    "the application defines servers of kind {kind} twice"
                )));
            }
            check_definition(server, &self.servers)?;
            if server.frontend {
                frontend_kinds.push(kind.clone());
            }
            if let Some(rule) = &server.rule {
                rules.insert(kind, rule.clone());
            }
        }
        let entries = chosen(&self.config, self.only.as_deref())?;
        for entry in &self.config.servers {
            check_entry(entry, &self.servers)?;
        }
        let engine = self.engine.unwrap_or_else(|| Memory::new());
        let app = AppHandle(Arc::new(Shared {
            config: self.config,
            kinds,
            frontend_kinds,
            states: self.states,
            on_error: self.on_error,
            tasks: Tasks::root(),
            stopping: CancellationToken::new(),
            telemetry: Telemetry::default(),
            events: broadcast::Sender::new(EVENTS),
            servers: std::sync::Mutex::default(),
            announcements: std::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
        }));
        Ok(Plan {
            app,
            engine,
            protos,
            dictionary,
            rules: Arc::new(rules),
            definitions: self.servers.into_iter().map(Arc::new).collect(),
            filters: self.filters,
            remote_filters: self.remote_filters,
            entries,
            components: self.components,
        })
    }
}

impl Plan {
    /// One server, not yet in the cluster.
    pub(super) async fn core(
        &self,
        entry: &config::Server,
        place: &Place,
    ) -> Result<Arc<Core>, StartError> {
        let config = self.app.config();
        let mismatch = |error: &dyn std::fmt::Display| {
            StartError::Mismatch(format!("servers.json: {}: {error}", entry.id))
        };
        let id: ServerId = entry.id.parse().map_err(|error| mismatch(&error))?;
        let kind = self.app.kind(&entry.kind).map_err(|fault| mismatch(&fault))?.clone();
        let definition = self.definition(entry).ok_or_else(|| mismatch(&"no such kind"))?.clone();
        let mut node = shaddock_cluster::Config::new(id.clone(), kind.clone());
        node.cluster = config.cluster.name.parse().map_err(|error| mismatch(&error))?;
        node.frontend = entry.frontend;
        if let Some(port) = entry.client_port {
            node.meta.insert(META_HOST.to_owned(), Value::from(entry.public_host()));
            node.meta.insert(META_PORT.to_owned(), Value::from(port));
        }
        let engine = match place {
            Place::Memory(InMemory { links, .. }) if links.contains_key(&id) => links[&id].clone(),
            _ => self.engine.clone(),
        };
        let node = Node::new(engine, node);
        let tasks = self.app.tasks().child();
        let telemetry = self.app.telemetry();
        let caller = Caller::new(node.clone(), config.remotes.deadline);
        let pusher =
            Pusher::new(caller.clone(), self.protos.clone(), PushMetrics::new(telemetry, &id));
        let frontend = if definition.frontend {
            let options = config.frontend(entry)?;
            let access = AccessList::default();
            access.set(options.deny, options.allow);
            let frontend = Arc::new(Frontend {
                id: id.clone(),
                table: SessionTable::default(),
                directory: node.directory("login").await?,
                pusher: pusher.clone(),
                events: self.app.event_sender().clone(),
                tasks: tasks.clone(),
                metrics: FrontendMetrics::new(telemetry, &id),
                seldom: Seldom::default(),
                access,
            });
            let own: Weak<Frontend> = Arc::downgrade(&frontend);
            pusher.deliver_own(own);
            Some(frontend)
        } else {
            None
        };
        let around = |outer: &[Arc<dyn Around>], inner: &[Arc<dyn Around>]| -> Filters {
            outer.iter().chain(inner).cloned().collect()
        };
        Ok(Arc::new(Core {
            channels: Channels::new(pusher.clone()),
            router: Router::new(caller, self.rules.clone()),
            pusher,
            endpoints: definition
                .endpoints
                .iter()
                .map(|(route, endpoint)| (route.clone(), endpoint.into()))
                .collect(),
            filters: around(&self.filters, &definition.filters),
            remote_filters: around(&self.remote_filters, &definition.remote_filters),
            frontend,
            states: OnceLock::new(),
            remotes: OnceLock::new(),
            lanes: Arc::new(Lanes::new(tasks.clone(), config.requests.lane)),
            oneways: Arc::new(Lanes::new(tasks.clone(), ONE_WAY_CALLS)),
            patience: config.requests.deadline,
            close_route: format!("{kind}.session.closed")
                .parse()
                .map_err(|error| mismatch(&error))?,
            metrics: ServerMetrics::new(telemetry, &id),
            seldom: Seldom::default(),
            entry: entry.clone(),
            app: self.app.clone(),
            definition,
            tasks,
            kind,
            id,
        }))
    }

    fn definition(&self, entry: &config::Server) -> Option<&Arc<Server>> {
        self.definitions.iter().find(|server| server.kind == entry.kind)
    }

    /// Takes the port of a front-end.
    pub(super) async fn listen(
        &self,
        entry: &config::Server,
        place: &mut Place,
    ) -> Result<Option<Listening>, StartError> {
        if !entry.frontend {
            return Ok(None);
        }
        let options = self.app.config().frontend(entry)?;
        if let Place::Memory(memory) = place {
            let (listener, connector) = shaddock_transport::memory::listen(MEMORY_CAPACITY);
            if let Ok(id) = entry.id.parse() {
                memory.doors.insert(id, connector);
            }
            return Ok(Some(Listening::Memory(listener)));
        }
        let refused =
            |source| StartError::Listen { what: entry.id.clone(), address: options.listen, source };
        #[cfg(feature = "udp")]
        if options.connector == config::Connector::Udp {
            let bound = UdpListener::bind(options.listen, UdpConfig::default()).await;
            return Ok(Some(Listening::Udp(bound.map_err(refused)?)));
        }
        let hybrid = self.hybrid(entry, &options)?;
        let bound = Hybrid::bind(options.listen, hybrid).await;
        Ok(Some(Listening::Socket(bound.map_err(refused)?)))
    }

    /// How a front-end listens for WebSocket and TCP.
    fn hybrid(
        &self,
        entry: &config::Server,
        options: &config::Frontend,
    ) -> Result<HybridConfig, StartError> {
        let config = HybridConfig {
            origins: options.origins.clone(),
            banner: format!(
                "This is {}, a Shaddock server: it speaks pomelo's protocol over WebSocket and TCP.\n",
                entry.id,
            ),
            proxies: Proxies {
                trusted: options.trusted_proxies.clone(),
                proxy_protocol: options.proxy_protocol,
                header: options.forwarded,
            },
            ..HybridConfig::default()
        };
        #[cfg(feature = "mqtt")]
        let config = match options.connector {
            config::Connector::Mqtt { .. } => HybridConfig {
                banner: format!("This is {}, a Shaddock server: it speaks MQTT.\n", entry.id),
                raw: MQTT_CONNECT..=MQTT_CONNECT,
                ..config
            },
            _ => config,
        };
        #[cfg(feature = "tls")]
        let config = match &options.certificate {
            Some(files) => {
                let tls = Tls::load(&files.certificate, &files.key)
                    .map_err(|source| StartError::Tls { id: entry.id.clone(), source })?;
                HybridConfig { tls: Some(Arc::new(tls)), ..config }
            }
            None => config,
        };
        Ok(config)
    }

    pub(super) async fn listen_metrics(
        &self,
        place: &Place,
    ) -> Result<Option<TcpListener>, StartError> {
        let (Place::Sockets, Some(address)) = (place, self.app.config().metrics) else {
            return Ok(None);
        };
        match telemetry::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(source) => {
                Err(StartError::Listen { what: "the metrics page".to_owned(), address, source })
            }
        }
    }

    /// What the clients of a front-end are told, and held to.
    pub(super) fn connector(
        &self,
        entry: &config::Server,
        options: &config::Frontend,
    ) -> Result<Connector, StartError> {
        if let config::Connector::Mqtt { publish, subscribe, .. } = &options.connector {
            for route in [publish, subscribe] {
                let mut routes = self.definitions.iter().flat_map(|server| server.routes());
                if !routes.any(|handled| handled == route.as_str()) {
                    return Err(StartError::Mismatch(format!(
                        "shaddock.toml, for {}: there is no handler for {route}",
                        entry.id,
                    )));
                }
            }
        }
        #[cfg(feature = "mqtt")]
        if let config::Connector::Mqtt { publish, subscribe, timeout } = &options.connector {
            return Ok(Connector::Mqtt(mqtt::Connector::new(mqtt::Config {
                timeout: *timeout,
                handshake_timeout: options.handshake_timeout,
                limits: mqtt::Limits {
                    before_handshake: options.limits.handshake_package,
                    packet: options.limits.package,
                    ..mqtt::Limits::default()
                },
                ..mqtt::Config::new(publish.clone(), subscribe.clone())
            })));
        }
        let tables = Tables {
            dictionary: options.use_dict.then(|| self.dictionary.clone()),
            protos: options.use_protobuf.then(|| self.protos.clone()),
        };
        let mut config = pomelo::Config {
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
        config.datagrams = options.connector == config::Connector::Udp;
        #[cfg(feature = "crypto")]
        {
            config.signed = options.use_crypto;
        }
        Ok(Connector::Pomelo(pomelo::Connector::new(config)?))
    }
}

/// What a client of MQTT begins with.
#[cfg(feature = "mqtt")]
const MQTT_CONNECT: u8 = 0x10;

/// How many one-way calls of one server may wait.
const ONE_WAY_CALLS: usize = 65_536;

pub(super) fn report(missing: Vec<String>) -> Result<(), StartError> {
    if missing.is_empty() { Ok(()) } else { Err(StartError::Missing(missing)) }
}

/// Which servers of the configuration run in this process.
fn chosen(config: &Config, only: Option<&[String]>) -> Result<Vec<config::Server>, StartError> {
    let Some(only) = only else {
        return Ok(config.servers.clone());
    };
    only.iter()
        .map(|id| match config.server(id) {
            Some(entry) => Ok(entry.clone()),
            None => {
                let ids: Vec<_> = config.servers.iter().map(|entry| entry.id.as_str()).collect();
                let ids = ids.join(", ");
                Err(StartError::Mismatch(format!("servers.json has no server {id}; it has {ids}")))
            }
        })
        .collect()
}

/// Whether the application knows what a server of the configuration is to do.
fn check_entry(entry: &config::Server, definitions: &[Server]) -> Result<(), StartError> {
    let (id, kind) = (&entry.id, &entry.kind);
    let Some(definition) = definitions.iter().find(|server| server.kind == *kind) else {
        let kinds: Vec<_> = definitions.iter().map(|server| server.kind.as_str()).collect();
        return Err(StartError::Mismatch(format!(
            "servers.json: {id} is of kind {kind}, and the application has only {}",
            kinds.join(", "),
        )));
    };
    match (entry.frontend, definition.frontend) {
        (true, false) => Err(StartError::Mismatch(format!(
            "servers.json: {id} says `\"frontend\": true`, and the application has {kind} as a back-end",
        ))),
        (false, true) => Err(StartError::Mismatch(format!(
            "servers.json: {id} lacks `\"frontend\": true`, and the application has {kind} as a front-end",
        ))),
        _ => Ok(()),
    }
}

/// Whether what the application says of a kind makes sense.
fn check_definition(server: &Server, all: &[Server]) -> Result<(), StartError> {
    for kind in server.on_moved.keys() {
        let why = match all.iter().find(|other| other.kind == *kind).map(|other| &other.rule) {
            None => "the application has no such kind",
            Some(Some(Rule::Choose(_))) => {
                "those are chosen by `route_with`, and keys have no owners there"
            }
            Some(_) => continue,
        };
        return Err(StartError::Mismatch(format!(
            "servers of kind {} have a hook `on_moved` for {kind}: {why}",
            server.kind,
        )));
    }
    let mut routes: Vec<String> = server.routes().collect();
    for route in &routes {
        if let Err(error) = route.parse::<shaddock_protocol::Route>() {
            return Err(StartError::Mismatch(format!("no client can ask {route}: {error}")));
        }
    }
    routes.sort();
    if let Some(twice) = routes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StartError::Mismatch(format!("{} has two handlers", twice[0])));
    }
    for remote in &server.remotes {
        if remote.kind() != server.kind {
            return Err(StartError::Mismatch(format!(
                "{} is a remote of kind {}, and was given to servers of kind {}",
                remote.name(),
                remote.kind(),
                server.kind,
            )));
        }
    }
    if !server.frontend && (server.on_close.is_some() || !server.on_moved.is_empty()) {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} hold no sessions, so `on_close` and `on_moved` would never run there",
            server.kind,
        )));
    }
    Ok(())
}
