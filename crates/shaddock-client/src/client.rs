//! The handle that users hold.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shaddock_protocol::pomelo::{Tables, Welcome};
use shaddock_transport::Wire;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    Builder, CloseReason, ConnectError, Pushes, RequestError,
    builder::Limits,
    connection::{COMMANDS, Command, Connection},
    pushes::Subscriptions,
};

/// A connection to a server.
///
/// Clones are handles to the same connection, which closes in order when the last of them is dropped.
/// Requests may be made from many tasks at once; they leave in the order they were made, and their answers come in any.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stop: Arc<Notify>,
    closed: watch::Receiver<Option<CloseReason>>,
    subscriptions: Arc<Subscriptions>,
    limits: Limits,
    user: Option<Value>,
    heartbeat: Option<Duration>,
    tables: Tables,
}

impl Client {
    /// Connects to `ws://host:port/path` or `tcp://host:port`, and shakes hands, with the usual options.
    ///
    /// # Errors
    ///
    /// When nobody answers there, or the server does not want this client.
    pub async fn connect(address: &str) -> Result<Client, ConnectError> {
        Client::builder().connect(address).await
    }

    /// Connects with other options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the connection's task: the only one there is, and it ends with the connection.
    pub(crate) fn new<W: Wire>(
        connection: Connection<W>,
        welcome: Welcome,
        subscriptions: Arc<Subscriptions>,
        limits: Limits,
    ) -> Client {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (closing, closed) = watch::channel(None);
        let stop = Arc::new(Notify::new());
        let tables = connection.tables().clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "owned by the handles: it ends when the last is dropped"
        )]
        tokio::spawn(connection.run(received, stop.clone(), closing));
        let Welcome { user, heartbeat } = welcome;
        let shared = Shared { stop, closed, subscriptions, limits, user, heartbeat, tables };
        Client { commands, shared: Arc::new(shared) }
    }

    /// Asks, and waits for the answer.
    ///
    /// Dropping the future forgets the answer; the server may have seen the request all the same.
    ///
    /// # Errors
    ///
    /// When there is no answer, or not one that is a `T`. A server's own errors are answers, with a `code`.
    pub async fn request<T: DeserializeOwned>(
        &self,
        route: &str,
        body: impl Serialize,
    ) -> Result<T, RequestError> {
        let body = self.request_raw(route, encode(body)?).await?;
        serde_json::from_slice(&body).map_err(|source| RequestError::Unexpected { source, body })
    }

    /// Asks with a body that is JSON text already, and gives the answer as JSON text.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn request_raw(&self, route: &str, body: Bytes) -> Result<Bytes, RequestError> {
        let limit = self.shared.limits.request;
        let asking = async {
            let (reply, replied) = oneshot::channel();
            self.command(Command::Request { route: route.into(), body, reply }).await?;
            replied.await.unwrap_or_else(|_| Err(self.over()))
        };
        timeout(limit, asking).await.unwrap_or(Err(RequestError::TimedOut(limit)))
    }

    /// Tells, and waits only until it is on its way.
    ///
    /// # Errors
    ///
    /// When it was not sent.
    pub async fn notify(&self, route: &str, body: impl Serialize) -> Result<(), RequestError> {
        self.notify_raw(route, encode(body)?).await
    }

    /// Tells with a body that is JSON text already.
    ///
    /// # Errors
    ///
    /// When it was not sent.
    pub async fn notify_raw(&self, route: &str, body: Bytes) -> Result<(), RequestError> {
        let (sent, done) = oneshot::channel();
        self.command(Command::Notify { route: route.into(), body, sent }).await?;
        done.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// The pushes of one route, from now on. Make it before the request that lets them begin.
    pub fn pushes(&self, route: &str) -> Pushes {
        self.shared.subscriptions.add(Some(route), self.shared.limits.pushes)
    }

    /// The pushes of all routes, from now on.
    pub fn pushes_all(&self) -> Pushes {
        self.shared.subscriptions.add(None, self.shared.limits.pushes)
    }

    /// What the application said to us in the handshake.
    pub fn user(&self) -> Option<&Value> {
        self.shared.user.as_ref()
    }

    /// How often signs of life are exchanged, if the server wants them. They need no care.
    pub fn heartbeat(&self) -> Option<Duration> {
        self.shared.heartbeat
    }

    /// Dictionary and protobuf tables, for [`Builder::tables`] of the next connection.
    pub fn tables(&self) -> &Tables {
        &self.shared.tables
    }

    /// Closes in order: what was sent before is flushed. Returns when the connection is closed, from all handles.
    pub async fn disconnect(&self) {
        self.shared.stop.notify_one();
        // The task drops its end of this last of all.
        let mut closed = self.shared.closed.clone();
        while closed.changed().await.is_ok() {}
    }

    /// Waits until the connection is over, and says why.
    pub async fn closed(&self) -> CloseReason {
        let mut closed = self.shared.closed.clone();
        let _ = closed.wait_for(Option::is_some).await;
        self.reason()
    }

    async fn command(&self, command: Command) -> Result<(), RequestError> {
        self.commands.send(command).await.map_err(|_| self.over())
    }

    fn over(&self) -> RequestError {
        RequestError::Closed(self.reason())
    }

    /// Why it is over; the task tells before it drops anything that waits.
    fn reason(&self) -> CloseReason {
        let told = self.shared.closed.borrow().clone();
        told.unwrap_or_else(|| CloseReason::Lost("its task was stopped".to_owned()))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

fn encode(body: impl Serialize) -> Result<Bytes, RequestError> {
    serde_json::to_vec(&body).map(Bytes::from).map_err(RequestError::Json)
}
