//! Through the gate into a room.

use serde_json::json;

use super::{enter, login, start};

#[tokio::test(start_paused = true)]
async fn the_gate_names_a_connector() {
    let app = start().await;
    let gate = app.connect("gate-server-1").await;
    let entry = gate.request("gate.gateHandler.queryEntry", json!({ "uid": "a" })).await;
    assert_eq!(entry, json!({ "code": 200, "host": "127.0.0.1", "port": 3051 }));
    for nobody in [json!({}), json!({ "uid": "" })] {
        assert_eq!(
            gate.request("gate.gateHandler.queryEntry", nobody).await,
            json!({ "code": 500 })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn those_in_a_room_hear_who_joins() {
    let app = start().await;
    let mut py = login(&app, "py", "lobby").await;
    let (mut al, users) = enter(&app, "al", "lobby").await;
    assert_eq!(users["users"].as_array().map(Vec::len), Some(2));
    assert_eq!(py.pushed("onAdd").await, json!({ "route": "onAdd", "user": "al" }));
    assert_eq!(al.pushes(), []);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once_in_the_whole_cluster() {
    let app = start().await;
    let _py = login(&app, "py", "lobby").await;
    for connector in ["connector-server-1", "connector-server-2", "connector-server-3"] {
        let client = app.connect(connector).await;
        let body = json!({ "username": "py", "rid": "lobby" });
        let reply = client.request("connector.entryHandler.enter", &body).await;
        assert_eq!(reply, json!({ "code": 500, "error": true }), "{connector}");
    }
    // In another room it is another user.
    login(&app, "py", "attic").await;
}

#[tokio::test(start_paused = true)]
async fn a_name_is_free_when_its_user_has_gone() {
    let app = start().await;
    let py = login(&app, "py", "lobby").await;
    let mut al = login(&app, "al", "lobby").await;
    py.leave().await;
    assert_eq!(al.pushed("onLeave").await, json!({ "route": "onLeave", "user": "py" }));
    login(&app, "py", "lobby").await;
}

#[tokio::test(start_paused = true)]
async fn bad_names_are_refused() {
    let app = start().await;
    for (name, room) in
        [("", "lobby"), ("a*b", "lobby"), ("<b>", "lobby"), ("py", ""), ("py", "a b")]
    {
        let client = app.connect("connector-server-1").await;
        let body = json!({ "username": name, "rid": room });
        let reply = client.request("connector.entryHandler.enter", body).await;
        assert_eq!(reply, json!({ "code": 500 }), "{name} {room}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_enters_once() {
    let app = start().await;
    let mut py = login(&app, "py", "lobby").await;
    let again = json!({ "username": "al", "rid": "attic" });
    let reply = py.request("connector.entryHandler.enter", again).await;
    assert_eq!(reply, json!({ "code": 500, "error": true }));
    super::say(&py, "still here", "*").await;
    assert_eq!(py.pushed("onChat").await["from"], "py");
}
