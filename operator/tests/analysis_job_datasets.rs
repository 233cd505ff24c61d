//! AnalysisJobs that read and write data sets of a Platform.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use ai_saas_platform_operator::analysis_job::Rejection;
use ai_saas_platform_operator::analysis_job::apply::Applied;
use ai_saas_platform_operator::analysis_job::build::{Prepared, build};
use ai_saas_platform_operator::analysis_job::children::{ContainerEnd, JobEnd, JobState, PodState};
use ai_saas_platform_operator::analysis_job::dereference::{
    Observed, References, ResultFiles, config_map_name,
};
use ai_saas_platform_operator::analysis_job::outcome::outcome;
use ai_saas_platform_operator::analysis_job::platforms::PlatformState;
use ai_saas_platform_operator::analysis_job::status::from_rejection;
use ai_saas_platform_operator::analysis_job::validate::{ValidatedAnalysisJob, validate};
use ai_saas_platform_operator::pods::ImageDefaults;
use ai_saas_platform_operator::rules::Rules;
use crds::analysis::{AnalysisJobStatus, RunSummary, paths};
use crds::workload::ImagePullPolicy;
use crds::{AnalysisJob, condition};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

const READS: &str = "
sources: [{name: f, dataset: {name: flights}}]
sql: select 1
";
const READS_AND_WRITES: &str = "
sources:
  - {name: f, dataset: {name: flights, platform: other}}
  - {name: p, dataset: {name: planes, version: 3, platform: platform}}
sql: select 1 as x
charts: [{name: c, mark: point, encoding: {xAxis: {field: x}, yAxis: {field: x}}}]
output: {format: parquet, dataset: {name: delays, platform: platform}}
";

fn job(spec: &str) -> AnalysisJob {
    let spec: Value = serde_yaml_ng::from_str(spec).unwrap();
    serde_json::from_value(json!({
        "apiVersion": "aisaas.dev/v1alpha1", "kind": "AnalysisJob",
        "metadata": { "name": "a", "namespace": "demo", "uid": "u", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

fn serving(name: &str) -> PlatformState {
    PlatformState { name: name.to_owned(), deleting: false, has_analysis_base: true, obstacle: None }
}

fn with(platforms: Vec<PlatformState>) -> Observed {
    let platforms = Some(platforms.into_iter().map(Arc::new).collect());
    Observed { references: References { platforms, ..References::default() }, ..Observed::default() }
}

fn validated(spec: &str, platforms: Vec<PlatformState>) -> Result<ValidatedAnalysisJob, Rejection> {
    validate(&job(spec), &with(platforms), &Rules::default())
}

fn built(validated: &ValidatedAnalysisJob) -> Prepared {
    let images = ImageDefaults {
        image: "registry.example/analysis-base:1".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: Vec::new(),
    };
    build(validated, &images)
}

fn volumes(prepared: &Prepared) -> Value {
    let pod = prepared.job.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    serde_json::to_value(pod).unwrap()["volumes"].take()
}

#[test]
fn the_only_platform_of_the_namespace_is_meant_if_none_is_named() {
    let validated = validated(READS, vec![serving("platform")]).unwrap();
    let told: Value = serde_json::from_str(&validated.specification_json).unwrap();
    assert_eq!(told["sources"][0]["dataset"], json!({ "name": "flights", "platform": "platform" }));
    assert_eq!(told["platforms"], json!({ "platform": { "url": "http://platform-analysis-base.demo.svc" } }));
    // Nothing is written that could be there already.
    assert!(told.get("idempotencyKey").is_none());
}

#[test]
fn each_platform_gets_a_token_of_its_own() {
    let validated = validated(READS_AND_WRITES, vec![serving("platform"), serving("other")]).unwrap();
    assert_eq!(validated.specification.idempotency_key.as_deref(), Some("analysis-job-u"));
    let prepared = built(&validated);
    let volumes = volumes(&prepared);
    let tokens = volumes.as_array().unwrap().iter().find(|volume| volume["projected"].is_object()).unwrap();
    let audiences: BTreeSet<(&str, &str)> = tokens["projected"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["serviceAccountToken"])
        .map(|token| (token["path"].as_str().unwrap(), token["audience"].as_str().unwrap()))
        .collect();
    let expected = [
        ("other", "other-analysis-base.demo.aisaas.dev"),
        ("platform", "platform-analysis-base.demo.aisaas.dev"),
    ];
    assert_eq!(audiences, BTreeSet::from(expected));
    let pod = prepared.job.spec.unwrap().template.spec.unwrap();
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let mount = mounts.iter().find(|mount| mount.name == tokens["name"].as_str().unwrap()).unwrap();
    assert_eq!((mount.mount_path.as_str(), mount.read_only), (paths::PLATFORM_TOKENS, Some(true)));
    assert_eq!(pod.automount_service_account_token, Some(false), "there is no other token");
}

#[test]
fn without_data_sets_there_is_no_token() {
    let spec = "{sources: [{name: t, format: csv, inline: \"a\\n1\\n\"}], sql: select 1}";
    let validated = validate(&job(spec), &Observed::default(), &Rules::default()).unwrap();
    assert!(!volumes(&built(&validated)).to_string().contains("projected"));
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let check = |spec: &str, platforms: Vec<PlatformState>, reason: &str, parts: &[&str]| {
        let rejection = validated(spec, platforms).unwrap_err();
        assert_eq!(rejection.reason(), reason);
        assert!(rejection.is_missing_reference(), "it is looked at again");
        let message = rejection.to_string();
        for part in parts {
            assert!(message.contains(part), "{message}");
        }
    };
    let example = "examples/platform/platform.yaml";
    check(READS, vec![], "PlatformNotFound", &["none in this namespace", example, "starts by itself"]);
    check(READS_AND_WRITES, vec![serving("platform")], "PlatformNotFound", &["`other`", example]);
    let gone = PlatformState { deleting: true, ..serving("platform") };
    check(READS, vec![gone], "PlatformNotFound", &["none in this namespace"]);
    let several = vec![serving("b"), serving("a")];
    check(READS, several, "PlatformAmbiguous", &["(a, b)", "`platform` of each `dataset`"]);
    let disabled = PlatformState { has_analysis_base: false, ..serving("p") };
    check(READS, vec![disabled], "AnalysisBaseDisabled", &["`p`", "spec.services"]);
    let starting = PlatformState { obstacle: Some("Its pod starts".to_owned()), ..serving("p") };
    check(READS, vec![starting], "PlatformNotReady", &["Platform `p`", "Its pod starts"]);
}

#[test]
fn a_platform_that_starts_is_waited_for_by_an_accepted_analysis() {
    let conditions = |platform: PlatformState| {
        let rejection = validated(READS, vec![platform]).unwrap_err();
        let now = Timestamp::from_second(1_000).unwrap();
        let status = from_rejection(&job(READS), &AnalysisJobStatus::default(), &rejection, now);
        assert!(status.completion_time.is_none());
        let find = |condition_type: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == condition_type);
            found.map(|condition| (condition.status.clone(), condition.reason.clone())).unwrap()
        };
        [condition::ACCEPTED, condition::READY, condition::COMPLETE].map(find)
    };
    let told = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    let waits = told("False", "PlatformNotReady");
    let starting = PlatformState { obstacle: Some("Its pod starts".to_owned()), ..serving("p") };
    assert_eq!(conditions(starting), [told("True", "Valid"), waits.clone(), waits]);
    let refused = told("False", "AnalysisBaseDisabled");
    let disabled = PlatformState { has_analysis_base: false, ..serving("p") };
    assert_eq!(conditions(disabled), [refused.clone(), refused.clone(), refused]);
}

#[test]
fn a_job_that_is_there_is_not_outdated_since_its_platform_is_not_looked_up_any_more() {
    let before = built(&validated(READS_AND_WRITES, vec![serving("platform"), serving("other")]).unwrap());
    let after = validate(&job(READS_AND_WRITES), &Observed::default(), &Rules::default()).unwrap();
    assert_eq!(built(&after).template_digest, before.template_digest);
    let other = READS_AND_WRITES.replace("version: 3", "version: 4");
    let other = validate(&job(&other), &Observed::default(), &Rules::default()).unwrap();
    assert_ne!(built(&other).template_digest, before.template_digest);
}

#[test]
fn the_result_is_a_version_and_its_charts_are_in_a_config_map() {
    let job = job(READS_AND_WRITES);
    assert_eq!(config_map_name(&job, job.spec.output.as_ref().unwrap()).as_deref(), Some("a-charts"));
    let summary = RunSummary { dataset_version: Some(4), ..RunSummary::default() };
    let at = Timestamp::from_second(1_000).unwrap();
    let pod = PodState {
        name: "a-x".to_owned(),
        job_uid: Some("j".to_owned()),
        created_at: Some(at),
        waiting: None,
        running_since: None,
        is_over: true,
        is_disrupted: false,
        ended: Some(ContainerEnd {
            exit_code: 0,
            reason: None,
            message: Some(serde_json::to_string(&summary).unwrap()),
            at: Some(at),
        }),
    };
    let child = Arc::new(JobState {
        name: "a".to_owned(),
        uid: "j".to_owned(),
        owner_uid: Some("u".to_owned()),
        deleting: false,
        template_digest: None,
        suspended: false,
        active_deadline_seconds: None,
        backoff_limit: Some(3),
        queue_labels: Vec::new(),
        active: 0,
        ready: 0,
        terminating: 0,
        failed: 0,
        started_at: Some(at),
        end: Some(JobEnd { at, failure: None }),
    });
    let files = ResultFiles::Read([("c.svg".to_owned(), b"<svg/>".to_vec())].into());
    let observed = Observed {
        job: Some(Arc::clone(&child)),
        pods: vec![Arc::new(pod)],
        files: Some(files),
        ..Observed::default()
    };
    let validated = validate(&job, &observed, &Rules::default()).unwrap();
    let applied = Applied { job: Some(child), config_map: Some("a-charts".to_owned()), ..Applied::default() };
    let output = outcome(&validated, &applied, &observed, at).output.unwrap();
    assert_eq!(output.location, "dataset/delays/4");
    assert_eq!(output.config_map.as_deref(), Some("a-charts"));
}

#[test]
fn a_config_map_of_somebody_else_that_has_the_name_of_the_charts_is_left_alone() {
    let mut observed = with(vec![serving("platform"), serving("other")]);
    observed.references.config_map_name_taken = true;
    let rejection = validate(&job(READS_AND_WRITES), &observed, &Rules::default()).unwrap_err();
    assert_eq!(rejection.reason(), "ConfigMapNameTaken");
    assert!(rejection.to_string().contains("`a-charts`"), "{rejection}");
}
