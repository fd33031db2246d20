//! A run in memory under paused time, against a server that does what a test says.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shaddock_protocol::pomelo::{Kind, Message, Package, Packages, WireRoute};
use shaddock_transport::Wire;
use shaddock_transport::memory::{self, MemoryWire};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::phase::{Phase, Phases};
use crate::worker::Worker;
use crate::{Entrance, Plan, Scenario};

/// Runs something where the clock stands still while anything happens.
pub(crate) fn paused(test: impl Future<Output = ()>) {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(LocalOptions::default());
    runtime.unwrap().block_on(test);
}

/// The only worker of a plan that begins now and measures from now on, and what ends it.
pub(crate) fn worker(
    scenario: Scenario,
    change: impl FnOnce(&mut Plan),
) -> (Worker, watch::Sender<Phase>) {
    let mut plan = Plan::new(scenario, Entrance::Gate("nowhere:1".parse().unwrap()));
    plan.threads = 1;
    change(&mut plan);
    let start = Instant::now();
    let (phase, phases) = Phases::new(Phase::Running(start));
    let worker = Worker::new(Arc::new(plan), 0, "test".into(), phases, Arc::default());
    worker.tally().window = Some((start, start + Duration::from_secs(3600)));
    (worker, phase)
}

/// One end of a connection whose other end answers requests with the packages of `answer`.
pub(crate) fn server<F>(mut answer: impl FnMut(u32, WireRoute, Bytes) -> F + 'static) -> MemoryWire
where
    F: Future<Output = Vec<Bytes>>,
{
    let (ours, mut wire) = memory::pair();
    tokio::task::spawn_local(async move {
        let mut packages = Packages::default();
        while let Some(Ok(chunk)) = wire.receive().await {
            packages.push(chunk);
            while let Some(Package { kind, body }) = packages.next(1 << 20).unwrap() {
                match kind {
                    Kind::Handshake => {
                        let body = r#"{"code":200,"sys":{}}"#.into();
                        wire.send(&Package { kind, body }.encode().unwrap());
                    }
                    Kind::Data => {
                        let Message::Request { id, route, body } = Message::decode(body).unwrap()
                        else {
                            panic!("no request");
                        };
                        for package in answer(id, route, body).await {
                            wire.send(&package);
                        }
                    }
                    _ => {}
                }
                wire.flush().await.unwrap();
            }
        }
    });
    ours
}

/// The package of an answer.
pub(crate) fn response(id: u32, body: Bytes) -> Bytes {
    Message::Response { id, body }.package().unwrap()
}
