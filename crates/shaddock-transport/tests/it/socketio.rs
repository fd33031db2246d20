//! Socket.IO by WebSocket and by polling, byte by byte.

use std::{net::SocketAddr, task::Poll};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use shaddock_transport::{
    Hybrid, HybridConfig, Incoming, Listener, OpenError, Proxies, SocketIo, SocketIoConfig,
    SocketIoWire, Violation, Wire, WireError,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_test::task;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

type Client = WebSocketStream<TcpStream>;

const QUERY: &str = "/socket.io/?EIO=3&transport";

async fn listen(http: HybridConfig, config: SocketIoConfig) -> SocketIo {
    SocketIo::new(Hybrid::bind("127.0.0.1:0", http).await.unwrap(), config)
}

async fn listen_as_usual() -> SocketIo {
    listen(HybridConfig::default(), SocketIoConfig::default()).await
}

/// Sends a request on a connection of its own, of which the server has opened nothing.
async fn request(to: SocketAddr, request: &str, fields: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let len = body.len();
    let head = format!("{request} HTTP/1.1\r\n{fields}Content-Length: {len}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    stream
}

/// The head and the body of an answer, up to the end of its connection.
async fn answer(mut stream: TcpStream) -> (String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn open(listener: &mut SocketIo) -> Result<SocketIoWire, OpenError> {
    listener.accept().await.unwrap().open().await
}

/// A client that polls: its wire and its id. It has polled once.
async fn poller(listener: &mut SocketIo) -> (SocketIoWire, Polls) {
    let to = listener.local_addr().unwrap();
    let stream = request(to, &format!("GET {QUERY}=polling"), "", "").await;
    let mut wire = open(listener).await.unwrap();
    wire.flush().await.unwrap();
    let (_, body) = answer(stream).await;
    let (_, rest) = body.split_once(r#""sid":""#).unwrap();
    let (id, _) = rest.split_once('"').unwrap();
    assert!(body.ends_with("2:40"), "{body}");
    (wire, Polls { to, id: id.to_owned() })
}

/// The requests of a client that polls.
struct Polls {
    to: SocketAddr,
    id: String,
}

impl Polls {
    async fn poll(&self, listener: &mut SocketIo) -> TcpStream {
        let line = format!("GET {QUERY}=polling&sid={}", self.id);
        let stream = request(self.to, &line, "", "").await;
        assert!(matches!(open(listener).await, Err(OpenError::Served)));
        stream
    }

    async fn post(&self, listener: &mut SocketIo, body: &str) -> TcpStream {
        let line = format!("POST {QUERY}=polling&sid={}", self.id);
        let stream = request(self.to, &line, "", body).await;
        assert!(matches!(open(listener).await, Err(OpenError::Served)));
        stream
    }

    async fn upgrade(&self, listener: &mut SocketIo) -> Client {
        let stream = TcpStream::connect(self.to).await.unwrap();
        let url = format!("ws://{}{QUERY}=websocket&sid={}", self.to, self.id);
        let (client, opened) =
            tokio::join!(tokio_tungstenite::client_async(url, stream), open(listener));
        assert!(matches!(opened, Err(OpenError::Served)));
        client.unwrap().0
    }
}

/// Both ends of a session over WebSocket.
async fn websocket(listener: &mut SocketIo) -> (SocketIoWire, Client) {
    let to = listener.local_addr().unwrap();
    let stream = TcpStream::connect(to).await.unwrap();
    let url = format!("ws://{to}{QUERY}=websocket");
    let (client, wire) = tokio::join!(tokio_tungstenite::client_async(url, stream), open(listener));
    (wire.unwrap(), client.unwrap().0)
}

async fn text(client: &mut Client) -> String {
    client.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Lets a wire do what it can, which is nothing to receive.
async fn drive(wire: &mut SocketIoWire) {
    for _ in 0..20 {
        assert!(task::spawn(wire.receive()).poll().is_pending());
        let _ = task::spawn(wire.flush()).poll();
        tokio::task::yield_now().await;
    }
}

async fn receive(wire: &mut SocketIoWire) -> Bytes {
    wire.receive().await.unwrap().unwrap()
}

#[tokio::test]
async fn over_websocket_a_chunk_is_the_text_of_a_message() {
    let mut listener = listen_as_usual().await;
    let (mut wire, mut client) = websocket(&mut listener).await;
    wire.flush().await.unwrap();
    let open = text(&mut client).await;
    assert!(open.starts_with(r#"0{"sid":""#), "{open}");
    assert!(open.ends_with(r#""upgrades":[],"pingInterval":25000,"pingTimeout":60000}"#), "{open}");
    assert_eq!(text(&mut client).await, "40");
    assert_eq!((wire.kind(), wire.peer()), ("websocket", client.get_ref().local_addr().unwrap()));

    // What came in one read is told apart, and what is no message event is passed over.
    for packet in [r#"42["message","one"]"#, r#"42["other",1]"#, r#"42["message","二😀"]"#, "2"]
    {
        client.feed(Message::text(packet)).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(receive(&mut wire).await, "one");
    assert_eq!(receive(&mut wire).await, "二😀");
    assert!(wire.ping());

    wire.send(&Bytes::from_static("\"é😀\"".as_bytes()));
    assert!(task::spawn(wire.receive()).poll().is_pending());
    wire.flush().await.unwrap();
    assert_eq!(text(&mut client).await, r#"42["message","\"\u00e9\ud83d\ude00\""]"#);
    assert_eq!(text(&mut client).await, "3");

    wire.close().await.unwrap();
    assert_eq!(text(&mut client).await, "41");
    assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn a_client_polls_and_posts_in_order() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    assert_eq!(wire.kind(), "polling");

    // Encoded twice, as clients of the 1.x line do; a ping; encoded once.
    let body = r#"18:42["message","Ã©"]1:217:42["message","二"]"#;
    let post = client.post(&mut listener, body).await;
    assert_eq!(receive(&mut wire).await, "é");
    assert_eq!(receive(&mut wire).await, "二");
    // Answered when all of it was heard.
    assert!(task::spawn(wire.receive()).poll().is_pending());
    assert_eq!(answer(post).await.1, "ok");

    wire.send(&Bytes::from_static(b"a"));
    wire.send(&Bytes::from_static(b"b"));
    assert!(task::spawn(wire.flush()).poll().is_pending(), "nobody polls");
    assert!(0 < wire.unsent());
    let poll = client.poll(&mut listener).await;
    wire.flush().await.unwrap();
    assert_eq!(wire.unsent(), 0);
    let (head, said) = answer(poll).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(said, r#"17:42["message","a"]17:42["message","b"]1:3"#);

    let poll = client.poll(&mut listener).await;
    wire.close().await.unwrap();
    assert_eq!(answer(poll).await.1, "2:411:1");
}

#[tokio::test]
async fn a_wire_that_is_dropped_is_forgotten() {
    let mut listener = listen_as_usual().await;
    let (wire, client) = poller(&mut listener).await;
    let poll = client.poll(&mut listener).await;
    drop(wire);
    let mut nothing = String::new();
    let _ = { poll }.read_to_string(&mut nothing).await;
    assert_eq!(nothing, "");
    for line in [
        format!("GET {QUERY}=polling&sid={}", client.id),
        format!("POST {QUERY}=polling&sid={}", client.id),
        format!(
            "GET {QUERY}=websocket&sid={} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX:",
            client.id,
        ),
    ] {
        let stream = request(client.to, &line, "", "").await;
        let (refused, (head, body)) = tokio::join!(open(&mut listener), answer(stream));
        assert!(matches!(refused, Err(OpenError::Refused { status: 400, .. })), "{line}");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert_eq!(body, "no session has this id\n");
    }
}

#[tokio::test]
async fn a_client_goes_on_over_websocket_and_nothing_is_lost() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let poll = client.poll(&mut listener).await;
    let mut upgraded = client.upgrade(&mut listener).await;
    upgraded.send(Message::text("2probe")).await.unwrap();
    let (probed, ()) = tokio::join!(text(&mut upgraded), drive(&mut wire));
    assert_eq!(probed, "3probe");
    // The poll that waited is let go, so that the client can stop polling.
    wire.flush().await.unwrap();
    assert_eq!(answer(poll).await.1, "1:6");

    wire.send(&Bytes::from_static(b"between"));
    let post = client.post(&mut listener, r#"22:42["message","posted"]"#).await;
    assert_eq!(receive(&mut wire).await, "posted");
    assert_eq!(wire.kind(), "polling");
    upgraded.feed(Message::text("5")).await.unwrap();
    upgraded.send(Message::text(r#"42["message","framed"]"#)).await.unwrap();
    assert_eq!(receive(&mut wire).await, "framed");
    assert_eq!(wire.kind(), "websocket");
    assert_eq!(answer(post).await.1, "ok");
    wire.send(&Bytes::from_static(b"after"));
    wire.flush().await.unwrap();
    assert_eq!(text(&mut upgraded).await, r#"42["message","between"]"#);
    assert_eq!(text(&mut upgraded).await, r#"42["message","after"]"#);
    drop(upgraded);
    assert!(wire.receive().await.is_none());
}

#[tokio::test]
async fn a_websocket_that_proves_to_be_none_changes_nothing() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    for said in ["5", "9", r#"42["message","too early"]"#] {
        let mut upgraded = client.upgrade(&mut listener).await;
        upgraded.send(Message::text(said)).await.unwrap();
        let (end, ()) = tokio::join!(upgraded.next(), drive(&mut wire));
        assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{said}");
    }
    let post = client.post(&mut listener, r#"17:42["message","x"]"#).await;
    assert_eq!(receive(&mut wire).await, "x");
    drive(&mut wire).await;
    assert_eq!(answer(post).await.1, "ok");
}

#[tokio::test]
async fn clients_leave_in_several_ways() {
    let mut listener = listen_as_usual().await;
    for goodbye in ["1:1", "2:41"] {
        let (mut wire, client) = poller(&mut listener).await;
        let poll = client.poll(&mut listener).await;
        let post = client.post(&mut listener, goodbye).await;
        assert!(wire.receive().await.is_none());
        wire.close().await.unwrap();
        assert_eq!(answer(post).await.1, "ok");
        assert_eq!(answer(poll).await.1, "1:6");
    }
    let (mut wire, client) = poller(&mut listener).await;
    drop(client.poll(&mut listener).await);
    assert!(wire.receive().await.is_none(), "it gave up its poll");

    let (mut wire, mut client) = websocket(&mut listener).await;
    client.send(Message::text("41")).await.unwrap();
    assert!(wire.receive().await.is_none());
    let (mut wire, client) = websocket(&mut listener).await;
    drop(client);
    assert!(wire.receive().await.is_none());
}

#[tokio::test]
async fn what_can_not_be_read_ends_the_wire() {
    let mut listener = listen_as_usual().await;
    for body in ["nonsense", "3:ab", "1:9", "2:4x", "3:42{"] {
        let (mut wire, client) = poller(&mut listener).await;
        let _post = client.post(&mut listener, body).await;
        let broken = wire.receive().await;
        assert!(matches!(broken, Some(Err(WireError::SocketIo(_)))), "{body}: {broken:?}");
        assert!(wire.receive().await.is_none());
        wire.close().await.unwrap();
    }
    let (mut wire, mut client) = websocket(&mut listener).await;
    client.send(Message::binary(vec![255])).await.unwrap();
    assert!(matches!(wire.receive().await, Some(Err(WireError::SocketIo(_)))));
}

#[tokio::test]
async fn messages_and_bodies_have_a_limit() {
    let config = SocketIoConfig { limit: 100, ..SocketIoConfig::default() };
    let mut listener = listen(HybridConfig::default(), config).await;
    let (mut wire, mut client) = websocket(&mut listener).await;
    let long = "x".repeat(101);
    client.send(Message::text(long.as_str())).await.unwrap();
    let broken = wire.receive().await;
    assert!(matches!(broken, Some(Err(WireError::Protocol(Violation::LongMessage)))));

    let (_wire, client) = poller(&mut listener).await;
    let line = format!("POST {QUERY}=polling&sid={}", client.id);
    let _stream = request(client.to, &line, "", &long).await;
    let refused = listener.accept().await.unwrap().open();
    let (refused, ()) = tokio::join!(refused, async { drop(_stream) });
    assert!(matches!(refused, Err(OpenError::Refused { status: 413, .. } | OpenError::Io(_))));
}

#[tokio::test]
async fn a_client_that_opens_many_requests_holds_few() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let mut polls = Vec::new();
    for _ in 0..20 {
        polls.push(client.poll(&mut listener).await);
    }
    drive(&mut wire).await;
    wire.close().await.unwrap();
    let mut answers = Vec::new();
    for mut poll in polls {
        let mut answer = String::new();
        // Those that were too many were dropped without a word.
        let _ = poll.read_to_string(&mut answer).await;
        answers.extend(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()));
    }
    assert_eq!(answers, ["1:6", "1:6", "1:6", "2:411:1"]);
}

#[tokio::test]
async fn pages_come_from_allowed_origins_and_proxies_say_for_whom_they_speak() {
    let proxies = Proxies { trusted: "127.0.0.1".parse().unwrap(), ..Proxies::default() };
    let http = HybridConfig {
        origins: Some(vec!["http://game.example".to_owned()]),
        proxies,
        ..HybridConfig::default()
    };
    let mut listener = listen(http, SocketIoConfig::default()).await;
    let to = listener.local_addr().unwrap();
    let line = format!("GET {QUERY}=polling");
    let fields = "Origin: http://game.example\r\nX-Forwarded-For: 192.0.2.1\r\n";
    let stream = request(to, &line, fields, "").await;
    let mut wire = open(&mut listener).await.unwrap();
    assert_eq!(wire.peer().to_string(), "192.0.2.1:0");
    wire.flush().await.unwrap();
    let (head, _) = answer(stream).await;
    assert!(head.contains("Access-Control-Allow-Origin: http://game.example\r\n"), "{head}");

    let stream = request(to, &line, "Origin: http://other\r\n", "").await;
    let (refused, _) = tokio::join!(open(&mut listener), answer(stream));
    assert!(matches!(refused, Err(OpenError::Refused { status: 403, .. })));
    let line = format!("OPTIONS {QUERY}=polling&sid=x");
    let stream = request(to, &line, "Origin: http://game.example\r\n", "").await;
    assert!(matches!(open(&mut listener).await, Err(OpenError::Served)));
    assert!(answer(stream).await.0.contains("Access-Control-Allow-Headers: Content-Type\r\n"));
}

#[tokio::test]
async fn a_plain_request_is_told_what_this_port_is() {
    let mut listener = listen_as_usual().await;
    let stream = request(listener.local_addr().unwrap(), "GET /", "", "").await;
    let (refused, (head, body)) = tokio::join!(open(&mut listener), answer(stream));
    assert!(matches!(refused, Err(OpenError::Refused { status: 404, .. })));
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
    assert!(body.contains("game clients"), "{body}");

    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    stream.write_all(&[1, 0, 0, 0]).await.unwrap();
    assert!(matches!(open(&mut listener).await, Err(OpenError::Unknown(1))));
}

#[tokio::test]
async fn a_flood_of_probes_has_one_answer_and_an_end() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let mut upgraded = client.upgrade(&mut listener).await;
    for _ in 0..3 {
        upgraded.feed(Message::text("2probe")).await.unwrap();
    }
    upgraded.flush().await.unwrap();
    let mut heard = Vec::new();
    tokio::join!(drive(&mut wire), async {
        while let Some(Ok(message)) = upgraded.next().await {
            heard.push(message);
        }
    });
    assert!(heard.len() < 2, "one probe has one answer: {heard:?}");
    // It polls on.
    let post = client.post(&mut listener, r#"17:42["message","x"]"#).await;
    assert_eq!(receive(&mut wire).await, "x");
    drive(&mut wire).await;
    assert_eq!(answer(post).await.1, "ok");
}

#[tokio::test]
async fn a_post_is_heard_packet_by_packet_and_others_beside_it_are_dropped() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let many: String = (0..1000).map(|n| format!(r#"20:42["message","{n:04}"]"#)).collect();
    let post = client.post(&mut listener, &many).await;
    assert_eq!(receive(&mut wire).await, "0000");
    let mut second = client.post(&mut listener, r#"22:42["message","second"]"#).await;
    let mut third = client.post(&mut listener, r#"21:42["message","third"]"#).await;
    for n in 1..1000 {
        assert_eq!(receive(&mut wire).await, format!("{n:04}"), "none is taken before its turn");
    }
    drive(&mut wire).await;
    assert_eq!(answer(post).await.1, "ok");
    for stream in [&mut second, &mut third] {
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn many_polls_at_once_do_not_hide_the_post_behind_them() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let mut polls = vec![client.poll(&mut listener).await];
    drive(&mut wire).await;
    for _ in 0..4 {
        polls.push(client.poll(&mut listener).await);
    }
    let mut heard = task::spawn(wire.receive());
    while heard.poll().is_pending() && heard.is_woken() {}
    let _post = client.post(&mut listener, r#"17:42["message","x"]"#).await;
    assert!(heard.is_woken());
    let Poll::Ready(Some(Ok(said))) = heard.poll() else { panic!("nothing was heard") };
    assert_eq!(said, "x");
}

#[tokio::test]
async fn a_client_can_go_on_over_websocket_while_nothing_is_received_from_it() {
    let mut listener = listen_as_usual().await;
    let (mut wire, client) = poller(&mut listener).await;
    let body = r#"19:42["message","one"]19:42["message","two"]"#;
    let post = client.post(&mut listener, body).await;
    assert_eq!(receive(&mut wire).await, "one");
    // It has enough to hear first, and stops polling before it has heard it.
    wire.send(&Bytes::from_static(b"waits"));
    let mut upgraded = client.upgrade(&mut listener).await;
    upgraded.send(Message::text("2probe")).await.unwrap();
    let flush = async |wire: &mut SocketIoWire| {
        for _ in 0..20 {
            let _ = task::spawn(wire.flush()).poll();
            tokio::task::yield_now().await;
        }
    };
    flush(&mut wire).await;
    assert_eq!(text(&mut upgraded).await, "3probe");
    assert_eq!(answer(post).await.1, "ok");
    upgraded.feed(Message::text("5")).await.unwrap();
    upgraded.send(Message::text(r#"42["message","three"]"#)).await.unwrap();
    flush(&mut wire).await;
    assert_eq!(text(&mut upgraded).await, r#"42["message","waits"]"#);
    assert_eq!(receive(&mut wire).await, "two");
    wire.send(&Bytes::from_static(b"later"));
    assert_eq!(receive(&mut wire).await, "three");
    assert_eq!(wire.kind(), "websocket");
    wire.flush().await.unwrap();
    assert_eq!(text(&mut upgraded).await, r#"42["message","later"]"#);
}
