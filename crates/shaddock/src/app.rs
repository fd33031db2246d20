//! From a configuration to running servers, and to a clean stop: `App`.

mod error;
mod plan;
mod start;
mod stop;
mod tables;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustc_hash::FxHashMap;
use shaddock_cluster::{Boot, Engine, Member};
use shaddock_protocol::Route;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::admin::Operators;
use crate::component::{Component, DynComponent};
use crate::config::{self, Config};
use crate::cron::Clock;
use crate::error::{Fault, Result};
use crate::handler::filter::{Around, Filter};
use crate::ids::{Kind, ServerId, Uid};
use crate::server::{AnyState, Server, ServerHandle};
use crate::session::Session;
use crate::tasks::{Tasks, guarded};
use crate::telemetry::Telemetry;

pub use error::StartError;
#[cfg(feature = "testing")]
pub(crate) use plan::InMemory;
use start::Runner;
pub use start::Running;
pub(crate) use tables::Tables;
pub use tables::TablesError;

/// An application: its kinds of server, and what they share.
///
/// Nothing is global: several may run in one process.
///
/// # Examples
///
/// ```no_run
/// use shaddock::{App, Config, Msg, Result, Server};
///
/// async fn echo(Msg(message): Msg<serde_json::Value>) -> Result<serde_json::Value> {
///     Ok(message)
/// }
///
/// # async fn run(config: Config) -> Result<()> {
/// let app = App::new(config).server(Server::frontend("connector").on("entryHandler.echo", echo));
/// let running = app.start().await?;
/// running.stop().await;
/// # Ok(()) }
/// ```
pub struct App {
    pub(crate) config: Config,
    pub(crate) servers: Vec<Server>,
    states: FxHashMap<TypeId, AnyState>,
    components: Vec<Arc<dyn DynComponent>>,
    filters: Vec<Arc<dyn Around>>,
    remote_filters: Vec<Arc<dyn Around>>,
    on_error: Option<OnError>,
    engine: Option<Arc<dyn Engine>>,
    only: Option<Vec<String>>,
}

type OnError = Arc<dyn Fn(Fault, &Failed<'_>) -> Fault + Send + Sync>;

/// A route that clients may ask, or are pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteInfo {
    /// The route.
    pub route: String,
    /// Its code in the dictionary, if it has one.
    pub code: Option<u16>,
    /// What answers it, the path of a function or where a closure is; without it, the route is for pushes.
    pub handler: Option<String>,
    /// Whether what clients send has a schema.
    pub client_schema: bool,
    /// Whether what servers send has a schema.
    pub server_schema: bool,
}

/// What failed, for an application's error handler.
#[derive(Debug)]
pub struct Failed<'a> {
    /// What was asked.
    pub route: &'a Route,
    /// Who asked.
    pub session: Option<&'a Session>,
}

/// What happens in an application, for those who listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AppEvent {
    /// A server is in the cluster.
    ServerAdded {
        /// Which.
        id: ServerId,
        /// Its kind.
        kind: Kind,
    },
    /// A server has left the cluster, or died.
    ServerRemoved {
        /// Which.
        id: ServerId,
        /// Its kind.
        kind: Kind,
    },
    /// A session of this process's has a user.
    SessionBound {
        /// Which.
        session: Session,
        /// Whose it is.
        uid: Uid,
    },
    /// A session of this process's has no user any more.
    SessionUnbound {
        /// Which.
        session: Session,
        /// Whose it was.
        uid: Uid,
    },
    /// A session of this process's has ended, and its close hook has run.
    SessionClosed {
        /// Which.
        session: Session,
    },
}

impl App {
    /// An application that has no servers yet.
    pub fn new(config: Config) -> App {
        App {
            config,
            servers: Vec::new(),
            states: FxHashMap::default(),
            components: Vec::new(),
            filters: Vec::new(),
            remote_filters: Vec::new(),
            on_error: None,
            engine: None,
            only: None,
        }
    }

    /// What it was configured with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Says what the servers of one kind do.
    #[must_use]
    pub fn server(mut self, server: Server) -> App {
        self.servers.push(server);
        self
    }

    /// Puts in what all servers share, for [`State<T>`](crate::State).
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> App {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// Adds a component.
    #[must_use]
    pub fn component(mut self, component: impl Component) -> App {
        self.components.push(Arc::new(component));
        self
    }

    /// Puts a filter around all handlers, outside of those of their kind. The first is the outermost.
    ///
    /// It runs where the handler runs.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter) -> App {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Puts a filter around all remotes, outside of those of their kind. The first is the outermost.
    #[must_use]
    pub fn remote_filter(mut self, filter: impl Filter) -> App {
        self.remote_filters.push(Arc::new(filter));
        self
    }

    /// Sees every fault of a request before it is logged and the client is answered; what it
    /// returns is what the client gets. It must not block: where another server answered with the fault, it runs where
    /// all that others send is read.
    #[must_use]
    pub fn on_error(
        mut self,
        on_error: impl Fn(Fault, &Failed<'_>) -> Fault + Send + Sync + 'static,
    ) -> App {
        self.on_error = Some(Arc::new(on_error));
        self
    }

    /// Says how servers reach each other. Without this they can in this process alone.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> App {
        self.engine = Some(engine);
        self
    }

    /// Runs only these servers of the configuration in this process.
    #[must_use]
    pub fn only(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> App {
        self.only = Some(ids.into_iter().map(Into::into).collect());
        self
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// A running application, as its parts see it. Cheap to clone.
#[derive(Clone)]
pub struct AppHandle(Arc<Shared>);

struct Shared {
    config: Config,
    tables: Arc<Tables>,
    /// Every kind of the application, by name.
    kinds: FxHashMap<String, Kind>,
    frontend_kinds: Vec<Kind>,
    states: FxHashMap<TypeId, AnyState>,
    on_error: Option<OnError>,
    tasks: Tasks,
    /// Somebody wants the application to stop; the tasks are stopped in order, and later.
    stopping: CancellationToken,
    /// Somebody wants the process to end, at once.
    killed: CancellationToken,
    /// What the servers are started and stopped by, set once.
    runner: OnceLock<Weak<Runner>>,
    operators: Operators,
    telemetry: Telemetry,
    clock: Clock,
    events: broadcast::Sender<AppEvent>,
    servers: Mutex<Vec<ServerHandle>>,
    announcements: Mutex<Vec<String>>,
    /// The servers that were announced, for each of ours hears of them by itself.
    seen: Mutex<FxHashMap<ServerId, Boot>>,
}

impl AppHandle {
    /// What the application was configured with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What was put in with [`App::state`].
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let state: Arc<dyn Any + Send + Sync> = self.0.states.get(&TypeId::of::<T>())?.clone();
        state.downcast().ok()
    }

    /// The tasks of the application, which stop after all servers have.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// The servers that run in this process.
    pub fn servers(&self) -> Vec<ServerHandle> {
        lock(&self.0.servers).clone()
    }

    /// What happens from now on. Who falls behind by 1,024 events misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<AppEvent> {
        self.0.events.subscribe()
    }

    /// Whether the application is stopping.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.is_cancelled()
    }

    /// Reads `dictionary.json`, `clientProtos.json` and `serverProtos.json` again, and says whether that gave clients
    /// who come from now on anything new. Those who are connected keep what they were given. Blocks while it reads.
    ///
    /// The files are looked at every two seconds anyway. Where they are built into the program, nothing is new.
    ///
    /// # Errors
    ///
    /// If a file is wrong, or gone: all stays as it was.
    pub fn reload_tables(&self) -> Result<bool, TablesError> {
        match self.0.config.read_tables()? {
            Some(files) => self.0.tables.replace(&files),
            None => Ok(false),
        }
    }

    /// Has a line shown to whoever started the application, such as an address to open.
    pub fn announce(&self, line: impl Into<String>) {
        lock(&self.0.announcements).push(line.into());
    }

    /// What was announced so far.
    pub fn announcements(&self) -> Vec<String> {
        lock(&self.0.announcements).clone()
    }

    /// Asks the application to stop. Whoever runs it does so in order.
    pub fn stop(&self) {
        self.0.stopping.cancel();
    }

    /// Starts one more server in this process: an entry of servers.json that does not run yet, or one of
    /// [`Server::from_json`](crate::config::Server::from_json).
    ///
    /// When it returns the others in the cluster know the server, and clients can connect.
    ///
    /// # Errors
    ///
    /// As [`App::start`], and if a server of this id runs already or the application is stopping.
    pub async fn add_server(&self, entry: config::Server) -> Result<(), StartError> {
        self.runner()?.add(entry).await
    }

    /// Stops one server of this process in order, as [`Running::stop`] does all of them, and says whether
    /// everything of it ended by itself.
    ///
    /// If it is the only one left, the application is asked to stop instead, and this returns at once.
    ///
    /// # Errors
    ///
    /// If no such server runs in this process.
    pub async fn stop_server(&self, id: &ServerId) -> Result<bool, StartError> {
        self.runner()?.stop_one(id).await
    }

    /// Stops one server of this process in order, and starts it again from the same entry.
    ///
    /// # Errors
    ///
    /// If no such server runs in this process, and as [`add_server`](AppHandle::add_server).
    pub async fn restart_server(&self, id: &ServerId) -> Result<(), StartError> {
        self.runner()?.restart(id).await
    }

    /// Asks whoever runs the application to end the process at once, with whatever is under way.
    pub fn kill(&self) {
        self.0.killed.cancel();
    }

    fn runner(&self) -> Result<Arc<Runner>, StartError> {
        let runner = self.0.runner.get().and_then(Weak::upgrade);
        runner.filter(|_| !self.is_stopping()).ok_or(StartError::Stopping)
    }

    pub(crate) fn operators(&self) -> &Operators {
        &self.0.operators
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.0.telemetry
    }

    pub(crate) fn tables(&self) -> &Arc<Tables> {
        &self.0.tables
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn has_kind(&self, kind: &str) -> bool {
        self.0.kinds.contains_key(kind)
    }

    pub(crate) fn kind(&self, kind: &str) -> Result<&Kind> {
        match self.0.kinds.get(kind) {
            Some(kind) => Ok(kind),
            None => Err(Fault::new(
                Fault::INTERNAL,
                format!("there is no kind of server called {kind}"),
            )),
        }
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.0.kinds.values()
    }

    pub(crate) fn is_frontend(&self, kind: &Kind) -> bool {
        self.0.frontend_kinds.contains(kind)
    }

    pub(crate) fn event_sender(&self) -> &broadcast::Sender<AppEvent> {
        &self.0.events
    }

    pub(crate) fn on_error(&self, fault: Fault, route: &Route, session: Option<&Session>) -> Fault {
        match &self.0.on_error {
            Some(on_error) => guarded("on_error", || on_error(fault, &Failed { route, session }))
                .unwrap_or_else(|| Fault::internal("the error handler panicked")),
            None => fault,
        }
    }

    /// One of our servers sees a member of the cluster.
    pub(crate) fn saw(&self, member: &Member) {
        if lock(&self.0.seen).insert(member.id.clone(), member.boot) != Some(member.boot) {
            let _ = self
                .0
                .events
                .send(AppEvent::ServerAdded { id: member.id.clone(), kind: member.kind.clone() });
        }
    }

    /// One of our servers sees a member no more.
    pub(crate) fn missed(&self, member: &Member) {
        let mut seen = lock(&self.0.seen);
        if seen.get(&member.id) == Some(&member.boot) {
            seen.remove(&member.id);
            let _ = self
                .0
                .events
                .send(AppEvent::ServerRemoved { id: member.id.clone(), kind: member.kind.clone() });
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for AppHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppHandle")
            .field("environment", &self.0.config.environment)
            .finish_non_exhaustive()
    }
}
