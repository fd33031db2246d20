//! The task of a client: one connection, and the next when it is lost.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use shaddock_protocol::pomelo::{ClientOptions, Tables, Welcome};
use shaddock_transport::Wire;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    Client, CloseReason, ConnectError, RequestError, Status, client::WeakClient,
    commands::Commands, connection::Connection, error::words, pushes::Subscriptions,
    reconnect::BackOff,
};

/// Logs in on a connection that was just made.
pub(crate) type LogIn =
    Arc<dyn Fn(Client) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync>;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// What the handles of a client and its task share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The task is to end.
    pub(crate) stop: Notify,
    greeting: Mutex<Greeting>,
}

/// What the server said in the last handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
    pub(crate) user: Option<Value>,
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) tables: Tables,
}

impl Shared {
    pub(crate) fn greeting(&self) -> MutexGuard<'_, Greeting> {
        self.greeting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes connections with `D`, one after another, and works on them.
pub(crate) struct Task<W: Wire, D> {
    pub(crate) dial: D,
    pub(crate) options: ClientOptions,
    /// For connecting, shaking hands and logging in.
    pub(crate) limit: Duration,
    pub(crate) log_in: Option<LogIn>,
    /// `None`: a lost connection is the end.
    pub(crate) back_off: Option<BackOff>,
    pub(crate) client: WeakClient,
    pub(crate) shared: Arc<Shared>,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) commands: Commands,
    pub(crate) connection: Option<Connection<W>>,
}

impl<W, D, F> Task<W, D>
where
    W: Wire,
    D: FnMut() -> F + Send,
    F: Future<Output = Result<W, ConnectError>> + Send,
{
    /// Makes a connection, and is let in and logged in.
    pub(crate) async fn connect(&mut self) -> Result<(), ConnectError> {
        let limit = self.limit;
        timeout(limit, self.try_connect()).await.unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    async fn try_connect(&mut self) -> Result<(), ConnectError> {
        let commands = &mut self.commands;
        let wire = tokio::select! {
            wire = (self.dial)() => wire?,
            never = commands.hold() => match never {},
        };
        let connection = Connection::new(wire, self.options.clone(), self.subscriptions.clone());
        let connection = self.connection.insert(connection);
        let Welcome { user, heartbeat } = tokio::select! {
            welcome = connection.shake_hands() => welcome?,
            never = commands.hold() => match never {},
        };
        let tables = connection.tables().clone();
        // The next server that has the same need not send them.
        self.options.tables = tables.clone();
        *self.shared.greeting() = Greeting { user, heartbeat, tables };
        if let Some(log_in) = &self.log_in {
            let client = self.client.upgrade();
            let client = client.ok_or(ConnectError::Closed(CloseReason::Disconnected))?;
            let mut logging_in = log_in(client);
            tokio::select! {
                done = &mut logging_in => done.map_err(ConnectError::LogIn)?,
                reason = connection.work(commands) => {
                    // The last that came may have been a refusal.
                    return Err(match timeout(Duration::ZERO, logging_in).await {
                        Ok(Err(own)) if !own.is::<RequestError>() => ConnectError::LogIn(own),
                        _ => ConnectError::Closed(reason),
                    });
                }
            }
        }
        self.commands.open();
        Ok(())
    }

    /// Works, from a first connection on, until it is over or all handles are gone.
    pub(crate) async fn run(mut self) {
        let shared = self.shared.clone();
        let reason = tokio::select! {
            reason = self.work() => reason,
            () = shared.stop.notified() => CloseReason::Disconnected,
        };
        self.end(reason).await;
    }

    async fn work(&mut self) -> CloseReason {
        let mut connections = 1;
        loop {
            let begun = Instant::now();
            let reason = match &mut self.connection {
                Some(connection) => connection.work(&mut self.commands).await,
                None => return CloseReason::Disconnected,
            };
            if !may_come_back(&reason) {
                return reason;
            }
            let Some(back_off) = &mut self.back_off else { return reason };
            back_off.lasted(begun.elapsed());
            // Rare and large.
            if let Err(reason) = Box::pin(self.reconnect(reason)).await {
                return reason;
            }
            connections += 1;
            self.status.send_replace(Status::Connected { connections });
        }
    }

    /// Tries until there is a connection, or an error that is the last.
    async fn reconnect(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        self.commands.close();
        let mut last = words(&reason);
        if let Some(mut lost) = self.connection.take() {
            lost.fail(&reason);
            // The server is told if that takes no time; it mostly is gone.
            let _ = timeout(Duration::ZERO, lost.close()).await;
        }
        loop {
            let Some(back_off) = &mut self.back_off else { return Err(reason) };
            let Some((attempt, wait)) = back_off.next() else {
                return Err(CloseReason::GaveUp { attempts: back_off.attempts(), last });
            };
            let reason = reason.clone();
            self.status.send_replace(Status::Reconnecting { attempt, reason });
            tokio::select! {
                () = sleep(wait) => {}
                never = self.commands.hold() => match never {},
            }
            let Err(error) = self.connect().await else { return Ok(()) };
            self.commands.close();
            self.connection = None;
            last = words(&error);
            tracing::debug!(attempt, error = last, "the connection can't be made anew yet");
            if let Some(reason) = end_of_trying(error) {
                return Err(reason);
            }
        }
    }

    async fn end(&mut self, reason: CloseReason) {
        // Told before anything that waits is dropped, for it will ask.
        self.status.send_replace(Status::Closed(reason.clone()));
        let (sent, refused) = self.commands.end();
        let connection = self.connection.as_mut();
        match connection {
            // What was given to us before we were told to stop goes out, even if the wire was too full for it.
            Some(connection) if reason == CloseReason::Disconnected => {
                sent.into_iter().for_each(|command| connection.obey(command));
            }
            _ => sent.into_iter().for_each(|command| command.refuse(closed(&reason))),
        }
        refused.into_iter().for_each(|command| command.refuse(closed(&reason)));
        self.subscriptions.close();
        if let Some(connection) = &mut self.connection {
            connection.fail(&reason);
            // A server that does not read, or is gone, changes nothing any more.
            let _ = timeout(CLOSE_LIMIT, connection.close()).await;
        }
    }
}

impl<W: Wire, D> Drop for Task<W, D> {
    fn drop(&mut self) {
        // Also when there never was a connection.
        self.subscriptions.close();
    }
}

/// How long a server that does not read may hold up the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Whether a connection that was lost for this reason is to be made anew.
fn may_come_back(reason: &CloseReason) -> bool {
    !matches!(reason, CloseReason::Disconnected | CloseReason::Kicked(_))
}

/// Why there is no point in another attempt, if there is none.
fn end_of_trying(error: ConnectError) -> Option<CloseReason> {
    match error {
        ConnectError::Refused { code, answer } => Some(CloseReason::Refused { code, answer }),
        ConnectError::Closed(reason) if !may_come_back(&reason) => Some(reason),
        // It got no answer, as any request may.
        ConnectError::LogIn(error) if error.is::<RequestError>() => None,
        ConnectError::LogIn(error) => Some(CloseReason::LogIn(words(&*error))),
        _ => None,
    }
}

fn closed(reason: &CloseReason) -> RequestError {
    RequestError::Closed(reason.clone())
}
