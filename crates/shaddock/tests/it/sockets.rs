//! What only real sockets can show. Time is not paused here.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::client::Client;
use shaddock::{App, Msg, Result, Running, Server, StartError, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

async fn fails() -> Result<()> {
    "x".parse::<u8>()?;
    Ok(())
}

async fn closed(ended: State<mpsc::UnboundedSender<()>>) -> Result<()> {
    Ok(ended.send(())?)
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

async fn big() -> Result<String> {
    Ok("x".repeat(70_000))
}

fn app(metrics_port: Option<u16>, bind: &str) -> (App, mpsc::UnboundedReceiver<()>) {
    app_with(metrics_port, &format!("bind = {bind:?}"))
}

fn app_with(metrics_port: Option<u16>, options: &str) -> (App, mpsc::UnboundedReceiver<()>) {
    let servers = json!({ "development": { "connector": [
        { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true },
    ] } });
    let master = json!({ "development": { "id": "master", "host": "127.0.0.1", "port": metrics_port.unwrap_or(3005) } });
    let toml = format!("[frontend]\n{options}\n[metrics]\nenabled = {}", metrics_port.is_some());
    let files = [
        ("servers.json", servers.to_string()),
        ("master.json", master.to_string()),
        ("shaddock.toml", toml),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "one message for each session of the test")]
    let (sender, ended) = mpsc::unbounded_channel();
    let connector =
        Server::frontend("connector").on("a.echo", echo).on("a.fails", fails).on_close(closed);
    let connector = connector.on("a.big", big);
    (App::new(config).state(sender).server(connector), ended)
}

fn address(running: &Running) -> SocketAddr {
    running.addresses().next().expect("a front-end").1
}

/// Asks one page of an HTTP server: what comes back, head and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn tcp_and_websocket_share_a_port() {
    let (app, _ended) = app(None, "127.0.0.1:0");
    let running = app.start().await.unwrap();
    let address = address(&running);
    for scheme in ["tcp", "ws"] {
        let client = Client::connect(&format!("{scheme}://{address}")).await.unwrap();
        let said = json!({ "text": "你好 😀" });
        assert_eq!(client.request::<Value>("connector.a.echo", &said).await.unwrap(), said);
        client.disconnect().await;
    }
    let page = get(address, "/").await;
    assert!(page.starts_with("HTTP/1.1 ") && page.contains("This is connector-1"), "{page}");
    assert!(running.stop().await);
}

#[tokio::test]
async fn the_counters_and_the_health_are_pages() {
    let port = free_port().await;
    let pages = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (app, mut ended) = app(Some(port), "127.0.0.1:0");
    let running = app.start().await.unwrap();
    let client = Client::connect(&format!("tcp://{}", address(&running))).await.unwrap();
    client.request::<Value>("connector.a.echo", 1).await.unwrap();
    client.request::<Value>("connector.a.fails", 1).await.unwrap();

    let health = get(pages, "/health").await;
    let (head, body) = health.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let expected = json!({ "status": "ok", "servers": [{ "id": "connector-1", "sessions": 1 }] });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);

    counted(
        pages,
        &[
            r#"shaddock_sessions{server="connector-1"} 1"#,
            r#"shaddock_connections_total{server="connector-1"} 1"#,
            r#"shaddock_messages_total{server="connector-1"} 2"#,
            r#"shaddock_messages_handled_total{server="connector-1"} 2"#,
            r#"shaddock_faults_total{server="connector-1"} 1"#,
        ],
    )
    .await;
    client.disconnect().await;
    ended.recv().await.unwrap();
    assert!(running.stop().await);
    assert!(TcpStream::connect(pages).await.is_err(), "the pages are gone with the application");
}

#[tokio::test]
async fn every_reason_to_close_is_counted() {
    let port = free_port().await;
    let pages = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (app, mut ended) = app(Some(port), "127.0.0.1:0");
    let running = app.start().await.unwrap();
    let client = Client::connect(&format!("ws://{}", address(&running))).await.unwrap();
    client.disconnect().await;
    ended.recv().await.unwrap();
    // A kick, a handshake that is none, a package that is none after one that is, and one too long.
    for bytes in [
        &[5, 0, 0, 0][..],
        &[1, 0, 0, 2, b'{', b'}'],
        &[3, 0, 0, 0, 9, 0, 0, 0],
        &[4, 0xff, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(address(&running)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        ended.recv().await.unwrap();
    }
    // Closed without a farewell: the server reads an error.
    let mut broken = TcpStream::connect(address(&running)).await.unwrap();
    broken.write_all(b"\x01\0\0\x0a{\"sys\":{}}").await.unwrap();
    broken.read_u8().await.unwrap();
    drop(broken);
    ended.recv().await.unwrap();
    // And some never become sessions.
    get(address(&running), "/").await;
    let mut unknown = TcpStream::connect(address(&running)).await.unwrap();
    unknown.write_all(&[9, 0, 0, 0]).await.unwrap();
    unknown.read_to_end(&mut Vec::new()).await.unwrap();
    let closed = [
        "left",
        "kick_from_client",
        "bad_handshake",
        "unknown_package",
        "too_long_before_handshake",
        "lost",
    ]
    .map(|reason| format!(r#"closed_sessions_total{{server="connector-1",reason="{reason}"}} 1"#));
    let refused = ["http", "unknown_protocol"].map(|reason| {
        format!(r#"refused_connections_total{{server="connector-1",reason="{reason}"}} 1"#)
    });
    let lines: Vec<_> =
        closed.iter().chain(&refused).map(|line| format!("shaddock_{line}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    counted(pages, &lines).await;
    assert!(running.stop().await);
}

#[cfg(feature = "udp")]
#[tokio::test]
async fn datagrams_that_are_lost_are_counted() {
    let port = free_port().await;
    let options = "bind = \"127.0.0.1:0\"\nconnector = \"udp\"\nheartbeat = 3";
    let (app, _ended) = app_with(Some(port), options);
    let running = app.start().await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(address(&running)).await.unwrap();
    client.send(b"\x01\0\0\x0a{\"sys\":{}}").await.unwrap();
    client.recv(&mut [0; 512]).await.unwrap();
    client.send(b"\x02\0\0\0").await.unwrap();
    client.send(b"\x04\0\0\x12\0\x01\x0fconnector.a.big").await.unwrap();
    let pages = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let lost = |reason, count| {
        format!(
            r#"shaddock_lost_datagrams_total{{server="connector-1",reason="{reason}"}} {count}"#
        )
    };
    counted(pages, &[&lost("too_long", 1), &lost("unread", 0)]).await;
    assert!(running.stop().await);
}

/// Waits until the page of counters has all of these lines, for some are counted a moment later.
pub(crate) async fn counted(pages: SocketAddr, lines: &[&str]) {
    let mut page = String::new();
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            page = get(pages, "/metrics").await;
            if lines.iter().all(|line| page.lines().any(|other| other == *line)) {
                return;
            }
        }
    });
    if waited.await.is_err() {
        panic!("not all of {lines:#?} are in\n{page}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = taken.local_addr().unwrap();
    let (front, _ended) = app(None, &address.to_string());
    let error = front.start().await.unwrap_err();
    assert_eq!(error.to_string(), format!("connector-1 can't listen at {address}"));
    assert!(
        matches!(error, StartError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
    );
    let (pages, _ended) = app(Some(address.port()), "127.0.0.1:0");
    let error = pages.start().await.unwrap_err();
    assert_eq!(error.to_string(), format!("the metrics page can't listen at {address}"));
}
