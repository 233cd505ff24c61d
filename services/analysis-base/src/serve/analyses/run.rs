//! From an analysis in the queue to its end.
//!
//! ```text
//!   job ─▶ started ─▶ process ─▶ objects (garbage until …) ─▶ one transaction: ended, job done, objects kept
//! ```
//!
//! Whatever is cut off before the last step is done again by whoever gets the
//! job next; only the holder of the job can do the last step.

use std::sync::Arc;
use std::time::Duration;

use crds::analysis::RunSummary;
use service_kit::problem::chain;
use service_kit::queue::{Handler, Job, JobFailure};
use service_kit::spans::Span;
use service_kit::trace_context::TraceContext;
use tokio::time::Instant;
use uuid::Uuid;

use super::accept::Work;
use super::explain::explained;
use super::model::{AnalysisRecord, Figures, Status, StoredResult};
use super::store::{self, End};
use crate::serve::child::{Ended, Workspace};
use crate::serve::error::{NO_ROOM, ServeError};
use crate::serve::files;
use crate::serve::garbage::Garbage;
use crate::serve::metrics::Running;
use crate::serve::state::{LOOK, Service};

/// Storing a result takes less.
const STORING: Duration = Duration::from_secs(24 * 60 * 60);
/// Why an analysis failed that could not be run.
pub(super) const FAULT: &str = "InternalError";
/// Why an analysis failed whose result found no room.
pub(super) const STORAGE_FULL: &str = "StorageFull";
/// What is said of an analysis that is tried again. Why is nothing that a
/// client could mend, and may name places inside of the cluster; the worker logs it.
const WAITS_AGAIN: &str = "An attempt failed for a reason that may pass. The analysis is tried again.";

/// Runs analyses.
#[derive(Clone, Debug)]
pub struct Runner(pub Arc<Service>);

/// Why a process is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Cancelled,
    Deadline,
}

impl Handler for Runner {
    async fn handle(&self, job: Job) -> Result<(), JobFailure> {
        let Work { analysis, trace } = job.payload()?;
        let asked = trace.as_deref().and_then(TraceContext::parse);
        let mut span = Span::job(self.0.queue.name(), &job, asked.as_ref());
        let attempted = self.attempt(&job, &analysis).await;
        span.attempted(&attempted);
        attempted
    }
}

impl Runner {
    async fn attempt(&self, job: &Job, analysis: &str) -> Result<(), JobFailure> {
        let Err(error) = self.run(job, analysis).await else { return Ok(()) };
        let text = chain(&error);
        if job.attempt >= job.max_attempts {
            tracing::error!(analysis, error = text, "An analysis could not be run.");
            // If this fails as well, the housekeeping ends the analysis.
            let (reason, message) = if error.is_storage_full() {
                (STORAGE_FULL, NO_ROOM)
            } else {
                (FAULT, "The service could not run the analysis. Its log says more.")
            };
            let failed = End::failed(reason, message.to_owned(), None);
            return self.end(job, analysis, &failed).await.map_err(|_| JobFailure::again(text));
        }
        if let Err(error) = store::wait_again(&self.0.database, analysis, WAITS_AGAIN).await {
            tracing::warn!(error = %chain(&error), "It cannot be noted down that an analysis waits again.");
        }
        self.0.changes.tell(analysis);
        Err(JobFailure::again(text))
    }

    async fn run(&self, job: &Job, id: &str) -> Result<(), ServeError> {
        let service = &self.0;
        let record = store::find_even_removed(&service.database, id).await?;
        let Some(record) = record.filter(|record| !record.status.is_ended()) else { return Ok(()) };
        let turn = service.turns.analyses.wait().await;
        if record.is_cancelled || !store::start(&service.database, id).await? {
            return self.end(job, id, &End::cancelled()).await;
        }
        service.changes.tell(id);
        let inputs = store::inputs(&service.database, &record.request).await?;
        if inputs.len() < record.request.datasets().count() {
            let end = End::failed("SourceNotFound", "A data set is not there any more.".to_owned(), None);
            return self.end(job, id, &end).await;
        }
        let specification = record.request.specification(&inputs, &service.place);
        let workspace = service.launcher.workspace()?;
        let begun = Instant::now();
        let running = Running::new(&service.metrics);
        let stop = self.stopped(id, record.deadline);
        let ended = service.launcher.run(&workspace, &specification, &service.shares.analysis, stop).await?;
        drop((turn, running));
        let end = match ended {
            Ended::Stopped(Stop::Cancelled) => End::cancelled(),
            Ended::Stopped(Stop::Deadline) => End::deadline(record.deadline),
            Ended::Failed(reason, summary) => {
                let share = &service.shares.analysis;
                let message = explained(share, &service.place, reason, &summary.message, &inputs);
                if reason.is_retryable() && job.attempt < job.max_attempts {
                    return Err(ServeError::Again(message));
                }
                End::failed(&format!("{reason:?}"), message, Some(&summary))
            }
            Ended::Succeeded(summary) => {
                let result = self.store(&record, &workspace).await?;
                End::succeeded(&summary, result)
            }
        };
        service.metrics.ended(end.outcome(), begun.elapsed());
        let noted = self.end(job, id, &end).await;
        if noted.is_err()
            && let Some(result) = &end.result
        {
            service.garbage.give_up(&result.prefix).await;
        }
        noted
    }

    /// Waits until the process is to be stopped.
    async fn stopped(&self, id: &str, deadline: Duration) -> Stop {
        let until = Instant::now() + deadline;
        let mut listener = self.0.changes.listen();
        loop {
            match store::is_cancelled(&self.0.database, id).await {
                Ok(true) => return Stop::Cancelled,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "Whether to go on cannot be looked up."),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Stop::Deadline;
            }
            listener.changed(id, left.min(LOOK)).await;
        }
    }

    /// Puts the files of the process where others can read them.
    async fn store(
        &self,
        record: &AnalysisRecord,
        workspace: &Workspace,
    ) -> Result<StoredResult, ServeError> {
        let service = &self.0;
        // Another attempt at the same analysis must not write to the same objects.
        let prefix = format!("analyses/{}/{}", record.id, Uuid::now_v7());
        let turn = service.turns.storing.wait().await;
        service.garbage.reserve(&prefix, STORING).await?;
        let mut result = StoredResult { prefix, columns: Vec::new(), bytes: 0 };
        let stored = async {
            let table = workspace.output("result.parquet");
            let columns = files::columns(&table).await?;
            let written = files::store(&service.objects, &result.table(), &table).await?;
            for chart in &record.request.charts {
                for name in [format!("{}.svg", chart.name), format!("{}.vl.json", chart.name)] {
                    files::store(&service.objects, &result.object(&name), &workspace.output(&name)).await?;
                }
            }
            Ok::<_, ServeError>((columns, written.bytes))
        };
        let stored = stored.await;
        drop(turn);
        match stored {
            Ok((columns, bytes)) => {
                result.columns = columns;
                result.bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                Ok(result)
            }
            Err(error) => {
                service.garbage.give_up(&result.prefix).await;
                Err(error)
            }
        }
    }

    async fn end(&self, job: &Job, id: &str, end: &End) -> Result<(), ServeError> {
        let service = &self.0;
        let mut transaction = service.database.begin().await?;
        if !store::end(&mut transaction, id, end, service.retention()).await? {
            // It has ended without this. The objects stay garbage.
            transaction.rollback().await?;
            return Ok(());
        }
        if let Some(result) = &end.result
            && !Garbage::keep(&mut transaction, &result.prefix).await?
        {
            return Err(ServeError::TooLate);
        }
        job.complete(&mut transaction).await?;
        transaction.commit().await?;
        service.changes.tell(id);
        Ok(())
    }
}

impl End {
    fn cancelled() -> Self {
        Self {
            status: Status::Cancelled,
            reason: None,
            message: "The analysis was cancelled.".to_owned(),
            figures: None,
            result: None,
        }
    }

    fn deadline(deadline: Duration) -> Self {
        let message = format!(
            "The analysis did not end within {} seconds and was stopped. Give it a higher `activeDeadlineSeconds`, or \
             less to do.",
            deadline.as_secs()
        );
        Self::failed("DeadlineExceeded", message, None)
    }

    /// Nobody could run it to its end.
    pub(in crate::serve) fn gave_up() -> Self {
        let message = "The service has tried several times to run the analysis, and was stopped each time, perhaps \
                       because of it.";
        Self::failed(FAULT, message.to_owned(), None)
    }

    fn failed(reason: &str, message: String, summary: Option<&RunSummary>) -> Self {
        let figures = summary.map(Figures::from);
        Self { status: Status::Failed, reason: Some(reason.to_owned()), message, figures, result: None }
    }

    fn succeeded(summary: &RunSummary, result: StoredResult) -> Self {
        Self {
            status: Status::Succeeded,
            reason: None,
            message: without_files(&summary.message),
            figures: Some(Figures::from(summary)),
            result: Some(result),
        }
    }

    /// For metrics.
    fn outcome(&self) -> &str {
        match (&self.reason, self.status) {
            (Some(reason), _) => reason,
            (None, Status::Cancelled) => "Cancelled",
            (None, _) => "Succeeded",
        }
    }
}

impl From<&RunSummary> for Figures {
    fn from(summary: &RunSummary) -> Self {
        Self {
            rows_read: summary.rows_read,
            bytes_read: summary.bytes_read,
            rows_written: summary.rows_written,
            peak_memory_bytes: summary.peak_memory_bytes,
            duration_milliseconds: summary.duration_milliseconds,
        }
    }
}

/// The files of a process are nothing that a client knows of.
fn without_files(message: &str) -> String {
    match message.split_once(", in ") {
        Some((rows, rest)) => format!("{rows}.{}", rest.split_once('.').map_or("", |(_, notes)| notes)),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_nothing_of_files() {
        for (message, expected) in [
            ("The result has 1 row, in 1 file.", "The result has 1 row."),
            (
                "The result has 9 rows, in 3 files. The chart `c` shows only the first 5000 rows.",
                "The result has 9 rows. The chart `c` shows only the first 5000 rows.",
            ),
            ("The result has 9 rows.", "The result has 9 rows."),
        ] {
            assert_eq!(without_files(message), expected);
        }
    }
}
