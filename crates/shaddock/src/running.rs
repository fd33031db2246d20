//! A running server: what it does with what clients and other servers say.

mod events;
mod follow;
mod remotes;

use std::any::TypeId;
use std::fmt;
use std::future::{Future, poll_fn};
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::FutureExt as _;
use rustc_hash::FxHashMap;
use shaddock_cluster::{Answer, Peer, trampoline};
use shaddock_protocol::{Hello, Incoming, Route};
use tokio::sync::Semaphore;
use tokio::task::unconstrained;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::app::{AppEvent, AppHandle};
use crate::channel::Channels;
use crate::channel::push::{Deliver as _, Pusher};
use crate::config;
use crate::cron::Timetable;
use crate::error::{Fault, Result};
use crate::group::{self, remote::OwnGroups};
use crate::handler::filter::{Filters, through};
use crate::handler::{Endpoint, Origin, Reply, Request, Run};
use crate::handover::Handover;
use crate::handshake::{self, Greeting};
use crate::ids::{Kind, ServerId, SessionId, Uid};
use crate::router::Router;
use crate::rpc::envelope::{self, Ask, Tell, To};
use crate::rpc::forward::Forward;
use crate::rpc::{RemoteService, caller};
use crate::server::{AnyState, Server, ServerHandle};
use crate::session::connection::{Desk, Taken};
use crate::session::lane::{Job, Lanes};
use crate::session::record::{Frontend, Record};
use crate::session::settings::Settings;
use crate::session::{Identity, Moved, Session, remote};
use crate::tasks::{Tasks, guarded};
use crate::telemetry::{Seldom, ServerMetrics};

pub(crate) use self::follow::Cause;

/// A handler on one server.
#[derive(Clone)]
pub(crate) struct Served {
    run: Arc<dyn Run>,
    /// Where it runs beside itself: as often as there are permits.
    together: Option<Arc<Semaphore>>,
}

impl From<&Endpoint> for Served {
    fn from(endpoint: &Endpoint) -> Served {
        let together = endpoint.limit.map(|limit| Arc::new(Semaphore::new(limit)));
        Served { run: endpoint.run.clone(), together }
    }
}

/// One running server.
pub(crate) struct Core {
    pub(crate) id: ServerId,
    pub(crate) kind: Kind,
    pub(crate) entry: config::Server,
    pub(crate) definition: Arc<Server>,
    pub(crate) app: AppHandle,
    pub(crate) tasks: Tasks,
    /// What handles messages that belong to a key, here and on servers that they were passed on to.
    pub(crate) work: Tasks,
    pub(crate) handover: Handover,
    pub(crate) router: Router,
    pub(crate) pusher: Pusher,
    pub(crate) channels: Channels,
    pub(crate) endpoints: FxHashMap<String, Served>,
    pub(crate) filters: Filters,
    pub(crate) remote_filters: Filters,
    pub(crate) frontend: Option<Arc<Frontend>>,
    pub(crate) states: OnceLock<FxHashMap<TypeId, AnyState>>,
    pub(crate) remotes: OnceLock<FxHashMap<&'static str, Arc<dyn RemoteService>>>,
    /// One for each session of another server that sends messages here.
    pub(crate) lanes: Arc<Lanes<(ServerId, SessionId)>>,
    /// One for each server that sends one-way calls here.
    pub(crate) oneways: Arc<Lanes<ServerId>>,
    /// What is being handled here beside the lanes: messages of clients, and calls of other servers.
    pub(crate) under_way: TaskTracker,
    /// When this run of it began.
    pub(crate) began: Instant,
    /// How long a request may take.
    pub(crate) patience: Duration,
    /// The route under which the close hook runs.
    pub(crate) close_route: Route,
    pub(crate) timetable: Timetable,
    pub(crate) metrics: ServerMetrics,
    /// For warnings that a client can bring about.
    pub(crate) seldom: Seldom,
}

impl Core {
    /// Makes what the definition promises: the states first, for remotes may use them.
    pub(crate) fn furnish(self: &Arc<Core>) {
        let server = ServerHandle(self.clone());
        let states = self.definition.states.iter().map(|(id, make)| (*id, make(&server))).collect();
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
            remotes.insert(group::remote::SERVICE, Arc::new(OwnGroups(frontend.clone())));
        }
        let _ = self.remotes.set(remotes);
    }

    /// What keeps the server from working, if anything does: a sentence for each handler.
    pub(crate) fn check(self: &Arc<Core>) -> Vec<String> {
        let server = ServerHandle(self.clone());
        let Server { endpoints, crons, on_close, .. } = &*self.definition;
        let hook = on_close.iter().map(|hook| ("the close hook", hook));
        endpoints
            .iter()
            .chain(crons)
            .map(|(route, endpoint)| (route.as_str(), endpoint))
            .chain(hook)
            .filter_map(|(what, endpoint)| {
                let missing = endpoint.run.check(&server).err()?;
                Some(format!("{}: {what}: {missing}", self.kind))
            })
            .collect()
    }

    /// How busy it is: as the application says, else by its sessions, or by what is under way.
    pub(crate) fn load(self: &Arc<Core>) -> Option<u64> {
        let server = ServerHandle(self.clone());
        if let Some(load) = &self.definition.load {
            return guarded("load", || load(&server));
        }
        let count = match self.frontend {
            Some(_) => server.session_count(),
            None => {
                let (begun, waiting) = self.lanes.load();
                begun + waiting + self.under_way.len()
            }
        };
        u64::try_from(count).ok()
    }

    /// Handles one message of a client, here, and gives the body of the answer.
    async fn handle(
        self: &Arc<Core>,
        endpoint: &Served,
        session: &Session,
        route: &Route,
        body: Bytes,
        deadline: Instant,
    ) -> Bytes {
        // Pinned where it is made, for what is handed on by value is in the future around it twice: 15,697 instructions
        // a request instead of 16,643.
        let run = std::pin::pin!(async {
            let _permit = match &endpoint.together {
                Some(together) => together.acquire().await.ok(),
                None => None,
            };
            let request = Request {
                server: ServerHandle(self.clone()),
                route: route.clone(),
                origin: Origin::Client(session.clone()),
                body,
            };
            through(&self.filters, &endpoint.run, request).await
        });
        let answered = self.within(deadline, run).await.and_then(|Reply(body)| {
            self.app.tables().check(route.as_str(), &body)?;
            Ok(body)
        });
        match answered {
            Ok(body) => body,
            Err(fault) => self.fault_body(fault, route, session),
        }
    }

    /// Counts and logs a fault, and gives the body the client is answered with.
    fn fault_body(&self, fault: Fault, route: &Route, session: &Session) -> Bytes {
        self.metrics.faults.increment(1);
        let fault = self.app.on_error(fault, route, Some(session));
        let (server, session) = (&self.id, session.id());
        if fault.is_internal() {
            tracing::warn!(%server, %route, %session, %fault, "a request failed");
        } else {
            tracing::debug!(%server, %route, %session, %fault, "a request was refused");
        }
        fault.to_body()
    }

    /// When what begins now must have ended.
    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Waits for `run` until `deadline`, which holds for the calls that it makes, too. What panics
    /// is a fault.
    async fn within<T>(
        &self,
        deadline: Instant,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        // What waited too long in its lane is not begun: its client has been answered.
        if deadline <= Instant::now() {
            self.metrics.timeouts.increment(1);
            return Err(Fault::internal("its turn came after the deadline"));
        }
        let mut run = std::pin::pin!(self.caught(caller::until(deadline, run)));
        let mut sleep = std::pin::pin!(None);
        poll_fn(|cx| {
            if let Poll::Ready(result) = run.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            // Most end at once, and need no timer.
            if sleep.is_none() {
                // Which comes in time also for one who takes all of the task's budget.
                sleep.set(Some(unconstrained(tokio::time::sleep_until(deadline))));
            }
            ready!(sleep.as_mut().as_pin_mut().expect("it was set").poll(cx));
            self.metrics.timeouts.increment(1);
            Poll::Ready(Err(Fault::internal("nothing came out before the deadline")))
        })
        .await
    }

    /// Runs code of the application's, which may take any time: nothing that another server waits for waits for it.
    fn aside<T>(&self, code: impl FnOnce() -> T) -> T {
        trampoline::aside(|| self.tasks.run("nothing", std::future::ready(())), code)
    }

    /// Waits for `run`. What panics is a fault.
    pub(crate) async fn caught<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        let mut run = std::pin::pin!(run);
        let run = poll_fn(|cx| self.aside(|| run.as_mut().poll(cx)));
        let panic = match AssertUnwindSafe(run).catch_unwind().await {
            Ok(result) => return result,
            Err(panic) => panic,
        };
        self.metrics.panics.increment(1);
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let what = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(server = %self.id, panic = %what, "a handler panicked");
        Err(Fault::internal("a panic"))
    }

    fn endpoint(&self, route: &Route) -> Result<&Served> {
        self.endpoints
            .get(route.rest())
            .ok_or_else(|| Fault::new(Fault::INTERNAL, format!("there is no handler for {route}")))
    }

    /// The server that a message is meant for.
    fn destination(&self, record: &Arc<Record>, route: &Route) -> Result<ServerId> {
        let kind = self.app.kind(route.kind())?;
        // The sessions of another front-end are none of its own: its hooks would never run for them.
        if self.app.is_frontend(kind) {
            return Err(Fault::new(
                Fault::INTERNAL,
                format!("{kind} is another kind of front-end"),
            ));
        }
        self.router.of_session(kind, &Session::here(record.clone()))
    }

    /// Sends a message on to the server it is meant for. The answer goes to the client by itself.
    fn forward(self: &Arc<Core>, record: &Arc<Record>, message: Incoming) -> Taken {
        // Begun before the server is chosen: whoever changes owners after that sees it, and an order that was given
        // before is seen here.
        let forwarding = record.begin_forward();
        let server = match self.destination(record, &message.route) {
            Ok(server) => server,
            Err(fault) => {
                self.answer_fault(record, message.id, &message.route, fault);
                return Taken::Done;
            }
        };
        if record.mailbox.has_orders() {
            return Taken::Later(message);
        }
        let Incoming { id, route, body } = message;
        let packed = record.identity(|Identity { uid, settings, revision }| {
            let forward = Forward {
                session: record.id,
                peer: record.peer,
                uid: uid.as_deref(),
                revision: *revision,
                settings: settings.packed(),
                route: route.as_str(),
                notify: id.is_none(),
                origin: None,
                passed: 0,
                body: &body,
            };
            forward.pack()
        });
        self.metrics.forwarded.increment(1);
        let (core, deadline) = (self.clone(), self.deadline());
        self.router.caller().node().call_then(&server, &packed, deadline, move |answer| {
            let record = forwarding.record();
            let body = match answer.map_err(Fault::from).and_then(envelope::unpack_answer) {
                Ok(body) => body,
                Err(fault) => core.fault_body(fault, &route, &Session::here(record.clone())),
            };
            record.respond(id, &route, &body);
        });
        Taken::Done
    }

    fn answer_fault(
        &self,
        record: &Arc<Record>,
        id: Option<NonZeroU32>,
        route: &Route,
        fault: Fault,
    ) {
        let session = Session::here(record.clone());
        record.respond(id, route, &self.aside(|| self.fault_body(fault, route, &session)));
    }

    /// A message that a front-end sent on.
    fn on_forward(
        self: &Arc<Core>,
        from: &Peer,
        forward: Forward<'_>,
        payload: &Bytes,
        answer: Answer,
    ) {
        let read = || -> Result<(Route, Session)> {
            // What is shared anyway, for its body, need not be copied.
            let route = ByteString::try_from(payload.slice_ref(forward.route.as_bytes()));
            let route = route.map_err(|error| Fault::internal(error.to_string()))?;
            Ok((Route::parse(route)?, self.far_session(&from.id, &forward)?))
        };
        let (route, session) = match read() {
            Ok(read) => read,
            Err(fault) => return reply(answer, Err(fault)),
        };
        let Forward { uid, revision, .. } = forward;
        if !self.channels.admit(uid.unwrap_or_default(), revision) {
            self.metrics.fenced.increment(1);
            let ask =
                self.router.caller().remote(session.frontend(), remote::SERVICE, remote::CONFIRM);
            // If this does not arrive, the next message brings another.
            let _ = ask.tell(&(uid,));
            return reply(answer, Err(Fault::internal("another session has its uid by now")));
        }
        let endpoint = match self.endpoint(&route) {
            Ok(endpoint) => endpoint,
            Err(fault) => return reply(answer, Ok(self.fault_body(fault, &route, &session))),
        };
        let lane = (session.frontend().clone(), forward.session);
        let body = payload.slice_ref(forward.body);
        self.metrics.handled.increment(1);
        let (core, served) = (self.clone(), endpoint.clone());
        let job = async move {
            if answer.is_awaited() {
                let deadline = answer.deadline();
                let body = core.handle(&served, &session, &route, body, deadline).await;
                reply(answer, Ok(body));
            }
        };
        if endpoint.together.is_some() {
            let under_way = self.under_way.token();
            self.work.run("concurrent handler", async move {
                let _under_way = under_way;
                job.await;
            });
        } else if let Err(job) = self.lanes.push(lane, Some(forward.session), Box::pin(job)) {
            // Dropping the job drops the answer, which tells the front-end so.
            drop(job);
            self.metrics.lane_overflows.increment(1);
            if self.seldom.now() {
                tracing::warn!(server = %self.id, session = %forward.session, "a lane is full: requests are refused");
            }
        }
    }

    /// The session of a message, which is on `from` or on the front-end that `from` had it of.
    pub(crate) fn far_session(&self, from: &ServerId, forward: &Forward<'_>) -> Result<Session> {
        let frontend = forward.origin.map_or_else(|| Ok(from.clone()), str::parse)?;
        Ok(Session::far(
            forward.session,
            frontend,
            forward.peer,
            Identity {
                uid: forward.uid.map(Uid::from),
                settings: Settings::unread(forward.settings),
                revision: forward.revision,
            },
            self.pusher.clone(),
        ))
    }

    /// Tells the clients of a front-end that it stops, if the configuration says how. Says whether it did.
    pub(crate) fn say_that_it_stops(&self, grace: Duration) -> bool {
        let stop = &self.app.config().stop;
        let (Some(frontend), Some(route)) = (&self.frontend, &stop.push) else { return false };
        let body = serde_json::json!({ "seconds": grace.as_secs_f64() });
        match self.pusher.encode(route, &body) {
            Ok(body) => {
                let to = To::All { with: serde_json::Map::new(), unbound: true };
                frontend.deliver(route, &body, &to);
                true
            }
            Err(fault) => {
                tracing::error!(server = %self.id, %fault, "clients can't be told that the server stops");
                false
            }
        }
    }
}

/// A running server as the cluster and the connections see it.
#[derive(Clone)]
pub(crate) struct Inbox(pub(crate) Arc<Core>);

impl Inbox {
    /// Handles a message here.
    pub(crate) fn dispatch(&self, from: &Peer, payload: Bytes, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.on_call(from, payload, answer),
            None => self.on_cast(from, payload),
        }
    }

    fn on_call(&self, from: &Peer, payload: Bytes, answer: Answer) {
        match Ask::unpack(&payload) {
            Ok(Ask::Forward(forward)) => self.0.on_forward(from, forward, &payload, answer),
            Ok(Ask::Remote(method)) => self.0.on_remote(from, &method, &payload, Some(answer)),
            Err(error) => {
                tracing::error!(server = %self.0.id, from = %from.id, %error, "an unreadable call was refused");
                reply(answer, Err(Fault::internal(format!("unreadable: {error}"))));
            }
        }
    }

    fn on_cast(&self, from: &Peer, payload: Bytes) {
        match envelope::unpack(&payload) {
            Ok(Tell::Push(push)) => {
                if let Some(frontend) = &self.0.frontend {
                    frontend.deliver(push.route, &payload.slice_ref(push.body), &push.to);
                }
            }
            Ok(Tell::Remote(method)) => self.0.on_remote(from, &method, &payload, None),
            Err(error) => {
                tracing::error!(server = %self.0.id, from = %from.id, %error, "an unreadable cast was dropped");
            }
        }
    }
}

/// Answers a call; a caller that can't be told has its deadline.
pub(crate) fn reply(answer: Answer, result: Result<Bytes>) {
    if let Err(error) = answer.send(envelope::pack_answer(result)) {
        tracing::warn!(%error, "an answer was not sent");
    }
}

impl Desk for Inbox {
    fn greet(&self, record: &Arc<Record>, hello: Hello, peer: handshake::Peer) -> Option<Greeting> {
        let core = self.0.clone();
        let hook = core.definition.on_handshake.clone()?;
        let session = record.id;
        Some(Box::pin(async move {
            let greeting = async { hook(ServerHandle(core.clone()), hello, peer).await };
            core.within(core.deadline(), greeting).await.inspect_err(|fault| {
                let server = &core.id;
                if fault.is_internal() {
                    tracing::warn!(%server, %session, %fault, "a handshake failed");
                } else {
                    tracing::debug!(%server, %session, %fault, "a client was sent away");
                }
            })
        }))
    }

    fn take(&self, record: &Arc<Record>, message: Incoming) -> Taken {
        let core = &self.0;
        if message.route.kind() != core.kind.as_str() {
            return core.forward(record, message);
        }
        let Incoming { id, route, body } = message;
        let endpoint = match core.endpoint(&route) {
            Ok(endpoint) => endpoint,
            Err(fault) => {
                core.answer_fault(record, id, &route, fault);
                return Taken::Done;
            }
        };
        core.metrics.handled.increment(1);
        let deadline = core.deadline();
        let (core, served, record) = (core.clone(), endpoint.clone(), record.clone());
        let is_alone = endpoint.together.is_none();
        let job: Job = Box::pin(async move {
            let session = Session::here(record.clone());
            let body = core.handle(&served, &session, &route, body, deadline).await;
            record.respond(id, &route, &body);
        });
        if is_alone { Taken::InOrder(job) } else { Taken::Beside(job) }
    }

    fn confirm(&self, record: &Arc<Record>) -> Job {
        Box::pin(record.clone().confirm())
    }

    fn moved(&self, record: &Arc<Record>, moved: Moved) -> Job {
        self.0.follow(record, moved)
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
                if let Err(fault) =
                    core.within(core.deadline(), async { hook.run.run(request).await }).await
                {
                    tracing::warn!(server = %core.id, session = %record.id, %fault, "a close hook failed");
                }
            }
            record.end().await;
            record.tell(AppEvent::SessionClosed { session });
        })
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("id", &self.id).finish_non_exhaustive()
    }
}
