//! Chat servers, each a process of its own, that stop and start again in the same moment while people talk.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use shaddock::testing::client::{Client, Pushes};
use tokio::time::timeout;

use super::{PATIENCE, Place, broker, started, terminate};

const SERVERS: &str = r#"{
    "gate": [{ "id": "gate-1", "clientPort": 0, "frontend": true }],
    "connector": [
        { "id": "connector-1", "clientPort": 0, "frontend": true },
        { "id": "connector-2", "clientPort": 0, "frontend": true }
    ],
    "chat": [{ "id": "chat-1" }, { "id": "chat-2" }, { "id": "chat-3" }, { "id": "chat-4" }]
}"#;

/// Two people in each.
const ROOMS: [&str; 6] = ["attic", "cellar", "garden", "hall", "kitchen", "lobby"];
const NAMES: [&str; 2] = ["al", "py"];

/// How often each of three stops and starts again.
const TIMES: usize = 3;

/// What somebody says at last.
const END: &str = "good-bye";

#[tokio::test]
async fn chat_servers_that_start_again_at_once_lose_no_request_and_no_line() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new("changes", SERVERS);
    let url = place.start_broker(&broker, "-js");
    let start = |place: &Place, servers: &[&str]| {
        place.chat(&[&["start"], servers, &["--cluster", &url]].concat())
    };
    for servers in [&["gate-1", "connector-1"][..], &["connector-2"], &["chat-4"]] {
        place.start(start(&place, servers));
    }
    let changing = ["chat-1", "chat-2", "chat-3"].map(|server| {
        let again: Vec<_> = (0..TIMES).map(|_| start(&place, &[server])).collect();
        (started(start(&place, &[server])), again)
    });
    let mut people = Vec::new();
    for room in ROOMS {
        for name in NAMES {
            let client = place.login(name, room).await.expect("all are let in");
            let pushes = client.pushes("onChat");
            people.push((client, pushes));
        }
    }
    let have_changed = AtomicBool::new(false);
    let talks = people.into_iter().map(async |(client, pushes)| {
        let (said, heard) = tokio::join!(talk(&client, &have_changed), listen(pushes));
        (said, heard)
    });
    let changes = async {
        place.processes.extend(join_all(changing.into_iter().map(change)).await);
        have_changed.store(true, Ordering::Relaxed);
    };
    let (talks, ()) = tokio::join!(join_all(talks), changes);
    for of_room in talks.chunks(NAMES.len()) {
        let said = of_room.iter().map(|(said, _)| said.clone());
        let said: BTreeMap<_, _> = NAMES.map(str::to_owned).into_iter().zip(said).collect();
        for (name, (_, heard)) in NAMES.iter().zip(of_room) {
            assert!(*heard == said, "{name} heard {heard:?} of {said:?}");
        }
    }
}

/// Stops a process, and starts it again with each of these.
async fn change((mut process, again): (Child, Vec<Command>)) -> Child {
    let changed = tokio::task::spawn_blocking(move || {
        for command in again {
            assert!(terminate(&mut process), "it stops in order");
            process = started(command);
        }
        process
    });
    changed.await.unwrap()
}

/// Says one thing after another until servers have changed, and gives what it said. Nothing is checked before that, for
/// processes that are being started would stay behind.
async fn talk(client: &Client, have_changed: &AtomicBool) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let is_last = have_changed.load(Ordering::Relaxed);
        let line = if is_last { END.to_owned() } else { said.len().to_string() };
        let say = json!({ "content": line, "target": "*" });
        let answer = client.request::<Value>("chat.chatHandler.send", say).await;
        let is_answered = answer.as_ref().is_ok_and(|answer| *answer == json!({}));
        said.push(if is_answered { line } else { format!("{line} was refused: {answer:?}") });
        if is_last {
            return said;
        }
    }
}

/// Gives what everybody in the room said until all have said their last, or nothing comes any more.
async fn listen(mut pushes: Pushes) -> BTreeMap<String, Vec<String>> {
    let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut left = NAMES.len();
    while 0 < left
        && let Ok(Some(push)) = timeout(PATIENCE, pushes.next()).await
    {
        let said: Value = push.json().unwrap();
        let [from, msg] = ["from", "msg"].map(|field| said[field].as_str().unwrap().to_owned());
        left -= usize::from(msg == END);
        heard.entry(from).or_default().push(msg);
    }
    heard
}
