//! What holds for every client holds for those of Socket.IO, whose connections are many. With real sockets.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::{App, Channels, Msg, Result, Running, Server, ServerHandle, Session};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::sockets::{counted, free_port};

async fn join(session: Session, channels: Channels, Msg(uid): Msg<String>) -> Result<()> {
    session.bind(uid).await?;
    channels.open("lobby").join(session.member()?);
    Ok(())
}

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

async fn late(Msg(message): Msg<Value>) -> Result<Value> {
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(message)
}

struct Front {
    running: Running,
    address: SocketAddr,
    pages: SocketAddr,
}

impl Front {
    async fn start(most: usize, options: &str) -> Front {
        let port = free_port().await;
        let servers = json!({ "development": { "connector": [{
            "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true,
            "max-connections": most,
        }] } });
        let master =
            json!({ "development": { "id": "master", "host": "127.0.0.1", "port": port } });
        let toml = format!(
            "[metrics]\nenabled = true\n[frontend]\nconnector = \"socketio\"\nbind = \"127.0.0.1:0\"\n{options}\n"
        );
        let (servers, master) = (servers.to_string(), master.to_string());
        let files =
            [("servers.json", &*servers), ("master.json", &master), ("shaddock.toml", &toml)];
        let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
        let connector =
            Server::frontend("connector").on("a.join", join).on("a.echo", echo).on("a.late", late);
        let running = App::new(config).server(connector).start().await.unwrap();
        let address = running.addresses().next().unwrap().1;
        Front { running, address, pages: (Ipv4Addr::LOCALHOST, port).into() }
    }

    fn server(&self) -> ServerHandle {
        self.running.app().servers().remove(0)
    }

    async fn counted(&self, lines: &[&str]) {
        counted(self.pages, lines).await;
    }

    async fn stop(self) {
        assert!(self.running.stop().await);
    }
}

/// Sends a request on a connection of its own, if somebody listens.
async fn send(to: SocketAddr, line: &str, fields: &str, body: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(to).await.ok()?;
    let len = body.len();
    let request = format!("{line} HTTP/1.1\r\n{fields}Content-Length: {len}\r\n\r\n{body}");
    // Who is turned away at the door may find that out here.
    let _ = stream.write_all(request.as_bytes()).await;
    Some(stream)
}

/// The body of the answer; `None` when the connection was closed without one.
async fn answer(stream: Option<TcpStream>) -> Option<String> {
    let mut answer = String::new();
    let _ = stream?.read_to_string(&mut answer).await;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    Some(body.to_owned())
}

/// The text of a request with this id.
fn event(id: u8, method: &str, body: &Value) -> String {
    let route = format!("connector.a.{method}");
    let len = char::from(u8::try_from(route.len()).unwrap());
    let text = format!("\0\0\0{}{len}{route}{body}", char::from(id));
    format!("42{}", json!(["message", text]))
}

/// A client that polls.
struct Poller {
    to: SocketAddr,
    fields: String,
    id: String,
    /// Packets that came.
    packets: VecDeque<String>,
}

impl Poller {
    /// `None` when it was not let in.
    async fn open(to: SocketAddr, fields: &str) -> Option<Poller> {
        let line = "GET /socket.io/?EIO=3&transport=polling";
        let body = answer(send(to, line, fields, "").await).await?;
        let (_, rest) = body.split_once(r#""sid":""#).unwrap();
        let id = rest.split('"').next().unwrap().to_owned();
        Some(Poller { to, fields: fields.to_owned(), id, packets: VecDeque::new() })
    }

    async fn send(&self, method: &str, body: &str) -> Option<TcpStream> {
        let line = format!("{method} /socket.io/?EIO=3&transport=polling&sid={}", self.id);
        send(self.to, &line, &self.fields, body).await
    }

    async fn post(&self, packet: &str) -> Option<String> {
        answer(self.send("POST", &format!("{}:{packet}", packet.len())).await).await
    }

    /// Polls as often as it takes.
    async fn packet(&mut self) -> String {
        while self.packets.is_empty() {
            let body = answer(self.send("GET", "").await).await.expect("an answer to a poll");
            let mut rest = body.as_str();
            while let Some((len, packets)) = rest.split_once(':') {
                let (packet, others) = packets.split_at(len.parse().unwrap());
                self.packets.push_back(packet.to_owned());
                rest = others;
            }
        }
        self.packets.pop_front().unwrap()
    }

    /// What the next message says.
    async fn text(&mut self) -> Value {
        loop {
            if let Some(event) = self.packet().await.strip_prefix("42") {
                let [_, text]: [String; 2] = serde_json::from_str(event).unwrap();
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn ask(&mut self, method: &str, body: Value) -> Value {
        assert_eq!(self.post(&event(2, method, &body)).await.as_deref(), Some("ok"));
        self.text().await["body"].take()
    }
}

/// A WebSocket whose answers nobody reads.
async fn deaf_websocket(to: SocketAddr, packet: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let upgrade = "GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    // Text, whole, masked with zeros.
    let head = [0x81, 0x80 | u8::try_from(packet.len()).unwrap(), 0, 0, 0, 0];
    stream.write_all(&[&head, packet.as_bytes()].concat()).await.unwrap();
    stream
}

#[tokio::test]
async fn those_who_never_read_are_cut_off_and_nobody_else_loses_a_message() {
    const PUSHES: usize = 1_500;
    let front = Front::start(9, "[frontend.limits]\noutbound-bytes = 65536").await;
    let mut readers = Vec::new();
    for uid in ["py", "al"] {
        let mut reader = Poller::open(front.address, "").await.unwrap();
        assert_eq!(reader.ask("join", json!(uid)).await, json!({}));
        readers.push(reader);
    }
    let deaf = Poller::open(front.address, "").await.unwrap();
    assert!(deaf.post(&event(2, "join", &json!("deaf"))).await.is_some());
    let _deaf = deaf_websocket(front.address, &event(2, "join", &json!("deaf, too"))).await;
    let lobby = front.server().channels().open("lobby");
    while lobby.count() < 4 {
        tokio::task::yield_now().await;
    }
    for n in 0..PUSHES {
        lobby.push("onChat", &json!([n, "x".repeat(8_192)])).unwrap();
        for reader in &mut readers {
            assert_eq!(reader.text().await["body"][0], n);
        }
    }
    let overflow = r#"shaddock_closed_sessions_total{server="connector-1",reason="overflow"} 2"#;
    front.counted(&[overflow, r#"shaddock_sessions{server="connector-1"} 2"#]).await;
    for reader in &mut readers {
        assert_eq!(reader.ask("echo", json!(1)).await, 1);
    }
    front.stop().await;
}

#[tokio::test]
async fn polls_neither_take_the_places_of_clients_nor_count_as_such() {
    let front = Front::start(1, "").await;
    let mut client = Poller::open(front.address, "").await.unwrap();
    for n in 0..20 {
        assert_eq!(client.ask("echo", json!(n)).await, n);
    }
    assert!(Poller::open(front.address, "").await.is_none(), "a second client");
    assert_eq!(client.ask("echo", json!(1)).await, 1);
    front
        .counted(&[
            r#"shaddock_connections_total{server="connector-1"} 2"#,
            r#"shaddock_refused_connections_total{server="connector-1",reason="connections"} 1"#,
        ])
        .await;
    assert_eq!(client.post("1").await.as_deref(), Some("ok"), "it leaves");
    front.counted(&[r#"shaddock_sessions{server="connector-1"} 0"#]).await;
    // Its place is free when its task has ended, which is a moment later.
    while Poller::open(front.address, "").await.is_none() {}
    front.stop().await;
}

#[tokio::test]
async fn an_address_has_so_many_clients_however_often_they_poll() {
    let options = "trusted-proxies = [\"127.0.0.0/8\"]\nforwarded = \"x-forwarded-for\"\n\
                   deny = [\"198.51.100.0/24\"]\n[frontend.limits]\nconnections-per-address = 1";
    let front = Front::start(9, options).await;
    let from = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let mut one = Poller::open(front.address, &from("192.0.2.7")).await.unwrap();
    assert!(Poller::open(front.address, &from("192.0.2.7")).await.is_none(), "a second one");
    let mut other = Poller::open(front.address, &from("192.0.2.8")).await.unwrap();
    assert!(Poller::open(front.address, &from("198.51.100.1")).await.is_none(), "denied");
    for n in 0..9 {
        assert_eq!(one.ask("echo", json!(n)).await, n);
        assert_eq!(other.ask("echo", json!(n)).await, n);
    }
    front.stop().await;
}

#[tokio::test]
async fn who_is_denied_does_not_get_in() {
    let front = Front::start(9, "").await;
    let server = front.server();
    let access = server.access().unwrap();
    access.set("127.0.0.0/8".parse().unwrap(), "".parse().unwrap());
    assert!(Poller::open(front.address, "").await.is_none());
    access.set("".parse().unwrap(), "".parse().unwrap());
    assert!(Poller::open(front.address, "").await.is_some());
    front.stop().await;
}

#[tokio::test]
async fn at_a_stop_those_who_poll_get_their_answers_and_are_told() {
    let front = Front::start(9, "").await;
    let mut client = Poller::open(front.address, "").await.unwrap();
    for id in [2, 3] {
        assert!(client.post(&event(id, "late", &json!(id))).await.is_some());
    }
    let heard = async {
        assert_eq!(client.text().await, json!({ "id": 2, "body": 2 }));
        assert!(Poller::open(front.address, "").await.is_none(), "nobody new");
        assert_eq!(client.text().await, json!({ "id": 3, "body": 3 }));
        assert_eq!([client.packet().await, client.packet().await], ["41", "1"]);
    };
    let (clean, ()) = tokio::join!(front.running.stop(), heard);
    assert!(clean);
}
