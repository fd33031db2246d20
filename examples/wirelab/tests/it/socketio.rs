//! Socket.IO over WebSocket, packet by packet.

use futures_util::{SinkExt as _, StreamExt as _};
use shaddock::Running;
use shaddock::config::Overrides;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{address, start};

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(running: &Running) -> Client {
        let to = address(running, "sio");
        let stream = TcpStream::connect(to).await.unwrap();
        let url = format!("ws://{to}/socket.io/?EIO=3&transport=websocket");
        let mut client = Client(tokio_tungstenite::client_async(url, stream).await.unwrap().0);
        let open = client.next().await;
        assert!(open.ends_with(r#""pingInterval":1000,"pingTimeout":2000}"#), "{open}");
        assert_eq!(client.next().await, "40");
        client
    }

    async fn request(&mut self, id: u8, method: &str, body: &str) {
        let route = format!("connector.testHandler.{method}");
        let len = char::from(u8::try_from(route.len()).unwrap());
        let text = format!("\0\0\0{}{len}{route}{body}", char::from(id));
        let event = serde_json::json!(["message", text]);
        self.0.send(Message::text(format!("42{event}"))).await.unwrap();
    }

    async fn next(&mut self) -> String {
        self.0.next().await.unwrap().unwrap().into_text().unwrap().to_string()
    }

    async fn text(&mut self) -> String {
        let packet = self.next().await;
        let event = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let [name, text]: [String; 2] = serde_json::from_str(event).unwrap();
        assert_eq!(name, "message");
        text
    }
}

#[tokio::test]
async fn a_client_asks_and_is_pushed_to_and_kicked() {
    let running = start(Overrides::default()).await;
    let mut client = Client::connect(&running).await;
    client.request(2, "echo", r#"{"body":"二😀"}"#).await;
    assert_eq!(client.text().await, r#"{"id":2,"body":{"code":200,"body":"\u4E8C\uD83D\uDE00"}}"#);
    client.request(3, "bind", r#"{"uid":"u"}"#).await;
    assert_eq!(client.text().await, r#"{"id":3,"body":{"code":200,"uid":"u"}}"#);
    client.request(4, "push", r#"{"route":"onPush","body":{"n":1}}"#).await;
    assert_eq!(client.text().await, r#"{"route":"onPush","body":{"n":1}}"#);
    assert_eq!(client.text().await, r#"{"id":4,"body":{"code":200}}"#);
    client.request(5, "kick", r#"{"reason":"bye"}"#).await;
    assert_eq!(client.text().await, r#"{"id":5,"body":{"code":200}}"#);
    assert_eq!(client.text().await, r#"{"route":"onKick","reason":"bye"}"#);
    assert_eq!(client.next().await, "41");
    assert!(matches!(client.0.next().await, Some(Ok(Message::Close(_)))));
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_stop_tells_those_who_are_there() {
    let running = start(Overrides::default()).await;
    let mut client = Client::connect(&running).await;
    let mut poll = TcpStream::connect(address(&running, "sio")).await.unwrap();
    poll.write_all(b"GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\n\r\n").await.unwrap();
    let mut opened = String::new();
    poll.read_to_string(&mut opened).await.unwrap();
    assert!(opened.ends_with("2:40"), "{opened}");
    client.request(2, "delay", r#"{"ms":300,"n":1}"#).await;
    // So that it has been read: after a stop nothing is.
    sleep(Duration::from_millis(50)).await;
    let (clean, text) = tokio::join!(running.stop(), client.text());
    assert!(clean);
    assert_eq!(text, r#"{"id":2,"body":{"code":200,"n":1}}"#);
    assert_eq!(client.next().await, "41");
}
