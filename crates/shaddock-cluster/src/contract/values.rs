//! What an engine promises about its store.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, timeout};

use super::fresh;
use crate::{Change, ClaimError, Directory, Engine, Store, StoreError, Watch};

/// Of twenty who create a key at once, one succeeds, and the value is its.
pub async fn of_many_creators_one_succeeds(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let name = fresh("create");
    let mut stores = Vec::new();
    for _ in 0..20 {
        stores.push(store(&connect, &name).await);
    }
    let creators = stores.iter().zip(0_u8..).map(|(store, n)| async move {
        let created = store.create("key", Bytes::copy_from_slice(&[n])).await;
        (n, created)
    });
    let ends = all(creators).await;
    let winners: Vec<u8> = ends.iter().filter(|(_, end)| end.is_ok()).map(|(n, _)| *n).collect();
    assert_eq!(winners.len(), 1);
    assert!(ends.iter().all(|(_, end)| matches!(end, Ok(_) | Err(StoreError::Conflict))));
    assert_eq!(stores[0].get("key").await.unwrap().unwrap().value[..], winners[..]);
}

/// Updates and deletions with an old revision change nothing.
pub async fn a_value_changes_only_by_who_knows_it(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let name = fresh("update");
    let (one, other) = (store(&connect, &name).await, store(&connect, &name).await);
    assert!(one.get("key").await.unwrap().is_none());
    assert!(matches!(one.update("key", "x".into(), 1).await, Err(StoreError::Conflict)));
    assert!(matches!(one.delete("key", 1).await, Err(StoreError::Conflict)));
    let first = one.create("key", "a".into()).await.unwrap();
    let second = other.update("key", "b".into(), first).await.unwrap();
    assert!(matches!(one.update("key", "c".into(), first).await, Err(StoreError::Conflict)));
    assert!(matches!(one.delete("key", first).await, Err(StoreError::Conflict)));
    let entry = one.get("key").await.unwrap().unwrap();
    assert_eq!((&entry.value[..], entry.revision), (&b"b"[..], second));
    one.delete("key", second).await.unwrap();
    assert!(other.get("key").await.unwrap().is_none());
    assert!(matches!(other.update("key", "d".into(), second).await, Err(StoreError::Conflict)));
}

/// After a deletion a key is as new.
pub async fn a_deleted_key_can_be_made_again(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let store = store(&connect, &fresh("again")).await;
    let first = store.create("key", "a".into()).await.unwrap();
    store.delete("key", first).await.unwrap();
    let again = store.create("key", "b".into()).await.unwrap();
    assert!(first < again);
    assert_eq!(store.get("key").await.unwrap().unwrap().value, "b");
}

/// Revisions are fencing tokens: later ones are greater, whatever the key.
pub async fn revisions_grow(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let store = store(&connect, &fresh("grow")).await;
    let mut last = 0;
    for n in 0..20 {
        let key = format!("key-{}", n % 3);
        let revision = match store.get(&key).await.unwrap() {
            None => store.create(&key, "a".into()).await.unwrap(),
            Some(entry) => store.update(&key, "b".into(), entry.revision).await.unwrap(),
        };
        assert!(last < revision, "{revision} after {last}");
        last = revision;
    }
}

/// First what is there, then each change.
pub async fn a_watcher_sees_what_is_and_what_comes(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let store = store(&connect, &fresh("watch")).await;
    let first = store.create("a", "1".into()).await.unwrap();
    let gone = store.create("gone", "1".into()).await.unwrap();
    store.delete("gone", gone).await.unwrap();
    let mut watch = store.watch().await.unwrap();
    assert_eq!(live_change(&mut watch).await, change("a", Some("1"), first));
    let second = store.update("a", "2".into(), first).await.unwrap();
    let other = store.create("b", "1".into()).await.unwrap();
    store.delete("a", second).await.unwrap();
    assert_eq!(live_change(&mut watch).await, change("a", Some("2"), second));
    assert_eq!(live_change(&mut watch).await, change("b", Some("1"), other));
    let deleted = next_change(&mut watch).await;
    assert_eq!((deleted.key.as_str(), deleted.value), ("a", None));
    assert!(other < deleted.revision);
}

/// A key in one store is not in another.
pub async fn stores_do_not_mix(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let (one, other) =
        (store(&connect, &fresh("one")).await, store(&connect, &fresh("other")).await);
    one.create("key", "a".into()).await.unwrap();
    assert!(other.get("key").await.unwrap().is_none());
}

/// What can't be a key or a store's name is refused as such; what can is taken.
pub async fn keys_and_names_are_checked(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let engine = connect().await;
    assert!(matches!(engine.store("a.b").await, Err(StoreError::BadName(_))));
    assert!(matches!(engine.store("").await, Err(StoreError::BadName(_))));
    let store = store(&connect, &fresh("keys")).await;
    for bad in ["", "a.b", "a*", ">", "a b", "é", &"x".repeat(513)] {
        assert!(matches!(store.create(bad, "a".into()).await, Err(StoreError::BadKey)), "{bad}");
        assert!(matches!(store.get(bad).await, Err(StoreError::BadKey)), "{bad}");
        assert!(matches!(store.delete(bad, 1).await, Err(StoreError::BadKey)), "{bad}");
    }
    for good in ["a", "-_=", "Az09", &"x".repeat(512)] {
        store.create(good, "a".into()).await.unwrap();
        assert_eq!(store.get(good).await.unwrap().unwrap().value, "a");
    }
    let large = vec![0; engine.max_payload() + 1];
    assert!(matches!(store.create("large", large.into()).await, Err(StoreError::TooLarge { .. })));
}

/// Claims: one of many gets the name, only the owner gives it back, who takes it over fences the other off.
pub async fn a_name_has_one_owner(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let name = fresh("claims");
    let mut directories = Vec::new();
    for _ in 0..10 {
        directories.push(Directory::new(store(&connect, &name).await));
    }
    let claims = directories.iter().enumerate().map(|(n, directory)| async move {
        directory.claim("张三 * >", format!("owner-{n}")).await
    });
    let claims = all(claims).await;
    let mut won = claims.iter().flatten();
    let claim = won.next().expect("one wins").clone();
    assert!(won.next().is_none(), "one wins");
    for lost in claims.iter().filter_map(|claim| claim.as_ref().err()) {
        assert!(matches!(lost, ClaimError::Taken { by } if *by == claim), "{lost:?}");
    }

    let directory = &directories[0];
    assert_eq!(directory.claim(&claim.name, &claim.owner).await.unwrap(), claim);
    let renewed = directory.renew(&claim).await.unwrap();
    assert!(claim.revision < renewed.revision);
    let taken = directory.take_over(&renewed, "another").await.unwrap();
    assert!(renewed.revision < taken.revision);
    assert!(
        matches!(directory.renew(&renewed).await, Err(ClaimError::Taken { by }) if by == taken)
    );
    assert!(!directory.release(&renewed).await.unwrap());
    assert_eq!(directory.get(&claim.name).await.unwrap(), Some(taken.clone()));
    assert!(directory.release(&taken).await.unwrap());
    assert!(directory.get(&claim.name).await.unwrap().is_none());
    assert!(matches!(directory.renew(&taken).await, Err(ClaimError::Gone)));
}

async fn store(connect: &impl AsyncFn() -> Arc<dyn Engine>, name: &str) -> Arc<dyn Store> {
    connect().await.store(name).await.unwrap()
}

/// The next change that is not a deletion which lies before the watch: engines may tell of those.
async fn live_change(watch: &mut Watch) -> Change {
    loop {
        let change = next_change(watch).await;
        if change.value.is_some() {
            return change;
        }
        assert_eq!(change.key, "gone");
    }
}

async fn next_change(watch: &mut Watch) -> Change {
    timeout(Duration::from_secs(5), watch.recv()).await.expect("comes soon").expect("goes on")
}

fn change(key: &str, value: Option<&'static str>, revision: u64) -> Change {
    Change { key: key.to_owned(), value: value.map(Bytes::from), revision }
}

/// Runs all at the same time.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}
