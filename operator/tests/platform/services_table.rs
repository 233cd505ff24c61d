//! What follows from the entry of a service in the table of services.

use ai_saas_platform_operator::platform::build::{Prepared, build};
use ai_saas_platform_operator::platform::children::ChildKind;
use ai_saas_platform_operator::platform::services::{SERVICES, ServiceDefinition};
use ai_saas_platform_operator::platform::validate::validate;
use ai_saas_platform_operator::pods::DefaultResources;
use ai_saas_platform_operator::rules::Rules;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

use crate::setup::{
    API_SERVER_PORTS, LARGEST, SMALLEST, annotations, built, configuration, find, images, names, observed,
    platform, pod,
};

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

fn built_with_more(spec: &str) -> Prepared {
    let validated = validate(&platform(spec), &observed(), &Rules::default(), MORE).unwrap();
    build(&validated, &images(), Some(&API_SERVER_PORTS))
}

#[test]
fn a_further_service_is_one_entry_of_the_table() {
    let prepared = built_with_more(SMALLEST);
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

#[test]
fn nats_hands_out_the_work_of_every_service_that_has_some() {
    let spec = "queue: {natsJetStream: {url: 'nats://nats:4222'}}";
    let prepared = built_with_more(spec);
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
fn only_the_service_with_the_data_sets_obeys_analysis_jobs() {
    let prepared = built_with_more(SMALLEST);
    let obeys = |name: &str| configuration(&prepared, name).trust.unwrap().analysis_jobs;
    assert!(obeys("platform-analysis-base-configuration"));
    assert!(!obeys("platform-generative-base-configuration"));
    let lets_in = |name: &str| {
        let policy: NetworkPolicy = find(&prepared, ChildKind::NetworkPolicy, name);
        serde_json::to_value(policy.spec.unwrap().ingress).unwrap().to_string().contains("analysis-job")
    };
    assert!(lets_in("platform-analysis-base") && !lets_in("platform-generative-base"));
}
