//! Somebody who looks after servers: `Operator`.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shaddock_cluster::{
    Answer, Boot, CallError, Config, Engine, JoinError, Member, Node, Peer, Receive,
};
use tokio::time::timeout;

use super::order::{Credentials, NewServer, Order};
use super::report::{Memory, Queues, SessionReport, Status, Users};
use super::{KIND, SERVICE};
use crate::ids::ServerId;
use crate::rpc::caller::{Caller, RpcError};
use crate::tasks::Tasks;

/// How long an order may take. A wrong password takes a second of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The method of the service that takes orders.
const ORDER: &str = "order";

/// Why an order was not carried out, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The server did not do it.
    #[error("{server}: {reason}")]
    Refused {
        /// Which server.
        server: ServerId,
        /// 401: no such user or password; 403: not for this level; others as the server says.
        code: i64,
        /// Why.
        reason: String,
    },
    /// The server gave no answer. It may have done it all the same, unless the source says otherwise.
    #[error("{server} gave no answer")]
    Unanswered {
        /// Which server.
        server: ServerId,
        /// What happened.
        source: CallError,
    },
    /// The answer was not understood: server and operator are of different versions.
    #[error("{server}: {reason}")]
    Unreadable {
        /// Which server.
        server: ServerId,
        /// What was wrong.
        reason: String,
    },
}

/// Somebody who looks after the servers of a cluster, while they run.
///
/// Each method says to which server it goes; [`servers`](Operator::servers) says which there are. What is
/// about clients is asked of front-ends, each of its own.
/// What is ordered and what it takes is in the documentation of [the module](crate::admin).
pub struct Operator {
    caller: Caller,
    credentials: Credentials,
    link: Tasks,
}

impl Operator {
    /// Joins `cluster` over `engine`, as a member of the kind `operator`. Whether the credentials are right
    /// is found out by each server that is asked.
    ///
    /// # Errors
    ///
    /// If the cluster can't be reached, or can't be called so.
    pub async fn join(
        engine: Arc<dyn Engine>,
        cluster: &str,
        credentials: Credentials,
    ) -> Result<Operator, JoinError> {
        // Nobody else has this name.
        let number = RandomState::new().build_hasher().finish();
        let id = format!("{KIND}-{number:016x}").parse().expect("it is a name");
        let mut config = Config::new(id, KIND.parse().expect("it is a name"));
        config.cluster = cluster.parse()?;
        let link = Tasks::root();
        let node =
            Node::join(engine, config, Arc::new(Nothing), |work| link.run("link", work)).await?;
        Ok(Operator { caller: Caller::new(node, PATIENCE), credentials, link })
    }

    /// The servers there are, sorted by id; operators are none.
    pub fn servers(&self) -> Vec<Member> {
        let all = self.caller.node().members().all();
        all.into_iter().filter(|member| member.kind.as_str() != KIND).collect()
    }

    /// Waits until there is such a server, as while it is being started. For ever, if there never is.
    pub async fn appears(&self, server: &ServerId) {
        self.caller.node().members().until(|members| members.get(server).is_some()).await;
    }

    /// Waits until there is no such server. For ever, if it stays.
    pub async fn gone(&self, server: &ServerId) {
        self.caller.node().members().until(|members| members.get(server).is_none()).await;
    }

    /// Waits until there is another run of a server than this one. For ever, if there is none.
    pub async fn replaced(&self, run: &Member) {
        let is_new = |member: Member| member.boot != run.boot;
        let members = self.caller.node().members();
        members.until(|members| members.get(&run.id).is_some_and(is_new)).await;
    }

    /// How a server is.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn status(&self, server: &ServerId) -> Result<Status, OrderError> {
        self.order(server, Order::Status).await
    }

    /// The users of a front-end: `limit` of them, the latest first.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn users(&self, server: &ServerId, limit: usize) -> Result<Users, OrderError> {
        self.order(server, Order::Users { limit }).await
    }

    /// The sessions of a front-end that are bound to the uid `name`, or have this id.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn sessions(
        &self,
        server: &ServerId,
        name: &str,
    ) -> Result<Vec<SessionReport>, OrderError> {
        self.order(server, Order::Sessions { name: name.to_owned() }).await
    }

    /// What a server is configured with, by the keys of servers.json and shaddock.toml.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn config(&self, server: &ServerId) -> Result<Value, OrderError> {
        self.order(server, Order::Config).await
    }

    /// The memory of a server's process.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`]. With 501 where the system does not tell.
    pub async fn memory(&self, server: &ServerId) -> Result<Memory, OrderError> {
        self.order(server, Order::Memory).await
    }

    /// What waits on a server.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn queues(&self, server: &ServerId) -> Result<Queues, OrderError> {
        self.order(server, Order::Queues).await
    }

    /// Has a server stop in order, and does not wait for it: [`gone`](Operator::gone) does. A process that
    /// has no more servers ends.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn stop(&self, server: &ServerId) -> Result<(), OrderError> {
        self.order(server, Order::Stop).await
    }

    /// Has a server stop in order and start again, in the same process and with the configuration that
    /// this has read, and does not wait for it: [`replaced`](Operator::replaced) does.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn restart(&self, server: &ServerId) -> Result<(), OrderError> {
        self.order(server, Order::Restart).await
    }

    /// Ends the process of `server` at once, with all that is under way.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`]. With 409 if the process runs servers that are not among `all`.
    pub async fn kill(&self, server: &ServerId, all: &[ServerId]) -> Result<(), OrderError> {
        let run = self.run_of(server);
        match self.order(server, Order::Kill { servers: all.to_vec() }).await {
            // The end may overtake the answer; then it is seen instead.
            Err(error @ OrderError::Unanswered { .. }) if run.is_some() => {
                let ended = self.caller.node().members().until(|_| self.run_of(server) != run);
                timeout(PATIENCE, ended).await.map_err(|_| error)
            }
            answered => answered,
        }
    }

    /// Starts one more server in the process of `server`, and gives its id. When it returns it can be reached.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn add(&self, server: &ServerId, new: NewServer) -> Result<String, OrderError> {
        self.order(server, Order::Add(new)).await
    }

    /// Pushes to the sessions of a front-end that are bound to a uid, or to all of them.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn broadcast(
        &self,
        server: &ServerId,
        route: &str,
        body: Value,
        unbound: bool,
    ) -> Result<(), OrderError> {
        self.order(server, Order::Broadcast { route: route.to_owned(), body, unbound }).await
    }

    /// Closes the sessions of a front-end that are bound to `uid`, and says how many. With a reason the
    /// clients are told it.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn kick(
        &self,
        server: &ServerId,
        uid: &str,
        reason: Option<&str>,
    ) -> Result<usize, OrderError> {
        let reason = reason.map(str::to_owned);
        self.order(server, Order::Kick { uid: uid.to_owned(), reason }).await
    }

    /// The networks from which nobody may connect to a front-end.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn blacklist(&self, server: &ServerId) -> Result<Vec<String>, OrderError> {
        self.order(server, Order::Blacklist).await
    }

    /// From now on nobody may connect to a front-end from `network`, until it starts again. Those who
    /// are there stay.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn deny(&self, server: &ServerId, network: &str) -> Result<(), OrderError> {
        self.order(server, Order::Deny { network: network.to_owned() }).await
    }

    /// Takes a network off the [`blacklist`](Operator::blacklist), and says whether it was on it.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn pardon(&self, server: &ServerId, network: &str) -> Result<bool, OrderError> {
        self.order(server, Order::Pardon { network: network.to_owned() }).await
    }

    /// Calls a method of a remote, with its arguments as JSON, and gives its result. Filters run as for any call.
    ///
    /// # Errors
    ///
    /// As every order: [`OrderError`].
    pub async fn call(
        &self,
        server: &ServerId,
        remote: &str,
        method: &str,
        args: Vec<Value>,
    ) -> Result<Value, OrderError> {
        let order = Order::Call { remote: remote.to_owned(), method: method.to_owned(), args };
        self.order(server, order).await
    }

    /// Leaves the cluster, so that nobody has to miss this operator first.
    pub async fn leave(self) {
        self.caller.node().leave().await;
        self.link.finish(Duration::ZERO).await;
    }

    fn run_of(&self, server: &ServerId) -> Option<Boot> {
        self.caller.node().members().get(server).map(|member| member.boot)
    }

    async fn order<T: DeserializeOwned>(
        &self,
        server: &ServerId,
        order: Order,
    ) -> Result<T, OrderError> {
        let remote = self.caller.remote(server, SERVICE, ORDER);
        remote.call(&(&self.credentials, order)).await.map_err(|error| {
            let server = server.clone();
            match error {
                RpcError::Failed { fault, .. } => OrderError::Refused {
                    server,
                    code: fault.code(),
                    reason: fault.reason().to_owned(),
                },
                RpcError::Unanswered { source, .. } => OrderError::Unanswered { server, source },
                error => OrderError::Unreadable { server, reason: error.to_string() },
            }
        })
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// Nobody asks an operator anything.
struct Nothing;

impl Receive for Nothing {
    fn call(&self, _: &Peer, _: Bytes, answer: Answer) {
        // Dropped, it says so.
        drop(answer);
    }

    fn cast(&self, _: &Peer, _: Bytes) {}
}
