//! Jobs with their times. The clock of an application in memory begins at midnight.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::TestApp;
use shaddock::{
    App, Channels, Cluster, Fault, Job, JobError, Result, Rpc, Schedule, Server, ServerHandle,
    State,
};
use tokio::time::{Duration, Instant, sleep};

use crate::remotes::{Work, WorkClient, Worker};
use crate::waits::{Log, logged};

/// When the test began.
struct Begun(Instant);

/// Writes down which second it is, and where.
async fn note(server: ServerHandle, log: State<Log>, begun: State<Begun>) -> Result<()> {
    log.add(format!("{} {}", begun.0.0.elapsed().as_secs(), server.id()));
    Ok(())
}

/// The same, and takes three and a half seconds.
async fn slow(server: ServerHandle, log: State<Log>, begun: State<Begun>) -> Result<()> {
    note(server, log.clone(), begun).await?;
    sleep(Duration::from_millis(3_500)).await;
    log.add("done");
    Ok(())
}

async fn endless(server: ServerHandle, log: State<Log>) -> Result<()> {
    log.add(server.id().as_str());
    std::future::pending().await
}

/// Fails, panics, fails, ..
async fn failing(log: State<Log>, runs: State<AtomicUsize>) -> Result<()> {
    log.add("run");
    assert!(runs.fetch_add(1, Ordering::Relaxed).is_multiple_of(2), "as it should");
    Err(Fault::new(500, "not today"))
}

/// Needs what handlers may need.
async fn curious(
    channels: Channels,
    cluster: Cluster,
    work: Rpc<WorkClient>,
    log: State<Log>,
) -> Result<()> {
    let sum = work.any()?.add(20, 22).await?;
    log.add(format!("{sum} {} {}", channels.count(), cluster.servers("chat").len()));
    Ok(())
}

/// An application with three chat servers and these jobs for them.
fn app(crons: Value) -> App {
    let id = |id: &str| json!({ "id": id, "host": "127.0.0.1" });
    let servers = json!({ "chat": [id("chat-1"), id("chat-2"), id("chat-3")] }).to_string();
    let crons = crons.to_string();
    let files = [("servers.json", servers.as_str()), ("crons.json", crons.as_str())];
    let chat = Server::backend("chat")
        .remote(Work::serve(|_| Worker::default()))
        .cron("jobs.note", note)
        .cron("jobs.slow", slow)
        .cron("jobs.endless", endless)
        .cron("jobs.failing", failing)
        .cron("jobs.curious", curious);
    App::new(Config::embedded(&files, None, &Overrides::default()).unwrap())
        .state(Log::default())
        .state(Begun(Instant::now()))
        .state(AtomicUsize::default())
        .server(chat)
}

/// What was written down after so many seconds, and a moment.
async fn after(app: &TestApp, seconds: u64) -> Vec<String> {
    sleep(Duration::from_secs(seconds)).await;
    sleep(Duration::from_millis(1)).await;
    logged(app)
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// The second that a line was written in.
fn second(line: &str) -> usize {
    line.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_at_its_times_on_every_server_of_its_kind_or_on_one() {
    let app = TestApp::start(app(json!({ "chat": [
        { "id": 1, "time": "0/20 * * * * *", "action": "jobs.note" },
        { "id": 2, "time": "30 0 0 1 0 4", "action": "jobs.note", "serverId": "chat-2" },
    ] })))
    .await;
    let minute = sorted(after(&app, 45).await);
    let expected =
        ["20 chat-1", "20 chat-2", "20 chat-3", "30 chat-2", "40 chat-1", "40 chat-2", "40 chat-3"];
    assert_eq!(minute, expected);
    assert_eq!(after(&app, 24 * 60 * 60).await.len(), 3 * 3 * 60 * 24);
}

#[tokio::test(start_paused = true)]
async fn a_job_can_ask_for_what_handlers_can() {
    let job = json!({ "id": 1, "time": "1 * * * * *", "action": "jobs.curious", "once": true });
    let app = TestApp::start(app(json!({ "chat": [job] }))).await;
    assert_eq!(after(&app, 2).await, ["42 0 3"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_job_that_runs_once_exactly_one_runs_each_time_also_while_one_dies() {
    let job = json!({ "id": 1, "time": "* * * * * *", "action": "jobs.note", "once": true });
    let app = TestApp::start(app(json!({ "chat": [job] }))).await;
    let lines = after(&app, 100).await;
    assert_eq!(
        lines.iter().map(|line| second(line)).collect::<Vec<_>>(),
        (1..=100).collect::<Vec<_>>()
    );
    let (_, last) = lines.last().unwrap().split_once(' ').unwrap();
    app.cut(last);
    let lines = after(&app, 10).await;
    assert!(lines.iter().all(|line| !line.ends_with(last)), "{lines:?}");
    assert_eq!(
        lines.iter().map(|line| second(line)).collect::<Vec<_>>(),
        (101..=110).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_never_runs_twice_at_once_unless_it_may() {
    let alone = vec!["1", "done", "5", "done", "9"];
    let together = vec!["1", "2", "3", "4", "done", "5", "done", "6", "done", "7"];
    for (once, overlap, expected) in
        [(false, false, alone.clone()), (true, false, alone), (false, true, together)]
    {
        let mut job = json!({ "id": 1, "time": "* * * * * *", "action": "jobs.slow" });
        job["once"] = once.into();
        job["overlap"] = overlap.into();
        if !once {
            job["serverId"] = "chat-1".into();
        }
        let app = TestApp::start(app(json!({ "chat": [job] }))).await;
        let lines = after(&app, if overlap { 7 } else { 9 }).await;
        let what: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(what, expected, "once: {once}, overlap: {overlap}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_dead_server_holds_up_nobody() {
    let job = json!({ "id": 1, "time": "* * * * * *", "action": "jobs.endless", "once": true });
    let app = TestApp::start(app(json!({ "chat": [job] }))).await;
    let first = after(&app, 10).await;
    assert_eq!(first.len(), 1);
    app.cut(&first[0]);
    let second = after(&app, 10).await;
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn after_a_run_that_failed_or_panicked_comes_the_next() {
    let job = json!({ "id": 1, "time": "* * * * * *", "action": "jobs.failing", "once": true });
    let app = TestApp::start(app(json!({ "chat": [job] }))).await;
    assert_eq!(after(&app, 10).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn jobs_come_and_go_while_a_server_runs() {
    let app = TestApp::start(app(json!({}))).await;
    let crons = app.server("chat-2").crons();
    let job = |action| Job::new("news", "*/10 * * * * *".parse::<Schedule>().unwrap(), action);
    crons.add(job("jobs.note")).unwrap();
    assert_eq!(crons.add(job("jobs.note")), Err(JobError::Exists("news".to_owned())));
    assert_eq!(after(&app, 25).await, ["10 chat-2", "20 chat-2"]);
    assert_eq!(crons.jobs(), [job("jobs.note")]);
    assert!(crons.remove("news") && !crons.remove("news"));
    assert_eq!(after(&app, 25).await, [""; 0]);
    let unknown = crons.add(job("jobs.nap")).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "servers of kind chat have no cron `jobs.nap`; they have jobs.note, jobs.slow, jobs.endless, jobs.failing, jobs.curious"
    );
    // An id is free again, for a job at other times.
    crons.add(Job::new("news", Schedule::pomelo("0 0 1 * * *").unwrap(), "jobs.note")).unwrap();
    assert_eq!(after(&app, 60 * 60).await, ["3600 chat-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_runs_and_begins_nothing_more() {
    let job = json!({ "id": 1, "time": "* * * * * *", "action": "jobs.slow", "serverId": "chat-1", "overlap": true });
    let app = TestApp::start(app(json!({ "chat": [job] }))).await;
    let handle = app.app().clone();
    assert_eq!(after(&app, 1).await, ["1 chat-1"]);
    assert!(app.stop().await);
    assert_eq!(handle.state::<Log>().unwrap().take(), ["done"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_job_lacks_is_said_at_the_start() {
    let job = |action: &str| json!([{ "id": 1, "time": "* * * * * *", "action": action }]);
    for (crons, why) in [
        (
            json!({ "chat": job("jobs.nap") }),
            "built-in crons.json: chat[0]: servers of kind chat have no cron `jobs.nap`; they have jobs.note",
        ),
        (
            json!({ "cat": job("jobs.note") }),
            "built-in crons.json: cat[0]: servers of kind cat have no cron `jobs.note`; they have none",
        ),
    ] {
        let error = TestApp::try_start(app(crons)).await.unwrap_err().to_string();
        assert!(error.starts_with(why), "{error}");
    }
    async fn needy(_: State<u8>) -> Result<()> {
        Ok(())
    }
    let chat = Server::backend("chat").cron("jobs.needy", needy);
    let error = TestApp::try_start(shaddock::testing::app(&[], &["chat"]).server(chat)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("chat: jobs.needy: it needs `State<u8>`"), "{error}");
}
