//! Who waits for whom: the messages of one session for each other, unless a handler says otherwise.

use serde_json::{Value, json};
use shaddock::testing::{self, TestApp, TestClient};
use shaddock::{Handler as _, Result, Server, Session};
use tokio::time::{Duration, Instant, sleep};

use crate::waits::{Log, log, logged};

async fn tell_and_wait(session: Session) -> Result<()> {
    session.push("onBegun", &json!({}))?;
    sleep(Duration::from_secs(5)).await;
    Ok(())
}

fn all(server: Server) -> Server {
    server.on("a.wait", log).on("a.overtake", log.concurrent(2)).on("a.tell", tell_and_wait)
}

async fn start() -> TestApp {
    let app = testing::app_with(&["connector"], &["chat", "area"], "[frontend]\nheartbeat = 1")
        .state(Log::default());
    let app = app.server(all(Server::frontend("connector")));
    TestApp::start(app.server(all(Server::backend("chat"))).server(all(Server::backend("area"))))
        .await
}

/// Asks for these waits at once, and says in which order they were done.
async fn done(app: &TestApp, client: &TestClient, route: &str, times: &[u64]) -> Vec<String> {
    let asked = times.iter().map(|time| client.request(route, time));
    assert_eq!(
        futures_util::future::join_all(asked).await,
        times.iter().map(|time| json!(time)).collect::<Vec<_>>()
    );
    logged(app)
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_session_wait_for_each_other() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        assert_eq!(
            done(&app, &client, &format!("{kind}.a.wait"), &[90, 60, 30]).await,
            ["90", "60", "30"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn those_to_a_concurrent_handler_overtake_each_other() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        // Two at once: the third one begins when the second is done.
        let order = done(&app, &client, &format!("{kind}.a.overtake"), &[90, 60, 10]).await;
        assert_eq!(order, ["60", "10", "90"], "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_handler_holds_nobody() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        let (overtake, wait) = (format!("{kind}.a.overtake"), format!("{kind}.a.wait"));
        let (slow, quick): (Value, Value) =
            tokio::join!(client.request(&overtake, 90), client.request(&wait, 10));
        assert_eq!((slow, quick), (json!(90), json!(10)));
        assert_eq!(logged(&app), ["10", "90"]);
    }
}

#[tokio::test(start_paused = true)]
async fn different_servers_work_beside_each_other() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    tokio::join!(client.request("chat.a.wait", 90), client.request("area.a.wait", 30));
    assert_eq!(logged(&app), ["30", "90"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_holds_its_own_session_alone() {
    let app = start().await;
    for kind in ["connector", "chat"] {
        let route = format!("{kind}.a.wait");
        let (slow, other) = (app.connect("connector-1").await, app.connect("connector-1").await);
        let begun = Instant::now();
        let quick = async {
            other.request(&route, 1).await;
            begun.elapsed()
        };
        let (_, elapsed) = tokio::join!(slow.request(&route, 5_000), quick);
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_and_heartbeats_go_on_while_a_handler_waits() {
    let app = start().await;
    for route in ["connector.a.tell", "chat.a.tell"] {
        let mut client = app.connect("connector-1").await;
        let asking = client.client().clone();
        let begun = Instant::now();
        let (reply, told) = tokio::join!(asking.request::<Value>(route, json!({})), async {
            client.pushed("onBegun").await;
            begun.elapsed()
        });
        assert_eq!(reply.unwrap(), json!({}));
        assert!(told < Duration::from_secs(1), "{told:?}");
    }
}
