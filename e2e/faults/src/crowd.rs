//! People who log in through the gate, talk, listen, and come again when their connection is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chat::messages::{Entry, Said};
use fastrand::Rng;
use serde_json::{Value, json};
use shaddock_client::{Client, Pushes, RequestError};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ledger::{End, Ledger};
use crate::plan::{CLIENT_PORT, Kind, PLACES, Place};

/// In each room.
pub(crate) const IN_A_ROOM: usize = 10;

/// When the servers answer a request with an error at the latest, in seconds.
pub(crate) const DEADLINE: u64 = 6;

/// That twice, since hooks that find nobody have their own before a request has its turn, and the way.
const PATIENCE: Duration = Duration::from_secs(2 * DEADLINE + 3);

const CONNECT: Duration = Duration::from_secs(3);

/// All of them. They go when this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    ledger: Arc<Mutex<Ledger>>,
    pub(crate) rooms: usize,
    _tasks: JoinSet<()>,
}

/// A connection whose user is in a room.
pub(crate) struct Guest {
    pub(crate) client: Client,
    pub(crate) connector: &'static str,
    /// Who was there when they came.
    pub(crate) users: Vec<String>,
    pushes: Pushes,
}

impl Crowd {
    /// So many people.
    pub(crate) fn gather(count: usize, random: &mut Rng) -> Crowd {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let (name, room) = (format!("u{number}"), number / IN_A_ROOM);
            let who = lock(&ledger).add(name.clone(), room);
            let ledger = Arc::clone(&ledger);
            tasks.spawn(live(who, name, room, ledger, random.fork()));
        }
        Crowd { ledger, rooms: count.div_ceil(IN_A_ROOM), _tasks: tasks }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Somebody else comes in.
    pub(crate) async fn enter(&self, name: &str, room: usize) -> anyhow::Result<Guest> {
        enter(name, room).await
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn name_of(room: usize) -> String {
    format!("room{room}")
}

/// Comes again and again.
async fn live(who: usize, name: String, room: usize, ledger: Arc<Mutex<Ledger>>, mut random: Rng) {
    loop {
        sleep(Duration::from_millis(random.u64(200..1_000))).await;
        let guest = match enter(&name, room).await {
            Ok(guest) => guest,
            Err(error) => {
                lock(&ledger).stands_outside(who, format!("{error:#}"));
                continue;
            }
        };
        let Guest { client, connector, mut pushes, .. } = guest;
        lock(&ledger).came(who, connector, Instant::now());
        let is_own_wish = tokio::select! {
            () = listen(who, &mut pushes, &ledger) => false,
            is_own_wish = talk(who, &client, &ledger, &mut random) => is_own_wish,
        };
        let now = Instant::now();
        if is_own_wish {
            lock(&ledger).went(who, now, None);
            client.disconnect().await;
        }
        let reason = client.closed().await;
        listen(who, &mut pushes, &ledger).await;
        if !is_own_wish {
            lock(&ledger).went(who, now, Some(reason.to_string()));
        }
    }
}

async fn listen(who: usize, pushes: &mut Pushes, ledger: &Mutex<Ledger>) {
    while let Some(push) = pushes.next().await {
        match push.json::<Said>() {
            Ok(Said { msg, from, .. }) => lock(ledger).hears(who, &from, &msg),
            Err(error) => lock(ledger).hears(who, "nobody", &error.to_string()),
        }
    }
}

/// One thing after the other, until the connection is over or they have had enough, which it says.
async fn talk(who: usize, client: &Client, ledger: &Mutex<Ledger>, random: &mut Rng) -> bool {
    loop {
        sleep(Duration::from_millis(random.u64(500..1_500))).await;
        let (text, number) = lock(ledger).says(who, Instant::now());
        let word = json!({ "content": text, "target": "*" });
        let answer = client.request::<Value>("chat.chatHandler.send", word).await;
        let end = match &answer {
            Ok(answer) if answer.get("code").is_none() => End::Accepted,
            Ok(_) => End::Refused,
            Err(RequestError::Closed(_)) => End::Unanswered,
            Err(_) => End::Stuck,
        };
        let is_over = end == End::Unanswered;
        lock(ledger).ended(who, number, Instant::now(), end);
        if is_over {
            return false;
        }
        if lock(ledger).restless && random.u8(..20) == 0 {
            return true;
        }
    }
}

/// Asks the gate for a connector, and enters there.
async fn enter(name: &str, room: usize) -> anyhow::Result<Guest> {
    let builder = Client::builder().connect_timeout(CONNECT).request_timeout(PATIENCE);
    let gate = PLACES.iter().find(|place| place.kind == Kind::Gate).context("no gate")?;
    let gate = builder.connect(&format!("ws://{}:{CLIENT_PORT}", gate.address())).await;
    let gate = gate.context("the gate can't be reached")?;
    let entry = gate.request("gate.gateHandler.queryEntry", json!({ "uid": name })).await;
    let entry: Entry = entry.context("the gate has no answer")?;
    let place =
        PLACES.iter().find(|place| place.kind == Kind::Connector && place.address() == entry.host);
    enter_at(place.context("nobody lives there")?, name, room).await
}

/// Enters at this connector.
pub(crate) async fn enter_at(connector: &Place, name: &str, room: usize) -> anyhow::Result<Guest> {
    let builder =
        Client::builder().connect_timeout(CONNECT).request_timeout(PATIENCE).push_queue(100_000);
    let pushes = builder.pushes("onChat");
    let client = builder.connect(&format!("ws://{}:{CLIENT_PORT}", connector.address())).await;
    let client = client.with_context(|| format!("{} can't be reached", connector.name))?;
    let who = json!({ "username": name, "rid": name_of(room) });
    let answer = client.request("connector.entryHandler.enter", who).await;
    let answer: Value = answer.with_context(|| format!("{} has no answer", connector.name))?;
    let Some(users) = answer.get("users") else {
        bail!("{} says {answer}", connector.name);
    };
    let users = serde_json::from_value(users.clone()).context("a list of users")?;
    Ok(Guest { client, connector: connector.name, users, pushes })
}
