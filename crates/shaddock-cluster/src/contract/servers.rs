//! What servers promise each other over any engine.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{Heard, Witness, fresh};
use crate::{CallFailure, Config, Engine, Event, JoinError, Member, Node, ServerId, State};

/// Long enough for anything that is on its way, a death notice included.
const SOON: Duration = Duration::from_secs(10);

/// One server casts, then answers; the caller hears the casts first. Of many calls under way, too.
pub async fn pushes_come_before_the_answer_that_follows(
    connect: impl AsyncFn() -> Arc<dyn Engine>,
) {
    let cluster = fresh("order");
    let mut asks = join(&connect, &cluster, "asks", "a").await;
    let mut answers = join(&connect, &cluster, "answers", "b").await;
    let (heard_tx, heard_rx) = std::sync::mpsc::channel();
    for n in 0..200_u8 {
        let heard = heard_tx.clone();
        asks.node.call_then(&id("answers"), [n], in_time(), move |end| {
            heard.send(end.map(|answer| answer[0])).unwrap();
        });
        let (payload, answer) = soon(answers.called()).await;
        assert_eq!(payload[..], [n]);
        answers.node.cast(&id("asks"), [n]).unwrap();
        answer.send([n]).unwrap();
    }
    for n in 0..200 {
        assert_eq!(soon(asks.told()).await[..], [n]);
    }
    // Answers are handled on the same loop as casts, so each was there right after its cast.
    let last = asks.node.call(&id("answers"), "", in_time());
    soon(answers.called()).await.1.send("").unwrap();
    soon(last).await.unwrap();
    assert_eq!(heard_rx.try_iter().collect::<Vec<_>>(), (0..200).map(Ok).collect::<Vec<_>>());
}

/// Casts and calls of two senders: each arrives once, in the order of its sender.
pub async fn nothing_arrives_twice(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("once");
    let mut to = join(&connect, &cluster, "to", "a").await;
    let senders =
        [join(&connect, &cluster, "x", "b").await, join(&connect, &cluster, "y", "b").await];
    for n in 0..500_u32 {
        for sender in &senders {
            sender.node.cast(&id("to"), n.to_be_bytes()).unwrap();
            if n % 10 == 0 {
                sender.node.call_then(&id("to"), n.to_be_bytes(), in_time(), |_| {});
            }
        }
    }
    let mut got: [Vec<Bytes>; 2] = Default::default();
    while got.iter().map(Vec::len).sum::<usize>() < 2 * 550 {
        let (from, payload) = match soon(to.heard()).await {
            Heard::Cast(from, payload) => (from, payload),
            Heard::Call(from, payload, answer) => {
                answer.send("").unwrap();
                (from, payload)
            }
            Heard::Event(Event::Missed { from, casts }) => panic!("{casts} of {from:?} got lost"),
            Heard::Event(_) => continue,
        };
        got[usize::from(from.id == id("y"))].push(payload);
    }
    let sent: Vec<Bytes> = (0..500_u32)
        .flat_map(|n| {
            vec![Bytes::copy_from_slice(&n.to_be_bytes()); if n % 10 == 0 { 2 } else { 1 }]
        })
        .collect();
    assert!(got.iter().all(|got| *got == sent), "not once each, in order");
    assert_eq!(to.node.stats().missed, 0);
}

/// Calls, casts and answers that are too large.
pub async fn large_calls_are_refused_clearly(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("large");
    let a = join(&connect, &cluster, "a", "a").await;
    let mut b = join(&connect, &cluster, "b", "b").await;
    let limit = a.node.max_payload();
    let call = a.node.call(&id("b"), vec![0; limit], in_time());
    let (payload, answer) = soon(b.called()).await;
    assert_eq!(payload.len(), limit);
    assert!(answer.send(vec![0; limit + 1]).is_err());
    assert!(matches!(soon(call).await.unwrap_err().failure, CallFailure::Refused(_)));
    let error = soon(a.node.call(&id("b"), vec![0; limit + 1], in_time())).await.unwrap_err();
    assert!(matches!(error.failure, CallFailure::TooLarge { .. }), "{error}");
    assert!(a.node.cast(&id("b"), vec![0; limit + 1]).is_err());
}

/// A call that nobody answers ends as its deadline says, and what comes late is nobody's.
pub async fn calls_end_at_their_deadline(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("deadline");
    let a = join(&connect, &cluster, "a", "a").await;
    let mut b = join(&connect, &cluster, "b", "b").await;
    let deadline = Instant::now() + Duration::from_millis(300);
    let call = a.node.call(&id("b"), "slow", deadline);
    let (_, answer) = soon(b.called()).await;
    assert!(answer.deadline() <= Instant::now() + Duration::from_millis(300));
    assert_eq!(soon(call).await.unwrap_err().failure, CallFailure::Timeout);
    assert!(deadline <= Instant::now());
    answer.send("late").unwrap();
    let call = a.node.call(&id("b"), "quick", in_time());
    soon(b.called()).await.1.send("here").unwrap();
    assert_eq!(soon(call).await.unwrap(), "here");
    assert_eq!(a.node.stats().waiting, 0);
}

/// Calls to an id that is not there, and to one that crashed, end before their deadline.
pub async fn calls_to_nobody_end_at_once(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("nobody");
    let a = join(&connect, &cluster, "a", "a").await;
    let b = join(&connect, &cluster, "b", "b").await;
    let error = soon(a.node.call(&id("nobody"), "", in_time())).await.unwrap_err();
    assert_eq!((error.server, error.failure), (id("nobody"), CallFailure::NoSuchServer));
    b.crash();
    b.node.left().await;
    let far = Instant::now() + Duration::from_secs(3600);
    let error = soon(a.node.call(&id("b"), "", far)).await.unwrap_err();
    assert!(matches!(error.failure, CallFailure::NoResponders | CallFailure::Gone), "{error}");
    assert_eq!(a.node.stats().waiting, 0);
}

/// An answer that is dropped, or a refusal, ends the call at once.
pub async fn a_call_without_an_answer_is_told_so(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("refuse");
    let a = join(&connect, &cluster, "a", "a").await;
    let mut b = join(&connect, &cluster, "b", "b").await;
    let far = Instant::now() + Duration::from_secs(3600);
    let call = a.node.call(&id("b"), "", far);
    drop(soon(b.called()).await);
    assert!(matches!(soon(call).await.unwrap_err().failure, CallFailure::Refused(_)));
    let call = a.node.call(&id("b"), "", far);
    soon(b.called()).await.1.refuse("busy").unwrap();
    assert_eq!(soon(call).await.unwrap_err().failure, CallFailure::Refused("busy".to_owned()));
}

/// When `join` returns, both sides know each other, with all they tell about themselves.
pub async fn who_joins_knows_and_is_known(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("join");
    let mut first = join(&connect, &cluster, "first", "a").await;
    let mut config = config(&cluster, "second", "b");
    config.frontend = true;
    config.meta.insert("port".to_owned(), 3050.into());
    let second = Witness::join(connect().await, config).await.unwrap();
    assert_eq!(names(&second.node), ["first", "second"]);
    assert_eq!(names(&first.node), ["first", "second"]);
    let known = first.node.members().get(&id("second")).unwrap();
    assert_eq!(Some(&known), second.node.members().get(&id("second")).as_ref());
    assert!(known.frontend && known.meta["port"] == 3050 && known.boot == second.node.peer().boot);
    assert!(matches!(soon(first.event()).await, Event::Joined(member) if member == known));
    second.node.set_leaving();
    assert!(matches!(
        soon(first.event()).await,
        Event::Changed(Member { state: State::Leaving, .. })
    ));
    assert!(
        first.node.any(&known.kind).is_none()
            && first.node.members().of_kind(&known.kind).is_empty()
    );
    second.node.set_staying();
    assert!(matches!(soon(first.event()).await, Event::Changed(member) if member == known));
    assert_eq!(*first.node.members().of_kind(&known.kind), [known]);
}

/// Loads come with beats, also with the first one, and nobody is told that they have changed. A server that says nothing
/// has none.
pub async fn how_busy_each_is_is_known_and_no_event(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("load");
    let mut quick = config(&cluster, "first", "a");
    quick.timings.beat = Duration::from_millis(50);
    let mut first = Witness::join(connect().await, quick).await.unwrap();
    let silent = join(&connect, &cluster, "silent", "b").await;
    first.is_busy_with(3);
    knows_of_load(&silent, "first", 3).await;
    knows_of_load(&first, "first", 3).await;
    let third = join(&connect, &cluster, "third", "b").await;
    knows_of_load(&third, "first", 3).await;
    let known = *silent.node.members().version().borrow();
    first.is_busy_with(5);
    knows_of_load(&silent, "first", 5).await;
    assert_eq!(*silent.node.members().version().borrow(), known, "a load is no change");
    assert_eq!(first.node.members().load(&id("silent")), None);
    assert_eq!(first.node.members().load(&id("nobody")), None);
    let events = first.rest().into_iter().map(|heard| match heard {
        Heard::Event(Event::Joined(member)) => member.id,
        other => panic!("{other:?}"),
    });
    assert_eq!(events.collect::<Vec<_>>(), [id("silent"), id("third")]);
}

async fn knows_of_load(witness: &Witness, of: &str, load: u64) {
    let members = witness.node.members();
    let known = async {
        while members.load(&id(of)) != Some(load) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon(known).await;
}

/// A second server of the same id is refused; after the first has crashed it is let in.
pub async fn an_id_is_taken_while_its_server_lives(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("taken");
    let mut watches = join(&connect, &cluster, "watches", "a").await;
    let first = join(&connect, &cluster, "double", "b").await;
    let refused =
        Witness::join(connect().await, config(&cluster, "double", "b")).await.unwrap_err();
    assert!(matches!(refused, JoinError::Taken { id } if id.as_str() == "double"));
    assert!(matches!(soon(watches.event()).await, Event::Joined(_)));
    first.crash();
    first.node.left().await;
    let second = join(&connect, &cluster, "double", "b").await;
    assert_ne!(first.node.peer().boot, second.node.peer().boot);
    let boot_of = |event| match event {
        Event::Died(member) => ("died", member.boot),
        Event::Joined(member) => ("joined", member.boot),
        other => panic!("{other:?}"),
    };
    assert_eq!(boot_of(soon(watches.event()).await), ("died", first.node.peer().boot));
    assert_eq!(boot_of(soon(watches.event()).await), ("joined", second.node.peer().boot));
}

/// A good-bye ends the calls that wait for who says it.
pub async fn one_who_leaves_is_gone_at_once(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("leave");
    let mut a = join(&connect, &cluster, "a", "a").await;
    let mut b = join(&connect, &cluster, "b", "b").await;
    assert!(matches!(soon(a.event()).await, Event::Joined(_)));
    let far = Instant::now() + Duration::from_secs(3600);
    let call = a.node.call(&id("b"), "", far);
    let (_, unanswered) = soon(b.called()).await;
    let own = b.node.call(&id("a"), "", far);
    soon(b.node.leave()).await;
    assert_eq!(soon(own).await.unwrap_err().failure, CallFailure::Closed);
    assert_eq!(soon(call).await.unwrap_err().failure, CallFailure::Gone);
    assert!(
        matches!(soon(a.event()).await, Event::Left(member) if member.boot == b.node.peer().boot)
    );
    assert_eq!(names(&a.node), ["a"]);
    drop(unanswered);
}

/// Silence makes suspect, then dead, and ends what waits.
pub async fn one_who_crashes_is_found_dead(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let cluster = fresh("crash");
    let mut a = join(&connect, &cluster, "a", "a").await;
    let mut b = join(&connect, &cluster, "b", "b").await;
    assert!(matches!(soon(a.event()).await, Event::Joined(_)));
    let call = a.node.call(&id("b"), "", Instant::now() + Duration::from_secs(3600));
    let held = soon(b.called()).await;
    b.crash();
    assert!(matches!(soon(a.event()).await, Event::Suspect(member) if member.id == id("b")));
    assert!(matches!(soon(a.event()).await, Event::Died(member) if member.id == id("b")));
    assert_eq!(soon(call).await.unwrap_err().failure, CallFailure::Gone);
    drop(held);
}

/// Two clusters on one engine do not see each other.
pub async fn clusters_do_not_mix(connect: impl AsyncFn() -> Arc<dyn Engine>) {
    let (one, other) = (fresh("one"), fresh("other"));
    let a = join(&connect, &one, "same", "a").await;
    let b = join(&connect, &other, "same", "a").await;
    assert_eq!(
        (names(&a.node), names(&b.node)),
        (vec!["same".to_owned()], vec!["same".to_owned()])
    );
}

async fn join(
    connect: &impl AsyncFn() -> Arc<dyn Engine>,
    cluster: &str,
    id: &str,
    kind: &str,
) -> Witness {
    Witness::join(connect().await, config(cluster, id, kind)).await.unwrap()
}

fn config(cluster: &str, id: &str, kind: &str) -> Config {
    let mut config = Config::new(id.parse().unwrap(), kind.parse().unwrap());
    config.cluster = cluster.parse().unwrap();
    // For brokers that have just begun. It is a limit, reached only where somebody has crashed.
    config.timings.roll_call = Duration::from_secs(1);
    config
}

fn names(node: &Node) -> Vec<String> {
    node.members().all().into_iter().map(|member| member.id.into()).collect()
}

fn id(id: &str) -> ServerId {
    id.parse().unwrap()
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("comes soon")
}
