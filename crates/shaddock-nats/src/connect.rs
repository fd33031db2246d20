//! From options to a connection: at the start, and again whenever it is lost.

use std::error::Error as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, Request, ServerAddr, ServerError,
};
use shaddock_cluster::{EngineError, Link};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::options::{Login, Options};

/// How many messages may wait for each subscription.
const SUBSCRIPTION: usize = 65_536;

/// How many messages may wait to be written: what a process says in some 50 ms when it is very busy.
const OUTBOUND: usize = 16_384;

/// How often a broker is asked whether it is there. The third time without an answer it is given up.
const PING: Duration = Duration::from_secs(2);

/// How long one broker may take to let us in.
const CONNECT: Duration = Duration::from_secs(2);

/// Between tries, growing, once every broker was tried.
const DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How long a broker may take to answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);

/// Connects, and keeps `link` true from then on, for as long as somebody has the client.
pub(crate) async fn connect(
    options: &Options,
    link: watch::Sender<Link>,
) -> Result<Arc<Client>, EngineError> {
    let addresses = addresses(&options.urls)?;
    let places = options.urls.join(", ");
    let events = Arc::new(Events { client: OnceLock::new(), link, last_said: Mutex::default() });
    let settings = settings(options, addresses.len(), &events).await?;
    let end = Instant::now() + options.wait;
    let mut tries = 0;
    loop {
        tries += 1;
        let connected = settings.clone().connect(addresses.clone());
        // The first try is made to its end, however short the wait.
        let error = match tries {
            1 => connected.await,
            _ => match timeout_at(end, connected).await {
                Ok(connected) => connected,
                Err(_) => break,
            },
        };
        let error = match error {
            Ok(client) => {
                let client = Arc::new(client);
                let _ = events.client.set(Arc::downgrade(&client));
                return Ok(client);
            }
            Err(error) => error,
        };
        if let Some(hopeless) = hopeless(&error, options, &places) {
            return Err(hopeless);
        }
        if tries == 1 && !options.wait.is_zero() {
            tracing::warn!(brokers = %places, reason = %error, wait = ?options.wait, "no broker can be reached: waiting for one");
        }
        if end <= Instant::now() {
            let message = format!("no broker can be reached at {places}");
            return Err(EngineError::new(message).because(plain(&error)));
        }
        sleep(delay(tries).min(end.saturating_duration_since(Instant::now()))).await;
    }
    Err(EngineError::new(format!("no broker could be reached at {places} in {:?}", options.wait)))
}

fn addresses(urls: &[String]) -> Result<Vec<ServerAddr>, EngineError> {
    if urls.is_empty() {
        return Err(EngineError::new("no broker is named"));
    }
    urls.iter().map(|url| address(url)).collect()
}

fn address(url: &str) -> Result<ServerAddr, EngineError> {
    // Before anything repeats it: what stands before the @ is a secret.
    if url.contains('@') {
        return Err(EngineError::new(
            "the address of a broker holds a login: addresses are shown in logs, so it belongs into settings of its own",
        ));
    }
    let address = url.parse::<ServerAddr>().map_err(|error| {
        EngineError::new(format!("{url:?} is no address of a broker")).because(error)
    })?;
    match address.scheme() {
        "nats" | "tls" if !address.host().is_empty() => Ok(address),
        _ => Err(EngineError::new(format!(
            "{url:?} is no address of a broker, such as \"nats://10.0.0.5:4222\" or \"tls://nats.example\""
        ))),
    }
}

/// How the client is to behave.
async fn settings(
    options: &Options,
    brokers: usize,
    events: &Arc<Events>,
) -> Result<ConnectOptions, EngineError> {
    let events = Arc::clone(events);
    let tls = options.tls.ca.is_some() || options.urls.iter().any(|url| url.starts_with("tls://"));
    let mut settings = ConnectOptions::new()
        .name(&options.name)
        .ping_interval(PING)
        .connection_timeout(CONNECT)
        .subscription_capacity(SUBSCRIPTION)
        .client_capacity(OUTBOUND)
        // Ours are made of names.
        .skip_subject_validation(true)
        .require_tls(tls)
        .reconnect_delay_callback(move |tries| delay(tries.saturating_sub(brokers)))
        .event_callback(move |event| {
            let events = Arc::clone(&events);
            async move {
                events.tell(&event);
                events.follow(&event).await;
            }
        });
    if let Some(ca) = &options.tls.ca {
        read(ca)?;
        settings = settings.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = &options.tls.identity {
        read(certificate)?;
        read(key)?;
        settings = settings.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(match &options.login {
        Login::Nobody => settings,
        Login::Password { user, password } => {
            settings.user_and_password(user.clone(), password.clone())
        }
        Login::Token(token) => settings.token(token.clone()),
        Login::Nkey(file) => settings.nkey(read(file)?.trim().to_owned()),
        Login::Credentials(file) => settings.credentials(&read(file)?).map_err(|error| {
            EngineError::new(format!("{} holds no credentials", file.display())).because(error)
        })?,
    })
}

fn read(file: &Path) -> Result<String, EngineError> {
    std::fs::read_to_string(file).map_err(|error| {
        EngineError::new(format!("{} can't be read", file.display())).because(error)
    })
}

/// The pause before this try, none before the first: growing, and never the same for all who lost one broker.
fn delay(tries: usize) -> Duration {
    let Some(doublings) = tries.checked_sub(1) else {
        return Duration::ZERO;
    };
    let doublings = u32::try_from(doublings).unwrap_or(u32::MAX);
    let longest = DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_DELAY);
    // The keys of the standard hasher are random, which saves a dependency.
    let [chance, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
    longest / 2 + longest / 2 * u32::from(chance) / 255
}

/// What a person has to mend, if waiting can't help.
fn hopeless(error: &ConnectError, options: &Options, places: &str) -> Option<EngineError> {
    let login = &options.login;
    let message = match error.kind() {
        ConnectErrorKind::AuthorizationViolation if *login == Login::Nobody => {
            format!("the broker at {places} asks for a login, and there is none")
        }
        ConnectErrorKind::AuthorizationViolation => {
            format!("the broker at {places} does not let in {login}")
        }
        ConnectErrorKind::Authentication => format!("{login} can't be used to log in"),
        ConnectErrorKind::ServerParse => format!("{places} can't be understood"),
        ConnectErrorKind::Tls => format!("TLS with the broker at {places} can't be set up"),
        // A certificate that one side does not believe is told as data that makes no sense.
        ConnectErrorKind::Io if is_distrust(error) => {
            format!("there is no trust between us and the broker at {places}")
        }
        _ => return None,
    };
    Some(EngineError::new(message).because(plain(error)))
}

fn is_distrust(error: &ConnectError) -> bool {
    error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData)
}

/// The client's errors tell their causes' text, and have them as causes, too: once is enough.
pub(crate) fn plain(error: &dyn std::error::Error) -> EngineError {
    EngineError::new(error.to_string())
}

/// Waits until the broker has done what it was told before. A request that nobody hears is answered at once.
pub(crate) async fn round_trip(client: &Client) -> Result<(), EngineError> {
    let request = Request::new().timeout(Some(ANSWER));
    match client.send_request(client.new_inbox(), request).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        Err(error) => Err(EngineError::new("the broker does not answer").because(plain(&error))),
        Ok(_) => Err(EngineError::new("somebody answers what is asked of nobody")),
    }
}

/// What becomes of the client's events.
struct Events {
    /// Not kept by this, which the client keeps. There is none until it has connected for the first time.
    client: OnceLock<Weak<Client>>,
    link: watch::Sender<Link>,
    last_said: Mutex<LastSaid>,
}

#[derive(Default)]
struct LastSaid {
    /// When it was that messages get lost, which may happen a thousand times a second.
    loss: Option<Instant>,
    /// Why no broker can be reached.
    reason: String,
}

impl Events {
    /// Keeps the link true. After every event the client is asked, since it drops some when there are many.
    async fn follow(&self, event: &Event) {
        if *event == Event::Disconnected {
            // However short that was: what was on its way is lost.
            self.set(Link::Down);
        }
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        if client.connection_state() == State::Connected && *self.link.borrow() == Link::Down {
            // The link is up when what was subscribed to is heard again. Without an answer it may be, or be lost again.
            let _ = round_trip(&client).await;
        }
        self.set(match client.connection_state() {
            State::Connected => Link::Up,
            State::Pending | State::Disconnected => Link::Down,
        });
    }

    fn set(&self, link: Link) {
        self.link.send_if_modified(|now| std::mem::replace(now, link) != link);
    }

    fn tell(&self, event: &Event) {
        let mut said = self.last_said.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Connected => said.reason.clear(),
            Event::LameDuckMode => {
                tracing::info!("the broker is about to go: there will be another");
            }
            Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
                let now = Instant::now();
                if said.loss.is_none_or(|last| last + Duration::from_secs(1) <= now) {
                    said.loss = Some(now);
                    tracing::warn!("messages get lost: more come than are read");
                }
            }
            Event::ServerError(error) => tracing::error!(%error, "the broker complains"),
            Event::ClientError(error) => {
                let reason = error.to_string();
                if said.reason != reason {
                    tracing::warn!(%reason, "no broker can be reached: trying again");
                    said.reason = reason;
                }
            }
            // The servers tell of their link.
            Event::Disconnected | Event::Draining | Event::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_told_so() {
        assert_eq!(addresses(&[]).unwrap_err().to_string(), "no broker is named");
        for wrong in ["http://a:1", "nats://", "ws://a", "nats://a:99999", "a b"] {
            let error = addresses(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{wrong:?} is no address of a broker")), "{error}");
        }
        for right in ["nats://a:1", "tls://a", "10.0.0.5", "[::1]:4222"] {
            assert!(addresses(&[right.to_owned()]).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_login_in_an_address_is_refused_and_not_shown() {
        let error = addresses(&["nats://py:hunter2@a".to_owned()]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn delays_grow_up_to_a_limit_and_differ() {
        assert_eq!(delay(0), Duration::ZERO);
        for (tries, longest) in [(1, 50), (2, 100), (6, 1600), (7, 2000), (usize::MAX, 2000)] {
            let longest = Duration::from_millis(longest);
            let delays: Vec<_> = (0..64).map(|_| delay(tries)).collect();
            assert!(
                delays.iter().all(|delay| (longest / 2..=longest).contains(delay)),
                "{delays:?}"
            );
            assert!(delays.iter().any(|delay| *delay != delays[0]));
        }
    }
}
