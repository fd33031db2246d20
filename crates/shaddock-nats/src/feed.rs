//! Several subscriptions of the client's as one.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::Stream as _;
use shaddock_cluster::{Delivery, Source, Subject};

/// How many messages of the first pattern may come in a row while another has some.
const IN_A_ROW: u32 = 64;

/// One subscription for each pattern; the first is preferred, but a flood there does not silence the others.
pub(crate) struct Merged {
    lanes: Vec<Lane>,
    in_a_row: u32,
}

struct Lane {
    subscriber: Subscriber,
    /// The subject of the last message: as a rule it is that of the next one, too.
    last: Option<Subject>,
}

impl Merged {
    pub(crate) fn new(subscribers: Vec<Subscriber>) -> Merged {
        let lane = |subscriber| Lane { subscriber, last: None };
        Merged { lanes: subscribers.into_iter().map(lane).collect(), in_a_row: 0 }
    }
}

impl Source<Delivery> for Merged {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let first = if self.in_a_row < IN_A_ROW { 0 } else { 1 };
        for n in (first..self.lanes.len()).chain(0..first) {
            let Some(lane) = self.lanes.get_mut(n) else { continue };
            if let Poll::Ready(delivery) = lane.poll_next(cx) {
                self.in_a_row = if n == 0 { self.in_a_row + 1 } else { 0 };
                return Poll::Ready(delivery);
            }
        }
        Poll::Pending
    }
}

impl Lane {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match Pin::new(&mut self.subscriber).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(message)) => match self.delivery(message) {
                    Some(delivery) => return Poll::Ready(Some(delivery)),
                    None => tracing::debug!("a message that is not ours"),
                },
            }
        }
    }

    fn delivery(&mut self, message: Message) -> Option<Delivery> {
        let Message { subject, payload, status, .. } = message;
        if status == Some(StatusCode::NO_RESPONDERS) {
            let (_, token) = subject.rsplit_once('.')?;
            return Some(Delivery::NobodyThere { token: token.parse().ok()? });
        }
        let subject = match &self.last {
            Some(last) if last.as_str() == subject.as_str() => last.clone(),
            _ => self.last.insert(Subject::new(&subject).ok()?).clone(),
        };
        Some(Delivery::Message { subject, payload })
    }
}
