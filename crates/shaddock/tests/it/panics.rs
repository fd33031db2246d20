//! Panics of an application's code are faults, wherever they happen: sessions and servers go on.

use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{App, FromRequest, Next, Reply, Request, Result, Server};
use tokio::time::{Duration, sleep};

use crate::remotes::{Work, WorkClient, Worker};
use crate::waits::wait;

fn app(connector: Server, chat: Server) -> App {
    let chat = chat.on("a.wait", wait).remote(Work::serve(|_| Worker::default()));
    testing::app(&["connector"], &["chat"]).server(connector.on("a.wait", wait)).server(chat)
}

/// That both servers answer clients and each other, and that who leaves has left.
async fn works(app: &TestApp) {
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.wait", 1).await, 1);
    let work = app.server("connector-1").rpc::<WorkClient>().unwrap();
    assert_eq!(work.any().unwrap().add(1, 2).await.unwrap(), 3);
    client.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(app.server("connector-1").session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_panics_is_a_fault() {
    let chat = Server::backend("chat").route_by(|_| panic!("on purpose"));
    let app = TestApp::start(app(Server::frontend("connector"), chat)).await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("chat.a.wait", 1).await, json!({ "code": 500 }));
    client.leave().await;
    works(&app).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_handler_that_panics_is_a_fault() {
    let app = app(Server::frontend("connector"), Server::backend("chat"));
    let app = TestApp::start(app.on_error(|_, _| panic!("on purpose"))).await;
    let client = app.connect("connector-1").await;
    for route in ["connector.a.nobody", "chat.a.nobody", "area.a.nobody"] {
        assert_eq!(client.request(route, 1).await, json!({ "code": 500 }), "{route}");
    }
    client.leave().await;
    works(&app).await;
}

#[tokio::test(start_paused = true)]
async fn a_filter_of_remotes_that_panics_is_a_fault() {
    // Before there is anything to await.
    fn panics_at_noon(
        request: Request,
        next: Next,
    ) -> impl Future<Output = Result<Reply>> + Send + 'static {
        assert_ne!(request.route().method(), "who", "on purpose");
        next.run(request)
    }
    let chat = Server::backend("chat").remote_filter(panics_at_noon);
    let app = TestApp::start(app(Server::frontend("connector"), chat)).await;
    let work = app.server("connector-1").rpc::<WorkClient>().unwrap().any().unwrap();
    assert_eq!(work.who().await.unwrap_err().code(), 500);
    works(&app).await;
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_panics_is_a_fault() {
    struct Panics;
    impl FromRequest for Panics {
        fn from_request(_: &Request) -> Result<Panics> {
            panic!("on purpose")
        }
    }
    async fn handler(_: Panics) -> Result<()> {
        Ok(())
    }
    let connector = Server::frontend("connector").on("a.panics", handler).on_close(handler);
    let app = TestApp::start(app(connector, Server::backend("chat").on("a.panics", handler))).await;
    let client = app.connect("connector-1").await;
    for route in ["connector.a.panics", "chat.a.panics"] {
        assert_eq!(client.request(route, 1).await, json!({ "code": 500 }));
    }
    client.leave().await;
    works(&app).await;
}
