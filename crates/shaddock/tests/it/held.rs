//! What waits for a hand-over has bounds, in messages and in bytes. Beyond them it is refused at once.

use serde_json::json;
use shaddock::config::{Config, Overrides};
use shaddock::testing::TestApp;
use shaddock::{App, Result, Rpc, Server};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

/// How many messages may wait.
const MESSAGES: usize = 65_536;
/// How many bytes.
const BYTES: usize = 64 * 1024 * 1024;

/// How long a hand-over takes.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How many are asked in one go, for the queues on the way are bounded, too.
const PORTION: usize = 8192;

#[shaddock::remote("chat")]
trait Scale {
    async fn weigh(&self, text: String) -> Result<usize>;
}

struct Scales;

impl Scale for Scales {
    async fn weigh(&self, text: String) -> Result<usize> {
        Ok(text.len())
    }
}

fn app() -> App {
    let servers = json!({
        "connector": [{ "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true }],
        "chat": [{ "id": "chat-1", "host": "127.0.0.1" }, { "id": "chat-2", "host": "127.0.0.1" }],
    });
    let users = json!([{ "id": "1", "username": "admin", "password": "secret", "level": 1 }]);
    let files = [("servers.json", servers.to_string()), ("adminUser.json", users.to_string())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let hand_over = async |_| {
        sleep(HAND_OVER).await;
        Ok(())
    };
    let chat = Server::backend("chat").remote(Scale::serve(|_| Scales)).on_handover(hand_over);
    App::new(config).server(Server::frontend("connector")).server(chat)
}

/// Asks so often for the weight of a text while chat-1 hands over. Says how often that was answered, and how often it
/// was refused at once and counted.
async fn ask(times: usize, text: String) -> (usize, usize) {
    let app = TestApp::start(app().only(["connector-1", "chat-1"])).await;
    let scales: Rpc<ScaleClient> = app.server("connector-1").rpc().unwrap();
    let entry = app.app().config().server("chat-2").unwrap().clone();
    let (mut asked, begun) = (JoinSet::new(), Instant::now());
    let asking = async {
        sleep(Duration::from_millis(10)).await;
        for number in 0..times {
            let (scales, text) = (scales.clone(), text.clone());
            asked.spawn(async move {
                // Some of these keys stay, and some don't.
                let weighed = scales.on(&(number % 10).to_string())?.weigh(text).await;
                weighed.map_err(|fault| {
                    assert!(begun.elapsed() < HAND_OVER, "{fault}");
                    fault
                })
            });
            if number % PORTION == PORTION - 1 {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let (added, ()) = tokio::join!(app.app().add_server(entry), asking);
    added.unwrap();
    let answers = asked.join_all().await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let operator = app.operator("admin", "secret").await;
    let status = operator.status(&"chat-1".parse().unwrap()).await.unwrap();
    assert_eq!(status.counter("shaddock_lane_overflows_total"), refused.len() as u64);
    (answered.len(), refused.len())
}

#[tokio::test(start_paused = true)]
async fn more_messages_than_may_wait_for_a_hand_over_are_refused() {
    assert_eq!(ask(MESSAGES + 100, String::new()).await, (MESSAGES, 100));
}

#[tokio::test(start_paused = true)]
async fn more_bytes_than_may_wait_for_a_hand_over_are_refused() {
    // With what says who is asked for what, one less than there would be room for.
    let text = "x".repeat(512 * 1024);
    let room = BYTES / text.len() - 1;
    assert_eq!(ask(room + 50, text).await, (room, 50));
}
