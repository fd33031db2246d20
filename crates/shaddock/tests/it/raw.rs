//! A client that is bytes and nothing more: it does what no real client would.

use bytes::Bytes;
use shaddock::testing::TestApp;
use shaddock_protocol::pomelo::{Kind, Message, Package, Packages, WireRoute};
use shaddock_transport::Wire;
use shaddock_transport::memory::MemoryWire;

/// The handshake of a client that says nothing of itself.
pub(crate) const HANDSHAKE: &str = r#"{"sys":{}}"#;

/// A bare connection to a front-end.
pub(crate) struct Raw {
    wire: MemoryWire,
    packages: Packages,
}

impl Raw {
    /// A connection that has said nothing yet.
    pub(crate) async fn connect(app: &TestApp) -> Raw {
        Raw { wire: app.wire("connector-1").await, packages: Packages::default() }
    }

    /// A connection that is through its handshake.
    pub(crate) async fn enter(app: &TestApp) -> Raw {
        let mut raw = Raw::connect(app).await;
        raw.say(Kind::Handshake, HANDSHAKE).await;
        let answer = raw.package().await.expect("an answer to the handshake");
        assert_eq!(answer.kind, Kind::Handshake);
        raw.say(Kind::Ack, "").await;
        raw
    }

    /// Sends these bytes as one chunk.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        self.wire.send(&bytes.into());
        // The server may have closed already: what it said of that is read all the same.
        let _ = self.wire.flush().await;
    }

    /// Sends one package.
    pub(crate) async fn say(&mut self, kind: Kind, body: &str) {
        self.send(package(kind, body.to_owned())).await;
    }

    /// Sends one request.
    pub(crate) async fn ask(&mut self, id: u32, route: &'static str, body: &'static str) {
        self.send(request(id, route, body)).await;
    }

    /// The next package; `None` when the server has closed.
    pub(crate) async fn package(&mut self) -> Option<Package> {
        loop {
            if let Some(package) =
                self.packages.next(Package::MAX_BODY).expect("a server keeps to the rules")
            {
                return Some(package);
            }
            self.packages.push(self.wire.receive().await?.ok()?);
        }
    }

    /// The next package that is no heartbeat; `None` when the server has closed.
    pub(crate) async fn said(&mut self) -> Option<Package> {
        loop {
            let package = self.package().await?;
            if package.kind != Kind::Heartbeat {
                return Some(package);
            }
        }
    }

    /// The next response: its id and its body.
    pub(crate) async fn answer(&mut self) -> (u32, String) {
        let package = self.said().await.expect("the connection is open");
        match Message::decode(package.body) {
            Ok(Message::Response { id, body }) => (id, String::from_utf8(body.to_vec()).unwrap()),
            other => panic!("no response: {other:?}"),
        }
    }

    /// Waits until the server has closed.
    ///
    /// # Panics
    ///
    /// If it has anything to say before that but heartbeats.
    pub(crate) async fn closed(&mut self) {
        assert_eq!(self.said().await, None);
    }
}

/// The bytes of a package.
pub(crate) fn package(kind: Kind, body: impl Into<Bytes>) -> Bytes {
    Package { kind, body: body.into() }.encode().unwrap()
}

/// The bytes of a request.
pub(crate) fn request(id: u32, route: &'static str, body: &'static str) -> Bytes {
    Message::Request { id, route: WireRoute::Text(route.into()), body: body.into() }
        .package()
        .unwrap()
}

/// The bytes of a notify.
pub(crate) fn notify(route: &'static str, body: &'static str) -> Bytes {
    Message::Notify { route: WireRoute::Text(route.into()), body: body.into() }.package().unwrap()
}
