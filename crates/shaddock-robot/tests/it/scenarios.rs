//! What each scenario counts.

use std::time::Duration;

use shaddock_robot::{Address, Counts, Entrance, Plan, Report, Scenario, Speech};

use crate::{echo, plan, play};

/// Nothing was lost, and this much came of each message.
fn assert_clean(report: &Report, copies: u64) {
    assert!(report.is_clean(), "{report}");
    let Counts { sent, received, .. } = report.counts;
    assert!(sent > 0, "{report}");
    assert_eq!(received, sent * copies, "{report}");
    assert!(report.units > 0.0 && report.latency_ms.count > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_of_a_connector_come_back_over_websocket() {
    let report = play(echo("connector.entryHandler.echo"), |plan| plan.outstanding = 4).await;
    assert_clean(&report, 1);
    assert_eq!(report.entering.map(|entering| entering.clients), Some(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_through_a_chat_server_come_back_over_tcp() {
    let report = play(echo("chat.chatHandler.echo"), |plan| plan.speech = Speech::Tcp).await;
    assert_clean(&report, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_rate_as_many_are_sent_as_the_time_holds() {
    let report = play(echo("connector.entryHandler.echo"), |plan| plan.rate = Some(200.0)).await;
    assert_clean(&report, 1);
    // What is intended while it is measured depends on nothing else.
    assert_eq!(report.latency_ms.count, 80, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_is_not_there_gives_errors() {
    let report = play(echo("connector.entryHandler.ecko"), |_| {}).await;
    assert!(!report.is_clean());
    assert!(report.errors[0].what.contains(r#"a wrong answer: {"code":500}"#), "{report}");
    assert_eq!(report.counts.lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_copy_of_a_chat_is_counted() {
    for rate in [None, Some(100.0)] {
        let scenario = Scenario::Chat { rooms: 3, senders: 2, stalled: 0 };
        let report = play(scenario, |plan| plan.rate = rate).await;
        assert_clean(&report, 4);
        assert_eq!(report.load.clients, 12);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_due_to_those_who_read_nothing() {
    let scenario = Scenario::Chat { rooms: 3, senders: 2, stalled: 1 };
    let report = play(scenario, |plan| plan.rate = Some(100.0)).await;
    assert_clean(&report, 3);
    assert_eq!(report.load.clients, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_log_in_as_are_wanted() {
    for stay in [false, true] {
        let report = play(Scenario::Login { total: Some(30), stay }, |plan| {
            plan.time = Duration::from_secs(60);
        })
        .await;
        assert_clean(&report, 1);
        assert_eq!((report.counts.received, report.units), (30, 30.0));
        assert!(report.seconds < 60.0, "it ends with the last of them");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_log_in_until_the_time_is_over() {
    let report = play(Scenario::Login { total: None, stay: false }, |_| {}).await;
    assert_clean(&report, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_idle_stay() {
    let report = play(Scenario::Idle, |plan| plan.pids = vec![std::process::id()]).await;
    assert_clean(&report, 1);
    assert_eq!((report.counts.received, report.latency_ms.count), (8, 8));
    assert!((report.rate - 8.0).abs() < 0.01, "eight, all the time: {report}");
    let server = report.server.expect("its process is known");
    assert!(server.rss_start_kib > 0 && server.processes > 0);
    assert!(report.entering.unwrap().kib_per_client_held.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_storm_all_come_back() {
    // A client that is still on its way when the next storm comes is not in it.
    let every = Duration::from_secs(1);
    let time = |plan: &mut Plan| plan.time = Duration::from_millis(2_500);
    let report = play(Scenario::Storm { every }, time).await;
    assert_clean(&report, 1);
    assert!(report.counts.received >= 8 && report.counts.received % 8 == 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_of_a_soak_are_not_counted() {
    let scenario = Scenario::Soak { rooms: 2, senders: 1, visitors: 3 };
    let report = play(scenario, |plan| plan.time = Duration::from_millis(1500)).await;
    assert_clean(&report, 4);
    // A message a second and room, unless one says otherwise: the same ones at the same moments each time.
    assert_eq!(report.latency_ms.count % 4, 0);
    assert_eq!(report.load.rate, Some(2.0));
}

#[tokio::test]
async fn where_nobody_is_let_in_there_is_no_report() {
    let nowhere = Entrance::Connector(Address { host: "127.0.0.1".to_owned(), port: 1 });
    let error = shaddock_robot::run(plan(Scenario::Idle, nowhere)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("none of 8 clients was let in: entering: could not connect"),
        "{error}"
    );
}
