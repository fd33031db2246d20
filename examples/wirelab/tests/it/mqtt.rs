//! MQTT, byte by byte.

use serde_json::json;
use shaddock::config::Overrides;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{address, start};

const CONNECT: &[u8] = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02me";

async fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).await.unwrap();
    assert_eq!(received, expected);
}

#[tokio::test]
async fn a_client_publishes_subscribes_and_is_kicked() {
    let running = start(Overrides::default()).await;
    let mut stream = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    stream.write_all(CONNECT).await.unwrap();
    expect(&mut stream, b"\x20\x02\0\0").await;

    // Two topics, QoS 0 and 1: 0 is granted for each.
    stream.write_all(b"\x82\x0a\0\x01\0\x01a\0\0\x01b\x01").await.unwrap();
    expect(&mut stream, b"\x90\x04\0\x01\0\0").await;
    // QoS 1 is answered and acknowledged, here with another publish.
    stream.write_all(b"\x32\x09\0\x04bind\0\x02u").await.unwrap();
    expect(&mut stream, b"\x30\x08\0\x05boundu\x40\x02\0\x02").await;
    stream.write_all(b"\x32\x0a\0\x05other\0\x03x").await.unwrap();
    expect(&mut stream, b"\x30\x08\0\x05replyx\x40\x02\0\x03").await;
    // QoS 0 is neither, but a push is a push.
    stream.write_all(b"\x30\x08\0\x05otherx\x30\x07\0\x04pushy").await.unwrap();
    expect(&mut stream, b"\x30\x09\0\x06pushedy").await;
    // Unsubscribe and ping are answered.
    stream.write_all(b"\xa2\x05\0\x04\0\x01a\xc0\0").await.unwrap();
    expect(&mut stream, b"\xb0\x02\0\x04\xd0\0").await;

    stream.write_all(b"\x30\x06\0\x04kick").await.unwrap();
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0, "a kick is a close");
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_client_that_says_goodbye_has_said_everything_before() {
    let running = start(Overrides::default()).await;
    let url = format!("tcp://{}", address(&running, "plain"));
    let watcher = shaddock_client::Client::connect(&url).await.unwrap();
    let mut pushed = watcher.pushes("pushed");
    watcher
        .request::<serde_json::Value>("connector.testHandler.bind", json!({ "uid": "w" }))
        .await
        .unwrap();

    let mut stream = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    let mut all = CONNECT.to_vec();
    all.extend(b"\x30\x07\0\x04bindw\x30\x07\0\x04pushz\xe0\0");
    stream.write_all(&all).await.unwrap();
    let push: serde_json::Value = pushed.next().await.unwrap().json().unwrap();
    assert_eq!(push["payload"], "z");
    assert!(running.stop().await);
}
