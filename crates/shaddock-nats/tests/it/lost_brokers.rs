//! Brokers that die and come back.

use std::sync::Arc;
use std::time::Duration;

use shaddock_cluster::contract::{Heard, Witness};
use shaddock_cluster::{
    CallFailure, Config, Engine, Event, Link, Pattern, PublishError, ServerId, Subject,
};
use shaddock_nats::{Nats, Options};
use tokio::time::{Instant, timeout};

use crate::broker::{self, Broker};

#[tokio::test]
async fn servers_find_each_other_again_when_their_broker_is_back() {
    if !broker::is_there() {
        return;
    }
    let mut broker = Broker::start();
    let (mut a, mut b) = (join(broker.options(), "a").await, join(broker.options(), "b").await);
    assert!(matches!(soon(a.event()).await, Event::Joined(_)));
    let waiting = a.node.call(&id("b"), "", after(60));
    let (_, unanswered) = soon(b.called()).await;

    broker.kill();
    assert!(matches!(soon(a.event()).await, Event::LinkLost));
    assert_eq!(soon(waiting).await.unwrap_err().failure, CallFailure::Disconnected);
    let refused = a.node.call(&id("b"), "", after(60)).await.unwrap_err();
    assert_eq!(refused.failure, CallFailure::NoLink);
    // Longer than a server may be silent.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(a.node.members().all().len(), 2);

    broker.revive();
    assert!(matches!(soon(a.event()).await, Event::LinkBack { .. }));
    linked_again(&mut b).await;
    drop(unanswered);
    let call = a.node.call(&id("b"), "again", after(10));
    let (payload, answer) = soon(b.called()).await;
    assert_eq!(payload, "again");
    answer.send("yes").unwrap();
    assert_eq!(soon(call).await.unwrap(), "yes");
    for server in [&mut a, &mut b] {
        let changes = server.rest();
        let gone = |heard: &Heard| matches!(heard, Heard::Event(Event::Died(_) | Event::Left(_)));
        assert!(!changes.iter().any(gone), "{changes:?}");
    }
}

#[tokio::test]
async fn servers_move_to_another_broker_of_the_cluster() {
    if !broker::is_there() {
        return;
    }
    const CLUSTER: &str = "jetstream: disabled\ncluster { name: test, listen: \"127.0.0.1:-1\"";
    let mut first = Broker::with(&format!("{CLUSTER} }}"));
    let routes = format!("routes: [\"nats://127.0.0.1:{}\"]", first.cluster_port());
    let second = Broker::with(&format!("{CLUSTER}, {routes} }}"));
    let third = Broker::with(&format!("{CLUSTER}, {routes} }}"));
    know_each_other(&[&first, &second, &third]).await;

    // Told of one broker, it learns of the others.
    let mut a = join(first.options(), "a").await;
    let mut b = join(third.options(), "b").await;
    a.node.members().until(|members| members.all().len() == 2).await;
    first.kill();
    linked_again(&mut a).await;
    // Those left need a moment to tell each other who moved where: until then nobody is there.
    loop {
        let answers = async {
            loop {
                b.called().await.1.send("").unwrap();
            }
        };
        tokio::select! {
            called = a.node.call(&id("b"), "", after(1)) => if called.is_ok() { break },
            () = answers => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(b.node.members().all().len(), 2);
}

#[tokio::test]
async fn nothing_is_kept_for_later_while_there_is_no_link() {
    if !broker::is_there() {
        return;
    }
    let mut broker = Broker::start();
    let engine = Nats::connect(broker.options()).await.unwrap();
    let there = Subject::new("there").unwrap();
    let mut feed = engine.subscribe(vec![Pattern::Exactly(there.clone())], 8).await.unwrap();
    let mut link = engine.link();
    broker.kill();
    soon(link.wait_for(|link| *link == Link::Down)).await.unwrap();
    assert_eq!(engine.publish(&there, "lost".into(), None), Err(PublishError::NoLink));
    assert!(engine.store("store").await.is_err());
    broker.revive();
    soon(link.wait_for(|link| *link == Link::Up)).await.unwrap();
    engine.publish(&there, "first".into(), None).unwrap();
    let heard = soon(feed.recv()).await.unwrap();
    assert!(
        matches!(&heard, shaddock_cluster::Delivery::Message { payload, .. } if payload == "first"),
        "{heard:?}"
    );
}

/// Each of these brokers knows of the others when what is said on the last is heard on all.
async fn know_each_other(brokers: &[&Broker]) {
    for (n, broker) in brokers.iter().enumerate() {
        let there = Subject::new(&format!("there-{n}")).unwrap();
        let engine = Nats::connect(broker.options()).await.unwrap();
        let mut feed = engine.subscribe(vec![Pattern::Exactly(there.clone())], 1024).await.unwrap();
        for other in brokers {
            let other = Nats::connect(other.options()).await.unwrap();
            loop {
                other.publish(&there, "".into(), None).unwrap();
                if timeout(Duration::from_millis(50), feed.recv()).await.is_ok() {
                    break;
                }
            }
            while timeout(Duration::from_millis(100), feed.recv()).await.is_ok() {}
        }
    }
}

async fn linked_again(server: &mut Witness) {
    while !matches!(soon(server.event()).await, Event::LinkBack { .. }) {}
}

async fn join(options: Options, id: &str) -> Witness {
    let engine: Arc<dyn Engine> = Nats::connect(options).await.unwrap();
    Witness::join(engine, Config::new(id.parse().unwrap(), "kind".parse().unwrap())).await.unwrap()
}

fn id(id: &str) -> ServerId {
    id.parse().unwrap()
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("comes soon")
}
