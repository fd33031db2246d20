//! More than somebody reads.

use std::time::Duration;

use bytes::Bytes;
use shaddock_cluster::{Delivery, Engine as _, Pattern, PublishError, Subject};
use shaddock_nats::Nats;
use tokio::time::timeout;

use crate::broker::{self, Broker};

/// What a subscription has room for.
const ROOM: u32 = 65_536;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_read_holds_up_nothing_else() {
    if !broker::is_there() {
        return;
    }
    let broker = Broker::with("");
    let sender = Nats::connect(broker.options()).await.unwrap();
    let reader = Nats::connect(broker.options()).await.unwrap();
    let [flooded, quiet] = ["flooded", "quiet"].map(|name| Subject::new(name).unwrap());
    let exactly = |subject: &Subject| vec![Pattern::Exactly(subject.clone())];
    let mut flood = reader.subscribe(exactly(&flooded), 1).await.unwrap();
    let mut calm = reader.subscribe(exactly(&quiet), 1).await.unwrap();

    for n in 0..2 * ROOM {
        publish(&sender, &flooded, Bytes::copy_from_slice(&n.to_be_bytes())).await;
    }
    publish(&sender, &quiet, "now".into()).await;
    let heard = timeout(Duration::from_secs(20), calm.recv()).await.expect("is not held up");
    assert!(matches!(heard, Some(Delivery::Message { payload, .. }) if payload == "now"));

    // What came before the room was used up is there, and all that came later is lost.
    for n in 0..ROOM {
        let heard = flood.recv().await;
        let Some(Delivery::Message { payload, .. }) = heard else { panic!("heard {heard:?}") };
        assert_eq!(payload[..], n.to_be_bytes());
    }
    publish(&sender, &flooded, "next".into()).await;
    let heard = timeout(Duration::from_secs(20), flood.recv()).await.expect("goes on");
    assert!(matches!(heard, Some(Delivery::Message { payload, .. }) if payload == "next"));
}

async fn publish(sender: &Nats, subject: &Subject, payload: Bytes) {
    while let Err(error) = sender.publish(subject, payload.clone(), None) {
        assert_eq!(error, PublishError::Full);
        tokio::task::yield_now().await;
    }
}
