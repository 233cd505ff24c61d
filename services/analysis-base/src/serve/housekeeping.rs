//! What is done now and then, by every replica: removing what is over, ending
//! what nobody works on any more, and counting.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use serde::de::DeserializeOwned;
use service_kit::problem::chain;
use service_kit::queue::{DeadJob, Queue};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::analyses::Work as Analysis;
use super::analyses::store as analyses;
use super::datasets::store as datasets;
use super::error::ServeError;
use super::garbage::Garbage;
use super::state::Service;
use super::uploads::store as uploads;
use super::uploads::{LIFE, Work as Upload, failed_problem};

/// How often all of it is done.
const PERIOD: Duration = Duration::from_secs(30);
/// How long a part of it may take: a database that says nothing more amid a
/// transaction is not waited for for ever.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// How much of it is done at once.
const BATCH: usize = 100;
/// Between two times, so that requests get their turn at the database.
const PAUSE: Duration = Duration::from_millis(100);
/// Jobs that died are looked at so far back.
const DEAD: u32 = 100;

/// Keeps house for as long as the service runs.
pub async fn keep(service: &Service) {
    loop {
        let next = Instant::now() + PERIOD;
        let parts: [(&str, BoxFuture<'_, Result<(), ServeError>>); 5] = [
            ("analyses that are over", remove_analyses(service).boxed()),
            ("uploads that are over", remove_uploads(service).boxed()),
            ("jobs that died", end_dead(service).boxed()),
            ("garbage", service.garbage.sweep().err_into().boxed()),
            ("figures", count(service).boxed()),
        ];
        for (what, part) in parts {
            match timeout(LONGEST, part).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(what, error = %chain(&error), "A part of the housekeeping is put off.");
                }
                Err(_) => tracing::warn!(what, "A part of the housekeeping takes too long and is put off."),
            }
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = service.garbage.woken() => {}
        }
    }
}

async fn remove_analyses(service: &Service) -> Result<(), ServeError> {
    loop {
        let over = analyses::over(&service.database, BATCH as i64).await?;
        let is_last = over.len() < BATCH;
        for (id, prefix) in over {
            let mut transaction = service.database.begin().await?;
            if let Some(prefix) = prefix {
                Garbage::discard(&mut transaction, &prefix).await?;
            }
            analyses::delete(&mut transaction, &id).await?;
            transaction.commit().await?;
        }
        if is_last {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

async fn remove_uploads(service: &Service) -> Result<(), ServeError> {
    loop {
        let expired = uploads::expired(&service.database, BATCH as i64).await?;
        let is_last = expired.len() < BATCH;
        for id in expired {
            let mut transaction = service.database.begin().await?;
            if uploads::delete_expired(&mut transaction, &id).await? {
                Garbage::discard(&mut transaction, &uploads::prefix(&id)).await?;
                transaction.commit().await?;
            }
        }
        if is_last {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

/// A job that ended its process each time, or could never be stored, is dead:
/// nobody else tells those who wait for it.
async fn end_dead(service: &Service) -> Result<(), ServeError> {
    for (Analysis { analysis, .. }, _) in dead(&service.queue).await? {
        let end = analyses::End::gave_up();
        let mut transaction = service.database.begin().await?;
        if analyses::end(&mut transaction, &analysis, &end, service.retention()).await? {
            transaction.commit().await?;
            service.changes.tell(&analysis);
        }
    }
    for (Upload { upload }, died_at) in dead(&service.finishing).await? {
        let problem = failed_problem(false);
        let mut transaction = service.database.begin().await?;
        if uploads::set_aside(&mut transaction, &upload, &problem, LIFE, died_at).await? {
            transaction.commit().await?;
            service.changes.tell(&upload);
        }
    }
    Ok(())
}

/// What the dead jobs of a queue carry, each with when it died.
async fn dead<T: DeserializeOwned>(queue: &Queue) -> Result<Vec<(T, i64)>, ServeError> {
    let jobs = queue.dead(DEAD).await?;
    let read = |job: &DeadJob| Some((serde_json::from_str(&job.payload).ok()?, job.died_at));
    Ok(jobs.iter().filter_map(read).collect())
}

async fn count(service: &Service) -> Result<(), ServeError> {
    service.metrics.queued.set(analyses::count_queued(&service.database).await?);
    service.metrics.stored.set(datasets::bytes(&service.database).await?);
    Ok(())
}
