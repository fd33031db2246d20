//! Counters, and the page where Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use metrics::{Counter, Gauge};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::app::AppHandle;
use crate::ids::ServerId;
use crate::server::ServerHandle;

/// The counters of one application. Not the process's: two applications may live in one.
///
/// Prometheus's text format is all that is needed of an exporter; the usual one calibrates a clock for
/// histograms when it is made, which now and then takes 200 ms of the start.
#[derive(Clone, Default)]
pub(crate) struct Telemetry(Arc<Mutex<BTreeMap<&'static str, Family>>>);

/// The values of one name, by their labels as they are written.
struct Family {
    kind: &'static str,
    values: BTreeMap<String, Arc<AtomicU64>>,
}

impl Telemetry {
    fn counter(&self, name: &'static str, labels: String) -> Counter {
        Counter::from_arc(self.value(name, "counter", labels))
    }

    fn gauge(&self, name: &'static str, labels: String) -> Gauge {
        Gauge::from_arc(self.value(name, "gauge", labels))
    }

    fn value(&self, name: &'static str, kind: &'static str, labels: String) -> Arc<AtomicU64> {
        let mut families = self.lock();
        let family =
            families.entry(name).or_insert_with(|| Family { kind, values: BTreeMap::new() });
        family.values.entry(labels).or_default().clone()
    }

    /// What Prometheus reads, the queues of `servers` as they are now.
    ///
    /// The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
    fn render(&self, servers: &[ServerHandle]) -> String {
        for server in servers {
            let stats = server.node().stats();
            let labels = || Telemetry::server(server.id());
            let gauge = |name, value: usize| self.gauge(name, labels()).set(value as f64);
            gauge("shaddock_calls_waiting", stats.waiting);
            gauge("shaddock_channels", server.channels().count());
            for (reason, count) in server.losses() {
                let labels = format!("{},reason=\"{reason}\"", labels());
                self.counter("shaddock_lost_datagrams_total", labels).absolute(count);
            }
            self.counter("shaddock_stale_messages_total", labels()).absolute(stats.stale);
            self.counter("shaddock_unreadable_messages_total", labels()).absolute(stats.unreadable);
        }
        let mut page = String::new();
        for (name, Family { kind, values }) in &*self.lock() {
            page.push_str(&format!("# TYPE {name} {kind}\n"));
            for (labels, value) in values {
                let value = value.load(Ordering::Relaxed);
                // A gauge keeps the bits of a float.
                let value = if *kind == "gauge" { f64::from_bits(value) } else { value as f64 };
                page.push_str(&format!("{name}{{{labels}}} {value}\n"));
            }
        }
        page
    }

    /// What one server has counted, by name, with labels beside its own.
    pub(crate) fn counters(&self, id: &ServerId) -> BTreeMap<String, u64> {
        let own = Telemetry::server(id);
        let mut counters = BTreeMap::new();
        for (name, Family { kind, values }) in &*self.lock() {
            for (labels, value) in values.iter().filter(|_| *kind == "counter") {
                let name = match labels.strip_prefix(&own) {
                    Some("") => (*name).to_owned(),
                    Some(more) if more.starts_with(',') => format!("{name}{{{}}}", &more[1..]),
                    _ => continue,
                };
                counters.insert(name, value.load(Ordering::Relaxed));
            }
        }
        counters
    }

    /// The label of a server. Neither ids nor reasons hold anything that would have to be escaped.
    fn server(id: &ServerId) -> String {
        format!("server=\"{id}\"")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets something through now and then. Counters count each time; the log need not.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether this is the first time in ten seconds.
    pub(crate) fn now(&self) -> bool {
        const PAUSE: Duration = Duration::from_secs(10);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| PAUSE <= last.elapsed());
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// What a server counts.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    /// Messages handled here.
    pub(crate) handled: Counter,
    /// Messages sent on to other servers.
    pub(crate) forwarded: Counter,
    /// Requests that ended in a fault.
    pub(crate) faults: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) panics: Counter,
    pub(crate) remote_calls: Counter,
    /// Jobs refused because a lane was full.
    pub(crate) lane_overflows: Counter,
    /// Messages of sessions that had lost their uid and did not know yet.
    pub(crate) fenced: Counter,
    /// Members taken out of channels that had not left.
    pub(crate) lost_members: Counter,
    /// Casts of other servers that got lost on the way.
    pub(crate) missed: Counter,
    /// Jobs that were begun here.
    pub(crate) cron_runs: Counter,
    pub(crate) cron_failures: Counter,
    /// Times of jobs that were left out.
    pub(crate) cron_skips: Counter,
}

impl ServerMetrics {
    pub(crate) fn new(telemetry: &Telemetry, id: &ServerId) -> ServerMetrics {
        let counter = |name| telemetry.counter(name, Telemetry::server(id));
        ServerMetrics {
            handled: counter("shaddock_messages_handled_total"),
            forwarded: counter("shaddock_messages_forwarded_total"),
            faults: counter("shaddock_faults_total"),
            timeouts: counter("shaddock_timeouts_total"),
            panics: counter("shaddock_panics_total"),
            remote_calls: counter("shaddock_remote_calls_total"),
            lane_overflows: counter("shaddock_lane_overflows_total"),
            fenced: counter("shaddock_fenced_messages_total"),
            lost_members: counter("shaddock_lost_members_total"),
            missed: counter("shaddock_missed_casts_total"),
            cron_runs: counter("shaddock_cron_runs_total"),
            cron_failures: counter("shaddock_cron_failures_total"),
            cron_skips: counter("shaddock_cron_skips_total"),
        }
    }
}

/// What a front-end counts.
#[derive(Clone)]
pub(crate) struct FrontendMetrics {
    telemetry: Telemetry,
    id: ServerId,
    /// Sessions now.
    pub(crate) sessions: Gauge,
    /// Connections that came. Requests of a client that has one already are none.
    pub(crate) connections: Counter,
    /// Messages that came from clients.
    pub(crate) messages: Counter,
    /// Messages that were none, or too many.
    pub(crate) malformed: Counter,
    pub(crate) rate_limited: Counter,
    /// Pushes left for clients.
    pub(crate) pushed: Counter,
    /// Clients that did not read what was left for them.
    pub(crate) overflows: Counter,
    /// Times we stopped reading from a client because its lane was full.
    pub(crate) suspensions: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
}

impl FrontendMetrics {
    pub(crate) fn new(telemetry: &Telemetry, id: &ServerId) -> FrontendMetrics {
        let counter = |name| telemetry.counter(name, Telemetry::server(id));
        FrontendMetrics {
            telemetry: telemetry.clone(),
            id: id.clone(),
            sessions: telemetry.gauge("shaddock_sessions", Telemetry::server(id)),
            connections: counter("shaddock_connections_total"),
            messages: counter("shaddock_messages_total"),
            malformed: counter("shaddock_malformed_messages_total"),
            rate_limited: counter("shaddock_rate_limited_total"),
            pushed: counter("shaddock_pushes_delivered_total"),
            overflows: counter("shaddock_overflows_total"),
            suspensions: counter("shaddock_suspensions_total"),
            bytes_in: counter("shaddock_received_bytes_total"),
            bytes_out: counter("shaddock_sent_bytes_total"),
        }
    }

    /// A connection that did not become a session.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.labelled("shaddock_refused_connections_total", reason);
    }

    /// A session that ended.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.labelled("shaddock_closed_sessions_total", reason);
    }

    fn labelled(&self, name: &'static str, reason: &'static str) {
        let labels = format!("{},reason=\"{reason}\"", Telemetry::server(&self.id));
        self.telemetry.counter(name, labels).increment(1);
    }
}

/// What a server counts of its pushes.
#[derive(Clone)]
pub(crate) struct PushMetrics {
    /// One for each front-end that a push goes to.
    pub(crate) sent: Counter,
    pub(crate) unsent: Counter,
}

impl PushMetrics {
    pub(crate) fn new(telemetry: &Telemetry, id: &ServerId) -> PushMetrics {
        PushMetrics {
            sent: telemetry.counter("shaddock_pushes_sent_total", Telemetry::server(id)),
            unsent: telemetry.counter("shaddock_pushes_unsent_total", Telemetry::server(id)),
        }
    }
}

impl fmt::Debug for PushMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushMetrics").finish_non_exhaustive()
    }
}

/// Serves `/metrics` and `/health` until the application stops.
pub(crate) fn serve(app: &AppHandle, listener: TcpListener) {
    let (metrics, health) = (app.clone(), app.clone());
    let pages = Router::new()
        .route(
            "/metrics",
            get(async move || {
                (
                    [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                    metrics.telemetry().render(&metrics.servers()),
                )
            }),
        )
        .route(
            "/health",
            get(async move || {
                let servers: Vec<_> = health
                    .servers()
                    .iter()
                    .map(|server| json!({ "id": server.id(), "sessions": server.session_count() }))
                    .collect();
                let stopping = health.is_stopping();
                let status =
                    if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                let state = if stopping { "stopping" } else { "ok" };
                let body = json!({ "status": state, "servers": servers }).to_string();
                (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
            }),
        );
    app.tasks().spawn("metrics", async move |stop| {
        // Dropped at the stop: nobody is waited for who asks for figures.
        let served = stop.run_until_cancelled(axum::serve(listener, pages).into_future());
        if let Some(Err(error)) = served.await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
}

/// Binds the address where [`serve`] listens.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}
