//! Sessions: who they are and what they remember, on every server the same.

use serde_json::{Map, Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{Msg, Result, Server, Session};

async fn bind(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind(uid).await?)
}

async fn unbind(session: Session) -> Result<()> {
    Ok(session.unbind().await?)
}

async fn set(session: Session, Msg(value): Msg<Value>) -> Result<()> {
    session.set("value", value).await
}

async fn get(session: Session) -> Result<Value> {
    session.get("value")
}

async fn get_number(session: Session) -> Result<u8> {
    session.get("value")
}

async fn remove(session: Session) -> Result<()> {
    session.remove("value").await
}

/// Sets many at once, and gives back what this server's own session says then.
async fn update(session: Session, Msg(values): Msg<Map<String, Value>>) -> Result<Value> {
    session.update(values).await?;
    Ok(json!([session.get::<Value>("value")?, session.get::<Value>("other")?]))
}

async fn who(session: Session) -> Result<Value> {
    Ok(json!({
        "id": session.id(), "frontend": session.frontend(), "address": session.remote_addr(),
        "uid": session.find_uid(), "member": session.member().ok(),
    }))
}

fn both(server: Server) -> Server {
    server
        .on("a.bind", bind)
        .on("a.unbind", unbind)
        .on("a.set", set)
        .on("a.get", get)
        .on("a.getNumber", get_number)
        .on("a.remove", remove)
        .on("a.update", update)
        .on("a.who", who)
}

async fn start() -> TestApp {
    let app = testing::app(&["connector"], &["chat*2"]);
    TestApp::start(
        app.server(both(Server::frontend("connector"))).server(both(Server::backend("chat"))),
    )
    .await
}

/// Each side once, and after it the other.
const SIDES: [[&str; 2]; 2] = [["connector", "chat"], ["chat", "connector"]];

#[tokio::test(start_paused = true)]
async fn what_one_server_sets_the_others_see() {
    let app = start().await;
    for [here, there] in SIDES {
        let client = app.connect("connector-1").await;
        client.request(&format!("{here}.a.set"), json!({ "x": 1 })).await;
        assert_eq!(client.request(&format!("{there}.a.get"), json!({})).await, json!({ "x": 1 }));
        client.request(&format!("{there}.a.set"), json!([2])).await;
        assert_eq!(client.request(&format!("{here}.a.get"), json!({})).await, json!([2]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_never_set_or_is_another_type_is_a_fault() {
    let app = start().await;
    for [here, _] in SIDES {
        let client = app.connect("connector-1").await;
        assert_eq!(
            client.request(&format!("{here}.a.get"), json!({})).await,
            json!({ "code": 500 })
        );
        client.request(&format!("{here}.a.set"), json!("text")).await;
        assert_eq!(
            client.request(&format!("{here}.a.getNumber"), json!({})).await,
            json!({ "code": 500 })
        );
        client.request(&format!("{here}.a.set"), json!(7)).await;
        assert_eq!(client.request(&format!("{here}.a.getNumber"), json!({})).await, 7);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_is_gone_everywhere() {
    let app = start().await;
    for [here, there] in SIDES {
        let client = app.connect("connector-1").await;
        client.request(&format!("{here}.a.set"), json!(1)).await;
        assert_eq!(client.request(&format!("{there}.a.remove"), json!({})).await, json!({}));
        assert_eq!(
            client.request(&format!("{here}.a.get"), json!({})).await,
            json!({ "code": 500 })
        );
        assert_eq!(
            client.request(&format!("{there}.a.get"), json!({})).await,
            json!({ "code": 500 })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn several_settings_change_in_one_step() {
    let app = start().await;
    for [here, there] in SIDES {
        let client = app.connect("connector-1").await;
        let values = json!({ "value": 1, "other": [2] });
        assert_eq!(client.request(&format!("{here}.a.update"), values).await, json!([1, [2]]));
        assert_eq!(client.request(&format!("{there}.a.get"), json!({})).await, 1);
        // What is not named stays.
        assert_eq!(
            client.request(&format!("{there}.a.update"), json!({ "value": 3 })).await,
            json!([3, [2]])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_the_same_on_every_server() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    let before = client.request("connector.a.who", json!({})).await;
    assert_eq!(before["frontend"], "connector-1");
    assert_eq!(before["address"], "127.0.0.1:0");
    assert_eq!((&before["uid"], &before["member"]), (&json!(null), &json!(null)));
    assert_eq!(client.request("chat.a.who", json!({})).await, before);
    client.request("chat.a.bind", json!("py")).await;
    let after = client.request("connector.a.who", json!({})).await;
    let member = json!({ "uid": "py", "frontend": "connector-1", "session": before["id"] });
    assert_eq!((&after["uid"], &after["member"]), (&json!("py"), &member));
    assert_eq!(client.request("chat.a.who", json!({})).await, after);
}

#[tokio::test(start_paused = true)]
async fn no_two_sessions_share_an_id() {
    let app = start().await;
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let client = app.connect("connector-1").await;
        let who = client.request("connector.a.who", json!({})).await;
        assert!(ids.insert(who["id"].as_u64().unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_has_one_user() {
    let app = start().await;
    for [here, there] in SIDES {
        let client = app.connect("connector-1").await;
        assert_eq!(client.request(&format!("{here}.a.bind"), json!("py")).await, json!({}));
        assert_eq!(client.request(&format!("{there}.a.bind"), json!("py")).await, json!({}));
        assert_eq!(
            client.request(&format!("{there}.a.bind"), json!("al")).await,
            json!({ "code": 500 })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_unbound_may_be_someone_else() {
    let app = start().await;
    for [here, there] in SIDES {
        let client = app.connect("connector-1").await;
        client.request(&format!("{here}.a.bind"), json!("py")).await;
        assert_eq!(client.request(&format!("{there}.a.unbind"), json!({})).await, json!({}));
        for kind in [here, there] {
            assert_eq!(
                client.request(&format!("{kind}.a.who"), json!({})).await["uid"],
                json!(null)
            );
        }
        assert_eq!(client.request(&format!("{here}.a.bind"), json!("al")).await, json!({}));
        assert_eq!(client.request(&format!("{there}.a.who"), json!({})).await["uid"], "al");
    }
}
