//! Starting an application, and stopping it in order.

#[cfg(feature = "testing")]
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "testing")]
use shaddock_cluster::memory::Memory;
#[cfg(feature = "testing")]
use shaddock_transport::memory::MemoryConnector;
use tokio::time::Instant;

#[cfg(feature = "testing")]
use super::plan::InMemory;
use super::plan::{Listening, Place, Plan, report};
use super::{App, AppHandle, StartError};
use crate::component::DynComponent;
use crate::frontend::Door;
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

/// An application in memory, the ways to its front-ends, and the link of each server.
#[cfg(feature = "testing")]
pub(crate) type InMemoryApp = (
    Running,
    HashMap<ServerId, MemoryConnector>,
    HashMap<ServerId, Arc<Memory>>,
);

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
