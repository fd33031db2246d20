//! What came of a run.

mod chart;
mod html;
mod table;

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::tally::{Counts, Interval, Tally};
use crate::{Entrance, Plan, Scenario, Speech};

/// What came of a run, for people ([`Display`](std::fmt::Display), [`Report::html`]) and programs ([`Report::json`],
/// [`Report::csv`]).
///
/// Its JSON has these fields by these names; more may come, none goes without `version` growing.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of this form: 1.
    pub version: u32,
    /// What the run was called.
    pub label: String,
    /// Such as `echo`.
    pub scenario: &'static str,
    /// What is counted: `echo`, `copy` (of a chat message), `login`, or `connection second` (of an idle client).
    pub unit: &'static str,
    /// What was asked for.
    pub load: Load,
    /// How long was measured.
    pub seconds: f64,
    /// How many units arrived meanwhile.
    pub units: f64,
    /// Units a second.
    pub rate: f64,
    /// Of what was intended while it was measured, from that moment to its arrival. Of idle clients, and only of
    /// those, it is how long they took to come in.
    pub latency_ms: Latency,
    /// From the first message to the last, also before and after what is measured.
    pub counts: Counts,
    /// What went wrong, the most frequent first.
    pub errors: Vec<ErrorCount>,
    /// The server's processes; none if none were named.
    pub server: Option<Server>,
    /// The process of the robot.
    pub robot: Robot,
    /// How all came in, where all come in first.
    pub entering: Option<Entering>,
    /// Second by second.
    pub series: Vec<Second>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Load {
    /// Where the clients came in: `gate 127.0.0.1:3014`.
    pub entrance: String,
    /// `websocket` or `tcp`.
    pub speech: &'static str,
    /// How many there were, those who only listen too.
    pub clients: usize,
    /// How many shared a room.
    pub members: usize,
    /// How many of each room spoke, in a chat.
    pub senders: Option<usize>,
    /// How many of each room read nothing, in a chat.
    pub stalled: Option<usize>,
    /// The route of echoes.
    pub route: Option<String>,
    /// How many messages each had under way; none if there was a rate.
    pub outstanding: Option<usize>,
    /// How many messages a second were to be sent, in all.
    pub rate: Option<f64>,
    /// Bytes of text in each.
    pub size: usize,
    /// What was not measured before.
    pub warm_up_seconds: f64,
    /// The robot's threads.
    pub threads: usize,
}

/// How long things took, in milliseconds.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Of how many.
    pub count: u64,
    /// On average.
    pub mean: f64,
    /// Half took no longer.
    pub p50: f64,
    /// 90 % took no longer.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// 99.99 %.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
    /// More of it: percent, and how long those took at most.
    pub distribution: Vec<(f64, f64)>,
}

/// What went wrong, and how often.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ErrorCount {
    /// What.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// What the server's processes used.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// CPU time, user and system.
    #[serde(skip)]
    pub(crate) cpu: Duration,
    /// CPU time of each unit, in microseconds.
    pub cpu_us_per_unit: f64,
    /// Of one core.
    pub cpu_percent: f64,
    /// Resident memory before the first client came, in KiB.
    pub rss_start_kib: u64,
    /// At its highest.
    pub rss_peak_kib: u64,
    /// At the end, clients still inside.
    pub rss_end_kib: u64,
    /// How many processes.
    pub processes: usize,
}

/// What the robot itself used.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Robot {
    /// CPU time of each unit, in microseconds.
    pub cpu_us_per_unit: f64,
    /// Of one core.
    pub cpu_percent: f64,
}

/// How all came in.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Entering {
    /// How many were let in.
    pub clients: usize,
    /// How long it took.
    pub seconds: f64,
    /// CPU time of the server for each, in microseconds.
    pub server_cpu_us_per_client: Option<f64>,
    /// By how much the server grew for each, when all were in.
    pub kib_per_client_entered: Option<f64>,
    /// The same at the end.
    pub kib_per_client_held: Option<f64>,
}

/// One second of a run; the last may be shorter.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Second {
    /// When it ended, from the beginning of what is measured.
    pub at: f64,
    /// What arrived.
    pub units: f64,
    /// The same for a whole second.
    pub rate: f64,
    /// Of what arrived.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// The same.
    pub max_ms: f64,
    /// Of one core.
    pub server_cpu_percent: Option<f64>,
    /// At its end.
    pub server_rss_kib: Option<u64>,
    /// Of one core.
    pub robot_cpu_percent: f64,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (senders, stalled, route) = match &plan.scenario {
            Scenario::Chat { senders, stalled, .. } => (Some(*senders), Some(*stalled), None),
            Scenario::Soak { senders, .. } => (Some(*senders), None, None),
            Scenario::Echo { route } => (None, None, Some(route.clone())),
            _ => (None, None, None),
        };
        let talks = senders.is_some() || route.is_some();
        let load = Load {
            entrance: match &plan.entrance {
                Entrance::Gate(gate) => format!("gate {gate}"),
                Entrance::Connector(connector) => format!("connector {connector}"),
            },
            speech: match plan.speech {
                Speech::WebSocket => "websocket",
                Speech::Tcp => "tcp",
            },
            clients: plan.population(),
            members: plan.members,
            senders,
            stalled,
            route,
            outstanding: (talks && plan.rate.is_none()).then_some(plan.outstanding),
            rate: plan.rate.filter(|_| talks),
            size: plan.size,
            warm_up_seconds: plan.warm_up.as_secs_f64(),
            threads: plan.threads,
        };
        Self {
            version: 1,
            label: plan.label.clone(),
            scenario: plan.scenario.name(),
            unit: plan.scenario.unit(),
            load,
            seconds: 0.0,
            units: 0.0,
            rate: 0.0,
            latency_ms: Latency::default(),
            counts: Counts::default(),
            errors: Vec::new(),
            server: None,
            robot: Robot::default(),
            entering: None,
            series: Vec::new(),
        }
    }

    /// Whether all that was due has arrived, once and in order, and nothing else went wrong.
    pub fn is_clean(&self) -> bool {
        let Counts { sent: _, received: _, lost, doubled, out_of_order, errors } = self.counts;
        [lost, doubled, out_of_order, errors] == [0; 4]
    }

    /// All of it as JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report is JSON")
    }

    /// Second by second, with a line of names first.
    pub fn csv(&self) -> String {
        let mut csv = "second,units,rate,p50_ms,p99_ms,max_ms,server_cpu_percent,server_rss_kib,robot_cpu_percent\n"
            .to_owned();
        for second in &self.series {
            let Second { at, units, rate, p50_ms, p99_ms, max_ms, .. } = second;
            let cpu = second.server_cpu_percent.map(|cpu| format!("{cpu:.1}")).unwrap_or_default();
            let rss = second.server_rss_kib.map(|rss| rss.to_string()).unwrap_or_default();
            let robot = second.robot_cpu_percent;
            let _ = writeln!(
                csv,
                "{at:.3},{units:.0},{rate:.1},{p50_ms:.4},{p99_ms:.4},{max_ms:.4},{cpu},{rss},{robot:.1}",
            );
        }
        csv
    }

    /// A page with charts that needs nothing else: no scripts, no other files.
    pub fn html(&self) -> String {
        html::page(self)
    }

    pub(crate) fn measured(&mut self, time: Duration, own_cpu: Duration) {
        self.seconds = time.as_secs_f64();
        self.rate = ratio(self.units, self.seconds);
        self.robot = Robot {
            cpu_us_per_unit: ratio(micros(own_cpu), self.units),
            cpu_percent: percent(own_cpu, time),
        };
    }

    pub(crate) fn served(&mut self, mut server: Server, time: Duration) {
        server.cpu_us_per_unit = ratio(micros(server.cpu), self.units);
        server.cpu_percent = percent(server.cpu, time);
        if let Some(entering) = &mut self.entering {
            entering.kib_per_client_held =
                Some(growth(server.rss_start_kib, server.rss_end_kib, entering.clients));
        }
        self.server = Some(server);
    }

    pub(crate) fn ended(&mut self, total: Tally) {
        self.latency_ms = Latency::of(&total.latencies);
        self.counts = total.counts;
        let errors = total.errors.into_iter();
        self.errors = errors.map(|(what, count)| ErrorCount { what, count }).collect();
        self.errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    }
}

impl Entering {
    pub(crate) fn new(clients: usize, time: Duration, server: Option<Server>) -> Self {
        let grown = |server: &Server| growth(server.rss_start_kib, server.rss_end_kib, clients);
        Self {
            clients,
            seconds: time.as_secs_f64(),
            server_cpu_us_per_client: server
                .as_ref()
                .map(|server| ratio(micros(server.cpu), clients as f64)),
            kib_per_client_entered: server.as_ref().map(grown),
            kib_per_client_held: None,
        }
    }
}

impl Second {
    pub(crate) fn new(
        at: Duration,
        units: f64,
        interval: &Interval,
        time: Duration,
        server: Option<Server>,
        own_cpu: Duration,
    ) -> Self {
        let at_most = |quantile| millis(interval.latencies.value_at_quantile(quantile));
        Self {
            at: at.as_secs_f64(),
            units,
            rate: ratio(units, time.as_secs_f64()),
            p50_ms: at_most(0.5),
            p99_ms: at_most(0.99),
            max_ms: millis(interval.latencies.max()),
            server_cpu_percent: server.as_ref().map(|server| percent(server.cpu, time)),
            server_rss_kib: server.map(|server| server.rss_end_kib),
            robot_cpu_percent: percent(own_cpu, time),
        }
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let at_most = |percent: f64| millis(latencies.value_at_quantile(percent / 100.0));
        // Each step goes half of the way that is left to 100 %.
        let steps = (0..20).map(|step| 100.0 - 100.0 / f64::from(1 << step));
        // Where there is no more to tell.
        let finest = 100.0 - 100.0 / (latencies.len().max(1) as f64);
        let distribution = steps.take_while(|percent| *percent <= finest);
        Self {
            count: latencies.len(),
            mean: latencies.mean() / 1e6,
            p50: at_most(50.0),
            p90: at_most(90.0),
            p99: at_most(99.0),
            p99_9: at_most(99.9),
            p99_99: at_most(99.99),
            max: millis(latencies.max()),
            distribution: distribution.map(|percent| (percent, at_most(percent))).collect(),
        }
    }
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn percent(cpu: Duration, time: Duration) -> f64 {
    100.0 * ratio(cpu.as_secs_f64(), time.as_secs_f64())
}

/// Of nothing there is no ratio.
fn ratio(of: f64, to: f64) -> f64 {
    if to == 0.0 { 0.0 } else { of / to }
}

fn growth(from_kib: u64, to_kib: u64, clients: usize) -> f64 {
    ratio(to_kib as f64 - from_kib as f64, clients as f64)
}
