//! A server by hand: the protocol's machine over a wire, doing what a test says.

use std::num::NonZeroU32;

use bytes::Bytes;
use serde_json::Map;
use serde_json::value::RawValue;
use shaddock_protocol::{
    Dialect, Incoming,
    pomelo::{Connector, Server},
};
use tokio::time::{Instant, sleep_until};

use super::*;

pub(crate) struct TestServer<W> {
    wire: W,
    machine: Server,
}

/// The message of an event that must be one, and its body.
pub(crate) fn asked(event: Event) -> (Incoming, Value) {
    let Event::Message(message) = event else { panic!("{event:?}") };
    let body = serde_json::from_slice(message.body.as_ref()).unwrap();
    (message, body)
}

impl<W: Wire> TestServer<W> {
    pub(crate) fn new(wire: W, config: Config) -> TestServer<W> {
        TestServer { wire, machine: Server::new(&Connector::new(config).unwrap(), now()) }
    }

    /// What the client does next; closes when the machine says so, or when the client is gone.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            let event = self.machine.poll_event(now());
            while let Some(bytes) = self.machine.poll_transmit() {
                self.wire.send(&bytes);
            }
            self.wire.flush().await.ok()?;
            if event.is_some() {
                return event;
            }
            let timeout = self.machine.poll_timeout();
            tokio::select! {
                chunk = self.wire.receive() => self.machine.receive(chunk?.ok()?, now()),
                () = async { sleep_until(Instant::from_std(timeout.unwrap())).await }, if timeout.is_some() => {
                    self.machine.handle_timeout(now());
                }
            }
        }
    }

    /// Shakes hands, with a word for the client if there is one.
    pub(crate) async fn let_in(&mut self, user: Option<Value>) -> Hello {
        let (hello, event) = self.accept(user).await;
        assert!(matches!(event, Some(Event::Ready)));
        hello
    }

    /// The same for a client that may leave at once: says what it does next.
    pub(crate) async fn accept(&mut self, user: Option<Value>) -> (Hello, Option<Event>) {
        let Some(Event::Handshake(hello)) = self.event().await else { panic!("no handshake") };
        let user = user.map(|user| RawValue::from_string(user.to_string()).unwrap());
        self.machine.accept(user.as_deref(), now());
        (hello, self.event().await)
    }

    pub(crate) async fn refuse(&mut self, code: u16) {
        assert!(matches!(self.event().await, Some(Event::Handshake(_))));
        let fields = Map::from_iter([("msg".to_owned(), "go away".into())]);
        self.machine.refuse(code, &fields);
        assert!(matches!(self.event().await, Some(Event::Close(_))));
        self.close().await;
    }

    pub(crate) async fn answer(&mut self, message: &Incoming, body: Value) {
        let id: NonZeroU32 = message.id.expect("a request");
        let bytes = self.machine.voice().response(id, &message.route, &json_bytes(body)).unwrap();
        self.wire.send(&bytes);
        self.wire.flush().await.unwrap();
    }

    pub(crate) async fn push(&mut self, route: &str, body: Value) {
        let bytes = self.machine.voice().push(route, &json_bytes(body)).unwrap();
        self.wire.send(&bytes);
        self.wire.flush().await.unwrap();
    }

    pub(crate) async fn kick(&mut self, reason: Option<&str>) {
        self.machine.kick(reason);
        assert!(matches!(self.event().await, Some(Event::Close(_))));
        self.close().await;
    }

    /// Sends what no machine would.
    pub(crate) async fn send_raw(&mut self, bytes: &'static [u8]) {
        self.wire.send(&Bytes::from_static(bytes));
        self.wire.flush().await.unwrap();
    }

    pub(crate) async fn close(&mut self) {
        self.wire.close().await.unwrap();
    }
}

fn json_bytes(body: Value) -> Bytes {
    Bytes::from(body.to_string())
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
