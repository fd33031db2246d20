//! What was said, who was in which room, and who heard it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Who stays for so long after a word was taken hears it.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Everything that clients saw since it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    people: Vec<Person>,
    words: BTreeMap<(usize, u64), Word>,
    wrong: Vec<String>,
    /// Whether people go of their own accord now and then, and come again.
    pub(crate) restless: bool,
}

/// Somebody who comes, talks, and comes again.
#[derive(Debug)]
struct Person {
    name: String,
    room: usize,
    stays: Vec<Stay>,
    /// The last word that was heard of each other: in which of their stays, and its number.
    heard: HashMap<usize, (usize, u64)>,
    said: u64,
    /// Why they could not come in when they tried last.
    hindrance: Option<String>,
}

/// From a login to the end of the connection.
#[derive(Debug)]
struct Stay {
    connector: &'static str,
    from: Instant,
    /// With the reason, if it was not their own wish.
    until: Option<(Instant, Option<String>)>,
    /// Whether an account has told of its end.
    told: bool,
}

#[derive(Debug)]
struct Word {
    stay: usize,
    at: Instant,
    end: Option<(Instant, End)>,
    heard_by: HashSet<usize>,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Accepted,
    /// Answered with an error.
    Refused,
    /// The connection was over before the answer came.
    Unanswered,
    /// Neither an answer nor an end of the connection.
    Stuck,
}

/// What there is to say of the words up to some time.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) accepted: usize,
    pub(crate) heard: usize,
    pub(crate) trouble: Vec<Trouble>,
}

/// Something that did not go as without faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) sort: Sort,
    /// To whom.
    pub(crate) who: String,
    pub(crate) connector: &'static str,
    pub(crate) room: usize,
    pub(crate) at: Instant,
    pub(crate) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sort {
    /// A word was accepted, and somebody who was in the room did not hear it.
    Lost,
    /// A word was answered with an error.
    Refused,
    /// A connection ended.
    Disconnected,
    /// A request did not end.
    Stuck,
}

impl Ledger {
    /// Somebody who is not here yet.
    pub(crate) fn add(&mut self, name: String, room: usize) -> usize {
        let (stays, heard) = Default::default();
        self.people.push(Person { name, room, stays, heard, said: 0, hindrance: None });
        self.people.len() - 1
    }

    pub(crate) fn came(&mut self, who: usize, connector: &'static str, at: Instant) {
        self.people[who].stays.push(Stay { connector, from: at, until: None, told: false });
        self.people[who].hindrance = None;
    }

    /// `who` could not come in.
    pub(crate) fn stands_outside(&mut self, who: usize, why: String) {
        self.people[who].hindrance = Some(why);
    }

    pub(crate) fn went(&mut self, who: usize, at: Instant, why: Option<String>) {
        if let Some(stay) = self.people[who].stays.last_mut() {
            stay.until = Some((at, why));
        }
    }

    /// `who` says something: the text, and the word's number for [`ended`](Ledger::ended).
    pub(crate) fn says(&mut self, who: usize, at: Instant) -> (String, u64) {
        let person = &mut self.people[who];
        person.said += 1;
        let (stay, number) = (person.stays.len(), person.said);
        self.words.insert(
            (who, number),
            Word { stay: stay - 1, at, end: None, heard_by: HashSet::new() },
        );
        (format!("{stay}:{number}"), number)
    }

    pub(crate) fn ended(&mut self, who: usize, number: u64, at: Instant, end: End) {
        if let Some(word) = self.words.get_mut(&(who, number)) {
            word.end = Some((at, end));
        }
    }

    /// `who` hears `text` of somebody called `from`.
    pub(crate) fn hears(&mut self, who: usize, from: &str, text: &str) {
        if let Err(wrong) = self.take(who, from, text) {
            let name = &self.people[who].name;
            self.wrong.push(format!("{name} heard {text:?} of {from}: {wrong}"));
        }
    }

    fn take(&mut self, who: usize, from: &str, text: &str) -> Result<(), String> {
        let by = self
            .people
            .iter()
            .position(|person| person.name == from)
            .ok_or("nobody is called so")?;
        let parsed =
            text.split_once(':').and_then(|(stay, n)| Some((stay.parse().ok()?, n.parse().ok()?)));
        let (stay, number): (usize, u64) = parsed.ok_or("nobody said that")?;
        if self.people[who].room != self.people[by].room {
            return Err("which is in another room".to_owned());
        }
        match self.people[who].heard.get(&by).copied() {
            Some(last) if last == (stay, number) => return Err("for the second time".to_owned()),
            Some((later, after)) if stay < later => {
                return Err(format!(
                    "who is here for the {later}th time and has said {after} meanwhile"
                ));
            }
            Some((_, after)) if number < after => return Err(format!("after {after}")),
            _ => {}
        }
        self.people[who].heard.insert(by, (stay, number));
        if let Some(word) = self.words.get_mut(&(by, number)) {
            word.heard_by.insert(who);
        }
        Ok(())
    }

    /// What may never happen, and has.
    pub(crate) fn take_wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// Who is not here, and why.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self.people.iter().filter(|person| !person.is_here());
        missing
            .map(|Person { name, hindrance, stays, .. }| match (hindrance, stays.last()) {
                (Some(why), _) => format!("{name}, {why}"),
                (None, Some(Stay { until: Some((at, why)), .. })) => {
                    format!("{name}, who went {:.1} s ago, {why:?}", at.elapsed().as_secs_f64())
                }
                (None, _) => name.clone(),
            })
            .collect()
    }

    /// Who is here, and waits for the answer to what they said before that.
    pub(crate) fn waiting_since(&self, since: Instant) -> Vec<&str> {
        let is_waiting = |((by, _), word): &(&(usize, u64), &Word)| {
            let is_over = word.end.is_some() || self.people[*by].stays[word.stay].until.is_some();
            word.at < since && !is_over
        };
        let waiting = self.words.iter().filter(is_waiting);
        waiting.map(|((by, _), _)| &*self.people[*by].name).collect()
    }

    /// Those who are in `room`, sorted.
    pub(crate) fn those_in(&self, room: usize) -> BTreeSet<String> {
        let here = self.people.iter().filter(|person| person.room == room && person.is_here());
        here.map(|person| person.name.clone()).collect()
    }

    /// Somebody who is in `room`, and the number of their stay.
    pub(crate) fn somebody_in(&self, room: usize) -> Option<(String, usize)> {
        let mut people = self.people.iter();
        let found = people.find(|person| person.room == room && person.is_here())?;
        Some((found.name.clone(), found.stays.len()))
    }

    /// Whether the stay of `name` with this number goes on.
    pub(crate) fn stays(&self, name: &str, number: usize) -> bool {
        let mut people = self.people.iter();
        people.any(|person| person.name == name && person.stays.len() == number && person.is_here())
    }

    /// Who has not had a word accepted since then.
    pub(crate) fn silent_since(&self, since: Instant) -> Vec<&str> {
        let has_spoken = |who: usize| {
            let words = self.words.range((who, 0)..=(who, u64::MAX));
            words
                .into_iter()
                .any(|(_, word)| since <= word.at && matches!(word.end, Some((_, End::Accepted))))
        };
        let people = self.people.iter().enumerate();
        people.filter(|(who, _)| !has_spoken(*who)).map(|(_, person)| &*person.name).collect()
    }

    /// Closes the account of all that was said and answered up to `until`, and forgets it. That must be long enough
    /// ago for everybody to have heard it.
    pub(crate) fn account(&mut self, until: Instant) -> Account {
        let mut account = Account::default();
        let all = std::mem::take(&mut self.words);
        let (due, later) = all.into_iter().partition(|((by, _), word)| {
            let answered = word.end.as_ref().map(|(at, _)| *at);
            let left = self.people[*by].stays[word.stay].until.as_ref().map(|(at, _)| *at);
            answered.or(left).is_some_and(|end| end < until)
        });
        self.words = later;
        for ((by, number), word) in due {
            self.settle(&mut account, by, number, &word);
        }
        for person in &mut self.people {
            let (name, room) = (&person.name, person.room);
            for stay in person.stays.iter_mut().filter(|stay| !stay.told) {
                let Some((at, why)) = stay.until.clone().filter(|(at, _)| *at < until) else {
                    continue;
                };
                stay.told = true;
                if let Some(detail) = why {
                    let (who, connector) = (name.clone(), stay.connector);
                    let sort = Sort::Disconnected;
                    account.trouble.push(Trouble { sort, who, connector, room, at, detail });
                }
            }
        }
        account
    }

    fn settle(&self, account: &mut Account, by: usize, number: u64, word: &Word) {
        let speaker = &self.people[by];
        let trouble = |sort, person: &Person, stay: &Stay| Trouble {
            sort,
            who: person.name.clone(),
            connector: stay.connector,
            room: person.room,
            at: word.at,
            detail: format!("word {number} of {}", speaker.name),
        };
        let stay = &speaker.stays[word.stay];
        let accepted = match &word.end {
            Some((at, End::Accepted)) => *at,
            Some((_, End::Refused)) => {
                return account.trouble.push(trouble(Sort::Refused, speaker, stay));
            }
            Some((_, End::Stuck)) => {
                return account.trouble.push(trouble(Sort::Stuck, speaker, stay));
            }
            // The connection has ended, which is told by itself.
            Some((_, End::Unanswered)) | None => return,
        };
        account.accepted += 1;
        account.heard += word.heard_by.len();
        for (who, person) in self.people.iter().enumerate() {
            if person.room != speaker.room || word.heard_by.contains(&who) {
                continue;
            }
            if let Some(stay) = person.stayed(word.at, accepted + ON_ITS_WAY) {
                account.trouble.push(trouble(Sort::Lost, person, stay));
            }
        }
    }
}

impl Person {
    fn is_here(&self) -> bool {
        self.stays.last().is_some_and(|stay| stay.until.is_none())
    }

    /// The stay that began before `from` and did not end before `until`.
    fn stayed(&self, from: Instant, until: Instant) -> Option<&Stay> {
        let long = |stay: &&Stay| {
            stay.from <= from && stay.until.as_ref().is_none_or(|(end, _)| until <= *end)
        };
        self.stays.iter().find(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Three people in one room, who came together.
    fn room(at: Instant) -> Ledger {
        let mut ledger = Ledger::default();
        for name in ["py", "al", "bo"] {
            let who = ledger.add(name.to_owned(), 0);
            ledger.came(who, "connector-1", at);
        }
        ledger
    }

    /// py says something that is accepted at once.
    fn said(ledger: &mut Ledger, at: Instant) -> String {
        let (text, number) = ledger.says(0, at);
        ledger.ended(0, number, at, End::Accepted);
        text
    }

    fn sorts(ledger: &mut Ledger, until: Instant) -> Vec<(Sort, String)> {
        let account = ledger.account(until);
        account.trouble.into_iter().map(|trouble| (trouble.sort, trouble.who)).collect()
    }

    #[test]
    fn what_all_heard_is_no_trouble_and_what_one_missed_is() {
        let now = Instant::now();
        let mut ledger = room(now);
        let text = said(&mut ledger, now + SECOND);
        (0..3).for_each(|who| ledger.hears(who, "py", &text));
        let text = said(&mut ledger, now + 2 * SECOND);
        (0..2).for_each(|who| ledger.hears(who, "py", &text));
        assert_eq!(sorts(&mut ledger, now + 3 * SECOND), [(Sort::Lost, "bo".to_owned())]);
        assert!(ledger.take_wrong().is_empty());
    }

    #[test]
    fn who_goes_at_once_or_comes_later_need_not_hear_it() {
        let now = Instant::now();
        let mut ledger = room(now);
        let text = said(&mut ledger, now + SECOND);
        ledger.hears(0, "py", &text);
        ledger.went(1, now + SECOND, Some("closed".to_owned()));
        ledger.went(2, now, Some("closed".to_owned()));
        ledger.came(2, "connector-2", now + 2 * SECOND);
        let gone = [(Sort::Disconnected, "al".to_owned()), (Sort::Disconnected, "bo".to_owned())];
        assert_eq!(sorts(&mut ledger, now + 3 * SECOND), gone);
        assert_eq!(sorts(&mut ledger, now + 4 * SECOND), [], "told once");
    }

    #[test]
    fn what_comes_twice_or_late_or_from_an_earlier_stay_is_wrong() {
        let now = Instant::now();
        let mut ledger = room(now);
        let texts: Vec<_> = (1..4).map(|second| said(&mut ledger, now + second * SECOND)).collect();
        ledger.hears(1, "py", &texts[1]);
        ledger.hears(1, "py", &texts[1]);
        ledger.hears(1, "py", &texts[0]);
        ledger.went(0, now + 5 * SECOND, Some("closed".to_owned()));
        ledger.came(0, "connector-2", now + 6 * SECOND);
        let text = said(&mut ledger, now + 7 * SECOND);
        ledger.hears(1, "py", &text);
        ledger.hears(1, "py", &texts[2]);
        ledger.hears(1, "nobody", "1:1");
        assert_eq!(ledger.take_wrong().len(), 4);
    }

    #[test]
    fn requests_that_are_refused_or_stuck_are_told_and_those_under_way_are_kept() {
        let now = Instant::now();
        let mut ledger = room(now);
        for end in [End::Refused, End::Stuck, End::Unanswered] {
            let (_, number) = ledger.says(1, now);
            ledger.ended(1, number, now, end);
        }
        let (_, number) = ledger.says(2, now);
        let trouble = [(Sort::Refused, "al".to_owned()), (Sort::Stuck, "al".to_owned())];
        assert_eq!(sorts(&mut ledger, now + SECOND), trouble);
        assert_eq!(ledger.waiting_since(now + SECOND), ["bo"]);
        assert_eq!(ledger.silent_since(now), ["py", "al", "bo"]);
        ledger.ended(2, number, now + SECOND, End::Refused);
        assert_eq!(sorts(&mut ledger, now + SECOND), [], "it may not have been heard yet");
        assert_eq!(sorts(&mut ledger, now + 2 * SECOND), [(Sort::Refused, "bo".to_owned())]);
    }
}
