//! Starting an application, and more servers of it while it runs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shaddock_cluster::Node;
use tokio::time::{Instant, interval_at, timeout};

#[cfg(feature = "testing")]
use super::plan::InMemory;
use super::plan::{FrontDoor, Place, Plan, report};
use super::{App, AppHandle, StartError, lock};
use crate::census;
use crate::component::DynComponent;
use crate::config;
use crate::error::Fault;
use crate::frontend::Premises;
use crate::handover;
use crate::ids::ServerId;
use crate::running::{Core, Inbox};
use crate::server::ServerHandle;
use crate::tasks::Tasks;
use crate::telemetry;

/// An application that runs.
#[derive(Debug)]
pub struct Running {
    pub(super) runner: Arc<Runner>,
    metrics: Option<SocketAddr>,
}

/// What starts the servers of an application, and stops them.
pub(super) struct Runner {
    pub(super) plan: Plan,
    place: Place,
    pub(super) servers: Mutex<Vec<Arc<RunningServer>>>,
    /// The components that have started, in that order.
    pub(super) started: Mutex<Vec<Started>>,
    /// What ties the servers into the cluster, and ends when they leave it.
    links: Tasks,
    /// One server is added at a time, so that none is added twice.
    adding: tokio::sync::Mutex<()>,
    /// Nothing runs any more, for the last server could not be started again.
    pub(super) has_failed: AtomicBool,
}

/// A component that has started, and the server that it is of, if it is not the application's.
pub(super) type Started = (Option<ServerId>, Arc<dyn DynComponent>);

#[derive(Debug)]
pub(super) struct RunningServer {
    pub(super) core: Arc<Core>,
    pub(super) listening: Tasks,
    pub(super) connections: Tasks,
    pub(super) lingering: Tasks,
    components: Vec<Arc<dyn DynComponent>>,
    address: Option<SocketAddr>,
}

/// A server that nobody has seen yet, and the address that it took.
type Prepared = (Arc<RunningServer>, Option<FrontDoor>);

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
        self.start_at(Place::Sockets).await
    }

    /// Starts it in memory.
    #[cfg(feature = "testing")]
    pub(crate) async fn start_in_memory(self, memory: InMemory) -> Result<Running, StartError> {
        self.start_at(Place::Memory(memory)).await
    }

    async fn start_at(self, place: Place) -> Result<Running, StartError> {
        let begun = Instant::now();
        let plan = self.plan(place.clock())?;
        for warning in plan.app.config().warnings.iter().chain(&plan.out_of_reach(&place)) {
            tracing::warn!("{warning}");
        }
        let runner = Arc::new(Runner {
            plan,
            place,
            servers: Mutex::default(),
            started: Mutex::default(),
            links: Tasks::root(),
            adding: tokio::sync::Mutex::default(),
            has_failed: AtomicBool::new(false),
        });
        let app = runner.app();
        // Set once, here.
        let _ = app.0.runner.set(Arc::downgrade(&runner));
        // All that can go wrong by itself comes first, so that nothing has been seen of us by then.
        let metrics = runner.plan.listen_metrics(&runner.place).await?;
        let servers = runner.prepare(&runner.plan.entries).await?;
        let count = servers.len();
        let address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
        let running = Running { runner: runner.clone(), metrics: address };
        if let Err(error) = runner.open(servers, &runner.plan.components).await {
            running.stop().await;
            return Err(error);
        }
        if let Some(listener) = metrics {
            telemetry::serve(app, listener);
        }
        if app.config().can_change() {
            watch_tables(app);
        }
        tracing::info!(servers = count, elapsed = ?begun.elapsed(), "started");
        Ok(running)
    }
}

impl Running {
    /// The application, as its parts see it.
    pub fn app(&self) -> &AppHandle {
        self.runner.app()
    }

    /// Where the front-ends of this process listen.
    pub fn addresses(&self) -> impl Iterator<Item = (ServerId, SocketAddr)> {
        let servers = lock(&self.runner.servers).clone();
        servers.into_iter().filter_map(|server| Some((server.core.id.clone(), server.address?)))
    }

    /// Where `/metrics` and `/health` are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Resolves when somebody asks the application to stop. Then call [`stop`](Running::stop).
    pub async fn stopping(&self) {
        self.app().0.stopping.cancelled().await;
    }

    /// Whether it is asked to stop since its only server was to start again and could not, as the log says.
    pub fn has_failed(&self) -> bool {
        self.runner.has_failed.load(Ordering::Relaxed)
    }

    /// Resolves when somebody asks for the end of the process at once: see [`AppHandle::kill`]. What was said to
    /// other servers before, such as to the operator who asked, has left the process then.
    pub async fn killed(&self) {
        self.app().0.killed.cancelled().await;
        let _ = timeout(LAST_ANSWER, self.runner.plan.engine.flush()).await;
    }
}

impl Runner {
    pub(super) fn app(&self) -> &AppHandle {
        &self.plan.app
    }

    /// Starts one more server.
    pub(super) async fn add(&self, entry: config::Server) -> Result<(), StartError> {
        let _adding = self.adding.lock().await;
        self.plan.check(&entry)?;
        if lock(&self.servers).iter().any(|server| server.core.entry.id == entry.id) {
            return Err(StartError::Runs { id: entry.id });
        }
        let prepared = self.prepare(&[entry]).await?;
        let servers: Vec<_> = prepared.iter().map(|(server, _)| server.clone()).collect();
        let opened = self.open(prepared, &[]).await;
        for server in servers {
            // A stop that began meanwhile may have passed it by.
            let stops = self.app().is_stopping();
            if opened.is_err() || stops {
                self.take(&server.core.id);
                self.retire(&server).await;
            }
            if stops {
                return opened.and(Err(StartError::Stopping));
            }
            if opened.is_ok() {
                tracing::info!(server = %server.core.id, "a server was added");
            }
        }
        opened
    }

    /// Takes the addresses, and makes the servers.
    async fn prepare(&self, entries: &[config::Server]) -> Result<Vec<Prepared>, StartError> {
        let mut doors = Vec::new();
        for entry in entries {
            doors.push(self.plan.door(entry, &self.place).await?);
        }
        let mut missing = Vec::new();
        let mut servers = Vec::new();
        for (entry, door) in entries.iter().zip(doors) {
            let core = self.plan.core(entry, &self.place).await?;
            core.furnish();
            missing.extend(core.check());
            let handle = ServerHandle(core.clone());
            let components = core.definition.components.iter().map(|make| make(&handle)).collect();
            let address = door.as_ref().and_then(|door| door.listening.address);
            let [listening, connections, lingering] = std::array::from_fn(|_| core.tasks.child());
            let server =
                RunningServer { core, listening, connections, lingering, components, address };
            servers.push((Arc::new(server), door));
        }
        report(missing)?;
        Ok(servers)
    }

    /// Components first, then into the cluster, then the doors.
    async fn open(
        &self,
        servers: Vec<Prepared>,
        components: &[Arc<dyn DynComponent>],
    ) -> Result<(), StartError> {
        let app = self.app();
        let (servers, doors): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
        for server in &servers {
            lock(&self.servers).push(server.clone());
            lock(&app.0.servers).push(ServerHandle(server.core.clone()));
        }
        let failed = |component: &dyn DynComponent, fault| StartError::Component {
            name: component.name(),
            fault,
        };
        let of_application = components.iter().map(|component| (None, component.clone()));
        let of_servers = servers.iter().flat_map(|server| {
            let own = server.components.iter();
            own.map(|component| (Some(server.core.id.clone()), component.clone()))
        });
        let components: Vec<Started> = of_application.chain(of_servers).collect();
        for one in &components {
            one.1.start(app).await.map_err(|fault| failed(&*one.1, fault))?;
            lock(&self.started).push(one.clone());
        }
        for server in &servers {
            handover::prepare(&server.core);
            let inbox = Arc::new(Inbox(server.core.clone()));
            let entered = server.node().enter(inbox, |work| self.links.run("link", work)).await;
            entered.map_err(|source| StartError::Join { id: server.core.id.clone(), source })?;
        }
        for server in &servers {
            server.core.know_owners();
            census::take(&server.core);
        }
        let together: Vec<_> = servers.iter().map(|server| server.node().peer().boot).collect();
        for server in &servers {
            handover::arrive(&server.core, &together).await;
        }
        for (server, door) in servers.iter().zip(doors) {
            if let Some(door) = door {
                server.open(door);
            }
        }
        for (_, component) in &components {
            component.after_start(app).await.map_err(|fault| failed(&**component, fault))?;
        }
        for server in &servers {
            ServerHandle(server.core.clone()).crons().start();
        }
        Ok(())
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("servers", &lock(&self.servers)).finish_non_exhaustive()
    }
}

impl RunningServer {
    /// Opens the door.
    fn open(&self, door: FrontDoor) {
        let Some(frontend) = self.core.frontend.clone() else { return };
        #[cfg(feature = "tls")]
        for tls in door.connector.certificates {
            self.renew(tls);
        }
        door.listening.open(Premises {
            core: self.core.clone(),
            frontend,
            options: door.options,
            listening: self.listening.clone(),
            connections: self.connections.clone(),
            lingering: self.lingering.clone(),
        });
    }

    /// Looks after the files of a certificate.
    #[cfg(feature = "tls")]
    fn renew(&self, tls: Arc<shaddock_transport::Tls>) {
        let id = self.core.id.clone();
        self.listening.spawn("certificate", async move |stop| {
            let mut tick = tokio::time::interval(FILE_CHECK);
            while stop.run_until_cancelled(tick.tick()).await.is_some() {
                let tls = tls.clone();
                let looked = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
                match looked {
                    Ok(Ok(false)) => {}
                    Ok(Ok(true)) => tracing::info!(server = %id, "the certificate was renewed"),
                    Ok(Err(error)) => {
                        // With its causes.
                        let error = Fault::from(error);
                        tracing::error!(server = %id, error = error.reason(), "the certificate can't be renewed: the old one stays");
                    }
                    Err(error) => tracing::error!(server = %id, %error, "the certificate was not read"),
                }
            }
        });
    }

    pub(super) fn node(&self) -> &Node {
        self.core.router.caller().node()
    }
}

/// Looks after the files of the tables.
fn watch_tables(app: &AppHandle) {
    let watched = app.clone();
    app.tasks().spawn("tables", async move |stop| {
        // They have only just been read.
        let mut tick = interval_at(Instant::now() + FILE_CHECK, FILE_CHECK);
        // What is wrong with them, to say it once.
        let mut known = None;
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let app = watched.clone();
            let read = tokio::task::spawn_blocking(move || app.reload_tables()).await;
            let wrong = match read {
                Ok(Ok(changed)) => {
                    if changed {
                        tracing::info!("dictionary and schemas were read again, for clients that come from now on");
                    }
                    None
                }
                // With its causes.
                Ok(Err(error)) => Some(Fault::from(error).reason().to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = &wrong && wrong != known {
                tracing::error!(%error, "dictionary and schemas can't be read again: the old ones stay");
            }
            known = wrong;
        }
    });
}

/// How long an answer may take to leave a process that somebody kills.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// How often files that may change are looked at.
const FILE_CHECK: Duration = Duration::from_secs(2);
