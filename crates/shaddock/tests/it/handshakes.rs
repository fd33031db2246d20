//! Handshakes: who may come in, and what they are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use shaddock::connector::Wire as _;
use shaddock::testing::client::{Client, ConnectError};
use shaddock::testing::{self, TestApp};
use shaddock::{Fault, Hello, Msg, Peer, Result, Server, ServerHandle};
use tokio::sync::Notify;
use tokio::time::Duration;

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

fn connector() -> Server {
    Server::frontend("connector").on("a.echo", echo)
}

async fn start(connector: Server) -> TestApp {
    TestApp::start(testing::app(&["connector"], &[]).server(connector)).await
}

/// The code that a client is sent away with.
async fn refused(app: &TestApp, user: Value) -> u16 {
    let wire = app.wire("connector-1").await;
    match Client::builder().client("unity", "1.2").user(user).over(wire).await {
        Err(ConnectError::Refused { code, .. }) => code,
        other => panic!("it was not refused: {other:?}"),
    }
}

async fn strict(_: ServerHandle, hello: Hello, _: Peer) -> Result<Value> {
    match hello.user {
        Some(Value::String(word)) if word == "friend" => Ok(json!({ "come": "in" })),
        Some(Value::Number(code)) => Err(Fault::new(code.as_i64().unwrap_or(-1), "by its number")),
        Some(Value::Bool(_)) => panic!("the application's mistake"),
        _ => Err("x".parse::<u8>().unwrap_err().into()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_let_in_with_a_word_or_sent_away_with_a_code() {
    let app = start(connector().on_handshake(strict)).await;
    let friend = Client::builder().user(json!("friend"));
    let client = app.connect_as("connector-1", friend).await;
    assert_eq!(client.client().user(), Some(json!({ "come": "in" })));
    assert_eq!(client.request("connector.a.echo", json!({ "a": 1 })).await, json!({ "a": 1 }));
    assert_eq!(refused(&app, json!(501)).await, 501);
    assert_eq!(refused(&app, json!(70_000)).await, 500, "no code of a handshake is as long");
    assert_eq!(refused(&app, json!("foe")).await, 500);
    assert_eq!(refused(&app, json!(true)).await, 500, "a panic is a refusal");
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_sent_away_is_told_the_fields_of_the_fault_and_never_its_reason() {
    async fn full(_: ServerHandle, hello: Hello, _: Peer) -> Result<()> {
        Err(match hello.user {
            Some(Value::Number(code)) => Fault::new(code.as_i64().unwrap_or(0), "by its number"),
            _ => Fault::new(503, "the log's").with("msg", "full: come back").with("after", 30),
        })
    }
    let app = start(connector().on_handshake(full)).await;
    for (user, told) in [
        ("null", r#"{"code":503,"msg":"full: come back","after":30}"#),
        ("500", r#"{"code":500}"#),
        ("200", r#"{"code":500}"#),
    ] {
        let mut wire = app.wire("connector-1").await;
        let hello = format!(r#"{{"sys":{{}},"user":{user}}}"#);
        wire.send(&format!("\x01\0\0{}{hello}", char::from(hello.len() as u8)).into());
        wire.flush().await.unwrap();
        let mut received = Vec::new();
        while let Some(chunk) = wire.receive().await {
            received.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(received.split_off(4), told.as_bytes());
    }
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_who_comes_and_nothing_is_a_silent_welcome() {
    let seen = Arc::new(Mutex::new(None));
    let see = seen.clone();
    let app = start(connector().on_handshake(move |server: ServerHandle, hello, peer: Peer| {
        *see.lock().unwrap() = Some((server.id().to_string(), hello, peer));
        async { Ok(()) }
    }))
    .await;
    let builder = Client::builder().client("unity", "1.2").user(json!({ "token": 7 }));
    let client = app.connect_as("connector-1", builder).await;
    assert_eq!(client.client().user(), None);
    let (server, hello, peer) = seen.lock().unwrap().take().unwrap();
    assert_eq!(server, "connector-1");
    let expected = Hello {
        client_type: Some("unity".to_owned()),
        client_version: Some("1.2".to_owned()),
        user: Some(json!({ "token": 7 })),
    };
    assert_eq!(hello, expected);
    assert_eq!((peer.transport, peer.server_name), ("memory", None));
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_take_its_time_and_nobody_else_waits() {
    let (asked, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (is_asked, answered) = (asked.clone(), answer.clone());
    let app = start(connector().on_handshake(move |_: ServerHandle, hello: Hello, _: Peer| {
        let (asked, answered) = (is_asked.clone(), answered.clone());
        async move {
            if hello.user.is_some() {
                asked.store(true, Ordering::Relaxed);
                answered.notified().await;
            }
            Ok(hello.user)
        }
    }))
    .await;
    let slow = Client::builder().user(json!("slow"));
    let quick = async {
        while !asked.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        let client = app.connect("connector-1").await;
        assert_eq!(client.request("connector.a.echo", json!({})).await, json!({}));
        answer.notify_one();
    };
    let (slow, ()) = tokio::join!(app.connect_as("connector-1", slow), quick);
    assert_eq!(slow.client().user(), Some(json!("slow")));
    assert_eq!(slow.request("connector.a.echo", json!({})).await, json!({}));
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_answers_costs_the_time_of_a_handshake() {
    let app =
        start(connector().on_handshake(|_: ServerHandle, _: Hello, _: Peer| {
            std::future::pending::<Result<()>>()
        }))
        .await;
    let wire = app.wire("connector-1").await;
    let connecting = Client::builder().connect_timeout(Duration::from_secs(60)).over(wire);
    assert!(matches!(
        connecting.await,
        Err(ConnectError::Closed(_) | ConnectError::Refused { .. })
    ));
    assert!(app.stop().await);
}
