//! What a client says of itself, and how it is connected.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use serde_json::Value;
#[cfg(feature = "crypto")]
use shaddock_protocol::pomelo::Signer;
use shaddock_protocol::pomelo::{ClientOptions, Tables};
#[cfg(feature = "tls")]
use shaddock_transport::Trust;
use shaddock_transport::Wire;
use tokio::sync::{mpsc, watch};

use crate::{
    Client, ConnectError, Pushes, Reconnect, Status,
    commands::{COMMANDS, Commands},
    dial::Dial,
    pushes::Subscriptions,
    reconnect::BackOff,
    task::{LogIn, Shared, Task},
};

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
pub struct Builder {
    options: ClientOptions,
    subscriptions: Arc<Subscriptions>,
    limits: Limits,
    reconnect: Option<Reconnect>,
    log_in: Option<LogIn>,
    #[cfg(feature = "tls")]
    trust: Option<Trust>,
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
            reconnect: None,
            log_in: None,
            #[cfg(feature = "tls")]
            trust: None,
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

    /// How long connecting, the handshake and logging in may take together: 10 seconds unless said otherwise.
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

    /// Whom to believe about who a server is: the authorities of this machine unless said otherwise, which are read from
    /// its disk for each client. So make one for many clients.
    #[cfg(feature = "tls")]
    pub fn trust(mut self, trust: Trust) -> Builder {
        self.trust = Some(trust);
        self
    }

    /// Signs what is said, with a [`SigningKey`](crate::SigningKey) or another. Bodies must be objects then.
    ///
    /// Where a body has a protobuf schema, it must have a field `__crypto__` for the signature.
    #[cfg(feature = "crypto")]
    pub fn sign(mut self, signer: impl Signer) -> Builder {
        self.options.signer = Some(Arc::new(signer));
        self
    }

    /// Makes a connection anew when it is lost, but not after a kick or when the server refuses us.
    ///
    /// Requests that wait for an answer then fail. Pushes go on in the same [`Pushes`]. [`Client::status`] tells of it.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Builder {
        self.reconnect = Some(reconnect);
        self
    }

    /// Logs in whenever a connection was made, the first one too; nothing else is sent before that is done.
    ///
    /// It is given a handle that may speak already, for this only. If it fails with a [`RequestError`](crate::RequestError)
    /// the attempt has failed and there may be others; another error is the end.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), shaddock_client::ConnectError> {
    /// use serde_json::{Value, json};
    /// use shaddock_client::{Client, Reconnect};
    ///
    /// let client = Client::builder()
    ///     .reconnect(Reconnect::default())
    ///     .log_in(async |client| {
    ///         let who = json!({ "username": "py", "rid": "lobby" });
    ///         let answer: Value = client.request("connector.entryHandler.enter", who).await?;
    ///         match answer["error"].as_bool() {
    ///             Some(true) => Err("somebody has this name".into()),
    ///             _ => Ok(()),
    ///         }
    ///     })
    ///     .connect("ws://127.0.0.1:3050")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn log_in<F>(mut self, log_in: impl Fn(Client) -> F + Send + Sync + 'static) -> Builder
    where
        F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.log_in = Some(Arc::new(move |client| Box::pin(log_in(client))));
        self
    }

    /// Connects to `ws://host:port/path` or `tcp://host:port`, or to `wss://..` or `tls://..` with the feature `tls`, and
    /// shakes hands.
    ///
    /// # Errors
    ///
    /// When nobody answers there, or the server does not want this client, or logging in fails.
    pub async fn connect(self, address: &str) -> Result<Client, ConnectError> {
        let dial = Dial::new(
            address,
            #[cfg(feature = "tls")]
            self.trust.clone(),
        );
        let dial = dial.await?;
        self.start(move || dial.clone().connect()).await
    }

    /// Connects with what `dial` gives, for this connection and each that follows it.
    ///
    /// For wires of other kinds, and where the address is to be asked for each time, as a gate is.
    ///
    /// # Errors
    ///
    /// As [`connect`](Builder::connect), or when `dial` fails.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use serde_json::{Value, json};
    /// use shaddock_client::{Client, Reconnect};
    /// use shaddock_transport::connect_websocket;
    ///
    /// /// The gate knows which connector we belong to now.
    /// async fn address() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    ///     let gate = Client::connect("ws://127.0.0.1:3014").await?;
    ///     let entry: Value = gate.request("gate.gateHandler.queryEntry", json!({ "uid": "py" })).await?;
    ///     Ok(format!("ws://{}:{}", entry["host"].as_str().unwrap_or_default(), entry["port"]))
    /// }
    ///
    /// let dial = async || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(connect_websocket(&address().await?).await?);
    /// let client = Client::builder().reconnect(Reconnect::default()).connect_with(dial).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect_with<W, E, F>(
        self,
        mut dial: impl FnMut() -> F + Send + 'static,
    ) -> Result<Client, ConnectError>
    where
        W: Wire,
        E: Into<Box<dyn Error + Send + Sync>>,
        F: Future<Output = Result<W, E>> + Send + 'static,
    {
        self.start(move || {
            let dialing = dial();
            async { dialing.await.map_err(|error| ConnectError::Dial(error.into())) }
        })
        .await
    }

    /// Shakes hands over a wire that is there already, such as one in memory. There is no other when it is lost.
    ///
    /// # Errors
    ///
    /// When the server does not want this client, or logging in fails.
    pub async fn over(mut self, wire: impl Wire) -> Result<Client, ConnectError> {
        self.reconnect = None;
        let mut wire = Some(wire);
        self.start(move || std::future::ready(wire.take().ok_or(ConnectError::Address))).await
    }

    async fn start<W, F>(
        mut self,
        dial: impl FnMut() -> F + Send + 'static,
    ) -> Result<Client, ConnectError>
    where
        W: Wire,
        F: Future<Output = Result<W, ConnectError>> + Send + 'static,
    {
        // All of connecting has one limit.
        self.options.handshake_timeout = Duration::MAX;
        let (commands, received) = mpsc::channel(COMMANDS);
        let (status, watched) = watch::channel(Status::Connected { connections: 1 });
        let shared = Arc::<Shared>::default();
        let subscriptions = self.subscriptions;
        let client =
            Client::new(commands, shared.clone(), watched, subscriptions.clone(), self.limits);
        let queue = self.reconnect.as_ref().map_or(0, |reconnect| reconnect.queue);
        let mut task = Task {
            dial,
            options: self.options,
            limit: self.limits.connect,
            log_in: self.log_in,
            back_off: self.reconnect.map(BackOff::new),
            client: client.downgrade(),
            shared,
            subscriptions,
            status,
            commands: Commands::new(received, queue),
            connection: None,
        };
        task.connect().await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "owned by the handles: it ends when the last is dropped"
        )]
        tokio::spawn(task.run());
        Ok(client)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("limits", &self.limits)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}
