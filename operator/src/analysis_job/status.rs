//! From what became of an AnalysisJob to its status, and writing it: only if
//! it differs from the one that is there.

use crds::analysis::AnalysisJobStatus;
use crds::{AnalysisJob, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;

use super::outcome::{Outcome, Stage};
use super::{Error, Rejection, warn};
use crate::conditions::{self, Desired};
use crate::context::Context;
use crate::statuses::{self, Untold};

/// The status as it is, own writes included that the watch has not told of.
#[must_use]
pub fn current(job: &AnalysisJob, context: &Context) -> AnalysisJobStatus {
    context.statuses.newest(
        &job.uid().unwrap_or_default(),
        job.metadata.resource_version.as_deref(),
        job.status.as_ref(),
    )
}

/// Whether nothing more will happen.
#[must_use]
pub fn is_final(status: &AnalysisJobStatus) -> bool {
    status.completion_time.is_some()
}

/// Whether a status is about the specification as it is now.
#[must_use]
pub fn is_about(status: &AnalysisJobStatus, job: &AnalysisJob) -> bool {
    status.observed_generation == job.metadata.generation
}

/// When an AnalysisJob that has ended is to be deleted, if ever.
#[must_use]
pub fn expiry(job: &AnalysisJob, status: &AnalysisJobStatus) -> Option<Timestamp> {
    let ended = status.completion_time.as_ref()?.0;
    let seconds = job.spec.ttl_seconds_after_finished?;
    ended.checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
}

/// Writes what became of an AnalysisJob, and tells of a failure by an event.
///
/// # Errors
/// Those of the API server.
pub async fn report_outcome(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    outcome: &Outcome,
    now: Timestamp,
    context: &Context,
) -> Result<AnalysisJobStatus, Error> {
    let status = from_outcome(job, current, outcome, now);
    write(job, current, &status, context).await?;
    if let Stage::Failed { reason, message } = &outcome.stage
        && !is_final(current)
    {
        warn(job, context, reason, message).await;
    }
    Ok(status)
}

/// The status that says what became of an AnalysisJob.
#[must_use]
pub fn from_outcome(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> AnalysisJobStatus {
    let (ready, complete, reason, message) = match &outcome.stage {
        Stage::Suspended { message } => (false, false, "Suspended", message.as_str()),
        Stage::Pending { message } => (false, false, "Pending", message.as_str()),
        Stage::Running => (true, false, "Running", "The analysis runs"),
        Stage::Succeeded { message } => (true, true, "Succeeded", message.as_str()),
        Stage::Failed { reason, message } => (false, false, reason.as_str(), message.as_str()),
    };
    let desired = vec![
        accepted(),
        Desired::new(condition::READY, ready, reason, message),
        Desired::new(condition::COMPLETE, complete, reason, message),
    ];
    let ended = matches!(outcome.stage, Stage::Succeeded { .. } | Stage::Failed { .. });
    let has_started = ended || outcome.stage == Stage::Running;
    let summary = outcome.summary.as_ref();
    AnalysisJobStatus {
        observed_generation: job.metadata.generation,
        conditions: conditions::merge(&current.conditions, desired, job.metadata.generation, now),
        job_name: Some(outcome.job_name.clone()),
        // Told with the first news that follows: alone it is not worth a write.
        start_time: outcome.started_at.filter(|_| has_started).map(Time),
        completion_time: if ended { Some(Time(outcome.ended_at.unwrap_or(now))) } else { None },
        failed_attempts: Some(outcome.failed_attempts).filter(|count| *count > 0),
        rows_read: summary.map(|summary| summary.rows_read),
        bytes_read: summary.map(|summary| summary.bytes_read),
        rows_written: summary.map(|summary| summary.rows_written),
        duration: summary.map(|summary| in_words(summary.duration_milliseconds)),
        duration_milliseconds: summary.map(|summary| summary.duration_milliseconds),
        peak_memory_bytes: summary.map(|summary| summary.peak_memory_bytes),
        output: outcome.output.clone(),
        preview: summary
            .map(|summary| conditions::cut(summary.preview.clone(), 1024))
            .filter(|preview| !preview.is_empty()),
    }
}

/// Writes to an AnalysisJob that has ended that a later change of its
/// specification was seen. It changes nothing, but who waits for it to be
/// observed must not wait forever.
///
/// # Errors
/// Those of the API server.
pub async fn report_seen(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    context: &Context,
) -> Result<(), Error> {
    let generation = job.metadata.generation;
    let mut status = AnalysisJobStatus { observed_generation: generation, ..current.clone() };
    status.conditions.retain(|condition| condition.type_ != condition::RECONCILING);
    for condition in &mut status.conditions {
        condition.observed_generation = generation;
    }
    write(job, current, &status, context).await.map(drop)
}

/// Writes that an AnalysisJob is left alone. All else that its status says is
/// kept.
///
/// # Errors
/// Those of the API server.
pub async fn report_paused(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let paused = vec![Desired::paused()];
    let status = AnalysisJobStatus {
        conditions: conditions::replaced(&current.conditions, paused, job.metadata.generation, now),
        ..current.clone()
    };
    write(job, current, &status, context).await.map(drop)
}

/// Writes that an AnalysisJob is not accepted, or that it waits for what it
/// refers to, which is there.
///
/// # Errors
/// Those of the API server.
pub async fn report_rejection(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    rejection: &Rejection,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let status = from_rejection(job, current, rejection, now);
    if write(job, current, &status, context).await? && !rejection.is_passing() {
        warn(job, context, rejection.reason(), &rejection.to_string()).await;
    }
    Ok(())
}

/// The status that says why an AnalysisJob does not run.
#[must_use]
pub fn from_rejection(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    rejection: &Rejection,
    now: Timestamp,
) -> AnalysisJobStatus {
    let message = rejection.to_string();
    let mut desired = [condition::ACCEPTED, condition::READY, condition::COMPLETE]
        .map(|condition_type| Desired::new(condition_type, false, rejection.reason(), &message));
    if rejection.is_passing() {
        desired[0] = accepted();
    }
    AnalysisJobStatus {
        observed_generation: job.metadata.generation,
        conditions: conditions::merge(&current.conditions, desired.into(), job.metadata.generation, now),
        ..current.clone()
    }
}

/// Writes what keeps an AnalysisJob from getting on, though it is valid.
///
/// # Errors
/// Those of the API server.
pub async fn report_error(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    error: &Error,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let message = match error.refusal() {
        Some(refusal) => {
            format!("The API server refuses what the analysis needs, which is tried again: {refusal}")
        }
        None => format!("This failed several times and is tried again: {}", error.chain()),
    };
    let desired = vec![
        accepted(),
        Desired::new(condition::READY, false, error.reason(), &message),
        Desired::new(condition::COMPLETE, false, error.reason(), &message),
    ];
    let status = AnalysisJobStatus {
        observed_generation: job.metadata.generation,
        conditions: conditions::merge(&current.conditions, desired, job.metadata.generation, now),
        ..current.clone()
    };
    if write(job, current, &status, context).await? {
        warn(job, context, error.reason(), &message).await;
    }
    Ok(())
}

/// Writes to an AnalysisJob that cannot be read that it cannot: it came in
/// past the checks of its CRD, or from another version of it. What else its
/// status says is kept; of one that has ended, all of it.
///
/// # Errors
/// Those of the API server.
pub async fn report_unreadable(invalid: &InvalidObject, context: &Context) -> Result<(), Error> {
    let types = [condition::ACCEPTED, condition::READY, condition::COMPLETE];
    let told = statuses::report_unreadable::<AnalysisJob>(invalid, &types, context).await;
    told.map_err(|untold| match untold {
        Untold::Read(source) => {
            let name = invalid.metadata.name.clone().unwrap_or_default();
            Error::ReadReference { kind: "AnalysisJob", name, source }
        }
        Untold::Write(source) => Error::ApplyStatus(source),
    })
}

/// Writes a status if it differs. Returns whether it did.
async fn write(
    job: &AnalysisJob,
    current: &AnalysisJobStatus,
    status: &AnalysisJobStatus,
    context: &Context,
) -> Result<bool, Error> {
    if current == status {
        return Ok(false);
    }
    let written = statuses::apply::<AnalysisJob, _>(&job.metadata, status, &context.statuses, context);
    written.await.map_err(Error::ApplyStatus)
}

fn accepted() -> Desired {
    Desired::new(condition::ACCEPTED, true, "Valid", "The specification is valid")
}

/// A length of time as people say it: `85ms`, `1.25s`, `2m05s`, `1h02m`.
fn in_words(milliseconds: i64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        ..1_000 => format!("{milliseconds}ms"),
        1_000..60_000 => format!("{seconds}.{:02}s", milliseconds % 1000 / 10),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_said_in_two_units_at_most() {
        for (milliseconds, words) in
            [(0, "0ms"), (999, "999ms"), (1_250, "1.25s"), (125_000, "2m05s"), (3_720_000, "1h02m")]
        {
            assert_eq!(in_words(milliseconds), words);
        }
    }
}
