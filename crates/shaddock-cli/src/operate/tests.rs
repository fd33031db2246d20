//! The commands, against an application in memory.

use clap::Parser;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;
use shaddock::admin::OrderError;
use shaddock::config::{Config, Overrides};
use shaddock::testing::{TestApp, TestClient};
use shaddock::{App, Msg, Result, Server, Session};

use super::*;

const SERVERS: &str = r#"{
    "connector": [{"id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true}],
    "chat": [{"id": "chat-1", "host": "127.0.0.1"}, {"id": "chat-2", "host": "127.0.0.1"}]
}"#;

const USERS: &str = r#"[
    {"id": "1", "username": "admin", "password": "secret", "level": 1},
    {"id": "2", "username": "monitor", "password": "look", "level": 2}
]"#;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Operate,
}

async fn enter(session: Session, Msg(name): Msg<String>) -> Result<()> {
    session.bind(name).await?;
    Ok(())
}

async fn start() -> (TestApp, Operator) {
    let files = [("servers.json", SERVERS), ("adminUser.json", USERS)];
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let app = App::new(config)
        .server(Server::frontend("connector").on("a.enter", enter))
        .server(Server::backend("chat"));
    let app = TestApp::start(app).await;
    let operator = app.operator("admin", "secret").await;
    (app, operator)
}

/// What is said to a command, and whether all of it was done.
async fn said(operator: &Operator, line: &[&str]) -> anyhow::Result<(bool, String)> {
    let line = Line::try_parse_from(["chat"].iter().chain(line)).unwrap();
    let mut out = Vec::new();
    let done = operate(operator, line.command, &mut out).await?;
    Ok((done, String::from_utf8(out).unwrap()))
}

/// What is said, when all is done.
async fn done(operator: &Operator, line: &[&str]) -> String {
    let (done, said) = said(operator, line).await.unwrap();
    assert!(done, "{line:?}: {said}");
    said
}

async fn refused(operator: &Operator, line: &[&str]) -> String {
    format!("{:#}", said(operator, line).await.unwrap_err())
}

/// The first column of a table, without its head.
fn column(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

async fn enters(app: &TestApp, name: &str) -> TestClient {
    let client = app.connect("connector-1").await;
    client.request("connector.a.enter", name).await;
    client
}

#[tokio::test(start_paused = true)]
async fn servers_are_listed_and_shown() {
    let (app, operator) = start().await;
    let _py = enters(&app, "py").await;
    let list = done(&operator, &["list"]).await;
    assert!(
        list.starts_with("SERVER       KIND       STATE  LOAD  SESSIONS  USERS  UPTIME"),
        "{list}"
    );
    assert_eq!(column(&list), ["chat-1", "chat-2", "connector-1"]);
    let row: Vec<_> = list.lines().last().unwrap().split_whitespace().take(6).collect();
    assert_eq!(row, ["connector-1", "connector", "alive", "1", "1", "1"]);
    for (what, wanted) in [
        (vec!["show", "servers"], "connector-1"),
        (vec!["show", "connections"], "connector-1"),
        (vec!["show", "users"], "py   connector-1"),
        (vec!["show", "session", "py"], "\"uid\": \"py\""),
        (vec!["show", "config", "chat-1"], "\"requests.deadline\": 10.0"),
        (vec!["show", "memory"], "servers of one PID share its memory"),
        (vec!["show", "queues"], "connector-1"),
        (vec!["top", "--once"], "connector-1  connector  alive     1         1      1"),
    ] {
        let said = done(&operator, &what).await;
        assert!(said.contains(wanted), "{what:?}: {said}");
    }
    let (found, text) = said(&operator, &["show", "session", "nobody"]).await.unwrap();
    assert!(!found && text.contains("nobody is logged in as nobody"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn servers_are_stopped_started_again_and_added() {
    let (_app, operator) = start().await;
    assert_eq!(
        done(&operator, &["restart", "chat-1", "chat-2"]).await,
        "chat-1: started again\nchat-2: started again\n"
    );
    assert_eq!(done(&operator, &["stop", "chat-1"]).await, "chat-1: stopped\n");
    let gone = refused(&operator, &["stop", "chat-1"]).await;
    assert_eq!(gone, "no server chat-1 runs: those that do: chat-2, connector-1");
    assert_eq!(done(&operator, &["add", "chat-1"]).await, "chat-1 runs in the process of chat-2\n");
    let added = done(
        &operator,
        &["add", "kind=chat", "id=chat-9", "host=127.0.0.1", "--beside", "connector-1"],
    )
    .await;
    assert_eq!(added, "chat-9 runs in the process of connector-1\n");
    let again = refused(&operator, &["add", "chat-9"]).await;
    assert!(again.contains("the servers.json of this process has no chat-9"), "{again}");
    assert_eq!(
        column(&done(&operator, &["list"]).await),
        ["chat-1", "chat-2", "chat-9", "connector-1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_process_is_killed_once_and_whole() {
    let (app, operator) = start().await;
    let (killed, text) = said(&operator, &["kill", "chat-1"]).await.unwrap();
    assert!(!killed && text.contains("its process runs connector-1, chat-2, too"), "{text}");
    let (killed, text) = said(&operator, &["kill", "chat-1", "chat-2"]).await.unwrap();
    let spared =
        "chat-1: its process runs connector-1, too: name all of them, or `stop` this one\n";
    assert_eq!((killed, &*text), (false, spared), "nobody is said to be killed who is not");
    let text = done(&operator, &["kill", "--all"]).await;
    assert_eq!(text, "connector-1: killed\nchat-1: killed\nchat-2: killed\n");
    app.killed().await;
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_and_sent_away() {
    let (app, operator) = start().await;
    let mut py = enters(&app, "py").await;
    let told = done(&operator, &["broadcast", "onNews", r#"{"at": 5}"#]).await;
    assert_eq!(told, "connector-1: told its clients\n");
    assert_eq!(py.pushed("onNews").await, json!({ "at": 5 }));
    let none = refused(&operator, &["broadcast", "onNews", "1", "--kind", "gate"]).await;
    assert_eq!(none, "no front-end of kind gate runs");
    assert_eq!(
        done(&operator, &["kick", "py", "--reason", "enough"]).await,
        "connector-1: sessions closed: 1\n"
    );
    py.closed().await;
    let (kicked, text) = said(&operator, &["kick", "py"]).await.unwrap();
    assert!(!kicked && text == "nobody is logged in as py\n", "{text}");

    let network = "198.51.100.0/24";
    done(&operator, &["blacklist", "add", network]).await;
    assert_eq!(
        done(&operator, &["blacklist"]).await,
        "NETWORK          SERVER\n198.51.100.0/24  connector-1\n"
    );
    done(&operator, &["blacklist", "remove", network]).await;
    let (there, text) = said(&operator, &["blacklist", "remove", "everybody"]).await.unwrap();
    assert!(!there && text.contains("\"everybody\" is neither an address nor a network"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_is_told_once() {
    let (app, _) = start().await;
    let stranger = app.operator("admin", "guess").await;
    assert_eq!(
        refused(&stranger, &["list"]).await,
        "adminUser.json has no such user with this password"
    );
    assert_eq!(
        refused(&stranger, &["top"]).await,
        "adminUser.json has no such user with this password"
    );
    let monitor = app.operator("monitor", "look").await;
    done(&monitor, &["list"]).await;
    let denied = refused(&monitor, &["stop", "--all"]).await;
    assert_eq!(denied, "monitor is of level 2, which may look only: this needs level 1");
    let called = refused(&monitor, &["call", "chat-1", "Rooms", "1"]).await;
    assert_eq!(called, "Rooms: a remote and its method are needed, such as ChatRemote.kick");
}

#[tokio::test(start_paused = true)]
async fn who_is_let_in_by_some_is_told_what_each_has_said() {
    let (_app, operator) = start().await;
    let servers: Vec<ServerId> = operator.servers().into_iter().map(|server| server.id).collect();
    let refusal = |server: &ServerId, code, reason: &str| {
        Err(OrderError::Refused { server: server.clone(), code, reason: reason.to_owned() })
    };
    let answers = look::ask(&servers, async |id| match id.as_str() {
        "chat-1" => refusal(id, 401, "no such user"),
        _ => Ok(()),
    });
    let answers: Vec<_> = answers.await.unwrap().iter().map(|(_, answer)| answer.is_ok()).collect();
    assert_eq!(answers, [false, true, true]);
    let all = look::ask(&servers, async |id| refusal(id, 401, "no such user") as Result<(), _>);
    assert_eq!(all.await.unwrap_err().to_string(), "no such user");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_heard_of_late_is_found() {
    let (app, operator) = start().await;
    app.app().stop_server(&"chat-1".parse().unwrap()).await.unwrap();
    let entry = app.app().config().server("chat-1").unwrap().clone();
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        app.app().add_server(entry).await.unwrap();
    };
    let (told, ()) = tokio::join!(done(&operator, &["stop", "chat-1"]), late);
    assert_eq!(told, "chat-1: stopped\n");
}

#[tokio::test(start_paused = true)]
async fn the_table_of_top_shows_what_happens_each_second() {
    let (app, operator) = start().await;
    let before = top::View::look(&operator, &top::Samples::new()).await;
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let _clients = [enters(&app, "py").await, enters(&app, "al").await];
    let now = top::View::look(&operator, &before.samples).await;
    let mut terminal = Terminal::new(TestBackend::new(110, 7)).unwrap();
    terminal.draw(|frame| now.draw(frame)).unwrap();
    let screen = terminal.backend().to_string();
    assert!(screen.contains("1 front-ends, 2 back-ends, 2 sessions, 2 users"), "{screen}");
    assert!(screen.contains("q leaves"), "{screen}");
    let row = screen.lines().find(|line| line.contains("connector-1")).unwrap();
    let cells: Vec<_> = row.trim_matches('"').split_whitespace().take(8).collect();
    assert_eq!(cells, ["connector-1", "connector", "alive", "2", "2", "2", "0", "2"], "{screen}");
}
