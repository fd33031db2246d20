//! From the command line to an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

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
    let begun = Instant::now();
    end(obey(Arguments::parse(), begun, embedded, app))
}

/// The exit code of a process that an operator has killed.
pub(crate) const KILLED: u8 = 3;

/// An operator has killed the process.
#[derive(Debug)]
pub(crate) struct Killed;

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("killed by an operator")
    }
}

impl std::error::Error for Killed {}

/// The exit code of what was done, which is said if it is an error.
pub(crate) fn end(done: anyhow::Result<bool>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Killed>() => ExitCode::from(KILLED),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says whether all went well.
fn obey(
    Arguments { options, command }: Arguments,
    begun: Instant,
    embedded: &[(&str, &str)],
    app: impl FnOnce(Config) -> App,
) -> anyhow::Result<bool> {
    let out = &mut io::stdout();
    let command = command.unwrap_or_default();
    if let Command::HashPassword = command {
        return operate::hash(out);
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
            Command::Routes => routes::routes(&app(config), out),
            Command::Check => {
                say(out, &place);
                check::check(app(config), out).await
            }
            Command::Operate(command) => {
                operate::connect(config.cluster, &options.login, command, out).await
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
                let app = app(config);
                let servers = start::choose(app.config(), ids, &kinds)?;
                let app = cluster::join(app, &servers).await?;
                start::start(begun, app.only(servers), watched, out).await
            }
        }
    });
    // What was to end has, or is cut off: nothing to wait for.
    runtime.shutdown_background();
    done
}
