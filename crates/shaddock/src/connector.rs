//! How clients reach a front-end, and what they say: connectors, built in or of one's own.
//!
//! A [`Connector`] joins two halves that know nothing of each other. A [`Listener`] says how bytes arrive: it gives
//! [`Incoming`] connections, each of which becomes a [`Wire`]. A [`Dialect`] says what they mean: it is a machine
//! without IO, one for each client. Limits, access lists, sessions, metrics and the orderly stop stand around both and
//! are the same for all.
//!
//! `connector` in `shaddock.toml` names one that is built in; [`Server::connector`](crate::Server::connector) gives a
//! kind of front-end another. Either half may be one that is there already: [`Hybrid`] brings WebSocket, TCP, TLS and
//! proxies, [`Site::pomelo`] speaks pomelo's protocol.
//!
//! # Examples
//!
//! Pomelo's protocol as always, on a port that does not ask whether silent peers are still there:
//!
//! ```
//! use std::io;
//! use std::net::SocketAddr;
//! use std::time::Instant;
//!
//! use shaddock::connector::{Connector, Hybrid, HybridConfig, Site, pomelo};
//! use shaddock::{Server, StartError};
//!
//! struct Patient {
//!     address: SocketAddr,
//!     config: HybridConfig,
//!     clients: pomelo::Connector,
//! }
//!
//! impl Patient {
//!     fn new(site: &Site<'_>) -> Result<Patient, StartError> {
//!         let config = HybridConfig { keepalive: None, ..site.hybrid()? };
//!         Ok(Patient { address: site.options().listen, config, clients: site.pomelo()? })
//!     }
//! }
//!
//! impl Connector for Patient {
//!     type Listener = Hybrid;
//!     type Dialect = pomelo::Server;
//!
//!     async fn listen(&self) -> io::Result<Hybrid> {
//!         Hybrid::bind(self.address, self.config.clone()).await
//!     }
//!
//!     fn dialect(&self, now: Instant) -> pomelo::Server {
//!         pomelo::Server::new(&self.clients, now)
//!     }
//! }
//!
//! let connector = Server::frontend("connector").connector(Patient::new);
//! # let _ = connector;
//! ```

mod built_in;
mod site;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
#[cfg(feature = "tls")]
use shaddock_transport::Tls;
use shaddock_transport::memory::MemoryListener;

use crate::frontend::{Door, Premises};

pub(crate) use built_in::built_in;
pub use shaddock_protocol::pomelo;
pub use shaddock_protocol::{
    CloseReason, Dialect, Encode, EncodeError, Event, Incoming as Message, Refusal, Voice,
};
pub use shaddock_transport::{
    Hybrid, HybridConfig, Incoming, Listener, Losses, OpenError, Wire, WireError,
};
pub use site::Site;

/// How clients reach a front-end, and what they say. There is one for each front-end.
///
/// The example is that of [the module](self).
pub trait Connector: Send + Sync + 'static {
    /// How their bytes arrive.
    type Listener: Listener;

    /// What they say.
    type Dialect: Dialect;

    /// Takes the front-end's address. Called once, when the application starts; not at all in memory, where clients
    /// come over wires of the testing kit.
    ///
    /// # Errors
    ///
    /// When the address can't be listened at: the application does not start.
    fn listen(&self) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// The machine of a client that came at `now`.
    ///
    /// It has the clock: nobody else ends a client that never says who it is. How much it may send is
    /// in the options, for the machine to keep to.
    fn dialect(&self, now: Instant) -> Self::Dialect;
}

/// A connector of whatever type, fitted to one front-end.
pub(crate) struct Fitted {
    connector: Arc<dyn Erased>,
    /// To be read again when they change.
    #[cfg(feature = "tls")]
    pub(crate) certificates: Vec<Arc<Tls>>,
}

/// A listener that has its address, and is not yet open.
pub(crate) struct Listening {
    pub(crate) address: Option<SocketAddr>,
    open: Box<dyn FnOnce(Premises) + Send>,
}

impl Fitted {
    pub(crate) fn new(connector: impl Connector, site: &Site<'_>) -> Fitted {
        #[cfg(not(feature = "tls"))]
        let _ = site;
        Fitted {
            connector: Arc::new(connector),
            #[cfg(feature = "tls")]
            certificates: site.certificates(),
        }
    }

    /// Takes its address.
    pub(crate) async fn listen(&self) -> io::Result<Listening> {
        self.connector.clone().listen().await
    }

    /// The same in memory.
    pub(crate) fn listen_in(&self, memory: MemoryListener) -> Listening {
        self.connector.clone().listen_in(memory)
    }
}

impl Listening {
    fn new<C: Connector, L: Listener>(connector: Arc<C>, listener: L) -> Listening {
        Listening {
            address: listener.address(),
            open: Box::new(|premises| Door::new(connector, premises).open(listener)),
        }
    }

    /// Lets clients in.
    pub(crate) fn open(self, premises: Premises) {
        (self.open)(premises);
    }
}

/// What is needed of a connector, whatever its types.
trait Erased: Send + Sync {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, io::Result<Listening>>;
    fn listen_in(self: Arc<Self>, memory: MemoryListener) -> Listening;
}

impl<C: Connector> Erased for C {
    fn listen(self: Arc<Self>) -> BoxFuture<'static, io::Result<Listening>> {
        Box::pin(async move {
            let listener = Connector::listen(&*self).await?;
            Ok(Listening::new(self, listener))
        })
    }

    fn listen_in(self: Arc<Self>, memory: MemoryListener) -> Listening {
        Listening::new(self, memory)
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}
