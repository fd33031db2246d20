//! One after another comes in and leaves.

use std::rc::Rc;

use tokio::time::Instant;

use crate::worker::{Clients, Worker};

pub(crate) fn spawn(worker: &Rc<Worker>, total: Option<usize>, stay: bool, clients: &mut Clients) {
    for number in worker.share(worker.plan.clients) {
        clients.spawn(visitor(worker.clone(), number, total, stay));
    }
}

/// Comes in again and again, each time under the name of another number.
async fn visitor(worker: Rc<Worker>, first: usize, total: Option<usize>, stay: bool) {
    worker.tally().settled += 1;
    if worker.phases.started().await.is_none() {
        return;
    }
    let mut inside = Clients::default();
    let mut number = first;
    while worker.phases.is_running() && total.is_none_or(|total| number < total) {
        match worker.count_log_in(&worker.user(number), Instant::now()).await {
            Some(mut link) if stay => {
                let worker = worker.clone();
                inside.spawn(async move {
                    tokio::select! {
                        error = link.stay() => return worker.tally().error(error),
                        () = worker.phases.draining() => {}
                    }
                    link.leave().await;
                });
            }
            Some(link) => link.leave().await,
            None => {}
        }
        number += worker.plan.clients;
    }
    inside.ended().await;
}
