//! Where the result of an AnalysisJob is, and why it cannot be given.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use service_kit::Problem;

use super::address;
use super::model::JobStatus;
use super::object::{Job, OutputState};
use crate::serve::error::ServeError;
use crate::serve::state::Service;

/// When it may be worth asking again for a job that has not ended.
const SOON: Duration = Duration::from_secs(2);
/// When somebody may have done what a job waits for.
const LATER: Duration = Duration::from_secs(30);

/// Where a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a ConfigMap that belongs to the AnalysisJob.
    ConfigMap(String),
    /// In a version of a data set of this service.
    Dataset {
        /// Name of the data set.
        name: String,
        /// Number of the version.
        version: String,
    },
    /// Where only others have access to.
    Elsewhere(String),
}

/// What an AnalysisJob that has ended well has left, and where.
///
/// # Errors
/// 409, if it has not ended; 422, if it has failed; 404, if it leaves nothing.
pub(super) fn output(job: &Job) -> Result<&OutputState, Problem> {
    let status = job.stands();
    if status != JobStatus::Succeeded {
        return Err(not_ended_well(job, status));
    }
    job.status.as_ref().and_then(|state| state.output.as_ref()).ok_or_else(|| {
        Problem::not_found(
            "The AnalysisJob has no `output`: only the first rows of its result are kept, in its `preview`.",
        )
        .with("analysisJob", address(&job.metadata.name))
    })
}

fn not_ended_well(job: &Job, status: JobStatus) -> Problem {
    let condition = job.status.as_ref().and_then(|state| state.condition(crds::condition::COMPLETE));
    let (reason, message) =
        condition.map_or(("", ""), |found| (found.reason.as_str(), found.message.as_str()));
    let no_result = |kind, title, what: &str, wait| {
        let detail = format!("The AnalysisJob has no result yet: {what}.");
        Problem::new(StatusCode::CONFLICT, kind, title, detail).retry_after(wait)
    };
    let problem = match status {
        JobStatus::Failed => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "analysis-failed", "Analysis failed", message)
        }
        JobStatus::Suspended => {
            no_result("analysis-suspended", "Analysis suspended", "it is suspended", LATER)
        }
        JobStatus::Rejected => no_result(
            "analysis-not-accepted",
            "Analysis not accepted",
            &format!("it is not accepted ({message})"),
            LATER,
        ),
        JobStatus::Pending | JobStatus::Running | JobStatus::Succeeded => {
            no_result("analysis-under-way", "Analysis under way", &format!("it is {}", status.as_str()), SOON)
        }
    };
    problem
        .with("reason", reason)
        .with("analysisJob", address(&job.metadata.name))
        .with("analysisStatus", status.as_str())
}

/// Where the result is.
pub(super) fn of_result(output: &OutputState) -> Place {
    let parts: Vec<&str> = output.location.split('/').collect();
    match (parts.as_slice(), &output.config_map) {
        (["dataset", name, version], _) => {
            Place::Dataset { name: (*name).to_owned(), version: (*version).to_owned() }
        }
        (["configmap", _], Some(name)) => Place::ConfigMap(name.clone()),
        _ => Place::Elsewhere(output.location.clone()),
    }
}

/// Where the charts are: in a ConfigMap as well, if the result is in a data set.
pub(super) fn of_charts(output: &OutputState) -> Place {
    match &output.config_map {
        Some(name) => Place::ConfigMap(name.clone()),
        None => Place::Elsewhere(output.location.clone()),
    }
}

/// What is said of files that are where this service has no access to.
pub(super) fn elsewhere(job: &Job, location: &str) -> Problem {
    let how = match location.strip_prefix("pvc/").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
        Some((claim, path)) => format!(
            "on the PersistentVolumeClaim `{claim}`, in the folder `{path}`, which analysis-base does not mount: \
             read them in a pod that does"
        ),
        None => format!(
            "at `{location}`, for which analysis-base has no credentials: get them there with those of the Secret \
             that the AnalysisJob names"
        ),
    };
    let detail = format!(
        "The files of the AnalysisJob are {how}. A result of an AnalysisJob whose `output` is a `configMap` is given \
         here."
    );
    Problem::new(StatusCode::CONFLICT, "result-elsewhere", "Result is elsewhere", detail)
        .with("location", location)
        .with("analysisJob", address(&job.metadata.name))
}

/// A file in the ConfigMap of an AnalysisJob.
///
/// # Errors
/// 404, if it is not there any more; 409, if the ConfigMap is not that of the AnalysisJob.
pub(super) async fn file(
    service: &Service,
    job: &Job,
    config_map: &str,
    key: &str,
) -> Result<Bytes, ServeError> {
    let gone = |what: String| {
        Problem::not_found(format!(
            "{what} is not there any more. Create the AnalysisJob anew to have it written again."
        ))
    };
    let map = service.kubernetes.config_map(config_map).await?;
    let map = map.ok_or_else(|| gone(format!("ConfigMap `{config_map}`")))?;
    if !is_controlled_by(&map, job) {
        let detail = format!(
            "ConfigMap `{config_map}` does not belong to the AnalysisJob (any more), and is therefore not shown."
        );
        return Err(Problem::conflict(detail).into());
    }
    let found = take(map, key).ok_or_else(|| gone(format!("The key `{key}` of ConfigMap `{config_map}`")))?;
    Ok(found)
}

/// Whether it is the AnalysisJob's, and not just of a name that it says.
fn is_controlled_by(map: &ConfigMap, job: &Job) -> bool {
    let mut owners = map.metadata.owner_references.iter().flatten();
    !job.metadata.uid.is_empty()
        && owners.any(|owner| owner.controller == Some(true) && owner.uid == job.metadata.uid)
}

fn take(map: ConfigMap, key: &str) -> Option<Bytes> {
    let text = map.data.and_then(|mut data| data.remove(key)).map(Bytes::from);
    text.or_else(|| map.binary_data.and_then(|mut data| data.remove(key)).map(|bytes| Bytes::from(bytes.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn output_at(location: &str, config_map: Option<&str>) -> OutputState {
        OutputState {
            location: location.to_owned(),
            config_map: config_map.map(str::to_owned),
            ..OutputState::default()
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is made where it is passed")]
    fn job(status: serde_json::Value) -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "penguins", "uid": "1", "creationTimestamp": "2025-11-24T09:01:00Z"},
            "spec": {}, "status": status,
        }))
        .expect("object")
    }

    #[test]
    fn a_location_says_where_results_and_charts_are() {
        let map = |name: &str| Place::ConfigMap(name.to_owned());
        let dataset = Place::Dataset { name: "birds".to_owned(), version: "3".to_owned() };
        for (output, result, charts) in [
            (output_at("configmap/r", Some("r")), map("r"), map("r")),
            (output_at("dataset/birds/3", Some("p-charts")), dataset.clone(), map("p-charts")),
            (
                output_at("dataset/birds/3", None),
                dataset.clone(),
                Place::Elsewhere("dataset/birds/3".to_owned()),
            ),
            (
                output_at("pvc/data/a/b", None),
                Place::Elsewhere("pvc/data/a/b".to_owned()),
                Place::Elsewhere("pvc/data/a/b".to_owned()),
            ),
        ] {
            assert_eq!((of_result(&output), of_charts(&output)), (result, charts), "{output:?}");
        }
    }

    #[test]
    fn files_that_are_elsewhere_are_told_how_to_get() {
        let job = job(json!({}));
        let problem = elsewhere(&job, "pvc/data/a/b");
        assert!(problem.detail.contains("`data`") && problem.detail.contains("`a/b`"), "{}", problem.detail);
        let problem = elsewhere(&job, "s3://bucket/prefix");
        assert!(problem.detail.contains("`s3://bucket/prefix`"), "{}", problem.detail);
        assert_eq!(problem.extensions["location"], "s3://bucket/prefix");
    }

    #[test]
    fn only_a_config_map_of_the_job_is_read() {
        let map = |owners: serde_json::Value| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {"name": "r", "ownerReferences": owners}}))
                .expect("map")
        };
        let owner = |uid: &str, controller: bool| json!([{"apiVersion": "v", "kind": "AnalysisJob", "name": "penguins", "uid": uid, "controller": controller}]);
        let job = job(json!({}));
        assert!(is_controlled_by(&map(owner("1", true)), &job));
        assert!(!is_controlled_by(&map(owner("1", false)), &job));
        assert!(!is_controlled_by(&map(owner("2", true)), &job));
        assert!(!is_controlled_by(&map(json!([])), &job));
    }

    #[test]
    fn text_and_bytes_are_files() {
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"a": "text"}, "binaryData": {"b": "AP8="}})).expect("map");
        assert_eq!(take(map.clone(), "a").as_deref(), Some(&b"text"[..]));
        assert_eq!(take(map.clone(), "b").as_deref(), Some(&b"\x00\xff"[..]));
        assert_eq!(take(map, "c"), None);
    }
}
