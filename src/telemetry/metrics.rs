//! The metrics, and the little HTTP server that shows them to Prometheus.
//!
//! Labels are `&'static str` from closed lists (methods, codes, reasons), never text from a request: they cannot name a tenant
//! or a person, and their number is bounded. The one exception is the directory of a mirror, which the configuration names.

use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;

/// A gauge that counts things that are there now.
pub type Level = Gauge<i64, AtomicI64>;

/// What the service counts. All parts may be used from any thread.
pub struct Metrics {
    registry: Registry,
    requests: Family<CallLabels, Counter>,
    latency: Family<MethodLabel, Histogram>,
    authentication_failures: Family<ReasonLabel, Counter>,
    handshake_failures: Family<ReasonLabel, Counter>,
    alerts: Family<SortLabel, Counter>,
    /// Connections that are open.
    pub open_connections: Level,
    /// Calls that are open.
    pub open_calls: Level,
    /// Bytes that came in over the network, as TLS sent them.
    pub bytes_in: Counter,
    /// Bytes that went out over the network, as TLS sends them.
    pub bytes_out: Counter,
    /// Records stored.
    pub records_stored: Counter,
    /// Erasures acknowledged.
    pub erasures: Counter,
    /// Mirrors that do not follow: above 0, no erasure is final.
    pub mirrors_failing: Level,
    /// Groups of writes that the last of the mirrors does not have yet.
    pub mirror_groups_behind: Level,
    /// Compactions of the database that gave space back.
    pub compactions: Counter,
    /// Compactions that were given up.
    pub compactions_failed: Counter,
    database_bytes: Level,
    database_live_bytes: Level,
    database_reclaimable_bytes: Level,
    objects_behind: Family<MirrorLabel, Level>,
    objects_complete: Family<MirrorLabel, Level>,
    /// The mirrors that are shown: few, as the configuration names them.
    shown_mirrors: Mutex<Vec<MirrorLabel>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SortLabel {
    sort: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MirrorLabel {
    mirror: String,
}

/// Upper bounds of the latency histogram, in seconds.
const LATENCY_BOUNDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("oubliette"),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BOUNDS)),
            authentication_failures: Family::default(),
            handshake_failures: Family::default(),
            alerts: Family::default(),
            open_connections: Level::default(),
            open_calls: Level::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            records_stored: Counter::default(),
            erasures: Counter::default(),
            mirrors_failing: Level::default(),
            mirror_groups_behind: Level::default(),
            compactions: Counter::default(),
            compactions_failed: Counter::default(),
            database_bytes: Level::default(),
            database_live_bytes: Level::default(),
            database_reclaimable_bytes: Level::default(),
            objects_behind: Family::default(),
            objects_complete: Family::default(),
            shown_mirrors: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Counts a call that ended. `method` and `code` come from closed lists.
    pub fn call_ended(&self, method: &'static str, code: &'static str, took: Duration) {
        self.requests.get_or_create(&CallLabels { method, code }).inc();
        self.latency.get_or_create(&MethodLabel { method }).observe(took.as_secs_f64());
    }

    /// Counts a failed authentication. `reason` comes from a closed list.
    pub fn authentication_failed(&self, reason: &'static str) {
        self.authentication_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a TLS handshake that failed. `reason` comes from a closed list.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshake_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts something that somebody should look at. `sort` comes from a closed list.
    pub fn alert(&self, sort: &'static str) {
        self.alerts.get_or_create(&SortLabel { sort }).inc();
    }

    /// Shows what the database takes of the disk, how much of it counts, and about how much a compaction would give back.
    pub fn show_database(&self, file_bytes: u64, live_bytes: u64, reclaimable_bytes: u64) {
        let gauges = [&self.database_bytes, &self.database_live_bytes, &self.database_reclaimable_bytes];
        for (gauge, bytes) in gauges.into_iter().zip([file_bytes, live_bytes, reclaimable_bytes]) {
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Shows how many objects each mirror does not have yet, and whether it is known to have all. Mirrors that are not named are not shown any
    /// more.
    pub fn show_mirrors<'a>(&self, mirrors: impl Iterator<Item = (&'a Path, u64, bool)>) {
        let mut shown = self.shown_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *shown);
        for (directory, behind, is_complete) in mirrors {
            let label = MirrorLabel { mirror: directory.display().to_string() };
            shown.push(label.clone());
            self.objects_behind.get_or_create(&label).set(i64::try_from(behind).unwrap_or(i64::MAX));
            self.objects_complete.get_or_create(&label).set(i64::from(is_complete));
        }
        for label in before.iter().filter(|label| !shown.contains(label)) {
            self.objects_behind.remove(label);
            self.objects_complete.remove(label);
        }
    }

    /// All of it in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Calls that ended, by method and code", self.requests.clone());
        let latency = "How long calls took until their last byte";
        registry.register_with_unit("request_duration", latency, Unit::Seconds, self.latency.clone());
        let failures = "Calls without a valid token, by reason";
        registry.register("authentication_failures", failures, self.authentication_failures.clone());
        let failures = "TLS handshakes that failed, by reason";
        registry.register("handshake_failures", failures, self.handshake_failures.clone());
        registry.register("alerts", "Things that somebody should look at, by sort", self.alerts.clone());
        let failing = "Mirrors that do not follow: above 0, no erasure is final";
        registry.register("mirrors_failing", failing, self.mirrors_failing.clone());
        let behind = "Groups of writes that the last of the mirrors does not have yet";
        registry.register("mirror_groups_behind", behind, self.mirror_groups_behind.clone());
        let behind = "Objects that a mirror of everything does not have yet, or has still to delete";
        registry.register("mirror_objects_behind", behind, self.objects_behind.clone());
        let complete = "1 where a mirror of everything is known to have every object that its rows name";
        registry.register("mirror_objects_complete", complete, self.objects_complete.clone());
        registry.register("compactions", "Compactions of the database that gave space back", self.compactions.clone());
        let failed = "Compactions of the database that were given up, for want of room or after an error";
        registry.register("compactions_failed", failed, self.compactions_failed.clone());
        let taken = "Bytes that the files of the database take, at the last look (limits.compact_check_s)";
        registry.register("database_file_bytes", taken, self.database_bytes.clone());
        let live = "Bytes of the rows that count, at the last look";
        registry.register("database_live_bytes", live, self.database_live_bytes.clone());
        let dead = "About how many bytes a compaction would give back, at the last look";
        registry.register("database_reclaimable_bytes", dead, self.database_reclaimable_bytes.clone());
        registry.register("open_connections", "Connections that are open", self.open_connections.clone());
        registry.register("open_calls", "Calls that are open", self.open_calls.clone());
        registry.register_with_unit("received", "Bytes from the network", Unit::Bytes, self.bytes_in.clone());
        registry.register_with_unit("sent", "Bytes to the network", Unit::Bytes, self.bytes_out.clone());
        registry.register("records_stored", "Records stored", self.records_stored.clone());
        registry.register("erasures", "Erasures acknowledged", self.erasures.clone());
    }
}

/// Adds one to a gauge for as long as it lives.
pub struct Counted(Level);

impl Counted {
    /// Adds one.
    pub fn new(level: &Level) -> Self {
        level.inc();
        Self(level.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Serves `/metrics` over plain HTTP until `shutdown`. The configuration lets only loopback addresses come here.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new().route("/metrics", get(show)).with_state(metrics);
    axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
}

async fn show(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.call_ended("GetRecord", "OK", Duration::from_millis(3));
        metrics.bytes_in.inc_by(7);
        let open = Counted::new(&metrics.open_calls);
        let text = metrics.encode();
        for line in [
            "oubliette_requests_total{method=\"GetRecord\",code=\"OK\"} 1",
            "oubliette_request_duration_seconds_bucket{le=\"0.005\",method=\"GetRecord\"} 1",
            "oubliette_received_bytes_total 7",
            "oubliette_open_calls 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        drop(open);
        assert!(metrics.encode().contains("oubliette_open_calls 0"));
    }
}
