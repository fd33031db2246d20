//! What an application tells those who listen.

use std::sync::{Arc, Mutex};

use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{AppEvent, AppHandle, Component, Msg, Result, Server, Session};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Duration, sleep};

async fn bind(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind(uid).await?)
}

async fn unbind(session: Session) -> Result<()> {
    Ok(session.unbind().await?)
}

/// What happened, as text that can be compared.
fn happened(events: &mut Receiver<AppEvent>) -> Vec<String> {
    let text = |event| match event {
        AppEvent::ServerAdded { id, kind } => format!("{id} of kind {kind} is there"),
        AppEvent::ServerRemoved { id, kind } => format!("{id} of kind {kind} is gone"),
        AppEvent::SessionBound { session, uid } => format!("{uid} is at {}", session.frontend()),
        AppEvent::SessionUnbound { uid, .. } => format!("{uid} is nobody"),
        AppEvent::SessionClosed { session } => format!("{:?} is closed", session.find_uid()),
        other => format!("{other:?}"),
    };
    std::iter::from_fn(|| events.try_recv().ok()).map(text).collect()
}

async fn start(component: impl Component) -> TestApp {
    let both = |server: Server| server.on("a.bind", bind).on("a.unbind", unbind);
    let app = testing::app(&["connector"], &["chat*2"]).component(component);
    TestApp::start(
        app.server(both(Server::frontend("connector"))).server(both(Server::backend("chat"))),
    )
    .await
}

struct Nothing;

impl Component for Nothing {}

#[tokio::test(start_paused = true)]
async fn sessions_are_bound_unbound_and_closed() {
    let app = start(Nothing).await;
    let mut events = app.app().events();
    for kind in ["connector", "chat"] {
        let client = app.connect("connector-1").await;
        client.request(&format!("{kind}.a.bind"), "py").await;
        client.request(&format!("{kind}.a.unbind"), json!({})).await;
        client.request(&format!("{kind}.a.unbind"), json!({})).await;
        client.request(&format!("{kind}.a.bind"), "al").await;
        client.request(&format!("{kind}.a.bind"), "al").await;
        client.leave().await;
        sleep(Duration::from_secs(1)).await;
        let expected = [
            "py is at connector-1",
            "py is nobody",
            "al is at connector-1",
            "Some(\"al\") is closed",
        ];
        assert_eq!(happened(&mut events), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn servers_come_and_go() {
    #[derive(Clone, Default)]
    struct Listens(Arc<Mutex<Option<Receiver<AppEvent>>>>);
    impl Component for Listens {
        async fn start(&self, app: &AppHandle) -> Result<()> {
            *self.0.lock().unwrap() = Some(app.events());
            Ok(())
        }
    }
    let listens = Listens::default();
    let app = start(listens.clone()).await;
    let mut events = listens.0.lock().unwrap().take().expect("the component was started");
    let mut came = happened(&mut events);
    came.sort();
    let expected = [
        "chat-1 of kind chat is there",
        "chat-2 of kind chat is there",
        "connector-1 of kind connector is there",
    ];
    assert_eq!(came, expected);
    app.cut("chat-2");
    sleep(Duration::from_secs(10)).await;
    let gone = happened(&mut events);
    assert_eq!(
        gone.iter().filter(|event| *event == "chat-2 of kind chat is gone").count(),
        1,
        "{gone:?}"
    );
    app.heal("chat-2");
    sleep(Duration::from_secs(10)).await;
    let back = happened(&mut events);
    assert_eq!(
        back.iter().filter(|event| *event == "chat-2 of kind chat is there").count(),
        1,
        "{back:?}"
    );
}
