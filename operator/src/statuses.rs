//! Writing a status.

use std::fmt::Debug;

use kube::api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::Serialize;
use serde_json::json;

use crate::context::{Context, WrittenStatuses};
use crate::labels;
use crate::metrics::ApiWrite;

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
        // Deleted in the meantime, or replaced.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => return Ok(false),
        Err(error) => return Err(error),
    };
    written.remember(
        metadata.uid.as_deref().unwrap_or_default(),
        patched.metadata.resource_version.as_deref(),
        status.clone(),
    );
    Ok(true)
}
