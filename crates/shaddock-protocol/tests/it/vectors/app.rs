//! The application behind the transcripts, on a server machine.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use shaddock_protocol::pomelo::{Config, Connector, Dictionary, Protos, Server, Tables};
use shaddock_protocol::{CloseReason, Dialect, Event, Hello, Incoming, text};

use super::{VECTORS, text as str_of};

/// One connection to the application.
pub(super) struct App<D> {
    server: D,
    now: Instant,
    full: bool,
    sent: Vec<Bytes>,
    closed: Option<CloseReason>,
}

pub(super) fn connector(name: &str) -> Connector {
    let app = &VECTORS["transcript_app"];
    let options = &app["connectors"][name];
    let dictionary = || {
        let handlers = app["handlers"].as_object().unwrap().keys().map(String::as_str);
        let extra = app["dictionary_json"].as_array().unwrap().iter().map(str_of);
        Arc::new(Dictionary::build(handlers, extra).unwrap())
    };
    let protos = || {
        let (server, client) = (&app["serverProtos_json"], &app["clientProtos_json"]);
        Arc::new(Protos::parse(&server.to_string(), &client.to_string()).unwrap())
    };
    Connector::new(Config {
        heartbeat: options["heartbeat"].as_u64().map(Duration::from_secs),
        tables: Arc::new(Tables {
            dictionary: (options["useDict"] == true).then(dictionary),
            protos: (options["useProtobuf"] == true).then(protos),
        }),
        datagrams: options["type"] == "udp",
        signed: options["useCrypto"] == true,
        ..Config::default()
    })
    .unwrap()
}

impl App<Server> {
    pub(super) fn new(name: &str) -> Self {
        let now = Instant::now();
        let server = Server::new(&connector(name), now);
        let mut app = Self::over(server, now);
        app.full = name == "full";
        app
    }
}

impl<D: Dialect> App<D> {
    /// The application behind another dialect.
    pub(super) fn over(server: D, now: Instant) -> Self {
        Self { server, now, full: false, sent: Vec::new(), closed: None }
    }

    /// Gives bytes to the application, and what it sends back.
    pub(super) fn say(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.tell(bytes).concat()
    }

    /// As [`App::say`], with what it sends back in pieces.
    pub(super) fn tell(&mut self, bytes: Vec<u8>) -> Vec<Bytes> {
        self.server.receive(bytes.into(), self.now);
        self.turn()
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, time: Duration) -> Vec<u8> {
        self.now += time;
        if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
        }
        self.turn().concat()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    fn turn(&mut self) -> Vec<Bytes> {
        self.flush();
        while let Some(event) = self.server.poll_event(self.now) {
            match event {
                Event::Handshake(hello) => self.check(&hello),
                Event::Message(message) => self.handle(&message),
                Event::Close(reason) => self.closed = Some(reason),
                Event::Ready | Event::Refused { .. } => {}
            }
            self.flush();
        }
        self.flush();
        std::mem::take(&mut self.sent)
    }

    fn flush(&mut self) {
        while let Some(bytes) = self.server.poll_transmit() {
            self.sent.push(bytes);
        }
    }

    fn check(&mut self, hello: &Hello) {
        let user = hello.user.as_ref();
        if !self.full {
            self.server.accept(None, self.now);
        } else if hello.client_version.as_deref() == Some("old") {
            self.server.refuse(501, &Map::new());
        } else if user.is_some_and(|user| !user["bad"].is_null()) {
            self.server.refuse(500, &Map::new());
        } else {
            let seen = user.map(|user| to_raw_value(&json!({ "seen": user })).unwrap());
            self.server.accept(seen.as_deref(), self.now);
        }
    }

    fn handle(&mut self, message: &Incoming) {
        let body: Value = text::read(&message.body).unwrap();
        let reply = match message.route.as_str() {
            "connector.entryHandler.echo" | "chat.chatHandler.echo" => match body.get("x") {
                Some(x) => json!({ "code": 200, "x": x }),
                None => json!({ "code": 200 }),
            },
            "connector.entryHandler.bind" => json!({ "code": 200 }),
            "connector.entryHandler.failCode" => json!({ "code": 1234, "m": "mine" }),
            "connector.entryHandler.failNoCode" => json!({ "m": "mine", "code": 500 }),
            "connector.entryHandler.none"
            | "connector.entryHandler.zero"
            | "chat.chatHandler.none" => json!({}),
            "connector.entryHandler.num" => json!(42),
            "connector.entryHandler.str" => json!("hi"),
            "connector.entryHandler.arr" => json!([1, 2]),
            "connector.entryHandler.kick" => return self.server.kick(body["reason"].as_str()),
            "connector.entryHandler.kickDefault" => return self.server.kick(Some("kick")),
            "connector.entryHandler.push" => {
                self.push(str_of(&body["route"]), &body["body"]);
                json!({ "code": 200 })
            }
            "connector.entryHandler.burst" => {
                (0..3).for_each(|i| self.push("onPush", &json!({ "i": i })));
                json!({ "code": 200 })
            }
            "connector.entryHandler.pb" => {
                let nums = body.get("nums").cloned().unwrap_or_else(|| json!([]));
                json!({ "code": 200, "text": body["name"], "nums": nums })
            }
            "connector.entryHandler.mpub" => {
                json!({ "topic": "reply", "payload": format!("got {}", str_of(&body["payload"])) })
            }
            "connector.entryHandler.msub" => json!([0, 1]),
            // The member is pomelo's way to tell a handler its route.
            route @ "connector.entryHandler.route" => {
                json!({ "got": { "a": body["a"], "__route__": route } })
            }
            _ => json!({ "code": 500 }),
        };
        if let Some(id) = message.id {
            self.reply(id, message, &reply);
        }
    }

    fn reply(&mut self, id: NonZeroU32, message: &Incoming, body: &Value) {
        let body = text::to_json(body).unwrap();
        self.sent.push(self.server.voice().response(id, &message.route, &body).unwrap());
    }

    /// Sends nothing if the body does not fit.
    fn push(&mut self, route: &str, body: &Value) {
        self.sent.extend(self.server.voice().push(route, &text::to_json(body).unwrap()));
    }
}
