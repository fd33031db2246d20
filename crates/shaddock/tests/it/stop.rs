//! Stopping in order: what is under way is finished, everyone is let out, and a deadline ends it all.

use serde_json::{Value, json};
use shaddock::testing::client::{CloseReason, RequestError};
use shaddock::testing::{self, TestApp};
use shaddock::{App, Result, Rpc, Server, Session, State};
use tokio::time::{Duration, Instant, sleep};

use crate::remotes::{Work, WorkClient, Worker};
use crate::waits::{Log, log, wait};

/// Tells a back-end, as a chat does, and waits for it.
async fn closed(_: Session, work: Rpc<WorkClient>, log: State<Log>) -> Result<()> {
    let sum = work.any()?.add(20, 22).await?;
    log.add(format!("closed {sum}"));
    Ok(())
}

fn app(toml: &str) -> App {
    let all = |server: Server| server.on("a.wait", wait).on("a.log", log);
    testing::app_with(&["connector"], &["chat"], toml)
        .state(Log::default())
        .server(all(Server::frontend("connector")).on_close(closed))
        .server(all(Server::backend("chat")).remote(Work::serve(|_| Worker::default())))
}

/// Stops when all that was asked is under way.
async fn stop_soon(app: TestApp) -> (bool, Duration) {
    sleep(Duration::from_millis(10)).await;
    let begun = Instant::now();
    (app.stop().await, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_are_answered() {
    let app = TestApp::start(app("")).await;
    let (one, other) = (app.connect("connector-1").await, app.connect("connector-1").await);
    let (front, back, second, (clean, elapsed)) = tokio::join!(
        one.request("connector.a.wait", 2_000),
        other.request("chat.a.wait", 3_000),
        // Asked before, and begun only after that one.
        async {
            sleep(Duration::from_millis(1)).await;
            one.request("connector.a.wait", 500).await
        },
        stop_soon(app),
    );
    assert_eq!((front, back, second), (json!(2_000), json!(3_000), json!(500)));
    assert_eq!(
        (one.closed().await, other.closed().await),
        (CloseReason::Ended, CloseReason::Ended)
    );
    assert!(clean && (2_900..4_000).contains(&elapsed.as_millis()), "{clean} {elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn close_hooks_still_find_their_back_ends() {
    let app = TestApp::start(app("")).await;
    let handle = app.app().clone();
    let clients = [app.connect("connector-1").await, app.connect("connector-1").await];
    clients[0].notify("chat.a.log", 1_000).await;
    let (clean, _) = stop_soon(app).await;
    assert!(clean);
    assert_eq!(handle.state::<Log>().unwrap().take(), ["closed 42", "1000", "closed 42"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_in_any_more() {
    let app = TestApp::start(app("")).await;
    let client = app.connect("connector-1").await;
    let wire = app.wire("connector-1").await;
    let (_, (clean, _), late) =
        tokio::join!(client.request("chat.a.wait", 3_000), stop_soon(app), async {
            sleep(Duration::from_secs(1)).await;
            testing::client::Client::builder().over(wire).await
        },);
    assert!(clean && late.is_err());
    let refused: Result<Value, RequestError> = client.client().request("connector.a.wait", 1).await;
    assert!(matches!(refused, Err(RequestError::Closed(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_a_deadline() {
    let toml = "[stop]\ndeadline = 2\n[requests]\ndeadline = 300";
    for route in ["connector.a.wait", "chat.a.wait"] {
        let app = TestApp::start(app(toml)).await;
        let client = app.connect("connector-1").await;
        client.notify(route, 100_000).await;
        let (clean, elapsed) = stop_soon(app).await;
        assert!(!clean, "{route}");
        assert!((1_600..2_500).contains(&elapsed.as_millis()), "{route}: {elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_tasks_of_servers() {
    let app = TestApp::start(app("")).await;
    let handle = app.app().clone();
    for server in ["connector-1", "chat-1"] {
        let server = app.server(server);
        let log = server.state::<Log>().unwrap();
        server.clone().tasks().spawn("last things", async move |stop| {
            stop.cancelled().await;
            sleep(Duration::from_secs(1)).await;
            log.add(format!("{} is done", server.id()));
        });
    }
    assert!(app.stop().await);
    assert_eq!(handle.state::<Log>().unwrap().take(), ["connector-1 is done", "chat-1 is done"]);
}

#[tokio::test(start_paused = true)]
async fn an_application_says_that_it_is_stopping() {
    let app = TestApp::start(app("")).await;
    assert!(!app.app().is_stopping());
    app.app().stop();
    assert!(app.app().is_stopping());
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn an_idle_application_stops_at_once() {
    let app = TestApp::start(app("")).await;
    let clients = [app.connect("connector-1").await, app.connect("connector-1").await];
    let (clean, elapsed) = stop_soon(app).await;
    assert!(clean && elapsed < Duration::from_secs(1), "{elapsed:?}");
    for client in clients {
        assert_eq!(client.closed().await, CloseReason::Ended);
    }
}
