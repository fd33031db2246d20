//! One fault after another, and whether all is well after each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use crate::crowd::{Crowd, enter_at};
use crate::ledger::{Sort, Trouble};
use crate::plan::{Fault, Kind, PLACES, Place, What};
use crate::town::Town;

/// All has to be well so long after a fault.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// How long nothing at all may go wrong then. Everybody speaks once in that time.
const CALM: Duration = Duration::from_secs(4);

/// After which everybody has heard what was said.
const ECHO: Duration = Duration::from_millis(1_500);

/// What was on its way when a fault came.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// More than a server held when all was new, MiB: half as much again, or this.
const MEMORY: u64 = 24;

/// Looks at the chat and those who use it.
#[derive(Debug)]
pub(crate) struct Checker {
    town: Town,
    crowd: Crowd,
    /// The chat server of each room.
    homes: Vec<String>,
    memory: Vec<u64>,
    probes: u64,
}

impl Checker {
    /// Waits until all is well for the first time.
    pub(crate) async fn new(town: Town, crowd: Crowd) -> anyhow::Result<Checker> {
        let mut checker = Checker { town, crowd, homes: Vec::new(), memory: Vec::new(), probes: 0 };
        let started = Instant::now();
        checker.settle(started).await?;
        println!("everybody is in after {:.1} s", started.elapsed().as_secs_f64());
        checker.homes = (0..checker.crowd.rooms)
            .map(|room| checker.town.home(room))
            .collect::<Result<_, _>>()?;
        // Whatever was before does not count.
        checker.crowd.ledger().account(Instant::now());
        let mut tally = Tally::default();
        checker.calm(None, started, &mut tally).await?;
        println!("{tally}");
        let wrong = [tally.wrong, tally.unwell].concat();
        ensure!(wrong.is_empty(), "without any fault:\n{}", wrong.join("\n"));
        checker.memory = checker.town.memory()?;
        println!("memory, MiB: {}", checker.shown(&checker.memory));
        Ok(checker)
    }

    /// Lets `fault` happen, and says what is wrong afterwards.
    ///
    /// # Errors
    ///
    /// When things did not get well again.
    pub(crate) async fn survive(&mut self, fault: &Fault) -> anyhow::Result<Vec<String>> {
        let begun = Instant::now();
        self.crowd.ledger().restless = true;
        self.town.suffer(fault).await?;
        self.crowd.ledger().restless = false;
        let over = Instant::now();
        let mut tally = Tally::default();
        loop {
            if let Some(last) = self.settle(over).await? {
                tally.waited_for = Some(format!("{last:#}"));
            }
            let well = over.elapsed();
            tally.unwell.clear();
            self.calm(Some(fault), begun, &mut tally).await?;
            if tally.unwell.is_empty() || SETTLED_WITHIN < over.elapsed() {
                println!("   well again after {:.1} s; {tally}", well.as_secs_f64());
                break;
            }
            tally.waited_for = tally.unwell.first().cloned();
        }
        let mut wrong = [tally.wrong, tally.unwell].concat();
        wrong.extend(self.remember_too_much()?);
        Ok(wrong)
    }

    /// Waits until everybody is where they should be, and nobody else. Says what it waited for last.
    async fn settle(&mut self, over: Instant) -> anyhow::Result<Option<anyhow::Error>> {
        let since = Instant::now();
        let end = over + SETTLED_WITHIN;
        let mut last = None;
        loop {
            self.town.check_running()?;
            let Err(amiss) = self.look(since).await else {
                return Ok(last);
            };
            if end < Instant::now() {
                bail!("not well {} s later: {amiss:#}", SETTLED_WITHIN.as_secs());
            }
            last = Some(amiss);
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn look(&mut self, since: Instant) -> anyhow::Result<()> {
        let absent = self.town.absent();
        ensure!(absent.is_empty(), "the others don't know {absent:?}");
        {
            let ledger = self.crowd.ledger();
            let missing = ledger.missing();
            ensure!(missing.is_empty(), "these are not in: {missing:?}");
            let waiting = ledger.waiting_since(since);
            ensure!(waiting.is_empty(), "these wait for an answer still: {waiting:?}");
        }
        self.probes += 1;
        let rooms = 0..self.crowd.rooms;
        try_join_all(
            rooms.map(|room| self.look_into(room, format!("probe{}r{room}", self.probes))),
        )
        .await?;
        Ok(())
    }

    /// Whether those in `room` are those whom it says.
    async fn look_into(&self, room: usize, probe: String) -> anyhow::Result<()> {
        let guest = self.crowd.enter(&probe, room).await?;
        let told = guest.users.clone();
        guest.client.disconnect().await;
        let mut expected: BTreeSet<String> = self.crowd.ledger().those_in(room);
        expected.insert(probe);
        let users: BTreeSet<_> = told.iter().cloned().collect();
        ensure!(users.len() == told.len(), "somebody is in room{room} twice: {told:?}");
        let ghosts: Vec<_> = users.difference(&expected).collect();
        let lost: Vec<_> = expected.difference(&users).collect();
        ensure!(
            ghosts.is_empty() && lost.is_empty(),
            "room{room} has ghosts {ghosts:?} and lacks {lost:?}"
        );
        Ok(())
    }

    /// Waits for a while in which nothing may go wrong, and adds to `tally` what has, then or before.
    async fn calm(
        &mut self,
        fault: Option<&Fault>,
        begun: Instant,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let calm = Instant::now();
        sleep(CALM).await;
        let until = Instant::now();
        self.log_in_twice(tally).await;
        sleep(ECHO).await;
        self.town.check_running()?;
        let mut ledger = self.crowd.ledger();
        tally.wrong.extend(ledger.take_wrong());
        let silent = ledger.silent_since(calm);
        tally.unwell.extend(silent.iter().map(|name| format!("{name} can't speak")));
        let account = ledger.account(until);
        drop(ledger);

        tally.accepted += account.accepted;
        tally.heard += account.heard;
        for trouble in account.trouble {
            *tally.troubles.entry(trouble.sort).or_default() += 1;
            let home = self.homes.get(trouble.room).map_or("", String::as_str);
            let is_excused = begun <= trouble.at + ON_ITS_WAY
                && fault.is_some_and(|fault| excuses(fault, &trouble, home));
            if is_excused && trouble.at < calm {
                continue;
            }
            let Trouble { sort, who, connector, room, at, detail } = trouble;
            let when = at.saturating_duration_since(begun).as_secs_f64();
            let told = format!(
                "{sort:?}: {who} at {connector} in room{room} of {home}, at {when:.2} s: {detail}"
            );
            if is_excused { tally.unwell.push(told) } else { tally.wrong.push(told) }
        }
        Ok(())
    }

    /// Whoever is in can't come in again.
    async fn log_in_twice(&self, tally: &mut Tally) {
        let connectors = PLACES.iter().filter(|place| place.kind == Kind::Connector);
        let tries =
            connectors.flat_map(|place| (0..self.crowd.rooms).map(move |room| (place, room)));
        let try_it = async |(place, room): (&'static Place, usize)| {
            let (name, stay) = self.crowd.ledger().somebody_in(room)?;
            let entered = enter_at(place, &name, room).await;
            let is_in = self.crowd.ledger().stays(&name, stay);
            Some((format!("{name} of room{room} at {}", place.name), is_in, entered))
        };
        for (who, is_in, entered) in join_all(tries.map(try_it)).await.into_iter().flatten() {
            match entered {
                Ok(_) if is_in => {
                    tally.wrong.push(format!("{who} is in and could come in again"));
                }
                Ok(_) => tally.unwell.push(format!("{who} has lost the connection meanwhile")),
                Err(error) if format!("{error:#}").contains("\"error\":true") => {}
                Err(error) => tally.unwell.push(format!("{who} can't try to come in: {error:#}")),
            }
        }
    }

    fn remember_too_much(&self) -> anyhow::Result<Option<String>> {
        let memory = self.town.memory()?;
        let grown = PLACES.iter().zip(memory.iter().zip(&self.memory));
        // Brokers take what they like.
        let is_much = grown
            .filter(|(place, _)| place.kind != Kind::Broker)
            .any(|(_, (now, then))| then + MEMORY.max(*then / 2) < *now);
        Ok(is_much.then(|| {
            format!("memory in MiB was {}; it is {}", self.shown(&self.memory), self.shown(&memory))
        }))
    }

    fn shown(&self, memory: &[u64]) -> String {
        let each = PLACES.iter().zip(memory).map(|(place, held)| format!("{} {held}", place.name));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// What came of a fault.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    heard: usize,
    troubles: BTreeMap<Sort, usize>,
    /// What may never happen.
    wrong: Vec<String>,
    /// What may happen as long as all is not well.
    unwell: Vec<String>,
    waited_for: Option<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |sort| self.troubles.get(&sort).copied().unwrap_or(0);
        let (lost, refused, ended) = (of(Sort::Lost), of(Sort::Refused), of(Sort::Disconnected));
        write!(
            f,
            "{} words heard {} times; lost {lost}, refused {refused}; {ended} connections ended",
            self.accepted, self.heard
        )?;
        match &self.waited_for {
            Some(last) => write!(f, "; at the last: {last}"),
            None => Ok(()),
        }
    }
}

/// Whether the design says that this may happen to those people.
fn excuses(fault: &Fault, trouble: &Trouble, home: &str) -> bool {
    match trouble.sort {
        Sort::Lost | Sort::Refused => fault.may_touch(trouble.connector, home),
        Sort::Disconnected => fault.may_disconnect(trouble.connector),
        // After a cut TCP may take as long again until it tries once more.
        Sort::Stuck => {
            matches!(fault.what, What::Cut(_)) && fault.may_disconnect(trouble.connector)
        }
    }
}
