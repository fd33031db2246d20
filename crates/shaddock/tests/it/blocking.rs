//! A handler that blocks its thread, as none should, does not hold up what the same turn has still to do.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{Msg, Result, Server, State};
use tokio::sync::Notify;

/// What a handler waits for without giving its thread back.
struct Gate {
    blocked: Notify,
    open: Mutex<Sender<()>>,
    opened: Mutex<Receiver<()>>,
}

impl Default for Gate {
    fn default() -> Gate {
        let (open, opened) = mpsc::channel();
        Gate { blocked: Notify::new(), open: open.into(), opened: opened.into() }
    }
}

async fn block(gate: State<Gate>) -> Result<bool> {
    gate.blocked.notify_one();
    let opened = gate.opened.lock().unwrap_or_else(PoisonError::into_inner);
    // Long enough for whoever is held up to be found out.
    Ok(opened.recv_timeout(Duration::from_secs(20)).is_ok())
}

async fn open(gate: State<Gate>) -> Result<()> {
    gate.open.lock().unwrap_or_else(PoisonError::into_inner).send(()).unwrap();
    Ok(())
}

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

async fn start() -> TestApp {
    let serve = |server: Server| server.on("a.echo", echo).on("a.block", block).on("a.open", open);
    let app = testing::app(&["connector"], &["chat", "area"]).state(Gate::default());
    let app = app.server(serve(Server::frontend("connector")));
    TestApp::start(
        app.server(serve(Server::backend("chat"))).server(serve(Server::backend("area"))),
    )
    .await
}

/// What waits on the thread that is blocked, of all that servers tell each other, would be for everybody.
async fn others_are_served(before: &[&'static str], block: &str, after: &[&'static str]) {
    let app = start().await;
    let (slow, other) = (app.connect("connector-1").await, app.connect("connector-1").await);
    let ask = |routes: &[&'static str]| join_all(routes.iter().map(|route| slow.request(route, 1)));
    let holds_up = async { tokio::join!(ask(before), slow.request(block, 1), ask(after)) };
    let served = async {
        app.app().state::<Gate>().unwrap().blocked.notified().await;
        for route in ["connector.a.echo", "chat.a.echo", "area.a.echo"] {
            assert_eq!(other.request(route, 2).await, 2, "{route}");
        }
        other.request("area.a.open", ()).await;
    };
    let ((answers, opened, more), ()) = tokio::join!(holds_up, served);
    assert_eq!(opened, true);
    assert_eq!((answers, more), (vec![json!(1); before.len()], vec![json!(1); after.len()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_front_end_after_messages_that_were_sent_on() {
    others_are_served(&["chat.a.echo", "area.a.echo"], "connector.a.block", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_back_end_after_one_that_has_answered() {
    others_are_served(&["chat.a.echo", "chat.a.echo"], "chat.a.block", &[]).await;
}

/// More than is taken in one turn: the rest wakes a task, which tokio keeps for the thread that is blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_back_end_before_more_than_its_loop_takes_at_once() {
    others_are_served(&[], "chat.a.block", &["chat.a.echo"; 100]).await;
}
