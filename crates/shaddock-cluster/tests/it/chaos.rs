//! Small clusters in bad weather, over many seeds: late and lost messages, cuts, partitions, crashes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shaddock_cluster::memory::{Chaos, Memory};
use shaddock_cluster::{
    Answer, Boot, ClaimError, Config, Engine, Event, Member, Node, Peer, Receive, ServerId, State,
};
use tokio::runtime::Builder;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep};

use crate::nodes::{id, kind};

/// How many seeds each scenario runs by default; `SHADDOCK_SEEDS` asks for another number.
const SEEDS: u64 = 100;

const SERVERS: usize = 4;

#[test]
fn without_loss_nothing_is_missed_and_answers_come_last() {
    for_each_seed(|seed| scenario(seed, Trouble::Delay));
}

#[test]
fn with_loss_calls_end_and_order_holds() {
    for_each_seed(|seed| scenario(seed, Trouble::Loss));
}

#[test]
fn after_cuts_partitions_and_crashes_all_is_as_before() {
    for_each_seed(|seed| scenario(seed, Trouble::Everything));
}

#[test]
fn a_name_never_has_two_owners() {
    for_each_seed(claims);
}

#[test]
fn a_seed_brings_the_same_again() {
    for seed in 0..10 {
        let run = || run_paused(scenario(seed, Trouble::Everything));
        assert_eq!(run(), run(), "seed {seed}");
    }
}

fn for_each_seed<F: Future<Output = String>>(scenario: impl Fn(u64) -> F) {
    let seeds = std::env::var("SHADDOCK_SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let _said = SaySeed(seed);
        run_paused(scenario(seed));
    }
}

fn run_paused<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Says which seed it was when a test fails.
struct SaySeed(u64);

impl Drop for SaySeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    Delay,
    Loss,
    Everything,
}

/// Servers talk for a while, with trouble; then all is well again. Returns what happened, as text.
async fn scenario(seed: u64, trouble: Trouble) -> String {
    let mut random = Random(seed);
    let (loss, late) = if trouble == Trouble::Delay { (0.0, 0.0) } else { (0.03, 0.03) };
    let delay = Duration::ZERO..Duration::from_millis(1 + random.below(400));
    let hub = Memory::chaotic(seed, Chaos { delay, loss, late });
    let diary =
        Arc::new(Mutex::new(Diary { strict: trouble == Trouble::Delay, ..Diary::default() }));
    let mut servers = Vec::new();
    for n in 0..SERVERS {
        servers.push(Server::join(&hub.connect(), n, &diary).await);
    }
    for _ in 0..20 {
        let from = random.below(SERVERS as u64) as usize;
        for server in &servers {
            server.talk(&mut random);
        }
        if trouble == Trouble::Everything {
            let to = (from + 1 + random.below(SERVERS as u64 - 1) as usize) % SERVERS;
            match random.below(24) {
                0 => servers[from].wire.cut(),
                1 => servers[from].wire.part_from(&servers[to].wire),
                2 => servers[from].wire.heal(),
                3 => servers[from].wire.meet(&servers[to].wire),
                4 => servers[from].come_again(&diary, true).await,
                5 => servers[from].come_again(&diary, false).await,
                _ => {}
            }
        }
        sleep(Duration::from_millis(random.below(800))).await;
    }
    for server in &servers {
        server.wire.heal();
        servers.iter().for_each(|other| server.wire.meet(&other.wire));
    }
    hub.change(Chaos { delay: Duration::ZERO..Duration::from_millis(100), ..Chaos::default() });
    // Longer than it takes to be found dead, to be heard of again, and any deadline.
    sleep(Duration::from_secs(12)).await;
    for server in &servers {
        for other in &servers {
            let seen = server.node.members().get(&other.node.peer().id);
            let seen = seen.unwrap_or_else(|| {
                panic!("{:?} does not see {:?}", server.node.peer(), other.node.peer())
            });
            let (own, other) = (server.node.peer().boot, other.node.peer().boot);
            assert_eq!(seen.boot, other);
            let diary = diary.lock().unwrap();
            let (again, told) = (diary.again.get(&(own, other)), diary.told.get(&(own, other)));
            assert!(again <= told, "one was forgotten and does not know");
        }
        assert_eq!(server.node.stats().waiting, 0);
    }
    let diary = diary.lock().unwrap();
    diary.check();
    diary.log.clone()
}

/// Servers take turns with one name. Returns who had it.
async fn claims(seed: u64) -> String {
    let hub = Memory::chaotic(
        seed,
        Chaos { delay: Duration::ZERO..Duration::from_millis(50), loss: 0.2, late: 0.05 },
    );
    let holder = Arc::new(Mutex::new((None, String::new())));
    let tasks: Vec<_> = (0..SERVERS)
        .map(|n| {
            let (wire, holder) = (hub.connect(), Arc::clone(&holder));
            async move {
                let names = shaddock_cluster::Directory::new(wire.store("names").await.unwrap());
                let mut last = 0;
                for _ in 0..10 {
                    let claim = loop {
                        match names.claim("py", format!("owner-{n}")).await {
                            Ok(claim) => break claim,
                            Err(ClaimError::Taken { .. } | ClaimError::Store(_)) => {
                                sleep(Duration::from_millis(30)).await
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    };
                    assert!(last <= claim.revision, "a fencing token went back");
                    last = claim.revision;
                    {
                        let (now, log) = &mut *holder.lock().unwrap();
                        assert_eq!(now.replace(n), None, "two owners");
                        write!(log, "{n} ").unwrap();
                    }
                    sleep(Duration::from_millis(20)).await;
                    assert_eq!(holder.lock().unwrap().0.take(), Some(n));
                    // Until it is certain that it is not ours any more.
                    while names.release(&claim).await.is_err() {}
                }
            }
        })
        .map(tokio::spawn)
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let log = holder.lock().unwrap().1.clone();
    assert_eq!(log.len(), 2 * 10 * SERVERS);
    log
}

/// What all servers saw, and whether it may be.
#[derive(Default)]
struct Diary {
    /// Nothing gets lost.
    strict: bool,
    log: String,
    /// The last cast that one run of a server got from one run of another, and how many.
    got: BTreeMap<(Boot, Boot), (u32, u32)>,
    /// The last cast that one run of a server sent to an id.
    sent: BTreeMap<(Boot, ServerId), u32>,
    missed: u64,
    calls: u32,
    ended: u32,
    /// The state of a member in the eyes of a server.
    seen: BTreeMap<(Boot, ServerId), (Boot, State)>,
    /// Grows with all that happens.
    now: u64,
    /// When each cast was sent.
    sent_at: BTreeMap<(Boot, ServerId, u32), u64>,
    /// When a server took another for dead.
    died: BTreeMap<(Boot, Boot), u64>,
    /// When it took that one in again.
    again: BTreeMap<(Boot, Boot), u64>,
    /// When that one heard of it.
    told: BTreeMap<(Boot, Boot), u64>,
}

impl Diary {
    fn check(&self) {
        assert_eq!(self.calls, self.ended, "calls that did not end");
        if self.strict {
            assert_eq!(self.missed, 0);
            let sent: u32 = self.sent.values().sum();
            let got: u32 = self.got.values().map(|(_, count)| count).sum();
            assert_eq!(sent, got, "casts that got lost");
        }
    }

    fn event(&mut self, own: Boot, event: &Event) {
        self.now += 1;
        match event {
            Event::Died(member) => {
                self.died.insert((own, member.boot), self.now);
            }
            Event::Joined(member) if self.died.contains_key(&(own, member.boot)) => {
                self.again.insert((own, member.boot), self.now);
            }
            Event::Forgotten { by } => {
                self.told.insert((by.boot, own), self.now);
                return;
            }
            _ => {}
        }
        let mut turn = |member: &Member, from: &[State], to: Option<State>| {
            let key = (own, member.id.clone());
            let before = self.seen.remove(&key);
            assert!(
                before.is_none_or(|(boot, _)| boot == member.boot),
                "{event:?} after another boot"
            );
            match before {
                None => assert!(from.is_empty(), "{event:?} of an unknown"),
                Some((_, state)) => assert!(from.contains(&state), "{event:?} after {state:?}"),
            }
            if let Some(state) = to {
                self.seen.insert(key, (member.boot, state));
            }
        };
        match event {
            Event::Joined(member) => turn(member, &[], Some(State::Alive)),
            Event::Suspect(member) => turn(member, &[State::Alive], Some(State::Suspect)),
            Event::Alive(member) => turn(member, &[State::Suspect], Some(State::Alive)),
            Event::Died(member) | Event::Left(member) => {
                turn(member, &[State::Alive, State::Suspect], None)
            }
            Event::Missed { casts, .. } => self.missed += casts,
            Event::LinkLost | Event::LinkBack { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

struct Server {
    node: Node,
    wire: Arc<Memory>,
    number: usize,
    task: AbortHandle,
    diary: Arc<Mutex<Diary>>,
}

struct Ear {
    own: Mutex<Option<Node>>,
    diary: Arc<Mutex<Diary>>,
    id: ServerId,
    early: Mutex<Vec<Event>>,
}

impl Server {
    async fn join(wire: &Arc<Memory>, number: usize, diary: &Arc<Mutex<Diary>>) -> Server {
        let own = id(&format!("s-{number}"));
        loop {
            let ear = Arc::new(Ear {
                own: Mutex::new(None),
                diary: Arc::clone(diary),
                id: own.clone(),
                early: Mutex::default(),
            });
            let mut task = None;
            let spawn = |run| task = Some(tokio::spawn(run).abort_handle());
            let node =
                Node::join(wire.clone(), Config::new(own.clone(), kind("a")), ear.clone(), spawn)
                    .await;
            // Refused for a lost link, or because its earlier run is not dead yet in all eyes.
            let Ok(node) = node else {
                sleep(Duration::from_millis(500)).await;
                wire.heal();
                continue;
            };
            ear.start(&node);
            return Server {
                node,
                wire: wire.clone(),
                number,
                task: task.unwrap(),
                diary: Arc::clone(diary),
            };
        }
    }

    /// Dies or leaves, and joins again.
    async fn come_again(&mut self, diary: &Arc<Mutex<Diary>>, crash: bool) {
        if crash {
            self.task.abort();
            self.node.left().await;
        } else {
            self.node.leave().await;
        }
        *self = Server::join(&self.wire, self.number, diary).await;
    }

    /// Casts to everyone and calls someone.
    fn talk(&self, random: &mut Random) {
        let boot = self.node.peer().boot;
        for number in 0..SERVERS {
            let to = id(&format!("s-{number}"));
            let mut diary = self.diary.lock().unwrap();
            let last = diary.sent.get(&(boot, to.clone())).copied().unwrap_or(0);
            if self.node.cast(&to, (last + 1).to_be_bytes()).is_ok() {
                diary.now += 1;
                let now = diary.now;
                diary.sent_at.insert((boot, to.clone(), last + 1), now);
                diary.sent.insert((boot, to), last + 1);
            }
        }
        self.diary.lock().unwrap().calls += 1;
        let to = id(&format!("s-{}", random.below(SERVERS as u64)));
        let deadline = Instant::now() + Duration::from_millis(100 + random.below(3000));
        let (diary, own) = (Arc::clone(&self.diary), boot);
        let known = self.node.members().get(&to).map(|member| member.boot);
        self.node.call_then(&to, "", deadline, move |end| {
            assert!(
                Instant::now() <= deadline + Duration::from_millis(6),
                "a call that ends late: {end:?}"
            );
            let mut diary = diary.lock().unwrap();
            diary.ended += 1;
            write!(diary.log, "{}", u8::from(end.is_ok())).unwrap();
            if let Ok(sent) = end
                && diary.strict
            {
                let sent = number_in(&sent);
                let got = diary.got.get(&(known.unwrap(), own)).map_or(0, |(last, _)| *last);
                assert!(sent <= got, "an answer overtook a cast: {got} of {sent} are here");
            }
        });
    }
}

impl Ear {
    fn start(&self, node: &Node) {
        *self.own.lock().unwrap() = Some(node.clone());
        for event in self.early.lock().unwrap().drain(..) {
            self.diary.lock().unwrap().event(node.peer().boot, &event);
        }
    }
}

impl Receive for Ear {
    /// Answers with how many casts it sent to the caller.
    fn call(&self, from: &Peer, _payload: Bytes, answer: Answer) {
        let Some(own) = self.own.lock().unwrap().as_ref().map(|own| own.peer().boot) else {
            return;
        };
        let sent =
            self.diary.lock().unwrap().sent.get(&(own, from.id.clone())).copied().unwrap_or(0);
        let _ = answer.send(sent.to_be_bytes());
    }

    fn cast(&self, from: &Peer, payload: Bytes) {
        let number = number_in(&payload);
        let Some(own) = self.own.lock().unwrap().as_ref().map(|own| own.peer().boot) else {
            return;
        };
        let mut diary = self.diary.lock().unwrap();
        write!(diary.log, "{}{number}{} ", from.id, self.id).unwrap();
        let (last, count) = diary.got.entry((from.boot, own)).or_default();
        assert!(*last < number, "{number} after {last} from {from:?}");
        (*last, *count) = (number, *count + 1);
        let sent_at = diary.sent_at.get(&(from.boot, self.id.clone(), number)).copied();
        let again = diary.again.get(&(own, from.boot)).copied();
        assert!(again <= sent_at, "{from:?} was dead to {} when it sent {number}", self.id);
    }

    fn event(&self, event: Event) {
        match &*self.own.lock().unwrap() {
            Some(own) => self.diary.lock().unwrap().event(own.peer().boot, &event),
            None => self.early.lock().unwrap().push(event),
        }
    }
}

fn number_in(payload: &Bytes) -> u32 {
    u32::from_be_bytes(payload[..].try_into().unwrap())
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
