//! MQTT as pomelo's connector speaks it.

use std::time::Instant;

use serde_json::{Value, json};
use shaddock_protocol::mqtt::{Config, Connector, Server};
use shaddock_protocol::{Dialect, Event};

use super::app::App;
use super::{Judge, bytes, cases, hex, refused, text};

fn server(now: Instant) -> Server {
    let route = |method| format!("connector.entryHandler.{method}").parse().unwrap();
    let connector = Connector::new(Config::new(route("mpub"), route("msub")));
    Server::new(&connector, now)
}

#[test]
fn mqtt_goes_as_recorded() {
    let now = Instant::now();
    let mut judge = Judge::default();
    let mut app = App::over(server(now), now);
    for case in cases("mqtt") {
        let heard = app.say(bytes(&case["send"]));
        judge.hear(text(&case["id"]), &hex(&heard), &case["recv"]);
    }
    judge.close("steps over MQTT", 5, 0, 0);
}

#[test]
fn a_push_is_written_as_recorded() {
    let server = server(Instant::now());
    let mut judge = Judge::default();
    for case in cases("mqtt_publish_encoder") {
        let pushed = server.voice().push("onAny", &case["msg"].to_string().into());
        let actual = pushed.map_or_else(|_| refused(), |packet| hex(&packet));
        let recorded = match &case["hex"] {
            Value::Null => refused(),
            packet => packet.clone(),
        };
        judge.hear(text(&case["id"]), &actual, &recorded);
    }
    judge.close("publishes to MQTT clients", 9, 0, 0);
}

#[test]
fn what_is_pushed_comes_in_again() {
    for case in cases("mqtt_publish_encoder") {
        let packet = bytes(&case["hex"]);
        if packet.is_empty() {
            continue;
        }
        let now = Instant::now();
        let mut server = server(now);
        server.receive(bytes(&json!("101100064d51497364700302003c0003616263")).into(), now);
        assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
        server.accept(None, now);
        assert!(matches!(server.poll_event(now), Some(Event::Ready)));
        server.receive(packet.clone().into(), now);
        let Some(Event::Message(message)) = server.poll_event(now) else { panic!("{case}") };
        assert_eq!(server.voice().push("", &message.body).unwrap(), packet);
    }
}
