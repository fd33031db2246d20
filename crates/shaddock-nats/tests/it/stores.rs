//! Stores whose broker can't keep them, or has lost them.

use std::error::Error as _;
use std::fs;

use shaddock_cluster::{Directory, Engine as _, Link, StoreError};
use shaddock_nats::{Nats, Options};
use tokio::time::Duration;

use crate::broker::{self, Broker};

#[tokio::test]
async fn without_jetstream_that_is_what_is_said() {
    if !broker::is_there() {
        return;
    }
    let broker = Broker::with("");
    let engine = Nats::connect(broker.options()).await.unwrap();
    let error = engine.store("store").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    let why = error.source().unwrap().to_string();
    assert!(why.starts_with("the broker has no JetStream"), "{why}");
}

#[tokio::test]
async fn brokers_that_have_not_found_each_other_yet_are_waited_for() {
    if !broker::is_there() {
        return;
    }
    // One of three, of which two have to be there.
    let settings = |name, routes: &str| {
        format!(
            "server_name: {name}\njetstream {{ store_dir: STORE }}\ncluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [{routes}] }}"
        )
    };
    let nobody = "\"nats://127.0.0.1:1\", \"nats://127.0.0.1:2\"";
    let mut first = Broker::with(&settings("first", nobody));
    let impatient = Nats::connect(first.options()).await.unwrap();
    impatient.store("logins").await.unwrap_err();

    let patient = Options { wait: Duration::from_secs(120), ..first.options() };
    let engine = Nats::connect(patient).await.unwrap();
    let route = format!("\"nats://127.0.0.1:{}\", \"nats://127.0.0.1:2\"", first.cluster_port());
    // It has to be asked before there is anybody who could answer.
    let second = async {
        tokio::task::yield_now().await;
        Broker::with(&settings("second", &route))
    };
    let (opened, _second) = tokio::join!(engine.store("logins"), second);
    opened.unwrap();
}

#[tokio::test]
async fn claims_outlive_their_broker() {
    if !broker::is_there() {
        return;
    }
    let mut broker = Broker::start();
    let engine = Nats::connect(broker.options()).await.unwrap();
    let directory = Directory::new(engine.store("logins").await.unwrap());
    let claim = directory.claim("py", "connector-1").await.unwrap();
    restart(&mut broker, &engine, |_| {}).await;
    assert_eq!(directory.get("py").await.unwrap(), Some(claim));
}

#[tokio::test]
async fn a_store_that_is_gone_is_made_anew() {
    if !broker::is_there() {
        return;
    }
    let mut broker = Broker::start();
    let engine = Nats::connect(broker.options()).await.unwrap();
    let directory = Directory::new(engine.store("logins").await.unwrap());
    directory.claim("py", "connector-1").await.unwrap();
    restart(&mut broker, &engine, |broker| fs::remove_dir_all(broker.store()).unwrap()).await;
    assert!(directory.get("py").await.unwrap().is_none());
    restart(&mut broker, &engine, |broker| fs::remove_dir_all(broker.store()).unwrap()).await;
    directory.claim("py", "connector-2").await.unwrap();
    assert_eq!(directory.get("py").await.unwrap().unwrap().owner, "connector-2");
}

/// Kills a broker, does something, and revives it.
async fn restart(broker: &mut Broker, engine: &Nats, meanwhile: impl FnOnce(&Broker)) {
    let mut link = engine.link();
    broker.kill();
    link.wait_for(|link| *link == Link::Down).await.unwrap();
    meanwhile(broker);
    broker.revive();
    link.wait_for(|link| *link == Link::Up).await.unwrap();
}
