//! Which Platforms are accepted, and what is made of what is there already.

use std::sync::Arc;

use ai_saas_platform_operator::platform::Rejection;
use ai_saas_platform_operator::platform::children::{ChildState, ClaimState, DeploymentState, MountedSecret};
use ai_saas_platform_operator::platform::dereference::{AdminKey, Observed, References, SecretState};
use ai_saas_platform_operator::platform::services::SERVICES;
use ai_saas_platform_operator::platform::validate::validate;
use ai_saas_platform_operator::rules::Rules;

use crate::setup::{SMALLEST, annotations, built_from, observed, platform, validated, with_deployment};

/// With its data outside of the cluster, and reached from there.
const OUTSIDE: &str = r"
exposure:
  ingress: {host: ai.example.com, tlsSecretName: certificate}
  httpRoute: {parentRefs: [{name: public}], hostnames: [api.example.com]}
storage: {s3: {url: 's3://bucket/prefix/', secret: {name: store}}}
database: {postgresql: {secret: {name: database, key: address}}}
queue: {natsJetStream: {url: 'nats://nats:4222', secret: {name: nats}}}
";

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let check = |change: fn(&mut References), expected: &str| {
        let mut observed = observed();
        change(&mut observed.references);
        let rejection = validate(&platform(OUTSIDE), &observed, &Rules::default(), SERVICES).unwrap_err();
        assert_eq!(rejection.to_string(), expected);
        assert!(rejection.is_missing_reference());
    };
    check(
        |references| references.database_secret = Some(SecretState::Missing),
        "Secret `database` does not exist in this namespace: create it, and the platform goes on by itself",
    );
    check(
        |references| {
            references.objects_secret = Some(SecretState::KeyMissing("AWS_ACCESS_KEY_ID".to_owned()));
        },
        "Secret `store` has no key `AWS_ACCESS_KEY_ID`: add it, and the platform goes on by itself",
    );
    check(
        |references| references.queue_secret = Some(SecretState::Missing),
        "Secret `nats` does not exist in this namespace: create it, and the platform goes on by itself",
    );
    check(
        |references| references.admin_key = AdminKey::WithoutKey,
        "Secret `platform-admin-key` has no key `api-key`: add it, and the platform goes on by itself",
    );
}

#[test]
fn a_secret_that_is_gone_stops_nothing_that_was_started_with_it() {
    let mounts =
        |name: &str, key: Option<&str>| MountedSecret { name: name.to_owned(), key: key.map(str::to_owned) };
    let started = || {
        with_deployment(DeploymentState {
            secrets: vec![
                mounts("database", Some("address")),
                mounts("nats", None),
                mounts("platform-admin-key", Some("api-key")),
            ],
            secrets_digest: Some("old".to_owned()),
            ..DeploymentState::default()
        })
    };
    let reason = |change: fn(&mut References)| {
        let mut observed = started();
        change(&mut observed.references);
        let prepared = built_from(&platform(OUTSIDE), &observed);
        let digest = annotations(&prepared, "platform")["aisaas.dev/secrets-digest"].clone();
        (prepared.validated.missing_secret.unwrap().reason(), digest == "old")
    };
    let gone = reason(|references| references.database_secret = Some(SecretState::Missing));
    assert_eq!(gone, ("SecretNotFound", true));
    let less = reason(|references| references.queue_secret = Some(SecretState::KeyMissing("a".to_owned())));
    assert_eq!(less, ("SecretKeyNotFound", true));
    assert_eq!(reason(|references| references.admin_key = AdminKey::WithoutKey).0, "SecretKeyNotFound");

    // Pods that serve are not replaced by others that cannot start.
    let mut observed = started();
    observed.references.database_secret = Some(SecretState::KeyMissing("url".to_owned()));
    let other_key = OUTSIDE.replace("key: address", "key: url");
    let rejection = validate(&platform(&other_key), &observed, &Rules::default(), SERVICES).unwrap_err();
    assert_eq!(rejection.reason(), "SecretKeyNotFound");
    observed.references.database_secret = Some(SecretState::Missing);
    let other = OUTSIDE.replace("name: database", "name: other");
    let rejection = validate(&platform(&other), &observed, &Rules::default(), SERVICES).unwrap_err();
    assert_eq!(rejection, Rejection::SecretNotFound("other".to_owned()));
    assert_eq!(validated(&platform(OUTSIDE), &started()).missing_secret, None);
}

#[test]
fn rules_of_the_custom_resource_hold_in_reconcile_too() {
    let both = platform("database: {embedded: {}, postgresql: {secret: {name: a, key: b}}}");
    let rejection = validate(&both, &observed(), &Rules::default(), SERVICES).unwrap_err();
    assert!(matches!(rejection, Rejection::InvalidSpecification(_)));
    assert!(rejection.to_string().contains("give exactly one of `embedded` and `postgresql`"), "{rejection}");
}

#[test]
fn the_address_is_that_by_which_the_gateway_is_reached() {
    let url = |spec: &str| validated(&platform(spec), &observed()).url();
    assert_eq!(url(SMALLEST), "http://platform.demo.svc");
    assert_eq!(url(OUTSIDE), "https://ai.example.com");
    assert_eq!(url("exposure: {ingress: {host: ai.example.com}}"), "http://ai.example.com");
    // Whether its listener speaks HTTPS is not known.
    assert_eq!(
        url("exposure: {httpRoute: {parentRefs: [{name: g}], hostnames: [b.example.com]}}"),
        "http://platform.demo.svc"
    );
}

#[test]
fn a_claim_keeps_its_storage_class_when_the_specification_ceases_to_name_one() {
    let storage_class = |spec: &str, present: Option<&str>| {
        let child = ChildState { name: "platform-analysis-base-data".to_owned(), ..ChildState::default() };
        let claim = ClaimState { child, storage_class: present.map(str::to_owned), ..ClaimState::default() };
        let observed = Observed { claims: vec![Arc::new(claim)], ..observed() };
        validated(&platform(spec), &observed).services[1].storage.claim.clone().unwrap().storage_class
    };
    let moved = "database: {postgresql: {secret: {name: database, key: address}}}";
    assert_eq!(storage_class(moved, Some("fast")).as_deref(), Some("fast"));
    assert_eq!(storage_class(moved, None), None);
    // That it cannot be another one is for the API server to say.
    let other = "database: {embedded: {storageClassName: slow}}";
    assert_eq!(storage_class(other, Some("fast")).as_deref(), Some("slow"));
}
