//! What one session sends to one server is handled in the order it was sent, and none of it is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shaddock::testing::client::Client;
use shaddock::testing::{self, TestApp};
use shaddock::{Msg, Result, Server, ServerHandle, Session, SessionId, State};

/// What the handlers of one server saw: of each session the last number, and how many in all.
#[derive(Default)]
struct Seen(Mutex<HashMap<SessionId, (u64, u64)>>);

impl Seen {
    /// Notes a number.
    ///
    /// # Panics
    ///
    /// If it does not follow the last one of this session.
    fn note(&self, session: SessionId, number: u64) {
        let mut seen = self.0.lock().unwrap();
        let (last, count) = seen.entry(session).or_default();
        assert!(*last < number, "{number} after {last}, of {session}");
        (*last, *count) = (number, *count + 1);
    }

    fn count(&self) -> u64 {
        self.0.lock().unwrap().values().map(|(_, count)| count).sum()
    }
}

#[derive(Serialize, Deserialize)]
struct Numbered {
    number: u64,
}

/// A number that looks random and is the same in every run.
fn scramble(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32
}

async fn sleepy(
    session: Session,
    seen: State<Seen>,
    State(seed): State<u64>,
    Msg(message): Msg<Numbered>,
) -> Result<()> {
    let random = scramble(*seed ^ session.id().get() ^ (message.number << 8));
    if random.is_multiple_of(3) {
        tokio::time::sleep(Duration::from_millis(random % 50)).await;
    }
    seen.note(session.id(), message.number);
    Ok(())
}

async fn yielding(session: Session, seen: State<Seen>, Msg(message): Msg<Numbered>) -> Result<()> {
    for _ in 0..scramble(session.id().get() ^ message.number) % 3 {
        tokio::task::yield_now().await;
    }
    seen.note(session.id(), message.number);
    Ok(())
}

fn seen(_: &ServerHandle) -> Seen {
    Seen::default()
}

/// One back-end of several by key, another by another: one session talks to many servers.
fn app(app: shaddock::App, slow: bool) -> shaddock::App {
    let on = |server: Server| match slow {
        true => server.on("a.a", sleepy),
        false => server.on("a.a", yielding),
    };
    app.state(0_u64)
        .server(on(Server::frontend("connector").state(seen)))
        .server(on(Server::backend("chat").state(seen)))
        .server(on(Server::backend("area")
            .state(seen)
            .route_by(|session| Ok(session.id().to_string()))))
}

/// For slow machines: all that is sent waits at once.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends `each` numbered messages from each of `clients`, to three kinds of server in turn.
async fn flood(app: &TestApp, clients: usize, each: u64) {
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let patient = Client::builder().request_timeout(PATIENCE);
        let client = Arc::new(app.connect_as("connector-1", patient).await);
        floods.spawn(async move {
            for number in 1..=each {
                let kind = ["connector", "chat", "area"][usize::try_from(number % 3).unwrap()];
                client.notify(&format!("{kind}.a.a"), Numbered { number }).await;
            }
            // What is answered has been handled, and so has what was sent there before.
            for kind in ["connector", "chat", "area"] {
                client.request(&format!("{kind}.a.a"), Numbered { number: each + 1 }).await;
            }
        });
    }
    floods.join_all().await;
    let handled: u64 = app
        .app()
        .servers()
        .iter()
        .filter_map(|server| server.state::<Seen>())
        .map(|seen| seen.count())
        .sum();
    assert_eq!(handled, clients as u64 * (each + 3));
}

/// 200 sessions with 200 messages each, and delays that the seed decides.
async fn stay_in_order(seed: u64) {
    println!("seed {seed}");
    let app = app(testing::app(&["connector"], &["chat*3", "area*2"]), true);
    let app = TestApp::start(app.state(seed)).await;
    flood(&app, 200, 200).await;
}

// A test for each seed, so that they run beside each other.
#[tokio::test(start_paused = true)]
async fn messages_with_random_delays_stay_in_order() {
    stay_in_order(1).await;
}

#[tokio::test(start_paused = true)]
async fn messages_with_other_delays_stay_in_order() {
    stay_in_order(2).await;
}

#[tokio::test(start_paused = true)]
async fn messages_with_yet_other_delays_stay_in_order() {
    stay_in_order(3).await;
}

/// In a debug build a smaller flood, since the race is the same and the time is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_stay_in_order_on_many_threads() {
    let (clients, each) = if cfg!(debug_assertions) { (100, 100) } else { (1000, 1000) };
    let deadline = format!("[requests]\ndeadline = {}", PATIENCE.as_secs());
    let fast = testing::app_with(&["connector"], &["chat*3", "area*2"], &deadline);
    let app = TestApp::start(app(fast, false)).await;
    flood(&app, clients, each).await;
}
