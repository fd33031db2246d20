//! What answers clients: async functions whose arguments say what they need.

pub(crate) mod extract;
pub(crate) mod filter;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use shaddock_protocol::{Route, text};

use crate::error::{Fault, Result};
use crate::ids::ServerId;
use crate::server::ServerHandle;
use crate::session::Session;
use extract::FromRequest;

/// A client's message to a handler, or a server's call to a remote, as filters see it.
pub struct Request {
    pub(crate) server: ServerHandle,
    pub(crate) route: Route,
    pub(crate) origin: Origin,
    /// Of a client whatever it sent, which is read as [`text::read`] says.
    pub(crate) body: Bytes,
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A client, through its session.
    Client(Session),
    /// Another server.
    Server(ServerId),
    /// Nobody: a job whose time has come.
    Clock,
}

impl Request {
    /// The server that handles it.
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// What is asked: of a handler `kind.handler.method`, of a remote `kind.Remote.method`.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Who asks.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The session of the client that asks.
    ///
    /// # Errors
    ///
    /// If another server asks, or nobody: remotes and jobs run without a session.
    pub fn session(&self) -> Result<&Session> {
        match &self.origin {
            Origin::Client(session) => Ok(session),
            Origin::Server(server) => {
                Err(Fault::internal(format!("{server} asks, without a session")))
            }
            Origin::Clock => Err(Fault::internal("a job has no session")),
        }
    }

    /// What was sent along: of a handler JSON, of a remote its arguments as MessagePack.
    pub fn body(&self) -> Bytes {
        match self.origin {
            Origin::Client(_) => text::body(self.body.clone()),
            Origin::Server(_) | Origin::Clock => self.body.clone(),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("server", &self.server.id())
            .field("route", &self.route)
            .field("origin", &self.origin)
            .field("body", &self.body.len())
            .finish()
    }
}

/// What a handler or a remote answers, encoded: JSON, or MessagePack of a remote.
#[derive(Clone, Debug)]
pub struct Reply(pub(crate) Bytes);

impl Reply {
    /// Writes a value as the JSON that clients get. Nothing (`()`, `None`) goes out as `{}`.
    ///
    /// # Errors
    ///
    /// If the value can't be written.
    pub fn json(value: &impl Serialize) -> Result<Reply> {
        let body = text::to_json(value)
            .map_err(|error| Fault::internal(format!("a reply can't be written: {error}")))?;
        Ok(Reply(if body == "null" { Bytes::from_static(b"{}") } else { body }))
    }

    /// The encoded body.
    pub fn body(&self) -> &Bytes {
        &self.0
    }
}

/// An async function that answers a message.
///
/// Its arguments are whatever implements [`FromRequest`]: [`Session`], [`Msg`](crate::Msg),
/// [`State`](crate::State), [`Channels`](crate::Channels), [`Groups`](crate::Groups),
/// [`Cluster`](crate::Cluster), [`Rpc`](crate::Rpc), [`ServerHandle`]; it returns [`Result<T>`] of
/// something that serializes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is an `async fn` of up to eight arguments, each of which can be taken from a \
            request (`Session`, `Msg<T>`, `State<T>`, `Channels`, `Cluster`, `Rpc<C>`, ..), that \
            returns `shaddock::Result<T>` where `T: serde::Serialize`"
)]
pub trait Handler<Args>: Clone + Send + Sync + Sized + 'static {
    /// Answers one request.
    fn call(&self, request: Request) -> impl Future<Output = Result<Reply>> + Send + 'static;

    /// What keeps the handler from working on this server, if anything does.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing.
    fn check(&self, server: &ServerHandle) -> Result<(), String>;

    /// Lets up to `limit` requests (at least one) on one server run beside each other, in any
    /// order, instead of one after another for each session.
    fn concurrent(self, limit: usize) -> Concurrent<Self, Args> {
        Concurrent { handler: self, limit, args: PhantomData }
    }
}

/// A handler whose requests may overtake one another. See [`Handler::concurrent`].
pub struct Concurrent<H, Args> {
    handler: H,
    limit: usize,
    args: PhantomData<fn(Args)>,
}

impl<H, Args> fmt::Debug for Concurrent<H, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrent").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What [`Server::on`](crate::Server::on) takes: a handler, or one with `.concurrent(n)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is an `async fn` of up to eight arguments, each of which can be taken from a \
            request (`Session`, `Msg<T>`, `State<T>`, `Channels`, `Cluster`, `Rpc<C>`, ..), that \
            returns `shaddock::Result<T>` where `T: serde::Serialize`"
)]
pub trait IntoEndpoint<Args> {
    /// The handler without its types.
    fn into_endpoint(self) -> Endpoint;
}

impl<Args: 'static, H: Handler<Args>> IntoEndpoint<Args> for H {
    fn into_endpoint(self) -> Endpoint {
        Endpoint {
            name: std::any::type_name::<H>(),
            run: Arc::new(Erased(self, PhantomData)),
            limit: None,
        }
    }
}

/// Keeps the two ways of being an endpoint apart.
#[derive(Debug)]
pub struct ConcurrentArgs<Args>(PhantomData<fn(Args)>);

#[diagnostic::do_not_recommend]
impl<Args: 'static, H: Handler<Args>> IntoEndpoint<ConcurrentArgs<Args>> for Concurrent<H, Args> {
    fn into_endpoint(self) -> Endpoint {
        Endpoint {
            name: std::any::type_name::<H>(),
            run: Arc::new(Erased(self.handler, PhantomData)),
            limit: Some(self.limit.max(1)),
        }
    }
}

/// A handler without its types.
#[derive(Clone)]
pub struct Endpoint {
    /// The path of the function, for people.
    pub(crate) name: &'static str,
    pub(crate) run: Arc<dyn Run>,
    /// How many may run at once on one server, in any order; without a limit, one for each session.
    pub(crate) limit: Option<usize>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// The object-safe twin of [`Handler`], and the end of every chain of filters.
pub(crate) trait Run: Send + Sync {
    fn run(&self, request: Request) -> BoxFuture<'static, Result<Reply>>;
    fn check(&self, server: &ServerHandle) -> Result<(), String>;
}

struct Erased<H, Args>(H, PhantomData<fn(Args)>);

impl<Args: 'static, H: Handler<Args>> Run for Erased<H, Args> {
    fn run(&self, request: Request) -> BoxFuture<'static, Result<Reply>> {
        Box::pin(self.0.call(request))
    }

    fn check(&self, server: &ServerHandle) -> Result<(), String> {
        self.0.check(server)
    }
}

macro_rules! handler_of {
    ($($arg:ident),*) => {
        #[allow(non_snake_case, unused_variables)]
        impl<F, Fut, T, $($arg,)*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<T>> + Send + 'static,
            T: Serialize + 'static,
            $($arg: FromRequest + 'static,)*
        {
            fn call(&self, request: Request) -> impl Future<Output = Result<Reply>> + Send + 'static {
                // The arguments are made and the future is begun here, so that it need not carry
                // the request with it.
                let begin = || -> Result<Fut> {
                    $(let $arg = $arg::from_request(&request)?;)*
                    Ok(self($($arg),*))
                };
                let begun = begin();
                async move { Reply::json(&begun?.await?) }
            }

            fn check(&self, server: &ServerHandle) -> Result<(), String> {
                $($arg::check(server)?;)*
                Ok(())
            }
        }
    };
}

handler_of!();
handler_of!(A);
handler_of!(A, B);
handler_of!(A, B, C);
handler_of!(A, B, C, D);
handler_of!(A, B, C, D, E);
handler_of!(A, B, C, D, E, G);
handler_of!(A, B, C, D, E, G, H);
handler_of!(A, B, C, D, E, G, H, I);
