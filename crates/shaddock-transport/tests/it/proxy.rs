//! Clients behind proxies.

use shaddock_transport::{AccessList, Proxies};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A port that believes proxies in these networks, and the address of it.
async fn behind(trusted: &str, proxy_protocol: bool) -> (Hybrid, String) {
    let proxies =
        Proxies { trusted: trusted.parse().unwrap(), proxy_protocol, ..Proxies::default() };
    let config = HybridConfig { proxies, ..HybridConfig::default() };
    listen(config).await
}

/// What became of a connection that said this, and its other end.
async fn say(
    place: &mut (Hybrid, String),
    parts: &[&[u8]],
) -> (Result<HybridWire, OpenError>, TcpStream) {
    let mut client = TcpStream::connect(&place.1).await.unwrap();
    client.set_nodelay(true).unwrap();
    let incoming = place.0.accept().await.unwrap();
    let said = async {
        for part in parts {
            client.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    };
    tokio::join!(incoming.open(), said)
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_says_who_speaks() {
    let mut place = behind("127.0.0.0/8", true).await;
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\x13\x88\x0b\xc2";
    for header in [&b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010\r\n"[..], binary] {
        let package = [header, &[1, 0, 0, 0]].concat();
        let (wire, _client) = say(&mut place, &[&package]).await;
        let mut wire = wire.unwrap();
        assert_eq!((wire.kind(), wire.peer().to_string().as_str()), ("tcp", "192.0.2.1:5000"));
        assert_eq!(receive_exact(&mut wire, 4).await, [1, 0, 0, 0]);

        let request =
            [header, UPGRADE.as_bytes(), b"X-Forwarded-For: 192.0.2.99\r\n\r\n\x82\x82\0\0\0\0hi"]
                .concat();
        let bytes: Vec<&[u8]> = request.chunks(1).collect();
        let (wire, _client) = say(&mut place, &bytes).await;
        let mut wire = wire.unwrap();
        assert_eq!(wire.kind(), "websocket");
        assert_eq!(
            wire.peer().to_string(),
            "192.0.2.1:5000",
            "the client is not believed about itself"
        );
        assert_eq!(receive_exact(&mut wire, 2).await, b"hi");
    }
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_the_peer() {
    let mut place = behind("127.0.0.1", true).await;
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let (wire, client) = say(&mut place, &[header, &[1]]).await;
        assert_eq!(wire.unwrap().peer(), client.local_addr().unwrap());
    }
    let (left, _) = {
        let client = TcpStream::connect(&place.1).await.unwrap();
        let incoming = place.0.accept().await.unwrap();
        drop(client);
        (incoming.open().await, ())
    };
    assert!(matches!(left, Err(OpenError::Left)), "{left:?}");
}

#[tokio::test]
async fn a_trusted_proxy_that_sends_no_header_is_closed() {
    let mut place = behind("127.0.0.1", true).await;
    for first in [&[1, 0, 0, 0][..], UPGRADE.as_bytes(), b"PROXY TCP4 nonsense\r\n"] {
        let (wire, mut client) = say(&mut place, &[first]).await;
        assert!(matches!(wire, Err(OpenError::Proxy { .. })), "{wire:?}");
        // Closed with something unread or not, there is no answer.
        assert!(!matches!(client.read(&mut [0]).await, Ok(1)));
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let mut place = behind("192.0.2.0/24", true).await;
    let (wire, client) = say(&mut place, &[&[1]]).await;
    assert_eq!(wire.unwrap().peer(), client.local_addr().unwrap());
    let request = format!("{UPGRADE}X-Forwarded-For: 192.0.2.99\r\n\r\n");
    let (wire, client) = say(&mut place, &[request.as_bytes()]).await;
    assert_eq!(wire.unwrap().peer(), client.local_addr().unwrap());
    let mut client = TcpStream::connect(&place.1).await.unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 5000 3010\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let refused = place.0.accept().await.unwrap().open().await;
    assert!(matches!(refused, Err(OpenError::Refused { status: 400, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_header_of_http_says_who_speaks() {
    let mut place = behind("127.0.0.0/8, 10.0.0.0/8", false).await;
    let request = format!("{UPGRADE}X-Forwarded-For: 8.8.8.8, 192.0.2.1, 10.0.0.7\r\n\r\n");
    let (wire, _client) = say(&mut place, &[request.as_bytes()]).await;
    assert_eq!(wire.unwrap().peer().to_string(), "192.0.2.1:0");

    let (wire, client) = say(&mut place, &[UPGRADE.as_bytes(), b"\r\n"]).await;
    assert_eq!(wire.unwrap().peer(), client.local_addr().unwrap(), "there is no header");

    let request = format!("{UPGRADE}X-Forwarded-For: somebody\r\n\r\n");
    let mut client = TcpStream::connect(&place.1).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let talk = async {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        answer
    };
    let incoming = place.0.accept().await.unwrap();
    let (answer, wire) = tokio::join!(talk, incoming.open());
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(matches!(wire, Err(OpenError::Refused { status: 400, .. })), "{wire:?}");
}

#[tokio::test]
async fn who_may_come_in_is_asked_about_the_client_not_about_the_proxy() {
    let mut place = behind("127.0.0.1", true).await;
    let list = AccessList::default();
    list.set("192.0.2.0/24".parse().unwrap(), "".parse().unwrap());
    for (address, allowed) in [("192.0.2.1", false), ("198.51.100.1", true)] {
        let header = format!("PROXY TCP4 {address} 10.0.0.1 5000 3010\r\n");
        let (wire, client) = say(&mut place, &[header.as_bytes(), &[1]]).await;
        assert_eq!(list.allows(wire.unwrap().peer().ip()), allowed);
        assert!(list.allows(client.local_addr().unwrap().ip()));
    }
}
