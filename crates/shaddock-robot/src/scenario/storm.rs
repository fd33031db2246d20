//! All are cut off at once, and come back at once.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::worker::{Clients, Worker};

pub(crate) fn spawn(worker: &Rc<Worker>, every: Duration, clients: &mut Clients) {
    for number in worker.share(worker.plan.clients) {
        clients.spawn(client(worker.clone(), number, every));
    }
}

async fn client(worker: Rc<Worker>, number: usize, every: Duration) {
    let room = number / worker.plan.members;
    let mut inside = worker.admit(&worker.user_in(number, room)).await;
    let mut storm = None;
    // As somebody else each time: a server may not have noticed yet that the one before is gone.
    let mut name = number;
    loop {
        let next = async {
            let at = match storm {
                Some(at) => at,
                None => worker.phases.started().await? + worker.plan.warm_up,
            };
            sleep_until(at).await;
            Some(at)
        };
        let lost = async {
            match &mut inside {
                Some(link) => link.stay().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = worker.phases.draining() => break,
            error = lost => {
                worker.tally().error(error);
                inside = None;
            }
            at = next => {
                let Some(mut at) = at else {
                    break;
                };
                // Cut off, not left.
                drop(inside.take());
                name += worker.plan.clients;
                inside = worker.count_log_in(&worker.user_in(name, room), at).await;
                // Storms that went by meanwhile did not find us.
                while at <= Instant::now() {
                    at += every;
                }
                storm = Some(at);
            }
        }
    }
    if let Some(link) = inside {
        link.leave().await;
    }
}
