//! What an AnalysisJob's status says, for every way that a run can go.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use std::sync::Arc;
use std::time::Duration;

use ai_saas_platform_operator::analysis_job::apply::Applied;
use ai_saas_platform_operator::analysis_job::children::{
    ContainerEnd, JobEnd, JobState, PodState, with_pods,
};
use ai_saas_platform_operator::analysis_job::dereference::{Observed, ResultFiles};
use ai_saas_platform_operator::analysis_job::outcome::outcome;
use ai_saas_platform_operator::analysis_job::status::from_outcome;
use ai_saas_platform_operator::analysis_job::validate::validate;
use ai_saas_platform_operator::rules::Rules;
use crds::analysis::{AnalysisJobStatus, FailureReason, RunSummary};
use crds::{AnalysisJob, condition};
use k8s_openapi::jiff::Timestamp;

fn job() -> AnalysisJob {
    serde_yaml_ng::from_str(
        "apiVersion: aisaas.dev/v1alpha1
kind: AnalysisJob
metadata: {name: a, namespace: demo, uid: u, generation: 3}
spec:
  sources: [{name: t, format: csv, inline: \"a\\n1\\n\"}]
  sql: select 1
  output: {format: csv, configMap: {}}
",
    )
    .unwrap()
}

fn running() -> JobState {
    JobState {
        name: "a".to_owned(),
        uid: "j".to_owned(),
        owner_uid: Some("u".to_owned()),
        deleting: false,
        template_digest: None,
        suspended: false,
        active_deadline_seconds: Some(60),
        backoff_limit: Some(3),
        queue_labels: Vec::new(),
        active: 1,
        ready: 0,
        terminating: 0,
        failed: 0,
        started_at: Timestamp::from_second(1_000).ok(),
        end: None,
    }
}

fn ended(failure: Option<(&str, &str)>) -> JobState {
    let failure = failure.map(|(reason, message)| (reason.to_owned(), message.to_owned()));
    JobState {
        end: Some(JobEnd { at: Timestamp::from_second(1_010).unwrap(), failure }),
        active: 0,
        ..running()
    }
}

fn pod(ended: Option<ContainerEnd>, waiting: Option<(&str, &str)>) -> PodState {
    PodState {
        name: "a-x".to_owned(),
        job_uid: Some("j".to_owned()),
        created_at: Timestamp::from_second(1_001).ok(),
        waiting: waiting.map(|(reason, message)| (reason.to_owned(), message.to_owned())),
        running_since: None,
        is_over: ended.is_some(),
        is_disrupted: false,
        ended,
    }
}

fn left(exit_code: i32, reason: &str, message: &str) -> Option<ContainerEnd> {
    Some(ContainerEnd {
        exit_code,
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        at: Timestamp::from_second(1_009).ok(),
    })
}

fn summary(failure: Option<FailureReason>, message: &str) -> String {
    let summary = RunSummary {
        failure,
        message: message.to_owned(),
        rows_written: 3,
        duration_milliseconds: 42,
        ..RunSummary::default()
    };
    serde_json::to_string(&summary).unwrap()
}

fn status(child: JobState, pods: Vec<PodState>, files: Option<ResultFiles>) -> AnalysisJobStatus {
    let job = job();
    let child = Arc::new(child);
    let config_map = matches!(files, Some(ResultFiles::Read(_))).then(|| "a-result".to_owned());
    let observed = Observed {
        job: Some(Arc::clone(&child)),
        pods: pods.into_iter().map(Arc::new).collect(),
        files,
        ..Observed::default()
    };
    let validated = validate(&job, &observed, &Rules::default()).unwrap();
    let now = Timestamp::from_second(2_000).unwrap();
    let applied = Applied { job: Some(child), config_map, ..Applied::default() };
    let outcome = outcome(&validated, &applied, &observed, now);
    from_outcome(&job, &AnalysisJobStatus::default(), &outcome, now)
}

fn check(status: &AnalysisJobStatus, complete: (&str, &str, &str), ready: &str) {
    let find = |condition_type: &str| status.conditions.iter().find(|c| c.type_ == condition_type).unwrap();
    let condition = find(condition::COMPLETE);
    assert_eq!((condition.status.as_str(), condition.reason.as_str(), condition.message.as_str()), complete);
    assert_eq!(find(condition::READY).status, ready);
    assert_eq!(find(condition::ACCEPTED).status, "True");
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn a_pod_that_starts_is_pending_without_a_word_about_its_usual_states() {
    for waiting in [None, Some(("ContainerCreating", "")), Some(("PodInitializing", ""))] {
        let status = status(running(), vec![pod(None, waiting)], None);
        check(&status, ("False", "Pending", "Waiting for the pod to start"), "False");
    }
}

#[test]
fn a_pod_that_cannot_start_says_why() {
    let waiting = Some(("Unschedulable", "0/1 nodes are available: 1 Insufficient memory."));
    let status = status(running(), vec![pod(None, waiting)], None);
    let message = "The pod does not run yet: Unschedulable: 0/1 nodes are available: 1 Insufficient memory.";
    check(&status, ("False", "Pending", message), "False");
}

#[test]
fn a_job_that_cannot_make_its_pod_says_where_to_look() {
    let podless = JobState { active: 0, ..running() };
    let message = "The Job cannot make its pod: `kubectl describe job a --namespace demo` says why (a quota, an unknown ServiceAccount or PriorityClass, a policy)";
    check(&status(podless.clone(), vec![], None), ("False", "Pending", message), "False");

    let due = |child: JobState, second: i64| {
        let child = Arc::new(child);
        let observed = Observed { job: Some(Arc::clone(&child)), ..Observed::default() };
        let validated = validate(&job(), &observed, &Rules::default()).unwrap();
        let applied = Applied { job: Some(child), ..Applied::default() };
        outcome(&validated, &applied, &observed, Timestamp::from_second(second).unwrap()).pod_is_due_in
    };
    assert_eq!(due(podless.clone(), 1_004), Some(Duration::from_secs(6)));
    assert_eq!(due(podless.clone(), 1_010), None);
    // The watch of pods is behind; the Job waits before it tries again.
    assert_eq!(due(running(), 1_004), None);
    assert_eq!(due(JobState { failed: 1, ..podless }, 1_004), None);
    check(&status(running(), vec![], None), ("False", "Pending", "Waiting for the pod to start"), "False");
}

#[test]
fn a_running_pod_is_ready() {
    check(
        &status(JobState { ready: 1, ..running() }, vec![], None),
        ("False", "Running", "The analysis runs"),
        "True",
    );
}

#[test]
fn a_pod_that_has_just_started_is_given_a_moment_to_end() {
    let job = job();
    let started = Timestamp::from_second(1_003).unwrap();
    let child = Arc::new(JobState { ready: 1, ..running() });
    let pod = PodState { running_since: Some(started), ..pod(None, None) };
    let observed =
        Observed { job: Some(Arc::clone(&child)), pods: vec![Arc::new(pod)], ..Observed::default() };
    let validated = validate(&job, &observed, &Rules::default()).unwrap();
    let at = |second| Timestamp::from_second(second).unwrap();
    let applied = Applied { job: Some(child), ..Applied::default() };
    let outcome = outcome(&validated, &applied, &observed, at(1_004));
    assert_eq!(outcome.settles_in(at(1_004)), Some(Duration::from_secs(1)));
    assert_eq!(outcome.settles_in(at(1_005)), None);
    assert_eq!(outcome.settles_in(at(1_006)), None);
}

#[test]
fn a_pod_that_ended_is_not_told_before_its_job_knows() {
    let settling = |child: JobState, pods: Vec<PodState>| {
        let child = Arc::new(child);
        let observed = Observed {
            job: Some(Arc::clone(&child)),
            pods: pods.into_iter().map(Arc::new).collect(),
            ..Observed::default()
        };
        let validated = validate(&job(), &observed, &Rules::default()).unwrap();
        let applied = Applied { job: Some(child), ..Applied::default() };
        outcome(&validated, &applied, &observed, Timestamp::from_second(1_010).unwrap()).settling_since
    };
    let at = Timestamp::from_second(1_009).ok();
    assert_eq!(settling(running(), vec![pod(None, None)]), None);
    assert_eq!(settling(running(), vec![pod(left(0, "Completed", ""), None)]), at);
    assert_eq!(settling(running(), vec![pod(left(75, "Error", ""), None)]), at);
    // Counted by the Job, which waits before it tries again.
    assert_eq!(settling(JobState { failed: 1, ..running() }, vec![pod(left(75, "Error", ""), None)]), None);
}

#[test]
fn a_suspended_job_says_who_suspended_it() {
    let suspended = JobState { suspended: true, active: 0, ..running() };
    check(
        &status(suspended, vec![], None),
        ("False", "Suspended", "Waiting in its queue: the Job is suspended, by a queueing system or by hand"),
        "False",
    );
}

#[test]
fn success_tells_the_figures_and_the_place() {
    let files = ResultFiles::Read([("result.csv".to_owned(), b"a\n1\n".to_vec())].into());
    let pods = vec![pod(left(0, "Completed", &summary(None, "3 rows")), None)];
    let status = status(ended(None), pods, Some(files));
    check(&status, ("True", "Succeeded", "3 rows"), "True");
    assert_eq!(status.rows_written, Some(3));
    assert_eq!(status.duration.as_deref(), Some("42ms"));
    assert_eq!(status.output.unwrap().location, "configmap/a-result");
    assert_eq!(status.completion_time.unwrap().0, Timestamp::from_second(1_010).unwrap());
}

#[test]
fn a_pod_that_ended_well_is_the_end_before_the_job_controller_has_counted_it() {
    let pods = vec![pod(left(0, "Completed", &summary(None, "3 rows")), None)];
    let settled = with_pods(Arc::new(running()), &[Arc::new(pods[0].clone())]);
    let files = ResultFiles::Read([("result.csv".to_owned(), b"a\n1\n".to_vec())].into());
    let status = status(JobState::clone(&settled), pods.clone(), Some(files));
    check(&status, ("True", "Succeeded", "3 rows"), "True");
    assert_eq!(status.completion_time.unwrap().0, Timestamp::from_second(1_009).unwrap());

    let beside_a_proxy = PodState { is_over: false, ..pods[0].clone() };
    assert_eq!(with_pods(Arc::new(running()), &[Arc::new(beside_a_proxy)]).end, None);
    let failed = Arc::new(pod(left(75, "Error", ""), None));
    assert_eq!(with_pods(Arc::new(running()), &[failed]).end, None);
    let suspended = JobState { suspended: true, ..running() };
    assert_eq!(with_pods(Arc::new(suspended), &[Arc::new(pods[0].clone())]).end, None);
}

#[test]
fn a_result_that_is_lost_is_a_failure_and_not_a_silent_success() {
    let pods = vec![pod(left(0, "Completed", &summary(None, "3 rows")), None)];
    let status = status(ended(None), pods, Some(ResultFiles::Lost("its pod is gone".to_owned())));
    assert_eq!(status.conditions[2].reason, "ResultLost");
    assert!(status.conditions[2].message.contains("its pod is gone"));
    assert!(status.output.is_none());
}

#[test]
fn a_failure_of_the_analysis_is_told_in_its_own_words() {
    let message = summary(Some(FailureReason::InvalidQuery), "there is no table `x`");
    let pods = vec![pod(left(65, "Error", &message), None)];
    let status = status(ended(Some(("PodFailurePolicy", "…"))), pods, None);
    check(&status, ("False", "InvalidQuery", "there is no table `x`"), "False");
    assert!(status.completion_time.is_some());
}

#[test]
fn a_failure_that_was_tried_again_says_how_often() {
    let message = summary(Some(FailureReason::SourceUnavailable), "the server does not answer");
    let pods = vec![pod(left(75, "Error", &message), None)];
    let failed = JobState { failed: 4, ..ended(Some(("BackoffLimitExceeded", "…"))) };
    let status = status(failed, pods, None);
    check(&status, ("False", "SourceUnavailable", "the server does not answer (failed 4 times)"), "False");
    assert_eq!(status.failed_attempts, Some(4));
}

#[test]
fn a_pod_that_the_kernel_killed_says_what_to_raise() {
    let pods = vec![pod(left(137, "OOMKilled", ""), None)];
    let status = status(ended(Some(("PodFailurePolicy", "…"))), pods, None);
    let message = "The pod was killed because it used all of its memory: create it again with a higher spec.workload.resources.limits.memory";
    check(&status, ("False", "MemoryExhausted", message), "False");
}

#[test]
fn a_process_that_left_no_summary_is_quoted_by_its_last_line() {
    let pods = vec![pod(left(2, "Error", "starting\nerror: no such option\n"), None)];
    let status = status(ended(Some(("BackoffLimitExceeded", "…"))), pods, None);
    let message = "The pod ended with exit code 2 (Error): error: no such option";
    check(&status, ("False", "PodFailed", message), "False");
}

#[test]
fn a_process_that_aborted_is_told_by_what_it_was_about_to_do() {
    let message = summary(Some(FailureReason::Aborted), "The program ended while it ran the query");
    let pods = vec![pod(left(134, "Error", &message), None)];
    let told = status(ended(Some(("PodFailurePolicy", "…"))), pods, None);
    check(&told, ("False", "Aborted", "The program ended while it ran the query"), "False");
    // Whoever else ended it, that was not the reason.
    let pods = vec![pod(left(143, "Error", &message), None)];
    let told = status(ended(Some(("BackoffLimitExceeded", "…"))), pods, None);
    check(&told, ("False", "PodFailed", "The pod ended with exit code 143 (Error)"), "False");
}

#[test]
fn a_log_that_looks_like_a_summary_is_not_believed() {
    let pods = vec![pod(left(1, "Error", &summary(None, "all is well")), None)];
    let status = status(ended(Some(("BackoffLimitExceeded", "…"))), pods, None);
    assert_eq!(status.conditions[2].reason, "PodFailed");
}

#[test]
fn a_deadline_names_the_field_to_raise() {
    let status = status(ended(Some(("DeadlineExceeded", "…"))), vec![], None);
    let message = "The analysis did not end within its 60 s: create it again with a longer spec.activeDeadlineSeconds, or a smaller analysis";
    check(&status, ("False", "DeadlineExceeded", message), "False");
}

#[test]
fn an_evicted_pod_says_so() {
    let end = ContainerEnd {
        exit_code: -1,
        reason: Some("Evicted".to_owned()),
        message: Some("The node was low on resource: memory.".to_owned()),
        at: None,
    };
    let status = status(ended(Some(("BackoffLimitExceeded", "…"))), vec![pod(Some(end), None)], None);
    let message = "The pod failed (Evicted): The node was low on resource: memory.";
    check(&status, ("False", "PodFailed", message), "False");
}
