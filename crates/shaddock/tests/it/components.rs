//! Components: parts that start in order, and stop in the reverse order.

use std::sync::{Arc, Mutex};

use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{App, AppHandle, Component, Fault, Result, Server};

use crate::waits::wait;

/// What happened, in order.
type Story = Arc<Mutex<Vec<String>>>;

/// Writes down what it is told, and fails where it should.
struct Part {
    name: String,
    story: Story,
    fails_at: &'static str,
}

impl Part {
    fn tell(&self, what: &'static str) -> Result<()> {
        self.story.lock().unwrap().push(format!("{} {what}", self.name));
        if what == self.fails_at { Err(Fault::new(500, "no database")) } else { Ok(()) }
    }
}

impl Component for Part {
    async fn start(&self, app: &AppHandle) -> Result<()> {
        assert!(!app.is_stopping());
        self.tell("starts")
    }

    async fn after_start(&self, _: &AppHandle) -> Result<()> {
        self.tell("is reachable")
    }

    async fn before_stop(&self, app: &AppHandle) {
        assert!(app.is_stopping());
        let _ = self.tell("says good-bye");
    }

    async fn stop(&self, _: &AppHandle) {
        let _ = self.tell("stops");
    }
}

fn part(name: &str, story: &Story, fails_at: &'static str) -> Part {
    Part { name: name.to_owned(), story: story.clone(), fails_at }
}

/// Two components of the application and one of each chat server.
fn app(story: &Story, fails_at: &'static str) -> App {
    let of_server = story.clone();
    testing::app(&["connector"], &["chat*2"])
        .component(part("one", story, ""))
        .component(part("two", story, fails_at))
        .server(Server::frontend("connector"))
        .server(
            Server::backend("chat")
                .component(move |server| part(server.id().as_str(), &of_server, "")),
        )
}

fn told(story: &Story) -> Vec<String> {
    std::mem::take(&mut *story.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn components_stop_in_the_reverse_of_their_order() {
    let story = Story::default();
    let app = TestApp::start(app(&story, "")).await;
    let expected = [
        "one starts",
        "two starts",
        "chat-1 starts",
        "chat-2 starts",
        "one is reachable",
        "two is reachable",
        "chat-1 is reachable",
        "chat-2 is reachable",
    ];
    assert_eq!(told(&story), expected);
    assert!(app.stop().await);
    let expected = [
        "one says good-bye",
        "two says good-bye",
        "chat-1 says good-bye",
        "chat-2 says good-bye",
        "chat-2 stops",
        "chat-1 stops",
        "two stops",
        "one stops",
    ];
    assert_eq!(told(&story), expected);
}

#[tokio::test(start_paused = true)]
async fn a_component_that_does_not_start_stops_the_start() {
    let story = Story::default();
    let error = TestApp::try_start(app(&story, "starts")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component it::components::Part did not start: 500: no database"
    );
    let story = told(&story);
    assert_eq!(story[..2], ["one starts", "two starts"]);
    assert!(
        !story.iter().any(|line| line.contains("chat") || line.contains("reachable")),
        "{story:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn of_an_application_that_does_not_start_what_did_start_is_stopped() {
    let story = Story::default();
    TestApp::try_start(app(&story, "starts")).await.unwrap_err();
    // The one that failed has cleaned up by itself, and those after it never began.
    let stopped: Vec<_> = told(&story).into_iter().filter(|line| line.ends_with("stops")).collect();
    assert_eq!(stopped, ["one stops"]);
    TestApp::try_start(app(&story, "is reachable")).await.unwrap_err();
    let stopped: Vec<_> = told(&story).into_iter().filter(|line| line.ends_with("stops")).collect();
    assert_eq!(stopped, ["chat-2 stops", "chat-1 stops", "two stops", "one stops"]);
}

#[tokio::test(start_paused = true)]
async fn a_component_has_tasks_and_lines_to_show() {
    struct Announces;
    impl Component for Announces {
        async fn start(&self, app: &AppHandle) -> Result<()> {
            app.announce("the page is at http://127.0.0.1:3001");
            let done = app.clone();
            app.tasks().spawn("waits", async move |stop| {
                stop.cancelled().await;
                done.announce("done");
            });
            Ok(())
        }
    }
    let app = testing::app(&["connector"], &[])
        .component(Announces)
        .server(Server::frontend("connector"));
    let app = TestApp::start(app).await;
    let handle = app.app().clone();
    assert_eq!(handle.announcements(), ["the page is at http://127.0.0.1:3001"]);
    assert!(app.stop().await);
    assert_eq!(handle.announcements().last().map(String::as_str), Some("done"));
}

#[tokio::test(start_paused = true)]
async fn a_last_word_reaches_the_clients() {
    struct GoodBye;
    impl Component for GoodBye {
        async fn before_stop(&self, app: &AppHandle) {
            let to = shaddock::Broadcast { unbound: true, ..Default::default() };
            let cluster = app.servers()[0].cluster();
            cluster.broadcast("connector", "onStop", &json!({ "back": 5 }), to).unwrap();
        }
    }
    let connector = Server::frontend("connector").on("a.wait", wait);
    let app = testing::app(&["connector"], &[]).component(GoodBye).server(connector);
    let app = TestApp::start(app).await;
    let mut client = app.connect("connector-1").await;
    // Answered, so the server has heard that the client is ready.
    client.request("connector.a.wait", 1).await;
    assert!(app.stop().await);
    assert_eq!(client.pushed("onStop").await, json!({ "back": 5 }));
}

#[tokio::test(start_paused = true)]
async fn a_component_of_a_server_finds_its_state() {
    struct Counts(u32);
    struct Finds(Option<u32>);
    impl Component for Finds {
        async fn start(&self, _: &AppHandle) -> Result<()> {
            assert_eq!(self.0, Some(7));
            Ok(())
        }
    }
    let connector = Server::frontend("connector")
        .component(|server| Finds(server.state::<Counts>().map(|counts| counts.0)))
        .state(|_| Counts(7));
    TestApp::start(testing::app(&["connector"], &[]).server(connector)).await;
}
