//! The README's way from one process to three machines.

use serde_json::Value;

use super::{Place, broker, change, terminate, text};

/// Line by line, all of the machines this one.
#[tokio::test]
async fn the_readmes_lines_work() {
    let Some(broker) = broker() else { return };
    let readme = text("README.md");
    let (_, section) = readme.split_once("## On several machines").unwrap();
    let (lines, _) = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap();
    let lines: Vec<_> = lines.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    let [alone, nats, machines @ ..] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((*alone, machines.len()), ("chat", 3), "{lines:?}");

    let mut place = Place::new("readme", &development(&text("examples/chat/config/servers.json")));
    place.start(place.chat(&[]));
    place.two_talk().await;
    let mut process = place.processes.pop().unwrap();
    assert!(terminate(&mut process));

    let nats = nats.strip_prefix("nats-server ").expect("the second line is a broker's");
    let url = place.start_broker(&broker, nats);
    for line in machines {
        let line = change(line, "nats://10.0.0.5:4222", &url);
        let line = line.strip_prefix("chat ").expect("the chat's command");
        place.start(place.chat(&line.split(' ').collect::<Vec<_>>()));
    }
    place.two_talk().await;
}

/// The part of a servers.json that is for development.
fn development(servers: &str) -> String {
    serde_json::from_str::<Value>(servers).unwrap()["development"].to_string()
}
