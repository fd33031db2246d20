//! Hand-overs when turns can't be told, for the store does not answer, or whoever has the turn does not.

use futures_util::future::join;
use shaddock::testing::{Memory, TestApp, TestClient};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::handovers::{add, all_are_known, app_with, clients, hand_over_with, quick_app};
use crate::waits::logged;

const SERVERS: [&str; 4] = ["connector-1", "chat-1", "chat-2", "chat-3"];

/// How long a stop may take, by default.
const DEADLINE: Duration = Duration::from_secs(10);
/// No request waits longer for what others do.
const MOMENT: Duration = Duration::from_secs(1);

fn lose_stores(app: &TestApp) {
    SERVERS.iter().for_each(|server| app.link(server).lose_stores());
}

fn find_stores(app: &TestApp) {
    SERVERS.iter().for_each(|server| app.link(server).find_stores());
}

async fn stop(app: &TestApp, id: &str) {
    let id = id.parse().unwrap();
    assert!(timeout(DEADLINE, app.app().stop_server(&id)).await.expect("in time").unwrap());
}

/// All of them are answered as ever until `end`.
async fn all_are_served(clients: &[TestClient], end: Instant) {
    while Instant::now() < end {
        timeout(MOMENT, all_are_known(clients)).await.expect("nobody waits");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_servers_stop_in_time_and_sessions_follow() {
    let app = TestApp::start(quick_app().only(SERVERS)).await;
    let clients = clients(&app).await;
    logged(&app);
    lose_stores(&app);
    let served = all_are_served(&clients, Instant::now() + DEADLINE);
    tokio::join!(stop(&app, "chat-1"), stop(&app, "chat-2"), served);
    assert_eq!(logged(&app), [""; 0]);
    find_stores(&app);
    assert!(add(&app, "chat-1").await);
    all_are_known(&clients).await;
    assert_eq!(logged(&app), ["handed over"]);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_server_is_added_in_time_and_sessions_follow() {
    let [first, .., third] = SERVERS;
    let app = TestApp::start(quick_app().only([first, "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    logged(&app);
    lose_stores(&app);
    let served = all_are_served(&clients, Instant::now() + Duration::from_secs(15));
    let added = timeout(Duration::from_secs(13), add(&app, third));
    let (added, ()) = join(added, served).await;
    assert!(added.expect("in time"));
    assert_eq!(logged(&app), [""; 0]);
    assert_eq!(app.server(first).cluster().servers("chat").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_lost_during_a_hand_over_keeps_nobody() {
    let app = app_with(|chat| {
        chat.on_handover(async |server| {
            sleep(Duration::from_millis(200)).await;
            hand_over_with(server, Duration::ZERO).await
        })
    });
    let app = TestApp::start(app.only(["connector-1", "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    logged(&app);
    let added = timeout(Duration::from_secs(5), add(&app, "chat-3"));
    let lost = async {
        sleep(Duration::from_millis(100)).await;
        lose_stores(&app);
    };
    assert!(join(added, lost).await.0.expect("in time"));
    all_are_known(&clients).await;
    assert_eq!(logged(&app), ["handed over"; 2]);
    find_stores(&app);
    // The last turn was not given back, which keeps nobody from having the next.
    stop(&app, "chat-1").await;
    all_are_known(&clients).await;
    assert_eq!(logged(&app), ["handed over"]);
}

/// A connector and two chat servers, and a third that has the turn and is frozen: nobody hears of it, as it does of
/// nobody, and all believe that their links are well.
async fn frozen() -> [TestApp; 2] {
    let hub = Memory::new();
    let app = TestApp::start_on(quick_app().only(["connector-1", "chat-2"]), &hub).await;
    let never = app_with(|chat| chat.on_handover(async |_| std::future::pending().await));
    let holder = TestApp::start_on(never.only(["connector-2", "chat-1"]), &hub).await;
    [app, holder]
}

fn freeze(app: &TestApp, holder: &TestApp) {
    let others = ["connector-1", "chat-2", "chat-3"].map(|other| app.link(other));
    for other in others.into_iter().chain([holder.link("connector-2")]) {
        holder.link("chat-1").part_from(other);
    }
}

/// Those whose key is not the first server's, and those of whom it is.
async fn apart(clients: Vec<TestClient>) -> [Vec<TestClient>; 2] {
    let mut apart = [Vec::new(), Vec::new()];
    for client in clients {
        let home = client.request("chat.a.home", ()).await;
        apart[usize::from(home == "chat-1")].push(client);
    }
    apart
}

#[tokio::test(start_paused = true)]
async fn a_server_is_added_though_whoever_has_the_turn_is_frozen() {
    let [app, holder] = frozen().await;
    let [others, its] = apart(clients(&app).await).await;
    logged(&app);
    tokio::join!(stop(&holder, "chat-1"), async {
        sleep(Duration::from_millis(100)).await;
        freeze(&app, &holder);
        let added = timeout(Duration::from_secs(5), add(&app, "chat-3"));
        let served = all_are_served(&others, Instant::now() + DEADLINE);
        assert!(join(added, served).await.0.expect("when it is dead"));
        all_are_known(&its).await;
    });
    assert_eq!(logged(&app), ["handed over"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_hands_over_though_whoever_has_the_turn_is_frozen() {
    let [app, holder] = frozen().await;
    assert!(add(&app, "chat-3").await);
    let [others, its] = apart(clients(&app).await).await;
    logged(&app);
    tokio::join!(stop(&holder, "chat-1"), async {
        sleep(Duration::from_millis(100)).await;
        freeze(&app, &holder);
        let served = all_are_served(&others, Instant::now() + DEADLINE);
        join(stop(&app, "chat-2"), served).await;
        all_are_known(&its).await;
    });
    assert_eq!(logged(&app), ["handed over"]);
}
