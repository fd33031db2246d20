//! What the binary of every Shaddock application answers to: `start`, `routes` and `check`.
//!
//! An application is a function from its configuration to an [`App`](shaddock::App); [`run()`] makes a
//! program of it:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use shaddock::{App, Config, Msg, Result, Server};
//!
//! /// For when there is no folder `config`. With files: `include_str!("../config/servers.json")`.
//! const CONFIG: &[(&str, &str)] = &[(
//!     "servers.json",
//!     r#"{"connector": [{"id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true}]}"#,
//! )];
//!
//! async fn echo(Msg(text): Msg<String>) -> Result<String> {
//!     Ok(text)
//! }
//!
//! fn app(config: Config) -> App {
//!     App::new(config).server(Server::frontend("connector").on("entryHandler.echo", echo))
//! }
//!
//! fn main() -> ExitCode {
//!     shaddock_cli::run(CONFIG, app)
//! }
//! ```
//!
//! ```text
//! $ echo
//! configuration: built in, environment development
//! connector  127.0.0.1:3050
//! ready in 3 ms
//! ```
//!
//! # Commands
//!
//! * `start [IDS..] [--type KIND]` runs all servers of the configuration in this process, or those named. It is
//!   also what happens without any arguments. SIGTERM and Ctrl-C stop in order; a second one ends at once.
//!   With `--cluster nats://HOST:PORT`, or `[cluster] urls` in shaddock.toml, it finds the servers that run in other
//!   processes over these brokers; without, there are none but its own.
//! * `start --processes` runs each server in a process of its own: those of servers.json whose host is this machine (or
//!   `--host HOST`), or those named. It needs a broker, which it does not start. What they say has their names in front. One that fails is
//!   started again, after 1 s at first and 60 s at last, if its entry says `auto-restart`; with `restart-force` it is so
//!   also if it gives no sign of life for 10 s, and is ended first. One that an operator stops or kills stays away. SIGTERM and Ctrl-C stop
//!   front-ends first, then the others; they also stop when the one that watches them is gone.
//! * `routes` lists what clients may ask and what they are pushed.
//! * `check` says whether configuration and application fit, without listening anywhere.
//! * `list`, `show`, `top`, `stop`, `restart`, `kill`, `add`, `broadcast`, `kick`, `blacklist` and `call` reach
//!   servers that run, in whichever process, over the cluster's brokers; `--help` of each says more. They ask as the `--user` of
//!   adminUser.json (else `$SHADDOCK_USER`, else `admin`), with the password of `$SHADDOCK_PASSWORD`, of stdin with `--password-stdin`, or
//!   typed. See [`shaddock::admin`] for who may do what.
//! * `hash-password` makes what adminUser.json should have for a password.
//!
//! The command `shaddock` does the same with a cluster that runs, without its application: `shaddock list --cluster
//! nats://HOST:4222 --name CLUSTER`. `shaddock robot` plays clients of a server, to measure it.
//!
//! The command `shaddock init NAME` makes a new project: a gate, a connector, a back-end, a page and a test.
//!
//! The configuration is the folder of `--config`, else `./config` if a servers.json is in it, else
//! the one built in. `--env`, `--set KEY=VALUE` and variables like `SHADDOCK__FRONTEND__HEARTBEAT`
//! change what it says; see [`shaddock::config`]. The log goes to stderr, by the filter of `--log`,
//! else of the variable `RUST_LOG`, else of `[log]` in shaddock.toml.
//!
//! # Features
//!
//! * `nats`, on by default: clusters over NATS.
//!
//! # Exit codes
//!
//! The exit code is 0 if all went well, 1 if something is wrong, 2 if the command line can't be understood, 3 if an
//! operator has killed the process, and 4 if it stopped as it was asked to, and the deadline or a second signal cut off what was
//! under way. Whoever starts again what has failed should leave 3 and 4 alone, as `start --processes` does.

mod run;

mod arguments;
mod cluster;
mod commands;
mod configuration;
mod init;
mod log;
mod operate;
mod output;
mod processes;
mod signals;
mod tool;

pub use run::{run, run_from};
pub use tool::run as tool;

/// The README's server compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
