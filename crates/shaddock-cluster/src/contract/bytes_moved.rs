//! What an engine promises about bytes on subjects.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, timeout};

use super::fresh;
use crate::{Delivery, Engine, Pattern, PublishError, Subject, Subscription};

/// Long enough for anything that is on its way.
const SOON: Duration = Duration::from_secs(5);

/// What one engine publishes arrives in that order, on every subject of a pattern.
pub async fn what_one_publishes_keeps_its_order(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let (alice, bob) = (connect().await, connect().await);
    let root = fresh("order");
    let mut feed = bob.subscribe(vec![Pattern::Below(subject(&root))], 4096).await.unwrap();
    let subjects = [subject(&format!("{root}.a")), subject(&format!("{root}.b.c"))];
    for n in 0..2000_u32 {
        alice.publish(&subjects[n as usize % 2], number(n), None).unwrap();
    }
    for n in 0..2000_u32 {
        assert_eq!(message(&mut feed).await, number(n));
    }
}

/// Exact subjects and all below one; itself is not below it.
pub async fn a_subscription_hears_its_patterns_and_no_more(
    connect: impl AsyncFn() -> Arc<dyn Engine>,
) {
    let (alice, bob) = (connect().await, connect().await);
    let root = fresh("match");
    let patterns = vec![
        Pattern::Below(subject(&format!("{root}.below"))),
        Pattern::Exactly(subject(&format!("{root}.exactly"))),
    ];
    let mut feed = bob.subscribe(patterns, 64).await.unwrap();
    for missed in ["", ".below", ".belo.a", ".below-a.b", ".exactly.a"] {
        alice.publish(&subject(&format!("{root}{missed}")), number(0), None).unwrap();
    }
    for (n, heard) in (1..).zip([".below.a", ".below.a.b.c", ".exactly"]) {
        let heard = subject(&format!("{root}{heard}"));
        alice.publish(&heard, number(n), None).unwrap();
        match timeout(SOON, feed.recv()).await.expect("arrives") {
            Some(Delivery::Message { subject, payload }) => {
                assert_eq!((subject, payload), (heard, number(n)))
            }
            other => panic!("heard {other:?}"),
        }
    }
    // Its own words, too.
    bob.publish(&subject(&format!("{root}.exactly")), number(9), None).unwrap();
    assert_eq!(message(&mut feed).await, number(9));
}

/// Publishing never waits for a subscriber; what the full queue has keeps its order, and it works again
/// once it is read.
pub async fn a_full_queue_stops_nobody(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let (alice, bob) = (connect().await, connect().await);
    let there = subject(&fresh("full"));
    let mut feed = bob.subscribe(vec![Pattern::Exactly(there.clone())], 8).await.unwrap();
    let mut accepted = 0;
    for n in 0..1000 {
        match alice.publish(&there, number(n), None) {
            Ok(()) => accepted += 1,
            Err(error) => assert_eq!(error, PublishError::Full),
        }
    }
    let mut arrived = Vec::new();
    let mut limit = SOON;
    while let Ok(Some(Delivery::Message { payload, .. })) = timeout(limit, feed.recv()).await {
        arrived.push(payload);
        limit = Duration::from_secs(2);
    }
    assert!((8..=accepted).contains(&arrived.len()), "{} of {accepted} arrived", arrived.len());
    assert!(arrived.is_sorted(), "out of order");
    alice.publish(&there, number(1000), None).unwrap();
    assert_eq!(message(&mut feed).await, number(1000));
}

/// The largest payload arrives, one byte more is an error that says so.
pub async fn large_payloads_are_refused_clearly(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let (alice, bob) = (connect().await, connect().await);
    let there = subject(&fresh("large"));
    let mut feed = bob.subscribe(vec![Pattern::Exactly(there.clone())], 8).await.unwrap();
    let limit = alice.max_payload();
    let large = Bytes::from(vec![7; limit]);
    alice.publish(&there, large.clone(), None).unwrap();
    assert!(message(&mut feed).await == large);
    let larger = alice.publish(&there, vec![7; limit + 1].into(), None);
    assert_eq!(larger, Err(PublishError::TooLarge { len: limit + 1, limit }));
}

async fn message(feed: &mut Subscription) -> Bytes {
    match timeout(SOON, feed.recv()).await.expect("arrives") {
        Some(Delivery::Message { payload, .. }) => payload,
        other => panic!("heard {other:?}"),
    }
}

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}
