//! What all servers of an application are made from, and whether it makes sense.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use rustc_hash::FxHashMap;
use serde_json::Value;
use shaddock_cluster::memory::Memory;
use shaddock_cluster::{Engine, Node};
use shaddock_transport::AccessList;
use shaddock_transport::memory::MemoryConnector;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tables::Tables;
use super::{App, AppHandle, RouteInfo, Shared, StartError, lock};
use crate::admin::{self, Operators};
use crate::channel::push::Pusher;
use crate::channel::{Channel, Channels, OnLost};
use crate::cluster::{META_HOST, META_PORT};
use crate::component::DynComponent;
use crate::config::{self, Config};
use crate::connector::{Fitted, Listening, Site, built_in};
use crate::cron::{self, Clock, Crons, Timetable};
use crate::group::table::Memberships;
use crate::handler::filter::{Around, Filters};
use crate::handover::Handover;
use crate::ids::{Kind, Member, ServerId};
use crate::router::{Router, Rule, Rules};
use crate::rpc::caller::Caller;
use crate::running::Core;
use crate::server::Server;
use crate::session::lane::Lanes;
use crate::session::record::Frontend;
use crate::session::table::SessionTable;
use crate::tasks::{Tasks, guarded};
use crate::telemetry::{self, FrontendMetrics, PushMetrics, Seldom, ServerMetrics, Telemetry};

/// How many events an application's listeners may fall behind.
const EVENTS: usize = 1024;

/// How many claims on uids a front-end makes anew at once, or gives back.
const CONFIRMING: usize = 64;

/// How many bytes a connection in memory holds each way.
const MEMORY_CAPACITY: usize = 64 * 1024;

/// What all servers of an application are made from.
pub(super) struct Plan {
    pub(super) app: AppHandle,
    pub(super) engine: Arc<dyn Engine>,
    /// Whether somebody said how servers reach each other.
    has_cluster: bool,
    rules: Arc<Rules>,
    definitions: Vec<Arc<Server>>,
    filters: Vec<Arc<dyn Around>>,
    remote_filters: Vec<Arc<dyn Around>>,
    pub(super) entries: Vec<config::Server>,
    pub(super) components: Vec<Arc<dyn DynComponent>>,
}

/// Where an application runs.
#[derive(Debug)]
pub(super) enum Place {
    Sockets,
    /// In tests: to each front-end a way in, to each server a link that can be cut.
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "made by the testing kit"))]
    Memory(InMemory),
}

impl Place {
    pub(super) fn clock(&self) -> Clock {
        match self {
            Place::Sockets => Clock::Machine,
            Place::Memory(_) => Clock::Since(Instant::now()),
        }
    }
}

/// The ways into an application in memory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct InMemory {
    /// Any link, to make more.
    hub: Arc<Memory>,
    doors: Arc<Mutex<HashMap<String, MemoryConnector>>>,
    links: Arc<Mutex<HashMap<String, Arc<Memory>>>>,
}

#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "used by the testing kit"))]
impl InMemory {
    /// One whose `servers` reach each other over what `hub` is connected to: each has its link from the
    /// start, so that a seed brings the same weather whatever comes later.
    pub(crate) fn new(hub: &Memory, servers: &[config::Server]) -> InMemory {
        let link = |server: &config::Server| (server.id.clone(), hub.connect());
        let links: HashMap<_, _> = servers.iter().map(link).collect();
        let hub = links.values().next().cloned().unwrap_or_else(|| hub.connect());
        InMemory { hub, doors: Arc::default(), links: Arc::new(Mutex::new(links)) }
    }

    /// The link of a server to the others: always the same one.
    pub(crate) fn link(&self, server: &str) -> Arc<Memory> {
        let connect = || self.hub.connect();
        lock(&self.links).entry(server.to_owned()).or_insert_with(connect).clone()
    }

    /// The way to the clients' side of a front-end that listens.
    pub(crate) fn door(&self, frontend: &str) -> Option<MemoryConnector> {
        lock(&self.doors).get(frontend).cloned()
    }
}

/// A front-end that has its address, and lets nobody in yet.
pub(super) struct FrontDoor {
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "for its certificates"))]
    pub(super) connector: Fitted,
    pub(super) options: config::Frontend,
    pub(super) listening: Listening,
}

impl App {
    /// Looks whether it would start, without listening anywhere.
    ///
    /// # Errors
    ///
    /// As [`start`](App::start), but for addresses that are taken.
    pub async fn check(self) -> Result<(), StartError> {
        let plan = self.plan(Clock::Machine)?;
        let mut missing = Vec::new();
        for entry in &plan.entries {
            let core = plan.core(entry, &Place::Sockets).await?;
            core.furnish();
            missing.extend(core.check());
            if entry.frontend {
                plan.connector(entry, &plan.app.config().frontend(entry)?)?;
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
        let tables = Tables::new(&self.config, &self.servers)?;
        let (dictionary, protos) = (tables.dictionary(), tables.protos());
        let handlers: HashMap<String, &str> =
            self.servers.iter().flat_map(Server::handlers).collect();
        let mut all: Vec<String> = handlers.keys().cloned().collect();
        all.extend(self.config.tables.dictionary.iter().cloned());
        all.extend(protos.routes().map(str::to_owned));
        all.sort();
        all.dedup();
        let info = |route: String| RouteInfo {
            code: dictionary.code(&route),
            handler: handlers.get(&route).map(|name| readable(name)),
            client_schema: protos.client(&route).is_some(),
            server_schema: protos.server(&route).is_some(),
            route,
        };
        Ok(all.into_iter().map(info).collect())
    }

    pub(super) fn plan(self, clock: Clock) -> Result<Plan, StartError> {
        let tables = Arc::new(Tables::new(&self.config, &self.servers)?);
        let mut kinds = FxHashMap::default();
        let mut frontend_kinds = Vec::new();
        let mut rules = Rules::default();
        for server in &self.servers {
            let kind: Kind = server.kind.parse().map_err(|error| {
                StartError::Mismatch(format!(
                    "no kind of server can be called {:?}: {error}",
                    server.kind
                ))
            })?;
            if server.kind == admin::KIND {
                return Err(StartError::Mismatch(format!(
                    "no kind of server can be called {kind:?}: that is what those are called who look after servers"
                )));
            }
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
                rules.of_kind.insert(kind.clone(), rule.clone());
            }
            if server.on_handover.is_some() {
                rules.handing.insert(kind);
            }
        }
        let entries = chosen(&self.config, self.only.as_deref())?;
        for entry in &self.config.servers {
            check_entry(entry, self.servers.iter())?;
        }
        for cron in &self.config.crons {
            check_cron(cron, &self.servers)?;
        }
        let has_cluster = self.engine.is_some();
        let engine = self.engine.unwrap_or_else(|| Memory::new());
        let tasks = Tasks::root();
        let app = AppHandle(Arc::new(Shared {
            operators: Operators::new(&self.config, &tasks),
            config: self.config,
            tables,
            kinds,
            frontend_kinds,
            states: self.states,
            on_error: self.on_error,
            tasks,
            stopping: CancellationToken::new(),
            killed: CancellationToken::new(),
            runner: OnceLock::new(),
            telemetry: Telemetry::default(),
            clock,
            events: broadcast::Sender::new(EVENTS),
            servers: std::sync::Mutex::default(),
            announcements: std::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
        }));
        Ok(Plan {
            app,
            engine,
            has_cluster,
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
            Place::Memory(memory) => memory.link(&entry.id),
            Place::Sockets => self.engine.clone(),
        };
        let node = Node::new(engine, node);
        let tasks = self.app.tasks().child();
        let work = tasks.child();
        let telemetry = self.app.telemetry();
        let caller = Caller::new(node.clone(), config.remotes.deadline);
        let (tables, metrics) = (self.app.tables().clone(), PushMetrics::new(telemetry, &id));
        let pusher = Pusher::new(caller.clone(), tables, metrics);
        let frontend = if definition.frontend {
            let options = config.frontend(entry)?;
            let access = AccessList::default();
            access.set(options.deny, options.allow);
            let frontend = Arc::new(Frontend {
                id: id.clone(),
                table: SessionTable::default(),
                groups: Memberships::default(),
                directory: node.directory("login").await?,
                pusher: pusher.clone(),
                events: self.app.event_sender().clone(),
                tasks: tasks.clone(),
                confirming: Arc::new(Semaphore::new(CONFIRMING)),
                following: self.app.kinds().map(|kind| (kind.clone(), tasks.child())).collect(),
                metrics: FrontendMetrics::new(telemetry, &id),
                seldom: Seldom::default(),
                access,
                losses: OnceLock::new(),
            });
            let own: Weak<Frontend> = Arc::downgrade(&frontend);
            pusher.deliver_own(own);
            Some(frontend)
        } else {
            None
        };
        let metrics = ServerMetrics::new(telemetry, &id);
        let around = |outer: &[Arc<dyn Around>], inner: &[Arc<dyn Around>]| -> Filters {
            outer.iter().chain(inner).cloned().collect()
        };
        let core = Arc::new(Core {
            channels: Channels::new(
                pusher.clone(),
                tasks.clone(),
                on_lost(&id, &definition, &metrics),
            ),
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
            lanes: Arc::new(Lanes::new(work.clone(), config.requests.lane)),
            oneways: Arc::new(Lanes::new(tasks.clone(), ONE_WAY_CALLS)),
            work,
            under_way: TaskTracker::new(),
            began: Instant::now(),
            handover: Handover::default(),
            patience: config.requests.deadline,
            close_route: format!("{kind}.session.closed")
                .parse()
                .map_err(|error| mismatch(&error))?,
            timetable: Timetable::new(tasks.child()),
            metrics,
            seldom: Seldom::default(),
            entry: entry.clone(),
            app: self.app.clone(),
            definition,
            tasks,
            kind,
            id,
        });
        let runs = |cron: &&config::Cron| {
            cron.kind == entry.kind && cron.server.as_ref().is_none_or(|id| *id == entry.id)
        };
        for cron in config.crons.iter().filter(runs) {
            let added = Crons(core.clone()).add(cron.job.clone());
            added.map_err(|error| StartError::Mismatch(format!("{}: {error}", cron.place)))?;
        }
        Ok(core)
    }

    /// Whether there are servers that run elsewhere.
    fn is_part(&self) -> bool {
        self.entries.len() < self.app.config().servers.len()
    }

    /// What to say of the servers that those of this process can't reach, if there are any.
    pub(super) fn out_of_reach(&self, place: &Place) -> Option<String> {
        let own = |id: &str| self.entries.iter().any(|entry| entry.id == id);
        let all = &self.app.config().servers;
        let others: Vec<&str> =
            all.iter().map(|server| server.id.as_str()).filter(|id| !own(id)).collect();
        let is_alone = !self.has_cluster && matches!(place, Place::Sockets);
        (is_alone && !others.is_empty()).then(|| {
            format!(
                "there is no way to {}: servers in several processes need a broker (`--cluster URL`, or `urls` in [cluster] of shaddock.toml)",
                others.join(", "),
            )
        })
    }

    /// Whether an entry that was not in servers.json at the start can be run.
    pub(super) fn check(&self, entry: &config::Server) -> Result<(), StartError> {
        check_entry(entry, self.definitions.iter().map(Arc::as_ref))
    }

    fn definition(&self, entry: &config::Server) -> Option<&Arc<Server>> {
        self.definitions.iter().find(|server| server.kind == entry.kind)
    }

    /// How the clients of a front-end reach it, and what they say.
    pub(super) fn connector(
        &self,
        entry: &config::Server,
        options: &config::Frontend,
    ) -> Result<Fitted, StartError> {
        let mismatch = |reason: String| {
            Err(StartError::Mismatch(format!("shaddock.toml, for {}: {reason}", entry.id)))
        };
        if let config::Connector::Mqtt { publish, subscribe, .. } = &options.connector {
            for route in [publish, subscribe] {
                let mut routes = self.definitions.iter().flat_map(|server| server.routes());
                if !routes.any(|handled| handled == route.as_str()) {
                    return mismatch(format!("there is no handler for {route}"));
                }
            }
        }
        let site = Site::new(entry, options, self.app.tables());
        match self.definition(entry).and_then(|server| server.connector.as_ref()) {
            Some(_) if options.connector != config::Connector::Hybrid => mismatch(format!(
                "there is a `connector`, and the application has its own for servers of kind {}",
                entry.kind,
            )),
            Some(make) => make(&site),
            None => built_in(&site),
        }
    }

    /// Takes the address of a front-end.
    pub(super) async fn door(
        &self,
        entry: &config::Server,
        place: &Place,
    ) -> Result<Option<FrontDoor>, StartError> {
        if !entry.frontend {
            return Ok(None);
        }
        let options = self.app.config().frontend(entry)?;
        let connector = self.connector(entry, &options)?;
        let listening = if let Place::Memory(memory) = place {
            let (listener, door) = shaddock_transport::memory::listen(MEMORY_CAPACITY);
            lock(&memory.doors).insert(entry.id.clone(), door);
            connector.listen_in(listener)
        } else {
            connector.listen().await.map_err(|source| StartError::Listen {
                what: entry.id.clone(),
                address: options.listen,
                source,
            })?
        };
        Ok(Some(FrontDoor { connector, options, listening }))
    }

    pub(super) async fn listen_metrics(
        &self,
        place: &Place,
    ) -> Result<Option<TcpListener>, StartError> {
        let (Place::Sockets, Some(address)) = (place, self.app.config().metrics) else {
            return Ok(None);
        };
        let bound = match telemetry::bind(address).await {
            // Another process has the other servers, and was faster.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.is_part() => {
                telemetry::bind(SocketAddr::new(address.ip(), 0)).await
            }
            bound => bound,
        };
        let refused =
            |source| StartError::Listen { what: "the metrics page".to_owned(), address, source };
        bound.map(Some).map_err(refused)
    }
}

/// The name of a function as a person would say it.
fn readable(name: &str) -> String {
    match name.strip_suffix("::{{closure}}") {
        Some(place) => format!("a closure in {}", place.replace("::{{closure}}", "")),
        None => name.to_owned(),
    }
}

/// How many one-way calls of one server may wait.
const ONE_WAY_CALLS: usize = 65_536;

/// What a server does for members that are taken out of its channels.
fn on_lost(id: &ServerId, definition: &Arc<Server>, metrics: &ServerMetrics) -> Box<OnLost> {
    let (id, definition, lost) = (id.clone(), definition.clone(), metrics.lost_members.clone());
    Box::new(move |channel: Channel, member: Member| {
        lost.increment(1);
        tracing::info!(server = %id, channel = channel.name(), %member, "a member was lost");
        if let Some(hook) = &definition.on_lost_member {
            guarded("on_lost_member", || hook(channel, member));
        }
    })
}

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
fn check_entry<'a>(
    entry: &config::Server,
    definitions: impl Iterator<Item = &'a Server> + Clone,
) -> Result<(), StartError> {
    let (id, kind) = (&entry.id, &entry.kind);
    let Some(definition) = definitions.clone().find(|server| server.kind == *kind) else {
        let kinds: Vec<_> = definitions.map(|server| server.kind.as_str()).collect();
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

/// Whether the application knows what a job of the configuration is to run.
fn check_cron(entry: &config::Cron, definitions: &[Server]) -> Result<(), StartError> {
    let config::Cron { place, kind, job, .. } = entry;
    let definition = definitions.iter().find(|server| server.kind == *kind);
    let actions = || definition.iter().flat_map(|server| &server.crons).map(|(action, _)| action);
    if actions().any(|action| *action == job.action) {
        return Ok(());
    }
    let known = cron::known(actions().map(String::as_str));
    Err(StartError::Mismatch(format!(
        "{place}: servers of kind {kind} have no cron `{}`; {known}",
        job.action,
    )))
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
    let mut actions: Vec<_> = server.crons.iter().map(|(action, _)| action).collect();
    actions.sort();
    if let Some(twice) = actions.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} have the cron {} twice",
            server.kind, twice[0],
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
    if server.frontend && server.on_handover.is_some() {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} are front-ends and own no keys, so `on_handover` would never run there",
            server.kind,
        )));
    }
    if server.on_handover.is_some() && matches!(server.rule, Some(Rule::Choose(_))) {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} are chosen by `route_with` and own no keys: give them `route_by`, or no `on_handover`",
            server.kind,
        )));
    }
    if !server.frontend && server.connector.is_some() {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} are back-ends, so no client would ever use their connector",
            server.kind,
        )));
    }
    if !server.frontend && (server.on_close.is_some() || !server.on_moved.is_empty()) {
        return Err(StartError::Mismatch(format!(
            "servers of kind {} hold no sessions, so `on_close` and `on_moved` would never run there",
            server.kind,
        )));
    }
    Ok(())
}
