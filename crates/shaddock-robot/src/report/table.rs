//! A report as text.

use std::fmt;

use super::{Entering, Load, Report};
use crate::tally::Counts;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = lines(self);
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &lines {
            writeln!(f, "{name:width$}  {value}")?;
        }
        Ok(())
    }
}

/// Names and values, for text and pages.
pub(super) fn lines(report: &Report) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    if !report.label.is_empty() {
        line("label", report.label.clone());
    }
    line("scenario", load(report));
    if let Some(Entering { clients, seconds, .. }) = &report.entering {
        line("entered", format!("{clients} clients in {seconds:.2} s"));
    }
    let (unit, units) = (report.unit, plural(report.unit));
    line("measured", format!("{:.2} s, {} {units}", report.seconds, whole(report.units)));
    line("rate", format!("{} {units}/s", whole(report.rate)));
    let latency = &report.latency_ms;
    line(
        "latency ms",
        format!(
            "p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  p99.99 {:.3}  max {:.3}  mean {:.3}",
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p99_9,
            latency.p99_99,
            latency.max,
            latency.mean,
        ),
    );
    if let Some(server) = &report.server {
        line(
            "server CPU",
            format!("{:.2} µs per {unit}, {:.0} %", server.cpu_us_per_unit, server.cpu_percent),
        );
        let [start, peak, end] =
            [server.rss_start_kib, server.rss_peak_kib, server.rss_end_kib].map(mebibytes);
        let processes = server.processes;
        line(
            "server memory",
            format!("{start} MiB before, {peak} at most, {end} at the end, {processes} processes"),
        );
    }
    if let Some(Entering {
        server_cpu_us_per_client: Some(cpu),
        kib_per_client_entered: Some(entered),
        kib_per_client_held: Some(held),
        ..
    }) = &report.entering
    {
        line(
            "per client",
            format!(
                "{cpu:.0} µs of CPU to come in, {entered:.1} KiB then, {held:.1} KiB at the end"
            ),
        );
    }
    let robot = &report.robot;
    line(
        "robot CPU",
        format!("{:.2} µs per {unit}, {:.0} %", robot.cpu_us_per_unit, robot.cpu_percent),
    );
    let Counts { sent, received, lost, doubled, out_of_order, errors } = &report.counts;
    line(
        "counts",
        format!(
            "{sent} sent, {received} received, {lost} lost, {doubled} doubled, {out_of_order} out of order, {errors} errors"
        ),
    );
    for error in &report.errors {
        line("error", format!("{} × {}", error.count, error.what));
    }
    lines
}

fn load(report: &Report) -> String {
    let Load { entrance, speech, clients, size, .. } = &report.load;
    let mut text = format!("{}, {clients} clients over {speech} by {entrance}", report.scenario);
    if let Some(route) = &report.load.route {
        text.push_str(&format!(", {route}"));
    }
    if let Some(senders) = report.load.senders {
        text.push_str(&format!(", rooms of {}, {senders} speak", report.load.members));
    }
    if let Some(stalled @ 1..) = report.load.stalled {
        text.push_str(&format!(", {stalled} read nothing"));
    }
    if let Some(outstanding) = report.load.outstanding {
        text.push_str(&format!(", {outstanding} outstanding, {size} bytes"));
    }
    if let Some(rate) = report.load.rate {
        text.push_str(&format!(", {rate} messages/s, {size} bytes"));
    }
    text
}

fn plural(unit: &str) -> String {
    match unit {
        "echo" => "echoes".to_owned(),
        "copy" => "copies".to_owned(),
        unit => format!("{unit}s"),
    }
}

/// With commas after thousands.
fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(whole(number), text);
        }
    }
}
