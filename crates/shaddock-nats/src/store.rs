//! A key-value bucket of JetStream, laid out as NATS's tools expect it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::context::{
    Context, ContextBuilder, CreateStreamError, CreateStreamErrorKind, PublishErrorKind,
};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream,
};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::Stream as _;
use shaddock_cluster::{
    BoxFuture, Change, ClusterName, EngineError, Entry, Link, Source, Store, StoreError, Watch,
    check_key,
};
use tokio::sync::{Mutex, watch};
use tokio::time::{Duration, Instant, sleep_until, timeout};

use crate::connect::{ANSWER, plain};

/// For how many seconds a deleted key leaves a mark, for those who watch. Brokers before 2.11 keep it until the key
/// is made again.
const MARK: &str = "60";

/// What NATS's tools call these.
const OPERATION: &str = "KV-Operation";
const DELETED: &str = "DEL";
const PURGED: &str = "PURGE";
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
const TTL: &str = "Nats-TTL";

/// Between two attempts to make a stream anew.
const AGAIN: Duration = Duration::from_secs(1);

/// The revision of a key that has no value and no mark.
const NONE: u64 = 0;

/// One bucket.
pub(crate) struct Bucket {
    client: Arc<Client>,
    context: Context,
    stream: Stream,
    config: Config,
    /// What stands before a key in its subject.
    prefix: String,
    link: watch::Receiver<Link>,
    remade: Mutex<Remade>,
}

/// When somebody last tried to make a stream anew, and when it was there then.
#[derive(Default)]
struct Remade {
    attempt: Option<Instant>,
    success: Option<Instant>,
}

/// What is there of a key.
enum Last {
    Value(Entry),
    /// It was deleted, and its mark has this revision.
    Mark(u64),
}

impl Bucket {
    /// Opens a bucket, making it if it is not there.
    pub(crate) async fn open(
        client: Arc<Client>,
        name: &str,
        replicas: usize,
        link: watch::Receiver<Link>,
    ) -> Result<Bucket, StoreError> {
        name.parse::<ClusterName>().map_err(StoreError::BadName)?;
        let config = Config {
            name: format!("KV_{name}"),
            subjects: vec![format!("$KV.{name}.>")],
            max_messages_per_subject: 1,
            max_bytes: -1,
            max_messages: -1,
            max_consumers: -1,
            discard: DiscardPolicy::New,
            // Reads go to the leader, as writes do: what somebody else has written is read.
            allow_direct: false,
            allow_rollup: true,
            allow_message_ttl: true,
            storage: StorageType::File,
            num_replicas: replicas,
            ..Config::default()
        };
        let context = ContextBuilder::new().timeout(ANSWER).build(Client::clone(&client));
        let stream = within(&link, make(&context, &config)).await?;
        let prefix = format!("$KV.{name}.");
        Ok(Bucket { client, context, stream, config, prefix, link, remade: Mutex::default() })
    }

    /// Writes to a key whose last revision is this one.
    async fn write(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        delete: bool,
    ) -> Result<u64, StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, revision.to_string());
        if delete {
            headers.insert(OPERATION, DELETED);
            if self.stream.cached_info().config.allow_message_ttl {
                headers.insert(TTL, MARK);
            }
        }
        let subject = format!("{}{key}", self.prefix);
        let mut made_anew = false;
        loop {
            let (subject, headers, value) = (subject.clone(), headers.clone(), value.clone());
            let sent = self.context.publish_with_headers(subject, headers, value);
            let written = match sent.await {
                Ok(answer) => answer.await,
                Err(error) => Err(error),
            };
            return match written {
                Ok(written) => Ok(written.sequence),
                Err(error) => match error.kind() {
                    PublishErrorKind::WrongLastSequence => Err(StoreError::Conflict),
                    // Nobody has heard it, so it may be said again.
                    PublishErrorKind::StreamNotFound if !made_anew => {
                        made_anew = true;
                        self.make_anew().await?;
                        continue;
                    }
                    _ => Err(unreachable(&error)),
                },
            };
        }
    }

    async fn last(&self, key: &str) -> Result<Option<Last>, StoreError> {
        let subject = format!("{}{key}", self.prefix);
        let mut made_anew = false;
        let message = loop {
            let error = match self.stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => break message,
                Err(error) => error,
            };
            match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => return Ok(None),
                LastRawMessageErrorKind::JetStream(reason)
                    if reason.error_code() == ErrorCode::STREAM_NOT_FOUND && !made_anew =>
                {
                    made_anew = true;
                    self.make_anew().await?;
                }
                _ => return Err(unreachable(&error)),
            }
        };
        Ok(Some(if is_mark(&message.headers) {
            Last::Mark(message.sequence)
        } else {
            Last::Value(Entry { value: message.payload, revision: message.sequence })
        }))
    }

    /// Makes the stream anew, if it is gone. It may only have no leader at the moment, which looks the same: so this
    /// is for one at a time and not too often, or brokers that look for a leader would have nothing else to do.
    async fn make_anew(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut last = self.remade.lock().await;
        if last.success.is_some_and(|success| asked <= success) {
            return Ok(());
        }
        if let Some(attempt) = last.attempt {
            sleep_until(attempt + AGAIN).await;
        }
        last.attempt = Some(Instant::now());
        let stream = make(&self.context, &self.config).await?;
        last.success = Some(Instant::now());
        if stream.cached_info().state.last_sequence == 0 {
            tracing::warn!(stream = %self.config.name, "a store was gone, and is made anew");
        }
        Ok(())
    }

    fn check_value(&self, value: &Bytes) -> Result<(), StoreError> {
        // A broker counts the headers, too.
        const HEADERS: usize = 256;
        let limit = self.client.max_payload().saturating_sub(HEADERS);
        let len = value.len();
        if limit < len { Err(StoreError::TooLarge { len, limit }) } else { Ok(()) }
    }
}

impl Store for Bucket {
    fn create<'a>(&'a self, key: &'a str, value: Bytes) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            self.check_value(&value)?;
            within(&self.link, async {
                match self.write(key, value.clone(), NONE, false).await {
                    Err(StoreError::Conflict) => {}
                    written => return written,
                }
                let revision = match self.last(key).await? {
                    Some(Last::Value(_)) => return Err(StoreError::Conflict),
                    Some(Last::Mark(revision)) => revision,
                    None => NONE,
                };
                self.write(key, value, revision, false).await
            })
            .await
        })
    }

    fn update<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        revision: u64,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            self.check_value(&value)?;
            if revision == NONE {
                return Err(StoreError::Conflict);
            }
            within(&self.link, self.write(key, value, revision, false)).await
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            match within(&self.link, self.last(key)).await? {
                Some(Last::Value(entry)) => Ok(Some(entry)),
                Some(Last::Mark(_)) | None => Ok(None),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str, revision: u64) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            if revision == NONE {
                return Err(StoreError::Conflict);
            }
            within(&self.link, self.write(key, Bytes::new(), revision, true)).await?;
            Ok(())
        })
    }

    fn watch(&self) -> BoxFuture<'_, Result<Watch, StoreError>> {
        Box::pin(within(&self.link, async {
            let config = OrderedConfig {
                deliver_subject: self.client.new_inbox(),
                filter_subject: format!("{}>", self.prefix),
                deliver_policy: DeliverPolicy::LastPerSubject,
                ..OrderedConfig::default()
            };
            let consumer =
                self.stream.create_consumer(config).await.map_err(|error| unreachable(&error))?;
            let messages = consumer.messages().await.map_err(|error| unreachable(&error))?;
            Ok(Watch::new(Changes { messages, prefix: self.prefix.clone() }))
        }))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("stream", &self.config.name).finish_non_exhaustive()
    }
}

/// Asks, and does not wait for long.
async fn within<T>(
    link: &watch::Receiver<Link>,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if *link.borrow() == Link::Down {
        return Err(StoreError::Unreachable(Some(EngineError::new("the link is down"))));
    }
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer,
        Err(_) => {
            let message = format!("the broker did not answer in {ANSWER:?}");
            Err(StoreError::Unreachable(Some(EngineError::new(message))))
        }
    }
}

/// Makes a stream, or finds it. Not by `create_key_value`: that asks 2.9 for what it does not have.
async fn make(context: &Context, config: &Config) -> Result<Stream, StoreError> {
    match context.create_stream(config.clone()).await {
        Ok(stream) => Ok(stream),
        // It was made by somebody with other settings, who may have had a reason.
        Err(error) if is_there(&error) => {
            context.get_stream(&config.name).await.map_err(|error| unreachable(&error))
        }
        Err(error) => {
            let message = match error.kind() {
                CreateStreamErrorKind::JetStreamUnavailable => {
                    "the broker has no JetStream, which stores need: `nats-server -js`, or `jetstream` in its configuration"
                }
                _ => "a stream of JetStream can't be made",
            };
            Err(StoreError::Unreachable(Some(EngineError::new(message).because(plain(&error)))))
        }
    }
}

fn is_there(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

fn unreachable(error: &dyn std::error::Error) -> StoreError {
    StoreError::Unreachable(Some(plain(error)))
}

fn is_mark(headers: &HeaderMap) -> bool {
    headers.get(OPERATION).is_some_and(|operation| matches!(operation.as_str(), DELETED | PURGED))
}

/// What a watcher sees. It ends with the first error.
struct Changes {
    messages: Ordered,
    prefix: String,
}

impl Source<Change> for Changes {
    fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Change>> {
        loop {
            let message = match Pin::new(&mut self.messages).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => {
                    tracing::warn!(%error, "a watch of a store ends");
                    return Poll::Ready(None);
                }
            };
            match self.change(&message) {
                Some(change) => return Poll::Ready(Some(change)),
                None => tracing::debug!(subject = %message.subject, "a change that is not ours"),
            }
        }
    }
}

impl Changes {
    fn change(&self, message: &jetstream::Message) -> Option<Change> {
        let key = message.subject.strip_prefix(&self.prefix)?.to_owned();
        let revision = message.info().ok()?.stream_sequence;
        let deleted = message.headers.as_ref().is_some_and(is_mark);
        Some(Change { key, value: (!deleted).then(|| message.payload.clone()), revision })
    }
}
