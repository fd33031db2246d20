//! Pushes: who hears what, in which order, and what can't be said.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::{self, TestApp, TestClient};
use shaddock::{App, Broadcast, Channel, Cluster, Member, Msg, Result, Server, Session};
use tokio::time::{Duration, sleep};

async fn login(session: Session, Msg((uid, team)): Msg<(String, String)>) -> Result<Member> {
    session.bind(uid).await?;
    session.set("team", team).await?;
    session.member()
}

async fn answer(Msg(_): Msg<Value>) -> Result<Value> {
    Ok(json!({ "x": 5 }))
}

async fn push_me(session: Session) -> Result<()> {
    session.push("onMe", &json!({ "you": session.id() }))
}

async fn start() -> TestApp {
    let app = testing::app(&["connector*2", "gate"], &["chat"]);
    let connector = Server::frontend("connector").on("a.login", login).on("a.pushMe", push_me);
    let chat = Server::backend("chat").on("a.pushMe", push_me);
    TestApp::start(app.server(connector).server(Server::frontend("gate")).server(chat)).await
}

async fn enter(app: &TestApp, connector: &str, uid: &str, team: &str) -> (TestClient, Member) {
    let client = app.connect(connector).await;
    let member = client.request("connector.a.login", (uid, team)).await;
    (client, serde_json::from_value(member).unwrap())
}

fn lobby(app: &TestApp) -> Channel {
    app.server("chat-1").channels().open("lobby")
}

fn cluster(app: &TestApp) -> Cluster {
    app.server("chat-1").cluster()
}

/// What was pushed to each of them so far.
async fn heard<const N: usize>(clients: [&mut TestClient; N]) -> [Vec<(String, Value)>; N] {
    sleep(Duration::from_millis(10)).await;
    clients.map(TestClient::pushes)
}

fn once(route: &str, body: Value) -> Vec<(String, Value)> {
    vec![(route.to_owned(), body)]
}

#[tokio::test(start_paused = true)]
async fn everyone_inside_hears_the_same_in_the_same_order() {
    let app = start().await;
    let lobby = lobby(&app);
    let (mut py_client, py) = enter(&app, "connector-1", "py", "red").await;
    let (mut al_client, al) = enter(&app, "connector-2", "al", "red").await;
    let (mut bo_client, bo) = enter(&app, "connector-2", "bo", "red").await;
    lobby.join(py);
    lobby.join(al.clone());
    for number in 0..300 {
        match number {
            100 => drop(lobby.join(bo.clone())),
            200 => drop(lobby.leave(&al)),
            _ => {}
        }
        lobby.push("onChat", &number).unwrap();
    }
    let numbers = |heard: Vec<(String, Value)>| -> Vec<u64> {
        heard.into_iter().map(|(_, number)| number.as_u64().unwrap()).collect()
    };
    let [py, al, bo] = heard([&mut py_client, &mut al_client, &mut bo_client]).await.map(numbers);
    assert_eq!(py, (0..300).collect::<Vec<_>>());
    assert_eq!(al, (0..200).collect::<Vec<_>>());
    assert_eq!(bo, (100..300).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_member_is_pushed_to_on_every_connection() {
    let app = start().await;
    let lobby = lobby(&app);
    let (mut here, py) = enter(&app, "connector-1", "py", "red").await;
    let (mut there, py_again) = enter(&app, "connector-2", "py", "red").await;
    let (mut al_client, al) = enter(&app, "connector-1", "al", "red").await;
    for member in [py, py_again, al] {
        lobby.join(member);
    }
    lobby.push_to("py", "onChat", &json!("psst")).unwrap();
    let told = once("onChat", json!("psst"));
    assert_eq!(heard([&mut here, &mut there, &mut al_client]).await, [told.clone(), told, vec![]]);
    let fault = lobby.push_to("nobody", "onChat", &json!("psst")).unwrap_err();
    assert_eq!((fault.code(), fault.reason()), (500, "nobody is not in lobby"));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_members_is_pushed_to_without_a_channel() {
    let app = start().await;
    let (mut py_client, py) = enter(&app, "connector-1", "py", "red").await;
    let (mut al_client, al) = enter(&app, "connector-2", "al", "red").await;
    let (mut bo_client, _) = enter(&app, "connector-2", "bo", "red").await;
    let channels = app.server("chat-1").channels();
    channels.push_to(&[py, al], "onList", &json!(1)).unwrap();
    let told = once("onList", json!(1));
    assert_eq!(
        heard([&mut py_client, &mut al_client, &mut bo_client]).await,
        [told.clone(), told, vec![]]
    );
    assert_eq!(channels.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_uid_is_pushed_to_wherever_it_is() {
    let app = start().await;
    let (mut here, _) = enter(&app, "connector-1", "py", "red").await;
    let (mut there, _) = enter(&app, "connector-2", "py", "red").await;
    let (mut al_client, _) = enter(&app, "connector-1", "al", "red").await;
    cluster(&app).push("py", "onUid", &json!(1)).unwrap();
    cluster(&app).push("nobody", "onUid", &json!(1)).unwrap();
    let told = once("onUid", json!(1));
    assert_eq!(heard([&mut here, &mut there, &mut al_client]).await, [told.clone(), told, vec![]]);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_those_it_is_for() {
    let app = start().await;
    let (mut red, _) = enter(&app, "connector-1", "py", "red").await;
    let (mut blue, _) = enter(&app, "connector-2", "al", "blue").await;
    let mut unbound = app.connect("connector-1").await;
    let mut elsewhere = app.connect("gate-1").await;
    let of_team = |team: &str| Map::from_iter([("team".to_owned(), json!(team))]);
    for (to, expected) in [
        (Broadcast::default(), [true, true, false, false]),
        (Broadcast { with: of_team("blue"), unbound: false }, [false, true, false, false]),
        (Broadcast { with: of_team("green"), unbound: true }, [false, false, false, false]),
        (Broadcast { unbound: true, ..Broadcast::default() }, [true, true, true, false]),
    ] {
        cluster(&app).broadcast("connector", "onAll", &json!({}), to.clone()).unwrap();
        let heard = heard([&mut red, &mut blue, &mut unbound, &mut elsewhere]).await;
        assert_eq!(heard.map(|pushes| pushes == once("onAll", json!({}))), expected, "{to:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_pushed_to_from_every_server() {
    let app = start().await;
    for kind in ["connector", "chat"] {
        let mut client = app.connect("connector-1").await;
        let other = app.connect("connector-1").await;
        client.request(&format!("{kind}.a.pushMe"), json!({})).await;
        assert!(client.pushed("onMe").await["you"].is_u64());
        drop(other);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_before_the_answer_arrives_before_it() {
    let app = start().await;
    for kind in ["connector", "chat"] {
        let mut client = app.connect("connector-1").await;
        client.request(&format!("{kind}.a.pushMe"), json!({})).await;
        assert_eq!(client.pushes().len(), 1);
    }
}

/// One connector and a chat server, with schemas for what they say.
fn app_with_schemas(use_protobuf: bool) -> App {
    let servers = json!({ "development": {
        "connector": [{ "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true }],
        "chat": [{ "id": "chat-1", "host": "127.0.0.1" }],
    }});
    let server_protos = json!({
        "onMove": { "required uInt32 x": 1, "optional string who": 2 },
        "chat.a.answer": { "required uInt32 x": 1 },
        "chat.a.wrong": { "optional uInt32 x": 1, "optional uInt32 code": 2 },
        "connector.a.wrong": { "optional uInt32 x": 1, "optional uInt32 code": 2 },
    });
    let client_protos = json!({ "chat.a.answer": { "required uInt32 z": 1 } });
    let toml = format!("[frontend]\nuse-protobuf = {use_protobuf}");
    let files = [
        ("servers.json", servers.to_string()),
        ("serverProtos.json", server_protos.to_string()),
        ("clientProtos.json", client_protos.to_string()),
        ("shaddock.toml", toml),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let connector = Server::frontend("connector").on("a.login", login).on("a.wrong", wrong);
    let chat = Server::backend("chat").on("a.answer", answer).on("a.wrong", wrong);
    App::new(config).server(connector).server(chat)
}

async fn start_with_schemas(use_protobuf: bool) -> TestApp {
    TestApp::start(app_with_schemas(use_protobuf)).await
}

async fn wrong() -> Result<Value> {
    Ok(json!({ "x": "five" }))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_its_schema_fails_where_it_is_made() {
    for use_protobuf in [true, false] {
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let seen = reasons.clone();
        let app = app_with_schemas(use_protobuf).on_error(move |fault, _| {
            seen.lock().unwrap().push(fault.reason().to_owned());
            fault
        });
        let app = TestApp::start(app).await;
        let client = app.connect("connector-1").await;
        for route in ["connector.a.wrong", "chat.a.wrong"] {
            assert_eq!(client.request(route, json!({})).await, json!({ "code": 500 }));
            let reason = reasons.lock().unwrap().pop().expect("the application hears of it");
            assert!(reason.starts_with(&format!("{route}: x: ")), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_does_not_fit_its_schema_fails_where_it_is_sent() {
    for use_protobuf in [true, false] {
        let app = start_with_schemas(use_protobuf).await;
        let lobby = lobby(&app);
        let (mut client, py) = enter(&app, "connector-1", "py", "red").await;
        lobby.join(py.clone());
        let bad = json!({ "x": "here", "who": "py" });
        let channels = app.server("chat-1").channels();
        for fault in [
            lobby.push("onMove", &bad).unwrap_err(),
            lobby.push_to("py", "onMove", &bad).unwrap_err(),
            lobby.join_telling(py.clone(), "onMove", &bad).unwrap_err(),
            channels.push_to(std::slice::from_ref(&py), "onMove", &bad).unwrap_err(),
            cluster(&app).push("py", "onMove", &bad).unwrap_err(),
            cluster(&app).broadcast("connector", "onMove", &bad, Broadcast::default()).unwrap_err(),
        ] {
            let reason = fault.reason();
            assert!(reason.contains("onMove") && reason.contains('x'), "{reason}");
        }
        assert_eq!(heard([&mut client]).await, [vec![]]);
        let good = json!({ "x": 3, "who": "你好 😀" });
        lobby.push("onMove", &good).unwrap();
        assert_eq!(client.pushed("onMove").await, good);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_answers_may_have_schemas() {
    for use_protobuf in [true, false] {
        let app = start_with_schemas(use_protobuf).await;
        let client = app.connect("connector-1").await;
        assert_eq!(client.request("chat.a.answer", json!({ "z": 9 })).await, json!({ "x": 5 }));
    }
}
