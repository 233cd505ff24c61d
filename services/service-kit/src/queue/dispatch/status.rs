use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

/// What is counted of all queues of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct DispatchMetrics {
    is_up: Family<QueueLabels, Gauge>,
    missed: Family<QueueLabels, Counter>,
}

impl DispatchMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let own = Self::default();
        let (is_up, missed) = (own.is_up.clone(), own.missed.clone());
        metrics.register(|registry| {
            registry.register(
                "queue_nats_up",
                "Whether NATS JetStream hands out the jobs of a queue (1), or the database does (0)",
                is_up,
            );
            registry.register(
                "queue_jobs_missed_by_nats",
                "Overdue jobs that were found in the database while NATS JetStream handed out jobs",
                missed,
            );
        });
        own
    }
}

/// What has to work for NATS to dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Telling it of jobs.
    Announcing,
    /// Taking jobs from it.
    Pulling,
}

/// Whether NATS dispatches the jobs of a queue.
#[derive(Debug)]
pub(super) struct Status {
    queue: Arc<str>,
    url: String,
    parts: Mutex<Parts>,
    is_up: Gauge,
    missed: Counter,
}

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    announcing: bool,
    pulling: bool,
    /// What was last told of them in the log.
    told: Option<bool>,
}

impl Parts {
    fn set(&mut self, part: Part, works: bool) {
        match part {
            Part::Announcing => self.announcing = works,
            Part::Pulling => self.pulling = works,
        }
    }

    fn are_up(self) -> bool {
        self.announcing && self.pulling
    }

    /// True the first time, and when it has changed.
    fn is_to_be_told(&mut self, is_up: bool) -> bool {
        self.told.replace(is_up) != Some(is_up)
    }
}

impl Status {
    pub(super) fn new(queue: &str, url: &str, metrics: &DispatchMetrics) -> Self {
        let labels = QueueLabels { queue: queue.to_owned() };
        Self {
            queue: queue.into(),
            url: url.to_owned(),
            parts: Mutex::default(),
            is_up: metrics.is_up.get_or_create(&labels).clone(),
            missed: metrics.missed.get_or_create(&labels).clone(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).are_up()
    }

    pub(super) fn up(&self, part: Part) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.set(part, true);
        if parts.are_up() && parts.is_to_be_told(true) {
            self.is_up.set(1);
            tracing::info!(queue = &*self.queue, url = self.url, "NATS JetStream hands out the jobs.");
        }
    }

    pub(super) fn away(&self, part: Part, cause: &str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.set(part, false);
        if parts.is_to_be_told(false) {
            self.is_up.set(0);
            tracing::warn!(
                queue = &*self.queue,
                url = self.url,
                cause,
                "NATS JetStream cannot be used. Jobs are taken from the database, and none is lost."
            );
        }
    }

    pub(super) fn missed(&self, jobs: usize) {
        self.missed.inc_by(u64::try_from(jobs).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let mut parts = Parts::default();
        parts.set(Part::Pulling, true);
        assert!(!parts.are_up(), "jobs must be announced as well");
        assert!(parts.is_to_be_told(false));
        assert!(!parts.is_to_be_told(false));
        parts.set(Part::Announcing, true);
        assert!(parts.are_up() && parts.is_to_be_told(true) && !parts.is_to_be_told(true));
        parts.set(Part::Announcing, false);
        assert!(!parts.are_up() && parts.is_to_be_told(false));
    }
}
