//! When a job runs: `Schedule`.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;

/// The times at which a job runs, on the clock of the machine and in its time zone.
///
/// There are two ways to write one, which count differently:
///
/// | | [`Schedule::pomelo`], so in `crons.json` | [`str::parse`], as in cron |
/// |---|---|---|
/// | fields | second, minute, hour, day, month, day of the week | the same; without seconds five |
/// | months | **0 to 11** | 1 to 12, or `JAN` to `DEC` |
/// | days of the week | 0 to 6 from Sunday | 0 to 7 from Sunday to Sunday, or `SUN` to `SAT` |
/// | a day *and* a day of the week | **both** must be right | one of them must |
/// | every ten | `0/10` or `*/10` | `*/10` |
///
/// # Examples
///
/// ```
/// use shaddock::Schedule;
///
/// // On the first of February at half past three, twice.
/// assert!(Schedule::pomelo("0 30 3 1 1 *").is_ok());
/// assert!("0 30 3 1 2 *".parse::<Schedule>().is_ok());
///
/// let wrong = Schedule::pomelo("0 30 3 1 12 *").unwrap_err();
/// assert_eq!(wrong.to_string(), r#""0 30 3 1 12 *" is no schedule: `12` is no month: these go from 0 to 11"#);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no schedule: {reason}")]
pub struct ScheduleError {
    text: String,
    reason: String,
}

impl Schedule {
    /// Reads a time as pomelo's `crons.json` has it: six fields, months from 0.
    ///
    /// # Errors
    ///
    /// If it is none, or its time never comes.
    pub fn pomelo(text: &str) -> Result<Schedule, ScheduleError> {
        let wrong = |reason| ScheduleError { text: text.to_owned(), reason };
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(wrong(SIX_FIELDS.to_owned()));
        }
        let fields: Result<Vec<_>, _> =
            fields.iter().zip(&FIELDS).map(|(text, field)| field.translate(text)).collect();
        let pattern = fields.map_err(wrong)?.join(" ");
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true);
        Schedule::read(text, &pattern, parser.year(Year::Disallowed).build())
    }

    fn read(text: &str, pattern: &str, parser: CronParser) -> Result<Schedule, ScheduleError> {
        let wrong = |reason| ScheduleError { text: text.to_owned(), reason };
        let cron = parser.parse(pattern).map_err(|error| wrong(error.to_string()))?;
        let schedule = Schedule { text: text.to_owned(), cron };
        match schedule.after(&Zoned::default()) {
            Some(_) => Ok(schedule),
            None => Err(wrong("no day is like this".to_owned())),
        }
    }

    /// The first time after `now`, if there is one.
    pub(super) fn after(&self, now: &Zoned) -> Option<Zoned> {
        self.cron.find_next_occurrence(now, false).ok()
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    /// Reads a time as cron has it: six fields, or five without seconds, months from 1.
    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        Schedule::read(text, text, CronParser::builder().year(Year::Disallowed).build())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({})", self.text)
    }
}

const SIX_FIELDS: &str = "it should be six fields (second, minute, hour, day, month, day of the \
                          week), each `*`, a number, `1,2`, `1-5` or `0/10`";

/// One of pomelo's fields: what its numbers are, and by how much cron's are greater.
struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    shift: u8,
}

const FIELDS: [Field; 6] = [
    Field { name: "second", first: 0, last: 59, shift: 0 },
    Field { name: "minute", first: 0, last: 59, shift: 0 },
    Field { name: "hour", first: 0, last: 23, shift: 0 },
    Field { name: "day", first: 1, last: 31, shift: 0 },
    Field { name: "month", first: 0, last: 11, shift: 1 },
    Field { name: "day of the week", first: 0, last: 6, shift: 0 },
];

impl Field {
    /// The field as cron has it.
    fn translate(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<_>, _> = text.split(',').map(|item| self.item(item)).collect();
        Ok(items?.join(","))
    }

    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let range = match (range.split_once('-'), step) {
            (Some((from, to)), _) => {
                let (from, to) = (self.number(from)?, self.number(to)?);
                if to < from {
                    return Err(format!("`{item}` goes backwards"));
                }
                format!("{from}-{to}")
            }
            (None, _) if range == "*" => "*".to_owned(),
            (None, None) => self.number(range)?.to_string(),
            // pomelo's own: from there on.
            (None, Some(_)) => format!("{}-{}", self.number(range)?, self.last + self.shift),
        };
        match step.map(|step| (step, step.parse::<u8>())) {
            None => Ok(range),
            Some((_, Ok(step))) if 0 < step => Ok(format!("{range}/{step}")),
            Some((step, _)) => Err(format!("`{step}` is no number of steps")),
        }
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let Field { name, first, last, shift } = self;
        match text.parse::<u8>() {
            Ok(number) if (*first..=*last).contains(&number) => Ok(number + shift),
            _ => Err(format!("`{text}` is no {name}: these go from {first} to {last}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times after a moment, in UTC.
    fn next(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
        let mut now: Zoned = format!("{after}[UTC]").parse().unwrap();
        (0..count)
            .map(|_| {
                now = schedule.after(&now).unwrap();
                now.strftime("%F %T").to_string()
            })
            .collect()
    }

    #[test]
    fn pomelos_months_begin_with_0() {
        let february = Schedule::pomelo("0 0 12 1 1 *").unwrap();
        assert_eq!(next(&february, "2026-01-15T00:00", 1), ["2026-02-01 12:00:00"]);
        let quarters = Schedule::pomelo("0 0 0 1 2/3 *").unwrap();
        let expected = ["2026-03-01", "2026-06-01", "2026-09-01", "2026-12-01", "2027-03-01"];
        assert_eq!(
            next(&quarters, "2026-01-15T00:00", 5),
            expected.map(|day| format!("{day} 00:00:00"))
        );
        let crons: Schedule = "0 0 12 1 2 *".parse().unwrap();
        assert_eq!(next(&crons, "2026-01-15T00:00", 1), ["2026-02-01 12:00:00"]);
    }

    #[test]
    fn of_pomelos_days_both_must_be_right() {
        // Friday the 13th; cron's is any Friday and any 13th.
        let pomelo = Schedule::pomelo("0 0 0 13 * 5").unwrap();
        assert_eq!(
            next(&pomelo, "2026-01-01T00:00", 2),
            ["2026-02-13 00:00:00", "2026-03-13 00:00:00"]
        );
        let cron: Schedule = "0 0 0 13 * 5".parse().unwrap();
        assert_eq!(
            next(&cron, "2026-01-01T00:00", 2),
            ["2026-01-02 00:00:00", "2026-01-09 00:00:00"]
        );
    }

    #[test]
    fn all_forms_of_pomelos_fields_are_read() {
        for (text, expected) in [
            ("0/20 * * * * *", ["2026-01-01 00:00:20", "2026-01-01 00:00:40"]),
            ("5,50 0 1-2 * * *", ["2026-01-01 01:00:05", "2026-01-01 01:00:50"]),
            ("0 0 0 * * 0", ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
            ("59 59 23 31 11 *", ["2026-12-31 23:59:59", "2027-12-31 23:59:59"]),
            ("0 */30 8 1-3/2 0 *", ["2026-01-01 08:00:00", "2026-01-01 08:30:00"]),
        ] {
            assert_eq!(next(&Schedule::pomelo(text).unwrap(), "2026-01-01T00:00", 2), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("* * * * *", SIX_FIELDS),
            ("60 * * * * *", "`60` is no second: these go from 0 to 59"),
            ("* * * 0 * *", "`0` is no day: these go from 1 to 31"),
            ("* * * * * 7", "`7` is no day of the week: these go from 0 to 6"),
            ("* * 5-3 * * *", "`5-3` goes backwards"),
            ("* 0/0 * * * *", "`0` is no number of steps"),
            ("1, * * * * *", "`` is no second: these go from 0 to 59"),
            ("0 0 0 30 1 *", "no day is like this"),
        ] {
            assert_eq!(Schedule::pomelo(text).unwrap_err().reason, reason);
        }
        assert!("nonsense".parse::<Schedule>().is_err());
    }
}
