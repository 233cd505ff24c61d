//! From a valid AnalysisJob to the objects that it becomes. Pure, and cannot
//! fail: what could go wrong was found before.

use std::collections::{BTreeMap, BTreeSet};

use crds::analysis::{AnalysisSpecification, SPECIFICATION_ANNOTATION, exit_code, paths};
use crds::platform::configuration::audience;
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    KeyToPath, ObjectFieldSelector, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
    ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use super::validate::ValidatedAnalysisJob;
use crate::labels;
use crate::network_policy;
use crate::platform::services::{ANALYSIS_BASE, deployment_name};
use crate::pods::{DefaultResources, ImageDefaults, limit_variable, merged, restricted};

/// Name of the container that analyses.
pub const CONTAINER: &str = "analysis";
/// How often an analysis is tried again when nothing is said.
const DEFAULT_BACKOFF_LIMIT: i32 = 3;
/// The exit code of a process that was ended by SIGKILL: the kernel does so
/// when the memory of the container is used up.
const KILLED: i32 = 137;
/// How long a token is good for. The kubelet replaces it when four fifths of
/// that have passed.
const TOKEN_SECONDS: i64 = 3600;

const RESOURCES: DefaultResources = DefaultResources {
    requests: &[("cpu", "100m"), ("memory", "128Mi"), ("ephemeral-storage", "64Mi")],
    limits: &[("cpu", "2"), ("memory", "1Gi"), ("ephemeral-storage", "8Gi")],
};

/// The objects that an AnalysisJob becomes.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The AnalysisJob that they are made from.
    pub validated: ValidatedAnalysisJob,
    /// The Job.
    pub job: Job,
    /// What may be changed of a Job that exists.
    pub run_control: RunControl,
    /// Digest of what the pod template is made from.
    pub template_digest: String,
    /// The NetworkPolicy of the namespace.
    pub network_policy: NetworkPolicy,
}

/// What may be changed of a Job that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunControl {
    /// Its deadline in seconds.
    pub active_deadline_seconds: Option<i64>,
    /// How often it is tried again.
    pub backoff_limit: i32,
}

/// Builds the objects.
#[must_use]
pub fn build(validated: &ValidatedAnalysisJob, images: &ImageDefaults) -> Prepared {
    let spec = &validated.job.spec;
    let run_control = RunControl {
        active_deadline_seconds: spec.active_deadline_seconds,
        backoff_limit: spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT),
    };
    let template_digest = template_digest(validated);
    let own_labels = labels::analysis_job(&validated.name);
    let mut job_labels = own_labels.clone();
    job_labels.extend(validated.queue_labels.iter().cloned());
    let job = Job {
        metadata: ObjectMeta {
            name: Some(validated.name.to_string()),
            namespace: Some(validated.namespace.to_string()),
            labels: Some(job_labels),
            annotations: Some(BTreeMap::from([(
                labels::TEMPLATE_DIGEST.to_owned(),
                template_digest.clone(),
            )])),
            owner_references: Some(vec![validated.owner_reference.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            parallelism: Some(1),
            completions: Some(1),
            backoff_limit: Some(run_control.backoff_limit),
            active_deadline_seconds: run_control.active_deadline_seconds,
            // A queueing system suspends a Job when it is created, and starts it
            // when its turn has come: the field is its own. An AnalysisJob that
            // is suspended itself has no Job.
            suspend: None,
            // A pod that is still terminating may still be writing: the next
            // one waits until it has ended.
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(pod_failure_policy()),
            template: PodTemplateSpec {
                metadata: Some(pod_metadata(validated, own_labels)),
                spec: Some(pod(validated, images)),
            },
            ..JobSpec::default()
        }),
        status: None,
    };
    Prepared {
        validated: validated.clone(),
        job,
        run_control,
        template_digest,
        network_policy: network_policy::build(validated.namespace.as_str()),
    }
}

/// A digest of what the user can change of the template. The operator's own
/// image is not part of it, so that an upgrade of the operator leaves Jobs
/// alone that exist.
fn template_digest(validated: &ValidatedAnalysisJob) -> String {
    let mut digest = Sha256::new();
    // As the user says it: where the data sets are is not known any more once
    // there is a Job.
    let said = AnalysisSpecification::from(&validated.job.spec);
    digest.update(serde_json::to_vec(&said).unwrap_or_default());
    digest.update(serde_json::to_vec(&validated.job.spec.workload).unwrap_or_default());
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn pod_metadata(validated: &ValidatedAnalysisJob, own_labels: BTreeMap<String, String>) -> ObjectMeta {
    let workload = validated.job.spec.workload.clone().unwrap_or_default();
    let own = BTreeMap::from([(SPECIFICATION_ANNOTATION.to_owned(), validated.specification_json.clone())]);
    ObjectMeta {
        labels: Some(merged(&workload.pod_labels, own_labels)),
        annotations: Some(merged(&workload.pod_annotations, own)),
        ..ObjectMeta::default()
    }
}

/// What is tried again: not what would only fail again, and without counting
/// what was no fault of the analysis (a drained node).
fn pod_failure_policy() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: "True".to_owned(),
                }]),
                on_exit_codes: None,
            },
            PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(CONTAINER.to_owned()),
                    operator: "In".to_owned(),
                    values: permanent_exit_codes(),
                }),
                on_pod_conditions: None,
            },
        ],
    }
}

fn permanent_exit_codes() -> Vec<i32> {
    let mut codes = vec![exit_code::PERMANENT, KILLED];
    codes.extend(exit_code::ABORTED);
    // The API server asks for an order.
    codes.sort_unstable();
    codes
}

fn pod(validated: &ValidatedAnalysisJob, images: &ImageDefaults) -> PodSpec {
    let workload = validated.job.spec.workload.clone().unwrap_or_default();
    let (volumes, mounts) = volumes(validated);
    let container = Container {
        name: CONTAINER.to_owned(),
        args: Some(vec!["run".to_owned()]),
        env: Some(vec![
            limit_variable("MEMORY_LIMIT_BYTES", CONTAINER, "memory", "1"),
            limit_variable("CPU_LIMIT", CONTAINER, "cpu", "1"),
            limit_variable("TEMPORARY_LIMIT_BYTES", CONTAINER, "ephemeral-storage", "1"),
        ]),
        volume_mounts: Some(mounts),
        termination_message_path: Some(paths::TERMINATION_MESSAGE.to_owned()),
        // A process that was killed leaves no message: then the end of its log
        // is the next best.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    };
    PodSpec {
        volumes: Some(volumes),
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(10),
        ..restricted(container, &workload, images, RESOURCES)
    }
}

fn volumes(validated: &ValidatedAnalysisJob) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes = vec![specification_volume(), temporary_volume()];
    let specification_folder = paths::SPECIFICATION.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let mut mounts =
        vec![mount("specification", specification_folder, true), mount("temporary", paths::TEMPORARY, false)];
    let specification = &validated.specification;
    let output = specification.output.as_ref();

    for (index, source) in specification.sources.iter().enumerate() {
        if let Some(key) = &source.config_map {
            let name = format!("source-{index}");
            mounts.push(mount(&name, &format!("{}/{}", paths::SOURCES, source.name), true));
            volumes.push(Volume {
                name,
                config_map: Some(ConfigMapVolumeSource {
                    name: key.name.clone(),
                    items: Some(vec![KeyToPath { key: key.key.clone(), path: key.key.clone(), mode: None }]),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            });
        }
    }

    let read: BTreeSet<&str> = specification
        .sources
        .iter()
        .filter_map(|source| source.persistent_volume_claim.as_ref())
        .map(|claim| claim.claim_name.as_str())
        .collect();
    let written = output
        .and_then(|output| output.persistent_volume_claim.as_ref())
        .map(|claim| claim.claim_name.as_str());
    let claims: BTreeSet<&str> = read.iter().copied().chain(written).collect();
    for (index, claim) in claims.into_iter().enumerate() {
        let name = format!("claim-{index}");
        if read.contains(claim) {
            mounts.push(mount(&name, &format!("{}/{claim}", paths::CLAIMS), true));
        }
        if written == Some(claim) {
            mounts.push(mount(&name, paths::OUTPUT, false));
        }
        volumes.push(Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                read_only: Some(written != Some(claim)),
            }),
            ..Volume::default()
        });
    }

    let secrets: BTreeSet<&str> = specification
        .sources
        .iter()
        .filter_map(|source| source.uri.as_ref()?.secret.as_ref())
        .chain(output.and_then(|output| output.s3.as_ref()).map(|s3| &s3.secret))
        .map(|secret| secret.name.as_str())
        .collect();
    for (index, secret) in secrets.into_iter().enumerate() {
        let name = format!("secret-{index}");
        mounts.push(mount(&name, &format!("{}/{secret}", paths::SECRETS), true));
        volumes.push(Volume {
            name,
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_owned()),
                // Readable by the group that the pod runs under, nobody else.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    if let Some(tokens) = token_volume(validated) {
        mounts.push(mount(&tokens.name, paths::PLATFORM_TOKENS, true));
        volumes.push(tokens);
    }
    (volumes, mounts)
}

/// A token for each Platform whose data sets are used, and good for nothing but
/// those. The pod has no other.
fn token_volume(validated: &ValidatedAnalysisJob) -> Option<Volume> {
    let tokens: Vec<VolumeProjection> = validated
        .specification
        .platforms
        .keys()
        .map(|platform| VolumeProjection {
            service_account_token: Some(ServiceAccountTokenProjection {
                audience: Some(audience(
                    &deployment_name(platform, ANALYSIS_BASE),
                    validated.namespace.as_str(),
                )),
                expiration_seconds: Some(TOKEN_SECONDS),
                path: platform.clone(),
            }),
            ..VolumeProjection::default()
        })
        .collect();
    (!tokens.is_empty()).then(|| Volume {
        name: "platform-tokens".to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(tokens), default_mode: None }),
        ..Volume::default()
    })
}

fn specification_volume() -> Volume {
    let path = paths::SPECIFICATION.rsplit_once('/').map_or(paths::SPECIFICATION, |(_, file)| file);
    Volume {
        name: "specification".to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: path.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{SPECIFICATION_ANNOTATION}']"),
                    api_version: None,
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            default_mode: None,
        }),
        ..Volume::default()
    }
}

fn temporary_volume() -> Volume {
    // Bounded by the container's limit of ephemeral storage, which counts it.
    Volume {
        name: "temporary".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}
