//! What hands out the work of a service: from the specification to its
//! configuration and the Secret that it mounts. Pure.

use crds::platform::PlatformSpec;
use crds::platform::configuration::{QueueConfiguration, paths};

use super::services::ServiceDefinition;
use crate::names::LabelName;

/// What hands out the work of a service, if it is not the database.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceQueue {
    /// What the service is told.
    pub configuration: QueueConfiguration,
    /// Name of the Secret with the credentials, if there are any.
    pub secret: Option<String>,
}

/// Tells what hands out the work of a service; `None` if the database does, or
/// if the service has no such work.
#[must_use]
pub fn queue(
    service: &ServiceDefinition,
    spec: &PlatformSpec,
    platform: &LabelName,
    namespace: &LabelName,
) -> Option<ServiceQueue> {
    let nats = spec.queue.as_ref()?.nats_jet_stream.as_ref().filter(|_| service.has_queue)?;
    let secret = nats.secret.as_ref().map(|secret| secret.name.clone());
    Some(ServiceQueue {
        configuration: QueueConfiguration::NatsJetStream {
            url: nats.url.clone(),
            // Names of labels have no dots: no two services have the same one.
            subject: format!("aisaas.{namespace}.{platform}.{}", service.name),
            replicas: nats.replicas.unwrap_or(1),
            credentials_folder: secret.as_ref().map(|_| paths::QUEUE_SECRET_FOLDER.to_owned()),
        },
        secret,
    })
}
