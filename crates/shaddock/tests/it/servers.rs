//! Servers that are added, stopped and started again while others run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use shaddock::config;
use shaddock::testing::{self, TestApp};
use shaddock::{
    App, AppEvent, AppHandle, Cluster, Component, Fault, Result, Server, ServerHandle, ServerId,
    StartError,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

/// The chat servers that the connector knows of.
async fn known(cluster: Cluster) -> Result<Vec<String>> {
    Ok(cluster.servers("chat").iter().map(ToString::to_string).collect())
}

async fn own_name(server: ServerHandle) -> Result<String> {
    Ok(server.id().to_string())
}

fn app() -> App {
    testing::app(&["connector*2"], &["chat*2"])
        .server(Server::frontend("connector").on("a.known", known).on("a.name", own_name))
        .server(Server::backend("chat").on("a.name", own_name))
}

fn entry(kind: &str, entry: Value) -> config::Server {
    let map: Map<String, Value> = serde_json::from_value(entry).unwrap();
    config::Server::from_json(kind, map).unwrap()
}

fn id(id: &str) -> ServerId {
    id.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_added_is_used_at_once() {
    let app = TestApp::start(app().only(["connector-1", "chat-1"])).await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.known", json!({})).await, json!(["chat-1"]));

    let configured = app.app().config().server("chat-2").unwrap().clone();
    app.app().add_server(configured).await.unwrap();
    app.app()
        .add_server(entry("chat", json!({ "id": "chat-9", "host": "127.0.0.1" })))
        .await
        .unwrap();
    assert_eq!(
        client.request("connector.a.known", json!({})).await,
        json!(["chat-1", "chat-2", "chat-9"])
    );

    let frontend =
        json!({ "id": "connector-9", "host": "127.0.0.1", "clientPort": 3059, "frontend": true });
    app.app().add_server(entry("connector", frontend)).await.unwrap();
    let other = app.connect("connector-9").await;
    assert_eq!(other.request("connector.a.name", json!({})).await, "connector-9");
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_added_is_refused_and_leaves_nothing() {
    let app = TestApp::start(app()).await;
    let refused =
        async |server: config::Server| app.app().add_server(server).await.unwrap_err().to_string();
    let runs = app.app().config().server("chat-1").unwrap().clone();
    assert_eq!(refused(runs).await, "chat-1 runs in this process already");
    let unknown = entry("area", json!({ "id": "area-1", "host": "127.0.0.1" }));
    assert_eq!(
        refused(unknown).await,
        "servers.json: area-1 is of kind area, and the application has only connector, chat"
    );
    let back = entry("connector", json!({ "id": "connector-9", "host": "127.0.0.1" }));
    assert!(refused(back).await.contains("lacks `\"frontend\": true`"));
    assert_eq!(app.app().servers().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_server_stops_and_the_others_go_on() {
    let app = TestApp::start(app()).await;
    let (gone, stays) = (app.connect("connector-1").await, app.connect("connector-2").await);
    assert!(app.app().stop_server(&id("connector-1")).await.unwrap());
    gone.closed().await;
    assert!(app.app().stop_server(&id("chat-1")).await.unwrap());
    assert_eq!(stays.request("connector.a.known", json!({})).await, json!(["chat-2"]));
    let again = app.app().stop_server(&id("chat-1")).await;
    assert!(matches!(again, Err(StartError::NotHere { .. })), "{again:?}");
    assert!(!app.app().is_stopping());
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn with_its_last_server_an_application_stops() {
    let app = TestApp::start(app().only(["chat-1", "chat-2"])).await;
    app.app().stop_server(&id("chat-1")).await.unwrap();
    assert!(!app.app().is_stopping());
    app.app().stop_server(&id("chat-2")).await.unwrap();
    assert!(app.app().is_stopping());
    let late = app.app().add_server(app.app().config().server("chat-1").unwrap().clone()).await;
    assert!(matches!(late, Err(StartError::Stopping)), "{late:?}");
    assert!(app.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_that_are_stopped_at_once_one_is_the_last() {
    for _ in 0..50 {
        let app = TestApp::start(app().only(["chat-1", "chat-2"])).await;
        let both = Arc::new(Barrier::new(2));
        let mut stops = JoinSet::new();
        for name in ["chat-1", "chat-2"] {
            let (app, both) = (app.app().clone(), both.clone());
            stops.spawn(async move {
                both.wait().await;
                // The one that comes late may find that the application stops already.
                let _ = app.stop_server(&id(name)).await;
            });
        }
        stops.join_all().await;
        assert!(app.app().is_stopping());
        assert!(app.stop().await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_whose_only_server_does_not_start_again_has_failed() {
    /// It starts once.
    #[derive(Clone, Default)]
    struct Once(Arc<AtomicBool>);
    impl Component for Once {
        async fn start(&self, _: &AppHandle) -> Result<()> {
            match self.0.swap(true, Ordering::Relaxed) {
                false => Ok(()),
                true => Err(Fault::new(500, "once was enough")),
            }
        }
    }
    let once = Once::default();
    let chat = Server::backend("chat").component(move |_| once.clone());
    let running = testing::app(&[], &["chat"]).server(chat).start().await.unwrap();
    let again = running.app().restart_server(&id("chat-1")).await;
    assert!(matches!(again, Err(StartError::Component { .. })), "{again:?}");
    assert!(running.app().is_stopping() && running.has_failed());
    assert!(running.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_starts_again_is_another_run_of_itself() {
    struct Counts(std::sync::Arc<std::sync::Mutex<Vec<String>>>, ServerId);
    impl Component for Counts {
        async fn start(&self, _: &AppHandle) -> Result<()> {
            self.0.lock().unwrap().push(format!("{} starts", self.1));
            Ok(())
        }
        async fn stop(&self, _: &AppHandle) {
            self.0.lock().unwrap().push(format!("{} stops", self.1));
        }
    }
    let story = std::sync::Arc::<std::sync::Mutex<Vec<String>>>::default();
    let of_chat = story.clone();
    let app = testing::app(&["connector"], &["chat*2"])
        .server(Server::frontend("connector").on("a.known", known))
        .server(
            Server::backend("chat")
                .component(move |server| Counts(of_chat.clone(), server.id().clone())),
        );
    let app = TestApp::start(app).await;
    story.lock().unwrap().clear();
    let mut events = app.app().events();
    app.app().restart_server(&id("chat-2")).await.unwrap();
    assert_eq!(*story.lock().unwrap(), ["chat-2 stops", "chat-2 starts"]);
    assert!(
        matches!(events.try_recv(), Ok(AppEvent::ServerRemoved { id, .. }) if id.as_str() == "chat-2")
    );
    assert!(
        matches!(events.try_recv(), Ok(AppEvent::ServerAdded { id, .. }) if id.as_str() == "chat-2")
    );
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.known", json!({})).await, json!(["chat-1", "chat-2"]));
    story.lock().unwrap().clear();
    assert!(app.stop().await);
    assert_eq!(*story.lock().unwrap(), ["chat-2 stops", "chat-1 stops"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_stops_within_the_deadline() {
    let chat = Server::backend("chat").component(|server: &ServerHandle| {
        server.tasks().spawn("stubborn", |_| std::future::pending());
        Idle
    });
    struct Idle;
    impl Component for Idle {}
    let app = TestApp::start(testing::app(&[], &["chat*2"]).server(chat)).await;
    let begun = Instant::now();
    assert!(!app.app().stop_server(&id("chat-1")).await.unwrap(), "something was cut off");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
