//! What a client says of itself, and how it is connected.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use shaddock_protocol::pomelo::{ClientOptions, Tables};
use shaddock_transport::{Wire, connect_tcp, connect_websocket};
use tokio::time::timeout;

use crate::{Client, ConnectError, Pushes, connection::Connection, pushes::Subscriptions};

/// Makes a [`Client`] with other than the usual options.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), shaddock_client::ConnectError> {
/// use shaddock_client::Client;
///
/// let builder = Client::builder().user(serde_json::json!({ "token": "py" }));
/// // From before the connection is made, so that nothing is missed.
/// let pushes = builder.pushes_all();
/// let client = builder.connect("ws://127.0.0.1:3010").await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Builder {
    options: ClientOptions,
    subscriptions: Arc<Subscriptions>,
    limits: Limits,
}

/// What a client puts up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) request: Duration,
    /// Pushes in a queue.
    pub(crate) pushes: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            options: ClientOptions::default(),
            subscriptions: Arc::default(),
            limits: Limits {
                connect: Duration::from_secs(10),
                request: Duration::from_secs(10),
                pushes: 1024,
            },
        }
    }
}

impl Builder {
    /// What the application at the other end is told in the handshake.
    pub fn user(mut self, user: Value) -> Builder {
        self.options.hello.user = Some(user);
        self
    }

    /// What kind of client this is, and which version of it: "js-websocket", "0.0.1".
    pub fn client(mut self, kind: impl Into<String>, version: impl Into<String>) -> Builder {
        self.options.hello.client_type = Some(kind.into());
        self.options.hello.client_version = Some(version.into());
        self
    }

    /// Dictionary and protobuf tables of an earlier connection, which the server then need not send again.
    pub fn tables(mut self, tables: Tables) -> Builder {
        self.options.tables = tables;
        self
    }

    /// How long connecting and the handshake may take together: 10 seconds unless said otherwise.
    pub fn connect_timeout(mut self, limit: Duration) -> Builder {
        self.limits.connect = limit;
        self
    }

    /// How long an answer may take: 10 seconds unless said otherwise.
    pub fn request_timeout(mut self, limit: Duration) -> Builder {
        self.limits.request = limit;
        self
    }

    /// How many pushes wait in a queue until the oldest is dropped: 1,024 unless said otherwise.
    ///
    /// Counts for queues that are made after this.
    pub fn push_queue(mut self, limit: usize) -> Builder {
        self.limits.pushes = limit;
        self
    }

    /// The pushes of one route, from the first one on. See [`Client::pushes`].
    pub fn pushes(&self, route: &str) -> Pushes {
        self.subscriptions.add(Some(route), self.limits.pushes)
    }

    /// The pushes of all routes, from the first one on. See [`Client::pushes_all`].
    pub fn pushes_all(&self) -> Pushes {
        self.subscriptions.add(None, self.limits.pushes)
    }

    /// Connects to `ws://host:port/path` or `tcp://host:port`, and shakes hands.
    ///
    /// # Errors
    ///
    /// When nobody answers there, or the server does not want this client.
    pub async fn connect(self, address: &str) -> Result<Client, ConnectError> {
        let limit = self.limits.connect;
        let connecting = async {
            match address.strip_prefix("tcp://") {
                Some(address) => self.shake_hands(connect_tcp(address).await?).await,
                None if address.starts_with("ws://") => {
                    self.shake_hands(connect_websocket(address).await?).await
                }
                None => Err(ConnectError::Address),
            }
        };
        timeout(limit, connecting).await.unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    /// Shakes hands over a wire that is there already, such as one in memory.
    ///
    /// # Errors
    ///
    /// When the server does not want this client.
    pub async fn over(self, wire: impl Wire) -> Result<Client, ConnectError> {
        let limit = self.limits.connect;
        timeout(limit, self.shake_hands(wire)).await.unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    async fn shake_hands(mut self, wire: impl Wire) -> Result<Client, ConnectError> {
        // All of connecting has one limit, kept by the callers of this.
        self.options.handshake_timeout = Duration::MAX;
        let mut connection = Connection::new(wire, self.options, self.subscriptions.clone());
        let welcome = connection.shake_hands().await?;
        Ok(Client::new(connection, welcome, self.subscriptions, self.limits))
    }
}
