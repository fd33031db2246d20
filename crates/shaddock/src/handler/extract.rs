//! What a handler can ask for by naming it as an argument.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use shaddock_protocol::text;

use super::Request;
use crate::channel::Channels;
use crate::cluster::Cluster;
use crate::error::{Fault, Result};
use crate::group::Groups;
use crate::rpc::{RemoteClient, Rpc};
use crate::server::ServerHandle;
use crate::session::Session;

/// Something that can be made from a request: an argument of handlers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be an argument of a handler",
    label = "can't be taken from a request",
    note = "arguments are `Session`, `Msg<T>` where `T: serde::de::DeserializeOwned`, `State<T>`, \
            `Channels`, `Groups`, `Cluster`, `Rpc<C>` where `C` is the client of a remote, \
            `ServerHandle`, or a type of your own that implements `FromRequest`"
)]
pub trait FromRequest: Sized + Send {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// A fault, which is then the answer to the request.
    fn from_request(request: &Request) -> Result<Self>;

    /// What is missing on `server` for this to work ever. Asked when the server starts.
    ///
    /// # Errors
    ///
    /// A sentence that says what is missing; the start is stopped.
    fn check(server: &ServerHandle) -> Result<(), String> {
        let _ = server;
        Ok(())
    }
}

/// The message, read from JSON (or from protobuf, as the client's tables say). Comes last.
///
/// A message that can't be read as a `T` is answered with code 500; what was wrong is logged.
#[derive(Clone, Copy, Debug)]
pub struct Msg<T>(
    /// What was sent.
    pub T,
);

impl<T: DeserializeOwned + Send> FromRequest for Msg<T> {
    fn from_request(request: &Request) -> Result<Msg<T>> {
        match text::read(&request.body) {
            Ok(message) => Ok(Msg(message)),
            Err(error) => {
                let reason = format!("the message is no {}: {error}", type_name::<T>());
                Err(Fault::new(Fault::INTERNAL, reason))
            }
        }
    }
}

/// What the application put in with [`App::state`](crate::App::state), or for this server alone
/// with [`Server::state`](crate::Server::state).
#[derive(Debug)]
pub struct State<T>(
    /// What was put in.
    pub Arc<T>,
);

impl<T> Clone for State<T> {
    fn clone(&self) -> State<T> {
        State(self.0.clone())
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromRequest for State<T> {
    fn from_request(request: &Request) -> Result<State<T>> {
        match request.server.state::<T>() {
            Some(state) => Ok(State(state)),
            None => Err(Fault::internal(format!("there is no state of type {}", type_name::<T>()))),
        }
    }

    fn check(server: &ServerHandle) -> Result<(), String> {
        if server.state::<T>().is_some() {
            return Ok(());
        }
        Err(format!(
            "it needs `State<{}>`, which was not given with `App::state` or `Server::state`",
            type_name::<T>(),
        ))
    }
}

impl FromRequest for Session {
    fn from_request(request: &Request) -> Result<Session> {
        request.session().cloned()
    }
}

impl FromRequest for Channels {
    fn from_request(request: &Request) -> Result<Channels> {
        Ok(request.server.channels())
    }
}

impl FromRequest for Groups {
    fn from_request(request: &Request) -> Result<Groups> {
        Ok(request.server.groups())
    }
}

impl FromRequest for Cluster {
    fn from_request(request: &Request) -> Result<Cluster> {
        Ok(request.server.cluster())
    }
}

impl FromRequest for ServerHandle {
    fn from_request(request: &Request) -> Result<ServerHandle> {
        Ok(request.server.clone())
    }
}

impl<C: RemoteClient + 'static> FromRequest for Rpc<C> {
    fn from_request(request: &Request) -> Result<Rpc<C>> {
        request.server.rpc()
    }

    fn check(server: &ServerHandle) -> Result<(), String> {
        if server.app().has_kind(C::KIND) {
            return Ok(());
        }
        Err(format!("it calls servers of kind `{}`, and the application has no such kind", C::KIND))
    }
}
