//! What one kind of server does: `Server`, and the running one: `ServerHandle`.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::Value;
use shaddock_protocol::Hello;
use shaddock_transport::AccessList;

use crate::app::{AppHandle, StartError};
use crate::channel::{Channel, Channels, OnLost};
use crate::cluster::Cluster;
use crate::component::{Component, DynComponent};
use crate::config;
use crate::connector::{Connector, Fitted, Site};
use crate::cron::Crons;
use crate::error::Result;
use crate::group::Groups;
use crate::handler::filter::{Around, Filter};
use crate::handler::{Endpoint, Handler, IntoEndpoint};
use crate::handover;
use crate::handshake::{HandshakeHook, Peer, word};
use crate::ids::{Kind, Member, ServerId};
use crate::router::Rule;
use crate::rpc::{Remote, RemoteClient, Rpc};
use crate::running::Core;
use crate::session::{Moved, Session};
use crate::tasks::Tasks;

/// What the servers of one kind do: handlers, remotes, filters, hooks.
///
/// # Examples
///
/// ```
/// use shaddock::{Msg, Result, Server};
///
/// async fn echo(Msg(message): Msg<serde_json::Value>) -> Result<serde_json::Value> {
///     Ok(message)
/// }
///
/// let connector = Server::frontend("connector").on("entryHandler.echo", echo);
/// # let _ = connector;
/// ```
pub struct Server {
    pub(crate) kind: String,
    pub(crate) frontend: bool,
    pub(crate) endpoints: Vec<(String, Endpoint)>,
    pub(crate) remotes: Vec<Remote>,
    pub(crate) crons: Vec<(String, Endpoint)>,
    pub(crate) filters: Vec<Arc<dyn Around>>,
    pub(crate) remote_filters: Vec<Arc<dyn Around>>,
    pub(crate) rule: Option<Rule>,
    pub(crate) connector: Option<MakeConnector>,
    pub(crate) on_handshake: Option<HandshakeHook>,
    pub(crate) on_close: Option<Endpoint>,
    pub(crate) on_moved: FxHashMap<String, MovedHook>,
    pub(crate) on_lost_member: Option<LostHook>,
    pub(crate) on_handover: Option<HandoverHook>,
    pub(crate) load: Option<LoadHook>,
    pub(crate) states: Vec<(TypeId, MakeState)>,
    pub(crate) components: Vec<MakeComponent>,
}

pub(crate) type MovedHook =
    Arc<dyn Fn(ServerHandle, Session, Moved) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(crate) type HandoverHook =
    Arc<dyn Fn(ServerHandle) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(crate) type LoadHook = Arc<dyn Fn(&ServerHandle) -> u64 + Send + Sync>;
pub(crate) type LostHook = Arc<OnLost>;
pub(crate) type AnyState = Arc<dyn Any + Send + Sync>;
pub(crate) type MakeConnector = Arc<dyn Fn(&Site<'_>) -> Result<Fitted, StartError> + Send + Sync>;
pub(crate) type MakeState = Arc<dyn Fn(&ServerHandle) -> AnyState + Send + Sync>;
pub(crate) type MakeComponent = Arc<dyn Fn(&ServerHandle) -> Arc<dyn DynComponent> + Send + Sync>;

impl Server {
    /// Servers that clients connect to.
    pub fn frontend(kind: &str) -> Server {
        Server::new(kind, true)
    }

    /// Servers that only other servers talk to.
    pub fn backend(kind: &str) -> Server {
        Server::new(kind, false)
    }

    fn new(kind: &str, frontend: bool) -> Server {
        Server {
            kind: kind.to_owned(),
            frontend,
            endpoints: Vec::new(),
            remotes: Vec::new(),
            crons: Vec::new(),
            filters: Vec::new(),
            remote_filters: Vec::new(),
            rule: None,
            connector: None,
            on_handshake: None,
            on_close: None,
            on_moved: FxHashMap::default(),
            on_lost_member: None,
            on_handover: None,
            load: None,
            states: Vec::new(),
            components: Vec::new(),
        }
    }

    /// Answers the route `kind.handler.method`, given as `handler.method`, with a [`Handler`].
    ///
    /// The messages of one session are handled one after another; [`Handler::concurrent`] lets
    /// those to one handler overtake each other.
    #[must_use]
    pub fn on<Args>(mut self, route: &str, handler: impl IntoEndpoint<Args>) -> Server {
        self.endpoints.push((route.to_owned(), handler.into_endpoint()));
        self
    }

    /// Answers the calls of other servers. `#[remote]` traits give such a [`Remote`] by `serve`.
    #[must_use]
    pub fn remote(mut self, remote: Remote) -> Server {
        self.remotes.push(remote);
        self
    }

    /// Names what jobs may run, as `handler.method`: those of `crons.json`, and those added with
    /// [`ServerHandle::crons`]. A [`Handler`] without a session and a message, and without a deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use shaddock::{Channels, Result, Server};
    ///
    /// /// With `{"chat": [{"id": "news", "time": "0 0 8 * * *", "action": "news.send"}]}`
    /// /// in crons.json: every day at eight.
    /// async fn send_news(channels: Channels) -> Result<()> {
    ///     channels.open("lobby").push("onNews", &"Good morning!")
    /// }
    ///
    /// let chat = Server::backend("chat").cron("news.send", send_news);
    /// # let _ = chat;
    /// ```
    #[must_use]
    pub fn cron<Args: 'static>(mut self, action: &str, job: impl Handler<Args>) -> Server {
        self.crons.push((action.to_owned(), IntoEndpoint::<Args>::into_endpoint(job)));
        self
    }

    /// Puts a filter around the handlers of this kind. The first one given is the outermost.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter) -> Server {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Puts a filter around the remotes of this kind. The first one given is the outermost.
    #[must_use]
    pub fn remote_filter(mut self, filter: impl Filter) -> Server {
        self.remote_filters.push(Arc::new(filter));
        self
    }

    /// Says which key of a session decides which server of this kind its messages go to.
    ///
    /// The same key goes to the same server, from everywhere, as long as that server lives. Without
    /// a rule the key is the uid, or the session's id where there is none. The rule is asked for every message that is sent
    /// on, and must not block.
    #[must_use]
    pub fn route_by(
        mut self,
        key: impl Fn(&Session) -> Result<String> + Send + Sync + 'static,
    ) -> Server {
        self.rule = Some(Rule::Key(Arc::new(key)));
        self
    }

    /// Says which server of this kind a session's messages go to, among those that live, sorted by id. The rule is asked
    /// for every message that is sent on, and must not block.
    ///
    /// So nothing belongs to a key there, and an application with [`on_handover`](Server::on_handover) on these
    /// servers, or [`on_moved`](Server::on_moved) for them, does not start.
    #[must_use]
    pub fn route_with(
        mut self,
        choose: impl Fn(&Session, &[ServerId]) -> Result<ServerId> + Send + Sync + 'static,
    ) -> Server {
        self.rule = Some(Rule::Choose(Arc::new(choose)));
        self
    }

    /// Gives each front-end of this kind a [connector](crate::connector) of the application's own.
    #[must_use]
    pub fn connector<C: Connector>(
        mut self,
        make: impl Fn(&Site<'_>) -> Result<C, StartError> + Send + Sync + 'static,
    ) -> Server {
        self.connector = Some(Arc::new(move |site| Ok(Fitted::new(make(site)?, site))));
        self
    }

    /// Says who may come in. What it returns is the client's `user` in the answer to its handshake;
    /// nothing (`()`, `None`) is no answer.
    ///
    /// A client that gets a fault is sent away with its code and fields: 501 is what clients of pomelo
    /// know for a type or version that is not served, and they show no more than the code by themselves.
    /// Until this is done nothing more is read of the client.
    ///
    /// # Examples
    ///
    /// ```
    /// use shaddock::{Fault, Hello, Peer, Server, ServerHandle};
    ///
    /// let connector = Server::frontend("connector").on_handshake(
    ///     async |_: ServerHandle, hello: Hello, peer: Peer| match hello.client_type.as_deref() {
    ///         Some("old-client") => Err(Fault::new(501, "a client that is too old").with("msg", "please update")),
    ///         _ => Ok(format!("welcome, {}", peer.address.ip())),
    ///     },
    /// );
    /// # let _ = connector;
    /// ```
    #[must_use]
    pub fn on_handshake<Fut, T>(
        mut self,
        hook: impl Fn(ServerHandle, Hello, Peer) -> Fut + Send + Sync + 'static,
    ) -> Server
    where
        Fut: Future<Output = Result<T>> + Send + 'static,
        T: Serialize,
    {
        self.on_handshake = Some(Arc::new(move |server, hello, peer| {
            let answered = hook(server, hello, peer);
            Box::pin(async move { word(&answered.await?) })
        }));
        self
    }

    /// Runs when a session of this front-end has ended, once, however it ended: after everything
    /// it had under way, here and on back-ends. A [`Handler`] without a message.
    #[must_use]
    pub fn on_close<Args: 'static>(mut self, hook: impl Handler<Args>) -> Server {
        self.on_close = Some(IntoEndpoint::<Args>::into_endpoint(hook));
        self
    }

    /// Runs for each session of this front-end whose key for servers of `kind` has another owner
    /// now, since one died, came back or was added: before any further message of that session. It runs as well
    /// when the owner had taken this front-end for dead: see [`Moved`].
    ///
    /// If it fails it runs again, after a second, then two, at most 32: it should do no harm twice.
    #[must_use]
    pub fn on_moved<Fut>(
        mut self,
        kind: &str,
        hook: impl Fn(ServerHandle, Session, Moved) -> Fut + Send + Sync + 'static,
    ) -> Server
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let hook: MovedHook =
            Arc::new(move |server, session, moved| Box::pin(hook(server, session, moved)));
        self.on_moved.insert(kind.to_owned(), hook);
        self
    }

    /// Runs for each member of a channel of these servers that was taken out without having left, once: its
    /// front-end died, its session is gone or has another uid, or another session claimed its uid. Not for those of a
    /// front-end that had taken this server for dead: it has entered them elsewhere, or does so here again. It must
    /// not block.
    #[must_use]
    pub fn on_lost_member(
        mut self,
        hook: impl Fn(Channel, Member) + Send + Sync + 'static,
    ) -> Server {
        self.on_lost_member = Some(Arc::new(hook));
        self
    }

    /// Runs on a back-end to give others of its kind what it knows of keys that are theirs from now on: of all if it
    /// stops, of some if a server was added.
    ///
    /// No message that belongs to a key is being handled here meanwhile. What arrives waits, up to 65,536 messages and
    /// 64 MiB of them; more are refused. The keys have their new owners already, so [`ServerHandle::owns`] says which stay, and
    /// [`Rpc::on`] finds who is to have the others. When the hook has ended, what waited and what still arrives is
    /// handled here or passed on to them, in order, and only then the front-ends are told, and
    /// [`on_moved`](Server::on_moved) runs there. So no request fails, and none is handled twice. Where nobody is left
    /// to hand over to, the hook does not run.
    ///
    /// Together with what is being handled when it begins, the hook has two seconds if a server was added, and about
    /// half of `deadline` in `[stop]` if this one stops, less what it waited for its turn: hand over many things at
    /// once, as below. After that, or if the server that was added leaves again, it is dropped where it is. Requests
    /// that take longer than two seconds keep it from running at all. Then, and if it fails, what waited is handled
    /// here as before, and `on_moved` makes sessions follow their keys. So let go of things at the end, when all of
    /// them are handed over, and take those that came already.
    ///
    /// A server that is added asks the others of its kind one after another, and is ready when all have answered. In
    /// the whole cluster one server of a kind does this, or stops, at a time, with those that stop together with it.
    /// The next waits: one that is added for ten seconds, one that stops for two fifths of `deadline`, and works on
    /// meanwhile. Who does not get its turn in that time, or can't reach the store in which turns are kept, goes on
    /// without a hand-over, and `on_moved` makes sessions follow their keys. So it is with a server that is added and
    /// that a front-end does not know, for they are parted.
    ///
    /// Name channels by their keys, as below. Where servers were parted, some may have been handed over to one that
    /// their front-ends don't take for the owner. Who is in a channel that their session's key names, on a server that
    /// is not the key's owner, is taken out within half a minute, and nobody is told.
    ///
    /// What the hook asks others of its kind may wait for a hand-over there. Handlers of two servers that ask each other
    /// for keys, one within the other, may wait for each other until both are given up.
    ///
    /// This is about what has a key: messages of clients, and calls by [`Rpc::of`] and [`Rpc::on`]. One-way calls that
    /// go straight to a new owner may arrive before earlier ones that the old one passes on. Keys also get other owners
    /// when a server dies or comes back from being cut off; then there is no hand-over, and `on_moved` alone runs.
    /// Front-ends own no keys, and neither do servers that are chosen by [`route_with`](Server::route_with): an
    /// application that has this hook there does not start.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::stream::{self, TryStreamExt as _};
    /// use shaddock::{Channel, Member, Result, Rpc, Server, ServerHandle};
    ///
    /// #[shaddock::remote("chat")]
    /// trait Rooms {
    ///     /// Goes on with `room`, and those inside.
    ///     async fn adopt(&self, room: String, members: Vec<Member>) -> Result<()>;
    /// }
    ///
    /// async fn hand_over(server: ServerHandle) -> Result<()> {
    ///     let chat: Rpc<RoomsClient> = server.rpc()?;
    ///     let channels = server.channels();
    ///     let gone = channels.names().into_iter().filter(|name| !server.owns(name));
    ///     let gone: Vec<_> = gone.filter_map(|name| channels.get(&name)).collect();
    ///     let handed = stream::iter(gone.iter().map(Ok)).try_for_each_concurrent(64, async |room| {
    ///         chat.on(room.name())?.adopt(room.name().to_owned(), room.members()).await
    ///     });
    ///     handed.await?;
    ///     gone.iter().for_each(Channel::destroy);
    ///     Ok(())
    /// }
    ///
    /// let chat = Server::backend("chat").on_handover(hand_over);
    /// # let _ = chat;
    /// ```
    #[must_use]
    pub fn on_handover<Fut>(
        mut self,
        hook: impl Fn(ServerHandle) -> Fut + Send + Sync + 'static,
    ) -> Server
    where
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.on_handover = Some(Arc::new(move |server| Box::pin(hook(server))));
        self
    }

    /// Says how busy a server of this kind is, for those who choose one by its load: see [`Cluster::load`]. Otherwise
    /// that is the number of sessions on a front-end, and on a back-end the number of messages of clients and calls of
    /// other servers that are being handled or wait for their turn.
    ///
    /// Any unit will do that is the same for all of the kind. It is asked about once a second, on the loop that reads
    /// what other servers send: it must not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use shaddock::{Server, ServerHandle};
    ///
    /// /// How many play on a server.
    /// #[derive(Default)]
    /// struct Players(AtomicU64);
    ///
    /// let battle = Server::backend("battle").state(|_| Players::default()).load(|server: &ServerHandle| {
    ///     server.state::<Players>().map_or(0, |players| players.0.load(Ordering::Relaxed))
    /// });
    /// # let _ = battle;
    /// ```
    #[must_use]
    pub fn load(mut self, load: impl Fn(&ServerHandle) -> u64 + Send + Sync + 'static) -> Server {
        self.load = Some(Arc::new(load));
        self
    }

    /// Gives each server of this kind a state of its own, for [`State<T>`](crate::State).
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(
        mut self,
        make: impl Fn(&ServerHandle) -> T + Send + Sync + 'static,
    ) -> Server {
        self.states.push((TypeId::of::<T>(), Arc::new(move |server| Arc::new(make(server)))));
        self
    }

    /// Gives each server of this kind a component: started before it is reachable, stopped after.
    #[must_use]
    pub fn component<C: Component>(
        mut self,
        make: impl Fn(&ServerHandle) -> C + Send + Sync + 'static,
    ) -> Server {
        self.components.push(Arc::new(move |server| Arc::new(make(server))));
        self
    }

    /// What clients may ask, as `kind.handler.method`.
    pub(crate) fn routes(&self) -> impl Iterator<Item = String> {
        self.handlers().map(|(route, _)| route)
    }

    /// The same, each with the path of what answers it.
    pub(crate) fn handlers(&self) -> impl Iterator<Item = (String, &'static str)> {
        let name = |route: &str| format!("{}.{route}", self.kind);
        self.endpoints.iter().map(move |(route, endpoint)| (name(route), endpoint.name))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<_> = self.routes().collect();
        f.debug_struct("Server")
            .field("kind", &self.kind)
            .field("routes", &routes)
            .finish_non_exhaustive()
    }
}

/// A server that runs. Cheap to clone; an argument of handlers.
#[derive(Clone)]
pub struct ServerHandle(pub(crate) Arc<Core>);

impl ServerHandle {
    /// What it is called.
    pub fn id(&self) -> &ServerId {
        &self.0.id
    }

    /// What kind it is.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Its entry in servers.json.
    pub fn entry(&self) -> &config::Server {
        &self.0.entry
    }

    /// A key of its entry in servers.json that is the application's own.
    pub fn extra(&self, key: &str) -> Option<&Value> {
        self.0.entry.extra.get(key)
    }

    /// The application it belongs to.
    pub fn app(&self) -> &AppHandle {
        &self.0.app
    }

    /// Its channels.
    pub fn channels(&self) -> Channels {
        self.0.channels.clone()
    }

    /// The groups of the cluster.
    pub fn groups(&self) -> Groups {
        Groups::new(self.0.pusher.clone())
    }

    /// The servers around it.
    pub fn cluster(&self) -> Cluster {
        Cluster::new(self.0.router.clone(), self.0.pusher.clone())
    }

    /// A caller of the remote `C`.
    ///
    /// # Errors
    ///
    /// If the application has no servers of the remote's kind.
    pub fn rpc<C: RemoteClient>(&self) -> Result<Rpc<C>> {
        Ok(Rpc::new(self.0.router.clone(), self.0.app.kind(C::KIND)?.clone()))
    }

    /// Whether `key` belongs to this server: what [`Server::route_by`] makes of a session, or an argument of
    /// [`Rpc::on`]. In [`Server::on_handover`]: whether it stays here.
    pub fn owns(&self, key: &str) -> bool {
        let owner = self.0.router.of_key(&self.0.kind, key);
        owner.is_ok_and(|owner| owner == self.0.id || handover::keeps(&owner))
    }

    /// Its jobs.
    pub fn crons(&self) -> Crons {
        Crons(self.0.clone())
    }

    /// Its own state of this type, or else the application's.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let own = self.0.states.get().and_then(|states| states.get(&TypeId::of::<T>()));
        match own {
            Some(state) => state.clone().downcast().ok(),
            None => self.0.app.state(),
        }
    }

    /// Its tasks: what is spawned there is waited for when the server stops.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Its place in the cluster.
    pub(crate) fn node(&self) -> &shaddock_cluster::Node {
        self.0.router.caller().node()
    }

    /// Who may connect, if it is a front-end: what the configuration said, until it is changed.
    pub fn access(&self) -> Option<&AccessList> {
        self.0.frontend.as_ref().map(|frontend| &frontend.access)
    }

    /// What was lost on the way to and from its clients, by reason.
    pub(crate) fn losses(&self) -> Vec<(&'static str, u64)> {
        let losses = self.0.frontend.as_ref().and_then(|frontend| frontend.losses.get());
        losses.map_or_else(Vec::new, |losses| losses.counts())
    }

    /// How many sessions it holds, if it is a front-end.
    pub fn session_count(&self) -> usize {
        self.0.frontend.as_ref().map_or(0, |frontend| frontend.table.len())
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerHandle({})", self.id())
    }
}
