//! The chat as its clients see it, every server in memory.

mod chaos;
mod echo;
mod faults;
mod life;
mod login;
mod processes;
mod room;
mod several;

use chat::messages::Users;
use serde_json::{Value, json};
use shaddock::Config;
use shaddock::config::Overrides;
use shaddock::testing::{TestApp, TestClient};

/// The configuration of the demo.
fn config() -> Config {
    config_with(&Overrides::default())
}

fn config_with(overrides: &Overrides) -> Config {
    let config = Config::embedded(chat::CONFIG, Some("development"), overrides);
    let mut config = config.expect("the demo's configuration");
    // The page has a port, and nothing to do here.
    config.app.remove("page");
    config
}

/// The chat, with the configuration of the demo.
async fn start() -> TestApp {
    TestApp::start(chat::app(config())).await
}

/// Asks the gate for a connector, and enters there, as the page does.
async fn enter(app: &TestApp, name: &str, room: &str) -> (TestClient, Value) {
    let gate = app.connect("gate-server-1").await;
    let entry = gate.request("gate.gateHandler.queryEntry", json!({ "uid": name })).await;
    gate.leave().await;
    let number = entry["port"].as_u64().expect("a port") - 3049;
    let client = app.connect(&format!("connector-server-{number}")).await;
    let reply = client
        .request("connector.entryHandler.enter", json!({ "username": name, "rid": room }))
        .await;
    (client, reply)
}

/// Enters, and is let in.
async fn login(app: &TestApp, name: &str, room: &str) -> TestClient {
    let (client, reply) = enter(app, name, room).await;
    serde_json::from_value::<Users>(reply).expect("the users");
    client
}

/// Says something.
async fn say(client: &TestClient, content: &str, target: &str) -> Value {
    let say =
        json!({ "rid": "elsewhere", "content": content, "from": "someone else", "target": target });
    client.request("chat.chatHandler.send", say).await
}
