//! What a Platform becomes, seen whole.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ai_saas_platform_operator::platform::build::{Prepared, build};
use ai_saas_platform_operator::platform::children::{
    ChildKind, ChildState, ClaimState, DeploymentState, Known, PodState,
};
use ai_saas_platform_operator::platform::dereference::{AdminKey, Observed, References, SecretState};
use ai_saas_platform_operator::platform::issuer::Issuer;
use ai_saas_platform_operator::platform::services::{SERVICES, ServiceDefinition, ServiceImages};
use ai_saas_platform_operator::platform::validate::validate;
use ai_saas_platform_operator::pods::DefaultResources;
use ai_saas_platform_operator::rules::Rules;
use crds::Platform;
use crds::platform::configuration::ServiceConfiguration;
use crds::workload::ImagePullPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::DeserializeOwned;
use serde_json::json;

const SMALLEST: &str = "{}";
const LARGEST: &str = r"
services:
  - name: monolith
    autoscaling: {minReplicas: 2, maxReplicas: 5, targetCPUUtilizationPercentage: 60}
  - name: analysis-base
    workload:
      replicas: 3
      image: own/image:2
      imagePullPolicy: Always
      resources: {limits: {memory: 4Gi}, requests: {cpu: '1'}}
      env: [{name: LOG, value: debug}, {name: MEMORY_LIMIT_BYTES, value: '1'}]
      nodeSelector: {disk: fast}
      serviceAccountName: analyst
      securityContext: {runAsUser: 1000, fsGroup: 2000}
      podLabels: {team: birds, app.kubernetes.io/name: mine}
      podAnnotations: {note: hello, aisaas.dev/secrets-digest: mine}
exposure:
  serviceType: LoadBalancer
  ingress: {host: ai.example.com, className: nginx, tlsSecretName: certificate, annotations: {a: b}}
  httpRoute: {parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [api.example.com]}
  corsAllowedOrigins: ['https://shop.example.com']
storage: {s3: {url: 's3://bucket/prefix/', endpoint: 'https://store:9000', region: eu-west-1, secret: {name: store}}}
database: {postgresql: {secret: {name: database, key: address}}}
queue: {natsJetStream: {url: 'tls://nats.messaging:4222', secret: {name: nats}, replicas: 3}}
";

fn platform(spec: &str) -> Platform {
    let spec: serde_json::Value = serde_yaml_ng::from_str(spec).unwrap();
    let metadata = json!({
        "name": "platform", "namespace": "demo", "generation": 1,
        "uid": "5f0c8f0e-0000-4000-8000-000000000001",
    });
    serde_json::from_value(json!({
        "apiVersion": "aisaas.dev/v1alpha1", "kind": "Platform", "metadata": metadata, "spec": spec,
    }))
    .unwrap()
}

fn images() -> ServiceImages {
    ServiceImages {
        monolith: "registry.example/monolith:1".to_owned(),
        analysis_base: "registry.example/analysis-base:1".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: vec!["registry".to_owned()],
    }
}

fn observed() -> Observed {
    let read = |digest: &str| Some(SecretState::Read(digest.to_owned()));
    Observed {
        references: References {
            database_secret: read("d"),
            objects_secret: read("o"),
            queue_secret: read("q"),
            issuer: Some(Arc::new(Issuer {
                name: "https://kubernetes.default.svc".to_owned(),
                keys: json!({ "keys": [{ "kty": "RSA", "kid": "1" }] }),
            })),
            ..References::default()
        },
        ..Observed::default()
    }
}

fn with_deployment(state: DeploymentState) -> Observed {
    let child = ChildState { name: "platform".to_owned(), ..ChildState::default() };
    Observed { deployments: vec![Arc::new(DeploymentState { child, ..state })], ..observed() }
}

fn built_from(platform: &Platform, observed: &Observed) -> Prepared {
    build(&validate(platform, observed, &Rules::default(), SERVICES).unwrap(), &images(), true)
}

fn built(spec: &str) -> Prepared {
    built_from(&platform(spec), &observed())
}

fn yaml(prepared: &Prepared) -> String {
    let objects = prepared.objects.iter().map(|object| serde_yaml_ng::to_string(&object.content).unwrap());
    objects.collect::<Vec<_>>().join("---\n")
}

fn names(prepared: &Prepared, kind: ChildKind) -> Vec<&str> {
    let of_kind = prepared.objects.iter().filter(|object| object.kind == kind);
    of_kind.map(|object| object.name.as_str()).collect()
}

fn find<K: DeserializeOwned>(prepared: &Prepared, kind: ChildKind, name: &str) -> K {
    let object = prepared.objects.iter().find(|object| object.kind == kind && object.name == name);
    serde_json::from_value(object.unwrap().content.clone()).unwrap()
}

fn deployment(prepared: &Prepared, name: &str) -> Deployment {
    find(prepared, ChildKind::Deployment, name)
}

fn pod(prepared: &Prepared, name: &str) -> PodSpec {
    deployment(prepared, name).spec.unwrap().template.spec.unwrap()
}

fn annotations(prepared: &Prepared, name: &str) -> BTreeMap<String, String> {
    deployment(prepared, name).spec.unwrap().template.metadata.unwrap().annotations.unwrap()
}

fn replicas(prepared: &Prepared, name: &str) -> Option<i32> {
    deployment(prepared, name).spec.unwrap().replicas
}

fn configuration(prepared: &Prepared, name: &str) -> ServiceConfiguration {
    let map: k8s_openapi::api::core::v1::ConfigMap = find(prepared, ChildKind::ConfigMap, name);
    serde_json::from_str(&map.data.unwrap()["configuration.json"]).unwrap()
}

#[test]
fn the_smallest_platform_becomes_these_objects() {
    insta::assert_snapshot!(yaml(&built(SMALLEST)));
}

#[test]
fn the_largest_platform_becomes_these_objects() {
    insta::assert_snapshot!(yaml(&built(LARGEST)));
}

#[test]
fn every_pod_passes_the_profile_restricted_and_has_bounds() {
    for spec in [SMALLEST, LARGEST] {
        let prepared = built(spec);
        for name in names(&prepared, ChildKind::Deployment) {
            let pod = pod(&prepared, name);
            let container = &pod.containers[0];
            let identity = pod.security_context.as_ref().unwrap();
            assert_eq!(identity.run_as_non_root, Some(true));
            assert_eq!(identity.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.allow_privilege_escalation, Some(false));
            assert_eq!(security.read_only_root_filesystem, Some(true));
            assert_eq!(security.capabilities.as_ref().unwrap().drop.as_ref().unwrap(), &["ALL"]);
            assert_eq!(pod.automount_service_account_token, Some(false));
            assert_eq!(pod.enable_service_links, Some(false));
            assert!(container.startup_probe.is_some() && container.readiness_probe.is_some());
            let resources = container.resources.as_ref().unwrap();
            for bound in ["cpu", "memory", "ephemeral-storage"] {
                assert!(resources.limits.as_ref().unwrap().contains_key(bound), "{name}: {bound}");
            }
        }
    }
}

#[test]
fn a_service_that_is_disabled_has_no_objects() {
    let prepared = built("services: [{name: analysis-base, enabled: false}]");
    assert!(prepared.objects.iter().all(|object| !object.name.contains("analysis-base")));
    assert!(configuration(&prepared, "platform-configuration").services.is_empty());
    assert!(!prepared.removable.contains(&ChildKind::PersistentVolumeClaim), "data are kept");
}

#[test]
fn a_platform_that_is_suspended_keeps_all_but_its_pods() {
    let suspended = platform("suspend: true");
    let missing = References { database_secret: Some(SecretState::Missing), ..References::default() };
    let nothing = Observed { references: missing, ..Observed::default() };
    assert!(built_from(&suspended, &nothing).objects.is_empty(), "nothing is made");
    let present = DeploymentState { replicas: 4, ..DeploymentState::default() };
    let prepared = built_from(&suspended, &with_deployment(present));
    assert_eq!(names(&prepared, ChildKind::Deployment), ["platform"]);
    assert_eq!(replicas(&prepared, "platform"), Some(0));
    assert_eq!((prepared.objects.len(), prepared.removable.as_slice()), (1, &[ChildKind::Deployment][..]));
    assert!(prepared.admin_key.is_none());
}

#[test]
fn what_an_autoscaler_decides_is_not_written() {
    let fixed = platform(&LARGEST.replace(
        "autoscaling: {minReplicas: 2, maxReplicas: 5, targetCPUUtilizationPercentage: 60}",
        "workload: {replicas: 2}",
    ));
    let scaled = platform(LARGEST);
    let state = |replicas: i32, owns_replicas: bool| {
        with_deployment(DeploymentState { replicas, owns_replicas, ..DeploymentState::default() })
    };
    let check = |platform: &Platform, observed: &Observed, expected: Option<i32>| {
        assert_eq!(replicas(&built_from(platform, observed), "platform"), expected);
    };
    check(&scaled, &observed(), None);
    check(&scaled, &state(4, false), None);
    // Left out while it is the operator's own, it would become one.
    check(&scaled, &state(3, true), Some(3));
    check(&scaled, &state(0, true), None);
    check(&fixed, &state(4, false), Some(2));
    assert_eq!(names(&built_from(&fixed, &observed()), ChildKind::HorizontalPodAutoscaler), [""; 0]);
    let resting = Platform { spec: crds::PlatformSpec { suspend: true, ..scaled.spec.clone() }, ..scaled };
    check(&resting, &state(4, false), Some(0));
}

#[test]
fn one_pod_has_no_disruption_budget_and_never_meets_its_successor() {
    let prepared = built(SMALLEST);
    assert!(names(&prepared, ChildKind::PodDisruptionBudget).is_empty());
    let strategy =
        |prepared: &Prepared| deployment(prepared, "platform").spec.unwrap().strategy.unwrap().type_.unwrap();
    assert_eq!(strategy(&prepared), "Recreate");
    let prepared = built(LARGEST);
    assert_eq!(strategy(&prepared), "RollingUpdate");
    assert_eq!(names(&prepared, ChildKind::PodDisruptionBudget), ["platform", "platform-analysis-base"]);
}

#[test]
fn a_secret_that_cannot_be_read_keeps_the_pods_that_there_are() {
    let digest = |prepared: &Prepared| annotations(prepared, "platform")["aisaas.dev/secrets-digest"].clone();
    let carried = DeploymentState { secrets_digest: Some("old".to_owned()), ..DeploymentState::default() };
    let unreadable = |mut observed: Observed| {
        observed.references.database_secret = Some(SecretState::Unreadable("busy".to_owned()));
        observed
    };
    let platform = platform(LARGEST);
    let read = digest(&built_from(&platform, &with_deployment(carried.clone())));
    assert_ne!(read, "old");
    assert_eq!(digest(&built_from(&platform, &unreadable(with_deployment(carried)))), "old");
    let without = digest(&built_from(&platform, &unreadable(observed())));
    assert!(without != "old" && without != read);
    let validated = validate(&platform, &unreadable(observed()), &Rules::default(), SERVICES).unwrap();
    assert_eq!(validated.unreadable_secret, Some(("database".to_owned(), "busy".to_owned())));
}

#[test]
fn pods_are_replaced_when_their_secrets_change_and_no_others() {
    let mut other = observed();
    other.references.objects_secret = Some(SecretState::Read("other".to_owned()));
    let platform = platform(LARGEST);
    let (before, after) = (built_from(&platform, &observed()), built_from(&platform, &other));
    // The gateway keeps no objects.
    assert_eq!(annotations(&before, "platform"), annotations(&after, "platform"));
    let digest = |prepared: &Prepared| {
        annotations(prepared, "platform-analysis-base")["aisaas.dev/secrets-digest"].clone()
    };
    assert_ne!(digest(&before), digest(&after));
}

#[test]
fn a_change_of_the_configuration_replaces_no_pods_but_another_place_of_the_data_does() {
    let digest = |spec: &str| annotations(&built(spec), "platform")["aisaas.dev/storage-digest"].clone();
    assert_eq!(digest(SMALLEST), digest("exposure: {corsAllowedOrigins: ['*']}"));
    assert_ne!(digest(SMALLEST), digest(LARGEST));
}

#[test]
fn nats_hands_out_the_work_of_every_service_that_has_some() {
    let spec = "queue: {natsJetStream: {url: 'nats://nats:4222'}}";
    let validated = validate(&platform(spec), &observed(), &Rules::default(), MORE).unwrap();
    let prepared = build(&validated, &images(), true);
    let told = |name: &str| serde_json::to_value(configuration(&prepared, name).queue).unwrap();
    let expected = |service: &str| {
        let subject = format!("aisaas.demo.platform.{service}");
        json!({ "natsJetStream": { "url": "nats://nats:4222", "subject": subject, "replicas": 1 } })
    };
    assert_eq!(told("platform-configuration"), expected("monolith"));
    assert_eq!(told("platform-analysis-base-configuration"), expected("analysis-base"));
    assert_eq!(told("platform-generative-base-configuration"), json!(null), "it has no work to hand out");
    let volumes = |prepared: &Prepared| pod(prepared, "platform").volumes.unwrap();
    assert!(volumes(&prepared).iter().all(|volume| volume.name != "queue"), "without a Secret");
    assert!(volumes(&built(LARGEST)).iter().any(|volume| volume.name == "queue"));
    // Where the work is handed out is read at the start of a pod.
    let digest = |prepared: &Prepared| annotations(prepared, "platform")["aisaas.dev/storage-digest"].clone();
    assert_ne!(digest(&prepared), digest(&built(SMALLEST)));
}

#[test]
fn pods_are_replaced_when_the_credentials_of_nats_change() {
    let digest = |observed: &Observed, name: &str| {
        annotations(&built_from(&platform(LARGEST), observed), name)["aisaas.dev/secrets-digest"].clone()
    };
    let mut other = observed();
    other.references.queue_secret = Some(SecretState::Read("other".to_owned()));
    for name in ["platform", "platform-analysis-base"] {
        assert_ne!(digest(&observed(), name), digest(&other, name));
    }
}

#[test]
fn a_claim_has_room_for_the_database_and_the_objects_and_never_shrinks() {
    let size = |prepared: &Prepared, name: &str| {
        let claim: k8s_openapi::api::core::v1::PersistentVolumeClaim =
            find(prepared, ChildKind::PersistentVolumeClaim, name);
        claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0.clone()
    };
    let prepared = built(SMALLEST);
    assert_eq!(size(&prepared, "platform-data"), "5Gi");
    assert_eq!(size(&prepared, "platform-analysis-base-data"), "15Gi");
    let child = ChildState { name: "platform-data".to_owned(), ..ChildState::default() };
    let larger = ClaimState { child, size: Some(Quantity("8Gi".to_owned())), ..ClaimState::default() };
    let observed = Observed { claims: vec![Arc::new(larger)], ..observed() };
    assert_eq!(size(&built_from(&platform(SMALLEST), &observed), "platform-data"), "8Gi");
    let larger_still = platform("database: {embedded: {size: 9Gi}}");
    assert_eq!(size(&built_from(&larger_still, &observed), "platform-data"), "9Gi");
}

#[test]
fn a_service_obeys_the_accounts_of_those_that_call_it() {
    let platform = platform("services: [{name: monolith, workload: {serviceAccountName: doorman}}]");
    let prepared = built_from(&platform, &observed());
    let trust = configuration(&prepared, "platform-analysis-base-configuration").trust.unwrap();
    let caller = |account: &str| (format!("system:serviceaccount:demo:{account}"), "monolith".to_owned());
    assert_eq!(trust.callers, BTreeMap::from([caller("doorman")]));
    assert_eq!(trust.audience, "platform-analysis-base.demo.aisaas.dev");
    assert_eq!(names(&prepared, ChildKind::ServiceAccount), ["platform-analysis-base"]);
    assert!(configuration(&prepared, "platform-configuration").trust.is_none());
    // Pods from before run under the own account until they are replaced.
    let state = ChildState { name: "platform".to_owned(), ..ChildState::default() };
    let children = vec![Known { kind: ChildKind::ServiceAccount, state }];
    let prepared = built_from(&platform, &Observed { children, ..observed() });
    let trust = configuration(&prepared, "platform-analysis-base-configuration").trust.unwrap();
    assert_eq!(trust.callers, BTreeMap::from([caller("doorman"), caller("platform")]));
}

#[test]
fn an_account_that_a_user_took_away_is_obeyed_until_its_last_pod_has_gone() {
    let obeyed = |spec: &str, pods: &[(&str, &str)]| {
        let pods = pods.iter().map(|(service, service_account)| {
            let (service, service_account) = ((*service).to_owned(), (*service_account).to_owned());
            Arc::new(PodState { service, service_account, deleting: true, ..PodState::default() })
        });
        let prepared = built_from(&platform(spec), &Observed { pods: pods.collect(), ..observed() });
        let trust = configuration(&prepared, "platform-analysis-base-configuration").trust.unwrap();
        let accounts = trust.callers.into_keys();
        accounts.map(|subject| subject.rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (old, new, other) = (("monolith", "doorman"), ("monolith", "platform"), ("analysis-base", "analyst"));
    assert_eq!(obeyed(SMALLEST, &[new, old, old]), ["doorman", "platform"]);
    assert_eq!(obeyed(SMALLEST, &[new, other]), ["platform"]);
    // An account of the own name that is not the Platform's could be anybody's.
    let named = "services: [{name: monolith, workload: {serviceAccountName: porter}}]";
    assert_eq!(obeyed(named, &[old, new, other]), ["doorman", "porter"]);
}

#[test]
fn only_the_service_with_the_data_sets_obeys_analysis_jobs() {
    let validated = validate(&platform(SMALLEST), &observed(), &Rules::default(), MORE).unwrap();
    let prepared = build(&validated, &images(), true);
    let obeys = |name: &str| configuration(&prepared, name).trust.unwrap().analysis_jobs;
    assert!(obeys("platform-analysis-base-configuration"));
    assert!(!obeys("platform-generative-base-configuration"));
    let lets_in = |name: &str| {
        let policy: NetworkPolicy = find(&prepared, ChildKind::NetworkPolicy, name);
        serde_json::to_value(policy.spec.unwrap().ingress).unwrap().to_string().contains("analysis-job")
    };
    assert!(lets_in("platform-analysis-base") && !lets_in("platform-generative-base"));
}

#[test]
fn an_account_stays_as_long_as_pods_may_run_under_it() {
    let is_to_go = |spec: &str| built(spec).is_to_go(ChildKind::ServiceAccount, "platform-analysis-base");
    assert!(!is_to_go(SMALLEST));
    assert!(!is_to_go("services: [{name: analysis-base, workload: {serviceAccountName: analyst}}]"));
    assert!(is_to_go("services: [{name: analysis-base, enabled: false}]"));
    let without = built("services: [{name: analysis-base, enabled: false}]");
    assert!(without.is_to_go(ChildKind::Role, "platform-analysis-base"));
    let lent = "services: [{name: analysis-base, enabled: false}, {name: monolith, workload: {serviceAccountName: platform-analysis-base}}]";
    assert!(!is_to_go(lent));
    assert!(built(SMALLEST).is_to_go(ChildKind::Ingress, "platform"));
    assert!(!built(SMALLEST).is_to_go(ChildKind::PersistentVolumeClaim, "unknown"), "data are kept");
}

#[test]
fn policies_are_only_written_where_they_are_wanted() {
    let validated = validate(&platform(SMALLEST), &observed(), &Rules::default(), SERVICES).unwrap();
    let prepared = build(&validated, &images(), false);
    assert!(names(&prepared, ChildKind::NetworkPolicy).is_empty());
    assert!(!prepared.removable.contains(&ChildKind::NetworkPolicy), "those that are there stay");
}

#[test]
fn the_key_of_the_administrator_is_made_once() {
    let key = built(SMALLEST).admin_key.unwrap();
    assert_eq!(key.metadata.name.as_deref(), Some("platform-admin-key"));
    let mut observed = observed();
    observed.references.admin_key = AdminKey::Present;
    assert!(built_from(&platform(SMALLEST), &observed).admin_key.is_none());
}

#[test]
fn a_cluster_without_http_routes_gets_none() {
    let mut observed = observed();
    observed.references.lacks_http_routes = true;
    assert!(names(&built_from(&platform(LARGEST), &observed), ChildKind::HttpRoute).is_empty());
    assert_eq!(names(&built(LARGEST), ChildKind::HttpRoute), ["platform"]);
}

/// The services of today, and one more that the gateway calls, which calls
/// analysis-base itself.
static MORE: &[ServiceDefinition] = &[
    ServiceDefinition { calls: &["analysis-base", "generative-base"], ..SERVICES[0] },
    SERVICES[1],
    ServiceDefinition {
        name: "generative-base",
        condition: "GenerativeBaseReady",
        image: |images| &images.analysis_base,
        has_database: false,
        has_objects: false,
        has_queue: false,
        resources: DefaultResources { requests: &[("cpu", "1")], limits: &[("memory", "1Gi")] },
        calls: &["analysis-base"],
        routes: &["/v1/chat"],
        kubernetes_access: &[],
        serves_analysis_jobs: false,
    },
];

#[test]
fn a_further_service_is_one_entry_of_the_table() {
    let validated = validate(&platform(SMALLEST), &observed(), &Rules::default(), MORE).unwrap();
    let prepared = build(&validated, &images(), true);
    for kind in [ChildKind::ServiceAccount, ChildKind::Service, ChildKind::Deployment] {
        let expected = ["platform", "platform-analysis-base", "platform-generative-base"];
        assert_eq!(names(&prepared, kind), expected);
    }
    let gateway = configuration(&prepared, "platform-configuration");
    assert_eq!(gateway.services["generative-base"].routes, ["/v1/chat"]);
    assert_eq!(gateway.services["generative-base"].url, "http://platform-generative-base.demo.svc");
    let own = configuration(&prepared, "platform-generative-base-configuration");
    assert!(own.database.is_none() && own.objects.is_none());
    assert_eq!(own.services.keys().collect::<Vec<_>>(), ["analysis-base"]);
    let callee = configuration(&prepared, "platform-analysis-base-configuration");
    assert_eq!(callee.trust.unwrap().callers.len(), 2);
    let policy: NetworkPolicy = find(&prepared, ChildKind::NetworkPolicy, "platform-analysis-base");
    let rules = policy.spec.unwrap().ingress.unwrap();
    // And the pods of AnalysisJobs.
    assert_eq!(rules[0].from.as_ref().unwrap().len(), 3);
}
