//! The command `shaddock`: what is done without an application.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use shaddock::config::{Cluster, Overrides};
use tokio::runtime::Builder;

use crate::init::{self, Init};
use crate::log;
use crate::operate::{self, arguments::Login, arguments::Operate};
use crate::run::{Ending, end};

/// Makes a new project, and looks after the servers of a cluster.
#[derive(Debug, Parser)]
#[command(name = "shaddock", version, subcommand_help_heading = "Commands")]
struct Arguments {
    /// The brokers of the cluster, such as nats://10.0.0.5:4222; commas in between
    #[arg(long, global = true, value_name = "URLS")]
    cluster: Option<String>,
    /// What the cluster is called [default: as [cluster] of shaddock.toml says, else shaddock]
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    /// The folder of a shaddock.toml, for its [cluster] [default: ./config, if there is one in it]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    /// The environment, for the shaddock.toml of its own [default: $SHADDOCK_ENV, $NODE_ENV, development]
    #[arg(long, global = true, value_name = "NAME")]
    env: Option<String>,
    /// What to log [default: $RUST_LOG, warn]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(flatten)]
    login: Login,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new project: a gate, a connector, a back-end, a page and a test
    Init(Init),
    #[command(flatten)]
    Operate(Operate),
    /// Make the hash of a password for adminUser.json
    HashPassword,
    /// Play many clients of a server, and say what they saw
    #[cfg(feature = "robot")]
    #[command(subcommand)]
    Robot(shaddock_robot::command::Command),
}

/// Does what the command line says, as the program `shaddock`.
pub fn run() -> ExitCode {
    end(obey(Arguments::parse()).map(Ending::from))
}

fn obey(arguments: Arguments) -> anyhow::Result<bool> {
    let out = &mut io::stdout();
    let command = match arguments.command {
        Command::Init(project) => return init::init(&project, Path::new("."), out).map(|()| true),
        Command::HashPassword => return operate::hash(out),
        Command::Operate(command) => command,
        #[cfg(feature = "robot")]
        Command::Robot(command) => return shaddock_robot::command::obey(command),
    };
    log::write_to_stderr(log::filter(arguments.log.as_deref(), "warn")?);
    let mut overrides = Overrides::from_env();
    for (key, value) in [("cluster.urls", arguments.cluster), ("cluster.name", arguments.name)] {
        if let Some(value) = value {
            overrides = overrides.set(key, &value);
        }
    }
    let folder = arguments.config.unwrap_or_else(|| "config".into());
    let cluster = Cluster::load(folder, arguments.env.as_deref(), &overrides)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("tokio's runtime can't be made")?;
    let done = runtime.block_on(operate::connect(cluster, &arguments.login, command, out));
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_with_servers_is_said_as_to_an_application() {
        let line = "shaddock stop --all --cluster nats://a --name mine --user py";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(arguments.name.as_deref(), Some("mine"));
        assert_eq!(arguments.login.user, "py");
        assert!(matches!(arguments.command, Command::Operate(Operate::Stop(chosen)) if chosen.all));
        assert!(
            Arguments::try_parse_from(["shaddock", "stop"]).is_err(),
            "all servers are stopped on purpose only"
        );
        assert!(Arguments::try_parse_from(["shaddock", "start"]).is_err());
    }

    #[cfg(feature = "robot")]
    #[test]
    fn the_robot_is_told_as_if_it_were_called_by_its_own_name() {
        let line = "shaddock robot chat --rooms 3 --host 10.0.0.5 --json -";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(matches!(arguments.command, Command::Robot(_)));
    }
}
