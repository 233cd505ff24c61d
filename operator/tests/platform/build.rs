//! What a Platform becomes, seen whole.

use std::sync::Arc;

use ai_saas_platform_operator::network_policy::port;
use ai_saas_platform_operator::platform::build::{Prepared, build};
use ai_saas_platform_operator::platform::children::{ChildKind, ChildState, ClaimState};
use ai_saas_platform_operator::platform::dereference::{AdminKey, Observed};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::setup::{
    LARGEST, SMALLEST, built, built_from, configuration, find, images, names, observed, platform, pod,
    validated,
};

fn yaml(prepared: &Prepared) -> String {
    let objects = prepared.objects.iter().map(|object| serde_yaml_ng::to_string(&object.content).unwrap());
    objects.collect::<Vec<_>>().join("---\n")
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
fn a_claim_has_room_for_the_database_and_the_objects_and_never_shrinks() {
    let size = |prepared: &Prepared, name: &str| {
        let claim: PersistentVolumeClaim = find(prepared, ChildKind::PersistentVolumeClaim, name);
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
fn policies_are_only_written_where_they_are_wanted() {
    let prepared = build(&validated(&platform(SMALLEST), &observed()), &images(), None);
    assert!(names(&prepared, ChildKind::NetworkPolicy).is_empty());
    assert!(!prepared.removable.contains(&ChildKind::NetworkPolicy), "those that are there stay");
}

#[test]
fn those_that_read_of_the_api_server_may_connect_to_its_ports() {
    let validated = validated(&platform(SMALLEST), &observed());
    let prepared = build(&validated, &images(), Some(&[8443]));
    let last_rule = |name: &str| {
        let policy: NetworkPolicy = find(&prepared, ChildKind::NetworkPolicy, name);
        policy.spec.unwrap().egress.unwrap().pop().unwrap()
    };
    let api_server = NetworkPolicyEgressRule { to: None, ports: Some(vec![port("TCP", 8443)]) };
    assert_eq!(last_rule("platform-analysis-base"), api_server);
    assert_ne!(last_rule("platform"), api_server);
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
