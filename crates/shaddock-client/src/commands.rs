//! What handles want said, and when it may go.

use std::{collections::VecDeque, convert::Infallible, future::pending};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::RequestError;

/// How many commands wait for the task; those who give more wait.
pub(crate) const COMMANDS: usize = 64;

/// What a handle wants said.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) route: Box<str>,
    pub(crate) body: Bytes,
    pub(crate) then: Then,
    /// Logging in: it goes before the others, and not with another connection than this.
    pub(crate) early: bool,
}

/// Who waits for what became of a command.
#[derive(Debug)]
pub(crate) enum Then {
    /// It is a request.
    Answer(Reply<Bytes>),
    /// It is a notify.
    Sent(Reply<()>),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

impl Command {
    /// Tells whoever waits that it was not sent. They may be gone.
    pub(crate) fn refuse(self, error: RequestError) {
        match self.then {
            Then::Answer(reply) => drop(reply.send(Err(error))),
            Then::Sent(reply) => drop(reply.send(Err(error))),
        }
    }

    /// Nobody waits for it any more.
    fn is_forgotten(&self) -> bool {
        match &self.then {
            Then::Answer(reply) => reply.is_closed(),
            Then::Sent(reply) => reply.is_closed(),
        }
    }
}

/// The commands of all handles, in order.
///
/// While it is closed only those go that log in. As many others as there is room for are kept until it is open; those that
/// find no room are refused.
#[derive(Debug)]
pub(crate) struct Commands {
    received: mpsc::Receiver<Command>,
    kept: VecDeque<Command>,
    room: usize,
    open: bool,
}

impl Commands {
    /// Closed at first.
    pub(crate) fn new(received: mpsc::Receiver<Command>, room: usize) -> Commands {
        Commands { received, kept: VecDeque::new(), room, open: false }
    }

    /// There is a connection, and we are logged in.
    pub(crate) fn open(&mut self) {
        self.open = true;
    }

    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// What may go now; `None` when all handles are gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.take_kept() {
                return Some(command);
            }
            let command = self.received.recv().await?;
            if let Some(command) = self.admit(command) {
                return Some(command);
            }
        }
    }

    /// What may go now, if it is here.
    pub(crate) fn try_next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.take_kept() {
                return Some(command);
            }
            let command = self.received.try_recv().ok()?;
            if let Some(command) = self.admit(command) {
                return Some(command);
            }
        }
    }

    /// Lets nothing go, while there is nowhere to go to. Cancel-safe.
    pub(crate) async fn hold(&mut self) -> Infallible {
        self.close();
        while let Some(early) = self.next().await {
            early.refuse(RequestError::Reconnecting);
        }
        pending().await
    }

    /// No more will come: those that were allowed to go, and the others.
    pub(crate) fn end(&mut self) -> (Vec<Command>, Vec<Command>) {
        self.received.close();
        let all = self.kept.drain(..).chain(std::iter::from_fn(|| self.received.try_recv().ok()));
        match self.open {
            true => (all.collect(), Vec::new()),
            false => (Vec::new(), all.collect()),
        }
    }

    fn take_kept(&mut self) -> Option<Command> {
        if !self.open || self.kept.is_empty() {
            return None;
        }
        let command = self.kept.pop_front();
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        command
    }

    /// The command, if it may go; else it is kept or refused.
    fn admit(&mut self, command: Command) -> Option<Command> {
        if self.open || command.early {
            return Some(command);
        }
        // Whoever stopped waiting must not keep others from waiting.
        if self.kept.len() >= self.room {
            self.kept.retain(|kept| !kept.is_forgotten());
        }
        match self.kept.len() < self.room {
            true => self.kept.push_back(command),
            false => command.refuse(RequestError::Reconnecting),
        }
        None
    }
}
