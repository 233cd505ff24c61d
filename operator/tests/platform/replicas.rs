//! How many pods a service has, and whose wish that is.

use ai_saas_platform_operator::platform::build::Prepared;
use ai_saas_platform_operator::platform::children::{ChildKind, DeploymentState};
use ai_saas_platform_operator::platform::dereference::{Observed, References, SecretState};
use crds::Platform;

use crate::setup::{
    LARGEST, SMALLEST, built, built_from, deployment, names, observed, platform, with_deployment,
};

fn replicas(prepared: &Prepared, name: &str) -> Option<i32> {
    deployment(prepared, name).spec.unwrap().replicas
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
    check(&scaled, &state(0, false), Some(1));
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
