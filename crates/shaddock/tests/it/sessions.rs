//! Sessions: who they are, what they remember, how they end.

use serde_json::{Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{Msg, Result, Server, Session};

async fn bind(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind(uid).await?)
}

async fn set(session: Session, Msg(value): Msg<Value>) -> Result<()> {
    session.set("value", value).await
}

async fn get(session: Session) -> Result<Value> {
    session.get("value")
}

fn both(server: Server) -> Server {
    server.on("a.bind", bind).on("a.set", set).on("a.get", get)
}

async fn start() -> TestApp {
    let app = testing::app(&["connector"], &["chat*2"]);
    TestApp::start(app.server(both(Server::frontend("connector"))).server(both(Server::backend("chat")))).await
}

#[tokio::test(start_paused = true)]
async fn what_one_server_sets_the_others_see() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    client.request("chat.a.set", json!({ "x": 1 })).await;
    assert_eq!(client.request("connector.a.get", json!({})).await, json!({ "x": 1 }));
    client.request("connector.a.set", json!([2])).await;
    assert_eq!(client.request("chat.a.get", json!({})).await, json!([2]));
}

#[tokio::test(start_paused = true)]
async fn a_session_has_one_user() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("chat.a.bind", json!("py")).await, json!({}));
    assert_eq!(client.request("connector.a.bind", json!("py")).await, json!({}));
    assert_eq!(client.request("connector.a.bind", json!("al")).await, json!({ "code": 500 }));
}
