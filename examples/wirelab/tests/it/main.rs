//! What a front-end is configured to be, seen from a client's side. With real sockets.

mod hybrid;
mod mqtt;
mod socketio;
mod tls;
mod udp;

use std::net::SocketAddr;

use serde_json::Value;
use shaddock::config::Overrides;
use shaddock::{Config, Running};
use shaddock_client::Client;

/// Every front-end on a port that is free.
fn free_ports(overrides: Overrides) -> Overrides {
    let ids = ["plain", "dict", "proto", "dp", "crypto", "tls", "udp", "mqtt", "sio"];
    let bind = |all: Overrides, id| all.set(&format!("server.connector-{id}.bind"), "127.0.0.1:0");
    ids.into_iter().fold(overrides, bind)
}

fn config(overrides: Overrides) -> Config {
    Config::embedded(wirelab::CONFIG, Some("development"), &free_ports(overrides)).unwrap()
}

async fn start(overrides: Overrides) -> Running {
    wirelab::app(config(overrides)).start().await.unwrap()
}

/// Where the front-end `connector-<id>` listens.
fn address(running: &Running, id: &str) -> SocketAddr {
    let id = format!("connector-{id}");
    running.addresses().find(|(server, _)| server.as_str() == id).unwrap().1
}

async fn ask(client: &Client, route: &str, body: Value) -> Value {
    client.request(route, &body).await.unwrap()
}
