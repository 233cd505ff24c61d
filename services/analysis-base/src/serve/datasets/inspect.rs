//! A look at data before they become a version: can they be read, and what are
//! their columns?

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use crds::analysis::{AnalysisSpecification, FailureReason, RunSummary, Source, SourceFormat};
use service_kit::Problem;

use super::model::ReadOptions;
use super::store::{data_object, preview_object};
use crate::failure::Size;
use crate::serve::analyses::parquet_output;
use crate::serve::child::{Ended, Workspace};
use crate::serve::error::ServeError;
use crate::serve::files;
use crate::serve::schema::{self, ColumnDescription};
use crate::serve::shares::Share;
use crate::serve::state::{Patience, Service};

/// The beginning of the data, which is kept as their preview.
pub const PREVIEW_ROWS: u64 = 100;
/// A look takes moments; one that takes longer reads far more than a beginning.
const LIMIT: Duration = Duration::from_secs(60);
/// What the process calls the data.
const NAME: &str = "data";

/// Reads the beginning of the data of a version, and stores it beside them.
/// Gives the columns.
///
/// # Errors
/// 422, with the engine's own words, if the data cannot be read; 503, if a
/// client would wait for long.
pub async fn inspect(
    service: &Service,
    id: &str,
    format: SourceFormat,
    options: &ReadOptions,
    patience: Patience,
) -> Result<Vec<ColumnDescription>, ServeError> {
    let workspace = service.launcher.workspace()?;
    let specification = specification(service, id, format, options);
    match look(service, &workspace, &specification, patience).await? {
        Ended::Succeeded(_) => keep(service, id, &workspace).await,
        Ended::Stopped(()) => {
            Err(unreadable("Their beginning was not read within a minute.", "DeadlineExceeded").into())
        }
        Ended::Failed(reason, summary) => Err(failed(service, id, reason, &summary).into()),
    }
}

/// Lets a process read what was sent: in little memory, which does not wait for
/// the analyses, and if that is not enough, in as much as one of them has.
///
/// # Errors
/// If the process cannot be started; 503, if a client would wait for long.
pub async fn look(
    service: &Service,
    workspace: &Workspace,
    specification: &AnalysisSpecification,
    patience: Patience,
) -> Result<Ended<()>, ServeError> {
    let turn = service.turns.inspections.with(patience).await?;
    let ended = run(service, workspace, specification, &service.shares.inspection).await?;
    drop(turn);
    if !matches!(&ended, Ended::Failed(reason, _) if is_too_small(*reason)) {
        return Ok(ended);
    }
    // Large row groups and values of Parquet need as much as an analysis has.
    let turn = service.turns.analyses.with(patience).await?;
    let ended = run(service, workspace, specification, &service.shares.analysis).await?;
    drop(turn);
    Ok(ended)
}

async fn run(
    service: &Service,
    workspace: &Workspace,
    specification: &AnalysisSpecification,
    share: &Share,
) -> Result<Ended<()>, ServeError> {
    Ok(service.launcher.run(workspace, specification, share, tokio::time::sleep(LIMIT)).await?)
}

/// Whether more memory or room may help.
const fn is_too_small(reason: FailureReason) -> bool {
    use FailureReason::{DiskExhausted, MemoryExhausted, OutputTooLarge};
    matches!(reason, MemoryExhausted | DiskExhausted | OutputTooLarge)
}

async fn keep(
    service: &Service,
    id: &str,
    workspace: &Workspace,
) -> Result<Vec<ColumnDescription>, ServeError> {
    let preview = workspace.output("result.parquet");
    let columns = files::columns(&preview).await?;
    files::store(&service.objects, &preview_object(id), &preview).await?;
    Ok(columns)
}

fn specification(
    service: &Service,
    id: &str,
    format: SourceFormat,
    options: &ReadOptions,
) -> AnalysisSpecification {
    let mut source = options.source(NAME, Some(format));
    service.place.point(&mut source, &data_object(id));
    query(source, format!("SELECT * FROM {NAME} LIMIT {PREVIEW_ROWS}"))
}

/// A query over one source, whose result is a file.
#[must_use]
pub fn query(source: Source, sql: String) -> AnalysisSpecification {
    AnalysisSpecification {
        sources: vec![source],
        sql: Some(sql),
        profile: None,
        charts: Vec::new(),
        output: Some(parquet_output()),
        platforms: BTreeMap::new(),
        idempotency_key: None,
    }
}

/// Checks how data are to be read, before they are there.
///
/// # Errors
/// 422, with all that is wrong.
pub fn check(service: &Service, format: SourceFormat, options: &ReadOptions) -> Result<(), Problem> {
    let specification = specification(service, "unknown", format, options);
    schema::check(&specification).map_err(|problems| {
        // The only source is not something that the client has named.
        let problems: Vec<String> = problems
            .iter()
            .map(|problem| problem.replace("sources[0].", "").replace("sources[0]: ", ""))
            .collect();
        let detail = format!("The options do not fit: {}.", problems.join("; "));
        Problem::unprocessable(detail).with("problems", problems)
    })
}

fn failed(service: &Service, id: &str, reason: FailureReason, summary: &RunSummary) -> Problem {
    match reason {
        FailureReason::InternalError => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            summary.message.clone(),
        ),
        reason if reason.is_retryable() => Problem::unavailable(
            "The data cannot be read back at present. Upload them again.",
            Duration::from_secs(5),
        ),
        FailureReason::AccessDenied => Problem::unavailable(
            "The data cannot be read back: their place refuses access. The administrator has to look at the \
             credentials of analysis-base for it.",
            Duration::from_secs(60),
        ),
        FailureReason::MemoryExhausted
        | FailureReason::DiskExhausted
        | FailureReason::OutputTooLarge
        | FailureReason::Aborted => {
            unreadable(&too_large(reason, &service.shares.analysis), &format!("{reason:?}"))
        }
        reason => {
            let address = service.place.address(&data_object(id));
            let source = format!("Source `{NAME}`, {address}");
            let message = summary.message.replace(&format!("{source}:"), "The data:");
            let message = message.replace(&source, "The data,");
            unreadable(&message.replace(&address, "the data"), &format!("{reason:?}"))
        }
    }
}

/// What to do about data whose beginning asks for more than there is.
fn too_large(reason: FailureReason, share: &Share) -> String {
    let (what, more) = match reason {
        FailureReason::DiskExhausted | FailureReason::OutputTooLarge => {
            let room =
                share.temporary_bytes.map_or_else(|| "room".to_owned(), |bytes| Size(bytes).to_string());
            (format!("the {room} of temporary files"), "ephemeral storage")
        }
        _ => (format!("the {} of memory", Size(share.memory_bytes)), "memory"),
    };
    let cause = if reason == FailureReason::Aborted { "They are damaged, or their" } else { "Their" };
    format!(
        "{cause} first {PREVIEW_ROWS} rows need more than {what} that there are for them. Write fewer columns, \
         smaller values, Parquet in smaller row groups, or give analysis-base more {more}."
    )
}

fn unreadable(message: &str, reason: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable-data", "Data cannot be read", message)
        .with("reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_too_much_is_told_what_helps_here() {
        let share = Share { memory_bytes: 208 << 20, temporary_bytes: Some(64 << 20), cores: 1 };
        let told = |reason| too_large(reason, &share);
        assert_eq!(
            told(FailureReason::MemoryExhausted),
            "Their first 100 rows need more than the 208 MiB of memory that there are for them. Write fewer columns, \
             smaller values, Parquet in smaller row groups, or give analysis-base more memory."
        );
        assert!(told(FailureReason::DiskExhausted).contains("the 64 MiB of temporary files"));
        assert!(told(FailureReason::DiskExhausted).ends_with("more ephemeral storage."));
        assert!(told(FailureReason::Aborted).starts_with("They are damaged, or their first"));
    }
}
