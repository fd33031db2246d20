//! What other servers ask, by the remotes of a server.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use shaddock_cluster::{Answer, Peer};

use super::{Core, reply};
use crate::admin;
use crate::error::{Fault, Result};
use crate::handler::filter::through;
use crate::handler::{Origin, Reply, Request, Run};
use crate::handover;
use crate::rpc::RemoteService;
use crate::rpc::envelope::Method;
use crate::server::ServerHandle;
use crate::session::lane::Job;

impl Core {
    pub(super) fn on_remote(
        self: &Arc<Core>,
        from: &Peer,
        method: &Method<'_>,
        payload: &Bytes,
        answer: Option<Answer>,
    ) {
        let args = payload.slice_ref(method.args);
        let called = self.call_remote(from, method.service, method.method, args);
        // What the framework asks of itself makes nobody busy.
        let under_way = (!method.service.starts_with('@')).then(|| self.under_way.token());
        let core = self.clone();
        let Some(answer) = answer else {
            let work = method.key.map(|_| self.work.under_way());
            let job: Job = Box::pin(async move {
                let (_work, _under_way) = (work, under_way);
                if let Err(fault) = core.within(core.deadline(), called).await {
                    tracing::warn!(server = %core.id, %fault, "a one-way call failed");
                }
            });
            if self.oneways.push(from.id.clone(), None, job).is_err() {
                self.metrics.lane_overflows.increment(1);
                tracing::warn!(server = %self.id, from = %from.id, "too many one-way calls wait: one was dropped");
            }
            return;
        };
        // A hand-over is about keys, and waits for nothing else.
        let tasks = if method.key.is_some() { &self.work } else { &self.tasks };
        tasks.run("remote", async move {
            let _under_way = under_way;
            if answer.is_awaited() {
                let result = core.within(answer.deadline(), called).await;
                reply(answer, result);
            }
        });
    }

    pub(crate) fn call_remote(
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
        if service == admin::SERVICE {
            return admin::serve(self.clone(), from.clone(), args).boxed();
        }
        if service == handover::SERVICE {
            return handover::serve(self.clone(), from.boot, method, args);
        }
        let Some(remote) = self.remotes.get().and_then(|remotes| remotes.get(service)).cloned()
        else {
            return unknown();
        };
        self.metrics.remote_calls.increment(1);
        // What the framework asks of itself is nobody else's business.
        if self.remote_filters.is_empty() || service.starts_with('@') {
            return remote.call(method, args).unwrap_or_else(unknown);
        }
        let Ok(route) = format!("{}.{service}.{method}", self.kind).parse() else {
            return unknown();
        };
        let origin = Origin::Server(from.id.clone());
        let request = Request { server: ServerHandle(self.clone()), route, origin, body: args };
        let end: Arc<dyn Run> = Arc::new(RemoteEnd(remote));
        let filters = self.remote_filters.clone();
        Box::pin(async move { Ok(through(&filters, &end, request).await?.0) })
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
