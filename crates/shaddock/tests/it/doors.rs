//! Who may connect, and what is believed about where they are. With real sockets.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::client::{Client, ConnectError};
use shaddock::{App, Networks, Result, Running, Server, Session};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn whence(session: Session) -> Result<String> {
    Ok(session.remote_addr().to_string())
}

async fn start(options: &str) -> (Running, SocketAddr) {
    let servers = json!({ "development": { "connector": [
        { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true },
    ] } })
    .to_string();
    let toml = format!("[frontend]\nbind = \"127.0.0.1:0\"\n{options}\n");
    let files = [("servers.json", servers.as_str()), ("shaddock.toml", toml.as_str())];
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let connector = Server::frontend("connector").on("a.whence", whence);
    let running = App::new(config).server(connector).start().await.unwrap();
    let address = running.addresses().next().unwrap().1;
    (running, address)
}

async fn connect(address: SocketAddr) -> std::result::Result<Client, ConnectError> {
    Client::connect(&format!("tcp://{address}")).await
}

fn networks(text: &str) -> Networks {
    text.parse().unwrap()
}

#[tokio::test]
async fn lists_of_networks_change_while_it_runs() {
    let (running, address) = start("deny = [\"10.0.0.0/8\"]").await;
    let inside = connect(address).await.unwrap();
    let server = running.app().servers().remove(0);
    let access = server.access().unwrap();
    assert!(!access.allows("10.1.2.3".parse().unwrap()), "as it was configured");
    for (deny, allow, is_let_in) in
        [("127.0.0.0/8", "", false), ("", "192.0.2.0/24", false), ("10.0.0.0/8", "127.0.0.1", true)]
    {
        access.set(networks(deny), networks(allow));
        assert_eq!(connect(address).await.is_ok(), is_let_in, "denied {deny}, allowed {allow}");
    }
    assert!(inside.request::<Value>("connector.a.whence", ()).await.is_ok(), "who is in stays");
    assert!(running.stop().await);
}

/// A handshake, an ack and a request behind a header of the PROXY protocol: what comes back.
async fn ask_through_a_proxy(address: SocketAddr, header: &str) -> BytesMut {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"\0\x01\x12connector.a.whence{}";
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(b"\x01\0\0\x0a{\"sys\":{}}\x02\0\0\0\x04\0\0");
    bytes.push(request.len() as u8);
    bytes.extend(request);
    stream.write_all(&bytes).await.unwrap();
    let mut received = BytesMut::new();
    while !received.ends_with(b"\"") && stream.read_buf(&mut received).await.unwrap() != 0 {}
    received
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let options = "trusted-proxies = [\"127.0.0.0/8\"]\nproxy-protocol = true\ndeny = [\"198.51.100.0/24\"]\n\
                   [frontend.limits]\nconnections-per-address = 1";
    let (running, address) = start(options).await;
    let header = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 3050\r\n";
    let answer = ask_through_a_proxy(address, header).await;
    assert!(answer.ends_with(b"\"192.0.2.7:4711\""), "{answer:?}");

    let denied = "PROXY TCP4 198.51.100.9 192.0.2.1 4711 3050\r\n";
    assert_eq!(ask_through_a_proxy(address, denied).await, Bytes::new(), "denied behind a proxy");
    assert!(connect(address).await.is_err(), "a proxy that says nothing");
    assert!(running.stop().await);
}

#[tokio::test]
async fn clients_behind_a_proxy_are_counted_by_their_own_addresses() {
    let options = "trusted-proxies = [\"127.0.0.0/8\"]\nproxy-protocol = true\n\
                   [frontend.limits]\nconnections-per-address = 1";
    let (running, address) = start(options).await;
    let open = async |from: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let header = format!("PROXY TCP4 {from} 192.0.2.1 4711 3050\r\n");
        stream.write_all(header.as_bytes()).await.unwrap();
        stream.write_all(b"\x01\0\0\x0a{\"sys\":{}}").await.unwrap();
        let mut first = [0];
        (stream.read(&mut first).await.unwrap_or(0) == 1).then_some(stream)
    };
    let one = open("192.0.2.7").await;
    assert!(one.is_some());
    assert!(open("192.0.2.7").await.is_none(), "a second one from there");
    assert!(open("192.0.2.8").await.is_some(), "one from elsewhere");
    assert!(running.stop().await);
}
