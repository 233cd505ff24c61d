//! A result in a ConfigMap, as a table.
//!
//! Whoever may write to the ConfigMap may have put anything into it, such as a
//! few bytes that say that they are a petabyte. So it is read as an upload is:
//! by a process of its own, which leaves it as this program stores its results.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use crds::analysis::{AnalysisSpecification, FailureReason, OutputFormat, RunSummary, SourceFormat};
use crds::reference::ConfigMapKey;
use service_kit::Problem;

use crate::failure::Size;
use crate::serve::child::{ChildError, Ended, Workspace};
use crate::serve::datasets::{ReadOptions, look, query};
use crate::serve::error::ServeError;
use crate::serve::state::{Patience, Service};
use crate::serve::table::{Table, TableError};

/// What the process calls the result.
const NAME: &str = "result";
/// A ConfigMap has at most 1 MiB. What becomes much larger is not held in memory.
const MOST_BYTES: u64 = 4 << 20;
/// When what may pass may have passed.
const SOON: Duration = Duration::from_secs(5);

/// The result in `file`. CSV and JSON lines say nothing of types: the columns
/// get those that all of their values suggest.
///
/// # Errors
/// 422, if it is not of the format, or becomes too large; 503, if a client would
/// wait for long.
pub(super) async fn table(
    service: &Service,
    file: &str,
    format: OutputFormat,
    bytes: Bytes,
) -> Result<Table, ServeError> {
    if format == OutputFormat::JsonLines && bytes.trim_ascii().is_empty() {
        return Ok(Table::empty());
    }
    let workspace = service.launcher.workspace()?;
    workspace.add_key(NAME, file, &bytes).await?;
    match look(service, &workspace, &specification(file, format), Patience::Client).await? {
        Ended::Succeeded(_) => rewritten(&workspace).await,
        Ended::Stopped(()) => Err(unreadable("this takes longer than a minute").into()),
        Ended::Failed(reason, summary) => Err(failed(service, reason, &summary)),
    }
}

fn specification(file: &str, format: OutputFormat) -> AnalysisSpecification {
    let format = match format {
        OutputFormat::Csv => SourceFormat::Csv,
        OutputFormat::JsonLines => SourceFormat::JsonLines,
        OutputFormat::Parquet => SourceFormat::Parquet,
        OutputFormat::Arrow => SourceFormat::Arrow,
    };
    let mut source = ReadOptions::default().source(NAME, Some(format));
    source.config_map = Some(ConfigMapKey { name: NAME.to_owned(), key: file.to_owned() });
    query(source, format!("SELECT * FROM \"{NAME}\""))
}

async fn rewritten(workspace: &Workspace) -> Result<Table, ServeError> {
    let path = workspace.output(OutputFormat::Parquet.file_name());
    let failed = |source| ChildError::Workspace { folder: path.clone(), source };
    let size = tokio::fs::metadata(&path).await.map_err(failed)?.len();
    if size > MOST_BYTES {
        let problem = format!("it becomes larger than {}", Size(MOST_BYTES));
        return Err(unreadable(&problem).into());
    }
    let bytes = tokio::fs::read(&path).await.map_err(failed)?;
    Ok(Table::in_memory(bytes.into()).await?)
}

fn failed(service: &Service, reason: FailureReason, summary: &RunSummary) -> ServeError {
    use FailureReason::{Aborted, DiskExhausted, InternalError, MemoryExhausted, OutputTooLarge};
    match reason {
        InternalError => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            summary.message.clone(),
        )
        .into(),
        reason if reason.is_retryable() => {
            Problem::unavailable("The result cannot be read at present. Ask again.", SOON).into()
        }
        Aborted | MemoryExhausted | DiskExhausted | OutputTooLarge => {
            let memory = Size(service.shares.analysis.memory_bytes);
            unreadable(&format!(
                "it is damaged, or needs more than the {memory} of memory that there are for it"
            ))
            .into()
        }
        _ => unreadable(&summary.message).into(),
    }
}

fn unreadable(problem: &str) -> TableError {
    TableError::Format(format!(
        "The result cannot be read: {}. It is given as it is in the format in which it is stored.",
        problem.trim_end_matches('.')
    ))
}
