//! Starting an application, and stopping it in order.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustc_hash::FxHashMap;
use serde_json::Value;
use shaddock_cluster::memory::Memory;
use shaddock_cluster::{Engine, JoinError, Node, StoreError};
use shaddock_protocol::pomelo::{
    Config as ConnectorConfig, Connector, Dictionary, DictionaryError, Limits, PackageError,
    Protos, SchemaError, Tables,
};
use shaddock_transport::memory::{MemoryConnector, MemoryListener};
use shaddock_transport::{Hybrid, HybridConfig};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, AppHandle, Shared};
use crate::channel::Channels;
use crate::channel::push::Pusher;
use crate::cluster::{META_HOST, META_PORT};
use crate::component::DynComponent;
use crate::config::{self, Config, ConfigError};
use crate::error::Fault;
use crate::frontend::Door;
use crate::handler::filter::{Around, Filters};
use crate::ids::{Kind, ServerId};
use crate::router::{Router, Rule};
use crate::rpc::caller::Caller;
use crate::running::{Core, Inbox};
use crate::server::{Server, ServerHandle};
use crate::session::lane::Lanes;
use crate::session::record::Frontend;
use crate::session::table::SessionTable;
use crate::tasks::Tasks;
use crate::telemetry::{self, FrontendMetrics, PushMetrics, ServerMetrics, Telemetry};

/// How many events an application's listeners may fall behind.
const EVENTS: usize = 1024;

/// How many bytes a connection in memory holds each way.
const MEMORY_CAPACITY: usize = 64 * 1024;

/// Why an application did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options of a server are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration and the application do not fit.
    #[error("{0}")]
    Mismatch(String),
    /// A handler or a hook needs something that is not there: a sentence for each.
    #[error("the application can't work:\n  {}", .0.join("\n  "))]
    Missing(Vec<String>),
    /// The dictionary of routes can't be made.
    #[error("the dictionary of routes")]
    Dictionary(#[from] DictionaryError),
    /// A file of schemas is wrong.
    #[error("the protobuf schemas of {files}")]
    Schemas {
        /// Which files.
        files: String,
        /// What is wrong.
        source: SchemaError,
    },
    /// The tables don't fit into a handshake.
    #[error("dictionary and schemas are too large for a handshake")]
    Tables(#[from] PackageError),
    /// An address can't be listened at.
    #[error("{what} can't listen at {address}")]
    Listen {
        /// What wants to.
        what: String,
        /// Where.
        address: SocketAddr,
        /// Why it can't.
        source: io::Error,
    },
    /// A server can't enter the cluster.
    #[error("{id} can't enter the cluster")]
    Join {
        /// Which.
        id: ServerId,
        /// Why.
        source: JoinError,
    },
    /// The directory of uids can't be reached.
    #[error("the directory of uids can't be reached")]
    Directory(#[from] StoreError),
    /// A component did not start.
    #[error("the component {name} did not start: {fault}")]
    Component {
        /// Which.
        name: &'static str,
        /// Why.
        fault: Fault,
    },
}

/// A route that clients may ask, or are pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteInfo {
    /// The route.
    pub route: String,
    /// Its code in the dictionary, if it has one.
    pub code: Option<u16>,
    /// Whether there is a handler for it; else it is pushed.
    pub handled: bool,
    /// Whether what clients send has a schema.
    pub client_schema: bool,
    /// Whether what servers send has a schema.
    pub server_schema: bool,
}

/// An application in memory, the ways to its front-ends, and the link of each server.
#[cfg(feature = "testing")]
pub(crate) type InMemoryApp = (
    Running,
    HashMap<ServerId, MemoryConnector>,
    HashMap<ServerId, Arc<Memory>>,
);

/// An application that runs.
#[derive(Debug)]
pub struct Running {
    app: AppHandle,
    servers: Vec<RunningServer>,
    components: Vec<Arc<dyn DynComponent>>,
    /// What ties the servers into the cluster, and ends when they leave it.
    links: Tasks,
}

#[derive(Debug)]
struct RunningServer {
    core: Arc<Core>,
    listening: Tasks,
    connections: Tasks,
    components: Vec<Arc<dyn DynComponent>>,
    address: Option<SocketAddr>,
}

/// Where an application runs.
enum Place {
    Sockets,
    /// In tests: to each front-end a way in, to each server a link that can be cut.
    #[cfg_attr(
        not(feature = "testing"),
        allow(dead_code, reason = "made by the testing kit")
    )]
    Memory(InMemory),
}

/// The ways into an application in memory.
#[derive(Default)]
struct InMemory {
    doors: HashMap<ServerId, MemoryConnector>,
    links: HashMap<ServerId, Arc<Memory>>,
}

enum Listening {
    Socket(Hybrid),
    Memory(MemoryListener),
}

/// What all servers of an application are made from.
struct Plan {
    app: AppHandle,
    engine: Arc<dyn Engine>,
    protos: Arc<Protos>,
    dictionary: Arc<Dictionary>,
    rules: Arc<FxHashMap<Kind, Rule>>,
    definitions: Vec<Arc<Server>>,
    filters: Vec<Arc<dyn Around>>,
    remote_filters: Vec<Arc<dyn Around>>,
    entries: Vec<config::Server>,
    components: Vec<Arc<dyn DynComponent>>,
}

impl App {
    /// Starts the servers of the configuration, or of [`only`](App::only).
    ///
    /// When it returns all of them can be reached. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If anything is wrong with the configuration, an address is taken, a handler needs what is
    /// not there, or a component does not start.
    pub async fn start(self) -> Result<Running, StartError> {
        self.start_at(&mut Place::Sockets).await
    }

    /// Starts it in memory: the ways to its front-ends, and the link of each server.
    #[cfg(feature = "testing")]
    pub(crate) async fn start_in_memory(self) -> Result<InMemoryApp, StartError> {
        let hub = Memory::new();
        let ids = self
            .config
            .servers
            .iter()
            .filter_map(|entry| entry.id.parse().ok());
        let links = ids.map(|id| (id, hub.connect())).collect();
        let mut place = Place::Memory(InMemory {
            links,
            doors: HashMap::new(),
        });
        let running = self.start_at(&mut place).await?;
        match place {
            Place::Memory(InMemory { doors, links }) => Ok((running, doors, links)),
            Place::Sockets => unreachable!("the place was made above"),
        }
    }

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
        let configured = |server: &&Server| {
            self.config
                .servers
                .iter()
                .any(|entry| entry.kind == server.kind)
        };
        let routes = self
            .servers
            .iter()
            .filter(configured)
            .flat_map(Server::routes);
        Dictionary::build(routes, self.config.dictionary.iter().cloned())
    }

    fn protos(&self) -> Result<Protos, StartError> {
        let (server, client) = (&self.config.server_protos, &self.config.client_protos);
        let text = |file: &Option<config::Protos>| {
            file.as_ref()
                .map_or("{}".to_owned(), |file| file.text.clone())
        };
        let files: Vec<_> = [server, client]
            .into_iter()
            .flatten()
            .map(|protos| protos.file.as_str())
            .collect();
        Protos::parse(&text(server), &text(client)).map_err(|source| StartError::Schemas {
            files: files.join(" and "),
            source,
        })
    }

    async fn start_at(self, place: &mut Place) -> Result<Running, StartError> {
        let begun = Instant::now();
        let plan = self.plan()?;
        for warning in &plan.app.config().warnings {
            tracing::warn!("{warning}");
        }
        // All that can go wrong by itself comes first, so that nothing has been seen of us by then.
        let mut listeners = Vec::new();
        for entry in &plan.entries {
            listeners.push(plan.listen(entry, place).await?);
        }
        let metrics = plan.listen_metrics(place).await?;
        let mut missing = Vec::new();
        let mut servers = Vec::new();
        for (entry, listening) in plan.entries.iter().zip(&listeners) {
            let core = plan.core(entry, place).await?;
            core.furnish();
            missing.extend(core.check());
            let handle = ServerHandle(core.clone());
            let components = core
                .definition
                .components
                .iter()
                .map(|make| make(&handle))
                .collect();
            let address = match listening {
                Some(Listening::Socket(hybrid)) => hybrid.local_addr().ok(),
                _ => None,
            };
            let (listening, connections) = (core.tasks.child(), core.tasks.child());
            servers.push(RunningServer {
                core,
                listening,
                connections,
                components,
                address,
            });
        }
        report(missing)?;
        let app = plan.app.clone();
        *super::lock(&app.0.servers) = servers
            .iter()
            .map(|server| ServerHandle(server.core.clone()))
            .collect();
        let components = plan.components.clone();
        let running = Running {
            app,
            servers,
            components,
            links: Tasks::root(),
        };
        if let Err(error) = running.open(&plan, listeners).await {
            running.stop().await;
            return Err(error);
        }
        if let Some(listener) = metrics {
            telemetry::serve(&running.app, listener);
        }
        tracing::info!(servers = running.servers.len(), elapsed = ?begun.elapsed(), "started");
        Ok(running)
    }

    fn plan(self) -> Result<Plan, StartError> {
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
            check_definition(server)?;
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
            telemetry: Telemetry::new(),
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
    async fn core(&self, entry: &config::Server, place: &Place) -> Result<Arc<Core>, StartError> {
        let config = self.app.config();
        let mismatch = |error: &dyn std::fmt::Display| {
            StartError::Mismatch(format!("servers.json: {}: {error}", entry.id))
        };
        let id: ServerId = entry.id.parse().map_err(|error| mismatch(&error))?;
        let kind = self
            .app
            .kind(&entry.kind)
            .map_err(|fault| mismatch(&fault))?
            .clone();
        let definition = self
            .definition(entry)
            .ok_or_else(|| mismatch(&"no such kind"))?
            .clone();
        let mut node = shaddock_cluster::Config::new(id.clone(), kind.clone());
        node.cluster = config
            .cluster
            .name
            .parse()
            .map_err(|error| mismatch(&error))?;
        node.frontend = entry.frontend;
        if let Some(port) = entry.client_port {
            node.meta
                .insert(META_HOST.to_owned(), Value::from(entry.public_host()));
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
        let pusher = Pusher::new(
            caller.clone(),
            self.protos.clone(),
            PushMetrics::new(telemetry, &id),
        );
        let frontend = if definition.frontend {
            Some(Arc::new(Frontend {
                id: id.clone(),
                table: SessionTable::default(),
                directory: node.directory("login").await?,
                pusher: pusher.clone(),
                events: self.app.event_sender().clone(),
                metrics: FrontendMetrics::new(telemetry, &id),
            }))
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
            endpoints: definition.endpoints.iter().cloned().collect(),
            filters: around(&self.filters, &definition.filters),
            remote_filters: around(&self.remote_filters, &definition.remote_filters),
            frontend,
            states: OnceLock::new(),
            remotes: OnceLock::new(),
            lanes: Arc::new(Lanes::new(tasks.clone(), config.requests.lane)),
            oneways: Arc::new(Lanes::new(tasks.clone(), ONE_WAY_CALLS)),
            deadline: config.requests.deadline,
            close_route: format!("{kind}.session.closed")
                .parse()
                .map_err(|error| mismatch(&error))?,
            metrics: ServerMetrics::new(telemetry, &id),
            entry: entry.clone(),
            app: self.app.clone(),
            definition,
            tasks,
            kind,
            id,
        }))
    }

    fn definition(&self, entry: &config::Server) -> Option<&Arc<Server>> {
        self.definitions
            .iter()
            .find(|server| server.kind == entry.kind)
    }

    /// Takes the port of a front-end.
    async fn listen(
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
        let hybrid = HybridConfig {
            origins: options.origins,
            banner: format!(
                "This is {}, a Shaddock server: it speaks pomelo's protocol over WebSocket and TCP.\n",
                entry.id,
            ),
            ..HybridConfig::default()
        };
        match Hybrid::bind(options.listen, hybrid).await {
            Ok(hybrid) => Ok(Some(Listening::Socket(hybrid))),
            Err(source) => Err(StartError::Listen {
                what: entry.id.clone(),
                address: options.listen,
                source,
            }),
        }
    }

    async fn listen_metrics(&self, place: &Place) -> Result<Option<TcpListener>, StartError> {
        let (Place::Sockets, Some(address)) = (place, self.app.config().metrics) else {
            return Ok(None);
        };
        match telemetry::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(source) => Err(StartError::Listen {
                what: "the metrics page".to_owned(),
                address,
                source,
            }),
        }
    }

    /// What the clients of a front-end are told, and held to.
    fn connector(&self, options: &config::Frontend) -> Result<Connector, PackageError> {
        let tables = Tables {
            dictionary: options.use_dict.then(|| self.dictionary.clone()),
            protos: options.use_protobuf.then(|| self.protos.clone()),
        };
        Connector::new(ConnectorConfig {
            heartbeat: options.heartbeat.map(|heartbeat| heartbeat.interval),
            timeout: options.heartbeat.map(|heartbeat| heartbeat.timeout),
            handshake_timeout: options.handshake_timeout,
            limits: Limits {
                before_handshake: options.limits.handshake_package,
                package: options.limits.package,
                ..Limits::default()
            },
            tables: Arc::new(tables),
        })
    }
}

/// How many one-way calls of one server may wait.
const ONE_WAY_CALLS: usize = 65_536;

fn report(missing: Vec<String>) -> Result<(), StartError> {
    if missing.is_empty() {
        Ok(())
    } else {
        Err(StartError::Missing(missing))
    }
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
                let ids: Vec<_> = config
                    .servers
                    .iter()
                    .map(|entry| entry.id.as_str())
                    .collect();
                let ids = ids.join(", ");
                Err(StartError::Mismatch(format!(
                    "servers.json has no server {id}; it has {ids}"
                )))
            }
        })
        .collect()
}

/// Whether the application knows what a server of the configuration is to do.
fn check_entry(entry: &config::Server, definitions: &[Server]) -> Result<(), StartError> {
    let (id, kind) = (&entry.id, &entry.kind);
    let Some(definition) = definitions.iter().find(|server| server.kind == *kind) else {
        let kinds: Vec<_> = definitions
            .iter()
            .map(|server| server.kind.as_str())
            .collect();
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
fn check_definition(server: &Server) -> Result<(), StartError> {
    let mut routes: Vec<String> = server.routes().collect();
    for route in &routes {
        if let Err(error) = route.parse::<shaddock_protocol::Route>() {
            return Err(StartError::Mismatch(format!(
                "no client can ask {route}: {error}"
            )));
        }
    }
    routes.sort();
    if let Some(twice) = routes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StartError::Mismatch(format!(
            "{} has two handlers",
            twice[0]
        )));
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

impl Running {
    /// The application, as its parts see it.
    pub fn app(&self) -> &AppHandle {
        &self.app
    }

    /// Where the front-ends of this process listen.
    pub fn addresses(&self) -> impl Iterator<Item = (&ServerId, SocketAddr)> {
        self.servers
            .iter()
            .filter_map(|server| Some((&server.core.id, server.address?)))
    }

    /// Resolves when somebody asks the application to stop. Then call [`stop`](Running::stop).
    pub async fn stopping(&self) {
        self.app.0.stopping.cancelled().await;
    }

    /// Stops in order: front-ends with all that their clients have under way, back-ends, components
    /// in reverse, and at last the link to the others. What has not ended when the deadline of
    /// `[stop]` has passed is dropped. Says whether everything ended by itself.
    pub async fn stop(&self) -> bool {
        self.app.stop();
        let deadline = Instant::now() + self.app.config().stop.deadline;
        let left = || deadline.saturating_duration_since(Instant::now());
        let all = || {
            self.components
                .iter()
                .chain(self.servers.iter().flat_map(|server| &server.components))
        };
        for component in all() {
            let _ = tokio::time::timeout(left(), component.before_stop(&self.app)).await;
        }
        let (front, back): (Vec<_>, Vec<_>) = self
            .servers
            .iter()
            .partition(|server| server.core.frontend.is_some());
        for server in &front {
            server.core.router.caller().node().set_leaving();
        }
        let mut clean = true;
        for server in &front {
            clean &= server.listening.finish(left()).await;
        }
        let connections = front.iter().map(|server| server.connections.finish(left()));
        clean &= futures_util::future::join_all(connections)
            .await
            .into_iter()
            .all(|ended| ended);
        for server in front.into_iter().chain(back) {
            clean &= server.core.tasks.finish(left()).await;
        }
        let components: Vec<_> = all().collect();
        for component in components.into_iter().rev() {
            let _ = tokio::time::timeout(left(), component.stop(&self.app)).await;
        }
        clean &= self.app.tasks().finish(left()).await;
        for server in &self.servers {
            let _ = tokio::time::timeout(
                left().max(LAST_WORD),
                server.core.router.caller().node().leave(),
            )
            .await;
        }
        clean
    }

    /// Components first, then into the cluster, then the doors.
    async fn open(&self, plan: &Plan, listeners: Vec<Option<Listening>>) -> Result<(), StartError> {
        let all = || {
            self.components
                .iter()
                .chain(self.servers.iter().flat_map(|server| &server.components))
        };
        let failed = |component: &Arc<dyn DynComponent>, fault| StartError::Component {
            name: component.name(),
            fault,
        };
        for component in all() {
            component
                .start(&self.app)
                .await
                .map_err(|fault| failed(component, fault))?;
        }
        for server in &self.servers {
            let core = &server.core;
            let inbox = Arc::new(Inbox(core.clone()));
            let entered = core
                .router
                .caller()
                .node()
                .enter(inbox, |work| self.links.run("link", work));
            entered.await.map_err(|source| StartError::Join {
                id: core.id.clone(),
                source,
            })?;
        }
        for (server, listening) in self.servers.iter().zip(listeners) {
            let core = &server.core;
            let (Some(frontend), Some(listening)) = (&core.frontend, listening) else {
                continue;
            };
            let options = self.app.config().frontend(&core.entry)?;
            let connector = plan.connector(&options)?;
            let door = Door::new(
                core.clone(),
                frontend.clone(),
                connector,
                options,
                server.connections.clone(),
            );
            match listening {
                Listening::Socket(hybrid) => Arc::new(door).open(&server.listening, hybrid),
                Listening::Memory(listener) => Arc::new(door).open(&server.listening, listener),
            }
        }
        for component in all() {
            component
                .after_start(&self.app)
                .await
                .map_err(|fault| failed(component, fault))?;
        }
        Ok(())
    }
}

/// How long leaving the cluster may take even when the deadline has passed.
const LAST_WORD: Duration = Duration::from_millis(100);
