//! Whole conversations.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shaddock_protocol::pomelo::{Client, ClientEvent, ClientOptions};
use shaddock_protocol::text as wire_text;

use super::app::App;
use super::{Judge, VECTORS, bytes, cases, hex, text};

#[test]
fn conversations_go_as_recorded() {
    let mut judge = Judge::default();
    let mut conversations = 0;
    for case in cases("transcripts") {
        if !judge.takes(case) {
            continue;
        }
        conversations += 1;
        let connector = text(&case["connector"]);
        let mut app = App::new(connector);
        for (step, exchange) in case["steps"].as_array().unwrap().iter().enumerate() {
            if connector == "udp" && app.is_closed() {
                // Nobody sees the end of a connection; the next datagram makes a new one.
                app = App::new(connector);
            }
            let said = exchange.get("send").or_else(|| exchange.get("send_text_hex"));
            let mut heard = said.map(|said| app.say(bytes(said))).unwrap_or_default();
            if let Some(time) = exchange["wait_ms"].as_u64() {
                heard.extend(app.wait(Duration::from_millis(time)));
            }
            let recorded: Vec<u8> =
                exchange["recv"].as_array().unwrap().iter().flat_map(bytes).collect();
            let show = |bytes: &[u8], closed: bool| json!({ "hear": hex(bytes), "closed": closed });
            judge.hear(
                &format!("{} step {step}", text(&case["id"])),
                &show(&heard, app.is_closed() && connector != "udp"),
                &show(&recorded, exchange.get("closed").is_some()),
            );
        }
    }
    assert_eq!(conversations, 37);
    judge.close("steps of transcripts", 151, 10, 3);
}

#[test]
fn the_full_handshake_is_the_recorded_one() {
    let mut app = App::new("full");
    let hello = br#"{"sys":{"type":"t","version":"1.0"},"user":{"a":1}}"#;
    let heard = app.say([&[1, 0, 0, 51][..], hello].concat());
    let recorded = VECTORS["handshake_full"]["json"].to_string();
    assert_eq!(str::from_utf8(&heard[4..]).unwrap(), recorded);
}

#[test]
fn the_browser_client_is_answered_as_recorded() {
    let mut judge = Judge::default();
    let mut app = App::new("full");
    let mut now = 0;
    let mut heard = Vec::new();
    for (index, frame) in VECTORS["jsclient"]["frames"].as_array().unwrap().iter().enumerate() {
        let at = frame["t"].as_u64().unwrap();
        heard.extend(app.wait(Duration::from_millis(at - now)));
        now = at;
        let frame_bytes = bytes(&frame["hex"]);
        if frame["dir"] == "client" {
            heard.extend(app.say(frame_bytes));
            continue;
        }
        // One package of what we have said so far, by its own length.
        let rest = heard
            .split_off((4 + usize::from(heard[2]) * 256 + usize::from(heard[3])).min(heard.len()));
        let package = std::mem::replace(&mut heard, rest);
        judge.hear(&format!("jsclient {index}"), &hex(&package), &frame["hex"]);
    }
    assert_eq!((heard.len(), app.is_closed()), (0, false));
    judge.close("frames to the browser client", 14, 3, 0);
}

#[test]
fn our_client_hears_what_the_browser_client_heard() {
    let now = Instant::now();
    let mut client = Client::new(ClientOptions::default(), now);
    let requested = ["bind", "echo", "pb", "push", "push", "push", "echo"];
    let mut events = Vec::new();
    for frame in VECTORS["jsclient"]["frames"].as_array().unwrap() {
        if frame["dir"] == "client" {
            continue;
        }
        client.receive(bytes(&frame["hex"]).into(), now);
        while let Some(event) = client.poll_event(now) {
            events.push(match event {
                ClientEvent::Ready(welcome) => {
                    for (id, method) in (1..).zip(requested) {
                        let route = format!("connector.entryHandler.{method}");
                        let body = wire_text::to_json(&json!({ "name": "x" })).unwrap();
                        let id: u32 = id;
                        client.request(id.try_into().unwrap(), &route, &body).unwrap();
                    }
                    json!(["hscb", welcome.user.unwrap().to_string()])
                }
                ClientEvent::Response { id, body } => {
                    let method = requested[usize::try_from(id).unwrap() - 1];
                    let what = format!("resp connector.entryHandler.{method}");
                    json!([what, String::from_utf8(body.into()).unwrap()])
                }
                ClientEvent::Push { route, body } => {
                    json!([&*route, String::from_utf8(body.into()).unwrap()])
                }
                other => panic!("{other:?}"),
            });
        }
    }
    let recorded: Vec<Value> = VECTORS["jsclient"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            event.as_array().unwrap().iter().filter(|part| part.is_string()).cloned().collect()
        })
        .filter(|event: &Value| event != &json!(["init"]))
        .collect();
    assert_eq!(events, recorded);
}
