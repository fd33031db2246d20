//! What a report looks like.

use serde_json::Value;

use crate::{echo, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_text_json_csv_and_a_page() {
    let report = play(echo("connector.entryHandler.echo"), |plan| {
        plan.label = "a <label>".to_owned();
        plan.pids = vec![std::process::id()];
    })
    .await;

    let text = report.to_string();
    for name in ["scenario", "latency ms", "server CPU", "robot CPU", "counts"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }

    let json: Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["version"], 1);
    for number in [
        "/rate",
        "/latency_ms/p50",
        "/latency_ms/p99_99",
        "/latency_ms/max",
        "/counts/received",
        "/server/cpu_us_per_unit",
        "/server/rss_peak_kib",
        "/robot/cpu_us_per_unit",
        "/series/0/rate",
    ] {
        let value = json.pointer(number).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{number}: {value:?}");
    }
    assert_eq!(json["counts"]["lost"], 0);

    let csv = report.csv();
    let mut lines = csv.lines().map(|line| line.split(',').count());
    let names = lines.next().unwrap();
    assert_eq!(lines.collect::<Vec<_>>(), vec![names; report.series.len()]);

    let page = report.html();
    assert!(page.contains("<h1>a &lt;label&gt;</h1>"), "{page}");
    assert_eq!(page.matches("<svg").count(), 5, "one for each chart");
    for outside in ["<script", "http:", "https:", "url(", "NaN", "inf"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
