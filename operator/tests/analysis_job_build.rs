//! What an AnalysisJob becomes, seen whole.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use ai_saas_platform_operator::analysis_job::build::{Prepared, build};
use ai_saas_platform_operator::analysis_job::dereference::{Observed, References};
use ai_saas_platform_operator::analysis_job::validate::validate;
use ai_saas_platform_operator::pods::ImageDefaults;
use ai_saas_platform_operator::rbac::rules;
use ai_saas_platform_operator::rules::Rules;
use crds::AnalysisJob;
use crds::workload::ImagePullPolicy;
use k8s_openapi::api::core::v1::PodSpec;

fn job(spec: &str) -> AnalysisJob {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    serde_yaml_ng::from_str(&format!(
        "apiVersion: aisaas.dev/v1alpha1\nkind: AnalysisJob\nmetadata:\n  name: penguins\n  namespace: demo\n  uid: 5f0c8f0e-0000-4000-8000-000000000001\n  generation: 1\nspec:\n{indented}"
    ))
    .unwrap()
}

fn images() -> ImageDefaults {
    ImageDefaults {
        image: "registry.example/analysis-base:1".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: vec!["registry".to_owned()],
    }
}

fn built(job: &AnalysisJob) -> Prepared {
    build(&validate(job, &Observed::default(), &Rules::default()).unwrap(), &images())
}

fn pod(prepared: &Prepared) -> &PodSpec {
    prepared.job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

const SMALLEST: &str =
    "sources: [{name: numbers, format: csv, inline: \"a\\n1\\n\"}]\nsql: select a from numbers";

const LARGEST: &str = r"
sources:
  - {name: penguins, format: csv, csv: {nullValues: [NA]}, configMap: {name: penguins-data, key: penguins.csv}}
  - {name: flights, format: parquet, persistentVolumeClaim: {claimName: flights, path: 2013/}}
  - {name: planes, format: csv, uri: {url: 's3://bucket/planes.csv', endpoint: 'http://store:9000', secret: {name: store}}}
profile: {source: penguins}
charts:
  - {name: sizes, mark: point, sql: select 1 as x, encoding: {xAxis: {field: x}, yAxis: {field: x}}}
output: {format: parquet, persistentVolumeClaim: {claimName: flights, path: results}}
suspend: true
activeDeadlineSeconds: 60
backoffLimit: 1
workload:
  image: own/image:2
  imagePullPolicy: Always
  resources: {limits: {memory: 64Mi}, requests: {cpu: '1'}}
  env: [{name: RUST_LOG, value: debug}, {name: MEMORY_LIMIT_BYTES, value: '1'}]
  nodeSelector: {disk: fast}
  tolerations: [{key: batch, operator: Exists}]
  priorityClassName: low
  serviceAccountName: analyst
  securityContext: {runAsUser: 1000, fsGroup: 2000, supplementalGroups: [3000]}
  podLabels: {team: birds, app.kubernetes.io/name: mine}
  podAnnotations: {note: hello}
";

#[test]
fn the_smallest_analysis_job_becomes_this_job() {
    insta::assert_snapshot!(serde_yaml_ng::to_string(&built(&job(SMALLEST)).job).unwrap());
}

#[test]
fn the_largest_analysis_job_becomes_this_job() {
    insta::assert_snapshot!(serde_yaml_ng::to_string(&built(&job(LARGEST)).job).unwrap());
}

#[test]
fn a_namespace_gets_this_network_policy() {
    insta::assert_snapshot!(serde_yaml_ng::to_string(&built(&job(SMALLEST)).network_policy).unwrap());
}

/// Who lets a child block the deletion of its owner needs a permission for the
/// owner's finalizers, where OwnerReferencesPermissionEnforcement is on. The
/// operator has none.
#[test]
fn a_job_does_not_block_the_deletion_of_its_owner() {
    let prepared = built(&job(SMALLEST));
    let owners = prepared.job.metadata.owner_references.unwrap();
    assert!(!owners.is_empty() && owners.iter().all(|owner| owner.block_owner_deletion.is_none()));
    let mut resources = rules().into_iter().flat_map(|rule| rule.resources.unwrap_or_default());
    assert!(resources.all(|resource| !resource.ends_with("/finalizers")));
}

#[test]
fn the_variables_of_the_operator_cannot_be_replaced() {
    let prepared = built(&job(LARGEST));
    let variables = pod(&prepared).containers[0].env.as_ref().unwrap();
    let limits: Vec<_> = variables.iter().filter(|variable| variable.name == "MEMORY_LIMIT_BYTES").collect();
    assert_eq!(limits.len(), 1);
    assert!(limits[0].value_from.is_some());
    assert!(variables.iter().any(|variable| variable.name == "RUST_LOG"));
}

#[test]
fn defaults_agree_with_what_a_user_gives() {
    let prepared = built(&job(LARGEST));
    let resources = pod(&prepared).containers[0].resources.clone().unwrap();
    let (requests, limits) = (resources.requests.unwrap(), resources.limits.unwrap());
    assert_eq!((requests["memory"].0.as_str(), limits["memory"].0.as_str()), ("64Mi", "64Mi"));
    assert_eq!((requests["cpu"].0.as_str(), limits["cpu"].0.as_str()), ("1", "2"));
    assert_eq!(
        (requests["ephemeral-storage"].0.as_str(), limits["ephemeral-storage"].0.as_str()),
        ("64Mi", "8Gi")
    );
}

#[test]
fn a_queue_decides_when_a_job_starts() {
    let mut queued = job(SMALLEST);
    queued.metadata.labels = Some([("kueue.x-k8s.io/queue-name".to_owned(), "team".to_owned())].into());
    let prepared = built(&queued);
    assert_eq!(prepared.job.spec.as_ref().unwrap().suspend, None);
    assert_eq!(prepared.job.metadata.labels.as_ref().unwrap()["kueue.x-k8s.io/queue-name"], "team");
    queued.spec.suspend = true;
    assert_eq!(built(&queued).job.spec.unwrap().suspend, None);
}

#[test]
fn the_image_of_the_operator_does_not_count_as_a_change_of_the_template() {
    let validated = validate(&job(SMALLEST), &Observed::default(), &Rules::default()).unwrap();
    let upgraded = ImageDefaults { image: "registry.example/analysis-base:2".to_owned(), ..images() };
    assert_eq!(build(&validated, &images()).template_digest, build(&validated, &upgraded).template_digest);
    let larger = job(&format!("{SMALLEST}\nworkload: {{resources: {{limits: {{memory: 2Gi}}}}}}"));
    assert_ne!(built(&larger).template_digest, built(&job(SMALLEST)).template_digest);
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let check = |references: References, expected: &str| {
        let observed = Observed { references, ..Observed::default() };
        let rejection = validate(&job(LARGEST), &observed, &Rules::default()).unwrap_err();
        assert_eq!(rejection.to_string(), expected);
        assert!(rejection.is_missing_reference());
    };
    check(
        References { missing_secrets: vec!["store".to_owned()], ..References::default() },
        "Secret `store` does not exist in this namespace: create it, and the analysis starts by itself",
    );
    check(
        References {
            missing_keys: vec![("penguins-data".to_owned(), "penguins.csv".to_owned())],
            ..References::default()
        },
        "ConfigMap `penguins-data` has no key `penguins.csv`: add it, and the analysis starts by itself",
    );
    check(
        References { missing_claims: vec!["claim".to_owned()], ..References::default() },
        "PersistentVolumeClaim `claim` does not exist in this namespace: create it, and the analysis starts by itself",
    );
}

#[test]
fn rules_of_the_custom_resource_hold_in_reconcile_too() {
    let mut both = job(LARGEST);
    both.spec.sql = Some("select 1".to_owned());
    let rejection = validate(&both, &Observed::default(), &Rules::default()).unwrap_err();
    assert_eq!(rejection.reason(), "InvalidSpecification");
    assert!(rejection.to_string().contains("give exactly one of `sql` and `profile`"), "{rejection}");
}

#[test]
fn inline_data_are_bounded_together() {
    let source =
        |index: usize| format!("  - {{name: s{index}, format: csv, inline: \"{}\"}}\n", "1,".repeat(16_000));
    let sources: String = (0..8).map(source).collect();
    let rejection =
        validate(&job(&format!("sources:\n{sources}sql: select 1")), &Observed::default(), &Rules::default())
            .unwrap_err();
    assert_eq!(rejection.reason(), "SpecificationTooLarge");
}
