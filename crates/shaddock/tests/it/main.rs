//! The framework as applications and their clients see it, every server in memory.

mod handlers;
mod overtaking;
mod filters;
mod order;

mod sessions;
mod logins;
mod endings;
mod events;

mod remotes;
mod channels;
mod pushes;

mod limits;
mod rude;

mod start;
mod components;
mod stop;
mod sockets;

mod raw;
mod waits;
