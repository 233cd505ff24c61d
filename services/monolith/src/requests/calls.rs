//! What is called for the tasks of a request, again and again where that can help.

use std::time::Duration;

use serde_json::{Value, json};
use service_kit::queue::Backoff;

use super::analyses::{Analyses, Analysis, AnalysisStatus, Trouble};
use super::order::{AnalysisOrder, Data, Order, TaskOrder};
use super::plan::Table;
use super::state::{Task, TaskResult};
use super::store::Stored;

/// How a service that is away is tried again.
const RETRIES: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };

/// The columns of data; `None` if they cannot be known. Why not is told by the
/// profile, which is a task.
pub async fn columns(analyses: Analyses<'_>, id: &str, order: &Order, data: &Data) -> Option<Table> {
    // The name has no quotes in it.
    let sql = format!("SELECT * FROM \"{}\" LIMIT 0", data.name);
    let task = TaskOrder {
        name: format!("columns-{}", data.name),
        analysis: Some(AnalysisOrder { sql, charts: Vec::new(), data: vec![data.name.clone()] }),
        profile: None,
    };
    let (key, body) = (key(id, &task.name), order.analysis(&task));
    let analysis = patiently(analyses, || analyses.create(&key, &body)).await.ok()?;
    let (_, result) = end(analyses, &analysis.id, &[]).await.ok()?;
    Some(Table { name: data.name.clone(), columns: result?.columns })
}

/// Waits for the end of an analysis, and fetches what has come out of it.
pub async fn end(
    analyses: Analyses<'_>,
    id: &str,
    charts: &[String],
) -> Result<(Analysis, Option<TaskResult>), Value> {
    let analysis = loop {
        let analysis = patiently(analyses, || analyses.look(id)).await?;
        if !matches!(analysis.status, AnalysisStatus::Queued | AnalysisStatus::Running) {
            break analysis;
        }
    };
    let result = match analysis.status {
        AnalysisStatus::Succeeded => Some(patiently(analyses, || analyses.result(id, charts)).await?),
        _ => None,
    };
    Ok((analysis, result))
}

/// Stops the analysis of a task, if one was begun.
pub async fn cancel(analyses: Analyses<'_>, request: &Stored, task: &Task) {
    let known = task.analysis_url.as_deref().and_then(|url| url.rsplit('/').next()).map(str::to_owned);
    let id = match known {
        Some(id) => Ok(id),
        // It may have been begun without a word that it was.
        None => {
            let body = request.order.analysis(&task.order());
            analyses.create(&key(&request.id, &task.name), &body).await.map(|analysis| analysis.id)
        }
    };
    let cancelled = match id {
        Ok(id) => analyses.cancel(&id).await,
        Err(trouble) => Err(trouble),
    };
    if let Err(trouble) = cancelled {
        tracing::warn!(
            task = task.name,
            ?trouble,
            "An analysis was not cancelled; it ends by its own deadline."
        );
    }
}

/// Tries again what passes, until it is dropped: a service may be away for as
/// long as the deadline of the request leaves it. What stands in the way
/// meanwhile is noted.
pub async fn patiently<T, F>(analyses: Analyses<'_>, call: impl Fn() -> F) -> Result<T, Value>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Ok(value) => {
                analyses.note(None);
                return Ok(value);
            }
            Err(Trouble::Lasting(problem)) => return Err(problem),
            Err(Trouble::Passing(trouble)) => {
                failures += 1;
                tracing::debug!(trouble, failures, "A call has failed and is tried again.");
                analyses.note(Some(trouble));
                tokio::time::sleep(RETRIES.wait(failures)).await;
            }
        }
    }
}

/// The key under which the analysis of a task is begun.
pub fn key(request: &str, task: &str) -> String {
    format!("{request}-{task}")
}

/// That the deadline has passed before the end of a task, and what stood in its
/// way then.
pub fn timed_out(trouble: Option<String>) -> Value {
    let passed = "The deadline of the request has passed before the task had ended";
    let detail = match trouble {
        Some(trouble) => format!("{passed}. Tried again and again: {trouble}."),
        None => format!("{passed}."),
    };
    problem("timed-out", "Timed out", 504, &detail)
}

/// A problem (RFC 9457) that is kept with a task.
pub fn problem(kind: &str, title: &str, status: u16, detail: &str) -> Value {
    json!({
        "type": format!("https://aisaas.dev/problems/{kind}"),
        "title": title,
        "status": status,
        "detail": detail,
    })
}
