//! Reads, and nothing but reads: the children, which are known from watches,
//! and what the specification refers to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crds::AnalysisJob;
use crds::analysis::OutputPart;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::children::{
    CONTROLLER_UID, JobEnd, JobState, PodState, WatchedJob, WatchedPod, latest, with_pods,
};
use super::platforms::{PlatformState, of_namespace};
use super::{Error, output_log};
use crate::children::{Child, Owner};
use crate::context::Context;

/// How long it is waited for what the watch of Platforms tells first. It comes
/// within moments of the operator's start, or never: with CRDs or permissions
/// from before there were Platforms.
const PLATFORMS_LIMIT: Duration = Duration::from_secs(10);

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The Job, if there is one, as it stands with its pods.
    pub job: Option<Arc<JobState>>,
    /// The pods of the Job.
    pub pods: Vec<Arc<PodState>>,
    /// What the specification refers to. Only read while there is no Job:
    /// afterwards the pod itself says what it misses. What concerns the
    /// ConfigMap for the result is read again before that is written.
    pub references: References,
    /// The files of the result, if it is for a ConfigMap and the Job has
    /// succeeded.
    pub files: Option<ResultFiles>,
}

/// What is at the end of the references.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Names of Secrets that do not exist.
    pub missing_secrets: Vec<String>,
    /// Names of claims that do not exist.
    pub missing_claims: Vec<String>,
    /// Names of ConfigMaps that do not exist.
    pub missing_config_maps: Vec<String>,
    /// ConfigMaps, with keys that they do not have.
    pub missing_keys: Vec<(String, String)>,
    /// A ConfigMap of somebody else has the name that ours would get.
    pub config_map_name_taken: bool,
    /// The uid of our ConfigMap, if it has been written before.
    pub config_map_uid: Option<String>,
    /// A child of a deleted AnalysisJob of the same name is still there, and
    /// will be collected in a moment.
    pub predecessor: bool,
    /// The Platforms of the namespace, if a data set is used.
    pub platforms: Option<Vec<Arc<PlatformState>>>,
}

/// Whom a child belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Own,
    Predecessor,
    Stranger,
}

/// Whom the Job belongs to that has the name of ours.
#[derive(Clone, Debug)]
pub enum JobHolder {
    /// This AnalysisJob.
    Own(Owner, Box<JobState>),
    /// A deleted AnalysisJob of the same name.
    Predecessor,
    /// Somebody else.
    Stranger,
}

/// The files of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultFiles {
    /// Their names and contents.
    Read(BTreeMap<String, Vec<u8>>),
    /// They cannot be had any more, for the reason given.
    Lost(String),
}

/// Reads what a reconcile needs.
///
/// # Errors
/// Those of the API server.
pub async fn dereference(job: &AnalysisJob, context: &Context) -> Result<Observed, Error> {
    let namespace = job.namespace().unwrap_or_default();
    let owner = Owner { namespace: namespace.clone(), name: job.name_any() };
    let uid = job.uid();
    let children = context.jobs.of(&owner);
    // An AnalysisJob that was deleted and made again under its name meets the
    // Job of its predecessor until that is collected.
    let own = children.iter().find(|child| child.owner_uid == uid).cloned();
    let Some(child) = own else {
        // What a suspended analysis refers to may come later.
        if job.spec.suspend {
            return Ok(Observed::default());
        }
        let references = read_references(job, &namespace, context).await?;
        return Ok(Observed { references, ..Observed::default() });
    };
    let mut pods = context.pods.of(&owner);
    pods.retain(|pod| pod.job_uid.as_deref() == Some(child.uid.as_str()));
    // The watches of Jobs and of pods are independent: when the end of the Job
    // is known first, its pods are read once.
    if child.end.as_ref().is_some_and(|end| !is_explained(end, &pods)) {
        pods = list_pods(&namespace, &child, context).await?;
    }
    let child = with_pods(child, &pods);
    let mut references = References::default();
    let succeeded = child.end.as_ref().is_some_and(|end| end.failure.is_none());
    let name = job.spec.output.as_ref().filter(|_| succeeded).and_then(|output| config_map_name(job, output));
    let files = match name {
        None => None,
        Some(name) => {
            Reader { context, namespace: &namespace }.result_config_map(job, &name, &mut references).await?;
            let is_free = !references.config_map_name_taken && !references.predecessor;
            if is_free { Some(read_files(&namespace, &pods, context).await?) } else { None }
        }
    };
    Ok(Observed { job: Some(child), pods, references, files })
}

/// Whether the pods that are known tell how the Job ended. Those of earlier
/// attempts do not.
fn is_explained(end: &JobEnd, pods: &[Arc<PodState>]) -> bool {
    let exit_code = |pod: &Arc<PodState>| pod.ended.as_ref().map(|end| end.exit_code);
    if end.failure.is_none() {
        return pods.iter().any(|pod| exit_code(pod) == Some(0));
    }
    latest(pods).is_some_and(|pod| pod.ended.is_some())
}

async fn list_pods(namespace: &str, job: &JobState, context: &Context) -> Result<Vec<Arc<PodState>>, Error> {
    let pods: Api<WatchedPod> = Api::namespaced(context.client.clone(), namespace);
    let selector = format!("{CONTROLLER_UID}={}", job.uid);
    let list = pods.list(&ListParams::default().labels(&selector)).await.map_err(Error::ReadPods)?;
    Ok(list.items.into_iter().filter_map(PodState::observe).map(|(_, pod)| Arc::new(pod)).collect())
}

async fn read_files(
    namespace: &str,
    pods: &[Arc<PodState>],
    context: &Context,
) -> Result<ResultFiles, Error> {
    let Some(pod) = pods.iter().find(|pod| pod.ended.as_ref().is_some_and(|ended| ended.exit_code == 0))
    else {
        return Ok(ResultFiles::Lost("its pod is gone".to_owned()));
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let parts: Vec<OutputPart> = match output_log::read(&pods, &pod.name).await {
        Ok(parts) => parts,
        Err(output_log::Error::Gone(reason)) => return Ok(ResultFiles::Lost(reason)),
        Err(output_log::Error::Kubernetes(source)) => {
            return Err(Error::ReadReference { kind: "log of Pod", name: pod.name.clone(), source });
        }
        Err(output_log::Error::Interrupted(error)) => return Err(Error::ReadOutput(error)),
    };
    Ok(match output_log::assemble(parts) {
        Ok(files) => ResultFiles::Read(files),
        Err(error) => ResultFiles::Lost(error.to_string()),
    })
}

async fn read_references(job: &AnalysisJob, namespace: &str, context: &Context) -> Result<References, Error> {
    let reader = Reader { context, namespace };
    let mut references = References::default();
    for name in secrets(job) {
        if reader.metadata::<Secret>("Secret", name).await?.is_none() {
            references.missing_secrets.push(name.to_owned());
        }
    }
    for name in claims(job) {
        if reader.metadata::<PersistentVolumeClaim>("PersistentVolumeClaim", name).await?.is_none() {
            references.missing_claims.push(name.to_owned());
        }
    }
    for source in job.spec.sources.iter().filter_map(|source| source.config_map.as_ref()) {
        match reader.config_map_keys(&source.name).await? {
            None => references.missing_config_maps.push(source.name.clone()),
            Some(keys) if !keys.contains(&source.key) => {
                references.missing_keys.push((source.name.clone(), source.key.clone()));
            }
            Some(_) => {}
        }
    }
    // A stranger's ConfigMap must not be taken over. Nor may a Job be, but
    // creating it tells.
    if let Some(name) = job.spec.output.as_ref().and_then(|output| config_map_name(job, output)) {
        reader.result_config_map(job, &name, &mut references).await?;
    }
    if job.spec.uses_datasets() {
        references.platforms = Some(platforms(namespace, context).await?);
    }
    Ok(references)
}

async fn platforms(namespace: &str, context: &Context) -> Result<Vec<Arc<PlatformState>>, Error> {
    let known = &context.namespace_platforms;
    tokio::time::timeout(PLATFORMS_LIMIT, known.wait_until_ready())
        .await
        .map_err(|_| Error::ReadPlatforms)?;
    Ok(known.of(&of_namespace(namespace)))
}

/// Name of the ConfigMap that an output goes to, if it goes to one. Beside a
/// data set, the charts do.
#[must_use]
pub fn config_map_name(job: &AnalysisJob, output: &crds::analysis::Output) -> Option<String> {
    if output.dataset.is_some() && !job.spec.charts.is_empty() {
        return Some(format!("{}-charts", job.name_any()));
    }
    let place = output.config_map.as_ref()?;
    Some(place.name.clone().unwrap_or_else(|| format!("{}-result", job.name_any())))
}

fn secrets(job: &AnalysisJob) -> Vec<&str> {
    let sources = job.spec.sources.iter().filter_map(|source| source.uri.as_ref()?.secret.as_ref());
    let output = job.spec.output.iter().filter_map(|output| output.s3.as_ref()).map(|s3| &s3.secret);
    distinct(sources.chain(output).map(|secret| secret.name.as_str()))
}

fn claims(job: &AnalysisJob) -> Vec<&str> {
    let sources = job.spec.sources.iter().filter_map(|source| source.persistent_volume_claim.as_ref());
    let output = job.spec.output.iter().filter_map(|output| output.persistent_volume_claim.as_ref());
    distinct(sources.chain(output).map(|claim| claim.claim_name.as_str()))
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn holder(metadata: &ObjectMeta, job: &AnalysisJob) -> Holder {
    let controller =
        metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    match controller {
        Some(controller) if Some(&controller.uid) == job.metadata.uid.as_ref() => Holder::Own,
        Some(controller) if controller.kind == "AnalysisJob" && controller.name == job.name_any() => {
            Holder::Predecessor
        }
        _ => Holder::Stranger,
    }
}

struct Reader<'a> {
    context: &'a Context,
    namespace: &'a str,
}

impl Reader<'_> {
    async fn metadata<K>(&self, kind: &'static str, name: &str) -> Result<Option<ObjectMeta>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let api: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|source| Error::ReadReference { kind, name: name.to_owned(), source })?;
        Ok(found.map(|object| object.metadata))
    }

    /// Finds out who has the ConfigMap for the result.
    async fn result_config_map(
        &self,
        job: &AnalysisJob,
        name: &str,
        references: &mut References,
    ) -> Result<(), Error> {
        if let Some(metadata) = self.metadata::<ConfigMap>("ConfigMap", name).await? {
            match holder(&metadata, job) {
                Holder::Own => references.config_map_uid = metadata.uid,
                Holder::Predecessor => references.predecessor = true,
                Holder::Stranger => references.config_map_name_taken = true,
            }
        }
        Ok(())
    }

    async fn config_map_keys(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|source| Error::ReadReference {
            kind: "ConfigMap",
            name: name.to_owned(),
            source,
        })?;
        Ok(found.map(|map| {
            let text = map.data.unwrap_or_default().into_keys();
            text.chain(map.binary_data.unwrap_or_default().into_keys()).collect()
        }))
    }
}

/// Who has the name that the Job of an AnalysisJob would get; `None` if nobody
/// has it any more. Asked when creating the Job is answered with "already
/// exists".
///
/// # Errors
/// Those of the API server.
pub async fn read_job_holder(job: &AnalysisJob, context: &Context) -> Result<Option<JobHolder>, kube::Error> {
    let namespace = job.namespace().unwrap_or_default();
    let jobs: Api<WatchedJob> = Api::namespaced(context.client.clone(), &namespace);
    let Some(found) = jobs.get_opt(&job.name_any()).await? else {
        return Ok(None);
    };
    Ok(Some(match holder(found.meta(), job) {
        Holder::Own => JobState::observe(found)
            .map_or(JobHolder::Stranger, |(owner, state)| JobHolder::Own(owner, Box::new(state))),
        Holder::Predecessor => JobHolder::Predecessor,
        Holder::Stranger => JobHolder::Stranger,
    }))
}
