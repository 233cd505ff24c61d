//! Writes the objects, those that differ from what they should be. The only
//! writes beside the status.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crds::Platform;
use crds::platform::configuration::paths;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::EventType;
use serde_json::json;

use super::build::{Object, Prepared};
use super::children::{ChildKind, ClaimState, DeploymentState, Known};
use super::dereference::{Holder, Observed, read_holder};
use super::{Error, Rejection};
use crate::children::Owner;
use crate::context::Context;
use crate::errors;
use crate::labels;
use crate::metrics::ApiWrite;

/// The objects as they are after the writes.
#[derive(Debug, Default)]
pub struct Applied {
    /// The Deployments.
    pub deployments: Vec<Arc<DeploymentState>>,
    /// The claims.
    pub claims: Vec<Arc<ClaimState>>,
    /// What the API server refused. The rest was written all the same.
    pub refused: Vec<Error>,
}

/// Whether the objects could be brought in line.
#[derive(Debug)]
pub enum Application {
    /// They are in line, as far as the API server let them.
    Applied(Applied),
    /// A name is taken. Nothing was written.
    NameTaken(Rejection),
    /// A name is held by an object of a deleted Platform of the same name,
    /// which will be collected in a moment. Nothing was written.
    PredecessorRemains,
}

/// Brings the objects in line.
///
/// # Errors
/// Those of the API server, unless it refuses one write and may do others.
pub async fn apply(
    prepared: &Prepared,
    platform: &Platform,
    observed: &Observed,
    context: &Context,
) -> Result<Application, Error> {
    let mut applier = Applier { platform, prepared, context, refused: Vec::new() };
    let uids = match applier.uids(observed).await? {
        Ok(uids) => uids,
        Err(end) => return Ok(end),
    };
    if let Some(secret) = &prepared.admin_key {
        let created = applier.create_admin_key(secret).await;
        applier.unless_refused(created)?;
    }
    for (object, uid) in prepared.objects.iter().zip(uids) {
        let written = applier.write(object, uid, observed).await;
        applier.unless_refused(written)?;
    }
    for known in &observed.children {
        let deleted = applier.remove(known).await;
        applier.unless_refused(deleted)?;
    }
    let refused = applier.refused;
    let owner = owner(prepared);
    let children = &context.platforms.children;
    let mut applied =
        Applied { deployments: children.deployments.of(&owner), claims: children.claims.of(&owner), refused };
    applied.deployments.retain(|deployment| deployment.child.belongs_to(&prepared.validated.uid));
    applied.claims.retain(|claim| claim.child.belongs_to(&prepared.validated.uid));
    Ok(Application::Applied(applied))
}

struct Applier<'a> {
    platform: &'a Platform,
    prepared: &'a Prepared,
    context: &'a Context,
    refused: Vec<Error>,
}

impl Applier<'_> {
    /// The uid of each object that is there. What no watch has told of is
    /// looked for: an object of somebody else is not to be taken over.
    async fn uids(&self, observed: &Observed) -> Result<Result<Vec<Option<String>>, Application>, Error> {
        let mut uids = Vec::with_capacity(self.prepared.objects.len());
        for object in &self.prepared.objects {
            if let Some(child) = observed.child(object.kind, &object.name) {
                uids.push(Some(child.uid.clone()));
                continue;
            }
            match read_holder(object.kind, &object.name, self.platform, self.context).await? {
                None => uids.push(None),
                Some((Holder::Own, metadata)) => uids.push(metadata.uid),
                Some((Holder::Predecessor, _)) => return Ok(Err(Application::PredecessorRemains)),
                Some((Holder::Stranger, _)) => {
                    let rejection = Rejection::NameTaken { kind: object.kind, name: object.name.clone() };
                    return Ok(Err(Application::NameTaken(rejection)));
                }
            }
        }
        Ok(Ok(uids))
    }

    /// A write that is refused does not keep others from being done: a claim
    /// that cannot grow is no reason to keep an old image.
    fn unless_refused(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(error) if error.refusal().is_some() => {
                self.refused.push(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Writes an object, if it is not known to be as it should be.
    async fn write(&self, object: &Object, uid: Option<String>, observed: &Observed) -> Result<(), Error> {
        let platforms = &self.context.platforms;
        let platform_uid = &self.prepared.validated.uid;
        let content = content_digest(object);
        if let Some(child) = observed.child(object.kind, &object.name) {
            // What is being deleted is made anew when it is gone.
            if child.deleting || platforms.written.is_in_line(platform_uid, object.kind, content, child) {
                return Ok(());
            }
        }
        let mut body = object.content.clone();
        if let Some(uid) = uid {
            // The write is about this object, and no other of its name.
            body["metadata"]["uid"] = uid.into();
        }
        self.context.metrics.wrote(ApiWrite::ApplyPlatformObject);
        let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
        let written = self.api(object.kind).patch(&object.name, &parameters, &Patch::Apply(&body)).await;
        let written = match written {
            // What is refused of the pods is no reason to let them run on.
            Err(error) if self.prepared.validated.is_suspended && errors::refusal(&error).is_some() => {
                self.stop(object, &body).await
            }
            other => other,
        };
        let written = written.map_err(|source| Error::Apply {
            kind: object.kind,
            name: object.name.clone(),
            source,
        })?;
        if let Some(state) = platforms.children.insert(object.kind, written) {
            platforms.written.remember(platform_uid, object.kind, content, &state);
        }
        Ok(())
    }

    /// Takes the pods of a Deployment away, and changes nothing else of it.
    async fn stop(&self, object: &Object, body: &serde_json::Value) -> Result<DynamicObject, kube::Error> {
        self.context.metrics.wrote(ApiWrite::ApplyPlatformObject);
        let parameters =
            PatchParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let none = json!({ "metadata": { "uid": body["metadata"]["uid"] }, "spec": { "replicas": 0 } });
        self.api(object.kind).patch(&object.name, &parameters, &Patch::Merge(&none)).await
    }

    fn api(&self, kind: ChildKind) -> Api<DynamicObject> {
        let namespace = self.prepared.validated.namespace.as_str();
        Api::namespaced_with(self.context.client.clone(), namespace, &kind.resource())
    }

    /// Deletes an object that should not be there any more.
    async fn remove(&self, known: &Known) -> Result<(), Error> {
        let Known { kind, state } = known;
        if state.deleting || !self.prepared.is_to_go(*kind, &state.name) {
            return Ok(());
        }
        let preconditions = Preconditions { uid: Some(state.uid.clone()), resource_version: None };
        let parameters = DeleteParams::background().preconditions(preconditions);
        self.context.metrics.wrote(ApiWrite::DeletePlatformObject);
        match self.api(*kind).delete(&state.name, &parameters).await {
            Ok(_) => Ok(()),
            // 409: another object of the name, that of the precondition is gone.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(source) => Err(Error::Delete { kind: *kind, name: state.name.clone(), source }),
        }
    }

    /// Creates the Secret with the administrator's key. A plain create: a key
    /// that is there is never replaced.
    async fn create_admin_key(&self, secret: &Secret) -> Result<(), Error> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let secret = Secret {
            string_data: Some([(paths::ADMIN_KEY_FILE.to_owned(), api_key())].into()),
            ..secret.clone()
        };
        let secrets: Api<Secret> =
            Api::namespaced(self.context.client.clone(), self.prepared.validated.namespace.as_str());
        let parameters =
            PostParams { field_manager: Some(labels::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.context.metrics.wrote(ApiWrite::CreateAdminKey);
        match secrets.create(&parameters, &secret).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
            Err(error) => return Err(Error::CreateAdminKey(error)),
        }
        let note = format!(
            "The API key of the first administrator is in Secret `{name}`, key `{}`",
            paths::ADMIN_KEY_FILE
        );
        self.context.publish(self.platform, EventType::Normal, "AdminKeyCreated", "Reconcile", &note).await;
        Ok(())
    }
}

/// A key that cannot be guessed: 32 random bytes.
fn api_key() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("aisaas_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Tells whether an object is to be another one than before.
fn content_digest(object: &Object) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.content.to_string().hash(&mut hasher);
    hasher.finish()
}

fn owner(prepared: &Prepared) -> Owner {
    Owner { namespace: prepared.validated.namespace.to_string(), name: prepared.validated.name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_that_the_gateway_expects() {
        let key = api_key();
        let random = key.strip_prefix("aisaas_").unwrap();
        assert_eq!(random.len(), 43);
        assert!(
            random.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character))
        );
        assert_ne!(key, api_key());
    }
}
