//! What became of an AnalysisJob, told from its children. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::analysis::{FailureReason, OutputStatus, RunSummary, WrittenFile, exit_code};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use super::apply::Applied;
use super::children::{ContainerEnd, JobEnd, JobState, PodState, latest};
use super::dereference::{Observed, ResultFiles};
use super::validate::ValidatedAnalysisJob;
use crate::labels;
use crate::names::ObjectName;
use crate::waiting::is_telling;

/// How long the Job controller may take to make the pod of a Job that it has
/// started: it does both at once, unless the API server refuses the pod.
const POD_LIMIT: Duration = Duration::from_secs(10);

/// What became of an AnalysisJob.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Where it stands.
    pub stage: Stage,
    /// Name of the Job.
    pub job_name: String,
    /// When the Job started.
    pub started_at: Option<Timestamp>,
    /// Since when its pod runs, if it does.
    pub running_since: Option<Timestamp>,
    /// Since when a pod has ended of which the Job does not know yet: it will in
    /// a moment, and then there is something to tell.
    pub settling_since: Option<Timestamp>,
    /// How long its pod may still take to be made, if there is none yet: then
    /// there is something else to tell.
    pub pod_is_due_in: Option<Duration>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many of its pods failed.
    pub failed_attempts: i32,
    /// What the pod left behind.
    pub summary: Option<RunSummary>,
    /// Where the result is.
    pub output: Option<OutputStatus>,
}

impl Outcome {
    /// How long to wait before it is worth telling that the analysis runs: the
    /// most of them end within moments, and then there is better to tell.
    #[must_use]
    pub fn settles_in(&self, now: Timestamp) -> Option<Duration> {
        let since = self.running_since.filter(|_| self.stage == Stage::Running)?;
        // Kubernetes cuts times to whole seconds, so this is one to two.
        let settled = since.checked_add(SignedDuration::from_secs(2)).ok()?;
        Duration::try_from(settled.duration_since(now)).ok().filter(|wait| !wait.is_zero())
    }
}

/// Where an AnalysisJob stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is told not to run, by its specification or by a queueing system.
    Suspended {
        /// Who told it, and what to do.
        message: String,
    },
    /// Its pod does not run yet.
    Pending {
        /// What it waits for.
        message: String,
    },
    /// Its pod runs.
    Running,
    /// It has ended well.
    Succeeded {
        /// What there is to say about it.
        message: String,
    },
    /// It has ended badly.
    Failed {
        /// Why, in one word.
        reason: String,
        /// Why, and what to do.
        message: String,
    },
}

/// Tells what became of an AnalysisJob.
#[must_use]
pub fn outcome(
    validated: &ValidatedAnalysisJob,
    applied: &Applied,
    observed: &Observed,
    now: Timestamp,
) -> Outcome {
    let job = applied.job.as_deref();
    let summary = latest_end(&observed.pods).and_then(|end| read_summary(&end));
    let stage = match job {
        None if validated.job.spec.suspend => suspended(validated),
        None => Stage::Pending { message: "The Job is being made anew".to_owned() },
        Some(job) => match &job.end {
            Some(end) => ended(job, end, &observed.pods, summary.as_ref(), observed.files.as_ref()),
            None => under_way(validated, applied, job, &observed.pods, now),
        },
    };
    let succeeded = matches!(stage, Stage::Succeeded { .. });
    Outcome {
        job_name: validated.name.to_string(),
        started_at: job.and_then(|job| job.started_at),
        running_since: observed.pods.iter().filter_map(|pod| pod.running_since).max(),
        settling_since: job.and_then(|job| settling_since(job, &observed.pods)),
        pod_is_due_in: job
            .and_then(|job| pod_is_due_in(job, &observed.pods, now))
            .filter(|wait| !wait.is_zero()),
        ended_at: job.and_then(|job| job.end.as_ref()).map(|end| end.at),
        failed_attempts: job.map_or(0, |job| job.failed),
        output: if succeeded { output(validated, applied, summary.as_ref()) } else { None },
        summary: if job.is_some_and(|job| job.end.is_some()) { summary } else { None },
        stage,
    }
}

/// The ConfigMap with a result. Text is kept readable, anything else is kept
/// as bytes.
#[must_use]
pub fn config_map(
    validated: &ValidatedAnalysisJob,
    name: &ObjectName,
    files: &BTreeMap<String, Vec<u8>>,
) -> ConfigMap {
    let mut data = BTreeMap::new();
    let mut binary_data = BTreeMap::new();
    for (file, bytes) in files {
        match std::str::from_utf8(bytes) {
            Ok(text) => drop(data.insert(file.clone(), text.to_owned())),
            Err(_) => drop(binary_data.insert(file.clone(), ByteString(bytes.clone()))),
        }
    }
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_string()),
            namespace: Some(validated.namespace.to_string()),
            labels: Some(labels::analysis_job(&validated.name)),
            owner_references: Some(vec![validated.owner_reference.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(data).filter(|data| !data.is_empty()),
        binary_data: Some(binary_data).filter(|data| !data.is_empty()),
        immutable: None,
    }
}

fn suspended(validated: &ValidatedAnalysisJob) -> Stage {
    let message = if validated.job.spec.suspend {
        "Suspended: set spec.suspend to false to run the analysis"
    } else {
        "Waiting in its queue: the Job is suspended, by a queueing system or by hand"
    };
    Stage::Suspended { message: message.to_owned() }
}

fn under_way(
    validated: &ValidatedAnalysisJob,
    applied: &Applied,
    job: &JobState,
    pods: &[Arc<PodState>],
    now: Timestamp,
) -> Stage {
    if job.suspended {
        return suspended(validated);
    }
    if settling_since(job, pods).is_some() {
        let message = "The pod has ended, and the Job does not say so yet. If this lasts, look at the Job controller of the cluster";
        return Stage::Pending { message: message.to_owned() };
    }
    if job.ready > 0 || pods.iter().any(|pod| pod.running_since.is_some()) {
        return Stage::Running;
    }
    let message = match latest(pods).map(AsRef::as_ref) {
        Some(PodState { waiting: Some((reason, message)), .. }) if is_telling(reason) => {
            if message.is_empty() {
                format!("The pod does not run yet: {reason}")
            } else {
                format!("The pod does not run yet: {reason}: {message}")
            }
        }
        _ if job.failed > 0 => "The analysis failed and is tried again".to_owned(),
        _ if pod_is_due_in(job, pods, now).is_some_and(|wait| wait.is_zero()) => format!(
            "The Job cannot make its pod: `kubectl describe job {} --namespace {}` says why (a quota, an unknown ServiceAccount or PriorityClass, a policy)",
            validated.name, validated.namespace
        ),
        _ => "Waiting for the pod to start".to_owned(),
    };
    if applied.is_outdated {
        let advice =
            "the changed spec.workload takes effect after spec.suspend was set to true and back to false";
        return Stage::Pending { message: format!("{message}; {advice}") };
    }
    Stage::Pending { message }
}

/// How long the pod of a Job may still take to be made; `None` if there is one,
/// or none is to be there. A pod of which the watch has not told yet is counted
/// by its Job.
fn pod_is_due_in(job: &JobState, pods: &[Arc<PodState>], now: Timestamp) -> Option<Duration> {
    let is_without =
        pods.is_empty() && job.active == 0 && job.terminating == 0 && job.failed == 0 && !job.suspended;
    let started = job.started_at.filter(|_| is_without && job.end.is_none())?;
    let passed = Duration::try_from(now.duration_since(started)).unwrap_or_default();
    Some(POD_LIMIT.saturating_sub(passed))
}

fn settling_since(job: &JobState, pods: &[Arc<PodState>]) -> Option<Timestamp> {
    if job.end.is_some() || job.suspended {
        return None;
    }
    // The Job ignores pods that were evicted, and makes others.
    let ended: Vec<(i32, Option<Timestamp>)> = pods
        .iter()
        .filter(|pod| !pod.is_disrupted)
        .filter_map(|pod| pod.ended.as_ref().map(|end| (end.exit_code, end.at.or(pod.created_at))))
        .collect();
    let failures = i32::try_from(ended.iter().filter(|(code, _)| *code != 0).count()).unwrap_or(i32::MAX);
    let is_uncounted = ended.iter().any(|(code, _)| *code == 0) || failures > job.failed;
    is_uncounted.then(|| ended.iter().filter_map(|(_, at)| *at).max()).flatten()
}

fn ended(
    job: &JobState,
    end: &JobEnd,
    pods: &[Arc<PodState>],
    summary: Option<&RunSummary>,
    files: Option<&ResultFiles>,
) -> Stage {
    let Some((reason, message)) = &end.failure else {
        if let Some(ResultFiles::Lost(why)) = files {
            return Stage::Failed {
                reason: "ResultLost".to_owned(),
                message: format!(
                    "The analysis succeeded, but its result could not be brought into the ConfigMap: {why}. Create the AnalysisJob again, or choose a claim or s3 as output"
                ),
            };
        }
        let message = summary.map_or_else(
            || "The analysis succeeded. Its pod left no summary".to_owned(),
            |summary| summary.message.clone(),
        );
        return Stage::Succeeded { message };
    };
    failed(job, reason, message, latest_end(pods).as_ref(), summary)
}

fn failed(
    job: &JobState,
    job_reason: &str,
    job_message: &str,
    end: Option<&ContainerEnd>,
    summary: Option<&RunSummary>,
) -> Stage {
    let stage = |reason: &str, message: String| Stage::Failed { reason: reason.to_owned(), message };
    if job_reason == "DeadlineExceeded" {
        let seconds = job.active_deadline_seconds.unwrap_or_default();
        return stage(
            job_reason,
            format!(
                "The analysis did not end within its {seconds} s: create it again with a longer spec.activeDeadlineSeconds, or a smaller analysis"
            ),
        );
    }
    let attempts = if job_reason == "BackoffLimitExceeded" && job.failed > 1 {
        format!(" (failed {} times)", job.failed)
    } else {
        String::new()
    };
    if let Some((failure, summary)) = summary.and_then(|summary| Some((summary.failure?, summary))) {
        return stage(reason_of(failure), format!("{}{attempts}", summary.message));
    }
    match end {
        Some(end) if end.reason.as_deref() == Some("OOMKilled") => stage(
            reason_of(FailureReason::MemoryExhausted),
            "The pod was killed because it used all of its memory: create it again with a higher spec.workload.resources.limits.memory"
                .to_owned(),
        ),
        Some(end) => {
            let said = end.message.as_deref().and_then(last_line).map_or_else(String::new, |line| format!(": {line}"));
            let reason = end.reason.as_deref().unwrap_or("Error");
            let what = match end.exit_code {
                code if code < 0 => format!("The pod failed ({reason}){said}{attempts}"),
                code => format!("The pod ended with exit code {code} ({reason}){said}{attempts}"),
            };
            stage("PodFailed", what)
        }
        None => stage(job_reason, format!("{job_message}{attempts}")),
    }
}

fn reason_of(failure: FailureReason) -> &'static str {
    match failure {
        FailureReason::InvalidSpecification => "InvalidSpecification",
        FailureReason::SourceNotFound => "SourceNotFound",
        FailureReason::AccessDenied => "AccessDenied",
        FailureReason::SourceUnavailable => "SourceUnavailable",
        FailureReason::InvalidData => "InvalidData",
        FailureReason::InvalidQuery => "InvalidQuery",
        FailureReason::QueryFailed => "QueryFailed",
        FailureReason::InvalidChart => "InvalidChart",
        FailureReason::MemoryExhausted => "MemoryExhausted",
        FailureReason::DiskExhausted => "DiskExhausted",
        FailureReason::OutputTooLarge => "OutputTooLarge",
        FailureReason::OutputUnavailable => "OutputUnavailable",
        FailureReason::Interrupted => "Interrupted",
        FailureReason::Aborted => "Aborted",
        FailureReason::InternalError => "InternalError",
    }
}

fn output(
    validated: &ValidatedAnalysisJob,
    applied: &Applied,
    summary: Option<&RunSummary>,
) -> Option<OutputStatus> {
    let output = validated.specification.output.as_ref()?;
    let files: Vec<WrittenFile> = summary.map(|summary| summary.files.clone()).unwrap_or_default();
    if let Some(dataset) = &output.dataset {
        let version = summary.and_then(|summary| summary.dataset_version);
        let version = version.map_or_else(String::new, |version| format!("/{version}"));
        // Its charts are in the ConfigMap.
        let config_map = applied.config_map.clone();
        return Some(OutputStatus {
            location: format!("dataset/{}{version}", dataset.name),
            config_map,
            files,
        });
    }
    if let Some(name) = &applied.config_map {
        return Some(OutputStatus {
            location: format!("configmap/{name}"),
            config_map: Some(name.clone()),
            files,
        });
    }
    if let Some(claim) = &output.persistent_volume_claim {
        let location = format!("pvc/{}/{}", claim.claim_name, claim.path);
        return Some(OutputStatus { location, config_map: None, files });
    }
    let s3 = output.s3.as_ref()?;
    Some(OutputStatus { location: s3.url.clone(), config_map: None, files })
}

/// How the last pod ended; one that ended well counts over all others.
fn latest_end(pods: &[Arc<PodState>]) -> Option<ContainerEnd> {
    let ended = || pods.iter().filter(|pod| pod.ended.is_some());
    let well = ended().find(|pod| pod.ended.as_ref().is_some_and(|end| end.exit_code == 0));
    let last = || latest(ended());
    well.or_else(last).and_then(|pod| pod.ended.clone())
}

fn read_summary(end: &ContainerEnd) -> Option<RunSummary> {
    let summary: RunSummary = serde_json::from_str(end.message.as_deref()?).ok()?;
    // A summary counts only with the exit code that belongs to it: the log's
    // end, read in place of a message, could look like one.
    let fits = match summary.failure {
        None => end.exit_code == 0,
        Some(FailureReason::Aborted) => exit_code::ABORTED.contains(&end.exit_code),
        Some(failure) if failure.is_retryable() => end.exit_code == exit_code::TEMPORARY,
        Some(_) => end.exit_code == exit_code::PERMANENT,
    };
    fits.then_some(summary)
}

fn last_line(text: &str) -> Option<&str> {
    // Left in case that the program ends itself, which it did not.
    if serde_json::from_str::<RunSummary>(text).is_ok() {
        return None;
    }
    text.lines().rev().map(str::trim).find(|line| !line.is_empty())
}
