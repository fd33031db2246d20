//! pomelo's protocol in datagrams.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock::config::Overrides;
use shaddock_protocol::pomelo::{Client as Machine, ClientEvent, ClientOptions};
use tokio::net::UdpSocket;

use crate::{address, start};

/// A client in datagrams: one for each package.
struct Client {
    socket: UdpSocket,
    machine: Machine,
    last: u32,
    /// Whether it answers heartbeats.
    is_beating: bool,
}

impl Client {
    async fn connect(to: SocketAddr) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(to).await.unwrap();
        let machine = Machine::new(ClientOptions::default(), Instant::now());
        let mut client = Client { socket, machine, last: 0, is_beating: true };
        assert!(matches!(client.event().await, ClientEvent::Ready(_)));
        client
    }

    async fn event(&mut self) -> ClientEvent {
        loop {
            let event = self.machine.poll_event(Instant::now());
            while let Some(bytes) = self.machine.poll_transmit() {
                let is_beat = bytes[0] == 3;
                if self.is_beating || !is_beat {
                    self.socket.send(&bytes).await.unwrap();
                }
            }
            if let Some(event) = event {
                return event;
            }
            let wait = self.machine.poll_timeout().map(|at| at - Instant::now().min(at));
            let mut datagram = vec![0; 65_536];
            let received = self.socket.recv(&mut datagram);
            match tokio::time::timeout(wait.unwrap_or(Duration::from_secs(60)), received).await {
                Ok(len) => {
                    datagram.truncate(len.unwrap());
                    self.machine.receive(Bytes::from(datagram), Instant::now());
                }
                Err(_) => self.machine.handle_timeout(Instant::now()),
            }
        }
    }

    async fn request(&mut self, route: &str, body: Value) -> Value {
        self.last += 1;
        let id = self.last.try_into().unwrap();
        let bytes = self.machine.request(id, route, &body.to_string().into()).unwrap();
        self.socket.send(&bytes).await.unwrap();
        loop {
            if let ClientEvent::Response { body, .. } = self.event().await {
                return serde_json::from_slice(&body).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_client_logs_in_asks_and_is_pushed_to() {
    let running = start(Overrides::default()).await;
    let mut client = Client::connect(address(&running, "udp")).await;
    let bound = client.request("connector.testHandler.bind", json!({ "uid": "u" })).await;
    assert_eq!(bound, json!({ "code": 200, "uid": "u" }));
    let who = client.request("area.areaHandler.who", json!({})).await;
    assert_eq!(who["sid"], "connector-udp");
    client.last += 1;
    let push = json!({ "route": "onPush", "body": { "a": 1 } }).to_string();
    let id = client.last.try_into().unwrap();
    let bytes = client.machine.request(id, "connector.testHandler.push", &push.into()).unwrap();
    client.socket.send(&bytes).await.unwrap();
    let ClientEvent::Push { route, body } = client.event().await else { panic!("no push first") };
    assert_eq!((&*route, &body[..]), ("onPush", &br#"{"a":1}"#[..]));
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_client_that_falls_silent_is_gone() {
    let running = start(Overrides::default()).await;
    let udp = running.app().servers();
    let udp = udp.iter().find(|server| server.id().as_str() == "connector-udp").unwrap();
    let mut client = Client::connect(address(&running, "udp")).await;
    client.request("connector.testHandler.empty", json!({})).await;
    assert_eq!(udp.session_count(), 1);
    client.is_beating = false;
    while udp.session_count() != 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(running.stop().await);
}
