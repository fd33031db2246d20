//! The framework as applications and their clients see it, every server in memory.

mod blocking;
mod filters;
mod handlers;
mod order;
mod overtaking;
mod panics;

mod endings;
mod events;
mod logins;
mod sessions;

mod channels;
mod groups;
mod handovers;
mod held;
mod loads;
mod moves;
mod partitions;
mod pushes;
mod remotes;
mod turns;

mod connectors;
mod doors;
mod handshakes;
mod limits;
mod lines;
mod rude;
#[cfg(feature = "socketio")]
mod socketio;

mod components;
mod crons;
mod operators;
mod servers;
mod sockets;
mod start;
mod stop;

mod raw;
mod reloading;
mod waits;
