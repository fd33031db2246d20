//! Looking after servers from outside: who may, what they see, what they change.

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use shaddock::admin::{self, NewServer, Operator, OrderError};
use shaddock::config::{Config, Overrides};
use shaddock::testing::{TestApp, TestClient};
use shaddock::{App, Member, Msg, Result, Server, ServerId, Session};
use tokio::time::{Duration, Instant};

use crate::remotes::{Work, Worker};

const SERVERS: &str = r#"{
    "connector": [
        {"id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true},
        {"id": "connector-2", "host": "127.0.0.1", "clientPort": 3051, "frontend": true}
    ],
    "chat": [{"id": "chat-1", "host": "127.0.0.1"}, {"id": "chat-2", "host": "127.0.0.1", "secret": "of the application"}]
}"#;

/// `admin` may do everything, `monitor` may look.
fn users(hashed: bool) -> String {
    let password =
        |text: &str| if hashed { admin::hash_password(text).unwrap() } else { text.to_owned() };
    json!([
        { "id": "1", "username": "admin", "password": password("secret"), "level": 1 },
        { "id": "2", "username": "monitor", "password": password("look"), "level": 2 },
    ])
    .to_string()
}

async fn enter(session: Session, Msg(name): Msg<String>) -> Result<Member> {
    session.bind(name).await?;
    session.set("room", "lobby").await?;
    session.member()
}

fn app(environment: &str, users: &str) -> App {
    let files = [("servers.json", SERVERS), ("adminUser.json", users)];
    let config = Config::embedded(&files, Some(environment), &Overrides::default()).unwrap();
    App::new(config)
        .server(Server::frontend("connector").on("a.enter", enter))
        .server(Server::backend("chat").remote(Work::serve(|_| Worker::default())))
}

async fn start() -> (TestApp, Operator) {
    let app = TestApp::start(app("production", &users(true))).await;
    let operator = app.operator("admin", "secret").await;
    (app, operator)
}

async fn enters(app: &TestApp, frontend: &str, name: &str) -> TestClient {
    let client = app.connect(frontend).await;
    client.request("connector.a.enter", name).await;
    client
}

fn id(id: &str) -> ServerId {
    id.parse().unwrap()
}

/// The code and the reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, OrderError>) -> (i64, String) {
    match result {
        Err(OrderError::Refused { code, reason, .. }) => (code, reason),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_right_password_lets_in() {
    let (app, operator) = start().await;
    assert!(operator.status(&id("chat-1")).await.is_ok());
    for (user, password) in
        [("admin", "wrong"), ("admin", ""), ("nobody", "secret"), ("monitor", "secret")]
    {
        let stranger = app.operator(user, password).await;
        let refused = refusal(stranger.status(&id("chat-1")).await);
        assert_eq!(refused, (401, "adminUser.json has no such user with this password".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_users_nobody_gets_in() {
    let app = TestApp::start(app("development", "[]")).await;
    assert_eq!(refusal(app.operator("admin", "admin").await.status(&id("chat-1")).await).0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_hash_is_no_password() {
    let users = users(true);
    let hash =
        serde_json::from_str::<Value>(&users).unwrap()[0]["password"].as_str().unwrap().to_owned();
    let app = TestApp::start(app("development", &users)).await;
    assert_eq!(refusal(app.operator("admin", &hash).await.status(&id("chat-1")).await).0, 401);
}

#[tokio::test(start_paused = true)]
async fn passwords_as_they_are_let_in_while_developing_alone() {
    let developed = TestApp::start(app("development", &users(false))).await;
    assert!(developed.operator("admin", "secret").await.status(&id("chat-1")).await.is_ok());
    let produced = app("production", &users(false));
    assert!(
        produced
            .config()
            .warnings
            .iter()
            .any(|warning| warning.contains("the passwords of admin, monitor"))
    );
    let produced = TestApp::start(produced).await;
    // Whether it is the right one is not told either.
    let refused = refusal(produced.operator("admin", "secret").await.status(&id("chat-1")).await);
    assert_eq!(refused, (401, "adminUser.json has no such user with this password".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_operator_of_many_servers_in_one_process_is_let_in_at_once() {
    let chats: Vec<Value> = (1..=20)
        .map(|number| json!({ "id": format!("chat-{number}"), "host": "127.0.0.1" }))
        .collect();
    let servers = json!({ "chat": chats }).to_string();
    let files = [("servers.json", servers.as_str()), ("adminUser.json", &users(true))];
    let config = Config::embedded(&files, Some("production"), &Overrides::default()).unwrap();
    let app = TestApp::start(App::new(config).server(Server::backend("chat"))).await;
    let statuses = async |operator: Operator| {
        let servers: Vec<ServerId> =
            operator.servers().into_iter().map(|server| server.id).collect();
        join_all(servers.iter().map(|server| operator.status(server))).await
    };
    let told = statuses(app.operator("admin", "secret").await).await;
    assert!(told.len() == 20 && told.iter().all(Result::is_ok), "{told:?}");
    // Who has mistyped is told so after one pause.
    let begun = Instant::now();
    let told = statuses(app.operator("admin", "sceret").await).await;
    assert!(told.into_iter().all(|told| refusal(told).0 == 401));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn guesses_are_looked_at_one_a_second() {
    let (app, operator) = start().await;
    assert!(operator.status(&id("chat-1")).await.is_ok());
    let mut strangers = Vec::new();
    for number in 0..100 {
        strangers.push(app.operator("admin", &format!("guess {number}")).await);
    }
    let begun = Instant::now();
    let (connector, chat) = (id("connector-1"), id("chat-1"));
    let (one, other) = tokio::join!(strangers[0].status(&chat), strangers[1].status(&connector));
    assert_eq!((refusal(one).0, refusal(other).0), (401, 401));
    assert!(Duration::from_secs(2) <= begun.elapsed(), "{:?}", begun.elapsed());
    // Who was let in before does not wait behind them, and more than a few guesses don't wait either.
    let guesses = join_all(strangers.iter().map(|stranger| stranger.status(&chat)));
    let begun = Instant::now();
    let (known, guesses) =
        tokio::join!(async { (operator.status(&chat).await.is_ok(), begun.elapsed()) }, guesses,);
    assert!(known.0 && known.1 < Duration::from_secs(1), "{known:?}");
    let told_so = guesses
        .into_iter()
        .filter(|guess| matches!(guess, Err(OrderError::Refused { code: 429, .. })));
    assert!(80 <= told_so.count());
}

#[tokio::test(start_paused = true)]
async fn who_may_look_may_change_nothing() {
    let (app, _) = start().await;
    let monitor = app.operator("monitor", "look").await;
    let (chat, connector) = (id("chat-1"), id("connector-1"));
    monitor.status(&chat).await.unwrap();
    monitor.users(&connector, 10).await.unwrap();
    monitor.sessions(&connector, "py").await.unwrap();
    monitor.config(&chat).await.unwrap();
    monitor.queues(&chat).await.unwrap();
    monitor.blacklist(&connector).await.unwrap();
    let why = "monitor is of level 2, which may look only: this needs level 1".to_owned();
    let refused = [
        refusal(monitor.stop(&chat).await),
        refusal(monitor.restart(&chat).await),
        refusal(monitor.kill(&chat, &[]).await),
        refusal(monitor.add(&chat, NewServer::Configured(id("chat-2"))).await),
        refusal(monitor.broadcast(&connector, "onX", json!(1), true).await),
        refusal(monitor.kick(&connector, "py", None).await),
        refusal(monitor.deny(&connector, "192.0.2.1").await),
        refusal(monitor.pardon(&connector, "192.0.2.1").await),
        refusal(monitor.call(&chat, "Work", "add", vec![]).await),
    ];
    assert!(refused.iter().all(|refused| *refused == (403, why.clone())), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_no_server() {
    let (app, operator) = start().await;
    let mut events = app.app().events();
    let servers: Vec<_> =
        operator.servers().into_iter().map(|server| server.id.to_string()).collect();
    assert_eq!(servers, ["chat-1", "chat-2", "connector-1", "connector-2"]);
    app.operator("admin", "secret").await.leave().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(events.try_recv().is_err(), "nobody is told of operators");
    let refused = TestApp::try_start(
        crate::operators::app("development", "[]").server(Server::backend("operator")),
    );
    let error = refused.await.unwrap_err().to_string();
    assert!(error.starts_with("no kind of server can be called \"operator\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn servers_tell_how_they_are() {
    let (app, operator) = start().await;
    let _py = enters(&app, "connector-1", "py").await;
    let _al = enters(&app, "connector-1", "al").await;
    let _nobody = app.connect("connector-1").await;
    let front = id("connector-1");

    let status = operator.status(&front).await.unwrap();
    assert_eq!((status.sessions, status.users, status.pid), (3, 2, std::process::id()));
    assert_eq!(status.process.len(), 4);
    assert_eq!(status.counter("shaddock_messages_handled_total"), 2);
    assert_eq!(status.connected().accepted, 3);

    let users = operator.users(&front, 1).await.unwrap();
    assert_eq!(users.bound, 2);
    let names: Vec<_> = users.users.iter().map(|user| &*user.uid).collect();
    assert_eq!(names, ["al"], "the latest first");

    let sessions = operator.sessions(&front, "py").await.unwrap();
    assert_eq!(sessions[0].settings["room"], "lobby");
    let by_id = operator.sessions(&front, &sessions[0].session.to_string()).await.unwrap();
    assert_eq!(by_id[0].uid.as_deref(), Some("py"));
    assert!(operator.sessions(&front, "nobody").await.unwrap().is_empty());

    let config = operator.config(&id("chat-2")).await.unwrap();
    assert_eq!(config["environment"], "production");
    assert!(!config.to_string().contains("of the application"), "{config}");
    assert_eq!(operator.config(&front).await.unwrap()["limits.package"], 65536);

    let queues = operator.queues(&front).await.unwrap();
    assert_eq!(queues.mailboxes.map(|all| all.frames), Some(0));
    assert!(operator.queues(&id("chat-1")).await.unwrap().mailboxes.is_none());
    let (code, reason) = refusal(operator.users(&id("chat-1"), 9).await);
    assert_eq!((code, &*reason), (400, "chat-1 is no front-end: no client connects to it"));
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_and_sent_away() {
    let (app, operator) = start().await;
    let (front, other) = (id("connector-1"), id("connector-2"));
    let mut py = enters(&app, "connector-1", "py").await;
    let mut stranger = app.connect("connector-1").await;
    operator.broadcast(&front, "onNews", json!({ "at": 5 }), false).await.unwrap();
    assert_eq!(py.pushed("onNews").await, json!({ "at": 5 }));
    operator.broadcast(&front, "onAll", json!({}), true).await.unwrap();
    assert_eq!(stranger.pushed("onAll").await, json!({}));
    assert!(stranger.pushes().is_empty(), "the first one was for users");

    assert_eq!(operator.kick(&other, "py", Some("enough")).await.unwrap(), 0);
    assert_eq!(operator.kick(&front, "py", Some("enough")).await.unwrap(), 1);
    py.closed().await;

    operator.deny(&front, "198.51.100.0/24").await.unwrap();
    assert_eq!(operator.blacklist(&front).await.unwrap(), ["198.51.100.0/24"]);
    let access = app.server("connector-1");
    assert!(!access.access().unwrap().allows("198.51.100.7".parse().unwrap()));
    assert!(operator.pardon(&front, "198.51.100.0/24").await.unwrap());
    assert!(!operator.pardon(&front, "198.51.100.0/24").await.unwrap());
    let (code, reason) = refusal(operator.deny(&front, "everybody").await);
    assert_eq!(
        (code, &*reason),
        (400, "\"everybody\" is neither an address nor a network like 10.0.0.0/8")
    );
}

#[tokio::test(start_paused = true)]
async fn a_remote_is_called_by_hand() {
    let (_app, operator) = start().await;
    let chat = id("chat-1");
    assert_eq!(operator.call(&chat, "Work", "add", vec![json!(20), json!(22)]).await.unwrap(), 42);
    for (remote, method, args, why) in [
        ("Work", "nonsense", vec![], "has no remote Work.nonsense"),
        ("Nonsense", "add", vec![], "has no remote Nonsense.add"),
        ("Work", "add", vec![json!("x"), json!(2)], "unreadable arguments"),
        ("@sessions", "kick", vec![json!("py"), json!(null)], "is no remote of the application"),
    ] {
        let (_, reason) = refusal(operator.call(&chat, remote, method, args).await);
        assert!(reason.contains(why), "{remote}.{method}: {reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_are_stopped_started_again_and_added() {
    let (app, operator) = start().await;
    let names =
        || operator.servers().iter().map(|server| server.id.to_string()).collect::<Vec<_>>();
    let (chat, connector) = (id("chat-1"), id("connector-1"));
    operator.stop(&chat).await.unwrap();
    operator.gone(&chat).await;
    assert_eq!(names(), ["chat-2", "connector-1", "connector-2"]);
    assert!(matches!(operator.stop(&chat).await, Err(OrderError::Unanswered { .. })));

    assert_eq!(
        operator.add(&connector, NewServer::Configured(chat.clone())).await.unwrap(),
        "chat-1"
    );
    let entry = Map::from_iter([
        ("id".to_owned(), json!("chat-9")),
        ("host".to_owned(), json!("127.0.0.1")),
    ]);
    let new = NewServer::Entry { kind: "chat".to_owned(), entry };
    assert_eq!(operator.add(&connector, new.clone()).await.unwrap(), "chat-9");
    assert_eq!(names(), ["chat-1", "chat-2", "chat-9", "connector-1", "connector-2"]);
    let (_, reason) = refusal(operator.add(&connector, new).await);
    assert_eq!(reason, "chat-9 runs in this process already");
    let (code, _) = refusal(operator.add(&connector, NewServer::Configured(id("chat-7"))).await);
    assert_eq!(code, 404);

    let before = operator.servers()[0].clone();
    operator.restart(&chat).await.unwrap();
    operator.replaced(&before).await;
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_process_is_killed_only_with_all_its_servers() {
    let (app, operator) = start().await;
    let (code, reason) = refusal(operator.kill(&id("chat-1"), &[id("chat-1"), id("chat-2")]).await);
    let expected =
        "its process runs connector-1, connector-2, too: name all of them, or `stop` this one";
    assert_eq!((code, &*reason), (409, expected));
    let all: Vec<_> = operator.servers().into_iter().map(|server| server.id).collect();
    operator.kill(&id("chat-1"), &all).await.unwrap();
    app.killed().await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_may_overtake_its_answer() {
    let (app, operator) = start().await;
    let all: Vec<_> = operator.servers().into_iter().map(|server| server.id).collect();
    let chat = id("chat-1");
    // Cut off it answers nobody, and is not heard of again: so is a process that has ended.
    app.cut("chat-1");
    operator.kill(&chat, &all).await.unwrap();
    assert!(matches!(operator.kill(&chat, &all).await, Err(OrderError::Unanswered { .. })));
}
