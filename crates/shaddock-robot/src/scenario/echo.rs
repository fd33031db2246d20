//! Each asks and is answered the same.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::ClientEvent;
use shaddock_protocol::text;
use shaddock_transport::Wire;
use tokio::time::Instant;

use crate::link::{Link, LinkError};
use crate::pace::{Pace, Turns, conduct};
use crate::talk::{Part, talk};
use crate::tally::Tally;
use crate::template::Template;
use crate::timer::Timer;
use crate::worker::{Clients, Worker};

pub(crate) fn spawn(worker: &Rc<Worker>, route: &str, timer: Timer, clients: &mut Clients) {
    let mut speakers = Vec::new();
    for number in worker.share(worker.plan.clients) {
        let pace = match worker.plan.rate {
            None => Pace::Closed(worker.plan.outstanding),
            Some(_) => {
                let turns = Rc::<Turns>::default();
                speakers.push(turns.clone());
                Pace::Open(turns)
            }
        };
        clients.spawn(client(worker.clone(), number, route.to_owned(), pace));
    }
    if let Some(rate) = worker.plan.rate {
        let rate = rate * speakers.len() as f64 / worker.plan.clients as f64;
        clients.spawn(conduct(worker.clone(), rate, speakers, timer));
    }
}

async fn client(worker: Rc<Worker>, number: usize, route: String, pace: Pace) {
    let Some(mut link) = worker.admit(&worker.user(number)).await else {
        return;
    };
    match echo(&worker, &mut link, &route, &pace).await {
        Ok(()) => link.leave().await,
        Err(error) => worker.tally().error(error),
    }
}

/// Asks `route` again and again.
pub(crate) async fn echo<W: Wire>(
    worker: &Worker,
    link: &mut Link<W>,
    route: &str,
    pace: &Pace,
) -> Result<(), LinkError> {
    let mut part = Echo::new(link, route, worker.plan.size)?;
    talk(worker, link, &mut part, Some(pace)).await
}

struct Echo {
    request: Template,
    /// What was sent, and the answers too.
    body: Bytes,
    /// What was asked and is not answered, in that order.
    waiting: VecDeque<(NonZeroU32, Instant)>,
}

impl Echo {
    fn new<W: Wire>(link: &mut Link<W>, route: &str, size: usize) -> Result<Self, LinkError> {
        let body = text::to_json(&json!({ "d": "x".repeat(size) })).expect("a map is JSON");
        let request = Template::new(link, route, body.clone())?;
        Ok(Self { request, body, waiting: VecDeque::new() })
    }

    /// Whether an answer is the one that was asked for, however it is written.
    fn is_same(&self, answer: &[u8]) -> bool {
        answer == self.body || {
            let said = |body| Some(serde_json::from_slice::<Value>(body).ok()?.get("d")?.clone());
            said(answer) == said(&self.body)
        }
    }
}

impl<W: Wire> Part<W> for Echo {
    fn under_way(&self) -> usize {
        self.waiting.len()
    }

    fn say(
        &mut self,
        link: &mut Link<W>,
        intended: Instant,
        tally: &mut Tally,
    ) -> Result<(), LinkError> {
        let id = self.request.send(link)?;
        self.waiting.push_back((id, intended));
        tally.begun();
        Ok(())
    }

    fn hear(&mut self, event: ClientEvent, now: Instant, tally: &mut Tally) {
        let (id, body) = match event {
            ClientEvent::Response { id, body } => (id, body),
            ClientEvent::Unreadable(refusal) => {
                return tally.error(format_args!("can't be read: {refusal}"));
            }
            // Those in the room come and go.
            _ => return,
        };
        let asked = match self.waiting.front() {
            Some((front, _)) if front.get() == id => self.waiting.pop_front(),
            _ => {
                let place = self.waiting.iter().position(|(waiting, _)| waiting.get() == id);
                match place.and_then(|place| self.waiting.remove(place)) {
                    Some(asked) => {
                        tally.counts.out_of_order += 1;
                        Some(asked)
                    }
                    None => None,
                }
            }
        };
        let Some((_, intended)) = asked else {
            tally.counts.doubled += 1;
            return;
        };
        tally.arrived(intended, now);
        if !self.is_same(&body) {
            tally.error(format_args!("a wrong answer: {}", String::from_utf8_lossy(&body)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{sleep, sleep_until};

    use super::*;
    use crate::phase::Phase;
    use crate::tally::Counts;
    use crate::testing::{paused, response, server, worker};
    use crate::{Plan, Scenario};

    const ROUTE: &str = "connector.entryHandler.echo";

    /// Five seconds of echoes, with a server that answers at once but for the third second, when it does nothing.
    async fn stalled(rate: Option<f64>) -> Tally {
        let (worker, phase) = worker(echoes(), |plan| {
            (plan.clients, plan.rate) = (1, rate);
            (plan.warm_up, plan.time) = (Duration::ZERO, Duration::from_secs(5));
        });
        let worker = Rc::new(worker);
        let start = Instant::now();
        let seconds = move |seconds| start + Duration::from_secs(seconds);
        let wire = server(move |id, _, body| async move {
            // Closed loops wait for something, too.
            sleep(Duration::from_millis(1)).await;
            if seconds(2) <= Instant::now() {
                sleep_until(seconds(3)).await;
            }
            vec![response(id, body)]
        });
        let mut link = Link::greet(wire).await.unwrap();
        let turns = Rc::<Turns>::default();
        let pace = match rate {
            None => Pace::Closed(1),
            Some(_) => Pace::Open(turns.clone()),
        };
        let mut clients = Clients::default();
        if let Some(rate) = rate {
            clients.spawn(conduct(worker.clone(), rate, vec![turns], Timer::Coarse));
        }
        let end = async {
            sleep_until(seconds(5)).await;
            phase.send_replace(Phase::Draining);
            sleep(Duration::from_secs(5)).await;
            phase.send_replace(Phase::Over);
        };
        let (talked, ()) = tokio::join!(echo(&worker, &mut link, ROUTE, &pace), end);
        talked.unwrap();
        std::mem::take(&mut *worker.tally())
    }

    fn echoes() -> Scenario {
        Scenario::Echo { route: ROUTE.to_owned() }
    }

    fn millis(tally: &Tally, quantile: f64) -> u64 {
        tally.latencies.value_at_quantile(quantile) / 1_000_000
    }

    #[test]
    fn at_a_given_rate_a_stall_is_seen_by_all_who_would_have_asked_meanwhile() {
        paused(async {
            let tally = stalled(Some(100.0)).await;
            assert_eq!((tally.counts.sent, tally.counts.received, tally.due), (500, 500, 0));
            // A fifth of them came in the stall, evenly: the unluckiest tenth waited for half a second or more.
            let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|quantile| millis(&tally, quantile));
            assert!(p50 <= 3, "{p50}");
            assert!((450..=650).contains(&p90), "{p90}");
            assert!((930..=1010).contains(&p99), "{p99}");
        });
    }

    #[test]
    fn a_closed_loop_waits_itself_and_sees_a_stall_once() {
        paused(async {
            let tally = stalled(None).await;
            assert!(tally.counts.received > 1000, "{:?}", tally.counts);
            assert!(millis(&tally, 0.99) <= 3);
            assert!((990..=1010).contains(&millis(&tally, 1.0)));
        });
    }

    /// What is counted when the first three requests are answered so.
    async fn answered(answers: impl Fn(u32, &Bytes) -> Vec<Bytes> + 'static) -> (Counts, u64) {
        let change = |plan: &mut Plan| plan.size = 3;
        let (worker, phase) = worker(echoes(), change);
        let mut asked = Vec::new();
        let wire = server(move |id, _, body| {
            asked.push(id);
            let first = asked.first().copied().filter(|_| asked.len() == 3);
            let packages = first.map(|first| answers(first, &body)).unwrap_or_default();
            async move { packages }
        });
        let mut link = Link::greet(wire).await.unwrap();
        let pace = Pace::Closed(3);
        let end = async {
            sleep(Duration::from_secs(1)).await;
            phase.send_replace(Phase::Over);
        };
        let (talked, ()) = tokio::join!(echo(&worker, &mut link, ROUTE, &pace), end);
        talked.unwrap();
        let tally = worker.tally();
        (tally.counts.clone(), tally.due)
    }

    #[test]
    fn each_answer_is_counted_as_what_it_is() {
        paused(async {
            // Three are asked; each that is answered makes room for another, which is not.
            let right = |id, body: &Bytes| response(id, body.clone());
            let (counts, due) =
                answered(move |id, body| [id, id + 1, id + 2].map(|id| right(id, body)).into())
                    .await;
            let fine = Counts { sent: 6, received: 3, ..Counts::default() };
            assert_eq!((counts, due), (fine.clone(), 3));

            let (counts, _) =
                answered(move |id, body| [id, id, id + 2, id + 1].map(|id| right(id, body)).into())
                    .await;
            assert_eq!(counts, Counts { doubled: 1, out_of_order: 1, ..fine.clone() });

            let (counts, _) = answered(|id, _| {
                [r#"{"d":"xxx","more":1}"#, r#"{"d":"xxy"}"#, r#"{"code":500}"#]
                    .into_iter()
                    .zip(id..)
                    .map(|(body, id)| response(id, body.into()))
                    .collect()
            })
            .await;
            assert_eq!(counts, Counts { errors: 2, ..fine });
        });
    }
}
