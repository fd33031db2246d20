//! The handle that users hold.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use shaddock_protocol::pomelo::Tables;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    Builder, CloseReason, ConnectError, Pushes, RequestError, Status,
    builder::Limits,
    commands::{Command, Then},
    pushes::Subscriptions,
    task::Shared,
};

/// A connection to a server, and those that follow it where they are wanted.
///
/// Clones are handles to the same connection, which closes in order when the last of them is dropped.
/// Requests may be made from many tasks at once; they leave in the order they were made, and their answers come in any.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    handles: Arc<Handles>,
    /// What this one says goes while others wait for us to be logged in.
    early: bool,
}

/// What all handles hold together.
#[derive(Debug)]
struct Handles {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
    subscriptions: Arc<Subscriptions>,
    limits: Limits,
}

/// What becomes a handle while there are others.
pub(crate) struct WeakClient {
    commands: mpsc::WeakSender<Command>,
    handles: Weak<Handles>,
}

impl Client {
    /// Connects to `ws://host:port/path` or `tcp://host:port`, or to `wss://..` or `tls://..` with the feature `tls`, and
    /// shakes hands, with the usual options.
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

    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        shared: Arc<Shared>,
        status: watch::Receiver<Status>,
        subscriptions: Arc<Subscriptions>,
        limits: Limits,
    ) -> Client {
        let handles = Arc::new(Handles { shared, status, subscriptions, limits });
        Client { commands, handles, early: false }
    }

    pub(crate) fn downgrade(&self) -> WeakClient {
        WeakClient { commands: self.commands.downgrade(), handles: Arc::downgrade(&self.handles) }
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
        let limit = self.handles.limits.request;
        let asking = async {
            let (reply, replied) = oneshot::channel();
            self.command(route, body, Then::Answer(reply)).await?;
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
        self.command(route, body, Then::Sent(sent)).await?;
        done.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// The pushes of one route, from now on. Make it before the request that lets them begin.
    pub fn pushes(&self, route: &str) -> Pushes {
        self.handles.subscriptions.add(Some(route), self.handles.limits.pushes)
    }

    /// The pushes of all routes, from now on.
    pub fn pushes_all(&self) -> Pushes {
        self.handles.subscriptions.add(None, self.handles.limits.pushes)
    }

    /// What the application said to us in the last handshake.
    pub fn user(&self) -> Option<Value> {
        self.handles.shared.greeting().user.clone()
    }

    /// How often signs of life are exchanged, if the server wants them. They need no care.
    pub fn heartbeat(&self) -> Option<Duration> {
        self.handles.shared.greeting().heartbeat
    }

    /// Dictionary and protobuf tables, for [`Builder::tables`] of another client.
    pub fn tables(&self) -> Tables {
        self.handles.shared.greeting().tables.clone()
    }

    /// How it stands with the server, now and from now on. Who looks late sees only what is last.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: shaddock_client::Client) {
    /// use shaddock_client::Status;
    ///
    /// let mut status = client.status();
    /// while status.changed().await.is_ok() {
    ///     match &*status.borrow_and_update() {
    ///         Status::Connected { .. } => println!("here again"),
    ///         Status::Reconnecting { attempt, reason } => println!("{reason}; attempt {attempt}"),
    ///         over => println!("{over:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn status(&self) -> watch::Receiver<Status> {
        self.handles.status.clone()
    }

    /// Closes in order: what was sent before is flushed. Returns when the connection is closed, from all handles.
    pub async fn disconnect(&self) {
        self.handles.shared.stop.notify_one();
        // The task drops its end of this last of all.
        let mut status = self.status();
        while status.changed().await.is_ok() {}
    }

    /// Waits until the connection is over and there will be no other, and says why.
    pub async fn closed(&self) -> CloseReason {
        let _ = self.status().wait_for(|status| status.reason().is_some()).await;
        self.reason()
    }

    async fn command(&self, route: &str, body: Bytes, then: Then) -> Result<(), RequestError> {
        let command = Command { route: route.into(), body, then, early: self.early };
        self.commands.send(command).await.map_err(|_| self.over())
    }

    fn over(&self) -> RequestError {
        RequestError::Closed(self.reason())
    }

    /// Why it is over; the task tells before it drops anything that waits.
    fn reason(&self) -> CloseReason {
        let told = self.handles.status.borrow().reason().cloned();
        told.unwrap_or_else(|| CloseReason::Lost("its task was stopped".to_owned()))
    }
}

impl WeakClient {
    /// A handle for logging in.
    pub(crate) fn upgrade(&self) -> Option<Client> {
        let (commands, handles) = (self.commands.upgrade()?, self.handles.upgrade()?);
        Some(Client { commands, handles, early: true })
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}

fn encode(body: impl Serialize) -> Result<Bytes, RequestError> {
    serde_json::to_vec(&body).map(Bytes::from).map_err(RequestError::Json)
}
