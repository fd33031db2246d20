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
//! * `routes` lists what clients may ask and what they are pushed.
//! * `check` says whether configuration and application fit, without listening anywhere.
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
//! The exit code is 0 if all went well, 1 if something is wrong or the deadline of a stop cut
//! something off, and 2 if the command line can't be understood.

mod run;

mod arguments;
mod cluster;
mod commands;
mod configuration;
mod log;
mod output;
mod signals;

pub use run::run;

/// The README's server compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
