//! What only real sockets can show. Time is not paused here.

use std::net::{Ipv4Addr, SocketAddr};

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
async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

fn app(metrics_port: Option<u16>, bind: &str) -> (App, mpsc::UnboundedReceiver<()>) {
    let servers = json!({ "development": { "connector": [
        { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true },
    ] } });
    let master = json!({ "development": { "id": "master", "host": "127.0.0.1", "port": metrics_port.unwrap_or(3005) } });
    let toml = format!(
        "[frontend]\nbind = {bind:?}\n[metrics]\nenabled = {}",
        metrics_port.is_some()
    );
    let files = [
        ("servers.json", servers.to_string()),
        ("master.json", master.to_string()),
        ("shaddock.toml", toml),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each session of the test"
    )]
    let (sender, ended) = mpsc::unbounded_channel();
    let connector = Server::frontend("connector")
        .on("a.echo", echo)
        .on("a.fails", fails)
        .on_close(closed);
    (App::new(config).state(sender).server(connector), ended)
}

fn address(running: &Running) -> SocketAddr {
    running.addresses().next().expect("a front-end").1
}

/// Asks one page of an HTTP server: what comes back, head and body.
async fn get(address: SocketAddr, path: &str) -> String {
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
        let client = Client::connect(&format!("{scheme}://{address}"))
            .await
            .unwrap();
        let said = json!({ "text": "你好 😀" });
        assert_eq!(
            client
                .request::<Value>("connector.a.echo", &said)
                .await
                .unwrap(),
            said
        );
        client.disconnect().await;
    }
    let page = get(address, "/").await;
    assert!(
        page.starts_with("HTTP/1.1 ") && page.contains("This is connector-1"),
        "{page}"
    );
    assert!(running.stop().await);
}

#[tokio::test]
async fn the_counters_and_the_health_are_pages() {
    let port = free_port().await;
    let pages = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (app, mut ended) = app(Some(port), "127.0.0.1:0");
    let running = app.start().await.unwrap();
    let client = Client::connect(&format!("tcp://{}", address(&running)))
        .await
        .unwrap();
    client
        .request::<Value>("connector.a.echo", 1)
        .await
        .unwrap();
    client
        .request::<Value>("connector.a.fails", 1)
        .await
        .unwrap();

    let health = get(pages, "/health").await;
    let (head, body) = health.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let expected = json!({ "status": "ok", "servers": [{ "id": "connector-1", "sessions": 1 }] });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);

    let counts = |page: &str, line: &str| {
        assert!(
            page.lines().any(|other| other == line),
            "no {line} in\n{page}"
        )
    };
    let page = get(pages, "/metrics").await;
    for line in [
        r#"shaddock_sessions{server="connector-1"} 1"#,
        r#"shaddock_connections_total{server="connector-1"} 1"#,
        r#"shaddock_messages_total{server="connector-1"} 2"#,
        r#"shaddock_messages_handled_total{server="connector-1"} 2"#,
        r#"shaddock_faults_total{server="connector-1"} 1"#,
    ] {
        counts(&page, line);
    }

    client.disconnect().await;
    ended.recv().await.unwrap();
    // Others end for other reasons: a package that is none, and a handshake that is none.
    for bytes in [&[9, 0, 0, 0][..], &[1, 0, 0, 2, b'{', b'}']] {
        let mut stream = TcpStream::connect(address(&running)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        ended.recv().await.unwrap();
    }
    get(address(&running), "/").await;
    // A session is counted as ended when its hook has run and its close was written.
    while !get(pages, "/health").await.contains(r#""sessions":0"#) {}
    let page = get(pages, "/metrics").await;
    for reason in ["left", "unknown_package", "bad_handshake"] {
        counts(
            &page,
            &format!(
                r#"shaddock_closed_sessions_total{{server="connector-1",reason="{reason}"}} 1"#
            ),
        );
    }
    counts(
        &page,
        r#"shaddock_refused_connections_total{server="connector-1",reason="http"} 1"#,
    );
    assert!(running.stop().await);
    assert!(
        TcpStream::connect(pages).await.is_err(),
        "the pages are gone with the application"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_session() {
    let (app, mut ended) = app(None, "127.0.0.1:0");
    let running = app.start().await.unwrap();
    let stream = TcpStream::connect(address(&running)).await.unwrap();
    // Closed without a farewell: the server reads an error.
    #[expect(deprecated, reason = "with no time to linger it does not block")]
    stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    let _ = ended.try_recv();
    let client = Client::connect(&format!("ws://{}", address(&running)))
        .await
        .unwrap();
    assert_eq!(
        client
            .request::<Value>("connector.a.echo", 1)
            .await
            .unwrap(),
        1
    );
    assert!(running.stop().await);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = taken.local_addr().unwrap();
    let (front, _ended) = app(None, &address.to_string());
    let error = front.start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("connector-1 can't listen at {address}")
    );
    assert!(
        matches!(error, StartError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
    );
    let (pages, _ended) = app(Some(address.port()), "127.0.0.1:0");
    let error = pages.start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the metrics page can't listen at {address}")
    );
}
