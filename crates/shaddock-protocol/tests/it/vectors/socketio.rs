//! Texts over Socket.IO as pomelo's connector speaks them.

use std::time::Instant;

use serde_json::{Value, json};
use shaddock_protocol::socketio::{Connector, Limits, Server};

use super::app::App;
use super::{Judge, cases, text};

#[test]
fn socketio_goes_as_recorded() {
    let mut judge = Judge::default();
    let server = Server::new(&Connector::new(Limits::default()));
    let mut app = App::over(server, Instant::now());
    for case in cases("sio") {
        let units: Vec<u16> = serde_json::from_value(case["send_utf16"].clone()).unwrap();
        let said = String::from_utf16(&units).unwrap();
        let mut heard: Vec<Value> = Vec::new();
        for sent in app.tell(said.into()) {
            heard.push(String::from_utf8(sent.into()).unwrap().into());
        }
        if app.is_closed() {
            heard.push(json!({ "disconnect": "io server disconnect" }));
        }
        judge.hear(text(&case["id"]), &heard.into(), &case["recv"]);
    }
    judge.close("texts over Socket.IO", 8, 1, 0);
}
