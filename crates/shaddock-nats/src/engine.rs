//! One connection to the brokers, as an engine.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use async_nats::Client;
use bytes::Bytes;
use futures_util::FutureExt as _;
use shaddock_cluster::{
    Back, BoxFuture, Engine, EngineError, Link, Pattern, PublishError, Store, StoreError, Subject,
    Subscription, trampoline,
};
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::{Duration, Instant, sleep};

use crate::connect::{connect, plain, round_trip};
use crate::feed::Merged;
use crate::options::Options;
use crate::store::Bucket;

/// Between tries to open a store.
const AGAIN: Duration = Duration::from_millis(500);

/// One connection to the brokers of a cluster, for all servers of a process.
///
/// It is kept up for as long as this, a subscription or a store of it is there.
pub struct Nats {
    client: Arc<Client>,
    link: watch::Sender<Link>,
    replicas: usize,
    /// Until when what is not there yet is waited for.
    patient: Instant,
}

impl Nats {
    /// Connects to a broker.
    ///
    /// While none can be reached this waits, as long as [`Options::wait`] says. So do stores that are opened in that
    /// time, for brokers that have just been started take seconds to agree on who keeps what.
    ///
    /// # Errors
    ///
    /// When none was there in time; at once when one does not let us in, or what the options say can't be used.
    pub async fn connect(options: Options) -> Result<Arc<Nats>, EngineError> {
        let patient = Instant::now() + options.wait;
        let link = watch::Sender::new(Link::Up);
        let client = connect(&options, link.clone()).await?;
        Ok(Arc::new(Nats { client, link, replicas: options.replicas, patient }))
    }

    fn is_up(&self) -> bool {
        *self.link.borrow() == Link::Up
    }
}

impl Engine for Nats {
    fn publish(
        &self,
        subject: &Subject,
        payload: Bytes,
        back: Option<Back<'_>>,
    ) -> Result<(), PublishError> {
        let (len, limit) = (payload.len(), self.max_payload());
        if limit < len {
            return Err(PublishError::TooLarge { len, limit });
        }
        // What the client takes while it is down, it would send when that is of no use any more.
        if !self.is_up() {
            return Err(PublishError::NoLink);
        }
        let subject = subject.as_str().to_owned();
        // The client has a task, which writes.
        trampoline::woke();
        // These wait for room in the client's queue and for nothing else: one look tells whether there is any.
        let sent = match back {
            None => unconstrained(self.client.publish(subject, payload)).now_or_never(),
            Some(Back { subject: back, token }) => {
                let back = format!("{back}.{token}");
                unconstrained(self.client.publish_with_reply(subject, back, payload)).now_or_never()
            }
        };
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(PublishError::NoLink),
            None => Err(PublishError::Full),
        }
    }

    fn subscribe(
        &self,
        patterns: Vec<Pattern>,
        _capacity: usize,
    ) -> BoxFuture<'_, Result<Subscription, EngineError>> {
        Box::pin(async move {
            let mut subscribers = Vec::with_capacity(patterns.len());
            for pattern in patterns {
                let subject = match pattern {
                    Pattern::Exactly(subject) => subject.as_str().to_owned(),
                    Pattern::Below(subject) => format!("{subject}.>"),
                };
                let subscriber = self.client.subscribe(subject).await;
                subscribers.push(subscriber.map_err(|error| plain(&error))?);
            }
            round_trip(&self.client).await?;
            Ok(Subscription::new(Merged::new(subscribers)))
        })
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn store(&self, name: &str) -> BoxFuture<'_, Result<Arc<dyn Store>, StoreError>> {
        let name = name.to_owned();
        Box::pin(async move {
            let mut said = String::new();
            loop {
                let (client, link) = (Arc::clone(&self.client), self.link.subscribe());
                let error = match Bucket::open(client, &name, self.replicas, link).await {
                    Ok(bucket) => return Ok(Arc::new(bucket) as Arc<dyn Store>),
                    Err(error) => error,
                };
                let may_be_later = matches!(error, StoreError::Unreachable(_));
                if !may_be_later || self.patient <= Instant::now() {
                    return Err(error);
                }
                let reason = error.source().map(ToString::to_string).unwrap_or_default();
                if said != reason {
                    tracing::warn!(store = %name, %reason, "a store can't be opened yet: trying again");
                    said = reason;
                }
                sleep(AGAIN).await;
            }
        })
    }

    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Without a link there is nobody to tell.
            if self.is_up() {
                let _ = round_trip(&self.client).await;
            }
        })
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("link", &*self.link.borrow()).finish_non_exhaustive()
    }
}
