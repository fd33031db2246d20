//! The whole chat in bad weather, over many seeds: late and lost messages, servers that are cut off, parted or
//! dead, while people come, talk and go. Afterwards everything is as if nothing had been.
//!
//! `SHADDOCK_SEEDS=5000` runs more seeds than usual, and `SHADDOCK_SEED=17` begins with another one than 0.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shaddock::testing::client::Client;
use shaddock::testing::{Chaos, Memory, TestApp, TestClient};
use tokio::runtime::Builder;
use tokio::time::{Duration, sleep, timeout};

use super::config;

/// How many seeds run by default.
const SEEDS: u64 = 100;

const CONNECTORS: [&str; 3] = ["connector-server-1", "connector-server-2", "connector-server-3"];
const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];
const ROOMS: [&str; 4] = ["lobby", "attic", "cellar", "garden"];
const NAMES: [&str; 6] = ["py", "al", "bo", "cy", "di", "ed"];

/// No request takes longer: its deadline begins in its turn, after hooks that find no answer in theirs.
const PATIENCE: Duration = Duration::from_secs(45);

#[test]
fn after_cuts_partitions_and_deaths_everybody_is_where_they_should_be() {
    let number = |name, default| match std::env::var(name) {
        Ok(number) => number.parse().expect("a number of seeds, or a seed"),
        Err(_) => default,
    };
    let first = number("SHADDOCK_SEED", 0);
    for seed in first..first + number("SHADDOCK_SEEDS", SEEDS) {
        let _said = SaySeed(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(scenario(seed));
    }
}

/// Says which seed it was when a test fails.
struct SaySeed(u64);

impl Drop for SaySeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

async fn scenario(seed: u64) {
    let mut random = Random(seed);
    let calm = Chaos { delay: Duration::ZERO..Duration::from_millis(20), ..Chaos::default() };
    let hub = Memory::chaotic(seed, calm.clone());
    let mut town = Town {
        app: TestApp::start_on(chat::app(config()), &hub).await,
        hub_weather: hub,
        people: Vec::new(),
        dead: BTreeSet::new(),
    };
    sleep(Duration::from_secs(4)).await;
    for _ in 0..40 {
        town.trouble(&mut random);
        for _ in 0..random.below(4) {
            town.live(&mut random).await;
        }
        sleep(Duration::from_millis(random.below(1500))).await;
    }
    town.settle(calm).await;
    town.check_members().await;
    town.check_talk().await;
    town.check_nothing_is_left().await;
}

/// The chat and those who use it.
struct Town {
    app: TestApp,
    hub_weather: std::sync::Arc<Memory>,
    people: Vec<Person>,
    /// Servers that are gone for good.
    dead: BTreeSet<&'static str>,
}

struct Person {
    name: &'static str,
    room: &'static str,
    connector: &'static str,
    client: TestClient,
}

impl Town {
    /// Something goes wrong, or gets better.
    fn trouble(&mut self, random: &mut Random) {
        let (connector, chat) = (random.of(&CONNECTORS), random.of(&CHATS));
        let either = [connector, chat][random.below(2) as usize];
        let other = [random.of(&CONNECTORS), random.of(&CHATS)][random.below(2) as usize];
        match random.below(16) {
            0 | 1 => self.app.cut(either),
            2..=4 if !self.dead.contains(either) => self.app.heal(either),
            5 | 6 if either != other => self.app.link(either).part_from(self.app.link(other)),
            7 if either != other => self.app.link(either).meet(self.app.link(other)),
            8 => {
                let delay = Duration::ZERO..Duration::from_millis(1 + random.below(300));
                let loss = [0.0, 0.01, 0.05][random.below(3) as usize];
                let late = [0.0, 0.02][random.below(2) as usize];
                self.hub_weather.change(Chaos { delay, loss, late });
            }
            9 if random.below(4) == 0 && self.dead.is_empty() => {
                // Whoever was connected there notices, and is somebody else's guest from then on.
                self.app.cut(either);
                self.people.retain(|person| person.connector != either);
                self.dead.insert(either);
            }
            _ => {}
        }
    }

    /// Somebody comes, talks or goes.
    async fn live(&mut self, random: &mut Random) {
        let who = random.below(self.people.len().max(1) as u64) as usize;
        match random.below(5) {
            0..=2 => {
                let connector: &'static str = random.of(&CONNECTORS);
                if !self.dead.contains(connector) {
                    let (name, room) = (random.of(&NAMES), random.of(&ROOMS));
                    self.come(name, room, connector).await;
                }
            }
            3 if who < self.people.len() => {
                let content = json!({ "content": "hello", "target": "*" });
                ask(&self.people[who].client, "chat.chatHandler.send", content).await;
            }
            4 if who < self.people.len() => self.people.swap_remove(who).client.leave().await,
            _ => {}
        }
    }

    /// Somebody enters; whoever is refused goes again. Says whether they are in.
    async fn come(
        &mut self,
        name: &'static str,
        room: &'static str,
        connector: &'static str,
    ) -> bool {
        let options = Client::builder().request_timeout(PATIENCE);
        let client = self.app.connect_as(connector, options).await;
        let body = json!({ "username": name, "rid": room });
        match ask(&client, "connector.entryHandler.enter", body).await {
            Some(reply) if reply.get("users").is_some() => {
                self.people.push(Person { name, room, connector, client });
                true
            }
            _ => {
                client.leave().await;
                false
            }
        }
    }

    /// All that can be well is well, and there was time to find out.
    async fn settle(&mut self, calm: Chaos) {
        let all: Vec<_> = CONNECTORS.iter().chain(&CHATS).chain(&["gate-server-1"]).collect();
        for server in &all {
            for other in &all {
                self.app.link(server).meet(self.app.link(other));
            }
            if !self.dead.contains(**server) {
                self.app.heal(server);
            }
        }
        self.hub_weather.change(calm);
        sleep(Duration::from_secs(90)).await;
        let mut stayed = Vec::new();
        for person in self.people.drain(..) {
            if timeout(Duration::ZERO, person.client.closed()).await.is_err() {
                stayed.push(person);
            }
        }
        self.people = stayed;
    }

    /// Who is in which room on which server.
    fn rooms(&self) -> BTreeMap<String, Vec<(String, Vec<String>)>> {
        let mut rooms: BTreeMap<String, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for server in self.app.app().servers() {
            if self.dead.contains(server.id().as_str()) {
                continue;
            }
            let channels = server.channels();
            for room in channels.names() {
                let channel = channels.get(&room).expect("it was just there");
                let mut uids: Vec<_> = channel.uids().iter().map(ToString::to_string).collect();
                uids.sort();
                rooms.entry(room).or_default().push((server.id().to_string(), uids));
            }
        }
        rooms
    }

    /// No ghost, nobody lost, nobody twice, and each room on one server.
    async fn check_members(&self) {
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Person { name, room, .. } in &self.people {
            expected.entry((*room).to_owned()).or_default().push(format!("{name}*{room}"));
        }
        let rooms = self.rooms();
        for (room, uids) in &mut expected {
            uids.sort();
            let mut once = uids.clone();
            once.dedup();
            assert_eq!(*uids, once, "somebody is logged in twice");
            let homes = rooms.get(room).unwrap_or_else(|| panic!("{room} is nowhere: {uids:?}"));
            assert_eq!(homes.len(), 1, "{room}, where {uids:?} should be, is on {homes:?}");
            assert_eq!(homes[0].1, *uids, "those in {room}");
        }
        assert_eq!(rooms.len(), expected.len(), "{rooms:?}");
    }

    /// Whoever speaks is heard by all in the room.
    async fn check_talk(&mut self) {
        for at in 0..self.people.len() {
            self.people.iter_mut().for_each(|person| drop(person.client.pushes()));
            let speaker = &self.people[at];
            let (name, room) = (speaker.name, speaker.room);
            let content = json!({ "content": "hello", "target": "*" });
            let reply = ask(&speaker.client, "chat.chatHandler.send", content).await;
            assert_eq!(reply, Some(json!({})), "{name} in {room}");
            sleep(Duration::from_millis(100)).await;
            let said =
                ("onChat".to_owned(), json!({ "msg": "hello", "from": name, "target": "*" }));
            for person in &mut self.people {
                let heard = person.client.pushes();
                let expected = if person.room == room { vec![said.clone()] } else { vec![] };
                assert_eq!(heard, expected, "{} in {}", person.name, person.room);
            }
        }
    }

    /// When all have gone nothing is left of them, and every name is free.
    async fn check_nothing_is_left(&mut self) {
        for person in std::mem::take(&mut self.people) {
            person.client.leave().await;
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(self.rooms(), BTreeMap::new());
        for server in self.app.app().servers() {
            let gone = self.dead.contains(server.id().as_str());
            assert!(gone || server.session_count() == 0, "sessions at {}", server.id());
        }
        let alive = CONNECTORS.into_iter().find(|connector| !self.dead.contains(connector));
        for name in NAMES {
            for room in ROOMS {
                let came = self.come(name, room, alive.expect("one is alive")).await;
                assert!(came, "{name} can't come into {room}");
            }
        }
    }
}

/// Asks, and is answered in time or finds the connection closed.
async fn ask(client: &TestClient, route: &str, body: Value) -> Option<Value> {
    match client.client().request::<Value>(route, body).await {
        Ok(reply) => Some(reply),
        Err(error) => {
            let closed = timeout(Duration::from_secs(1), client.closed()).await;
            assert!(closed.is_ok(), "{route} is stuck: {error}");
            None
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn of<'a>(&mut self, some: &[&'a str]) -> &'a str {
        some[self.below(some.len() as u64) as usize]
    }
}
