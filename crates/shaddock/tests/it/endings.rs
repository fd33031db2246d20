//! How sessions end: the close hook runs once for each, after everything they had under way.

use bytes::Bytes;
use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{Fault, Msg, Result, Server, Session, State};
use shaddock_protocol::pomelo::Kind;
use tokio::time::{Duration, sleep};

use crate::raw::{HANDSHAKE, Raw, notify};
use crate::waits::{Log, log, logged};

async fn closed(log: State<Log>) -> Result<()> {
    log.add("closed");
    Ok(())
}

async fn kick_me(session: Session) -> Result<()> {
    session.kick(Some("enough")).await
}

/// Pushes more at once than the client may leave unread.
async fn flood(session: Session) -> Result<()> {
    for number in 0..100 {
        session.push("onFlood", &number)?;
    }
    Ok(())
}

async fn start(toml: &str) -> TestApp {
    let app = testing::app_with(&["connector"], &["chat"], toml).state(Log::default());
    let all =
        |server: Server| server.on("a.wait", log).on("a.kickMe", kick_me).on("a.flood", flood);
    let connector = all(Server::frontend("connector")).on_close(closed);
    TestApp::start(app.server(connector).server(all(Server::backend("chat")))).await
}

/// Whatever `end` does to a connection that is through its handshake, the hook runs once.
async fn closes_once(toml: &str, end: impl AsyncFnOnce(Raw)) {
    let app = start(toml).await;
    let client = Raw::enter(&app).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!((logged(&app), app.server("connector-1").session_count()), (vec![], 1));
    end(client).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        (logged(&app), app.server("connector-1").session_count()),
        (vec!["closed".to_owned()], 0)
    );
    app.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_client_leaves() {
    closes_once("", async |client| drop(client)).await;
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_client_is_kicked() {
    for route in ["connector.a.kickMe", "chat.a.kickMe"] {
        closes_once("", async |mut client| {
            client.send(notify(route, "{}")).await;
            let kick = client.said().await.expect("a kick");
            assert_eq!((kick.kind, &kick.body[..]), (Kind::Kick, &br#"{"reason":"enough"}"#[..]));
            client.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_heartbeat_stops() {
    closes_once("[frontend]\nheartbeat = 1", async |mut client| client.closed().await).await;
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_client_breaks_the_protocol() {
    for bytes in [&[9, 0, 0, 0][..], &[4, 0xff, 0xff, 0xff], &[5, 0, 0, 0]] {
        closes_once("", async |mut client| {
            client.send(Bytes::copy_from_slice(bytes)).await;
            client.closed().await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_client_attacks() {
    closes_once("", async |mut client| {
        client.ask(1, "connector.a.constructor", "{}").await;
        assert_eq!(client.said().await.expect("a kick").body, r#"{"reason":"attack"}"#);
        client.closed().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_client_does_not_read() {
    for route in ["connector.a.flood", "chat.a.flood"] {
        closes_once("[frontend.limits]\noutbound-messages = 50", async |mut client| {
            client.send(notify(route, "{}")).await;
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_there_was_no_handshake() {
    for words in [&[(Kind::Handshake, "nonsense")][..], &[(Kind::Handshake, HANDSHAKE)], &[]] {
        let app = start("").await;
        let mut client = Raw::connect(&app).await;
        for (kind, body) in words {
            client.say(*kind, body).await;
        }
        sleep(Duration::from_secs(11)).await;
        assert_eq!(logged(&app), ["closed"]);
        assert_eq!(app.server("connector-1").session_count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_when_the_server_stops() {
    let app = start("").await;
    let handle = app.app().clone();
    let _clients = [Raw::enter(&app).await, Raw::enter(&app).await];
    assert!(app.stop().await);
    assert_eq!(handle.state::<Log>().unwrap().take(), ["closed", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_after_all_that_was_sent() {
    let app = start("").await;
    let client = app.connect("connector-1").await;
    for (kind, time) in [("chat", 900), ("connector", 500), ("chat", 20), ("connector", 10)] {
        client.notify(&format!("{kind}.a.wait"), time).await;
    }
    client.leave().await;
    sleep(Duration::from_secs(5)).await;
    // The messages to one server in order, and the hook after those to either.
    assert_eq!(logged(&app), ["500", "10", "900", "20", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn the_hook_runs_after_what_was_begun_when_a_client_is_kicked() {
    let app = start("").await;
    let client = app.connect("connector-1").await;
    client.notify("chat.a.wait", 900).await;
    client.notify("connector.a.kickMe", json!({})).await;
    client.closed().await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(logged(&app), ["900", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn the_hook_still_knows_who_it_was() {
    async fn bind(session: Session, Msg(uid): Msg<String>) -> Result<()> {
        session.set("room", "lobby").await?;
        Ok(session.bind_unique(uid).await?)
    }
    async fn closed(session: Session, log: State<Log>) -> Result<()> {
        log.add(format!("{} leaves {}", session.uid()?, session.get::<String>("room")?));
        Ok(())
    }
    let app = testing::app(&["connector"], &[]).state(Log::default());
    let connector = Server::frontend("connector").on("a.bind", bind).on_close(closed);
    let app = TestApp::start(app.server(connector)).await;
    let client = app.connect("connector-1").await;
    client.request("connector.a.bind", "py").await;
    client.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(logged(&app), ["py leaves lobby"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_keeps_nobody_from_leaving() {
    async fn fails() -> Result<()> {
        Err(Fault::new(500, "on purpose"))
    }
    async fn panics() -> Result<()> {
        panic!("on purpose")
    }
    async fn hangs() -> Result<()> {
        std::future::pending().await
    }
    let connector = || Server::frontend("connector");
    for connector in
        [connector().on_close(fails), connector().on_close(panics), connector().on_close(hangs)]
    {
        let app = TestApp::start(testing::app(&["connector"], &[]).server(connector)).await;
        let client = app.connect("connector-1").await;
        assert_eq!(app.server("connector-1").session_count(), 1);
        client.leave().await;
        sleep(Duration::from_secs(11)).await;
        assert_eq!(app.server("connector-1").session_count(), 0);
    }
}
