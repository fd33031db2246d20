//! The whole chat in bad weather, over many seeds: late and lost messages, servers that are cut off, parted or
//! dead, stopped and added, while people come, talk and go. Afterwards everything is as if nothing had been. Where servers
//! stop and are added, one by one or several at once, and nothing else is wrong, nothing is lost meanwhile, either.
//!
//! `SHADDOCK_SEEDS=5000` runs more seeds than usual, and `SHADDOCK_SEED=17` begins with another one than 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use shaddock::ServerHandle;
use shaddock::testing::client::Client;
use shaddock::testing::{Chaos, Memory, TestApp, TestClient};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::config;

/// How many seeds run by default.
const SEEDS: u64 = 100;

const CONNECTORS: [&str; 3] = ["connector-server-1", "connector-server-2", "connector-server-3"];
const CHATS: [&str; 3] = ["chat-server-1", "chat-server-2", "chat-server-3"];
const ROOMS: [&str; 4] = ["lobby", "attic", "cellar", "garden"];
const NAMES: [&str; 6] = ["py", "al", "bo", "cy", "di", "ed"];

/// How many lines each says while servers change.
const LINES: usize = 80;

/// No request takes longer: its deadline begins in its turn, after hooks that find no answer in theirs.
const PATIENCE: Duration = Duration::from_secs(45);

#[test]
fn after_cuts_partitions_and_deaths_everybody_is_where_they_should_be() {
    for_seeds(scenario);
}

#[test]
fn while_servers_stop_and_are_added_nothing_that_was_accepted_is_lost_or_doubled() {
    for_seeds(async |seed| change_of_servers(seed, 1, 1500).await);
}

#[test]
fn while_servers_stop_and_are_added_at_once_nothing_that_was_accepted_is_lost_or_doubled() {
    for_seeds(async |seed| change_of_servers(seed, CHATS.len() - 1, 300).await);
}

fn for_seeds(scenario: impl AsyncFn(u64)) {
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
    let mut town = Town::start(seed, calm.clone(), &[]).await;
    for _ in 0..40 {
        town.trouble(&mut random);
        for _ in 0..random.below(4) {
            town.live(&mut random).await;
        }
        sleep(Duration::from_millis(random.below(1500))).await;
    }
    town.settle(calm).await;
    town.check().await;
}

/// Every chat server is stopped and added again, so many `at_once` that at least one is always there, at most so many
/// milliseconds after the last time, while some talk and others come and go. The last one has a process of its own.
async fn change_of_servers(seed: u64, at_once: usize, pause: u64) {
    let mut random = Random(seed);
    let calm = Chaos {
        delay: Duration::ZERO..Duration::from_millis(1 + random.below(60)),
        ..Chaos::default()
    };
    let [together @ .., apart] = &CHATS;
    let mut town = Town::start(seed, calm, &[apart]).await;
    for (number, name) in NAMES.into_iter().enumerate() {
        let room = if number < 4 { "lobby" } else { random.of(&ROOMS) };
        assert!(town.come(name, room, random.of(&CONNECTORS)).await);
    }
    town.people.iter_mut().for_each(|person| drop(person.client.pushes()));
    let mut process = town.processes.pop().expect("there is one");
    let Town { app, hub, people, .. } = &town;
    let thought = Duration::from_millis(random.below(50));
    let talks = people.iter().map(async |person| {
        for line in 0..LINES {
            sleep(thought).await;
            let content = json!({ "content": format!("{} {line}", person.name), "target": "*" });
            let reply = ask(&person.client, "chat.chatHandler.send", content).await;
            assert_eq!(reply, Some(json!({})), "{} in {}", person.name, person.room);
        }
    });
    let permits = Semaphore::new(at_once);
    let changes = together.iter().zip(1..).map(async |(chat, number)| {
        let mut random = Random(seed + number);
        for _ in 0..2 {
            sleep(Duration::from_millis(random.below(pause))).await;
            let _permit = permits.acquire().await;
            let app = app.app();
            let (id, entry) = (chat.parse().unwrap(), app.config().server(chat).unwrap().clone());
            assert!(app.stop_server(&id).await.unwrap(), "{chat} stops in order");
            sleep(Duration::from_millis(random.below(500))).await;
            app.add_server(entry).await.unwrap();
        }
    });
    let changes_apart = async {
        let mut random = Random(seed);
        for _ in 0..2 {
            sleep(Duration::from_millis(random.below(pause))).await;
            let _permit = permits.acquire().await;
            assert!(process.stop().await, "{apart} stops in order");
            sleep(Duration::from_millis(random.below(500))).await;
            process = TestApp::start_on(chat::app(config()).only([*apart]), hub).await;
        }
        process
    };
    let guests = ROOMS.iter().map(async |room| {
        for visit in 0..LINES / 4 {
            let client = app.connect(CONNECTORS[0]).await;
            // The name of the last one is free when the room knows that they left.
            let body = json!({ "username": format!("guest{visit}"), "rid": room });
            let reply = ask(&client, "connector.entryHandler.enter", body).await;
            assert!(reply.is_some_and(|reply| reply.get("users").is_some()), "a guest of {room}");
            let content = json!({ "content": "guest", "target": "*" });
            assert_eq!(ask(&client, "chat.chatHandler.send", content).await, Some(json!({})));
            client.leave().await;
            sleep(Duration::from_millis(200)).await;
        }
    });
    let (_, _, process, _) =
        tokio::join!(join_all(talks), join_all(changes), changes_apart, join_all(guests));
    town.processes.push(process);
    sleep(Duration::from_secs(5)).await;
    town.check_all_was_heard();
    town.check().await;
}

/// The chat and those who use it.
struct Town {
    app: TestApp,
    /// Those of servers that have one of their own.
    processes: Vec<TestApp>,
    hub: Arc<Memory>,
    people: Vec<Person>,
    /// Servers that are gone for good.
    dead: BTreeSet<&'static str>,
    /// Servers that are being stopped or added.
    changes: JoinSet<()>,
}

struct Person {
    name: &'static str,
    room: &'static str,
    connector: &'static str,
    client: TestClient,
}

impl Town {
    /// Everything runs in one process, but those that are `apart`.
    async fn start(seed: u64, weather: Chaos, apart: &[&str]) -> Town {
        let hub = Memory::chaotic(seed, weather);
        let all = CONNECTORS.iter().chain(&CHATS).chain(&["gate-server-1"]);
        let together = all.copied().filter(|server| !apart.contains(server));
        let app = TestApp::start_on(chat::app(config()).only(together), &hub).await;
        let mut processes = Vec::new();
        for server in apart {
            processes.push(TestApp::start_on(chat::app(config()).only([*server]), &hub).await);
        }
        let town = Town {
            app,
            processes,
            hub,
            people: Vec::new(),
            dead: BTreeSet::new(),
            changes: JoinSet::new(),
        };
        sleep(Duration::from_secs(4)).await;
        town
    }

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
                self.hub.change(Chaos { delay, loss, late });
            }
            9 if random.below(4) == 0 && self.dead.is_empty() => {
                // Whoever was connected there notices, and is somebody else's guest from then on.
                self.app.cut(either);
                self.people.retain(|person| person.connector != either);
                self.dead.insert(either);
            }
            10 | 11 if !self.dead.contains(chat) => {
                let (app, id) = (self.app.app().clone(), chat.parse().unwrap());
                self.changes.spawn(async move {
                    // Some are stopped already.
                    let _ = app.stop_server(&id).await;
                });
            }
            12 | 13 if !self.dead.contains(chat) => {
                let app = self.app.app().clone();
                let entry = app.config().server(chat).unwrap().clone();
                self.changes.spawn(async move {
                    // Some are there already, or those who don't know yet that its last run has ended refuse it.
                    let _ = app.add_server(entry).await;
                });
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
        self.hub.change(calm);
        sleep(Duration::from_secs(90)).await;
        while self.changes.join_next().await.transpose().unwrap().is_some() {}
        for chat in CHATS {
            let app = self.app.app();
            let runs = app.servers().iter().any(|server| server.id().as_str() == chat);
            if !runs && !self.dead.contains(chat) {
                app.add_server(app.config().server(chat).unwrap().clone()).await.unwrap();
            }
        }
        let mut stayed = Vec::new();
        for person in self.people.drain(..) {
            if timeout(Duration::ZERO, person.client.closed()).await.is_err() {
                stayed.push(person);
            }
        }
        self.people = stayed;
    }

    async fn check(&mut self) {
        self.check_members().await;
        self.check_talk().await;
        self.check_nothing_is_left().await;
    }

    /// Everybody has heard each line of everybody in the room, once and in order.
    fn check_all_was_heard(&mut self) {
        let speakers: Vec<_> =
            self.people.iter().map(|person| (person.name, person.room)).collect();
        for Person { name, room, client, .. } in &mut self.people {
            let pushes = client.pushes();
            for (speaker, _) in speakers.iter().filter(|(_, of)| of == room) {
                let lines = pushes.iter().filter(|(_, said)| said["from"] == *speaker);
                let heard: Vec<_> = lines.map(|(_, said)| said["msg"].clone()).collect();
                let said: Vec<_> = (0..LINES).map(|line| format!("{speaker} {line}")).collect();
                assert_eq!(heard, said, "what {name} hears of {speaker} in {room}");
            }
            let is_guest =
                |name: &Value| name.as_str().is_some_and(|name| name.starts_with("guest"));
            let guests = |route| {
                let about = pushes.iter().filter(|push| push.0 == route);
                about.filter(|(_, body)| is_guest(&body["user"])).count()
            };
            let guests_lines = pushes.iter().filter(|(_, said)| is_guest(&said["from"])).count();
            let counts = (guests("onAdd"), guests_lines, guests("onLeave"));
            let visits = LINES / 4;
            assert_eq!(counts, (visits, visits, visits), "what {name} hears of guests in {room}");
        }
    }

    fn servers(&self) -> impl Iterator<Item = ServerHandle> {
        let processes = [&self.app].into_iter().chain(&self.processes);
        processes.flat_map(|process| process.app().servers())
    }

    /// Who is in which room on which server.
    fn rooms(&self) -> BTreeMap<String, Vec<(String, Vec<String>)>> {
        let mut rooms: BTreeMap<String, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for server in self.servers() {
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
        for server in self.servers() {
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
