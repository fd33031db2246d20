//! The testing kit: every server of an application in memory, and clients for it.
//!
//! Nothing here needs a socket, so time can be paused: a test of heartbeats or deadlines takes no
//! time at all. Everything panics where a test would have to fail anyway.
//!
//! # Examples
//!
//! ```
//! use serde_json::{Value, json};
//! use shaddock::testing::{self, TestApp};
//! use shaddock::{Msg, Result, Server};
//!
//! async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
//!     Ok(message)
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let connector = Server::frontend("connector").on("entryHandler.echo", echo);
//! let app = TestApp::start(testing::app(&["connector"], &[]).server(connector)).await;
//!
//! let client = app.connect("connector-1").await;
//! let reply = client.request("connector.entryHandler.echo", json!({ "x": 1 })).await;
//! assert_eq!(reply, json!({ "x": 1 }));
//! # }
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use shaddock_client::{Builder, Client, CloseReason, Pushes};
use shaddock_transport::memory::MemoryWire;
use tokio::time::timeout;

use crate::admin::{Credentials, Operator};
use crate::app::{App, AppHandle, InMemory, Running, StartError};
use crate::config::{self, Config, Overrides};
use crate::server::ServerHandle;

pub use shaddock_client as client;
pub use shaddock_cluster::memory::{Chaos, Memory};

/// How long a push is waited for: far more than anything takes, and nothing where time is paused.
const PATIENCE: Duration = Duration::from_secs(60);

/// An application without servers yet, with a configuration of one server for each name: a kind
/// (`connector` makes `connector-1`), or a kind and how many of it (`chat*3`).
///
/// # Panics
///
/// If that is no configuration.
pub fn app(frontends: &[&str], backends: &[&str]) -> App {
    app_with(frontends, backends, "")
}

/// The same, with the text of a shaddock.toml.
///
/// # Panics
///
/// If that is no configuration.
pub fn app_with(frontends: &[&str], backends: &[&str], toml: &str) -> App {
    let mut kinds = serde_json::Map::new();
    let mut port = 30_000;
    for (name, frontend) in
        frontends.iter().map(|name| (name, true)).chain(backends.iter().map(|name| (name, false)))
    {
        let (kind, count) = name.split_once('*').unwrap_or((name, "1"));
        let count: u32 = count.parse().expect("the number of servers");
        let entry = |number| {
            port += 1;
            let id = format!("{kind}-{number}");
            match frontend {
                true => {
                    json!({ "id": id, "host": "127.0.0.1", "clientPort": port, "frontend": true })
                }
                false => json!({ "id": id, "host": "127.0.0.1" }),
            }
        };
        kinds.insert(kind.to_owned(), (1..=count).map(entry).collect());
    }
    let servers = json!({ "development": kinds }).to_string();
    let files = [("servers.json", servers.as_str()), ("shaddock.toml", toml)];
    let config = Config::embedded(&files, Some("development"), &Overrides::default());
    App::new(config.expect("a configuration"))
}

/// An application that runs in memory, every server of it.
///
/// Each server has a link of its own to the others, so that it can be cut off or killed.
pub struct TestApp {
    running: Running,
    memory: InMemory,
    /// Of the servers in servers.json.
    links: HashMap<String, Arc<Memory>>,
}

impl TestApp {
    /// Starts every server.
    ///
    /// # Panics
    ///
    /// If the application does not start.
    pub async fn start(app: App) -> TestApp {
        match TestApp::try_start(app).await {
            Ok(app) => app,
            Err(error) => panic!("the application does not start: {error}"),
        }
    }

    /// Starts every server.
    ///
    /// # Errors
    ///
    /// If the application does not start.
    pub async fn try_start(app: App) -> Result<TestApp, StartError> {
        TestApp::begin(app, &Memory::new()).await
    }

    /// Starts every server, or those of [`App::only`], with a link of its own to what `hub` is connected to, where
    /// other applications are in the same cluster. A hub that was made by [`Memory::chaotic`] brings weather.
    ///
    /// # Panics
    ///
    /// If the application does not start.
    pub async fn start_on(app: App, hub: &Memory) -> TestApp {
        match TestApp::begin(app, hub).await {
            Ok(app) => app,
            Err(error) => panic!("the application does not start: {error}"),
        }
    }

    async fn begin(app: App, hub: &Memory) -> Result<TestApp, StartError> {
        let memory = InMemory::new(hub, &app.config().servers);
        let link = |server: &config::Server| (server.id.clone(), memory.link(&server.id));
        let links = app.config().servers.iter().map(link).collect();
        let running = app.start_in_memory(memory.clone()).await?;
        Ok(TestApp { running, memory, links })
    }

    /// The application, as its parts see it.
    pub fn app(&self) -> &AppHandle {
        self.running.app()
    }

    /// One of its servers.
    ///
    /// # Panics
    ///
    /// If there is none of this id.
    pub fn server(&self, id: &str) -> ServerHandle {
        let server = self.app().servers().into_iter().find(|server| server.id().as_str() == id);
        server.unwrap_or_else(|| panic!("there is no server {id}"))
    }

    /// A client of a front-end, through its handshake.
    ///
    /// # Panics
    ///
    /// If the front-end lets no client in.
    pub async fn connect(&self, frontend: &str) -> TestClient {
        self.connect_as(frontend, Client::builder()).await
    }

    /// The same, with options.
    ///
    /// # Panics
    ///
    /// If the front-end lets no client in.
    pub async fn connect_as(&self, frontend: &str, builder: Builder) -> TestClient {
        let pushes = builder.pushes_all();
        match builder.over(self.wire(frontend).await).await {
            Ok(client) => TestClient { client, pushes, seen: VecDeque::new() },
            Err(error) => panic!("{frontend} lets no client in: {error}"),
        }
    }

    /// A bare connection to a front-end, for those who want to be rude.
    ///
    /// # Panics
    ///
    /// If the front-end does not listen.
    pub async fn wire(&self, frontend: &str) -> MemoryWire {
        let door = self.memory.door(frontend);
        let door = door.unwrap_or_else(|| panic!("there is no front-end {frontend}"));
        door.connect().await.expect("the front-end listens")
    }

    /// Somebody who looks after the servers, over a link of their own.
    ///
    /// # Panics
    ///
    /// If they can't join the cluster.
    pub async fn operator(&self, username: &str, password: &str) -> Operator {
        let link = self.memory.link("the operator's");
        let credentials = Credentials::new(username, password);
        let cluster = &self.app().config().cluster.name;
        Operator::join(link, cluster, credentials).await.expect("the cluster can be joined")
    }

    /// Cuts a server off from all others. Neither side is told.
    ///
    /// # Panics
    ///
    /// If there is none of this id.
    pub fn cut(&self, server: &str) {
        self.link(server).cut();
    }

    /// Ends [`cut`](TestApp::cut).
    ///
    /// # Panics
    ///
    /// If there is none of this id.
    pub fn heal(&self, server: &str) {
        self.link(server).heal();
    }

    /// The link of a server in servers.json, which can be cut, and parted from that of another.
    ///
    /// # Panics
    ///
    /// If there is none of this id.
    pub fn link(&self, server: &str) -> &Memory {
        self.links.get(server).unwrap_or_else(|| panic!("there is no server {server}"))
    }

    /// Waits until somebody asks for the end of the process at once.
    pub async fn killed(&self) {
        self.running.killed().await;
    }

    /// Stops it in order. Says whether everything ended by itself.
    pub async fn stop(self) -> bool {
        self.running.stop().await
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("running", &self.running).finish_non_exhaustive()
    }
}

/// A client of a [`TestApp`].
#[derive(Debug)]
pub struct TestClient {
    client: Client,
    pushes: Pushes,
    /// Pushes that came while another was waited for.
    seen: VecDeque<(String, Value)>,
}

impl TestClient {
    /// Asks, and waits for the answer, whatever its code.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn request(&self, route: &str, body: impl Serialize) -> Value {
        match self.client.request(route, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{route} gave no answer: {error}"),
        }
    }

    /// Tells, and waits for nothing.
    ///
    /// # Panics
    ///
    /// If the connection has ended.
    pub async fn notify(&self, route: &str, body: impl Serialize) {
        self.client.notify(route, body).await.expect("a connection");
    }

    /// The next push of this route; those of others are kept.
    ///
    /// # Panics
    ///
    /// If none comes within a minute.
    pub async fn pushed(&mut self, route: &str) -> Value {
        if let Some(at) = self.seen.iter().position(|(seen, _)| seen == route) {
            let (_, body) = self.seen.remove(at).expect("it was just there");
            return body;
        }
        let waited = timeout(PATIENCE, async {
            loop {
                let push = self.pushes.next().await.expect("the connection ended");
                let body = push.json().expect("a push is JSON");
                if *push.route == *route {
                    return body;
                }
                self.seen.push_back((push.route.to_string(), body));
            }
        });
        match waited.await {
            Ok(body) => body,
            Err(_) => panic!("{route} was not pushed; what was: {:?}", self.seen),
        }
    }

    /// What was pushed and not yet asked for, in order.
    pub fn pushes(&mut self) -> Vec<(String, Value)> {
        while let Some(push) = self.pushes.try_next() {
            self.seen.push_back((push.route.to_string(), push.json().expect("a push is JSON")));
        }
        self.seen.drain(..).collect()
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Leaves in order.
    pub async fn leave(self) {
        self.client.disconnect().await;
    }

    /// Waits until the connection has ended, and says why it did.
    pub async fn closed(&self) -> CloseReason {
        self.client.closed().await
    }
}
