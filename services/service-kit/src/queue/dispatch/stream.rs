use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};

use super::error::DispatchError;
use super::settings::NatsSettings;

/// Most messages in a stream. More than a queue has jobs: some are there twice
/// for a while.
const MOST_MESSAGES: i64 = 250_000;
/// Most bytes of a stream, which a server sets aside.
const MOST_BYTES: i64 = 64 << 20;
/// Most bytes of a message: an id, and what belongs to it.
const MOST_MESSAGE_BYTES: i32 = 1 << 10;
/// How long a message is kept. A job that waits longer is found in the database.
const MOST_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long it is known what was announced.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The consumer that all workers of a queue pull from.
const CONSUMER: &str = "workers";

/// The stream of a queue.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) subject: String,
    name: String,
    replicas: usize,
}

impl Place {
    pub(super) fn new(settings: &NatsSettings, queue: &str) -> Self {
        let subject = format!("{}.{queue}", settings.subject);
        Self { name: subject.replace('.', "_"), subject, replicas: settings.replicas }
    }

    /// The stream as it should be, which is made if it is not there.
    pub(super) async fn stream(&self, context: &Context) -> Result<Stream, DispatchError> {
        let wanted = self.config();
        let stream = match context.get_or_create_stream(wanted.clone()).await {
            Ok(stream) => stream,
            // Another one may have made it at the same time.
            Err(error) => context
                .get_stream(&self.name)
                .await
                .map_err(|_| DispatchError::refusal(format!("there is no stream `{}`", self.name), error))?,
        };
        let found = &stream.cached_info().config;
        let bounds =
            |config: &Config| (config.num_replicas, config.max_messages, config.max_bytes, config.max_age);
        if bounds(found) != bounds(&wanted) {
            let updated = context.update_stream(&wanted).await;
            updated.map_err(|error| {
                DispatchError::refusal(format!("the stream `{}` cannot be changed", self.name), error)
            })?;
        }
        Ok(stream)
    }

    /// The consumer of the workers. What is not acknowledged within the lease
    /// is given to another one.
    pub(super) async fn consumer(
        &self,
        context: &Context,
        lease: Duration,
    ) -> Result<PullConsumer, DispatchError> {
        let wanted = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            description: Some("The workers of all replicas".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: lease,
            // The database counts attempts.
            max_deliver: -1,
            // Those that wait for their time count as well.
            max_ack_pending: MOST_MESSAGES,
            ..pull::Config::default()
        };
        let stream = self.stream(context).await?;
        stream
            .create_consumer(wanted)
            .await
            .map_err(|error| DispatchError::refusal(format!("`{}` has no consumer", self.name), error))
    }

    fn config(&self) -> Config {
        Config {
            name: self.name.clone(),
            description: Some("Ids of jobs, whose truth is in the database of the service".to_owned()),
            subjects: vec![self.subject.clone()],
            retention: RetentionPolicy::WorkQueue,
            storage: StorageType::File,
            // What does not fit is refused, so that it is known.
            discard: DiscardPolicy::New,
            max_messages: MOST_MESSAGES,
            max_bytes: MOST_BYTES,
            max_message_size: MOST_MESSAGE_BYTES,
            max_age: MOST_AGE,
            duplicate_window: DUPLICATE_WINDOW,
            num_replicas: self.replicas,
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_a_stream_of_its_own() {
        let settings = NatsSettings {
            url: "nats://localhost".to_owned(),
            subject: "aisaas.demo.my-platform.analysis-base".to_owned(),
            replicas: 3,
            credentials_folder: None,
        };
        let place = Place::new(&settings, "uploads");
        assert_eq!(place.subject, "aisaas.demo.my-platform.analysis-base.uploads");
        let config = place.config();
        assert_eq!(config.name, "aisaas_demo_my-platform_analysis-base_uploads");
        assert_eq!((config.subjects, config.num_replicas), (vec![place.subject], 3));
    }
}
