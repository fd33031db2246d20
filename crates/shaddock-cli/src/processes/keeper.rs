//! One server in a process of its own, started again when it fails.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use shaddock::config::Server;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::pipe::Pipe;
use super::word::Word;
use crate::commands::start::Summary;
use crate::run::Ending;

/// How long a process may say nothing before it is taken for stuck.
const SILENCE: Duration = Duration::from_secs(10);

/// The watching process itself is late by more when it was frozen, or waited for what it shows to be read.
const LATE: Duration = Duration::from_secs(1);

/// How long to wait before a process is started again: twice as long each time, up to `LONGEST`.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// A process that ran for so long has not failed again, but anew.
const STEADY: Duration = Duration::from_secs(60);

/// How long what a process said last is waited for when it has ended. Others may hold its pipes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What happens to a process.
#[derive(Debug)]
pub(super) enum News {
    Said {
        id: String,
        line: String,
        is_error: bool,
    },
    Ready {
        id: String,
        summary: Summary,
    },
    /// It has ended, and is not started again.
    Ended {
        id: String,
        ending: Ending,
    },
}

/// What is wanted of a process. Each step leads to the next only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Running,
    Stopped,
    Killed,
}

/// A process, as the one that watches all of them has it.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) id: String,
    pub(super) is_frontend: bool,
    wanted: watch::Sender<Wanted>,
}

impl Handle {
    /// Has it stop in order.
    pub(super) fn stop(&self) {
        self.want(Wanted::Stopped);
    }

    /// Ends it at once.
    pub(super) fn kill(&self) {
        self.want(Wanted::Killed);
    }

    fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|now| {
            let further = *now < wanted;
            *now = wanted.max(*now);
            further
        });
    }
}

/// Keeps one server running.
pub(super) struct Keeper {
    server: Server,
    program: PathBuf,
    arguments: Vec<OsString>,
    news: mpsc::Sender<News>,
    wanted: watch::Receiver<Wanted>,
}

/// A process that runs. It stops when its stdin is closed: so also when this process is no more.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
}

impl Keeper {
    pub(super) fn new(
        server: Server,
        program: PathBuf,
        arguments: Vec<OsString>,
        news: mpsc::Sender<News>,
    ) -> (Keeper, Handle) {
        let (sender, wanted) = watch::channel(Wanted::Running);
        let handle = Handle { id: server.id.clone(), is_frontend: server.frontend, wanted: sender };
        (Keeper { server, program, arguments, news, wanted }, handle)
    }

    /// Runs until it is stopped, ends by itself, or fails and is not to be started again.
    pub(super) async fn keep(mut self) {
        let mut pause = PAUSE;
        let mut was_ready = false;
        let ending = loop {
            let begun = Instant::now();
            let ended = match self.spawn() {
                Ok(running) => self.watch(running, &mut was_ready).await,
                Err(error) => Err(error),
            };
            let status = match ended {
                Ok(status) => match Ending::of(status) {
                    Ending::Failed => status.to_string(),
                    Ending::Killed => {
                        self.say("it was killed by an operator, and is not started again").await;
                        break Ending::Killed;
                    }
                    as_asked => break as_asked,
                },
                Err(error) => format!("{error:#}"),
            };
            match *self.wanted.borrow() {
                Wanted::Running if was_ready => {}
                Wanted::Running | Wanted::Stopped => break Ending::Failed,
                Wanted::Killed => break Ending::CutOff,
            }
            if !self.server.auto_restart && !self.server.restart_force {
                self.say(&format!(
                    "it has failed ({status}), and is not started again: its entry in servers.json has no \"auto-restart\": \"true\""
                ))
                .await;
                break Ending::Failed;
            }
            if STEADY <= begun.elapsed() {
                pause = PAUSE;
            }
            self.say(&format!(
                "it has failed ({status}), and is started again in {} s",
                pause.as_secs()
            ))
            .await;
            tokio::select! {
                () = sleep(pause) => {}
                // Stopped meanwhile; both branches are cancel-safe.
                _ = self.wanted.wait_for(|wanted| *wanted != Wanted::Running) => break Ending::Failed,
            }
            pause = (pause * 2).min(LONGEST);
        };
        let _ = self.news.send(News::Ended { id: self.server.id.clone(), ending }).await;
    }

    fn spawn(&self) -> anyhow::Result<Running> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A Ctrl-C is for this process, which stops the others in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("{} can't be started", self.program.display()))?;
        let lines = "the pipes were asked for";
        Ok(Running {
            stdin: child.stdin.take(),
            stdout: Pipe::new(child.stdout.take().expect(lines)),
            stderr: Pipe::new(child.stderr.take().expect(lines)),
            child,
        })
    }

    /// Hears a process, and tells it what is wanted, until it has ended.
    async fn watch(
        &mut self,
        mut running: Running,
        was_ready: &mut bool,
    ) -> anyhow::Result<ExitStatus> {
        let (mut heard, mut is_ready, mut is_stuck) = (Instant::now(), false, false);
        let (mut out_open, mut err_open) = (true, true);
        self.wanted.mark_changed();
        let status = loop {
            // All branches are cancel-safe. They are looked at in this order, so that a process which says much is still
            // told to stop, and none is taken for silent before all that it has said was heard.
            tokio::select! {
                biased;
                Ok(()) = self.wanted.changed() => match *self.wanted.borrow_and_update() {
                    Wanted::Running => {}
                    Wanted::Stopped => running.stdin = None,
                    Wanted::Killed => running.child.start_kill()?,
                },
                status = running.child.wait() => break status?,
                line = running.stdout.next(), if out_open => match line {
                    Some(line) => {
                        (heard, is_stuck) = (Instant::now(), false);
                        is_ready |= self.hear(line).await;
                    }
                    None => out_open = false,
                },
                () = sleep_until(heard + SILENCE), if is_ready && !is_stuck && running.stdin.is_some() => {
                    // What it said while this process did not run itself may be on its way yet.
                    if SILENCE + LATE < heard.elapsed() {
                        heard = Instant::now();
                        continue;
                    }
                    is_stuck = true;
                    let seconds = SILENCE.as_secs();
                    if self.server.restart_force {
                        self.say(&format!("it gave no sign of life for {seconds} s, and is ended by force")).await;
                        running.child.start_kill()?;
                    } else {
                        self.say(&format!("it gives no sign of life since {seconds} s; with \"restart-force\" it would be ended")).await;
                    }
                }
                line = running.stderr.next(), if err_open => match line {
                    Some(line) => self.said(line, true).await,
                    None => err_open = false,
                },
            }
        };
        let last_words = async {
            while let Some(line) = running.stdout.next().await {
                is_ready |= self.hear(line).await;
            }
            while let Some(line) = running.stderr.next().await {
                self.said(line, true).await;
            }
        };
        let _ = timeout(LAST_WORDS, last_words).await;
        *was_ready |= is_ready;
        Ok(status)
    }

    /// Says whether this is the line by which the process says that it is ready.
    async fn hear(&self, line: String) -> bool {
        match Word::read(line) {
            Word::Ready(summary) => {
                let _ = self.news.send(News::Ready { id: self.server.id.clone(), summary }).await;
                true
            }
            Word::Alive => false,
            Word::Said(line) => {
                self.said(line, false).await;
                false
            }
        }
    }

    /// Something of ours about this process.
    async fn say(&self, line: &str) {
        self.said(line.to_owned(), true).await;
    }

    async fn said(&self, line: String, is_error: bool) {
        let said = News::Said { id: self.server.id.clone(), line, is_error };
        let _ = self.news.send(said).await;
    }
}
