//! The HTTP before a WebSocket.

use futures_util::FutureExt;
use shaddock_transport::{ConnectError, connect_websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Sends `request` and gives the answer together with what `open` said.
async fn ask(request: &[u8], config: HybridConfig) -> (String, OpenError) {
    let (mut hybrid, addr) = listen(config).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(request).await.unwrap();
    let incoming = hybrid.accept().await.unwrap();
    let talk = async {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let (answer, opened) = tokio::join!(talk, incoming.open());
    (answer, opened.unwrap_err())
}

fn status(error: &OpenError) -> u16 {
    match error {
        OpenError::Refused { status, .. } => *status,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_plain_request_is_told_what_this_port_is() {
    let config = HybridConfig { banner: "pomelo lives here".to_owned(), ..HybridConfig::default() };
    let (answer, error) = ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", config).await;
    assert_eq!(
        answer,
        "HTTP/1.1 426 Upgrade Required\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Connection: Upgrade, close\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 18\r\n\r\n\
         pomelo lives here\n"
    );
    assert_eq!(status(&error), 426);
}

#[tokio::test]
async fn a_page_from_elsewhere_is_refused() {
    let request = |origin: &str| {
        format!(
            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
        )
    };
    let config = HybridConfig {
        origins: Some(vec!["https://game.example".to_owned()]),
        ..HybridConfig::default()
    };
    let (answer, error) = ask(request("https://evil.example").as_bytes(), config.clone()).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(status(&error), 403);

    let (mut hybrid, addr) = listen(config).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(request("https://game.example").as_bytes()).await.unwrap();
    assert!(hybrid.accept().await.unwrap().open().await.is_ok());
}

#[tokio::test]
async fn a_head_without_end_is_refused_at_its_limit() {
    let (answer, error) = ask(&[b'G'; 8 * 1024], HybridConfig::default()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(status(&error), 431);
    let (answer, error) = ask(b"GET nonsense\r\n\r\n", HybridConfig::default()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(status(&error), 400);
}

#[tokio::test]
async fn half_a_head_is_waited_for_until_the_client_leaves() {
    let (incoming, mut client) = dial().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    let mut opening = Box::pin(incoming.open());
    assert!((&mut opening).now_or_never().is_none());
    drop(client);
    assert!(matches!(opening.await, Err(OpenError::Left)));
}

#[tokio::test]
async fn frames_right_behind_the_head_are_not_lost() {
    let (incoming, mut client) = dial().await;
    client
        .write_all(
            b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\
              \x82\x85\0\0\0\0early",
        )
        .await
        .unwrap();
    let mut wire = incoming.open().await.unwrap();
    assert_eq!(wire.kind(), "websocket");
    assert_eq!(receive_exact(&mut wire, 5).await, b"early");
    let mut answer = vec![0; 200];
    let len = client.read(&mut answer).await.unwrap();
    assert!(answer[..len].starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
}

#[tokio::test]
async fn a_client_says_what_it_was_refused_with() {
    let config = HybridConfig { origins: Some(Vec::new()), ..HybridConfig::default() };
    let (mut hybrid, addr) = listen(config).await;
    let url = format!("ws://{addr}/with space");
    assert!(matches!(connect_websocket(&url).await, Err(ConnectError::Url)));

    // A server that speaks HTTP, but not this.
    let server = async {
        let incoming = hybrid.accept().await.unwrap();
        incoming.open().await.map(|_| ())
    };
    let url = format!("ws://{addr}");
    let (client, server) = tokio::join!(connect_websocket(&url), server);
    assert!(client.is_ok(), "programs send no origin");
    assert!(server.is_ok());

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", plain.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
        stream
    };
    let (client, _stream) = tokio::join!(connect_websocket(&url), server);
    assert!(matches!(client, Err(ConnectError::Refused(Some(404)))), "{client:?}");
}
