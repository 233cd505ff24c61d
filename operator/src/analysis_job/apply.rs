//! Writes the children. The only writes beside the status.

use std::sync::Arc;

use crds::AnalysisJob;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use super::build::{Prepared, RunControl};
use super::children::{JobState, WatchedJob};
use super::dereference::{JobHolder, Observed, ResultFiles, read_job_holder};
use super::{Error, Rejection, outcome};
use crate::children::{Child, Owner};
use crate::context::Context;
use crate::labels;
use crate::metrics::ApiWrite;

/// The children as they are after the writes.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The Job; `None` while it is made anew.
    pub job: Option<Arc<JobState>>,
    /// Name of the ConfigMap with the result, once it is written.
    pub config_map: Option<String>,
    /// Whether the Job was made from another `workload` than that of now.
    pub is_outdated: bool,
}

/// Whether the children could be brought in line.
#[derive(Clone, Debug)]
pub enum Application {
    /// They are in line.
    Applied(Applied),
    /// The name of the Job is taken.
    NameTaken(Rejection),
    /// The name is held by the Job of a deleted AnalysisJob of the same name,
    /// which will be collected in a moment.
    PredecessorRemains,
}

/// Brings the children in line.
///
/// # Errors
/// Those of the API server.
pub async fn apply(prepared: Prepared, observed: &Observed, context: &Context) -> Result<Application, Error> {
    let is_suspended = prepared.validated.job.spec.suspend;
    match &observed.job {
        None if is_suspended => Ok(Application::Applied(Applied::default())),
        None => create(&prepared, context).await,
        Some(job) if is_suspended && job.end.is_none() && !job.deleting => {
            remove(&prepared, context, Removal::OfAnyThatGoesOn).await.map(Application::Applied)
        }
        Some(job) => update(&prepared, job, observed, context).await.map(Application::Applied),
    }
}

async fn update(
    prepared: &Prepared,
    job: &Arc<JobState>,
    observed: &Observed,
    context: &Context,
) -> Result<Applied, Error> {
    if job.deleting {
        return Ok(Applied::default());
    }
    if job.end.is_some() {
        let config_map = apply_config_map(prepared, observed, context).await?;
        return Ok(Applied { job: Some(Arc::clone(job)), config_map, is_outdated: false });
    }
    let is_outdated = job.template_digest.as_deref() != Some(prepared.template_digest.as_str());
    if is_outdated && stands_still(job) && observed.pods.iter().all(|pod| pod.ended.is_some()) {
        return remove(prepared, context, Removal::OfOneThatStandsStill).await;
    }
    let job = match changes(prepared, job) {
        Some(changes) => patch(prepared, &changes, context).await?,
        None => Arc::clone(job),
    };
    Ok(Applied { job: Some(job), config_map: None, is_outdated })
}

/// A Job that waits in a queue and has no pod.
fn stands_still(job: &JobState) -> bool {
    job.suspended && job.active == 0 && job.terminating == 0 && job.end.is_none()
}

/// Which Job is to be removed.
#[derive(Clone, Copy, Debug)]
enum Removal {
    /// One that has not ended, since its AnalysisJob is suspended.
    OfAnyThatGoesOn,
    /// One that waits in a queue. It is created again from what the
    /// specification says now, since its template cannot be changed.
    OfOneThatStandsStill,
}

impl Removal {
    fn is_right_for(self, job: &JobState) -> bool {
        match self {
            Self::OfAnyThatGoesOn => job.end.is_none(),
            Self::OfOneThatStandsStill => stands_still(job),
        }
    }
}

/// Deletes the Job, and its pod before it: the next one must not write beside
/// it.
///
/// What is known from the watch may be old: the Job may have ended, or have
/// been started, and its work must not be lost. So it is read again, and
/// deleted as it was read or not at all.
async fn remove(prepared: &Prepared, context: &Context, removal: Removal) -> Result<Applied, Error> {
    let namespace = prepared.validated.namespace.as_str();
    let name = prepared.validated.name.as_str();
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let Some(found) = jobs.get_opt(name).await.map_err(Error::DeleteJob)? else {
        return Ok(Applied::default());
    };
    let preconditions = Preconditions {
        uid: found.metadata.uid.clone(),
        resource_version: found.metadata.resource_version.clone(),
    };
    let Some((owner, state)) = observe(found) else {
        return Ok(Applied::default());
    };
    if state.deleting {
        return Ok(Applied::default());
    }
    if !removal.is_right_for(&state) {
        return Ok(Applied { job: Some(remember(context, &owner, state)), ..Applied::default() });
    }
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    context.metrics.wrote(ApiWrite::DeleteJob);
    match jobs.delete(name, &parameters).await {
        Ok(_) => Ok(Applied::default()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Applied::default()),
        // 409, too: it is another Job than was read, and is looked at again.
        Err(error) => Err(Error::DeleteJob(error)),
    }
}

/// Creates the Job. A plain create, not an apply: a Job of that name that is
/// somebody else's, or that ran before, is never taken over. This also finds
/// out whether there is one, at the cost of no further request.
async fn create(prepared: &Prepared, context: &Context) -> Result<Application, Error> {
    let namespace = prepared.validated.namespace.as_str();
    context
        .network_policies
        .ensure(&context.client, namespace, &context.metrics)
        .await
        .map_err(Error::ApplyNetworkPolicy)?;
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    context.metrics.wrote(ApiWrite::CreateJob);
    let known = match jobs.create(&post_parameters(), &prepared.job).await {
        Ok(created) => observe(created),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Ours after all if it was created before the operator was
            // restarted, and the watch has not told of it yet.
            let holder = read_job_holder(&prepared.validated.job, context).await.map_err(Error::CreateJob)?;
            match holder.ok_or(Error::CreateJob(kube::Error::Api(status)))? {
                JobHolder::Own(owner, state) => Some((owner, *state)),
                JobHolder::Predecessor => return Ok(Application::PredecessorRemains),
                JobHolder::Stranger => {
                    let name = prepared.validated.name.to_string();
                    return Ok(Application::NameTaken(Rejection::JobNameTaken(name)));
                }
            }
        }
        Err(error) => return Err(Error::CreateJob(error)),
    };
    let job = known.map(|(owner, state)| remember(context, &owner, state));
    Ok(Application::Applied(Applied { job, ..Applied::default() }))
}

/// What is to be changed of a Job, as a merge patch. Its queue only while it
/// waits there; a queue that was not asked for is the queueing system's choice.
fn changes(prepared: &Prepared, job: &JobState) -> Option<Value> {
    let mut changes = Map::new();
    let RunControl { active_deadline_seconds, backoff_limit } = prepared.run_control;
    if active_deadline_seconds != job.active_deadline_seconds || Some(backoff_limit) != job.backoff_limit {
        let spec = json!({ "activeDeadlineSeconds": active_deadline_seconds, "backoffLimit": backoff_limit });
        changes.insert("spec".to_owned(), spec);
    }
    let queue = prepared.validated.queue_labels.iter().filter(|label| !job.queue_labels.contains(label));
    let queue: Map<String, Value> =
        queue.map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    if job.suspended && !queue.is_empty() {
        changes.insert("metadata".to_owned(), json!({ "labels": queue }));
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// Changes what may be changed of a Job. A merge patch of these fields, since
/// an apply would have to repeat the template, which cannot be changed and
/// may have been made by an earlier version of the operator.
async fn patch(prepared: &Prepared, changes: &Value, context: &Context) -> Result<Arc<JobState>, Error> {
    let jobs: Api<WatchedJob> =
        Api::namespaced(context.client.clone(), prepared.validated.namespace.as_str());
    let parameters =
        PatchParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.wrote(ApiWrite::PatchJob);
    let patched = jobs
        .patch(prepared.validated.name.as_str(), &parameters, &Patch::Merge(changes))
        .await
        .map_err(Error::PatchJob)?;
    let owner = owner(prepared);
    let state = JobState::observe(patched).map(|(_, state)| state);
    state.map(|state| remember(context, &owner, state)).ok_or_else(|| {
        Error::PatchJob(kube::Error::Service("the Job has lost its labels: restore or delete it".into()))
    })
}

async fn apply_config_map(
    prepared: &Prepared,
    observed: &Observed,
    context: &Context,
) -> Result<Option<String>, Error> {
    let (Some(name), Some(ResultFiles::Read(files))) =
        (&prepared.validated.result_config_map, &observed.files)
    else {
        return Ok(None);
    };
    let mut map = outcome::config_map(&prepared.validated, name, files);
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), prepared.validated.namespace.as_str());
    context.metrics.wrote(ApiWrite::ApplyConfigMap);
    // One that is not there is created and one that is ours is applied: whoever
    // comes between is left alone, and the next reconcile tells.
    let written = if let Some(uid) = &observed.references.config_map_uid {
        map.metadata.uid = Some(uid.clone());
        let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
        maps.patch(name.as_str(), &parameters, &Patch::Apply(&map)).await
    } else {
        maps.create(&post_parameters(), &map).await
    };
    written.map_err(Error::ApplyConfigMap)?;
    Ok(Some(name.to_string()))
}

/// Deletes an AnalysisJob that has expired, with all that belongs to it.
///
/// # Errors
/// Those of the API server.
pub async fn delete_expired(job: &AnalysisJob, context: &Context) -> Result<(), Error> {
    let jobs: Api<AnalysisJob> =
        Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    context.metrics.wrote(ApiWrite::DeleteExpired);
    match jobs.delete(&job.name_any(), &parameters).await {
        Ok(_) => Ok(()),
        // 409: another object of the name, that of the precondition is gone.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(Error::DeleteExpired(error)),
    }
}

fn post_parameters() -> PostParams {
    PostParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn observe(job: Job) -> Option<(Owner, JobState)> {
    let value = serde_json::to_value(job).ok()?;
    JobState::observe(serde_json::from_value(value).ok()?)
}

fn remember(context: &Context, owner: &Owner, state: JobState) -> Arc<JobState> {
    context.jobs.insert(owner, state.clone());
    Arc::new(state)
}

fn owner(prepared: &Prepared) -> Owner {
    Owner { namespace: prepared.validated.namespace.to_string(), name: prepared.validated.name.to_string() }
}

#[cfg(test)]
mod tests {
    use crds::workload::ImagePullPolicy;

    use super::*;
    use crate::analysis_job::build::build;
    use crate::analysis_job::validate::validate;
    use crate::pods::ImageDefaults;
    use crate::rules::Rules;

    #[test]
    fn a_job_changes_its_queue_while_it_waits_there() {
        let job: AnalysisJob = serde_json::from_value(json!({
            "apiVersion": "aisaas.dev/v1alpha1",
            "kind": "AnalysisJob",
            "metadata": { "name": "a", "namespace": "demo", "uid": "u", "labels": { labels::QUEUE_NAME: "right" } },
            "spec": {
                "sources": [{ "name": "t", "format": "csv", "inline": "a\n1\n" }],
                "sql": "select 1",
                "backoffLimit": 2,
            },
        }))
        .unwrap();
        let images = ImageDefaults {
            image: "i".to_owned(),
            pull_policy: ImagePullPolicy::IfNotPresent,
            pull_secrets: Vec::new(),
        };
        let prepared = build(&validate(&job, &Observed::default(), &Rules::default()).unwrap(), &images);
        let in_queue = |queue: &str, suspended: bool| JobState {
            suspended,
            backoff_limit: Some(2),
            queue_labels: vec![
                (labels::QUEUE_NAME.to_owned(), queue.to_owned()),
                (labels::QUEUE_PRIORITY.to_owned(), "given by the queue".to_owned()),
            ],
            ..JobState::default()
        };
        let moved = json!({ "metadata": { "labels": { labels::QUEUE_NAME: "right" } } });
        assert_eq!(changes(&prepared, &in_queue("wrong", true)), Some(moved));
        assert_eq!(changes(&prepared, &in_queue("wrong", false)), None);
        assert_eq!(changes(&prepared, &in_queue("right", true)), None);
        let patient = JobState { backoff_limit: Some(6), ..in_queue("right", false) };
        let spec = json!({ "activeDeadlineSeconds": null, "backoffLimit": 2 });
        assert_eq!(changes(&prepared, &patient), Some(json!({ "spec": spec })));
    }
}
