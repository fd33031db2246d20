//! Filters: what stands around handlers and remotes.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use serde_json::json;
use shaddock::filters::{TooBusy, access_log, rate_limit};
use shaddock::testing::{self, TestApp};
use shaddock::{Fault, Filter, Next, Origin, Reply, Request, Result, Server, ServerHandle};
use tokio::time::{Duration, advance, sleep};

use crate::remotes::{Work, WorkClient, Worker};
use crate::waits::{Log, logged};

fn note(server: &ServerHandle, line: String) {
    server.state::<Log>().expect("the application has a log").add(line);
}

/// Writes down what passes, before and after.
fn mark(name: &'static str) -> impl Filter {
    move |request: Request, next: Next| async move {
        let server = request.server().clone();
        note(&server, format!("{name} sees {}", request.route()));
        let result = next.run(request).await;
        let outcome = result.as_ref().map_or_else(|fault| fault.code(), |_| 200);
        note(&server, format!("{name} saw {outcome}"));
        result
    }
}

async fn answers_itself(request: Request, next: Next) -> Result<Reply> {
    match request.body().as_ref() {
        b"0" => Reply::json(&json!({ "by": "the filter" })),
        b"1" => Err(Fault::new(403, "not you")),
        _ => next.run(request).await,
    }
}

async fn handler(server: ServerHandle) -> Result<()> {
    note(&server, "the handler runs".to_owned());
    Ok(())
}

async fn call(server: ServerHandle) -> Result<i64> {
    server.rpc::<WorkClient>()?.any()?.add(1, 2).await
}

/// A connector that calls a chat server, with what `with` adds.
async fn start(with: impl FnOnce(shaddock::App, Server, Server) -> shaddock::App) -> TestApp {
    let app = testing::app(&["connector"], &["chat"]).state(Log::default());
    let connector = Server::frontend("connector").on("a.a", handler).on("a.call", call);
    let chat =
        Server::backend("chat").on("a.a", handler).remote(Work::serve(|_| Worker::default()));
    TestApp::start(with(app, connector, chat)).await
}

#[tokio::test(start_paused = true)]
async fn filters_stand_from_outer_to_inner() {
    let app = start(|app, connector, chat| {
        app.filter(mark("app 1"))
            .filter(mark("app 2"))
            .server(connector.filter(mark("kind 1")).filter(mark("kind 2")))
            .server(chat)
    })
    .await;
    let client = app.connect("connector-1").await;
    client.request("connector.a.a", json!({})).await;
    let expected = [
        "app 1 sees connector.a.a",
        "app 2 sees connector.a.a",
        "kind 1 sees connector.a.a",
        "kind 2 sees connector.a.a",
        "the handler runs",
        "kind 2 saw 200",
        "kind 1 saw 200",
        "app 2 saw 200",
        "app 1 saw 200",
    ];
    assert_eq!(logged(&app), expected);
    // A filter runs where the handler does: once, and not where the message only passes.
    client.request("chat.a.a", json!({})).await;
    let expected = [
        "app 1 sees chat.a.a",
        "app 2 sees chat.a.a",
        "the handler runs",
        "app 2 saw 200",
        "app 1 saw 200",
    ];
    assert_eq!(logged(&app), expected);
}

#[tokio::test(start_paused = true)]
async fn a_filter_may_answer_by_itself() {
    let app = start(|app, connector, chat| {
        app.filter(mark("outer")).filter(answers_itself).server(connector).server(chat)
    })
    .await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        let route = format!("{kind}.a.a");
        assert_eq!(client.request(&route, 0).await, json!({ "by": "the filter" }));
        assert_eq!(client.request(&route, 1).await, json!({ "code": 403 }));
        let sees = format!("outer sees {route}");
        assert_eq!(logged(&app), [&sees, "outer saw 200", &sees, "outer saw 403"]);
    }
}

#[tokio::test(start_paused = true)]
async fn remotes_have_filters_of_their_own() {
    let app = start(|app, connector, chat| {
        app.filter(mark("handlers"))
            .remote_filter(mark("app"))
            .server(connector)
            .server(chat.remote_filter(mark("kind")))
    })
    .await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.call", json!({})).await, 3);
    let expected = [
        "handlers sees connector.a.call",
        "app sees chat.Work.add",
        "kind sees chat.Work.add",
        "kind saw 200",
        "app saw 200",
        "handlers saw 200",
    ];
    assert_eq!(logged(&app), expected);
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_remotes_knows_who_calls() {
    async fn connectors_only(request: Request, next: Next) -> Result<Reply> {
        assert!(request.session().is_err());
        match request.origin() {
            Origin::Server(server) if server.as_str() == "connector-1" => next.run(request).await,
            _ => Err(Fault::new(403, "not you")),
        }
    }
    let app = start(|app, connector, chat| {
        app.server(connector).server(chat.remote_filter(connectors_only))
    })
    .await;
    let sum = |from: &str| {
        let work = app.server(from).rpc::<WorkClient>().unwrap();
        async move { work.any()?.add(1, 2).await }
    };
    assert_eq!(sum("connector-1").await.unwrap(), 3);
    assert_eq!(sum("chat-1").await.unwrap_err().code(), 403);
}

#[tokio::test(start_paused = true)]
async fn filters_of_remotes_leave_the_sessions_alone() {
    async fn nobody(_: Request, _: Next) -> Result<Reply> {
        Err(Fault::new(403, "not you"))
    }
    async fn set(session: shaddock::Session) -> Result<()> {
        session.set("x", 1).await
    }
    let app = start(|app, connector, chat| {
        app.remote_filter(nobody).server(connector).server(chat.on("a.set", set))
    })
    .await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.call", json!({})).await, json!({ "code": 403 }));
    assert_eq!(client.request("chat.a.set", json!({})).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_counts_each_session_by_itself() {
    let [two, three] = [2, 3].map(|count| NonZeroU32::new(count).unwrap());
    let app = start(|app, connector, chat| {
        app.server(connector.filter(rate_limit(two, three))).server(chat)
    })
    .await;
    let (client, other) = (app.connect("connector-1").await, app.connect("connector-1").await);
    for _ in 0..3 {
        assert_eq!(client.request("connector.a.a", json!({})).await, json!({}));
    }
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({ "code": 429 }));
    assert_eq!(other.request("connector.a.a", json!({})).await, json!({}));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({}));
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({ "code": 429 }));
}

#[tokio::test(start_paused = true)]
async fn requests_are_refused_while_the_process_is_too_busy() {
    let too_busy = TooBusy::new(Duration::from_millis(70));
    let app = start(|app, connector, chat| {
        app.filter(too_busy.clone()).component(too_busy).server(connector).server(chat)
    })
    .await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({}));
    // A second in which nobody could run.
    advance(Duration::from_secs(1)).await;
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({ "code": 503 }));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(client.request("connector.a.a", json!({})).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn the_access_log_changes_nothing() {
    let app = start(|app, connector, chat| {
        app.filter(access_log)
            .filter(answers_itself)
            .remote_filter(access_log)
            .server(connector)
            .server(chat)
    })
    .await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.a", 0).await, json!({ "by": "the filter" }));
    assert_eq!(client.request("connector.a.a", 1).await, json!({ "code": 403 }));
    assert_eq!(client.request("connector.a.call", json!({})).await, 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_handler_has_the_last_word() {
    async fn fails() -> Result<()> {
        Err(Fault::new(404, "nothing here"))
    }
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let app = start(|app, connector, chat| {
        let seen = seen.clone();
        app.on_error(move |fault, failed| {
            seen.lock().unwrap().push(format!(
                "{} {} {}",
                failed.route,
                failed.session.is_some(),
                fault.code()
            ));
            fault.with("route", failed.route.as_str())
        })
        .server(connector.on("a.fails", fails))
        .server(chat.on("a.fails", fails))
    })
    .await;
    let client = app.connect("connector-1").await;
    for (route, code) in [
        ("connector.a.fails", 404),
        ("chat.a.fails", 404),
        ("area.a.a", 500),
        ("connector.a.nobody", 500),
        ("chat.a.nobody", 500),
    ] {
        let reply = client.request(route, json!({})).await;
        // Its own code comes first, or is appended where it has none.
        assert_eq!((&reply["code"], &reply["route"]), (&json!(code), &json!(route)));
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [format!("{route} true {code}")]);
    }
}
