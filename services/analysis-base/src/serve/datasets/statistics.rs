//! The profile of a version: computed once, and kept as long as the version.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use service_kit::extract::{Json, Path};
use service_kit::prefer::Preference;
use service_kit::problem::ProblemBody;
use service_kit::trace_context::TraceContext;
use utoipa::ToSchema;

use super::find_version;
use super::store::{self, VersionRecord};
use crate::serve::analyses::{self, AnalysisRequest, Status, accept, at_most, no_result, outcome};
use crate::serve::error::ServeError;
use crate::serve::rows;
use crate::serve::state::Service;

/// Why a profile fails as long as the data are what they are.
const OF_THE_DATA: [&str; 4] = ["InvalidData", "InvalidQuery", "InvalidSpecification", "QueryFailed"];
/// So long after its end, who waits for a profile is told that it has failed;
/// then another one is tried.
const TELL: Duration = Duration::from_secs(60);

/// The columns of a version in figures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// Name of the data set.
    #[schema(example = "flights")]
    dataset: String,
    /// Number of the version.
    #[schema(example = 3)]
    version: i64,
    /// For each column: `column`, `type`, `count`, `nulls`, `distinct`, whether these are `approximate`, `minimum`,
    /// `maximum`, `mean`, `standard_deviation`, `quantiles`, `histogram`, `top_values` and `correlations`.
    #[schema(value_type = Vec<Object>)]
    columns: Box<RawValue>,
}

/// Describe a version column by column
///
/// The first time this takes a pass over the data; if it does not end in time, the answer says where to look for it.
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions/{version}/statistics",
    operation_id = "getStatistics",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = String, Path, description = "Number of the version, or `latest`", example = json!("latest")),
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS` or `respond-async`, as for an analysis")
    ),
    responses(
        (status = 200, description = "Figures of each column", body = Statistics),
        (status = 202, description = "They are being computed: ask again later", body = analyses::Analysis,
            headers(
                ("Location" = String, description = "Address of the analysis that computes them"),
                ("Retry-After" = u32, description = "When it may be worth asking again, in seconds")
            )),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "They were to be computed, and that was cancelled", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The data cannot be read to their end, or the figures are more than \
            one answer holds: `detail` says more", body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    extensions: Extensions,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, ServeError> {
    let record = find_version(&service, &name, &version).await?;
    let analysis = analysis(&service, &record, extensions.get::<TraceContext>()).await?;
    let wait = at_most(Preference::of(&headers).wait(), &extensions);
    let analysis = analyses::wait(&service, &analysis, wait).await?;
    if !analysis.status.is_ended() {
        return Ok(outcome(&service, analysis).await?);
    }
    let Some(result) = &analysis.result else { return Err(no_result(&analysis).into()) };
    let rows = rows::whole(&service, &result.table()).await.map_err(|error| {
        error.instead(|| {
            format!(
                "The figures of so many columns are more than one answer holds. Get them in parts, or in another \
                 format: `{}/result`.",
                analyses::address(&analysis.id)
            )
        })
    })?;
    let version = record.version;
    let statistics = Statistics { dataset: version.dataset, version: version.version, columns: rows.rows };
    Ok(Json(statistics).into_response())
}

/// Whether a profile that began before, and ended so long ago, is still that of
/// its version.
fn stands(status: Status, reason: Option<&str>, ended: Option<Duration>) -> bool {
    match status {
        Status::Queued | Status::Running | Status::Succeeded => true,
        Status::Cancelled => false,
        // What is not because of the data may be better next time.
        Status::Failed => {
            reason.is_some_and(|reason| OF_THE_DATA.contains(&reason))
                || ended.is_some_and(|ended| ended < TELL)
        }
    }
}

fn since(time: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(time)).unwrap_or_default()
}

/// The analysis with the profile of the version: one that is there, or a new one.
async fn analysis(
    service: &Service,
    record: &VersionRecord,
    trace: Option<&TraceContext>,
) -> Result<String, ServeError> {
    let mut before = record.statistics.clone();
    loop {
        if let Some(id) = &before
            && let Some(found) = analyses::store::find(&service.database, id).await?
            && stands(found.status, found.reason.as_deref(), found.finished_at.map(since))
        {
            return Ok(id.clone());
        }
        let mut transaction = service.database.begin().await?;
        let request = AnalysisRequest::of_profile(&record.version.dataset, record.version.version);
        let id = accept(service, &mut transaction, request, true, trace).await?;
        if store::set_statistics(&mut transaction, &record.id, before.as_deref(), &id).await? {
            transaction.commit().await?;
            return Ok(id);
        }
        // Somebody else was faster.
        transaction.rollback().await?;
        let version = &record.version;
        before = find_version(service, &version.dataset, &version.version.to_string()).await?.statistics;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_tried_again_if_it_may_not_fail_next_time() {
        let (just_now, long_ago) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(3600)));
        assert!(stands(Status::Running, None, None));
        assert!(stands(Status::Succeeded, None, long_ago));
        assert!(!stands(Status::Cancelled, None, just_now));
        assert!(stands(Status::Failed, Some("InvalidData"), long_ago));
        for reason in ["InternalError", "StorageFull", "MemoryExhausted", "DeadlineExceeded"] {
            assert!(stands(Status::Failed, Some(reason), just_now), "{reason}");
            assert!(!stands(Status::Failed, Some(reason), long_ago), "{reason}");
        }
    }

    #[test]
    fn what_ends_after_now_has_just_ended() {
        let later = Timestamp::now() + Duration::from_secs(5);
        assert_eq!(since(later), Duration::ZERO);
    }
}
