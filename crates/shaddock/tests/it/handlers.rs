//! Handlers: what they are given, what they answer, how they fail.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{
    Channels, Cluster, Fault, FromRequest, Msg, Request, Result, Rpc, Server, ServerHandle,
    Session, State,
};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Duration, Instant};

use crate::raw::{Raw, notify};
use crate::remotes::WorkClient;

struct Word(&'static str);

/// An argument of our own.
struct Method(String);

impl FromRequest for Method {
    fn from_request(request: &Request) -> Result<Method> {
        Ok(Method(request.route().method().to_owned()))
    }
}

/// Another one.
struct Body(Bytes);

impl FromRequest for Body {
    fn from_request(request: &Request) -> Result<Body> {
        Ok(Body(request.body()))
    }
}

#[allow(clippy::too_many_arguments, reason = "as many as a handler can have")]
async fn everything(
    session: Session,
    channels: Channels,
    cluster: Cluster,
    server: ServerHandle,
    work: Rpc<WorkClient>,
    word: State<Word>,
    Method(method): Method,
    Msg(message): Msg<Value>,
) -> Result<Value> {
    Ok(json!({
        "session": session.id().get() != 0,
        "channels": channels.count(),
        "servers": cluster.servers("chat"),
        "server": server.id(),
        "work": work.on("x")?.server(),
        "word": word.0.0,
        "method": method,
        "message": message,
    }))
}

async fn nothing() -> Result<()> {
    Ok(())
}

async fn none() -> Result<Option<u8>> {
    Ok(None)
}

async fn raw(Msg(message): Msg<Box<RawValue>>) -> Result<Box<RawValue>> {
    Ok(message)
}

async fn own(Body(body): Body) -> Result<Box<RawValue>> {
    Ok(serde_json::from_slice(&body)?)
}

async fn fault() -> Result<()> {
    Err(Fault::new(404, "no such room").with("room", "lobby").with("also", json!([1, null])))
}

async fn uncoded() -> Result<()> {
    let fields =
        [("zeta", json!(1)), ("alpha", json!(2))].map(|(name, value)| (name.to_owned(), value));
    Err(Fault::with_fields(fields.into_iter().collect(), "refused"))
}

async fn foreign() -> Result<()> {
    "a secret".parse::<u8>()?;
    Ok(())
}

async fn panics() -> Result<()> {
    panic!("on purpose")
}

async fn hang() -> Result<()> {
    std::future::pending().await
}

async fn unwritable() -> Result<impl Serialize + 'static> {
    // The keys of a JSON object are text.
    Ok(std::collections::HashMap::from([((1, 2), 3)]))
}

fn all(server: Server) -> Server {
    server
        .on("a.everything", everything)
        .on("a.nothing", nothing)
        .on("a.none", none)
        .on("a.raw", raw)
        .on("a.own", own)
        .on("a.fault", fault)
        .on("a.uncoded", uncoded)
        .on("a.foreign", foreign)
        .on("a.panics", panics)
        .on("a.hang", hang)
        .on("a.unwritable", unwritable)
}

async fn start() -> TestApp {
    let app = testing::app_with(&["connector"], &["chat"], "[requests]\ndeadline = 2")
        .state(Word("hello"));
    TestApp::start(
        app.server(all(Server::frontend("connector"))).server(all(Server::backend("chat"))),
    )
    .await
}

/// The exact bytes of an answer, which are the same from front-end and back-end.
async fn answer(app: &TestApp, method: &str, body: &'static str) -> Bytes {
    let client = app.connect("connector-1").await;
    let [front, back] = ["connector", "chat"].map(|kind| format!("{kind}.a.{method}"));
    let front = client.client().request_raw(&front, body.into()).await.unwrap();
    let back = client.client().request_raw(&back, body.into()).await.unwrap();
    assert_eq!(front, back);
    front
}

const FAILED: &str = r#"{"code":500}"#;

#[tokio::test(start_paused = true)]
async fn a_handler_is_given_what_its_arguments_ask_for() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for server in ["connector", "chat"] {
        let reply = client.request(&format!("{server}.a.everything"), json!([1])).await;
        let expected = json!({
            "session": true, "channels": 0, "servers": ["chat-1"], "server": format!("{server}-1"),
            "work": "chat-1", "word": "hello", "method": "everything", "message": [1],
        });
        assert_eq!(reply, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_as_an_empty_object() {
    let app = start().await;
    assert_eq!(answer(&app, "nothing", "{}").await, "{}");
    assert_eq!(answer(&app, "none", "{}").await, "{}");
}

#[tokio::test(start_paused = true)]
async fn raw_json_passes_through_unchanged() {
    let app = start().await;
    let text = r#"{"z":1.50, "a":[100000000000000000000]}"#;
    assert_eq!(answer(&app, "raw", text).await, text);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_json_comes_in_as_an_empty_object() {
    let app = start().await;
    for (said, heard) in
        [("", "{}"), (" null", "{}"), ("{no", "{}"), ("[1,]", "{}"), ("[1]", "[1]")]
    {
        assert_eq!(answer(&app, "raw", said).await, heard);
        assert_eq!(answer(&app, "own", said).await, heard);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_its_fields_in_their_order() {
    let app = start().await;
    assert_eq!(answer(&app, "fault", "{}").await, r#"{"code":404,"room":"lobby","also":[1,null]}"#);
    assert_eq!(answer(&app, "uncoded", "{}").await, r#"{"zeta":1,"alpha":2,"code":500}"#);
}

#[tokio::test(start_paused = true)]
async fn what_another_error_says_stays_here() {
    let app = start().await;
    assert_eq!(answer(&app, "foreign", "{}").await, FAILED);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_can_not_be_written_is_a_fault() {
    let app = start().await;
    assert_eq!(answer(&app, "unwritable", "{}").await, FAILED);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_fit_is_a_fault() {
    let app = testing::app(&["connector"], &[]);
    let connector = Server::frontend("connector").on("a.wait", crate::waits::wait);
    let app = TestApp::start(app.server(connector)).await;
    let client = app.connect("connector-1").await;
    for body in [json!("text"), json!([1, 2]), json!({}), json!(-1)] {
        assert_eq!(
            client.request("connector.a.wait", &body).await,
            json!({ "code": 500 }),
            "{body}"
        );
    }
    assert_eq!(client.request("connector.a.wait", 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_answers_is_a_fault() {
    let app = start().await;
    for method in ["nobody", "__proto__", "toString"] {
        assert_eq!(answer(&app, method, "{}").await, FAILED, "{method}");
    }
    let client = app.connect("connector-1").await;
    for route in ["connector.b.nothing", "chat.b.nothing", "area.a.nothing", "__proto__.a.b"] {
        assert_eq!(client.request(route, json!({})).await, json!({ "code": 500 }), "{route}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_fault_and_nothing_more() {
    let app = start().await;
    for _ in 0..3 {
        assert_eq!(answer(&app, "panics", "{}").await, FAILED);
    }
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        client.request(&format!("{kind}.a.panics"), json!({})).await;
        assert_eq!(client.request(&format!("{kind}.a.nothing"), json!({})).await, json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_deadline() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        let begun = Instant::now();
        assert_eq!(
            client.request(&format!("{kind}.a.hang"), json!({})).await,
            json!({ "code": 500 })
        );
        let elapsed = begun.elapsed();
        assert!(
            (Duration::from_secs(2)..Duration::from_millis(2100)).contains(&elapsed),
            "{elapsed:?}"
        );
        // And the session goes on.
        assert_eq!(client.request(&format!("{kind}.a.nothing"), json!({})).await, json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_notify_is_not_answered() {
    let app = start().await;
    let mut client = Raw::enter(&app).await;
    for route in [
        "connector.a.nothing",
        "chat.a.nothing",
        "connector.a.fault",
        "chat.a.fault",
        "connector.a.panics",
        "chat.a.panics",
        "connector.a.nobody",
        "chat.a.nobody",
        "area.a.nobody",
    ] {
        client.send(notify(route, "{}")).await;
    }
    client.ask(7, "connector.a.nothing", "{}").await;
    assert_eq!(client.answer().await, (7, "{}".to_owned()));
    client.ask(8, "chat.a.nothing", "{}").await;
    assert_eq!(client.answer().await, (8, "{}".to_owned()));
}

/// Whether a task that was there first has run when this goes on.
async fn yields(server: ServerHandle) -> Result<bool> {
    let (ran, mut has_run) = tokio::sync::oneshot::channel::<()>();
    server.tasks().spawn("runs first", async move |_| drop(ran));
    tokio::task::yield_now().await;
    Ok(has_run.try_recv() == Err(TryRecvError::Closed))
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_yields_lets_others_run() {
    let app = testing::app(&["connector"], &["chat"]);
    let app = app.server(Server::frontend("connector").on("a.yields", yields));
    let app = TestApp::start(app.server(Server::backend("chat").on("a.yields", yields))).await;
    let client = app.connect("connector-1").await;
    for kind in ["connector", "chat"] {
        assert_eq!(client.request(&format!("{kind}.a.yields"), ()).await, true, "{kind}");
    }
}
