//! What became of a Platform, told from its objects. Pure.

use std::sync::Arc;

use crds::condition;

use super::Error;
use super::apply::Applied;
use super::children::{ChildKind, ClaimState, Crash, DeploymentState, PodState};
use super::dereference::Observed;
use super::validate::{ValidatedPlatform, ValidatedService};
use crate::conditions::Desired;
use crate::waiting::is_telling;

/// Reason of what is as it should be.
const AVAILABLE: &str = "Available";
/// Reason of what waits.
pub const PENDING: &str = "Pending";
/// What is said of pods that are not ready and in no trouble that shows: those
/// whose database is away run, and are no different from those that start.
const NOT_READY: &str = "None of its pods is ready yet: they start, or wait for their database";
/// Reason of what is told to stand still.
pub const SUSPENDED: &str = "Suspended";
/// Reason of a Platform that is accepted though a Secret cannot be read.
pub const SECRET_UNREADABLE: &str = "SecretUnreadable";

/// What became of a Platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether the specification is accepted.
    pub accepted: Desired,
    /// Whether all is as it should be.
    pub ready: Desired,
    /// How each service goes.
    pub services: Vec<ServiceOutcome>,
    /// Whether it is exposed as it should be, if it should be. `None` while it is
    /// suspended, too: nothing is done about it then.
    pub exposed: Option<Desired>,
    /// Where clients reach the gateway.
    pub url: String,
    /// Whether it is to stand still.
    pub is_suspended: bool,
}

/// How a service goes.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceOutcome {
    /// Its name.
    pub name: &'static str,
    /// Whether it serves.
    pub condition: Desired,
    /// How many of its pods are ready.
    pub ready: i32,
    /// How many there should be.
    pub replicas: i32,
    /// Where it is reached inside the cluster.
    pub url: String,
}

/// Tells what became of a Platform.
#[must_use]
pub fn outcome(validated: &ValidatedPlatform, applied: &Applied, observed: &Observed) -> Outcome {
    let services: Vec<ServiceOutcome> = validated
        .services
        .iter()
        .map(|service| service_outcome(validated, service, applied, observed))
        .collect();
    let exposed = exposed(validated, applied);
    Outcome {
        accepted: accepted(validated),
        ready: ready(validated, &services, exposed.as_ref(), applied),
        services,
        exposed,
        url: validated.url(),
        is_suspended: validated.is_suspended,
    }
}

fn accepted(validated: &ValidatedPlatform) -> Desired {
    if let Some(missing) = &validated.missing_secret {
        let message = format!("{missing}. What runs goes on, and a new pod waits for what it needs of this");
        return Desired::new(condition::ACCEPTED, false, missing.reason(), message);
    }
    match &validated.unreadable_secret {
        Some((name, cause)) => Desired::new(
            condition::ACCEPTED,
            true,
            SECRET_UNREADABLE,
            format!(
                "The specification is valid, but Secret `{name}` cannot be read at the moment: {cause}. The pods keep what they have, and it is tried again"
            ),
        ),
        None => Desired::new(condition::ACCEPTED, true, "Valid", "The specification is valid"),
    }
}

/// The first thing that is not as it should be, or that all is.
fn ready(
    validated: &ValidatedPlatform,
    services: &[ServiceOutcome],
    exposed: Option<&Desired>,
    applied: &Applied,
) -> Desired {
    // Before all else: what is to stand still may run on.
    if let Some(refused) = applied.refused.first() {
        return refusal(condition::READY, refused);
    }
    if validated.is_suspended {
        let message = "Suspended: set spec.suspend to false to start the services";
        return Desired::new(condition::READY, false, SUSPENDED, message);
    }
    let of_service = |service: &ServiceOutcome| {
        let Desired { holds, reason, message, .. } = &service.condition;
        Desired::new(condition::READY, *holds, reason, format!("{}: {message}", service.name))
    };
    if let Some(service) = services.iter().find(|service| !service.condition.holds) {
        return of_service(service);
    }
    if let Some(exposed) = exposed.filter(|exposed| !exposed.holds) {
        return Desired { condition_type: condition::READY, ..exposed.clone() };
    }
    match services.iter().find(|service| service.condition.reason != AVAILABLE) {
        Some(service) => of_service(service),
        None => Desired::new(condition::READY, true, AVAILABLE, "All services serve"),
    }
}

fn refusal(condition_type: &'static str, refused: &Error) -> Desired {
    let refusal = refused.refusal().unwrap_or_default();
    let message = format!("The API server refuses what the platform needs, which is tried again: {refusal}");
    Desired::new(condition_type, false, refused.reason(), message)
}

fn exposed(validated: &ValidatedPlatform, applied: &Applied) -> Option<Desired> {
    if validated.is_suspended {
        return None;
    }
    let exposure = &validated.exposure;
    if exposure.http_route.is_some() && validated.lacks_http_routes {
        let message = "This cluster has no HTTPRoute (gateway.networking.k8s.io/v1): install the Gateway API, or take spec.exposure.httpRoute away";
        return Some(Desired::new(condition::EXPOSED, false, "HTTPRouteUnknown", message));
    }
    let is_way = |error: &&Error| {
        matches!(error, Error::Apply { kind: ChildKind::Ingress | ChildKind::HttpRoute, .. })
    };
    if let Some(refused) = applied.refused.iter().find(is_way) {
        return Some(refusal(condition::EXPOSED, refused));
    }
    (exposure.http_route.is_some() || exposure.ingress.is_some())
        .then(|| Desired::new(condition::EXPOSED, true, "Exposed", "The way to the gateway is declared"))
}

fn service_outcome(
    validated: &ValidatedPlatform,
    service: &ValidatedService,
    applied: &Applied,
    observed: &Observed,
) -> ServiceOutcome {
    let name = service.definition.name;
    let deployment =
        applied.deployments.iter().find(|deployment| deployment.child.name == service.deployment.as_str());
    let condition_type = service.definition.condition;
    let is_of_deployment = |error: &&Error| match error {
        Error::Apply { kind: ChildKind::Deployment, name, .. } => name == service.deployment.as_str(),
        _ => false,
    };
    let refused = applied.refused.iter().find(is_of_deployment);
    let condition = if validated.is_suspended {
        match refused {
            Some(refused) => refusal(condition_type, refused),
            None => Desired::new(condition_type, false, SUSPENDED, "The platform is suspended"),
        }
    } else if let Some(deployment) = deployment {
        let claim = applied.claims.iter().find(|claim| claim.child.name == service.claim_name());
        let (holds, reason, message) = stage(service, deployment, claim.map(AsRef::as_ref), &observed.pods);
        Desired::new(condition_type, holds, reason, message)
    } else {
        Desired::new(condition_type, false, PENDING, "Its Deployment is not there yet")
    };
    ServiceOutcome {
        name,
        condition,
        ready: deployment.map_or(0, |deployment| deployment.ready),
        replicas: deployment.map_or(0, |deployment| deployment.replicas),
        url: service.url.clone(),
    }
}

/// Whether a service serves, why, and what there is to say.
fn stage(
    service: &ValidatedService,
    deployment: &DeploymentState,
    claim: Option<&ClaimState>,
    pods: &[Arc<PodState>],
) -> (bool, &'static str, String) {
    let problem = problem(service, deployment, claim, pods);
    if deployment.child.deleting {
        return (false, PENDING, "Its Deployment is being deleted, and is made anew then".to_owned());
    }
    if deployment.replicas == 0 {
        return (false, "ScaledToZero", "It has no pods, since its `workload.replicas` is 0".to_owned());
    }
    if deployment.is_rolled_out() {
        return (true, AVAILABLE, "All of its pods serve".to_owned());
    }
    if deployment.is_observed && deployment.is_stalled {
        let problem = problem.unwrap_or_else(|| "see its pods".to_owned());
        return (false, "RolloutFailed", format!("Its pods did not become ready in time: {problem}"));
    }
    if deployment.available > 0 {
        let message = match problem {
            Some(problem) => format!("It serves, but not all of its pods do: {problem}"),
            None => "It serves, and its pods are being replaced or added".to_owned(),
        };
        return (true, "Updating", message);
    }
    (false, PENDING, problem.unwrap_or_else(|| NOT_READY.to_owned()))
}

/// What keeps the pods of a service from serving, if that is known.
fn problem(
    service: &ValidatedService,
    deployment: &DeploymentState,
    claim: Option<&ClaimState>,
    pods: &[Arc<PodState>],
) -> Option<String> {
    let claim = claim.filter(|_| service.storage.claim.is_some());
    let name = service.claim_name();
    if claim.is_some_and(|claim| claim.phase == "Pending" && claim.storage_class.is_none()) {
        return Some(format!(
            "PersistentVolumeClaim `{name}` has no storage class: make one the default of the cluster, or give `storageClassName` in the specification"
        ));
    }
    let by_pod = || {
        pods.iter()
            .filter(|pod| pod.service == service.definition.name && !pod.deleting)
            .filter_map(|pod| Some((pod.created_at, &pod.name, of_pod(pod)?)))
            .max()
            .map(|(_, _, problem)| problem)
    };
    let by_deployment =
        || deployment.refusal.as_ref().map(|refusal| format!("Its pods cannot be created: {refusal}"));
    let by_claim = || match claim?.phase.as_str() {
        "Bound" => None,
        "Lost" => Some(format!("The volume of PersistentVolumeClaim `{name}` is lost")),
        _ => Some(format!("PersistentVolumeClaim `{name}` has no volume yet")),
    };
    by_pod().or_else(by_deployment).or_else(by_claim)
}

fn of_pod(pod: &PodState) -> Option<String> {
    if let Some(crash) = &pod.crash {
        return Some(of_crash(crash));
    }
    match &pod.waiting {
        Some((reason, message)) if is_telling(reason) => {
            let colon = if message.is_empty() { "" } else { ": " };
            Some(format!("The pod does not run yet: {reason}{colon}{message}"))
        }
        _ => None,
    }
}

fn of_crash(crash: &Crash) -> String {
    if crash.reason == "OOMKilled" {
        return "The pod was killed because it used all of its memory: raise its `workload.resources.limits.memory`"
            .to_owned();
    }
    let colon = if crash.message.is_empty() { "" } else { ": " };
    format!("The pod ended with exit code {} ({}){colon}{}", crash.exit_code, crash.reason, crash.message)
}
