use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use futures::StreamExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::Link;
use super::delivery::Delivery;
use super::error::DispatchError;
use super::status::Part;
use crate::problem::chain;

/// How long NATS keeps in mind that jobs are wanted.
const EXPIRES: Duration = Duration::from_secs(30);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// What NATS has handed to a worker and the worker has not taken yet, and how
/// many jobs the worker wants.
#[derive(Debug)]
pub(super) struct Inbox {
    content: Mutex<Content>,
    wanted: watch::Sender<usize>,
    /// Wakes the worker.
    signal: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Content {
    deliveries: VecDeque<Delivery>,
    /// Since when jobs are wanted and none came.
    silent_since: Option<Instant>,
}

impl Inbox {
    pub(super) fn new(signal: &Arc<Notify>) -> Self {
        let (wanted, _) = watch::channel(0);
        Self { content: Mutex::default(), wanted, signal: Arc::clone(signal) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Option<Delivery> {
        self.content().deliveries.pop_front()
    }

    /// So many jobs are wanted from now on, with those that are here already.
    pub(super) fn want(&self, count: usize) {
        let mut content = self.content();
        let count = count.saturating_sub(content.deliveries.len());
        content.silent_since = match content.silent_since {
            Some(since) if count > 0 => Some(since),
            _ => (count > 0).then(Instant::now),
        };
        self.wanted.send_replace(count);
    }

    /// How long jobs have been wanted in vain.
    pub(super) fn silence(&self) -> Duration {
        self.content().silent_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// One is wanted less: what is handed over beyond that would wait for this
    /// worker while others are free.
    fn put(&self, delivery: Delivery) {
        {
            let mut content = self.content();
            content.deliveries.push_back(delivery);
            content.silent_since = content.silent_since.map(|_| Instant::now());
            self.wanted.send_modify(|count| *count = count.saturating_sub(1));
        }
        self.signal.notify_waiters();
    }
}

/// Takes jobs from NATS for a worker whose lease is so long, forever.
pub(super) async fn pull(link: Arc<Link>, inbox: Arc<Inbox>, lease: Duration) {
    let is_away = |cause: &str| {
        link.status.away(Part::Pulling, cause);
        // From now on the worker has to look for itself.
        inbox.signal.notify_waiters();
    };
    loop {
        let connected = link.connection.connected(is_away).await;
        let failure = tokio::select! {
            failure = hand_over(&link, &connected.context, &inbox, lease) => match failure {
                Err(failure) => failure,
                Ok(never) => match never {},
            },
            () = link.connection.lost(&connected) => DispatchError::Lost,
        };
        is_away(&chain(&failure));
        sleep(PAUSE).await;
    }
}

/// Hands over what comes until something fails, as when a person has deleted
/// the stream.
async fn hand_over(
    link: &Link,
    context: &Context,
    inbox: &Inbox,
    lease: Duration,
) -> Result<Infallible, DispatchError> {
    let refused = |error: async_nats::Error| DispatchError::refusal("no jobs can be taken", error);
    let consumer = link.place.consumer(context, lease).await?;
    // The stream may have been made just now.
    link.again.notify_one();
    link.status.up(Part::Pulling);
    let mut wanted = inbox.wanted.subscribe();
    loop {
        let count = until(&mut wanted, |count| count > 0).await;
        let batch = consumer.batch().max_messages(count).expires(EXPIRES).messages().await;
        let mut batch = batch.map_err(|error| refused(error.into()))?;
        loop {
            tokio::select! {
                biased;
                message = batch.next() => match message {
                    Some(message) => inbox.put(Delivery::new(message.map_err(refused)?)),
                    // There were as many as were wanted, or time is up.
                    None => break,
                },
                // What comes now would wait for this worker, and others are free.
                _ = until(&mut wanted, |count| count == 0) => break,
            }
        }
    }
}

/// Waits for a number. Nothing that cannot be sent between threads lives longer
/// than this.
async fn until(number: &mut watch::Receiver<usize>, is_good: impl Fn(usize) -> bool) -> usize {
    let found = number.wait_for(|number| is_good(*number)).await.map(|number| *number);
    match found {
        Ok(number) => number,
        Err(_) => std::future::pending().await,
    }
}
