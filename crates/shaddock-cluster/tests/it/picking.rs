//! Which server a key belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use shaddock_cluster::contract::Witness;
use shaddock_cluster::memory::Memory;
use shaddock_cluster::{Config, Kind, Node, State, Timings};
use tokio::time::Duration;

use crate::nodes::{join, kind};

#[tokio::test(start_paused = true)]
async fn keys_go_where_they_always_went() {
    // Worked out from the description, by another program.
    let engine = Memory::new();
    let _servers = chats(&engine, 3).await;
    let gate = join(&engine, "gate-1", "gate").await;
    for (key, server) in EXPECTED {
        let picked = gate.node.pick(&kind("chat"), key.as_bytes()).unwrap();
        assert_eq!(picked.id.as_str(), *server, "{key}");
    }
    assert!(gate.node.pick(&kind("nothing"), b"lobby").is_none());
    assert!(gate.node.any(&kind("nothing")).is_none());
}

#[tokio::test(start_paused = true)]
async fn keys_spread_and_only_those_of_the_gone_move() {
    let engine = Memory::new();
    let servers = chats(&engine, 5).await;
    let gate = join(&engine, "gate-1", "gate").await;
    let before = owners(&gate.node);
    let mut shares = BTreeMap::<&str, usize>::new();
    for owner in before.values() {
        *shares.entry(owner).or_default() += 1;
    }
    assert!(
        shares.len() == 5 && shares.values().all(|share| (160..240).contains(share)),
        "{shares:?}"
    );
    servers[1].node.leave().await;
    gate.node.members().until(|members| members.of_kind(&kind("chat")).len() == 4).await;
    for (key, owner) in owners(&gate.node) {
        let stayed = before[&key] == owner;
        assert_eq!(stayed, before[&key] != "chat-server-2", "{key}");
    }
}

/// Two chat servers, the second of which can be cut off, and a gate.
async fn two_and_a_gate() -> (Arc<Memory>, [Witness; 3]) {
    let engine = Memory::new();
    let cut = engine.connect();
    let config = |n| Config::new(format!("chat-server-{n}").parse().unwrap(), kind("chat"));
    let first = Witness::join(engine.clone(), config(1)).await.unwrap();
    let second = Witness::join(cut.clone(), config(2)).await.unwrap();
    let gate = join(&engine, "gate-1", "gate").await;
    (cut, [first, second, gate])
}

#[tokio::test(start_paused = true)]
async fn a_suspect_keeps_its_keys_but_gets_nothing_else() {
    let (cut, [_first, second, gate]) = two_and_a_gate().await;
    let before = owners(&gate.node);
    let turns = |node: &Node| [(); 10].map(|()| node.any(&kind("chat")).unwrap().id.to_string());
    assert!(turns(&gate.node).contains(&"chat-server-2".to_owned()));
    cut.cut();
    let id = &second.node.peer().id;
    gate.node.members().until(|members| members.get(id).unwrap().state == State::Suspect).await;
    assert_eq!(owners(&gate.node), before);
    assert!(!turns(&gate.node).contains(&"chat-server-2".to_owned()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    cut.heal();
    gate.node.members().until(|members| members.get(id).unwrap().state == State::Alive).await;
    assert!(turns(&gate.node).contains(&"chat-server-2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn loads_are_as_old_as_a_beat() {
    let engine = Memory::new();
    let servers = chats(&engine, 2).await;
    let gate = join(&engine, "gate-1", "gate").await;
    let chat = &servers[0].node.peer().id;
    let beat = Timings::default().beat;
    // Not at the moment of a beat.
    tokio::time::sleep(beat / 4).await;
    for load in [7, 3, 8] {
        let before = gate.node.members().load(chat);
        servers[0].is_busy_with(load);
        tokio::time::sleep(beat / 2).await;
        assert_eq!(gate.node.members().load(chat), before, "no beat comes before its time");
        tokio::time::sleep(beat / 2).await;
        assert_eq!(gate.node.members().load(chat), Some(load));
    }
}

#[tokio::test(start_paused = true)]
async fn the_less_loaded_get_more_and_nobody_gets_all() {
    let engine = Memory::new();
    let servers = chats(&engine, 4).await;
    let gate = join(&engine, "gate-1", "gate").await;
    for (server, load) in servers.iter().zip([30, 20, 10, 0]) {
        server.is_busy_with(load);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Of sixteen draws of two from four, those that have this one and no lighter one.
    let expected =
        [("chat-server-1", 1), ("chat-server-2", 3), ("chat-server-3", 5), ("chat-server-4", 7)];
    for (server, of_sixteen) in expected {
        let share = shares(&gate.node)[server];
        let wanted = of_sixteen * 1_000 / 16;
        assert!(share.abs_diff(wanted) < 60, "{server}: {share} of 1000");
    }
    assert!(gate.node.members().lighter(&kind("nothing")).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_of_its_load_gets_its_share_and_a_suspect_nothing() {
    let (cut, [_first, second, gate]) = two_and_a_gate().await;
    second.is_busy_with(9);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of_first = shares(&gate.node)["chat-server-1"];
    assert!(of_first.abs_diff(500) < 60, "{of_first} of 1000");
    cut.cut();
    let id = &second.node.peer().id;
    gate.node.members().until(|members| members.get(id).unwrap().state == State::Suspect).await;
    assert_eq!(shares(&gate.node)["chat-server-1"], 1_000);
}

/// How often each is drawn.
fn shares(node: &Node) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for _ in 0..1_000 {
        let drawn = node.members().lighter(&kind("chat")).unwrap();
        *shares.entry(drawn.id.to_string()).or_default() += 1;
    }
    shares
}

const EXPECTED: &[(&str, &str)] = &[
    ("", "chat-server-3"),
    ("lobby", "chat-server-1"),
    ("room-1", "chat-server-3"),
    ("room-2", "chat-server-1"),
    ("room-3", "chat-server-1"),
    ("room-4", "chat-server-2"),
    ("room-5", "chat-server-1"),
    ("张三", "chat-server-1"),
];

async fn chats(engine: &Arc<Memory>, count: usize) -> Vec<Witness> {
    let mut servers = Vec::new();
    for n in 1..=count {
        servers.push(join(engine, &format!("chat-server-{n}"), "chat").await);
    }
    servers
}

fn owners(node: &Node) -> BTreeMap<String, String> {
    let chat: Kind = kind("chat");
    let owner = |key: &str| node.pick(&chat, key.as_bytes()).unwrap().id.to_string();
    (0..1000).map(|n| format!("room-{n}")).map(|key| (key.clone(), owner(&key))).collect()
}
