//! Servers that are cut off, freeze, come back, are replaced, or can't keep up.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use shaddock_cluster::contract::{Heard, Witness};
use shaddock_cluster::memory::{Chaos, Memory};
use shaddock_cluster::{
    Answer, CallFailure, CastFailure, Config, Event, Kind, Node, Peer, Receive, ServerId, State,
    trampoline,
};
use tokio::time::{Duration, Instant};

pub(crate) async fn join(engine: &Arc<Memory>, id: &str, kind: &str) -> Witness {
    Witness::join(engine.clone(), Config::new(id.parse().unwrap(), kind.parse().unwrap()))
        .await
        .unwrap()
}

pub(crate) fn kind(kind: &str) -> Kind {
    kind.parse().unwrap()
}

pub(crate) fn id(id: &str) -> ServerId {
    id.parse().unwrap()
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn joining_takes_no_time_in_one_process() {
    let start = Instant::now();
    let engine = Memory::new();
    let mut servers = Vec::new();
    for n in 0..7 {
        servers.push(join(&engine, &format!("s-{n}"), "a").await);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(servers.iter().all(|server| server.node.members().all().len() == 7));
}

#[tokio::test(start_paused = true)]
async fn servers_that_join_at_once_find_each_other() {
    let engine = Memory::new();
    let joining: Vec<_> = (0..10)
        .map(|n| {
            let engine = engine.clone();
            async move { join(&engine, &format!("s-{n}"), "a").await }
        })
        .map(tokio::spawn)
        .collect();
    for joining in joining {
        let server = joining.await.unwrap();
        server.node.members().until(|members| members.all().len() == 10).await;
        // The others look for it still.
        std::mem::forget(server);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_another_joins_is_no_member_there() {
    let engine = Memory::new();
    let (far, new) = (engine.connect(), engine.connect());
    let (_a, b, _c) =
        (join(&engine, "a", "a").await, join(&engine, "b", "a").await, join(&far, "c", "a").await);
    // The newcomer waits for its answer.
    far.part_from(&new);
    let (joined, ()) = tokio::join!(join(&new, "d", "a"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        b.node.leave().await;
    });
    let members = joined.node.members().all();
    let ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["a", "d"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_takes_nobody_for_dead() {
    let engine = Memory::new();
    let wire = engine.connect();
    let mut stays = join(&engine, "stays", "a").await;
    let mut cut = join(&wire, "cut", "a").await;
    let boot = cut.node.peer().boot;
    assert!(matches!(stays.event().await, Event::Joined(_)));
    let waiting = cut.node.call(&id("stays"), "", after(60_000));
    let (_, answer) = stays.called().await;

    wire.cut();
    // The calls under way end after a short grace, new ones at once.
    let start = Instant::now();
    assert_eq!(waiting.await.unwrap_err().failure, CallFailure::Disconnected);
    assert_eq!(start.elapsed(), Duration::from_millis(500));
    let refused = cut.node.call(&id("stays"), "", after(60_000)).await.unwrap_err();
    assert_eq!(refused.failure, CallFailure::NoLink);
    assert_eq!(cut.node.cast(&id("stays"), "").unwrap_err().failure, CastFailure::NoLink);
    answer.send("into the void").unwrap();
    assert!(matches!(stays.event().await, Event::Suspect(_)));
    assert!(matches!(stays.event().await, Event::Died(member) if member.boot == boot));
    tokio::time::sleep(Duration::from_secs(60)).await;
    wire.heal();

    assert!(matches!(stays.event().await, Event::Joined(member) if member.boot == boot));
    assert!(matches!(cut.event().await, Event::Joined(_)));
    assert!(matches!(cut.event().await, Event::LinkLost));
    assert!(
        matches!(cut.event().await, Event::LinkBack { after } if Duration::from_secs(60) < after)
    );
    assert!(matches!(cut.event().await, Event::Forgotten { by } if by.id == id("stays")));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(cut.rest().is_empty() && stays.rest().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_hears_not_even_itself_takes_nobody_for_dead() {
    let engine = Memory::new();
    let other = engine.connect();
    let (mut a, mut b) = (join(&engine, "a", "a").await, join(&other, "b", "a").await);
    assert!(matches!(a.event().await, Event::Joined(_)));
    assert!(matches!(b.event().await, Event::Joined(_)));

    // As by a broker that stands still: no engine has found out yet.
    engine.change(Chaos { loss: 1.0, ..Chaos::default() });
    tokio::time::sleep(Duration::from_secs(60)).await;
    engine.change(Chaos::default());
    tokio::time::sleep(Duration::from_secs(10)).await;
    for server in [&mut a, &mut b] {
        let events = server.rest();
        let died = events.iter().any(|heard| matches!(heard, Heard::Event(Event::Died(_))));
        assert!(!died, "{events:?}");
    }
    // A silence of one is no silence of all.
    b.crash();
    assert!(matches!(a.event().await, Event::Suspect(_)));
    assert!(matches!(a.event().await, Event::Died(_)));
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_is_only_a_doubt() {
    let engine = Memory::new();
    let wire = engine.connect();
    let mut stays = join(&engine, "stays", "a").await;
    let mut cut = join(&wire, "cut", "a").await;
    wire.cut();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    wire.heal();
    assert!(matches!(stays.event().await, Event::Joined(_)));
    assert!(matches!(stays.event().await, Event::Suspect(_)));
    assert!(matches!(stays.event().await, Event::Alive(_)));
    // What was sent before and after the cut needs no new start.
    cut.node.cast(&id("stays"), "hello").unwrap();
    assert_eq!(stays.told().await, "hello");
    assert_eq!(stays.node.stats().missed, 0);
    assert!(matches!(cut.event().await, Event::Joined(_)));
}

#[tokio::test(start_paused = true)]
async fn two_who_were_parted_meet_again_with_the_same_boots() {
    let (engine, other) = {
        let engine = Memory::new();
        let other = engine.connect();
        (engine, other)
    };
    let mut a = join(&engine, "a", "a").await;
    let mut b = join(&other, "b", "a").await;
    a.node.cast(&id("b"), "1").unwrap();
    assert_eq!(b.told().await, "1");
    engine.part_from(&other);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(a.node.members().get(&id("b")).is_none() && b.node.members().get(&id("a")).is_none());
    engine.meet(&other);
    a.node.members().until(|members| members.get(&id("b")).is_some()).await;
    b.node.members().until(|members| members.get(&id("a")).is_some()).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Numbers begin anew, and that is not taken for a loss.
    a.node.cast(&id("b"), "2").unwrap();
    assert_eq!(b.told().await, "2");
    assert_eq!(b.node.stats().missed, 0);
    let kinds: Vec<_> = a
        .rest()
        .into_iter()
        .map(|heard| match heard {
            Heard::Event(Event::Joined(_)) => "joined",
            Heard::Event(Event::Suspect(_)) => "suspect",
            Heard::Event(Event::Died(_)) => "died",
            Heard::Event(Event::Forgotten { .. }) => "forgotten",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["joined", "suspect", "died", "joined", "forgotten"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_was_forgotten_is_told_before_anything_of_its_is_taken() {
    let engine = Memory::new();
    let wire = engine.connect();
    let mut b = join(&engine, "b", "a").await;
    let mut a = join(&wire, "a", "a").await;
    let boot = a.node.peer().boot;
    wire.cut();
    b.node.members().until(|members| members.get(&id("a")).is_none()).await;
    wire.heal();
    // Sent before it is known that what came before was let go of: refused, and surely not done.
    let early = a.node.call(&id("b"), "early", after(1000)).await.unwrap_err();
    assert!(early.failure.never_ran(), "{early:?}");
    while !matches!(a.event().await, Event::Forgotten { by } if by.id == id("b")) {}
    a.node.cast(&id("b"), "late").unwrap();
    assert!(matches!(b.event().await, Event::Joined(_)));
    assert!(matches!(b.event().await, Event::Suspect(_)));
    assert!(matches!(b.event().await, Event::Died(member) if member.boot == boot));
    assert!(matches!(b.event().await, Event::Joined(member) if member.boot == boot));
    assert_eq!(b.told().await, "late");
    assert_eq!((b.node.stats().stale, b.node.stats().missed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn one_who_was_cut_off_and_replaced_leaves() {
    let engine = Memory::new();
    let wire = engine.connect();
    let mut stays = join(&engine, "stays", "a").await;
    let mut old = join(&wire, "double", "a").await;
    wire.cut();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let new = join(&engine, "double", "a").await;
    let boot = new.node.peer().boot;
    wire.heal();
    old.node.left().await;
    let last = old.rest().pop().unwrap();
    assert!(matches!(last, Heard::Event(Event::Replaced { by }) if by == boot), "{last:?}");
    assert_eq!(old.node.cast(&id("stays"), "").unwrap_err().failure, CastFailure::Closed);
    let closed = old.node.call(&id("stays"), "", after(1000)).await.unwrap_err();
    assert_eq!(closed.failure, CallFailure::Closed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stays.node.members().get(&id("double")).unwrap().boot, boot);
    let joined = |heard: &Heard| matches!(heard, Heard::Event(Event::Joined(_)));
    assert_eq!(stays.rest().iter().filter(|heard| joined(heard)).count(), 2);
    assert!(new.node.members().get(&id("stays")).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_meant_for_an_earlier_run_is_not_taken() {
    let engine = Memory::new();
    let wire = engine.connect();
    let a = join(&engine, "a", "a").await;
    let old = join(&wire, "b", "b").await;
    // `a` does not hear that `b` is another.
    let replaced = engine.connect();
    engine.part_from(&replaced);
    old.crash();
    old.node.left().await;
    let new = join(&replaced, "b", "b").await;
    engine.meet(&replaced);
    assert_eq!(a.node.members().get(&id("b")).unwrap().boot, old.node.peer().boot);
    a.node.cast(&id("b"), "for the old one").unwrap();
    let error = a.node.call(&id("b"), "for the old one", after(60_000)).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::NoResponders);
    assert!(error.failure.never_ran());
    assert_eq!(new.node.stats().stale, 2);
}

#[tokio::test(start_paused = true)]
async fn lost_casts_are_counted_where_they_are_missed() {
    let engine = Memory::new();
    let other = engine.connect();
    let a = join(&engine, "a", "a").await;
    let mut b = join(&other, "b", "a").await;
    a.node.cast(&id("b"), "1").unwrap();
    engine.part_from(&other);
    for _ in 0..3 {
        a.node.cast(&id("b"), "lost").unwrap();
    }
    engine.meet(&other);
    a.node.cast(&id("b"), "2").unwrap();
    assert_eq!(b.told().await, "1");
    assert!(matches!(b.event().await, Event::Missed { from, casts: 3 } if from == *a.node.peer()));
    assert_eq!(b.told().await, "2");
    assert_eq!(b.node.stats().missed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_costs_the_others_nothing() {
    let engine = Memory::new();
    let mut config = Config::new(id("slow"), kind("a"));
    config.queue = 10;
    let mut slow = Witness::join(engine.clone(), config).await.unwrap();
    let fast = join(&engine, "fast", "a").await;
    // Nothing is read while this task does not wait.
    let sent =
        (0..50).filter(|n: &u32| fast.node.cast(&id("slow"), n.to_be_bytes()).is_ok()).count();
    assert!((1..=10).contains(&sent), "{sent}");
    let error = fast.node.cast(&id("slow"), "").unwrap_err();
    assert_eq!((error.server, error.failure), (id("slow"), CastFailure::Full));
    let error = fast.node.call(&id("slow"), "", after(60_000)).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Full);
    for n in 0..u32::try_from(sent).unwrap() {
        assert_eq!(slow.told().await[..], n.to_be_bytes());
    }
    // What was refused is no loss.
    fast.node.cast(&id("slow"), "again").unwrap();
    assert_eq!(slow.told().await, "again");
    assert_eq!(slow.node.stats().missed, 0);
}

#[tokio::test(start_paused = true)]
async fn answers_wait_for_room() {
    let engine = Memory::new();
    let mut config = Config::new(id("asks"), kind("a"));
    config.queue = 10;
    let asks = Witness::join(engine.clone(), config).await.unwrap();
    let mut answers = join(&engine, "answers", "a").await;
    let calls = ["1", "2", "3"].map(|n| asks.node.call(&id("answers"), n, after(60_000)));
    let mut asked = Vec::new();
    for _ in &calls {
        asked.push(answers.called().await);
    }
    // From here on nothing is read while this task does not wait.
    while answers.node.cast(&id("asks"), "") == Ok(()) {}
    for (n, answer) in asked {
        match &n[..] {
            b"3" => answer.refuse("no").unwrap(),
            _ => answer.send(n).unwrap(),
        }
    }
    let [first, second, third] = calls;
    assert_eq!(first.await.unwrap(), "1");
    assert_eq!(second.await.unwrap(), "2");
    assert_eq!(third.await.unwrap_err().failure, CallFailure::Refused("no".to_owned()));
    assert_eq!((asks.node.stats().missed, asks.node.stats().stale), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn every_server_of_a_kind_is_told() {
    let engine = Memory::new();
    let mut fronts = [join(&engine, "f-1", "front").await, join(&engine, "f-2", "front").await];
    let other = join(&engine, "b-1", "back").await;
    assert!(fronts[0].node.cast_kind(&kind("front"), "to all").is_empty());
    assert!(other.node.cast_kind(&kind("front"), "from outside").is_empty());
    for front in &mut fronts {
        assert_eq!(front.told().await, "to all");
        assert_eq!(front.told().await, "from outside");
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_calls_each_end_once() {
    let engine = Memory::new();
    let a = join(&engine, "a", "a").await;
    let mut b = join(&engine, "b", "a").await;
    let ends = Arc::new(std::sync::Mutex::new(vec![0_u32; 3000]));
    for n in 0..3000_usize {
        let ends = Arc::clone(&ends);
        let deadline = after(100 + u64::try_from(n % 50).unwrap());
        a.node.call_then(&id("b"), n.to_be_bytes(), deadline, move |end| {
            assert_eq!(end.is_ok(), n % 3 == 0, "{n}: {end:?}");
            ends.lock().unwrap()[n] += 1;
        });
    }
    // A third is answered, a third never, and a third too late.
    let mut late = Vec::new();
    for n in 0..3000_usize {
        let (_, answer) = b.called().await;
        match n % 3 {
            0 => answer.send("").unwrap(),
            _ => late.push(answer),
        }
    }
    tokio::time::sleep(Duration::from_millis(155)).await;
    assert_eq!(a.node.stats().waiting, 0);
    drop(late);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(ends.lock().unwrap().iter().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_call_leaves_nothing_behind() {
    let engine = Memory::new();
    let a = join(&engine, "a", "a").await;
    let mut b = join(&engine, "b", "a").await;
    let call = a.node.call(&id("b"), "", after(60_000));
    assert_eq!(a.node.stats().waiting, 1);
    drop(call);
    assert_eq!(a.node.stats().waiting, 0);
    b.called().await.1.send("nobody waits").unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_dropped_leaves() {
    let engine = Memory::new();
    let mut a = join(&engine, "a", "a").await;
    let b = join(&engine, "b", "a").await;
    let clone = b.node.clone();
    drop(b);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(a.node.members().get(&id("b")).unwrap().state, State::Alive);
    drop(clone);
    assert!(matches!(a.event().await, Event::Joined(_)));
    assert!(matches!(a.event().await, Event::Left(_)));
}

#[tokio::test(start_paused = true)]
async fn odd_messages_are_counted_and_nothing_else() {
    use shaddock_cluster::{Engine, Subject};
    let engine = Memory::new();
    let mut a = join(&engine, "a", "a").await;
    let subjects = ["s.a.in", "s.a.beat", "s.a.what", "m.who", "m.beat.x.y", "m.bye.x.y", "m.what"];
    for subject in subjects {
        let subject = Subject::new(&format!("shaddock.{subject}")).unwrap();
        engine.publish(&subject, "odd".into(), None).unwrap();
    }
    a.node.cast(&id("a"), "to myself").unwrap();
    assert_eq!(a.told().await, "to myself");
    assert_eq!(a.node.stats().unreadable, 7);
    assert!(a.rest().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_frozen_takes_nobody_for_dead() {
    let engine = Memory::new();
    let mut servers = [join(&engine, "a", "a").await, join(&engine, "b", "a").await];
    for _ in 0..5 {
        // Time passes and nothing runs: all timers are late at once.
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    for server in &mut servers {
        let died = |heard: &Heard| matches!(heard, Heard::Event(Event::Died(_)));
        assert!(!server.rest().iter().any(died));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_with_one_id_who_join_at_once_one_stays() {
    for _ in 0..50 {
        let engine = Memory::new();
        let other = join(&engine, "other", "a").await;
        let (one, two) = tokio::join!(
            Witness::join(engine.clone(), Config::new(id("double"), kind("a"))),
            Witness::join(engine.clone(), Config::new(id("double"), kind("a"))),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        let stayed = tokio::select! {
            () = one.node.left() => two,
            () = two.node.left() => one,
        };
        tokio::time::sleep(Duration::from_secs(10)).await;
        let seen = other.node.members().get(&id("double")).unwrap();
        assert_eq!(seen.boot, stayed.node.peer().boot);
        stayed.node.cast(&id("other"), "").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_overtaken_counts_as_lost_and_does_nothing() {
    let hub = Memory::chaotic(1, Chaos::default());
    let (a, mut b) = (join(&hub, "a", "a").await, join(&hub, "b", "a").await);
    hub.change(Chaos { late: 0.5, ..Chaos::default() });
    for number in 1..=100u64 {
        a.node.cast(&id("b"), number.to_be_bytes()).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    hub.change(Chaos::default());
    a.node.cast(&id("b"), 101u64.to_be_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let number = |heard: &Heard| match heard {
        Heard::Cast(_, payload) => Some(u64::from_be_bytes(payload[..].try_into().unwrap())),
        _ => None,
    };
    let told: Vec<u64> = b.rest().iter().filter_map(number).collect();
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&101));
    let lost = b.node.stats().missed;
    assert!(0 < lost && told.len() as u64 + lost == 101, "{lost} of {told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_was_overtaken_says_nothing_new() {
    let hub = Memory::chaotic(1, Chaos::default());
    let (a, mut b) = (join(&hub, "a", "a").await, join(&hub, "b", "a").await);
    hub.change(Chaos { late: 1.0, ..Chaos::default() });
    a.node.set_leaving();
    hub.change(Chaos { delay: Duration::ZERO..Duration::from_millis(1), ..Chaos::default() });
    tokio::time::sleep(Duration::from_millis(1)).await;
    a.node.set_staying();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let changed = |heard: &Heard| matches!(heard, Heard::Event(Event::Changed(_)));
    let heard = b.rest();
    assert!(!heard.iter().any(changed), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_hides_no_beat() {
    let engine = Memory::new();
    let mut config = Config::new(id("flooded"), kind("a"));
    config.queue = 4;
    let mut flooded = Witness::join(engine.clone(), config).await.unwrap();
    let quiet = join(&engine, "quiet", "a").await;
    for _ in 0..200 {
        while quiet.node.cast(&id("flooded"), "more").is_ok() {}
        tokio::time::advance(Duration::from_millis(100)).await;
        let judged =
            |heard: &Heard| matches!(heard, Heard::Event(Event::Suspect(_) | Event::Died(_)));
        assert!(!flooded.rest().iter().any(judged));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_the_others_have_a_whole_period_to_be_heard() {
    let engine = Memory::new();
    let (one, two) = (engine.connect(), engine.connect());
    let mut a = join(&one, "a", "a").await;
    let _b = join(&two, "b", "a").await;
    one.cut();
    two.cut();
    tokio::time::sleep(Duration::from_secs(60)).await;
    one.heal();
    tokio::time::sleep(Duration::from_secs(3)).await;
    two.heal();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let died = |heard: &Heard| matches!(heard, Heard::Event(Event::Died(_)));
    assert!(!a.rest().iter().any(died));
}

#[tokio::test(start_paused = true)]
async fn one_who_has_not_entered_reaches_nobody_and_may_leave() {
    let engine = Memory::new();
    let _taken = join(&engine, "a", "a").await;
    let node = Node::new(engine.clone(), Config::new(id("a"), kind("a")));
    let error = node.call(&id("a"), "", after(60_000)).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Closed);
    let error = node.cast(&id("a"), "").unwrap_err();
    assert_eq!(error.failure, CastFailure::Closed);
    node.leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_ran_leaves_no_call_waiting() {
    struct Deaf;
    impl Receive for Deaf {
        fn call(&self, _: &Peer, _: Bytes, _: Answer) {}
        fn cast(&self, _: &Peer, _: Bytes) {}
    }
    let node = Node::new(Memory::new(), Config::new(id("a"), kind("a")));
    node.enter(Arc::new(Deaf), drop).await.unwrap();
    node.left().await;
    let error = node.call(&id("a"), "", after(60_000)).await.unwrap_err();
    assert_eq!(error.failure, CallFailure::Closed);
}

/// Panics when it is asked anything.
struct Fragile;

impl Receive for Fragile {
    fn call(&self, _: &Peer, _: Bytes, _: Answer) {
        panic!("of the test");
    }

    fn cast(&self, _: &Peer, _: Bytes) {}
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_taken_in_the_senders_turn() {
    let engine = Memory::new();
    let (a, mut b) = (join(&engine, "a-1", "a").await, join(&engine, "b-1", "b").await);
    let call = trampoline::run(1, || a.node.call(&id("b-1"), "ping", after(1000)));
    // Nothing that waits for a task is there at once.
    let (payload, answer) = b.called().now_or_never().unwrap();
    trampoline::run(1, || answer.send(payload)).unwrap();
    assert_eq!(call.now_or_never().unwrap().unwrap(), "ping");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_panics_in_a_senders_turn_ends_its_own_node_alone() {
    let engine = Memory::new();
    let a = join(&engine, "a-1", "a").await;
    let config = Config::new(id("b-1"), kind("b"));
    let spawn = |task| drop(tokio::spawn(task));
    let b = Node::join(engine, config, Arc::new(Fragile), spawn).await.unwrap();
    let call = trampoline::run(1, || a.node.call(&id("b-1"), "ping", after(1000)));
    b.left().await;
    assert!(call.await.is_err());
    assert_eq!(a.node.members().all().len(), 1);
}
