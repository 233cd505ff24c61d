//! What the gateway counts, beside what every service does.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use service_kit::metrics::Metrics;

/// How passing on a request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// The service has answered, whatever it was.
    Answered,
    /// It has not, in time.
    TimedOut,
    /// It could not: the client has not sent all of the request in time.
    Unfinished,
    /// It could not be reached.
    Unreachable,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Refusal {
    /// It has no key.
    NoKey,
    /// Its key is not valid.
    UnknownKey,
    /// Its key may not do this.
    NoScope,
    /// Its key was used too often.
    TooOften,
}

/// What became of the delivery of a webhook, each time it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Delivery {
    /// It has arrived.
    Delivered,
    /// It is tried again.
    Postponed,
    /// It is given up.
    GivenUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForwardedLabels {
    service: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    outcome: Delivery,
}

/// The counters. Cheap to clone: all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    forwarded: Family<ForwardedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    ended: Family<EndedLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    /// Connections that have changed their protocol.
    pub tunnels: Gauge,
    /// Streams of events that are open.
    pub event_streams: Gauge,
}

impl Counters {
    /// The counters, among those of a service.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let counters = Self::default();
        metrics.register(|registry| {
            registry.register(
                "forwarded_requests",
                "Requests that were passed on, by service and outcome",
                counters.forwarded.clone(),
            );
            registry.register(
                "refused_requests",
                "Requests that were not let in, by reason",
                counters.refused.clone(),
            );
            registry.register(
                "ended_requests",
                "Requests over several services that have ended, by status",
                counters.ended.clone(),
            );
            registry.register(
                "webhook_deliveries",
                "Attempts to deliver a webhook, by outcome",
                counters.deliveries.clone(),
            );
            registry.register(
                "upgraded_connections",
                "Connections that have changed their protocol",
                counters.tunnels.clone(),
            );
            registry.register(
                "event_streams",
                "Streams of events that are open",
                counters.event_streams.clone(),
            );
        });
        counters
    }

    /// A request was passed on.
    pub fn forwarded(&self, service: &str, outcome: Outcome) {
        self.forwarded.get_or_create(&ForwardedLabels { service: service.to_owned(), outcome }).inc();
    }

    /// A request was not let in.
    pub fn refused(&self, reason: Refusal) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// A request over several services has ended.
    pub fn ended(&self, status: &str) {
        self.ended.get_or_create(&EndedLabels { status: status.to_owned() }).inc();
    }

    /// A webhook was tried to be delivered.
    pub fn delivery(&self, outcome: Delivery) {
        self.deliveries.get_or_create(&DeliveryLabels { outcome }).inc();
    }
}
