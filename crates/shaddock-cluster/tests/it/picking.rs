//! Which server a key belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use shaddock_cluster::contract::Witness;
use shaddock_cluster::memory::Memory;
use shaddock_cluster::{Config, Kind, Node, State};
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

#[tokio::test(start_paused = true)]
async fn a_suspect_keeps_its_keys_but_gets_nothing_else() {
    let engine = Memory::new();
    let cut = engine.connect();
    let config = |n| Config::new(format!("chat-server-{n}").parse().unwrap(), kind("chat"));
    let _first = Witness::join(engine.clone(), config(1)).await.unwrap();
    let second = Witness::join(cut.clone(), config(2)).await.unwrap();
    let gate = join(&engine, "gate-1", "gate").await;
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
