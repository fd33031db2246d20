//! A report as a page.

use super::chart::{Chart, Line, short};
use super::{Report, Second, table};

/// Light or dark as the reader has it; colours that can be told apart.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#222, #ddd); --grid: light-dark(#ddd, #444) }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } th { text-align: left; vertical-align: top; padding-right: 1.5rem; font-weight: 600 }
svg { width: 100%; margin-top: 1.5rem } text { font-size: 12px; fill: var(--ink) } .title { font-weight: 600 }
.left, .name { text-anchor: end } .below { text-anchor: middle } .grid { stroke: var(--grid) }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.line.c0 { stroke: #0072b2 } .line.c1 { stroke: #d55e00 } .line.c2 { stroke: #009e73 }
.name.c0 { fill: #0072b2 } .name.c1 { fill: #d55e00 } .name.c2 { fill: #009e73 }
";

pub(super) fn page(report: &Report) -> String {
    let title = match report.label.as_str() {
        "" => report.scenario,
        label => label,
    };
    let title = escape(title);
    let rows: String = table::lines(report)
        .iter()
        .map(|(name, value)| {
            format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(value))
        })
        .collect();
    let charts: String = charts(report).iter().map(Chart::svg).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n<table>\n{rows}</table>\n{charts}</html>\n"
    )
}

fn charts(report: &Report) -> Vec<Chart> {
    let over_time = |value: fn(&Second) -> Option<f64>| -> Vec<(f64, f64)> {
        let seconds = report.series.iter();
        seconds.filter_map(|second| Some((second.at, value(second)?))).collect()
    };
    let end = report.series.last().map_or(0.0, |second| second.at);
    let mut seconds: Vec<f64> = (0..=4).map(|step| (end * f64::from(step) / 4.0).round()).collect();
    seconds.dedup();
    let below: Vec<_> = seconds.into_iter().map(|at| (at, format!("{} s", short(at)))).collect();
    let chart = |title, unit, lines| Chart { title, unit, below: below.clone(), lines };
    let line = |name, value| Line { name, points: over_time(value) };
    // By how many times fewer are slower, so that 99.99 % has as much room as 90 %.
    let rare = |percent: f64| (100.0 / (100.0 - percent)).log10();
    let distribution = report.latency_ms.distribution.iter();
    let percentiles = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
    vec![
        chart(
            "Latency",
            "ms",
            vec![
                line("p50", |second| Some(second.p50_ms)),
                line("p99", |second| Some(second.p99_ms)),
                line("max", |second| Some(second.max_ms)),
            ],
        ),
        Chart {
            title: "Latency by percentile",
            unit: "ms",
            below: percentiles.map(|percent| (rare(percent), format!("{percent} %"))).into(),
            lines: vec![Line {
                name: "at most",
                points: distribution.map(|(percent, ms)| (rare(*percent), *ms)).collect(),
            }],
        },
        chart("Rate", "a second", vec![line(report.unit, |second| Some(second.rate))]),
        chart(
            "CPU",
            "% of one core",
            vec![
                line("server", |second| second.server_cpu_percent),
                line("robot", |second| Some(second.robot_cpu_percent)),
            ],
        ),
        chart(
            "Memory of the server",
            "MiB",
            vec![line("resident", |second| Some(second.server_rss_kib? as f64 / 1024.0))],
        ),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
