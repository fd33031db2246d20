//! The robot against the chat, and against its own responder, over sockets.

mod output;
mod responder;
mod scenarios;

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use shaddock::config::Overrides;
use shaddock::{Config, Running};
use shaddock_robot::{Address, Entrance, Plan, Report, Scenario};

/// The chat with its echoes, and its gate.
async fn chat() -> (Running, Entrance) {
    // Ports that nobody had a moment ago: the gate names connectors by what their configuration says.
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [gate, one, two] = held.map(|listener| listener.local_addr().unwrap().port());
    let frontend = |id: &str, port| json!({ "id": id, "host": "127.0.0.1", "clientPort": port, "frontend": true });
    let servers = json!({
        "gate": [frontend("gate-1", gate)],
        "connector": [frontend("connector-1", one), frontend("connector-2", two)],
        "chat": [{ "id": "chat-1", "host": "127.0.0.1" }, { "id": "chat-2", "host": "127.0.0.1" }],
    })
    .to_string();
    let files: Vec<_> = chat::CONFIG
        .iter()
        .map(|(name, text)| (*name, if *name == "servers.json" { &servers } else { *text }))
        .filter(|(name, _)| *name != "master.json")
        .collect();
    let overrides = Overrides::default().set("app.echo", "true");
    let mut config = Config::embedded(&files, None, &overrides).unwrap();
    config.app.remove("page");
    let running = chat::app(config).start().await.unwrap();
    (running, Entrance::Gate(Address { host: "127.0.0.1".to_owned(), port: gate }))
}

/// A short run of two threads.
fn plan(scenario: Scenario, entrance: Entrance) -> Plan {
    let mut plan = Plan::new(scenario, entrance);
    plan.clients = 8;
    plan.members = 4;
    plan.warm_up = Duration::from_millis(100);
    plan.time = Duration::from_millis(400);
    plan.threads = 2;
    plan
}

/// A plan against the chat.
async fn play(scenario: Scenario, change: impl FnOnce(&mut Plan)) -> Report {
    let (running, entrance) = chat().await;
    let mut plan = plan(scenario, entrance);
    change(&mut plan);
    let report = shaddock_robot::run(plan).await.unwrap();
    running.stop().await;
    report
}

fn echo(route: &str) -> Scenario {
    Scenario::Echo { route: route.to_owned() }
}
