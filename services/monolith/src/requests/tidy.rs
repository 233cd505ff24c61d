//! Removing what is not needed any more, and ending what nobody can end.

use std::time::Duration;

use service_kit::database::{Database, DatabaseError, now_milliseconds};
use service_kit::trace_context::TraceContext;
use sqlx::Any;
use tokio::time::timeout;

use super::analyses::Analyses;
use super::calls::timed_out;
use super::finish::{break_off, finish};
use super::store::{self, SaveError};
use crate::gateway::Gateway;

const PAUSE: Duration = Duration::from_secs(60);
/// A database that says nothing more amid a transaction is not waited for for ever.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Between two batches, so that requests come in between.
const BREATH: Duration = Duration::from_millis(100);
/// Requests and data sets that are looked at in one go.
const AT_ONCE: usize = 50;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// So long after its deadline nobody works on a request any more.
const OVERDUE: i64 = 5 * MINUTE;

const FIND_OVERDUE: &str = "\
SELECT id FROM requests WHERE ended_at IS NULL AND deadline_at < $1 ORDER BY deadline_at LIMIT $2";
const FIND_OLD: &str = "SELECT id FROM requests WHERE ended_at < $1 ORDER BY ended_at LIMIT $2";
const FORGET: [&str; 3] = [
    "DELETE FROM request_events WHERE request_id = $1",
    "DELETE FROM request_results WHERE request_id = $1",
    "DELETE FROM requests WHERE id = $1",
];
/// Data sets of requests that have gone, or that never came.
const FIND_UPLOADS: &str = "\
SELECT dataset FROM request_uploads
WHERE created_at < $1 AND request_id NOT IN (SELECT id FROM requests) LIMIT $2";
const NOTE_UPLOAD: &str = "INSERT INTO request_uploads (dataset, request_id, created_at) VALUES ($1, $2, $3)";
const FORGET_UPLOAD: &str = "DELETE FROM request_uploads WHERE dataset = $1";

/// Notes that a data set is about to be made for a request.
pub async fn note_upload(database: &Database, dataset: &str, request: &str) -> Result<(), DatabaseError> {
    database.execute(sqlx::query(NOTE_UPLOAD).bind(dataset).bind(request).bind(now_milliseconds())).await?;
    Ok(())
}

/// Tidies up until it is dropped.
pub async fn tidy(gateway: &Gateway) {
    loop {
        tokio::time::sleep(PAUSE).await;
        match timeout(LONGEST, once(gateway)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = service_kit::problem::chain(&error);
                tracing::warn!(%error, "Old requests cannot be removed now; it is tried again.");
            }
            Err(_) => tracing::warn!("To remove old requests takes too long; it is tried again."),
        }
    }
}

async fn once(gateway: &Gateway) -> Result<(), SaveError> {
    let now = now_milliseconds();
    while end_overdue(gateway, now - OVERDUE).await? {
        tokio::time::sleep(BREATH).await;
    }
    let days = i64::from(gateway.live().settings.request_days);
    while forget_old(gateway, now - days * DAY).await? {
        tokio::time::sleep(BREATH).await;
    }
    while remove_uploads(gateway, now - DAY).await? {
        tokio::time::sleep(BREATH).await;
    }
    Ok(())
}

/// Whether there may be more after so many were found and so many of them done.
/// What could not be done would be found again at once: if that is all, it waits.
const fn is_more(found: usize, done: usize) -> bool {
    found == AT_ONCE && done > 0
}

async fn end_overdue(gateway: &Gateway, before: i64) -> Result<bool, SaveError> {
    let found = ids(gateway, FIND_OVERDUE, before).await?;
    let mut done = 0;
    for id in &found {
        match end(gateway, id).await {
            Ok(true) => done += 1,
            Ok(false) => {}
            Err(SaveError::Database(error)) if error.is_retryable() => return Err(error.into()),
            // One that cannot be read is no reason to leave the others.
            Err(error) => {
                let error = service_kit::problem::chain(&error);
                tracing::error!(request = id, error, "A request whose deadline has passed cannot be ended.");
            }
        }
    }
    Ok(is_more(found.len(), done))
}

async fn forget_old(gateway: &Gateway, before: i64) -> Result<bool, SaveError> {
    let found = ids(gateway, FIND_OLD, before).await?;
    for id in &found {
        let mut transaction = gateway.database.begin().await?;
        for statement in FORGET {
            sqlx::query(statement)
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await
                .map_err(DatabaseError::from)?;
        }
        transaction.commit().await?;
    }
    Ok(is_more(found.len(), found.len()))
}

async fn remove_uploads(gateway: &Gateway, before: i64) -> Result<bool, SaveError> {
    let found = ids(gateway, FIND_UPLOADS, before).await?;
    let mut done = 0;
    for dataset in &found {
        let (live, trace) = (gateway.live(), TraceContext::root());
        match Analyses::new(&live, &trace).remove(dataset).await {
            Ok(()) => {
                gateway.database.execute(sqlx::query(FORGET_UPLOAD).bind(dataset.as_str())).await?;
                done += 1;
            }
            Err(trouble) => {
                tracing::warn!(dataset, ?trouble, "A data set of an old request was not removed.");
            }
        }
    }
    Ok(is_more(found.len(), done))
}

async fn ids(gateway: &Gateway, query: &'static str, before: i64) -> Result<Vec<String>, DatabaseError> {
    let most = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let found = sqlx::query_scalar::<Any, String>(query).bind(before).bind(most);
    Ok(found.fetch_all(gateway.database.pool()).await?)
}

/// Ends a request whose deadline has long passed: its turn has not come since,
/// or the work on it has failed again and again, and its job is dead. False if
/// it goes on after all.
async fn end(gateway: &Gateway, id: &str) -> Result<bool, SaveError> {
    let Some(mut request) = store::load(&gateway.database, id).await? else { return Ok(false) };
    let is_cancelled = store::is_cancelled(&gateway.database, id).await?;
    let problem = (!is_cancelled).then(|| timed_out(None));
    let (reached, status) = (request.status, break_off(&mut request.state, problem.as_ref()));
    match finish(gateway, &mut request, status, None).await {
        Ok(()) => {
            tracing::warn!(
                request = id,
                %reached,
                "A request was ended long after its deadline: too many wait, or the work on it has failed \
                 for good, which was logged then."
            );
            Ok(true)
        }
        // Somebody does work on it.
        Err(SaveError::Outdated) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_full_is_followed_by_another_one_if_it_has_led_to_something() {
        assert!(is_more(AT_ONCE, 1));
        assert!(!is_more(AT_ONCE, 0));
        assert!(!is_more(AT_ONCE - 1, AT_ONCE - 1));
    }
}
