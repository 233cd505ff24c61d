//! The accounts that pods run under, and whom a service obeys.

use std::collections::BTreeMap;
use std::sync::Arc;

use ai_saas_platform_operator::platform::children::{ChildKind, ChildState, Known, PodState};
use ai_saas_platform_operator::platform::dereference::Observed;

use crate::setup::{SMALLEST, built, built_from, configuration, names, observed, platform};

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
