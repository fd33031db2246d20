//! A running server: what it does with what clients and other servers say.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustc_hash::FxHashMap;
use shaddock_cluster::{Answer, Event, Peer, Receive};
use shaddock_protocol::{Hello, Incoming, Route, Voice};
use tokio::time::Instant;

use crate::app::{AppEvent, AppHandle};
use crate::channel::Channels;
use crate::channel::push::Pusher;
use crate::config;
use crate::error::{Fault, Result};
use crate::handler::filter::{Filters, through};
use crate::handler::{Endpoint, Origin, Reply, Request, Run};
use crate::ids::{Kind, ServerId, SessionId};
use crate::router::{Router, owner};
use crate::rpc::RemoteService;
use crate::rpc::envelope::{self, Ask, Forward, Method, Push, Tell, To};
use crate::server::{AnyState, Server, ServerHandle};
use crate::session::connection::{Desk, Greeting, Taken};
use crate::session::lane::{Job, Lanes};
use crate::session::mailbox::Order;
use crate::session::record::{Frontend, Record};
use crate::session::{Identity, Moved, Session};
use crate::tasks::Tasks;
use crate::telemetry::ServerMetrics;

/// One running server.
pub(crate) struct Core {
    pub(crate) id: ServerId,
    pub(crate) kind: Kind,
    pub(crate) entry: config::Server,
    pub(crate) definition: Arc<Server>,
    pub(crate) app: AppHandle,
    pub(crate) tasks: Tasks,
    pub(crate) router: Router,
    pub(crate) pusher: Pusher,
    pub(crate) channels: Channels,
    pub(crate) endpoints: FxHashMap<String, Endpoint>,
    pub(crate) filters: Filters,
    pub(crate) remote_filters: Filters,
    pub(crate) frontend: Option<Arc<Frontend>>,
    pub(crate) states: OnceLock<FxHashMap<TypeId, AnyState>>,
    pub(crate) remotes: OnceLock<FxHashMap<&'static str, Arc<dyn RemoteService>>>,
    /// One for each session of another server that sends messages here.
    pub(crate) lanes: Arc<Lanes<(ServerId, SessionId)>>,
    /// One for each server that sends one-way calls here.
    pub(crate) oneways: Arc<Lanes<ServerId>>,
    pub(crate) deadline: Duration,
    /// The route under which the close hook runs.
    pub(crate) close_route: Route,
    pub(crate) metrics: ServerMetrics,
}

impl Core {
    /// Makes what the definition promises: the states first, for remotes may use them.
    pub(crate) fn furnish(self: &Arc<Core>) {
        let server = ServerHandle(self.clone());
        let states = self
            .definition
            .states
            .iter()
            .map(|(id, make)| (*id, make(&server)))
            .collect();
        // Set once, here.
        let _ = self.states.set(states);
        let mut remotes: FxHashMap<&'static str, Arc<dyn RemoteService>> = self
            .definition
            .remotes
            .iter()
            .map(|remote| (remote.name(), remote.make(&server)))
            .collect();
        if let Some(frontend) = &self.frontend {
            let sessions = crate::session::remote::Sessions(frontend.clone());
            remotes.insert(crate::session::remote::SERVICE, Arc::new(sessions));
        }
        let _ = self.remotes.set(remotes);
    }

    /// What keeps the server from working, if anything does: a sentence for each handler.
    pub(crate) fn check(self: &Arc<Core>) -> Vec<String> {
        let server = ServerHandle(self.clone());
        let hook = self
            .definition
            .on_close
            .iter()
            .map(|hook| ("the close hook", hook));
        self.definition
            .endpoints
            .iter()
            .map(|(route, endpoint)| (route.as_str(), endpoint))
            .chain(hook)
            .filter_map(|(what, endpoint)| {
                let missing = endpoint.run.check(&server).err()?;
                Some(format!("{}: {what}: {missing}", self.kind))
            })
            .collect()
    }

    /// Handles one message of a client, here, and gives the body of the answer.
    fn handle(
        self: &Arc<Core>,
        endpoint: &Endpoint,
        session: Session,
        route: Route,
        body: Bytes,
    ) -> impl Future<Output = Bytes> + Send + 'static + use<> {
        let request = Request {
            server: ServerHandle(self.clone()),
            route: route.clone(),
            origin: Origin::Client(session.clone()),
            body,
        };
        let (core, filters, endpoint) = (self.clone(), self.filters.clone(), endpoint.clone());
        async move {
            let run = async {
                let _permit = match &endpoint.together {
                    Some(together) => together.acquire().await.ok(),
                    None => None,
                };
                through(&filters, &endpoint.run, request).await
            };
            match core.within_deadline(run).await {
                Ok(Reply(body)) => body,
                Err(fault) => {
                    core.metrics.faults.increment(1);
                    let fault = core.app.on_error(fault, &route, Some(&session));
                    tracing::info!(server = %core.id, %route, session = %session.id(), %fault, "a request failed");
                    fault.to_body()
                }
            }
        }
    }

    /// Waits for `run` up to the deadline of requests; what panics is a fault.
    async fn within_deadline<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let run = AssertUnwindSafe(run).catch_unwind();
        match tokio::time::timeout(self.deadline, run).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                self.metrics.panics.increment(1);
                let what = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                tracing::error!(server = %self.id, panic = %what, "a handler panicked");
                Err(Fault::internal("a panic"))
            }
            Err(_) => {
                self.metrics.timeouts.increment(1);
                Err(Fault::internal(format!(
                    "nothing came out within {:?}",
                    self.deadline
                )))
            }
        }
    }

    fn endpoint(&self, route: &Route) -> Result<&Endpoint> {
        self.endpoints
            .get(route.rest())
            .ok_or_else(|| Fault::internal(format!("there is no handler for {route}")))
    }

    /// Sends a message on to the server it is meant for. The answer goes to the client by itself.
    fn forward(self: &Arc<Core>, record: &Arc<Record>, message: Incoming) -> Result<()> {
        let Incoming { id, route, body } = message;
        let session = Session::here(record.clone());
        let kind = self.app.kind(route.kind())?;
        let server = self.router.of_session(kind, &session)?;
        let ask = Ask::Forward(Forward {
            session: record.id,
            peer: record.peer,
            identity: &record.packed_identity(),
            route: route.as_str(),
            notify: id.is_none(),
            body: &body,
        });
        let packed = envelope::pack(&ask)?;
        self.metrics.forwarded.increment(1);
        record.begin_forward();
        let (core, record, deadline) =
            (self.clone(), record.clone(), Instant::now() + self.deadline);
        self.router.caller().node().call_then(&server, &packed, deadline, move |answer| {
            let body = match answer.map_err(Fault::from).and_then(envelope::unpack_answer) {
                Ok(body) => body,
                Err(fault) => {
                    let session = Session::here(record.clone());
                    core.metrics.faults.increment(1);
                    let fault = core.app.on_error(fault, &route, Some(&session));
                    tracing::warn!(server = %core.id, %route, session = %record.id, %fault, "a forwarded request failed");
                    fault.to_body()
                }
            };
            record.respond(id, &route, &body);
            record.end_forward();
        });
        Ok(())
    }

    fn answer_fault(
        &self,
        record: &Arc<Record>,
        id: Option<NonZeroU32>,
        route: &Route,
        fault: Fault,
    ) {
        self.metrics.faults.increment(1);
        let fault = self
            .app
            .on_error(fault, route, Some(&Session::here(record.clone())));
        tracing::info!(server = %self.id, %route, session = %record.id, %fault, "a request failed");
        record.respond(id, route, &fault.to_body());
    }

    /// A message that a front-end sent on.
    fn on_forward(
        self: &Arc<Core>,
        from: &Peer,
        forward: Forward<'_>,
        payload: &Bytes,
        answer: Answer,
    ) {
        let fail = |fault: Fault, answer: Answer| {
            tracing::info!(server = %self.id, route = %forward.route, %fault, "a request failed");
            reply(answer, Ok(fault.to_body()));
        };
        let begun = (|| {
            let route: Route = forward.route.parse()?;
            let endpoint = self.endpoint(&route)?.clone();
            let identity: Identity = envelope::unpack(forward.identity)?;
            Ok((route, endpoint, identity))
        })();
        let (route, endpoint, identity) = match begun {
            Ok(begun) => begun,
            Err(fault) => return fail(fault, answer),
        };
        let session = Session::far(
            forward.session,
            from.id.clone(),
            forward.peer,
            identity,
            self.router.caller().clone(),
            self.pusher.clone(),
        );
        let body = payload.slice_ref(forward.body);
        self.metrics.handled.increment(1);
        let handled = self.handle(&endpoint, session, route, body);
        let job = async move {
            let body = handled.await;
            reply(answer, Ok(body));
        };
        if endpoint.together.is_some() {
            self.tasks.run("concurrent handler", job);
        } else if let Err(job) = self
            .lanes
            .push((from.id.clone(), forward.session), Box::pin(job))
        {
            // Dropping the job drops the answer, which tells the front-end so.
            drop(job);
            self.metrics.lane_overflows.increment(1);
            tracing::warn!(server = %self.id, session = %forward.session, "a lane is full: a request was refused");
        }
    }

    fn on_remote(
        self: &Arc<Core>,
        from: &Peer,
        method: &Method<'_>,
        payload: &Bytes,
        answer: Option<Answer>,
    ) {
        let args = payload.slice_ref(method.args);
        let called = self.call_remote(from, method.service, method.method, args);
        let core = self.clone();
        let Some(answer) = answer else {
            let job: Job = Box::pin(async move {
                if let Err(fault) = core.within_deadline(called).await {
                    tracing::warn!(server = %core.id, %fault, "a one-way call failed");
                }
            });
            if self.oneways.push(from.id.clone(), job).is_err() {
                self.metrics.lane_overflows.increment(1);
                tracing::warn!(server = %self.id, from = %from.id, "too many one-way calls wait: one was dropped");
            }
            return;
        };
        self.tasks.run("remote", async move {
            reply(answer, core.within_deadline(called).await);
        });
    }

    fn call_remote(
        self: &Arc<Core>,
        from: &Peer,
        service: &str,
        method: &str,
        args: Bytes,
    ) -> BoxFuture<'static, Result<Bytes>> {
        let unknown = || {
            let fault = Fault::internal(format!("{} has no remote {service}.{method}", self.id));
            std::future::ready(Err(fault)).boxed()
        };
        let Some(remote) = self
            .remotes
            .get()
            .and_then(|remotes| remotes.get(service))
            .cloned()
        else {
            return unknown();
        };
        self.metrics.remote_calls.increment(1);
        if self.remote_filters.is_empty() {
            return remote.call(method, args).unwrap_or_else(unknown);
        }
        let Ok(route) = format!("{}.{service}.{method}", self.kind).parse() else {
            return unknown();
        };
        let origin = Origin::Server(from.id.clone());
        let request = Request {
            server: ServerHandle(self.clone()),
            route,
            origin,
            body: args,
        };
        let end: Arc<dyn Run> = Arc::new(RemoteEnd(remote));
        let reply = through(&self.remote_filters, &end, request);
        Box::pin(async move { Ok(reply.await?.0) })
    }

    /// A push for some of our sessions: encoded once for each way in which they are spoken to.
    fn on_push(&self, push: &Push<'_>, payload: &Bytes) {
        let Some(frontend) = &self.frontend else {
            return;
        };
        let body = payload.slice_ref(push.body);
        let mut frames = Frames {
            route: push.route,
            body,
            made: Vec::new(),
        };
        let mut delivered = 0;
        let mut deliver = |record: &Record| {
            if let Some(frame) = record.voice().and_then(|voice| frames.of(voice)) {
                record.post(frame);
                delivered += 1;
            }
        };
        match &push.to {
            To::Sessions(ids) => frontend
                .table
                .visit(envelope::unpack_sessions(ids), deliver),
            To::Uid(uid) => frontend
                .table
                .of_uid(uid)
                .iter()
                .for_each(|record| deliver(record)),
            To::All { with, unbound } => {
                for record in frontend.table.all() {
                    let wanted = record.identity(|identity| {
                        (*unbound || identity.uid.is_some())
                            && with
                                .iter()
                                .all(|(name, value)| identity.settings.get(name) == Some(value))
                    });
                    if wanted {
                        deliver(&record);
                    }
                }
            }
        }
        frontend.metrics.pushed.increment(delivered);
    }

    /// Keys of `kind` have other owners now: tells the sessions whose key moved, then lets it be so.
    fn on_owners(self: &Arc<Core>, kind: &Kind) {
        let now = self.router.caller().node().members().of_kind(kind);
        if self.definition.on_moved.contains_key(kind.as_str()) && self.router.is_keyed(kind) {
            let before = self.router.view(kind);
            let records = self
                .frontend
                .iter()
                .flat_map(|frontend| frontend.table.all());
            for record in records {
                let session = Session::here(record.clone());
                let Ok(key) = self.router.key(kind, &session) else {
                    continue;
                };
                let (Some(from), Some(to)) = (owner(&before, &key), owner(&now, &key)) else {
                    continue;
                };
                if from != to {
                    let from = now.iter().any(|member| member.id == from).then_some(from);
                    record.mailbox.order(Order::Moved(Moved {
                        kind: kind.clone(),
                        from,
                        to,
                    }));
                }
            }
        }
        // With nobody left the last owners stay, so that those who come next are seen as new ones.
        if !now.is_empty() {
            self.router.set_view(kind.clone(), now);
        }
    }

    fn lose_frontend(&self, frontend: &ServerId) {
        for (channel, member) in self.channels.lose_frontend(frontend) {
            self.metrics.lost_members.increment(1);
            tracing::info!(server = %self.id, channel = channel.name(), %member, "a member was lost with its front-end");
            if let Some(hook) = &self.definition.on_lost_member {
                hook(channel, member);
            }
        }
    }
}

/// A running server as the cluster and the connections see it.
#[derive(Clone)]
pub(crate) struct Inbox(pub(crate) Arc<Core>);

impl Receive for Inbox {
    fn call(&self, from: &Peer, payload: Bytes, answer: Answer) {
        match envelope::unpack(&payload) {
            Ok(Ask::Forward(forward)) => self.0.on_forward(from, forward, &payload, answer),
            Ok(Ask::Remote(method)) => self.0.on_remote(from, &method, &payload, Some(answer)),
            Err(error) => {
                tracing::error!(server = %self.0.id, from = %from.id, %error, "an unreadable call was refused");
                reply(answer, Err(Fault::internal(format!("unreadable: {error}"))));
            }
        }
    }

    fn cast(&self, from: &Peer, payload: Bytes) {
        match envelope::unpack(&payload) {
            Ok(Tell::Push(push)) => self.0.on_push(&push, &payload),
            Ok(Tell::Remote(method)) => self.0.on_remote(from, &method, &payload, None),
            Err(error) => {
                tracing::error!(server = %self.0.id, from = %from.id, %error, "an unreadable cast was dropped");
            }
        }
    }

    fn event(&self, event: Event) {
        let core = &self.0;
        match event {
            Event::Joined(member) => {
                core.app.saw(&member);
                core.on_owners(&member.kind);
            }
            Event::Changed(member) => core.on_owners(&member.kind),
            Event::Left(member) | Event::Died(member) => {
                core.lose_frontend(&member.id);
                core.on_owners(&member.kind);
                core.app.missed(&member);
            }
            Event::Missed { from, casts } => {
                core.metrics.missed.increment(casts);
                tracing::warn!(server = %core.id, from = %from.id, casts, "messages of another server were lost");
            }
            Event::LinkLost => tracing::warn!(server = %core.id, "the link to the cluster is down"),
            Event::LinkBack { after } => {
                tracing::info!(server = %core.id, ?after, "the link to the cluster is back")
            }
            Event::Replaced { .. } => {
                tracing::error!(server = %core.id, "another server has taken this one's name: this one is out of the cluster");
            }
            _ => {}
        }
    }
}

/// Answers a call; a caller that can't be told has its deadline.
fn reply(answer: Answer, result: Result<Bytes>) {
    if let Err(error) = answer.send(envelope::pack_answer(result)) {
        tracing::warn!(%error, "an answer was not sent");
    }
}

impl Desk for Inbox {
    fn greet(&self, _record: &Arc<Record>, _hello: Hello) -> Greeting {
        Greeting::Accept(None)
    }

    fn take(&self, record: &Arc<Record>, message: Incoming) -> Taken {
        let core = &self.0;
        let (id, route) = (message.id, message.route.clone());
        if route.kind() != core.kind.as_str() {
            if let Err(fault) = core.forward(record, message) {
                core.answer_fault(record, id, &route, fault);
            }
            return Taken::Done;
        }
        let endpoint = match core.endpoint(&route) {
            Ok(endpoint) => endpoint,
            Err(fault) => {
                core.answer_fault(record, id, &route, fault);
                return Taken::Done;
            }
        };
        core.metrics.handled.increment(1);
        let handled = core.handle(
            endpoint,
            Session::here(record.clone()),
            route.clone(),
            message.body,
        );
        let record = record.clone();
        let job: Job = Box::pin(async move {
            let body = handled.await;
            record.respond(id, &route, &body);
        });
        match endpoint.together {
            Some(_) => Taken::Beside(job),
            None => Taken::InOrder(job),
        }
    }

    fn moved(&self, record: &Arc<Record>, moved: Moved) -> Job {
        let core = self.0.clone();
        let Some(hook) = core.definition.on_moved.get(moved.kind.as_str()).cloned() else {
            return Box::pin(std::future::ready(()));
        };
        let session = Session::here(record.clone());
        Box::pin(async move {
            let done = hook(ServerHandle(core.clone()), session.clone(), moved);
            if let Err(fault) = core.within_deadline(done).await {
                tracing::warn!(server = %core.id, session = %session.id(), %fault, "a session did not follow its key");
            }
        })
    }

    fn closed(&self, record: &Arc<Record>) -> Job {
        let (core, record) = (self.0.clone(), record.clone());
        Box::pin(async move {
            let session = Session::here(record.clone());
            if let Some(hook) = &core.definition.on_close {
                let request = Request {
                    server: ServerHandle(core.clone()),
                    route: core.close_route.clone(),
                    origin: Origin::Client(session.clone()),
                    body: Bytes::from_static(b"{}"),
                };
                if let Err(fault) = core.within_deadline(hook.run.run(request)).await {
                    tracing::warn!(server = %core.id, session = %record.id, %fault, "a close hook failed");
                }
            }
            record.end().await;
            record.tell(AppEvent::SessionClosed { session });
        })
    }
}

/// Where the filters around a remote end.
struct RemoteEnd(Arc<dyn RemoteService>);

impl Run for RemoteEnd {
    fn run(&self, request: Request) -> BoxFuture<'static, Result<Reply>> {
        let method = request.route.method().to_owned();
        match self.0.clone().call(&method, request.body) {
            Some(called) => Box::pin(async move { Ok(Reply(called.await?)) }),
            None => {
                let fault = Fault::internal(format!("there is no method {}", request.route));
                Box::pin(std::future::ready(Err(fault)))
            }
        }
    }

    fn check(&self, _server: &ServerHandle) -> Result<(), String> {
        Ok(())
    }
}

/// The frames of one push, made as they are needed.
struct Frames<'a> {
    route: &'a str,
    body: Bytes,
    made: Vec<(Voice, Option<Bytes>)>,
}

impl Frames<'_> {
    fn of(&mut self, voice: &Voice) -> Option<Bytes> {
        if let Some((_, frame)) = self.made.iter().find(|(made, _)| made == voice) {
            return frame.clone();
        }
        let frame = match voice.push(self.route, &self.body) {
            Ok(frame) => Some(frame),
            Err(error) => {
                tracing::error!(route = self.route, %error, "a push can't be encoded");
                None
            }
        };
        self.made.push((voice.clone(), frame.clone()));
        frame
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
