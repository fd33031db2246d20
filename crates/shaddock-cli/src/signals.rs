//! What asks a process to end.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// The process that watches this one: it holds the other end of stdin, and closes it to have this one stop. So does
/// the system when that process is no more.
#[derive(Debug)]
pub(crate) struct Watcher(oneshot::Receiver<()>);

impl Watcher {
    /// Listens from now on.
    pub(crate) fn listen() -> Watcher {
        let (closed, watcher) = oneshot::channel();
        // A thread, for it waits until the process ends, and nobody waits for it.
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            let _ = closed.send(());
        });
        Watcher(watcher)
    }

    /// Waits until this process is to stop; for ever if it is not watched. Cancel-safe.
    pub(crate) async fn stops(watcher: Option<&mut Watcher>) {
        match watcher {
            Some(Watcher(closed)) => drop(closed.await),
            None => std::future::pending().await,
        }
    }
}

/// SIGTERM and Ctrl-C, from when this was made, and the wish of a process that watches this one.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
    watcher: Option<Watcher>,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            watcher: None,
        })
    }

    #[cfg(windows)]
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals { interrupt: tokio::signal::windows::ctrl_c()?, watcher: None })
    }

    /// From now on the process that watches this one counts, too.
    pub(crate) fn watched_by(self, watcher: Option<Watcher>) -> Signals {
        Signals { watcher, ..self }
    }

    /// The next one's name. Cancel-safe.
    pub(crate) async fn next(&mut self) -> &'static str {
        let watcher = Watcher::stops(self.watcher.as_mut());
        #[cfg(unix)]
        let signal = async {
            tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "Ctrl-C",
            }
        };
        #[cfg(windows)]
        let signal = async {
            self.interrupt.recv().await;
            "Ctrl-C"
        };
        let name = tokio::select! {
            name = signal => return name,
            () = watcher => "asked by the process that watches it",
        };
        // It ends once.
        self.watcher = None;
        name
    }
}
