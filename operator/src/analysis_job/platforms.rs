//! The Platforms of a namespace, as far as an AnalysisJob with data sets has to
//! know them, and which of them it means. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Platform;
use crds::analysis::{AnalysisSpecification, PlatformAccess};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use serde::Deserialize;

use super::Rejection;
use crate::children::{Child, Owner};
use crate::conditions::find;
use crate::names::LabelName;
use crate::platform::services::{ANALYSIS_BASE, SERVICES, deployment_name, service_url};

/// A Platform, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Platform)]
pub struct WatchedPlatform {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WatchedSpec,
    #[serde(default)]
    status: WatchedStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedSpec {
    services: Vec<WatchedService>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedService {
    name: String,
    enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedStatus {
    conditions: Vec<Condition>,
}

/// What is known of a Platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformState {
    /// Its name.
    pub name: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether analysis-base is to run.
    pub has_analysis_base: bool,
    /// Why analysis-base does not serve; `None` if it does.
    pub obstacle: Option<String>,
}

impl Child for PlatformState {
    // One that cannot be read does not stop the others.
    type Watched = DeserializeGuard<WatchedPlatform>;

    /// All Platforms of a namespace belong together. One that cannot be read is
    /// one that has not been started.
    fn observe(platform: Self::Watched) -> Option<(Owner, Self)> {
        let WatchedPlatform { metadata, spec, status } = platform.0.unwrap_or_else(|invalid| {
            let (spec, status) = (WatchedSpec::default(), WatchedStatus::default());
            WatchedPlatform { metadata: invalid.metadata, spec, status }
        });
        let owner = of_namespace(metadata.namespace.as_deref()?);
        let is_disabled = spec
            .services
            .iter()
            .any(|service| service.name == ANALYSIS_BASE && service.enabled == Some(false));
        let state = Self {
            name: metadata.name?,
            deleting: metadata.deletion_timestamp.is_some(),
            has_analysis_base: !is_disabled,
            obstacle: obstacle(&status.conditions),
        };
        Some((owner, state))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// What the Platforms of a namespace are kept under.
#[must_use]
pub fn of_namespace(namespace: &str) -> Owner {
    Owner { namespace: namespace.to_owned(), name: String::new() }
}

fn obstacle(conditions: &[Condition]) -> Option<String> {
    let condition_type =
        SERVICES.iter().find(|service| service.name == ANALYSIS_BASE).map_or("", |service| service.condition);
    match find(conditions, condition_type) {
        Some(condition) if condition.status == "True" => None,
        Some(condition) => Some(condition.message.clone()),
        None => Some("it has not been started yet".to_owned()),
    }
}

/// Finds the Platforms of the data sets of a specification, and says of each in
/// the specification which it is and how it is reached.
///
/// # Errors
/// If there is none, it is not clear which is meant, or it does not serve.
pub fn resolve(
    specification: &mut AnalysisSpecification,
    namespace: &LabelName,
    platforms: &[Arc<PlatformState>],
) -> Result<(), Rejection> {
    let mut access = BTreeMap::new();
    for platform in specification.dataset_platforms_mut() {
        let meant = serving(platform.as_deref(), platforms)?;
        let deployment = deployment_name(&meant.name, ANALYSIS_BASE);
        let url = service_url(&deployment, namespace.as_str());
        access.insert(meant.name.clone(), PlatformAccess { url });
        *platform = Some(meant.name.clone());
    }
    specification.platforms = access;
    Ok(())
}

/// The Platform of this name, or the only one, if its data sets can be used.
fn serving<'a>(
    name: Option<&str>,
    platforms: &'a [Arc<PlatformState>],
) -> Result<&'a PlatformState, Rejection> {
    let there: Vec<&'a PlatformState> =
        platforms.iter().map(AsRef::as_ref).filter(|platform: &&PlatformState| !platform.deleting).collect();
    let meant = match (name, there.as_slice()) {
        (Some(name), there) => there
            .iter()
            .copied()
            .find(|platform| platform.name == name)
            .ok_or_else(|| Rejection::PlatformNotFound(Some(name.to_owned())))?,
        (None, []) => return Err(Rejection::PlatformNotFound(None)),
        (None, [only]) => *only,
        (None, several) => {
            let mut names: Vec<String> = several.iter().map(|platform| platform.name.clone()).collect();
            names.sort_unstable();
            return Err(Rejection::PlatformAmbiguous(names));
        }
    };
    if !meant.has_analysis_base {
        return Err(Rejection::AnalysisBaseDisabled(meant.name.clone()));
    }
    match &meant.obstacle {
        Some(obstacle) => {
            Err(Rejection::PlatformNotReady { name: meant.name.clone(), obstacle: obstacle.clone() })
        }
        None => Ok(meant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn observe(spec: &Value, conditions: &Value) -> PlatformState {
        let platform = json!({
            "metadata": { "name": "platform", "namespace": "demo" },
            "spec": spec, "status": { "conditions": conditions },
        });
        let (owner, state) = PlatformState::observe(serde_json::from_value(platform).unwrap()).unwrap();
        assert_eq!(owner, of_namespace("demo"));
        state
    }

    fn condition(status: &str) -> Value {
        json!([{
            "type": "AnalysisBaseReady", "status": status, "reason": "Some", "message": "Its pod starts",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }])
    }

    #[test]
    fn a_platform_serves_when_its_analysis_base_does() {
        assert_eq!(observe(&json!({}), &condition("True")).obstacle, None);
        let waiting = observe(&json!({}), &condition("False"));
        assert_eq!(waiting.obstacle.as_deref(), Some("Its pod starts"));
        assert!(observe(&json!({}), &json!([])).obstacle.is_some());
    }

    #[test]
    fn a_service_that_is_not_listed_runs() {
        let enabled =
            |services: Value| observe(&json!({ "services": services }), &condition("True")).has_analysis_base;
        assert!(enabled(json!([])));
        assert!(enabled(json!([{ "name": "analysis-base" }])));
        assert!(enabled(json!([{ "name": "monolith", "enabled": false }])));
        assert!(!enabled(json!([{ "name": "analysis-base", "enabled": false }])));
    }

    #[test]
    fn one_that_cannot_be_read_does_not_serve() {
        // A service of a later version is no obstacle.
        let later = json!({ "services": [{ "name": "of a later version", "autoscaling": 3 }] });
        assert_eq!(observe(&later, &condition("True")).obstacle, None);
        let unreadable = observe(&json!({ "services": 3 }), &condition("True"));
        assert_eq!(unreadable.name, "platform");
        assert!(unreadable.obstacle.is_some());
    }
}
