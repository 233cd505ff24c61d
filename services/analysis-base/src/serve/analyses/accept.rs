//! From a request to an analysis that is stored and will be run.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use service_kit::Problem;
use service_kit::database::{Transaction, now_milliseconds};
use service_kit::queue::NewJob;
use service_kit::trace_context::TraceContext;
use uuid::Uuid;

use super::request::AnalysisRequest;
use super::store::{self, NewAnalysis};
use crate::serve::datasets::{Number, store as datasets};
use crate::serve::error::ServeError;
use crate::serve::state::Service;

/// An analysis that failed for a reason that may pass is tried so often in all.
/// With the waits between them that is about two minutes: a store or a database
/// that is started anew is back by then, and who waits for a source that stays
/// away, or for room that does not come, is told so while it is of use.
const MOST_ATTEMPTS: u32 = 8;

/// What a job of the queue carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Id of the analysis.
    pub analysis: String,
    /// The request that it is for, as a `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Stores the analysis, and puts it into the queue: both, or neither, when the
/// transaction is committed. `trace` is the request that it is for. Gives its id.
///
/// # Errors
/// If it reads a data set that is not there, or the queue is full.
pub async fn accept(
    service: &Service,
    transaction: &mut Transaction,
    request: AnalysisRequest,
    is_kept: bool,
    trace: Option<&TraceContext>,
) -> Result<String, ServeError> {
    let mut versions = HashMap::new();
    let mut inputs = Vec::new();
    for (source, dataset) in request.datasets() {
        let number = dataset.version.map_or(Number::Latest, Number::Exactly);
        let Some(found) = datasets::find_in(transaction, &dataset.name, number).await? else {
            return Err(Problem::unprocessable(format!(
                "The source `{source}` cannot be read: there is no data set `{}` with the version {number}.",
                dataset.name
            ))
            .into());
        };
        versions.insert(source.to_owned(), found.version.version);
        inputs.push(found.id);
    }
    let id = Uuid::now_v7().to_string();
    let new = NewAnalysis { id: id.clone(), request: request.pinned(&versions), inputs, is_kept };
    store::insert(transaction, &new, now_milliseconds()).await.map_err(|error| {
        if datasets::is_in_use(&error) {
            Problem::conflict("A data set was deleted just now.").into()
        } else {
            ServeError::from(error)
        }
    })?;
    let work = Work { analysis: id.clone(), trace: trace.map(TraceContext::traceparent) };
    let job = NewJob::new(&work)?.max_attempts(MOST_ATTEMPTS);
    service.queue.enqueue(transaction, &job).await?;
    Ok(id)
}
