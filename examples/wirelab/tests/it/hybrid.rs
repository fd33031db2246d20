//! pomelo's protocol over WebSocket and TCP.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shaddock::Config;
use shaddock::config::Overrides;
use shaddock_client::{Client, CloseReason, ConnectError, Reconnect, SigningKey, Status};
use shaddock_protocol::pomelo::Tables;

use crate::{address, ask, config, free_ports, start};

#[tokio::test]
async fn the_picky_one_answers_a_handshake_and_refuses_two_kinds() {
    let running = start(Overrides::default()).await;
    let url = format!("ws://{}", address(&running, "plain"));
    let client = Client::builder().user(json!({ "a": 1 })).connect(&url).await.unwrap();
    assert_eq!(client.user(), Some(json!({ "hello": "accept", "echo": { "a": 1 } })));
    let client = Client::connect(&url).await.unwrap();
    assert_eq!(client.user(), Some(json!({ "hello": "accept", "echo": null })));
    for (builder, expected) in [
        (Client::builder().client("old-client", "1"), 501),
        (Client::builder().user(json!({ "reject": true })), 500),
    ] {
        match builder.connect(&url).await {
            Err(ConnectError::Refused { code, .. }) => assert_eq!(code, expected),
            other => panic!("it was not refused: {other:?}"),
        }
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn every_handler_does_what_it_says_on_every_hybrid_front_end() {
    let running = start(Overrides::default()).await;
    for (id, scheme) in [("plain", "tcp"), ("dict", "ws"), ("proto", "tcp"), ("dp", "ws")] {
        let client =
            Client::connect(&format!("{scheme}://{}", address(&running, id))).await.unwrap();
        let mut pushes = client.pushes("onPush");
        let mut noted = client.pushes("onNote");
        let test = async |method: &str, body| {
            ask(&client, &format!("connector.testHandler.{method}"), body).await
        };
        assert_eq!(
            test("echo", json!({ "body": [1, "二"] })).await,
            json!({ "code": 200, "body": [1, "二"] })
        );
        assert_eq!(
            test("push", json!({ "route": "onPush", "body": {} })).await,
            json!({ "code": 500 })
        );
        client.notify("connector.testHandler.note", json!({ "n": 1 })).await.unwrap();
        assert_eq!(test("bind", json!({ "uid": id })).await, json!({ "code": 200, "uid": id }));
        assert_eq!(test("bind", json!({ "uid": "x" })).await, json!({ "code": 500, "uid": id }));
        client.notify("connector.testHandler.note", json!({ "n": 2 })).await.unwrap();
        assert_eq!(test("notes", json!({})).await, json!({ "code": 200, "notes": [1, 2] }));
        assert_eq!(noted.next().await.unwrap().json::<Value>().unwrap(), json!({ "n": 2 }));
        assert_eq!(test("fail", json!({})).await, json!({ "code": 500 }));
        assert_eq!(test("failWith", json!({})).await, json!({ "code": 501, "msg": "custom" }));
        assert_eq!(test("failBody", json!({})).await, json!({ "msg": "no code", "code": 500 }));
        assert_eq!(test("empty", json!({})).await, json!({}));
        assert_eq!(
            test("json", json!({ "z": 1, "a": [] })).await,
            json!({ "code": 200, "json": r#"{"z":1,"a":[]}"# })
        );

        // The later one is answered first.
        let (slow, quick) = (json!({ "ms": 300, "n": 1 }), json!({ "ms": 0, "n": 2 }));
        let slow = test("delay", slow);
        let mut slow = std::pin::pin!(slow);
        tokio::select! {
            biased;
            answer = &mut slow => panic!("the slow one came first: {answer}"),
            answer = test("delay", quick) => assert_eq!(answer, json!({ "code": 200, "n": 2 })),
        }
        assert_eq!(slow.await, json!({ "code": 200, "n": 1 }));

        let area = async |method: &str, body| {
            ask(&client, &format!("area.areaHandler.{method}"), body).await
        };
        let who = json!({ "code": 200, "uid": id, "sid": format!("connector-{id}"), "server": "area-server-1" });
        assert_eq!(area("who", json!({})).await, who);
        assert_eq!(
            area("echo", json!({ "body": null })).await,
            json!({ "code": 200, "body": null })
        );
        assert_eq!(area("fail", json!({})).await, json!({ "code": 500 }));
        let push = json!({ "route": "onPush", "body": { "from": "area" } });
        assert_eq!(area("push", push).await, json!({ "code": 200 }));
        assert_eq!(
            pushes.next().await.unwrap().json::<Value>().unwrap(),
            json!({ "from": "area" })
        );
        assert_eq!(area("kick", json!({ "reason": "enough" })).await, json!({ "code": 200 }));
        assert_eq!(client.closed().await, CloseReason::Kicked(Some("enough".to_owned())));
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_client_without_a_key_is_refused_where_messages_are_signed() {
    let running = start(Overrides::default()).await;
    let url = format!("tcp://{}", address(&running, "crypto"));
    assert!(matches!(Client::connect(&url).await, Err(ConnectError::Refused { code: 500, .. })));
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_client_with_a_key_is_answered_where_messages_are_signed() {
    let running = start(Overrides::default()).await;
    let key = include_str!("../../../../crates/shaddock-client/tests/for-tests-only.key.pem");
    let key = SigningKey::from_pem(key).unwrap();
    for scheme in ["tcp", "ws"] {
        let address = format!("{scheme}://{}", address(&running, "crypto"));
        let client = Client::builder().sign(key.clone()).connect(&address).await.unwrap();
        let said = json!({ "body": ["二", "😀", 1.5] });
        let answer = ask(&client, "connector.testHandler.json", said.clone()).await;
        assert_eq!(answer["json"], said.to_string());
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_client_comes_back_to_a_front_end_that_was_restarted() {
    let running = start(Overrides::default()).await;
    let bind = address(&running, "dp").to_string();
    let reconnect = Reconnect { first: Duration::from_millis(10), ..Reconnect::default() };
    let log_in = async |client: Client| {
        client.request_raw("connector.testHandler.bind", r#"{"uid":"al"}"#.into()).await?;
        Ok(())
    };
    let builder = Client::builder().reconnect(reconnect).log_in(log_in);
    let client = builder.connect(&format!("tcp://{bind}")).await.unwrap();
    let tables = client.tables();
    let mut notes = client.pushes("onNote");
    let mut status = client.status();
    assert!(running.stop().await);
    let gone = |status: &Status| matches!(status, Status::Reconnecting { .. });
    status.wait_for(gone).await.unwrap();

    let again = free_ports(Overrides::default()).set("server.connector-dp.bind", &bind);
    let config = Config::embedded(wirelab::CONFIG, Some("development"), &again).unwrap();
    let running = wirelab::app(config).start().await.unwrap();
    status.wait_for(|status| !gone(status)).await.unwrap();
    assert_eq!(*status.borrow(), Status::Connected { connections: 2 });
    client.notify("connector.testHandler.note", json!({ "n": 1 })).await.unwrap();
    assert_eq!(notes.next().await.unwrap().json::<Value>().unwrap(), json!({ "n": 1 }));
    // What the first one sent is in use still.
    let same = |one: &Tables, other: &Tables| {
        Arc::ptr_eq(one.dictionary.as_ref().unwrap(), other.dictionary.as_ref().unwrap())
            && Arc::ptr_eq(one.protos.as_ref().unwrap(), other.protos.as_ref().unwrap())
    };
    assert!(same(&tables, &client.tables()));
    assert!(running.stop().await);
}

#[tokio::test]
async fn what_is_configured_here_can_start() {
    wirelab::app(config(Overrides::default())).check().await.unwrap();
    let wrong = Overrides::default().set("server.connector-mqtt.publish-route", "connector.a.b");
    let error = wirelab::app(config(wrong)).check().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "shaddock.toml, for connector-mqtt: there is no handler for connector.a.b"
    );
}
