//! What a Platform's status says, for every way that its services can go.

use std::sync::Arc;

use ai_saas_platform_operator::children::Child;
use ai_saas_platform_operator::platform::Error;
use ai_saas_platform_operator::platform::apply::Applied;
use ai_saas_platform_operator::platform::children::{
    ChildKind, ChildState, ClaimState, Crash, DeploymentState, MountedSecret, PodState,
};
use ai_saas_platform_operator::platform::dereference::{Observed, References, SecretState};
use ai_saas_platform_operator::platform::outcome::outcome;
use ai_saas_platform_operator::platform::status::{events, from_outcome};
use crds::platform::PlatformStatus;
use crds::{Platform, condition};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::setup::{platform_named, validated};

const NOT_READY: &str = "None of its pods is ready yet: they start, or wait for their database";

/// One that has been changed since it was made: a status that gives its
/// generation has not just assumed the first.
fn platform(spec: &str) -> Platform {
    let mut platform = platform_named("p", spec);
    platform.metadata.generation = Some(3);
    platform
}

fn serving(name: &str) -> DeploymentState {
    DeploymentState {
        child: ChildState { name: name.to_owned(), ..ChildState::default() },
        replicas: 1,
        is_observed: true,
        present: 1,
        updated: 1,
        ready: 1,
        available: 1,
        ..DeploymentState::default()
    }
}

fn starting(name: &str) -> DeploymentState {
    DeploymentState { ready: 0, available: 0, ..serving(name) }
}

fn pod(crash: Option<(i32, &str, &str)>, waiting: Option<(&str, &str)>) -> PodState {
    PodState {
        name: "p-x".to_owned(),
        service: "monolith".to_owned(),
        service_account: "p".to_owned(),
        created_at: Timestamp::from_second(1_000).ok(),
        deleting: false,
        crash: crash.map(|(exit_code, reason, message)| Crash {
            exit_code,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }),
        waiting: waiting.map(|(reason, message)| (reason.to_owned(), message.to_owned())),
    }
}

/// What there is, and what became of it.
#[derive(Default)]
struct Case {
    spec: &'static str,
    monolith: Option<DeploymentState>,
    claims: Vec<ClaimState>,
    pods: Vec<PodState>,
    references: References,
    refused: Vec<Error>,
    current: PlatformStatus,
}

impl Case {
    /// A Platform whose other service serves.
    fn of(monolith: DeploymentState) -> Self {
        Self { spec: "{}", monolith: Some(monolith), ..Self::default() }
    }

    fn status(self) -> PlatformStatus {
        let platform = platform(self.spec);
        let observed = Observed {
            deployments: self.monolith.clone().into_iter().map(Arc::new).collect(),
            pods: self.pods.into_iter().map(Arc::new).collect(),
            references: self.references,
            ..Observed::default()
        };
        let validated = validated(&platform, &observed);
        let deployments = self.monolith.into_iter().chain([serving("p-analysis-base")]).map(Arc::new);
        let applied = Applied {
            deployments: deployments.collect(),
            claims: self.claims.into_iter().map(Arc::new).collect(),
            refused: self.refused,
        };
        let outcome = outcome(&validated, &applied, &observed);
        let now = Timestamp::from_second(2_000).unwrap();
        from_outcome(&platform, &self.current, &outcome, now)
    }
}

fn told<'a>(status: &'a PlatformStatus, condition_type: &str) -> (&'a str, &'a str, &'a str) {
    let condition = status.conditions.iter().find(|condition| condition.type_ == condition_type).unwrap();
    (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
}

fn check(case: Case, expected: (&str, &str, &str)) {
    let status = case.status();
    assert_eq!(told(&status, "MonolithReady"), expected);
    let (holds, reason, message) = expected;
    assert_eq!(told(&status, condition::READY), (holds, reason, format!("monolith: {message}").as_str()));
    assert_eq!(told(&status, condition::ACCEPTED).0, "True");
    assert_eq!(told(&status, "AnalysisBaseReady").0, "True");
}

#[test]
fn a_platform_whose_services_serve_is_ready() {
    let status = Case::of(serving("p")).status();
    assert_eq!(told(&status, condition::READY), ("True", "Available", "All services serve"));
    assert_eq!(told(&status, "MonolithReady"), ("True", "Available", "All of its pods serve"));
    assert_eq!(told(&status, condition::ACCEPTED), ("True", "Valid", "The specification is valid"));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.url.as_deref(), Some("http://p.demo.svc"));
    assert_eq!(status.admin_key_secret.as_deref(), Some("p-admin-key"));
    assert_eq!(status.services[0].ready, "1/1");
    assert_eq!(status.services[1].url, "http://p-analysis-base.demo.svc");
    assert!(status.conditions.iter().all(|condition| condition.type_ != condition::EXPOSED));
}

#[test]
fn a_service_that_starts_waits_without_a_word_about_its_usual_states() {
    for waiting in [None, Some(("ContainerCreating", "")), Some(("PodInitializing", ""))] {
        let case = Case { pods: vec![pod(None, waiting)], ..Case::of(starting("p")) };
        check(case, ("False", "Pending", NOT_READY));
    }
    let none = Case { monolith: None, ..Case::of(starting("p")) };
    check(none, ("False", "Pending", "Its Deployment is not there yet"));
}

#[test]
fn a_pod_that_cannot_start_says_why() {
    let waiting = Some(("Unschedulable", "0/1 nodes are available: 1 Insufficient memory."));
    let case = Case { pods: vec![pod(None, waiting)], ..Case::of(starting("p")) };
    let message = "The pod does not run yet: Unschedulable: 0/1 nodes are available: 1 Insufficient memory.";
    check(case, ("False", "Pending", message));
}

#[test]
fn a_process_that_ends_is_quoted_and_memory_names_the_field_to_raise() {
    let case = Case { pods: vec![pod(Some((1, "Error", "no database")), None)], ..Case::of(starting("p")) };
    check(case, ("False", "Pending", "The pod ended with exit code 1 (Error): no database"));
    let case = Case { pods: vec![pod(Some((137, "OOMKilled", "")), None)], ..Case::of(starting("p")) };
    let message =
        "The pod was killed because it used all of its memory: raise its `workload.resources.limits.memory`";
    check(case, ("False", "Pending", message));
}

#[test]
fn a_pod_that_crashes_again_in_the_same_way_changes_nothing() {
    let crashed_at = |time: &str, id: &str| {
        let log = json!({ "timestamp": time, "level": "ERROR", "message": "The service cannot run.", "error": format!("no job {id}") });
        let status = json!({ "containerStatuses": [{
            "name": "monolith", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 1, "reason": "Error", "finishedAt": time, "message": log.to_string() } },
        }] });
        let labels = json!({ "aisaas.dev/platform": "p", "app.kubernetes.io/name": "monolith" });
        let metadata = json!({ "name": "p-x", "namespace": "demo", "labels": labels });
        let watched = json!({ "metadata": metadata, "status": status });
        PodState::observe(serde_json::from_value(watched).unwrap()).unwrap().1
    };
    let first = crashed_at("2026-01-31T10:00:00Z", "0197e3a2-77aa-7bbb-8ccc-0123456789ab");
    let again = crashed_at("2026-01-31T10:05:00Z", "0197e3a2-ffff-7bbb-8ccc-0123456789ab");
    let status = |pod: PodState, current: PlatformStatus| {
        Case { pods: vec![pod], current, ..Case::of(starting("p")) }.status()
    };
    let before = status(first, PlatformStatus::default());
    let message = "The pod ended with exit code 1 (Error): The service cannot run. no job …";
    assert_eq!(told(&before, "MonolithReady"), ("False", "Pending", message));
    assert_eq!(status(again, before.clone()), before);
}

#[test]
fn pods_of_others_and_pods_that_go_say_nothing() {
    let crash = Some((1, "Error", "x"));
    let pods = vec![
        PodState { service: "analysis-base".to_owned(), ..pod(crash, None) },
        PodState { deleting: true, ..pod(crash, None) },
    ];
    check(Case { pods, ..Case::of(starting("p")) }, ("False", "Pending", NOT_READY));
}

#[test]
fn a_claim_without_a_storage_class_says_what_to_do() {
    let claim = |phase: &str, storage_class: Option<&str>| ClaimState {
        child: ChildState { name: "p-data".to_owned(), ..ChildState::default() },
        phase: phase.to_owned(),
        storage_class: storage_class.map(str::to_owned),
        size: None,
    };
    let of = |claim: ClaimState| Case { claims: vec![claim], ..Case::of(starting("p")) };
    let message = "PersistentVolumeClaim `p-data` has no storage class: make one the default of the cluster, or give `storageClassName` in the specification";
    check(of(claim("Pending", None)), ("False", "Pending", message));
    let message = "PersistentVolumeClaim `p-data` has no volume yet";
    check(of(claim("Pending", Some("fast"))), ("False", "Pending", message));
    let message = "The volume of PersistentVolumeClaim `p-data` is lost";
    check(of(claim("Lost", Some("fast"))), ("False", "Pending", message));
    check(of(claim("Bound", Some("fast"))), ("False", "Pending", NOT_READY));
}

#[test]
fn pods_that_the_api_server_refuses_are_told_in_its_words() {
    let refusal = Some("exceeded quota: small".to_owned());
    let case = Case::of(DeploymentState { refusal, ..starting("p") });
    check(case, ("False", "Pending", "Its pods cannot be created: exceeded quota: small"));
}

#[test]
fn a_service_serves_while_its_pods_are_replaced() {
    let updating = DeploymentState { updated: 0, ..serving("p") };
    let message = "It serves, and its pods are being replaced or added";
    check(Case::of(updating.clone()), ("True", "Updating", message));
    check(Case::of(DeploymentState { is_observed: false, ..serving("p") }), ("True", "Updating", message));
    let pods = vec![pod(None, Some(("ImagePullBackOff", "no such image")))];
    let message =
        "It serves, but not all of its pods do: The pod does not run yet: ImagePullBackOff: no such image";
    check(Case { pods, ..Case::of(updating) }, ("True", "Updating", message));
}

#[test]
fn a_change_that_does_not_come_to_an_end_is_a_failure_though_the_old_pods_serve() {
    let stalled = DeploymentState { updated: 0, is_stalled: true, ..serving("p") };
    check(
        Case::of(stalled.clone()),
        ("False", "RolloutFailed", "Its pods did not become ready in time: see its pods"),
    );
    // What was tried since is not known to have failed.
    let tried_again = DeploymentState { is_observed: false, ..stalled };
    assert_eq!(told(&Case::of(tried_again).status(), "MonolithReady").1, "Updating");
}

#[test]
fn a_service_without_pods_says_whose_wish_that_is() {
    let none =
        DeploymentState { replicas: 0, present: 0, updated: 0, ready: 0, available: 0, ..serving("p") };
    let message = "It has no pods, since its `workload.replicas` is 0";
    check(Case::of(none.clone()), ("False", "ScaledToZero", message));
    let status = Case { spec: "suspend: true", ..Case::of(none) }.status();
    assert_eq!(
        told(&status, condition::READY),
        ("False", "Suspended", "Suspended: set spec.suspend to false to start the services")
    );
    assert_eq!(told(&status, "MonolithReady").1, "Suspended");
    assert_eq!(told(&status, condition::ACCEPTED).0, "True");
    assert_eq!(status.services[0].ready, "0/0");
}

#[test]
fn a_service_that_is_disabled_is_not_told_of() {
    let spec = "services: [{name: analysis-base, enabled: false}]";
    let status = Case { spec, ..Case::of(serving("p")) }.status();
    assert_eq!(status.services.len(), 1);
    assert!(status.conditions.iter().all(|condition| condition.type_ != "AnalysisBaseReady"));
    assert_eq!(told(&status, condition::READY).0, "True");
}

#[test]
fn a_secret_that_cannot_be_read_is_told_and_stops_nothing() {
    let spec = "database: {postgresql: {secret: {name: database, key: address}}}";
    let references = References {
        database_secret: Some(SecretState::Unreadable("etcd is busy".to_owned())),
        ..References::default()
    };
    let status = Case { spec, references, ..Case::of(serving("p")) }.status();
    let (holds, reason, message) = told(&status, condition::ACCEPTED);
    assert_eq!((holds, reason), ("True", "SecretUnreadable"));
    assert!(message.contains("Secret `database` cannot be read at the moment: etcd is busy"), "{message}");
    assert_eq!(told(&status, condition::READY).0, "True");
}

#[test]
fn a_secret_that_is_gone_is_told_beside_how_the_services_go() {
    let gone = |monolith: DeploymentState| {
        let secret = MountedSecret { name: "database".to_owned(), key: Some("address".to_owned()) };
        Case {
            spec: "database: {postgresql: {secret: {name: database, key: address}}}",
            references: References { database_secret: Some(SecretState::Missing), ..References::default() },
            ..Case::of(DeploymentState { secrets: vec![secret], ..monolith })
        }
    };
    let serves = gone(serving("p")).status();
    let message = "Secret `database` does not exist in this namespace: create it, and the platform goes on by itself. What runs goes on, and a new pod waits for what it needs of this";
    assert_eq!(told(&serves, condition::ACCEPTED), ("False", "SecretNotFound", message));
    assert_eq!(told(&serves, condition::READY).0, "True");
    assert_eq!(serves.observed_generation, Some(3));
    let waits = gone(starting("p")).status();
    assert_eq!(told(&waits, "MonolithReady"), ("False", "Pending", NOT_READY));
    assert_eq!(told(&waits, condition::READY).1, "Pending");

    let before = Case::of(serving("p")).status();
    let happened = events(&before.conditions, &serves.conditions);
    let reasons: Vec<&str> = happened.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["SecretNotFound"]);
    assert!(events(&serves.conditions, &serves.conditions).is_empty());
}

#[test]
fn a_way_to_the_gateway_that_the_cluster_does_not_know_is_told() {
    let spec = "exposure: {httpRoute: {parentRefs: [{name: g}]}}";
    let references = References { lacks_http_routes: true, ..References::default() };
    let status = Case { spec, references, ..Case::of(serving("p")) }.status();
    let expected = "This cluster has no HTTPRoute (gateway.networking.k8s.io/v1): install the Gateway API, or take spec.exposure.httpRoute away";
    assert_eq!(told(&status, condition::EXPOSED), ("False", "HTTPRouteUnknown", expected));
    assert_eq!(told(&status, condition::READY), ("False", "HTTPRouteUnknown", expected));
    let status = Case { spec, ..Case::of(serving("p")) }.status();
    assert_eq!(told(&status, condition::EXPOSED).0, "True");
}

#[test]
fn what_the_api_server_refuses_is_told_in_its_words() {
    let refusal = kube::core::Status::failure("exceeded quota: claims", "Forbidden").with_code(403);
    let refused = vec![Error::Apply {
        kind: ChildKind::PersistentVolumeClaim,
        name: "p-data".to_owned(),
        source: kube::Error::Api(refusal.boxed()),
    }];
    let status = Case { refused, ..Case::of(serving("p")) }.status();
    let message =
        "The API server refuses what the platform needs, which is tried again: exceeded quota: claims";
    assert_eq!(told(&status, condition::READY), ("False", "ApplyPersistentVolumeClaim", message));
    assert_eq!(told(&status, "MonolithReady").0, "True");
}

#[test]
fn what_the_api_server_does_not_let_stop_is_not_told_to_stand_still() {
    let refusal = kube::core::Status::failure("the label is too long", "Invalid").with_code(422);
    let refused = vec![Error::Apply {
        kind: ChildKind::Deployment,
        name: "p".to_owned(),
        source: kube::Error::Api(refusal.boxed()),
    }];
    let status = Case { spec: "suspend: true", refused, ..Case::of(serving("p")) }.status();
    let message =
        "The API server refuses what the platform needs, which is tried again: the label is too long";
    assert_eq!(told(&status, condition::READY), ("False", "ApplyDeployment", message));
    assert_eq!(told(&status, "MonolithReady"), ("False", "ApplyDeployment", message));
    assert_eq!(told(&status, "AnalysisBaseReady").1, "Suspended");
    assert_eq!(status.admin_key_secret, None);
}

#[test]
fn a_way_to_the_gateway_that_the_api_server_refuses_is_none() {
    let spec = "exposure: {ingress: {host: ai.example.com}}";
    let answer = kube::core::Status::failure("the host is taken", "Forbidden").with_code(403);
    let source = kube::Error::Api(answer.boxed());
    let refused = vec![Error::Apply { kind: ChildKind::Ingress, name: "p".to_owned(), source }];
    let status = Case { spec, refused, ..Case::of(serving("p")) }.status();
    let message = "The API server refuses what the platform needs, which is tried again: the host is taken";
    assert_eq!(told(&status, condition::EXPOSED), ("False", "ApplyIngress", message));
    // What is suspended is left as it is, and so is what is said of it.
    let suspended = "suspend: true\nexposure: {ingress: {host: ai.example.com}}";
    let rests = Case { spec: suspended, current: status, ..Case::of(serving("p")) }.status();
    assert_eq!(told(&rests, condition::EXPOSED), ("False", "ApplyIngress", message));
    let never = Case { spec: suspended, ..Case::of(serving("p")) }.status();
    assert!(never.conditions.iter().all(|condition| condition.type_ != condition::EXPOSED));
}

#[test]
fn events_tell_what_happened_and_nothing_else() {
    let happened = |before: Case, after: Case| -> Vec<(bool, String)> {
        let events = events(&before.status().conditions, &after.status().conditions);
        events.into_iter().map(|event| (event.is_good, event.reason)).collect()
    };
    let starting = || Case::of(starting("p"));
    let serving = || Case::of(serving("p"));
    let stalled = || Case::of(DeploymentState { is_stalled: true, ..self::starting("p") });
    let suspended = || Case { spec: "suspend: true", ..serving() };
    assert!(happened(starting(), starting()).is_empty());
    assert_eq!(happened(starting(), serving()), [(true, "Available".to_owned())]);
    assert_eq!(happened(serving(), starting()), [(false, "Pending".to_owned())]);
    assert_eq!(happened(starting(), stalled()), [(false, "RolloutFailed".to_owned())]);
    assert!(happened(stalled(), starting()).is_empty());
    assert_eq!(happened(serving(), suspended()), [(true, "Suspended".to_owned())]);
    assert!(happened(suspended(), starting()).is_empty());
}
