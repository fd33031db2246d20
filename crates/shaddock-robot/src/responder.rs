//! A server that does next to nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_protocol::pomelo::{Kind, Message, Package, Packages, WireRoute};
use shaddock_transport::{HybridConfig, HybridWire, Wire};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Answers the chat's routes to whoever connects, in one thread: gate, connector and chat server in one, without
/// sessions, checks, heartbeats or anybody who leaves a room before the connection ends.
///
/// It reads and writes as a server of this wire must, and so shows what no server can go below: what is measured of a
/// server beyond that is its own work. Echoes are any routes that end in `echo`. Must run in a
/// [`LocalRuntime`](tokio::runtime::LocalRuntime).
///
/// # Errors
///
/// When no more connections can be accepted.
pub async fn respond(listener: TcpListener) -> io::Result<()> {
    let here = listener.local_addr()?;
    let rooms = Rc::<RefCell<Rooms>>::default();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                stream.set_nodelay(true)?;
                let client = Client { here, rooms: rooms.clone(), mailbox: Rc::default(), room: None };
                clients.spawn_local(client.serve(stream, peer));
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

type Rooms = HashMap<String, Vec<Rc<Mailbox>>>;

#[derive(Default)]
struct Mailbox {
    packages: RefCell<Vec<Bytes>>,
    more: Notify,
}

/// Somebody who does not read for so many pushes hears no more of them.
const MAILBOX: usize = 64 * 1024;

struct Client {
    here: SocketAddr,
    rooms: Rc<RefCell<Rooms>>,
    mailbox: Rc<Mailbox>,
    room: Option<String>,
}

impl Client {
    /// Nothing, when the connection has ended one way or another.
    async fn serve(mut self, stream: TcpStream, peer: SocketAddr) -> Option<()> {
        let mut wire = HybridWire::accept(stream, peer, &HybridConfig::default()).await.ok()?;
        let mut packages = Packages::default();
        loop {
            tokio::select! {
                biased;
                chunk = wire.receive() => {
                    packages.push(chunk?.ok()?);
                    while let Some(package) = packages.next(Package::MAX_BODY).ok()? {
                        if let Some(answer) = self.answer(package)? {
                            wire.send(&answer);
                        }
                    }
                }
                () = self.mailbox.more.notified() => {}
            }
            for package in mem::take(&mut *self.mailbox.packages.borrow_mut()) {
                wire.send(&package);
            }
            wire.flush().await.ok()?;
        }
    }

    /// The answer to a package, if it has one; nothing, if it can't be read.
    fn answer(&mut self, package: Package) -> Option<Option<Bytes>> {
        match package.kind {
            Kind::Handshake => {
                let body = Bytes::from_static(br#"{"code":200,"sys":{}}"#);
                Some(Package { kind: Kind::Handshake, body }.encode().ok())
            }
            Kind::Data => match Message::decode(package.body).ok()? {
                Message::Request { id, route: WireRoute::Text(route), body } => {
                    let body = match route.ends_with("echo") {
                        true => body,
                        false => self.handle(&route, &serde_json::from_slice(&body).ok()?),
                    };
                    Some(Message::Response { id, body }.package().ok())
                }
                _ => Some(None),
            },
            _ => Some(None),
        }
    }

    fn handle(&mut self, route: &str, body: &Value) -> Bytes {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let answer = match route {
            "gate.gateHandler.queryEntry" => {
                json!({ "code": 200, "host": self.here.ip(), "port": self.here.port() })
            }
            "connector.entryHandler.enter" => {
                let mut rooms = self.rooms.borrow_mut();
                rooms.entry(text("rid").to_owned()).or_default().push(self.mailbox.clone());
                self.room = Some(text("rid").to_owned());
                json!({ "users": [text("username")] })
            }
            "chat.chatHandler.send" => {
                let said = json!({ "msg": text("content"), "from": text("from"), "target": text("target") });
                self.push("onChat", &said);
                json!({})
            }
            _ => json!({ "code": 500 }),
        };
        answer.to_string().into()
    }

    fn push(&self, route: &'static str, body: &Value) {
        let route = WireRoute::Text(route.into());
        let push = Message::Push { route, body: body.to_string().into() };
        let push = push.package().expect("the route is short");
        let rooms = self.rooms.borrow();
        let room = self.room.as_ref().and_then(|room| rooms.get(room));
        for member in room.into_iter().flatten() {
            let mut packages = member.packages.borrow_mut();
            if packages.len() < MAILBOX {
                packages.push(push.clone());
                member.more.notify_one();
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut rooms = self.rooms.borrow_mut();
        let Some(rid) = self.room.take() else {
            return;
        };
        if let Some(room) = rooms.get_mut(&rid) {
            room.retain(|member| !Rc::ptr_eq(member, &self.mailbox));
            if room.is_empty() {
                rooms.remove(&rid);
            }
        }
    }
}
