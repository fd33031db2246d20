//! The servers as clients see them, all in memory: there are no ports, and no time passes.

use serde_json::json;
use shaddock::config::{Config, Overrides};
use shaddock::testing::{TestApp, TestClient};

async fn start() -> TestApp {
    let config = Config::embedded(my_game::CONFIG, None, &Overrides::default());
    let mut config = config.expect("the configuration is right");
    config.app.remove("page"); // It has a port, and nothing to do here.
    TestApp::start(my_game::app(config)).await
}

async fn enter(app: &TestApp, name: &str) -> TestClient {
    let client = app.connect("connector-1").await;
    let visitor = json!({ "name": name, "room": "lobby" });
    let people = client.request("connector.entryHandler.enter", visitor).await;
    assert!(people.as_array().is_some_and(|people| people.contains(&json!(name))), "{people}");
    client
}

#[tokio::test(start_paused = true)]
async fn those_in_a_room_hear_each_other() {
    let app = start().await;
    let mut py = enter(&app, "py").await;
    let al = enter(&app, "al").await;
    assert_eq!(py.pushed("onEnter").await, json!("al"));
    al.request("room.roomHandler.say", json!({ "text": "hello" })).await;
    assert_eq!(py.pushed("onLine").await, json!({ "from": "al", "text": "hello" }));
    al.leave().await;
    assert_eq!(py.pushed("onLeave").await, json!("al"));
}
