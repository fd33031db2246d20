//! Visitors come to a chat that goes on for long.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use crate::worker::{Clients, Worker};

/// How long a visitor stays.
const VISIT: Duration = Duration::from_secs(1);

pub(crate) fn visit(worker: &Rc<Worker>, rooms: usize, visitors: usize, clients: &mut Clients) {
    for number in worker.share(visitors) {
        clients.spawn(visitor(worker.clone(), number, rooms, visitors));
    }
}

/// Comes again and again, to one room after another. What is said there is for the others, and not counted.
async fn visitor(worker: Rc<Worker>, first: usize, rooms: usize, visitors: usize) {
    if worker.phases.started().await.is_none() {
        return;
    }
    let members = rooms * worker.plan.members;
    let mut number = first;
    while worker.phases.is_running() {
        if let Some(mut link) =
            worker.log_in(&worker.user_in(members + number, number % rooms)).await
        {
            tokio::select! {
                error = link.stay() => worker.tally().error(error),
                () = worker.phases.draining() => {}
                () = sleep(VISIT) => link.leave().await,
            }
        }
        number += visitors;
    }
}
