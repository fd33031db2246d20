//! All log in, and stay.

use std::rc::Rc;

use tokio::time::Instant;

use crate::worker::{Clients, Worker};

pub(crate) fn spawn(worker: &Rc<Worker>, clients: &mut Clients) {
    for number in worker.share(worker.plan.clients) {
        clients.spawn(client(worker.clone(), number));
    }
}

async fn client(worker: Rc<Worker>, number: usize) {
    let permit = worker.doors.acquire().await.expect("nobody closes it");
    let entered = worker.count_log_in(&worker.user(number), Instant::now()).await;
    drop(permit);
    worker.tally().settled += 1;
    let Some(mut link) = entered else {
        return;
    };
    tokio::select! {
        error = link.stay() => return worker.tally().error(error),
        () = worker.phases.draining() => {}
    }
    link.leave().await;
}
