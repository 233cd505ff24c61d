use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Link;
use super::error::DispatchError;
use super::rows::Unfinished;
use super::status::Part;
use super::task::Task;
use crate::database::Database;
use crate::problem::chain;

/// Jobs that wait to be announced. If there are more, all are announced anew.
const MOST_WAITING: usize = 4096;
/// Announced together.
const TOGETHER: usize = 500;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// That there is a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue) struct Announcement {
    id: String,
    /// Announcements with the same one are one. `None`: this one counts in any case.
    message_id: Option<String>,
}

impl Announcement {
    /// Of a job that has had so many attempts.
    pub(in crate::queue) fn of_attempt(id: String, attempts: i64) -> Self {
        let message_id = Some(format!("{id}.{attempts}"));
        Self { id, message_id }
    }

    /// Of a job that was announced before, and begins anew.
    pub(in crate::queue) fn anew(id: String) -> Self {
        Self { id, message_id: None }
    }
}

/// Tells NATS of the jobs of a queue. Nobody waits for it.
#[derive(Debug)]
pub(in crate::queue) struct Announcer {
    sender: mpsc::Sender<Announcement>,
    pub(super) link: Arc<Link>,
    _task: Task,
}

impl Announcer {
    pub(super) fn start(database: Database, queue: &str, link: Link) -> Self {
        let (sender, waiting) = mpsc::channel(MOST_WAITING);
        let link = Arc::new(link);
        let work = Work { database, queue: queue.to_owned(), link: Arc::clone(&link), waiting };
        Self { sender, link, _task: Task::spawn(work.run()) }
    }

    pub(in crate::queue) fn announce(&self, announcement: Announcement) {
        if self.sender.try_send(announcement).is_err() {
            self.link.again.notify_one();
        }
    }
}

struct Work {
    database: Database,
    queue: String,
    link: Arc<Link>,
    waiting: mpsc::Receiver<Announcement>,
}

impl Work {
    async fn run(mut self) {
        let link = Arc::clone(&self.link);
        let is_away = |cause: &str| link.status.away(Part::Announcing, cause);
        loop {
            let connected = link.connection.connected(is_away).await;
            let failure = tokio::select! {
                failure = self.announce(&connected.context) => match failure {
                    Err(failure) => failure,
                    Ok(never) => match never {},
                },
                () = link.connection.lost(&connected) => DispatchError::Lost,
            };
            is_away(&chain(&failure));
            sleep(PAUSE).await;
        }
    }

    /// Announces until something fails.
    async fn announce(&mut self, context: &Context) -> Result<Infallible, DispatchError> {
        self.link.place.stream(context).await?;
        // What was stored while nobody could tell of it, or was not told of.
        self.announce_all(context).await?;
        self.link.status.up(Part::Announcing);
        let link = Arc::clone(&self.link);
        let mut together = Vec::with_capacity(TOGETHER);
        loop {
            tokio::select! {
                () = link.again.notified() => self.announce_all(context).await?,
                count = self.waiting.recv_many(&mut together, TOGETHER) => {
                    if count == 0 {
                        // The queue is gone, and this task with it.
                        return pending().await;
                    }
                    self.publish(context, &together).await?;
                    together.clear();
                }
            }
        }
    }

    async fn announce_all(&self, context: &Context) -> Result<(), DispatchError> {
        let mut unfinished = Unfinished::new(&self.database, &self.queue);
        loop {
            let jobs = unfinished.next(TOGETHER).await?;
            if jobs.is_empty() {
                return Ok(());
            }
            self.publish(context, &jobs).await?;
        }
    }

    /// When this returns, they are stored in the stream.
    async fn publish(&self, context: &Context, jobs: &[Announcement]) -> Result<(), DispatchError> {
        let mut stored = Vec::with_capacity(jobs.len());
        for job in jobs {
            let message = PublishMessage::build().payload(job.id.clone().into());
            let message = match &job.message_id {
                Some(message_id) => message.message_id(message_id),
                None => message,
            };
            let sent = context.send_publish(self.link.place.subject.clone(), message).await;
            stored.push(sent.map_err(|error| DispatchError::refusal("jobs cannot be announced", error))?);
        }
        for stored in stored {
            stored.await.map_err(|error| DispatchError::refusal("jobs cannot be announced", error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_attempt_is_announced_once_and_a_revived_job_in_any_case() {
        let of = |attempts| Announcement::of_attempt("a".to_owned(), attempts);
        assert_eq!(of(0), of(0));
        assert_ne!(of(0).message_id, of(1).message_id);
        assert_eq!(Announcement::anew("a".to_owned()).message_id, None);
    }
}
