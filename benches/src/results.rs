//! What was measured, as a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::system::{Start, System};
use crate::work::{CPU, NOT_STALLED, P99, PEAK, Report, Robot, STALLED, WORKS, Work};

/// What each system did in each round.
#[derive(Debug, Default)]
pub(crate) struct Results {
    reports: BTreeMap<(System, &'static str), Vec<Report>>,
    starts: BTreeMap<System, Vec<Start>>,
}

/// What Shaddock is to need at most, as a part of what pomelo needs.
struct Target {
    work: &'static str,
    ours: System,
    /// Pomelo is to need so many times as much.
    times: f64,
    /// Pinus as well, and both are to be slower.
    over_nats: Option<f64>,
    /// As much as the bare responder needs, times this, is what can be had if less cannot.
    limit: Option<f64>,
}

const fn target(work: &'static str, times: f64) -> Target {
    Target { work, ours: System::Shaddock, times, over_nats: None, limit: None }
}

const fn echo(work: &'static str, times: f64) -> Target {
    Target { limit: Some(1.5), ..target(work, times) }
}

const fn rooms(work: &'static str, times: f64) -> Target {
    Target { limit: Some(1.3), ..target(work, times) }
}

const fn over_nats(work: &'static str) -> Target {
    Target { ours: System::ShaddockNats, over_nats: Some(2.0), ..target(work, 4.0) }
}

const TARGETS: &[Target] = &[
    echo("echo, connector, 100 x 1", 4.0),
    echo("echo, connector, 100 x 8", 12.0),
    echo("echo, chat server, 100 x 1", 20.0),
    Target { ours: System::ShaddockThread, ..echo("echo, chat server, 100 x 1", 20.0) },
    echo("echo, chat server, 100 x 8", 20.0),
    over_nats("echo, chat server, 100 x 8"),
    over_nats("echo, chat server, 100 x 64"),
    rooms("rooms of 100", 8.0),
    rooms("rooms of 1,000", 8.0),
    rooms("rooms of 10", 10.0),
    target("login, cold", 12.0),
    target("login, warm", 12.0),
];

/// KiB that an idle connection may hold.
const IDLE: f64 = 8.0;

/// Milliseconds from nothing to the first login.
const START: f64 = 100.0;

/// MiB of all servers in one process when they have started.
const MEMORY: f64 = 30.0;

/// MiB that a room of 1,000 of whom 100 read nothing may cost more than one in which all read: what may wait for each.
const STALLED_MEMORY: f64 = 100.0;

/// How many times as much a copy may cost there: it pays for those who do not get one, too.
const STALLED_CPU: f64 = 1.2;

/// One report, while it is measured.
pub(crate) fn line(report: &Report) -> String {
    let of = |place| report.number(place).unwrap_or(0.0);
    let cpu = report.cpu().unwrap_or(0.0);
    let (rate, p50, p99) = (of("/rate"), of("/latency_ms/p50"), of(P99));
    format!("{rate:>9.0}/s  p50 {p50:>8.2} ms  p99 {p99:>8.2} ms  CPU {cpu:>8.2} µs")
}

impl Results {
    pub(crate) fn started(&mut self, system: System, start: Start) {
        self.starts.entry(system).or_default().push(start);
    }

    pub(crate) fn add(&mut self, system: System, work: &'static Work, report: Report) {
        self.reports.entry((system, work.name)).or_default().push(report);
    }

    /// A number of each round.
    fn numbers(&self, system: System, work: &str, place: &str) -> Vec<f64> {
        let reports = self.reports.iter().filter(|((of, name), _)| *of == system && *name == work);
        reports.flat_map(|(_, reports)| reports).filter_map(|report| report.number(place)).collect()
    }

    fn start(&self, system: System, number: impl Fn(&Start) -> f64) -> Vec<f64> {
        self.starts.get(&system).into_iter().flatten().map(number).collect()
    }

    /// Whether what was promised was kept.
    pub(crate) fn verdicts(&self) -> String {
        let mut page = "| work | pomelo + nodelay | pinus | shaddock | how | times less | target | |\n|---|---|---|---|---|---|---|---|\n".to_owned();
        for Target { work, ours, times, over_nats, limit } in TARGETS {
            let of = |system| self.numbers(system, work, CPU);
            let (theirs, pinus, own) = (of(System::PomeloNoDelay), of(System::Pinus), of(*ours));
            if theirs.is_empty() || own.is_empty() {
                continue;
            }
            let less = ratios(&theirs, &own);
            let mut met = *times <= median(&less);
            let mut promise = format!("{times} ×");
            if let Some(times) = over_nats {
                let p99 = |system| median(&self.numbers(system, work, P99));
                let slower = p99(System::PomeloNoDelay).min(p99(System::Pinus));
                let from_pinus = median(&ratios(&pinus, &own));
                met = met && *times <= from_pinus && p99(*ours) < slower;
                promise += &format!(
                    "; {times} × of pinus (is {from_pinus:.1}); p99 below both (is {:.1} of {slower:.1} ms)",
                    p99(*ours)
                );
            }
            let to_bare = median(&own) / median(&of(System::Responder));
            let verdict = match limit {
                Some(_) if met || !to_bare.is_finite() => verdict(met).to_owned(),
                Some(limit) if to_bare <= *limit => {
                    format!("the limit: {to_bare:.2} × the bare responder")
                }
                Some(_) => format!("{}; {to_bare:.2} × the bare responder", verdict(met)),
                None => verdict(met).to_owned(),
            };
            let _ = writeln!(
                page,
                "| {work}, CPU µs | {} | {} | {} | {} | {} | {promise} | {verdict} |",
                spread(&theirs),
                spread(&pinus),
                spread(&own),
                how(*ours),
                spread(&less),
            );
        }
        let held = "/entering/kib_per_client_held";
        let idle = |system| self.numbers(system, "10,000 idle", held);
        let login = |start: &Start| 1_000.0 * start.login.as_secs_f64();
        let memory = |start: &Start| start.memory.resident;
        let stalled_memory = |system| {
            let peak = |work| self.numbers(system, work, PEAK);
            let more = peak(STALLED).into_iter().zip(peak(NOT_STALLED));
            more.map(|(with, without)| (with - without) / 1024.0).collect()
        };
        let stalled_cpu = |system| {
            let of = |work| self.numbers(system, work, CPU);
            ratios(&of(STALLED), &of(NOT_STALLED))
        };
        let of_start = |number: fn(&Start) -> f64| move |system| self.start(system, number);
        self.absolute(&mut page, "idle connection, held, KiB", idle, IDLE);
        self.absolute(&mut page, "100 of 1,000 stalled, MiB more", stalled_memory, STALLED_MEMORY);
        self.absolute(
            &mut page,
            "100 of 1,000 stalled, CPU of a copy, times as much",
            stalled_cpu,
            STALLED_CPU,
        );
        self.absolute(&mut page, "start to the first login, ms", of_start(login), START);
        self.absolute(&mut page, "all servers, started, MiB resident", of_start(memory), MEMORY);
        page
    }

    /// A line of what has a limit by itself.
    fn absolute(&self, page: &mut String, what: &str, of: impl Fn(System) -> Vec<f64>, limit: f64) {
        let (theirs, own) = (of(System::PomeloNoDelay), of(System::Shaddock));
        if theirs.is_empty() || own.is_empty() {
            return;
        }
        // Of what is nothing, or less, nobody has a part.
        let is_something = theirs.iter().chain(&own).all(|number| 0.0 < *number);
        let less = if is_something { ratios(&theirs, &own) } else { Vec::new() };
        let _ = writeln!(
            page,
            "| {what} | {} | {} | {} | {} | {} | at most {limit} | {} |",
            spread(&theirs),
            spread(&of(System::Pinus)),
            spread(&own),
            how(System::Shaddock),
            spread(&less),
            verdict(median(&own) <= limit),
        );
    }

    /// All of it.
    pub(crate) fn page(
        &self,
        machine: &[String],
        rounds: usize,
        seconds: f64,
        robot: &Robot,
        took: Duration,
    ) -> String {
        let mut page = format!(
            "# Measured beside pomelo and pinus

Made by `cargo xtask bench`, {rounds} rounds of {seconds} s for each work, in {} minutes; clients and servers share the machine's
cores over 127.0.0.1. In each round every system is started anew, in another order. A number is the median of the rounds,
with the lowest and the highest; nothing was lost, doubled or out of order in any of them, or there would be no page.

",
            took.as_secs().div_ceil(60)
        );
        for line in machine {
            let _ = writeln!(page, "* {line}");
        }
        page += "\n## What we promise\n\n";
        page += "CPU time of all processes of the server, and of the broker where there is one, for each echo, each delivered copy of
a message, or each login. Times less: of the same round.\n\n";
        page += &self.verdicts();
        page += "\n## What is measured\n\n";
        for system in System::ALL {
            let _ = writeln!(page, "* **{}**: {}.", system.name(), system.set_up());
        }
        page += "
All have heartbeats of 3 s, routes by number, and no protobuf; they log warnings. The works at a rate (5,000/s, 20/s) are the level
comparison: the same load on the same cores for all. In the others everybody goes as fast as they can, which flatters whoever
does much at once: reads and writes are shared by many messages then. `x 8` are requests that each client has under way.
The bare responder shows what is left when a server does nothing; whoever is within 1.5 times of it for echoes, or 1.3 for rooms,
spends its time in the kernel.

Limit is what kept a system from being faster: the machine (both cores full), the robot or the server (one thread full), the rate,
or waiting (for delayed acknowledgements, mostly). Others is what else the machine did meanwhile, in percent of a core.\n";
        for work in WORKS {
            self.of_work(&mut page, work, robot);
        }
        self.of_starts(&mut page);
        self.raw(&mut page);
        page
    }

    fn of_work(&self, page: &mut String, work: &Work, robot: &Robot) {
        let of: Vec<_> = System::ALL
            .into_iter()
            .filter_map(|system| Some((system, self.reports.get(&(system, work.name))?)))
            .collect();
        if of.is_empty() {
            return;
        }
        let _ = writeln!(
            page,
            "\n## {}\n\n`shaddock-robot {}`\n",
            capital(work.name),
            robot.line(work)
        );
        let bare = median(&self.numbers(System::Responder, work.name, CPU));
        page.push_str("| | units/s | p50 ms | p99 ms | p99.9 ms | server CPU µs | to the bare one | robot CPU µs | memory, MiB | limit | others % |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
        for (system, reports) in of {
            let numbers = |place| self.numbers(system, work.name, place);
            let memory: Vec<_> = numbers(PEAK).iter().map(|kib| kib / 1024.0).collect();
            let others: Vec<_> = reports.iter().map(|report| report.others).collect();
            let cpu = numbers(CPU);
            let to_bare = match bare.is_finite() {
                true => format!("{:.1} ×", median(&cpu) / bare),
                false => String::new(),
            };
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {to_bare} | {} | {} | {} | {} |",
                system.name(),
                spread(&numbers("/rate")),
                spread(&numbers("/latency_ms/p50")),
                spread(&numbers(P99)),
                spread(&numbers("/latency_ms/p99_9")),
                spread(&cpu),
                spread(&numbers("/robot/cpu_us_per_unit")),
                spread(&memory),
                reports.last().map_or("", Report::limit),
                spread(&others),
            );
        }
        if work.is_idle() {
            page.push_str("\n| | KiB a connection, entered | held | server CPU %, held |\n|---|---|---|---|\n");
            for system in System::ALL {
                let numbers = |place| self.numbers(system, work.name, place);
                let entered = numbers("/entering/kib_per_client_entered");
                if !entered.is_empty() {
                    let held = numbers("/entering/kib_per_client_held");
                    let _ = writeln!(
                        page,
                        "| {} | {} | {} | {} |",
                        system.name(),
                        spread(&entered),
                        spread(&held),
                        spread(&numbers("/server/cpu_percent"))
                    );
                }
            }
        }
    }

    fn of_starts(&self, page: &mut String) {
        page.push_str("\n## Start\n\nFrom nothing to the first login; memory a second later.\n\n| | ms | MiB resident | MiB proportional |\n|---|---|---|---|\n");
        for system in self.starts.keys() {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} |",
                system.name(),
                spread(&self.start(*system, |start| 1_000.0 * start.login.as_secs_f64())),
                spread(&self.start(*system, |start| start.memory.resident)),
                spread(&self.start(*system, |start| start.memory.proportional)),
            );
        }
    }

    /// Every round by itself.
    fn raw(&self, page: &mut String) {
        let places = [
            "/rate",
            "/latency_ms/p50",
            "/latency_ms/p90",
            P99,
            "/latency_ms/p99_9",
            "/latency_ms/p99_99",
            "/latency_ms/max",
            CPU,
            "/server/cpu_percent",
            "/server/rss_start_kib",
            PEAK,
            "/robot/cpu_us_per_unit",
            "/robot/cpu_percent",
            "/counts/sent",
            "/counts/received",
        ];
        page.push_str(
            "\n## Every round\n\n<details><summary>As CSV</summary>\n\n```csv\nwork,system,round",
        );
        for place in places {
            let _ = write!(page, ",{}", place.trim_start_matches('/').replace('/', "."));
        }
        page.push_str(",others_percent\n");
        for ((system, work), reports) in &self.reports {
            for (round, report) in reports.iter().enumerate() {
                let _ = write!(page, "\"{work}\",{},{}", system.name(), round + 1);
                for place in places {
                    let _ =
                        write!(page, ",{}", report.number(place).map(plain).unwrap_or_default());
                }
                let _ = writeln!(page, ",{}", plain(report.others));
            }
        }
        page.push_str("```\n\n</details>\n");
    }
}

fn how(system: System) -> &'static str {
    match system {
        System::ShaddockNats => "over NATS",
        System::ShaddockThread => "one process, one thread",
        _ => "one process",
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// How many times as much the first is, round by round.
fn ratios(theirs: &[f64], own: &[f64]) -> Vec<f64> {
    theirs.iter().zip(own).map(|(theirs, own)| theirs / own).collect()
}

/// Not a number, if there is none.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => f64::midpoint(*below, *above),
        _ => f64::NAN,
    }
}

/// The median, and the lowest and the highest if there are several.
fn spread(numbers: &[f64]) -> String {
    let (low, high) =
        (numbers.iter().copied().reduce(f64::min), numbers.iter().copied().reduce(f64::max));
    match (numbers.len(), low, high) {
        (0, ..) => "–".to_owned(),
        (2.., Some(low), Some(high)) => {
            format!("{} ({}–{})", short(median(numbers)), short(low), short(high))
        }
        _ => short(median(numbers)),
    }
}

/// With as many digits as mean something.
pub(crate) fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        100.0.. => {
            let digits = format!("{number:.0}");
            let (sign, digits) =
                digits.strip_prefix('-').map_or(("", &*digits), |rest| ("-", rest));
            let groups: Vec<_> =
                digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            format!("{sign}{}", groups.join(" "))
        }
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// For programs.
fn plain(number: f64) -> String {
    format!("{number:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_a_spread() {
        assert_eq!(short(1_234_567.8), "1 234 568");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.00 (1.00–3.00)");
        assert_eq!(spread(&[1.0]), "1.00");
        assert_eq!(spread(&[]), "–");
        assert!(median(&[]).is_nan());
        assert_eq!(ratios(&[8.0, 9.0], &[2.0, 3.0]), [4.0, 3.0]);
    }

    #[test]
    fn every_target_is_of_a_work_there_is() {
        for target in TARGETS {
            assert!(WORKS.iter().any(|work| work.name == target.work), "{}", target.work);
        }
    }
}
