//! From the command line to an exit code.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use shaddock::{App, Config};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::arguments::{Arguments, Command, Options};
use crate::cluster;
use crate::commands::{check, routes, start};
use crate::configuration::{self, Found};
use crate::log;
use crate::output::{complain, say};

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
    match obey(Arguments::parse(), begun, embedded, app) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
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
    let found = configuration::find(&options, embedded)?;
    let filter = log::filter(options.log.as_deref(), &found.config)?;
    log::write_to_stderr(filter);

    let runtime = runtime(&options).context("tokio's runtime can't be made")?;
    let Found { config, place } = found;
    let out = &mut io::stdout();
    let done = runtime.block_on(async {
        let app = app(config);
        match command.unwrap_or_default() {
            Command::Routes => routes::routes(&app, out),
            Command::Check => {
                say(out, &place);
                check::check(app, out).await
            }
            Command::Start { ids, kinds } => {
                say(out, &place);
                let servers = start::choose(app.config(), ids, &kinds)?;
                let app = cluster::join(app, &servers).await?;
                start::start(begun, app.only(servers), out).await
            }
        }
    });
    // What was to end has, or is cut off: nothing to wait for.
    runtime.shutdown_background();
    done
}

fn runtime(options: &Options) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(workers) = options.workers {
        builder.worker_threads(workers.get());
    }
    builder.enable_all().build()
}
