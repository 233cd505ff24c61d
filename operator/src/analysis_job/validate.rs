//! From an AnalysisJob and what was read to one that can be built without
//! asking again. Pure.

use crds::AnalysisJob;
use crds::analysis::AnalysisSpecification;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::dereference::{Observed, config_map_name};
use super::{Rejection, platforms};
use crate::labels;
use crate::names::{LabelName, NameError, ObjectName};
use crate::rules::Rules;

/// Kubernetes allows 256 KiB for all annotations of an object together; what
/// is left is for those of the user.
const SPECIFICATION_LIMIT_BYTES: usize = 224 * 1024;

/// An AnalysisJob of which everything is known that a Job is made from.
#[derive(Clone, Debug)]
pub struct ValidatedAnalysisJob {
    /// Its name, and that of its Job.
    pub name: LabelName,
    /// Its namespace.
    pub namespace: LabelName,
    /// Its uid.
    pub uid: String,
    /// What makes its children its own.
    pub owner_reference: OwnerReference,
    /// The object as it came.
    pub job: AnalysisJob,
    /// What the pod is to do. Where data sets are is only said while there is
    /// no Job: the Platforms are not looked up afterwards.
    pub specification: AnalysisSpecification,
    /// The same as JSON, as the pod reads it.
    pub specification_json: String,
    /// The ConfigMap for the result, if there is to be one.
    pub result_config_map: Option<ObjectName>,
    /// The labels that a queueing system reads.
    pub queue_labels: Vec<(String, String)>,
}

/// Checks an AnalysisJob.
///
/// # Errors
/// Why it is not accepted.
pub fn validate(
    job: &AnalysisJob,
    observed: &Observed,
    rules: &Rules,
) -> Result<ValidatedAnalysisJob, Rejection> {
    rules.check(job).map_err(Rejection::InvalidSpecification)?;
    let invalid = |error: NameError| Rejection::InvalidSpecification(vec![error.to_string()]);
    let name = LabelName::parse(job.name_any()).map_err(invalid)?;
    let namespace = LabelName::parse(job.namespace().unwrap_or_default()).map_err(invalid)?;
    let result_config_map = job
        .spec
        .output
        .as_ref()
        .and_then(|output| config_map_name(job, output))
        .map(ObjectName::parse)
        .transpose()
        .map_err(invalid)?;

    let (Some(owner_reference), Some(uid)) = (job.controller_owner_ref(&()), job.uid()) else {
        return Err(Rejection::InvalidSpecification(vec!["the object has no uid".to_owned()]));
    };
    check_references(job, observed, result_config_map.as_ref())?;
    let mut specification = AnalysisSpecification::from(&job.spec);
    if let Some(known) = &observed.references.platforms {
        platforms::resolve(&mut specification, &namespace, known)?;
        let writes_dataset = job.spec.output.as_ref().is_some_and(|output| output.dataset.is_some());
        // The uid is that of this AnalysisJob and of no other, whenever it was.
        specification.idempotency_key = writes_dataset.then(|| format!("analysis-job-{uid}"));
    }
    let specification_json = serde_json::to_string(&specification)
        .map_err(|error| Rejection::InvalidSpecification(vec![error.to_string()]))?;
    if specification_json.len() > SPECIFICATION_LIMIT_BYTES {
        return Err(Rejection::SpecificationTooLarge {
            bytes: specification_json.len(),
            limit: SPECIFICATION_LIMIT_BYTES,
        });
    }
    Ok(ValidatedAnalysisJob {
        queue_labels: labels::of_queue(job.labels()).collect(),
        name,
        namespace,
        uid,
        owner_reference,
        job: job.clone(),
        specification,
        specification_json,
        result_config_map,
    })
}

fn check_references(
    job: &AnalysisJob,
    observed: &Observed,
    result_config_map: Option<&ObjectName>,
) -> Result<(), Rejection> {
    let references = &observed.references;
    if let (true, Some(name)) = (references.config_map_name_taken, result_config_map) {
        let is_for_charts = job.spec.output.as_ref().is_some_and(|output| output.dataset.is_some());
        return Err(if is_for_charts {
            Rejection::ChartsNameTaken(name.to_string())
        } else {
            Rejection::ConfigMapNameTaken(name.to_string())
        });
    }
    if let Some(name) = references.missing_secrets.first() {
        return Err(Rejection::SecretNotFound(name.clone()));
    }
    if let Some(name) = references.missing_config_maps.first() {
        return Err(Rejection::ConfigMapNotFound(name.clone()));
    }
    if let Some((name, key)) = references.missing_keys.first() {
        return Err(Rejection::ConfigMapKeyNotFound { name: name.clone(), key: key.clone() });
    }
    if let Some(name) = references.missing_claims.first() {
        return Err(Rejection::PersistentVolumeClaimNotFound(name.clone()));
    }
    Ok(())
}
