//! Which changes replace the pods of a service, and which do not.

use ai_saas_platform_operator::platform::build::Prepared;
use ai_saas_platform_operator::platform::children::DeploymentState;
use ai_saas_platform_operator::platform::dereference::{Observed, SecretState};

use crate::setup::{
    LARGEST, SMALLEST, annotations, built, built_from, observed, platform, validated, with_deployment,
};

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
    let validated = validated(&platform, &unreadable(observed()));
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
fn a_change_of_the_configuration_replaces_no_pods_but_another_place_of_the_data_does() {
    let digest = |spec: &str| annotations(&built(spec), "platform")["aisaas.dev/storage-digest"].clone();
    assert_eq!(digest(SMALLEST), digest("exposure: {corsAllowedOrigins: ['*']}"));
    assert_ne!(digest(SMALLEST), digest(LARGEST));
}
