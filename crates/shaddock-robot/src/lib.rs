//! Load for Shaddock servers, and any others that speak the wire of pomelo's clients and know the chat's routes.
//!
//! The program `shaddock-robot` plays many clients and says what they saw: how much got through, how long it took, what
//! was lost, doubled or out of order, and what the server used for it.
//!
//! ```text
//! $ chat start --echo &
//! $ shaddock-robot echo --clients 100 --outstanding 8 --pid $!
//! scenario       echo, 100 clients over websocket by gate 127.0.0.1:3014, connector.entryHandler.echo, 8 outstanding, 64 bytes
//! ```
//!
//! The same in code, for scripts of one's own, is a [`Plan`], [`run`], and a [`Report`].
//!
//! # How it measures
//!
//! * **Exactly**: each answer is compared with what was asked, and each copy of a chat message is counted for each member
//!   of its room, by number. What has not arrived some seconds after the end is lost.
//! * **Without omission**: at a given rate each message has its moment, which does not move when the server is slow, and its
//!   latency counts from there. Without a rate a client waits for answers before it asks again; then the latencies say
//!   little about what users of a busy server see, and the rate says much about what it can do.
//! * **The server alone**: CPU time and memory are those of the processes that are named, with their children. The
//!   robot's own CPU time stands beside them; `shaddock-robot responder` is a server that does next to nothing, to see
//!   what robot and kernel cost without one.
//!
//! It plays whole clients: handshake, dictionary and protobuf as the server wants them, heartbeats. A thread plays
//! many and no message has a task of its own.

pub mod command;

mod plan;
mod report;
mod run;

mod pace;
mod phase;
mod tally;
mod timer;
mod worker;

mod scenario;
mod talk;
mod template;

mod entry;
mod link;

mod process;
mod responder;

#[cfg(test)]
mod testing;

pub use plan::{Address, AddressError, Entrance, Plan, PlanError, Scenario, Speech};
pub use process::ProcessError;
pub use report::{Entering, ErrorCount, Latency, Load, Report, Robot, Second, Server};
pub use responder::respond;
pub use run::{Progress, RunError, run, run_until};
pub use tally::Counts;
