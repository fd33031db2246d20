//! What keeps an application from starting, in sentences for whoever starts it.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
#[cfg(feature = "tls")]
use shaddock::Fault;
use shaddock::config::{Config, Overrides};
use shaddock::testing::{self, TestApp};
use shaddock::{App, Result, Rpc, Server, State};
use shaddock_cluster::memory::Memory;

use crate::lines::Lines;
use crate::remotes::{Work, WorkClient, Worker};

struct Missing;

/// What was said to whoever looks after an application.
#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl io::Write for &Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn handler() -> Result<()> {
    Ok(())
}

async fn needs_state(_: State<Missing>) -> Result<()> {
    Ok(())
}

async fn needs_chat(_: Rpc<WorkClient>) -> Result<()> {
    Ok(())
}

/// Why this does not start; `check` says the same.
async fn refused(app: impl Fn() -> App) -> String {
    let error = TestApp::try_start(app()).await.expect_err("it should not start").to_string();
    let checked = app().check().await.expect_err("it should not pass").to_string();
    assert_eq!(error, checked);
    error
}

fn connector() -> Server {
    Server::frontend("connector")
}

/// An application with one connector in its configuration.
fn app() -> App {
    testing::app(&["connector"], &[])
}

#[tokio::test(start_paused = true)]
async fn every_state_that_is_missing_is_named() {
    let error = refused(|| {
        let connector =
            connector().on("a.one", needs_state).on("a.two", handler).on_close(needs_state);
        app().server(connector)
    })
    .await;
    let needs = "it needs `State<it::start::Missing>`, which was not given with `App::state` or `Server::state`";
    let expected = format!(
        "the application can't work:\n  connector: a.one: {needs}\n  connector: the close hook: {needs}"
    );
    assert_eq!(error, expected);
}

#[tokio::test(start_paused = true)]
async fn state_may_be_the_applications_or_the_servers() {
    let connector = || connector().on("a.one", needs_state);
    TestApp::start(app().state(Missing).server(connector())).await;
    TestApp::start(app().server(connector().state(|_| Missing))).await;
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_called_is_there() {
    let error = refused(|| app().server(connector().on("a.one", needs_chat))).await;
    let expected =
        "connector: a.one: it calls servers of kind `chat`, and the application has no such kind";
    assert_eq!(error, format!("the application can't work:\n  {expected}"));
}

#[tokio::test(start_paused = true)]
async fn a_kind_in_servers_json_is_one_of_the_applications() {
    let error = refused(|| testing::app(&["connector"], &["area"]).server(connector())).await;
    assert_eq!(
        error,
        "servers.json: area-1 is of kind area, and the application has only connector"
    );
}

#[tokio::test(start_paused = true)]
async fn a_front_end_is_one_on_both_sides() {
    let error = refused(|| app().server(Server::backend("connector"))).await;
    let expected = "servers.json: connector-1 says `\"frontend\": true`, and the application has connector as a back-end";
    assert_eq!(error, expected);
    let error = refused(|| testing::app(&[], &["chat"]).server(Server::frontend("chat"))).await;
    let expected = "servers.json: chat-1 lacks `\"frontend\": true`, and the application has chat as a front-end";
    assert_eq!(error, expected);
}

#[tokio::test(start_paused = true)]
async fn a_route_has_one_handler() {
    let error =
        refused(|| app().server(connector().on("a.one", handler).on("a.one", handler))).await;
    assert_eq!(error, "connector.a.one has two handlers");
}

#[tokio::test(start_paused = true)]
async fn a_route_has_a_handler_and_a_method() {
    for route in ["one", "", "a.b.c", "a.", ".b"] {
        let error = refused(|| app().server(connector().on(route, handler))).await;
        assert!(error.starts_with(&format!("no client can ask connector.{route}: ")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_defined_once() {
    let error = refused(|| app().server(connector()).server(connector())).await;
    assert_eq!(error, "the application defines servers of kind connector twice");
}

#[tokio::test(start_paused = true)]
async fn a_kind_has_a_name_that_servers_can_have() {
    let error = refused(|| app().server(connector()).server(Server::backend("no kind"))).await;
    assert!(error.starts_with("no kind of server can be called \"no kind\": "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_remote_is_for_one_kind() {
    let error =
        refused(|| app().server(connector().remote(Work::serve(|_| Worker::default())))).await;
    assert_eq!(error, "Work is a remote of kind chat, and was given to servers of kind connector");
}

#[tokio::test(start_paused = true)]
async fn a_back_end_has_no_sessions_to_close() {
    let error = refused(|| {
        testing::app(&["connector"], &["chat"])
            .server(connector())
            .server(Server::backend("chat").on_close(handler))
    })
    .await;
    assert_eq!(
        error,
        "servers of kind chat hold no sessions, so `on_close` and `on_moved` would never run there"
    );
}

#[tokio::test(start_paused = true)]
async fn only_those_who_own_keys_hand_them_over() {
    let error = refused(|| app().server(connector().on_handover(async |_| Ok(())))).await;
    assert_eq!(
        error,
        "servers of kind connector are front-ends and own no keys, so `on_handover` would never run there"
    );
    let error = refused(|| {
        let chat = Server::backend("chat").route_with(|_, servers| Ok(servers[0].clone()));
        testing::app(&[], &["chat"]).server(chat.on_handover(async |_| Ok(())))
    })
    .await;
    assert_eq!(
        error,
        "servers of kind chat are chosen by `route_with` and own no keys: give them `route_by`, or no `on_handover`"
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_front_end_has_a_connector_and_only_one() {
    let error = refused(|| {
        testing::app(&["connector"], &["chat"])
            .server(connector())
            .server(Server::backend("chat").connector(Lines::new))
    })
    .await;
    assert_eq!(
        error,
        "servers of kind chat are back-ends, so no client would ever use their connector"
    );
    #[cfg(feature = "udp")]
    {
        let udp = "[frontend]\nconnector = \"udp\"\nheartbeat = 3";
        let connector = || connector().connector(Lines::new);
        let error =
            refused(|| testing::app_with(&["connector"], &[], udp).server(connector())).await;
        assert_eq!(
            error,
            "shaddock.toml, for connector-1: there is a `connector`, and the application has its own for servers of kind connector"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_servers_of_the_configuration_can_be_chosen() {
    let error =
        refused(|| testing::app(&["connector*2"], &[]).server(connector()).only(["connector-7"]))
            .await;
    assert_eq!(error, "servers.json has no server connector-7; it has connector-1, connector-2");
    let app = TestApp::start(
        testing::app(&["connector*2"], &[]).server(connector()).only(["connector-2"]),
    )
    .await;
    let servers: Vec<_> =
        app.app().servers().iter().map(|server| server.id().to_string()).collect();
    assert_eq!(servers, ["connector-2"]);
}

#[tokio::test]
async fn servers_that_no_broker_leads_to_are_named() {
    let said = |app: App| async {
        let log = Arc::new(Log::default());
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        app.start().await.unwrap().stop().await;
        drop(guard);
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    };
    let app = || testing::app(&[], &["chat*3"]).server(Server::backend("chat"));
    let warning = "there is no way to chat-1, chat-3: servers in several processes need a broker";
    let alone = said(app().only(["chat-2"])).await;
    assert!(alone.contains(warning), "{alone}");
    for reaching in [app(), app().only(["chat-2"]).engine(Memory::new())] {
        let text = said(reaching).await;
        assert!(text.contains("started") && !text.contains("there is no way"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dictionary_has_no_more_routes_than_there_are_codes() {
    let servers = json!({ "connector": [
        { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true },
    ] });
    let routes: Vec<String> = (0..65_535).map(|number| format!("on{number}")).collect();
    let (servers, routes) = (servers.to_string(), json!(routes).to_string());
    let files = [("servers.json", servers.as_str()), ("dictionary.json", routes.as_str())];
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let one_more = || App::new(config.clone()).server(connector().on("a.one", handler));
    assert_eq!(
        refused(one_more).await,
        "the routes of handlers and of dictionary.json can't be numbered: a dictionary of 65536 routes, where 65535 are allowed"
    );
    TestApp::start(App::new(config.clone()).server(connector())).await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_that_can_not_be_used_is_named() {
    let toml = "[frontend]\ncertificate = \"no/cert.pem\"\nkey = \"Cargo.toml\"";
    let start = || testing::app_with(&["connector"], &[], toml).server(connector());
    let text = Fault::from(start().start().await.unwrap_err()).reason().to_owned();
    let expected = "connector-1 has no certificate to show: no/cert.pem can't be read: ";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text, Fault::from(start().check().await.unwrap_err()).reason());
}

#[tokio::test(start_paused = true)]
async fn several_applications_run_in_one_process() {
    async fn which(State(name): State<&'static str>) -> Result<&'static str> {
        Ok(*name)
    }
    let start = async |name: &'static str| {
        let connector = connector().on("a.which", which);
        TestApp::start(app().state(name).server(connector)).await
    };
    let (one, other) = (start("one").await, start("other").await);
    for (app, name) in [(&one, "one"), (&other, "other")] {
        let client = app.connect("connector-1").await;
        assert_eq!(client.request("connector.a.which", json!({})).await, name);
    }
    one.stop().await;
    let client = other.connect("connector-1").await;
    assert_eq!(client.request("connector.a.which", json!({})).await, "other");
}
