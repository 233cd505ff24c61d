//! What the operator counts, served at /metrics in the OpenMetrics format.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A kind that the operator reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Kind {
    /// AnalysisJob.
    AnalysisJob,
    /// Platform.
    Platform,
}

/// A write to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ApiWrite {
    /// A Job was created.
    CreateJob,
    /// Deadline, retries or queue of a Job were changed.
    PatchJob,
    /// A Job was deleted: its AnalysisJob was suspended, or it is to be made
    /// anew from a changed template.
    DeleteJob,
    /// A ConfigMap with a result was applied.
    ApplyConfigMap,
    /// The NetworkPolicy of a namespace was applied.
    ApplyNetworkPolicy,
    /// An object of a Platform was applied.
    ApplyPlatformObject,
    /// An object of a Platform was deleted, since it is not asked for any more.
    DeletePlatformObject,
    /// A Secret with the API key of an administrator was created.
    CreateAdminKey,
    /// A status was applied.
    ApplyStatus,
    /// An expired object was deleted.
    DeleteExpired,
    /// An event was published.
    PublishEvent,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: Kind,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    write: ApiWrite,
}

/// The counters. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<KindLabel, Counter>,
    durations: Family<KindLabel, Histogram>,
    errors: Family<ErrorLabels, Counter>,
    writes: Family<WriteLabel, Counter>,
    in_flight: Family<KindLabel, Gauge>,
    resident_memory: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("aisaas_operator");
        let reconciles = Family::default();
        let durations = Family::<KindLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 14))
        });
        let errors = Family::default();
        let writes = Family::default();
        let in_flight = Family::default();
        registry.register("reconciles", "Reconciles that were begun", reconciles.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("reconcile_errors", "Reconciles that failed, by the reason", errors.clone());
        registry.register("api_writes", "Writes to the API server", writes.clone());
        registry.register("reconciles_in_flight", "Reconciles under way", in_flight.clone());
        let resident_memory = Gauge::default();
        registry.register_with_unit(
            "resident_memory",
            "Memory that the process holds",
            Unit::Bytes,
            resident_memory.clone(),
        );
        Self {
            registry: Arc::new(registry),
            reconciles,
            durations,
            errors,
            writes,
            in_flight,
            resident_memory,
        }
    }
}

impl Metrics {
    /// Counts a reconcile as begun; it ends when the value is dropped.
    #[must_use]
    pub fn reconcile(&self, kind: Kind) -> InFlight {
        self.reconciles.get_or_create(&KindLabel { kind }).inc();
        self.in_flight.get_or_create(&KindLabel { kind }).inc();
        InFlight { metrics: self.clone(), kind, begun: std::time::Instant::now() }
    }

    /// Counts a reconcile as failed. Reasons are the variants of an error
    /// type, so there are few of them.
    pub fn failed(&self, kind: Kind, reason: &str) {
        self.errors.get_or_create(&ErrorLabels { kind, reason: reason.to_owned() }).inc();
    }

    /// Counts a write to the API server.
    pub fn wrote(&self, write: ApiWrite) {
        self.writes.get_or_create(&WriteLabel { write }).inc();
    }

    /// All counters as text.
    ///
    /// # Errors
    /// If a counter cannot be written as text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        if let Some(bytes) = resident_memory_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut rendered = String::new();
        text::encode(&mut rendered, &self.registry)?;
        Ok(rendered)
    }

    fn ended(&self, kind: Kind, took: Duration) {
        self.durations.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
        self.in_flight.get_or_create(&KindLabel { kind }).dec();
    }
}

/// Memory that this process holds, as the kernel counts it (`proc(5)`).
fn resident_memory_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// A reconcile under way.
#[derive(Debug)]
pub struct InFlight {
    metrics: Metrics,
    kind: Kind,
    begun: std::time::Instant,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.ended(self.kind, self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::default();
        drop(metrics.reconcile(Kind::AnalysisJob));
        metrics.failed(Kind::AnalysisJob, "CreateJob");
        metrics.wrote(ApiWrite::ApplyStatus);
        let rendered = metrics.render().unwrap();
        for line in [
            "aisaas_operator_reconciles_total{kind=\"AnalysisJob\"} 1",
            "aisaas_operator_reconcile_errors_total{kind=\"AnalysisJob\",reason=\"CreateJob\"} 1",
            "aisaas_operator_api_writes_total{write=\"ApplyStatus\"} 1",
            "aisaas_operator_reconciles_in_flight{kind=\"AnalysisJob\"} 0",
            "aisaas_operator_reconcile_duration_seconds_count{kind=\"AnalysisJob\"} 1",
        ] {
            assert!(rendered.contains(line), "no `{line}` in\n{rendered}");
        }
    }
}
