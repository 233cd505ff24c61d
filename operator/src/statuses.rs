//! Writing a status.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::core::{NamespaceResourceScope, PartialObjectMetaExt};
use kube::runtime::events::EventType;
use kube::{Api, Resource};
use serde::Serialize;
use serde_json::{Value, json};

use crate::conditions::{self, Desired};
use crate::context::{Context, WrittenStatuses};
use crate::labels;
use crate::metrics::ApiWrite;

/// Reason of an object that cannot be read.
const UNREADABLE: &str = "Unreadable";

/// Writes the status of an object of the kind `K`, and remembers it in
/// `written`. False if the object is gone: there is nothing to write to.
///
/// # Errors
/// Those of the API server.
pub async fn apply<K, S>(
    metadata: &ObjectMeta,
    status: &S,
    written: &WrittenStatuses<S>,
    context: &Context,
) -> Result<bool, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + 'static,
    S: Serialize + Clone + Default,
{
    let name = metadata.name.as_deref().unwrap_or_default();
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let objects: Api<PartialObjectMeta<K>> = Api::namespaced(context.client.clone(), namespace);
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // The uid makes this a status of this object and of no successor.
        "metadata": { "name": name, "uid": metadata.uid },
        "status": status,
    });
    context.metrics.wrote(ApiWrite::ApplyStatus);
    let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
    let patched = match objects.patch_status(name, &parameters, &Patch::Apply(&body)).await {
        Ok(patched) => patched,
        // Deleted in the meantime.
        Err(kube::Error::Api(answer)) if answer.code == 404 => return Ok(false),
        Err(error) => return Err(error),
    };
    written.remember(
        metadata.uid.as_deref().unwrap_or_default(),
        patched.metadata.resource_version.as_deref(),
        status.clone(),
    );
    Ok(true)
}

/// Why an object is not told that it cannot be read.
#[derive(Debug)]
pub enum Untold {
    /// The API server has not said what its status is.
    Read(kube::Error),
    /// The status was not written.
    Write(kube::Error),
}

/// Writes to an object of the kind `K` that cannot be read that it cannot: in
/// the conditions of these types, which do not hold. What else its status says
/// is kept; of one that has ended, all of it.
///
/// # Errors
/// Those of the API server.
pub async fn report_unreadable<K>(
    invalid: &InvalidObject,
    types: &[&'static str],
    context: &Context,
) -> Result<(), Untold>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let metadata = &invalid.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let kind = ApiResource::erase::<K>(&());
    let objects: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind);
    let Some(found) = objects.get_opt(name).await.map_err(Untold::Read)? else {
        return Ok(());
    };
    let status = &found.data["status"];
    let generation = found.metadata.generation;
    let is_told = status["conditions"].as_array().into_iter().flatten().any(|condition| {
        condition["reason"] == UNREADABLE && condition["observedGeneration"].as_i64() == generation
    });
    if is_told || !status["completionTime"].is_null() || found.metadata.uid != metadata.uid {
        return Ok(());
    }
    let message = format!("The object cannot be read: {}", invalid.error);
    let body = json!({
        "metadata": { "resourceVersion": found.metadata.resource_version },
        "status": {
            "conditions": unreadable(&status["conditions"], types, &message, generation, Timestamp::now()),
            "observedGeneration": generation,
        },
    });
    context.metrics.wrote(ApiWrite::ApplyStatus);
    let parameters =
        PatchParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    objects.patch_status(name, &parameters, &Patch::Merge(&body)).await.map_err(Untold::Write)?;
    let object: PartialObjectMeta<K> = metadata.clone().into_response_partial();
    context.publish(&object, EventType::Warning, UNREADABLE, "Reconcile", &message).await;
    Ok(())
}

/// The conditions of an object that cannot be read: a merge patch replaces all
/// of them, so that those that it has and that say something else are repeated.
fn unreadable(
    found: &Value,
    types: &[&'static str],
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let found: Vec<Condition> = serde_json::from_value(found.clone()).unwrap_or_default();
    let desired =
        types.iter().map(|&condition_type| Desired::new(condition_type, false, UNREADABLE, message));
    conditions::replaced(&found, desired.collect(), generation, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_said_of_an_object_that_cannot_be_read_is_kept() {
        let condition = |condition_type: &str| json!({ "type": condition_type, "status": "True", "reason": "Available", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let found = json!([condition("Accepted"), condition("AnalysisBaseReady"), condition("Ready")]);
        let of = |found: &Value| -> Vec<(String, String)> {
            unreadable(found, &["Accepted", "Ready"], "m", Some(2), Timestamp::UNIX_EPOCH)
                .into_iter()
                .map(|condition| (condition.type_, condition.reason))
                .collect()
        };
        let told = |expected: &[(&str, &str)]| -> Vec<(String, String)> {
            expected.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
        };
        let unreadable = [("Accepted", UNREADABLE), ("Ready", UNREADABLE)];
        assert_eq!(of(&found), told(&[unreadable[0], ("AnalysisBaseReady", "Available"), unreadable[1]]));
        assert_eq!(of(&Value::Null), told(&unreadable));
    }
}
