//! From what became of a Platform to its status, and writing it: only if it
//! differs from the one that is there.

use crds::platform::{PlatformStatus, ServiceStatus};
use crds::{Platform, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::events::EventType;

use super::dereference::admin_key_name;
use super::outcome::{Outcome, PENDING, SECRET_UNREADABLE, SUSPENDED};
use super::{Error, Rejection};
use crate::conditions::{self, Desired, find};
use crate::context::Context;
use crate::errors::chain;
use crate::statuses::{self, Untold};

/// The status as it is, own writes included that the watch has not told of.
#[must_use]
pub fn current(platform: &Platform, context: &Context) -> PlatformStatus {
    let mut status = context.platforms.statuses.newest(
        &platform.uid().unwrap_or_default(),
        platform.metadata.resource_version.as_deref(),
        platform.status.as_ref(),
    );
    // Their order is the API server's. It is no difference.
    status.conditions = sorted(status.conditions);
    status
}

fn sorted(mut conditions: Vec<Condition>) -> Vec<Condition> {
    conditions.sort_by(|one, other| one.type_.cmp(&other.type_));
    conditions
}

/// Writes what became of a Platform, and tells of what happened by events.
///
/// # Errors
/// Those of the API server.
pub async fn report_outcome(
    platform: &Platform,
    current: &PlatformStatus,
    outcome: &Outcome,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let status = from_outcome(platform, current, outcome, now);
    if write(platform, current, &status, context).await? {
        for event in events(&current.conditions, &status.conditions) {
            let event_type = if event.is_good { EventType::Normal } else { EventType::Warning };
            context.publish(platform, event_type, &event.reason, "Reconcile", &event.message).await;
        }
    }
    Ok(())
}

/// The status that says what became of a Platform.
#[must_use]
pub fn from_outcome(
    platform: &Platform,
    current: &PlatformStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> PlatformStatus {
    let desired = [outcome.accepted.clone(), outcome.ready.clone()]
        .into_iter()
        .chain(outcome.services.iter().map(|service| service.condition.clone()))
        .chain(outcome.exposed.clone())
        .collect();
    let generation = platform.metadata.generation;
    // One that is suspended from the beginning has none yet.
    let admin_key_secret = if outcome.is_suspended {
        current.admin_key_secret.clone()
    } else {
        Some(admin_key_name(&platform.name_any()))
    };
    let mut conditions = conditions::merge(&current.conditions, desired, generation, now);
    // The way to the gateway stays as it is meanwhile.
    conditions
        .extend(find(&current.conditions, condition::EXPOSED).filter(|_| outcome.is_suspended).cloned());
    PlatformStatus {
        observed_generation: generation,
        conditions: sorted(conditions),
        url: Some(outcome.url.clone()),
        admin_key_secret,
        services: outcome
            .services
            .iter()
            .map(|service| ServiceStatus {
                name: service.name.to_owned(),
                ready: format!("{}/{}", service.ready, service.replicas),
                url: service.url.clone(),
            })
            .collect(),
    }
}

/// Something that happened, and that a person may want to know later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether it is as somebody wants it.
    pub is_good: bool,
    /// What happened, in one word.
    pub reason: String,
    /// What happened, in a sentence.
    pub message: String,
}

/// What happened between two statuses: the platform began to serve, or ceased
/// to, or cannot for another reason; a Secret became unreadable, or is gone.
#[must_use]
pub fn events(before: &[Condition], after: &[Condition]) -> Vec<Happening> {
    let happening = |condition: &Condition, is_good: bool| Happening {
        is_good,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    };
    let (status, reason) = find(before, condition::READY)
        .map_or(("False", PENDING), |ready| (ready.status.as_str(), ready.reason.as_str()));
    let ready = find(after, condition::READY).filter(|ready| {
        // To wait is nothing that happens.
        let is_another_obstacle =
            ready.status == "False" && ready.reason != reason && ready.reason != PENDING;
        ready.status != status || is_another_obstacle
    });
    let secret = find(after, condition::ACCEPTED).filter(|accepted| {
        let is_new = find(before, condition::ACCEPTED).is_none_or(|before| before.reason != accepted.reason);
        (accepted.reason == SECRET_UNREADABLE || accepted.status == "False") && is_new
    });
    let ready = ready.map(|ready| happening(ready, ready.status == "True" || ready.reason == SUSPENDED));
    ready.into_iter().chain(secret.map(|accepted| happening(accepted, false))).collect()
}

/// Writes that a Platform is left alone. All else that its status says is kept.
///
/// # Errors
/// Those of the API server.
pub async fn report_paused(
    platform: &Platform,
    current: &PlatformStatus,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let status = PlatformStatus {
        conditions: replaced(current, vec![Desired::paused()], platform.metadata.generation, now),
        ..current.clone()
    };
    write(platform, current, &status, context).await.map(drop)
}

/// Writes that a Platform is not accepted. What runs goes on running.
///
/// # Errors
/// Those of the API server.
pub async fn report_rejection(
    platform: &Platform,
    current: &PlatformStatus,
    rejection: &Rejection,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let (reason, message) = (rejection.reason(), rejection.to_string());
    let desired = [condition::ACCEPTED, condition::READY]
        .map(|condition_type| Desired::new(condition_type, false, reason, &message));
    report_obstacle(platform, current, desired.into(), now, context).await
}

/// Writes what keeps a Platform from getting on.
///
/// # Errors
/// Those of the API server.
pub async fn report_error(
    platform: &Platform,
    current: &PlatformStatus,
    error: &Error,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let message = format!("This failed several times and is tried again: {}", chain(error));
    let ready = Desired::new(condition::READY, false, error.reason(), &message);
    report_obstacle(platform, current, vec![ready], now, context).await
}

/// Writes conditions that say what is in the way; the last of them is told by
/// an event, too.
async fn report_obstacle(
    platform: &Platform,
    current: &PlatformStatus,
    desired: Vec<Desired>,
    now: Timestamp,
    context: &Context,
) -> Result<(), Error> {
    let generation = platform.metadata.generation;
    let event = desired.last().cloned();
    let mut conditions = replaced(current, desired, generation, now);
    conditions.retain(|condition| condition.type_ != condition::RECONCILING);
    let status = PlatformStatus { observed_generation: generation, conditions, ..current.clone() };
    if write(platform, current, &status, context).await?
        && let Some(Desired { reason, message, .. }) = event
    {
        context.publish(platform, EventType::Warning, &reason, "Reconcile", &message).await;
    }
    Ok(())
}

/// The conditions of a status with some of them replaced.
fn replaced(
    current: &PlatformStatus,
    desired: Vec<Desired>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    sorted(conditions::replaced(&current.conditions, desired, generation, now))
}

/// Writes to a Platform that cannot be read that it cannot: it came in past the
/// checks of its CRD, or from another version of it. What runs goes on running.
///
/// # Errors
/// Those of the API server.
pub async fn report_unreadable(invalid: &InvalidObject, context: &Context) -> Result<(), Error> {
    let types = [condition::ACCEPTED, condition::READY];
    let told = statuses::report_unreadable::<Platform>(invalid, &types, context).await;
    told.map_err(|untold| match untold {
        Untold::Read(source) => {
            let name = invalid.metadata.name.clone().unwrap_or_default();
            Error::ReadReference { kind: "Platform", name, source }
        }
        Untold::Write(source) => Error::ApplyStatus(source),
    })
}

/// Writes a status if it differs. Returns whether it did.
async fn write(
    platform: &Platform,
    current: &PlatformStatus,
    status: &PlatformStatus,
    context: &Context,
) -> Result<bool, Error> {
    if current == status {
        return Ok(false);
    }
    let known = &context.platforms.statuses;
    let written = statuses::apply::<Platform, _>(&platform.metadata, status, known, context);
    written.await.map_err(Error::ApplyStatus)
}
