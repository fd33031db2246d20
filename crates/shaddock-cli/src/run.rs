//! From the command line to an exit code.

use std::ffi::OsString;
use std::io;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::Parser as _;
use shaddock::{App, Config};
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::arguments::{Arguments, Command, Start};
use crate::cluster;
use crate::commands::{check, routes, start};
use crate::configuration::{self, Found};
use crate::log;
use crate::operate;
use crate::output::{complain, say};
use crate::processes;
use crate::signals::Watcher;

/// Does what the command line says, for the application that `app` makes of its configuration.
///
/// `embedded` is the configuration for when no folder of it is found: names such as `servers.json`
/// with their texts. It may be empty; then there must be a folder.
///
/// It makes the tokio runtime itself, and has the log written to stderr.
pub fn run(
    embedded: &'static [(&'static str, &'static str)],
    app: impl FnOnce(Config) -> App,
) -> ExitCode {
    run_from(std::env::args_os(), embedded, app)
}

/// Does the same for a command line of one's own, whose first word is the program's name.
///
/// For an application that has flags of its own: it takes them out, or says them in other words, before.
pub fn run_from(
    arguments: impl IntoIterator<Item = OsString>,
    embedded: &'static [(&'static str, &'static str)],
    app: impl FnOnce(Config) -> App,
) -> ExitCode {
    let begun = Instant::now();
    end(obey(Arguments::parse_from(arguments), begun, embedded, app))
}

/// How a program ends, as its exit code tells whoever watches it. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Well,
    /// It was told to stop, and not all that was under way could end in time.
    CutOff,
    /// An operator has killed it.
    Killed,
    /// Something is wrong: it may be started again.
    Failed,
}

impl Ending {
    /// How a process has ended.
    pub(crate) fn of(status: ExitStatus) -> Ending {
        let known = [Ending::Well, Ending::CutOff, Ending::Killed];
        let told = known.into_iter().find(|ending| status.code() == Some(ending.code().into()));
        told.unwrap_or(Ending::Failed)
    }

    fn code(self) -> u8 {
        match self {
            Ending::Well => 0,
            Ending::Failed => 1,
            // 2 is of the command line.
            Ending::Killed => 3,
            Ending::CutOff => 4,
        }
    }
}

/// What is done well, or is not.
impl From<bool> for Ending {
    fn from(well: bool) -> Ending {
        if well { Ending::Well } else { Ending::Failed }
    }
}

/// The exit code of what was done, which is said if it is an error.
pub(crate) fn end(done: anyhow::Result<Ending>) -> ExitCode {
    let ending = done.unwrap_or_else(|error| {
        complain(&error);
        Ending::Failed
    });
    ExitCode::from(ending.code())
}

fn obey(
    Arguments { options, command }: Arguments,
    begun: Instant,
    embedded: &[(&str, &str)],
    app: impl FnOnce(Config) -> App,
) -> anyhow::Result<Ending> {
    let out = &mut io::stdout();
    let command = command.unwrap_or_default();
    if let Command::HashPassword = command {
        return operate::hash(out).map(Ending::from);
    }
    let Found { config, place } = configuration::find(&options, embedded)?;
    let usual = match command {
        // Whoever asks something wants to read the answer.
        Command::Operate(_) => "warn",
        _ => &config.log.filter,
    };
    log::write_to_stderr(log::filter(options.log.as_deref(), usual)?);

    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = options.workers {
        builder.worker_threads(workers.get());
    }
    let runtime = builder.enable_all().build().context("tokio's runtime can't be made")?;
    let done = runtime.block_on(async {
        match command {
            Command::HashPassword => unreachable!("it was done above"),
            Command::Routes => routes::routes(&app(config), out).map(Ending::from),
            Command::Check => {
                say(out, &place);
                check::check(app(config), out).await.map(Ending::from)
            }
            Command::Operate(command) => {
                let done = operate::connect(config.cluster, &options.login, command, out);
                done.await.map(Ending::from)
            }
            Command::Start(Start { ids, kinds, processes: true, host, .. }) => {
                say(out, &place);
                let ids = match ids.is_empty() && kinds.is_empty() {
                    true => processes::of_host(&config, host.as_deref())?,
                    false => start::choose(&config, ids, &kinds)?,
                };
                processes::start(begun, &config, &ids, &options, out).await
            }
            Command::Start(Start { ids, kinds, watched, .. }) => {
                if !watched {
                    say(out, &place);
                }
                let watcher = watched.then(Watcher::listen);
                let app = app(config);
                let servers = start::choose(app.config(), ids, &kinds)?;
                let app = async { anyhow::Ok(cluster::join(app, &servers).await?.only(&servers)) };
                start::start(begun, app, watcher, out).await
            }
        }
    });
    // What was to end has, or is cut off: nothing to wait for.
    runtime.shutdown_background();
    done
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn whoever_watches_a_process_knows_how_it_ended() {
        for ending in [Ending::Well, Ending::CutOff, Ending::Killed, Ending::Failed] {
            let status = ExitStatus::from_raw(i32::from(ending.code()) << 8);
            assert_eq!(Ending::of(status), ending);
        }
        for other in [2 << 8, 101 << 8, 9] {
            assert_eq!(Ending::of(ExitStatus::from_raw(other)), Ending::Failed, "{other}");
        }
    }
}
