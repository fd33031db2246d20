//! Starting an application, and stopping it in order.

#[cfg(feature = "testing")]
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use shaddock_cluster::Node;
#[cfg(feature = "testing")]
use shaddock_cluster::memory::Memory;
#[cfg(feature = "testing")]
use shaddock_transport::memory::MemoryConnector;
use tokio::time::{Instant, interval_at, timeout};

#[cfg(feature = "testing")]
use super::plan::InMemory;
use super::plan::{FrontDoor, Place, report};
use super::{App, AppHandle, StartError, lock};
use crate::census;
use crate::component::DynComponent;
use crate::error::Fault;
use crate::frontend::Premises;
use crate::ids::ServerId;
use crate::running::{Core, Inbox};
use crate::server::ServerHandle;
use crate::tasks::Tasks;
use crate::telemetry;

/// An application that runs.
#[derive(Debug)]
pub struct Running {
    app: AppHandle,
    servers: Vec<RunningServer>,
    components: Vec<Arc<dyn DynComponent>>,
    metrics: Option<SocketAddr>,
    /// The components that have started, in that order.
    started: Mutex<Vec<Arc<dyn DynComponent>>>,
    /// What ties the servers into the cluster, and ends when they leave it.
    links: Tasks,
}

#[derive(Debug)]
struct RunningServer {
    core: Arc<Core>,
    listening: Tasks,
    connections: Tasks,
    lingering: Tasks,
    components: Vec<Arc<dyn DynComponent>>,
    address: Option<SocketAddr>,
}

/// An application in memory, the ways to its front-ends, and the link of each server.
#[cfg(feature = "testing")]
pub(crate) type InMemoryApp =
    (Running, HashMap<ServerId, MemoryConnector>, HashMap<ServerId, Arc<Memory>>);

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
    pub(crate) async fn start_in_memory(self, hub: &Memory) -> Result<InMemoryApp, StartError> {
        let ids = self.config.servers.iter().filter_map(|entry| entry.id.parse().ok());
        let links = ids.map(|id| (id, hub.connect())).collect();
        let mut place = Place::Memory(InMemory { links, doors: HashMap::new() });
        let running = self.start_at(&mut place).await?;
        match place {
            Place::Memory(InMemory { doors, links }) => Ok((running, doors, links)),
            Place::Sockets => unreachable!("the place was made above"),
        }
    }

    async fn start_at(self, place: &mut Place) -> Result<Running, StartError> {
        let begun = Instant::now();
        let plan = self.plan(place.clock())?;
        for warning in &plan.app.config().warnings {
            tracing::warn!("{warning}");
        }
        // All that can go wrong by itself comes first, so that nothing has been seen of us by then.
        let mut doors = Vec::new();
        for entry in &plan.entries {
            doors.push(plan.door(entry, place).await?);
        }
        let metrics = plan.listen_metrics(place).await?;
        let mut missing = Vec::new();
        let mut servers = Vec::new();
        for (entry, door) in plan.entries.iter().zip(&doors) {
            let core = plan.core(entry, place).await?;
            core.furnish();
            missing.extend(core.check());
            let handle = ServerHandle(core.clone());
            let components = core.definition.components.iter().map(|make| make(&handle)).collect();
            let address = door.as_ref().and_then(|door| door.listening.address);
            let [listening, connections, lingering] = std::array::from_fn(|_| core.tasks.child());
            servers.push(RunningServer {
                core,
                listening,
                connections,
                lingering,
                components,
                address,
            });
        }
        report(missing)?;
        let app = plan.app.clone();
        *lock(&app.0.servers) =
            servers.iter().map(|server| ServerHandle(server.core.clone())).collect();
        let components = plan.components.clone();
        let running = Running {
            app,
            servers,
            components,
            metrics: metrics.as_ref().and_then(|listener| listener.local_addr().ok()),
            started: Mutex::default(),
            links: Tasks::root(),
        };
        if let Err(error) = running.open(doors).await {
            running.stop().await;
            return Err(error);
        }
        if let Some(listener) = metrics {
            telemetry::serve(&running.app, listener);
        }
        if running.app.config().can_change() {
            watch_tables(&running.app);
        }
        tracing::info!(servers = running.servers.len(), elapsed = ?begun.elapsed(), "started");
        Ok(running)
    }
}

impl Running {
    /// The application, as its parts see it.
    pub fn app(&self) -> &AppHandle {
        &self.app
    }

    /// Where the front-ends of this process listen.
    pub fn addresses(&self) -> impl Iterator<Item = (&ServerId, SocketAddr)> {
        self.servers.iter().filter_map(|server| Some((&server.core.id, server.address?)))
    }

    /// Where `/metrics` and `/health` are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Resolves when somebody asks the application to stop. Then call [`stop`](Running::stop).
    pub async fn stopping(&self) {
        self.app.0.stopping.cancelled().await;
    }

    /// Stops in order: front-ends with all that their clients have under way, back-ends, components
    /// in reverse, and at last the link to the others. Says whether everything ended by itself.
    ///
    /// What has not ended when the deadline of `[stop]` has passed is not waited for, and ends with the
    /// runtime at the latest. A fifth of that time is kept for components, however long clients take.
    pub async fn stop(&self) -> bool {
        self.app.stop();
        let whole = self.app.config().stop.deadline;
        let end = Instant::now() + whole;
        let left = || end.saturating_duration_since(Instant::now());
        let left_for_servers = || left().saturating_sub(whole / 5);
        let started = std::mem::take(&mut *lock(&self.started));
        for component in &started {
            let _ = timeout(left_for_servers(), component.before_stop(&self.app)).await;
        }
        let is_front = |server: &&RunningServer| server.core.frontend.is_some();
        let (front, back): (Vec<_>, Vec<_>) = self.servers.iter().partition(is_front);
        let mut clean = true;
        for server in &self.servers {
            clean &= server.core.timetable.tasks.finish(left_for_servers()).await;
        }
        front.iter().for_each(|server| server.node().set_leaving());
        for server in &front {
            clean &= server.listening.finish(left_for_servers()).await;
        }
        let connections = front.iter().map(|server| server.connections.finish(left_for_servers()));
        clean &= join_all(connections).await.into_iter().all(|ended| ended);
        for server in &front {
            clean &= server.lingering.finish(left_for_servers()).await;
        }
        back.iter().for_each(|server| server.node().set_leaving());
        for server in front.into_iter().chain(back) {
            clean &= server.core.tasks.finish(left_for_servers()).await;
        }
        for component in started.iter().rev() {
            let _ = timeout(left(), component.stop(&self.app)).await;
        }
        clean &= self.app.tasks().finish(left()).await;
        for server in &self.servers {
            let _ = timeout(left().max(LAST_WORD), server.node().leave()).await;
        }
        // A server holds the application, and would be held by it for ever.
        lock(&self.app.0.servers).clear();
        clean
    }

    /// Components first, then into the cluster, then the doors.
    async fn open(&self, doors: Vec<Option<FrontDoor>>) -> Result<(), StartError> {
        let failed = |component: &dyn DynComponent, fault| StartError::Component {
            name: component.name(),
            fault,
        };
        let components =
            self.components.iter().chain(self.servers.iter().flat_map(|server| &server.components));
        for component in components {
            component.start(&self.app).await.map_err(|fault| failed(&**component, fault))?;
            lock(&self.started).push(component.clone());
        }
        for server in &self.servers {
            let inbox = Arc::new(Inbox(server.core.clone()));
            let entered = server.node().enter(inbox, |work| self.links.run("link", work)).await;
            entered.map_err(|source| StartError::Join { id: server.core.id.clone(), source })?;
        }
        for server in &self.servers {
            server.core.know_owners();
            census::take(&server.core);
        }
        for (server, door) in self.servers.iter().zip(doors) {
            if let Some(door) = door {
                server.open(door);
            }
        }
        let started = lock(&self.started).clone();
        for component in &started {
            component.after_start(&self.app).await.map_err(|fault| failed(&**component, fault))?;
        }
        for server in &self.servers {
            ServerHandle(server.core.clone()).crons().start();
        }
        Ok(())
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

    fn node(&self) -> &Node {
        self.core.router.caller().node()
    }
}

/// Looks after the files of the tables.
fn watch_tables(app: &AppHandle) {
    let watched = app.clone();
    app.tasks().spawn("tables", async move |stop| {
        // They were read a moment ago.
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

/// How often files that may change are looked at.
const FILE_CHECK: Duration = Duration::from_secs(2);

/// How long leaving the cluster may take even when the deadline has passed.
const LAST_WORD: Duration = Duration::from_millis(100);
