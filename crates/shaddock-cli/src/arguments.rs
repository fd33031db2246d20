//! What may stand on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::operate::arguments::{Login, Operate};

/// Without a command, all servers are started.
#[derive(Debug, Parser)]
#[command(about = None, long_about = None, subcommand_help_heading = "Commands")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run servers in this process, until SIGTERM or Ctrl-C (the default)
    Start(Start),
    /// List the routes that clients may ask or are pushed
    Routes,
    /// Look whether configuration and application fit, without listening anywhere
    Check,
    #[command(flatten)]
    Operate(Operate),
    /// Make the hash of a password for adminUser.json
    HashPassword,
}

impl Default for Command {
    fn default() -> Self {
        Command::Start(Start::default())
    }
}

#[derive(Debug, Default, Args)]
pub(crate) struct Start {
    /// The servers to run; all of the configuration, if none is named
    pub(crate) ids: Vec<String>,
    /// Run all servers of this kind; may be given often
    #[arg(long = "type", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Run each server in a process of its own, and start those again that fail, as servers.json says; needs a broker
    #[arg(long)]
    pub(crate) processes: bool,
    /// With --processes: run the servers of this host [default: those whose host is this machine]
    #[arg(long, value_name = "HOST", requires = "processes")]
    pub(crate) host: Option<String>,
    /// For --processes: says when it is ready, and stops when stdin is closed
    #[arg(long, hide = true, conflicts_with = "processes")]
    pub(crate) watched: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder of servers.json and shaddock.toml [default: ./config, else what is built in]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    /// The environment [default: $SHADDOCK_ENV, $NODE_ENV, development]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// Set a key of shaddock.toml, such as frontend.heartbeat=5; may be given often
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// The brokers over which servers in other processes are reached, such as nats://10.0.0.5:4222; commas in between
    #[arg(long, global = true, value_name = "URLS")]
    pub(crate) cluster: Option<String>,
    /// What to log, such as info or warn,shaddock=debug [default: $RUST_LOG, shaddock.toml]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Threads that do the work [default: one per core, which the processes of `start --processes` share]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) login: Login,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("a key, `=` and a value are needed, such as frontend.heartbeat=5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn without_arguments_all_servers_start() {
        let arguments = parse("chat").unwrap();
        let Command::Start(start) = arguments.command.unwrap_or_default() else {
            panic!("no start");
        };
        assert!(start.ids.is_empty() && start.kinds.is_empty() && !start.processes);
    }

    #[test]
    fn servers_to_start_are_named() {
        let line = "chat start gate-1 --type connector chat-1 --cluster nats://a,nats://b --type x";
        let arguments = parse(line).unwrap();
        let Some(Command::Start(Start { ids, kinds, .. })) = arguments.command else {
            panic!("no start");
        };
        assert_eq!(
            (ids, kinds),
            (vec!["gate-1".into(), "chat-1".into()], vec!["connector".into(), "x".into()])
        );
        assert_eq!(arguments.options.cluster.as_deref(), Some("nats://a,nats://b"));
    }

    #[test]
    fn options_stand_before_the_command_or_behind() {
        for line in [
            "chat --env test --set a.b=1 --set c==d --workers 3 check",
            "chat check --env test --set a.b=1 --set c==d --workers 3",
            "chat --set a.b=1 --set c==d --env=test --workers 3",
        ] {
            let Options { env, set, workers, .. } = parse(line).unwrap().options;
            assert_eq!(env.as_deref(), Some("test"), "{line}");
            let wanted = [("a.b", "1"), ("c", "=d")].map(|(key, value)| (key.into(), value.into()));
            assert_eq!(set, wanted, "{line}");
            assert_eq!(workers.map(NonZeroUsize::get), Some(3), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, reason) in [
            ("chat strat", "'strat'"),
            ("chat --set heartbeat", "a key, `=` and a value"),
            ("chat --set =5", "a key, `=` and a value"),
            ("chat --workers 0", "zero"),
            ("chat routes gate-1", "'gate-1'"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }

    #[test]
    fn the_program_is_called_as_its_file() {
        let help = parse("target/release/chat --help").unwrap_err().to_string();
        assert!(help.contains("Usage: chat [OPTIONS] [COMMAND]"), "{help}");
    }
}
