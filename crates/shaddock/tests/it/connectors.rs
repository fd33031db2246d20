//! Front-ends whose clients speak what no other do.

use std::net::SocketAddr;

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::{self, TestApp};
use shaddock::{
    App, Channels, Fault, Hello, Msg, Peer, Result, Running, Server, ServerHandle, Session,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::lines::Lines;

async fn who(_: ServerHandle, hello: Hello, peer: Peer) -> Result<Value> {
    match hello.user {
        Some(Value::String(name)) if name != "foe" => Ok(json!({ "by": peer.transport })),
        _ => Err(Fault::new(403, "a foe").with("msg", "no foes")),
    }
}

async fn enter(session: Session, channels: Channels, Msg(name): Msg<String>) -> Result<Value> {
    session.bind(&*name).await?;
    let room = channels.open("room");
    room.push("onEnter", &name)?;
    room.join(session.member()?);
    Ok(json!({ "inside": room.count() }))
}

async fn leave(session: Session, Msg(why): Msg<String>) -> Result<()> {
    session.kick(Some(&why)).await?;
    Ok(())
}

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

struct Front {
    running: Running,
    address: SocketAddr,
    closed: mpsc::Receiver<String>,
}

async fn start(options: &str) -> Front {
    let servers = json!({ "development": {
        "connector": [{ "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true }],
        "area": [{ "id": "area-1", "host": "127.0.0.1" }],
    } })
    .to_string();
    let toml = format!("[frontend]\nbind = \"127.0.0.1:0\"\n{options}\n");
    let files = [("servers.json", servers.as_str()), ("shaddock.toml", toml.as_str())];
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let (tx, closed) = mpsc::channel(16);
    let on_close = move |session: Session| {
        let tx = tx.clone();
        async move {
            // Those who were not let in had a session, too, until they were sent away.
            if let Ok(uid) = session.uid() {
                let _ = tx.send(uid.to_string()).await;
            }
            Ok(())
        }
    };
    let connector = Server::frontend("connector")
        .connector(Lines::new)
        .on_handshake(who)
        .on("a.enter", enter)
        .on("a.leave", leave)
        .on_close(on_close);
    let area = Server::backend("area").on("a.echo", echo);
    let running = App::new(config).server(connector).server(area).start().await.unwrap();
    let address = running.addresses().next().unwrap().1;
    Front { running, address, closed }
}

struct Caller(BufStream<TcpStream>);

impl Caller {
    async fn call(front: &Front) -> Caller {
        Caller(BufStream::new(TcpStream::connect(front.address).await.unwrap()))
    }

    async fn login(front: &Front, name: &str) -> Caller {
        let mut caller = Caller::call(front).await;
        assert_eq!(caller.ask(&format!("login {name}")).await, r#"welcome {"by":"lines"}"#);
        caller
    }

    async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The next line; nothing when the connection has ended.
    async fn hear(&mut self) -> String {
        let mut line = String::new();
        // A connection that was reset has ended, too.
        let _ = self.0.read_line(&mut line).await;
        line.trim_end().to_owned()
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.hear().await
    }
}

#[tokio::test]
async fn a_connector_of_ones_own_has_logins_requests_pushes_and_kicks() {
    let mut front = start("").await;
    let mut py = Caller::login(&front, "py").await;
    assert_eq!(py.ask("connector.a.enter \"py\"").await, r#"{"inside":1}"#);
    assert_eq!(py.ask("area.a.echo {\"x\":1}").await, r#"{"x":1}"#, "through the cluster");
    assert_eq!(py.ask("area.a.nothing {}").await, r#"{"code":500}"#);
    assert_eq!(py.ask("nowhere").await, "failed");

    let mut al = Caller::login(&front, "al").await;
    assert_eq!(al.ask("connector.a.enter \"al\"").await, r#"{"inside":2}"#);
    assert_eq!(py.hear().await, r#"!onEnter "al""#);

    assert_eq!(Caller::call(&front).await.ask("login foe").await, "go away: 403 no foes");
    assert_eq!(Caller::call(&front).await.ask("hello").await, "", "no login");

    assert_eq!(al.ask("connector.a.leave \"enough\"").await, "{}");
    assert_eq!(al.hear().await, "bye: enough");
    assert_eq!(al.hear().await, "");
    assert_eq!(front.closed.recv().await.unwrap(), "al", "the close hook ran");
    assert!(front.running.stop().await);
    assert_eq!(py.hear().await, "", "closed in order");
    assert_eq!(front.closed.recv().await.unwrap(), "py");
}

#[tokio::test]
async fn limits_and_lists_hold_for_it_as_for_any_other() {
    let front = start("[frontend.limits]\nconnections-per-address = 1\npackage = 100").await;
    let mut long = Caller::login(&front, "long").await;
    assert_eq!(long.ask(&"x".repeat(101)).await, "", "a line too long");

    let server = front.running.app().servers().into_iter().find(|server| server.access().is_some());
    let server = server.unwrap();
    server.access().unwrap().set("127.0.0.0/8".parse().unwrap(), "".parse().unwrap());
    let mut denied = Caller::call(&front).await;
    let mut byte = [0];
    assert_eq!(denied.0.read(&mut byte).await.unwrap_or(0), 0, "denied");
    assert!(front.running.stop().await);
}

#[tokio::test(start_paused = true)]
async fn its_clients_can_be_tested_in_memory() {
    use shaddock::connector::Wire as _;

    let connector = Server::frontend("connector").connector(Lines::new).on("a.echo", echo);
    let app = TestApp::start(testing::app(&["connector"], &[]).server(connector)).await;
    let mut wire = app.wire("connector-1").await;
    wire.send(&"login py\nconnector.a.echo {\"x\":1}\n".into());
    wire.flush().await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < "welcome null\n{\"x\":1}\n".len() {
        heard.extend_from_slice(&wire.receive().await.unwrap().unwrap());
    }
    assert_eq!(heard, b"welcome null\n{\"x\":1}\n");

    let mut silent = app.wire("connector-1").await;
    assert!(silent.receive().await.is_none(), "who does not log in in time is sent away");
    assert!(app.stop().await);
}
