use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;
use service_kit::metrics::Metrics;

/// How an analysis ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `Succeeded`, `Cancelled`, or the reason of a failure.
    outcome: String,
}

/// What the service counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServeMetrics {
    /// Processes of analyses.
    pub running: Gauge,
    /// Analyses that wait.
    pub queued: Gauge,
    /// Bytes of all data sets.
    pub stored: Gauge,
    /// Bytes that were uploaded.
    pub uploaded: Counter,
    durations: Family<Outcome, Histogram>,
}

impl ServeMetrics {
    /// Adds its counters to those that every service has.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self {
            running: Gauge::default(),
            queued: Gauge::default(),
            stored: Gauge::default(),
            uploaded: Counter::default(),
            durations: Family::<Outcome, Histogram>::new_with_constructor(|| {
                // From 10 ms to more than an hour.
                Histogram::new(exponential_buckets(0.01, 2.0, 20))
            }),
        };
        metrics.register(|registry| {
            registry.register("analyses_running", "Processes of analyses", own.running.clone());
            registry.register("analyses_queued", "Analyses that wait", own.queued.clone());
            registry.register_with_unit(
                "datasets_stored",
                "Size of all data sets together",
                Unit::Bytes,
                own.stored.clone(),
            );
            registry.register_with_unit("uploaded", "What was uploaded", Unit::Bytes, own.uploaded.clone());
            registry.register_with_unit(
                "analysis_duration",
                "From the start of the process of an analysis to its end, by outcome",
                Unit::Seconds,
                own.durations.clone(),
            );
        });
        own
    }

    /// An analysis has ended.
    pub fn ended(&self, outcome: &str, took: Duration) {
        let labels = Outcome { outcome: outcome.to_owned() };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// Counts a process while it runs, whichever way it ends.
#[derive(Debug)]
pub struct Running(Gauge);

impl Running {
    /// From now on.
    #[must_use]
    pub fn new(metrics: &ServeMetrics) -> Self {
        metrics.running.inc();
        Self(metrics.running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
