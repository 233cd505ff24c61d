//! Reads, and nothing but reads: the objects, most of which are known from
//! watches, and what the specification refers to.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::Platform;
use crds::platform::configuration::paths;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ObjectMeta};
use kube::{Api, ResourceExt};

use super::Error;
use super::children::{ChildKind, ChildState, ClaimState, DeploymentState, Known, PodState};
use super::issuer::Issuer;
use crate::children::Owner;
use crate::context::Context;
use crate::digest::digest;
use crate::labels;

/// Keys of a Secret with the credentials of an S3-compatible store, and
/// whether they must be there.
const OBJECTS_KEYS: [(&str, bool); 3] =
    [("AWS_ACCESS_KEY_ID", true), ("AWS_SECRET_ACCESS_KEY", true), ("AWS_SESSION_TOKEN", false)];
/// Keys of a Secret with credentials of NATS. None must be there by itself.
const QUEUE_KEYS: [(&str, bool); 5] =
    [("credentials", false), ("username", false), ("password", false), ("token", false), ("ca.crt", false)];

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The objects that there are.
    pub children: Vec<Known>,
    /// What more is known of the Deployments among them.
    pub deployments: Vec<Arc<DeploymentState>>,
    /// What more is known of the claims among them.
    pub claims: Vec<Arc<ClaimState>>,
    /// The pods.
    pub pods: Vec<Arc<PodState>>,
    /// What else the services need. Not read while the Platform is suspended:
    /// it stops whatever is missing or cannot be read.
    pub references: References,
}

impl Observed {
    /// The object of a kind and name.
    #[must_use]
    pub fn child(&self, kind: ChildKind, name: &str) -> Option<&ChildState> {
        self.children
            .iter()
            .find(|known| known.kind == kind && known.state.name == name)
            .map(|known| &known.state)
    }

    /// The Deployment of a name.
    #[must_use]
    pub fn deployment(&self, name: &str) -> Option<&Arc<DeploymentState>> {
        self.deployments.iter().find(|deployment| deployment.child.name == name)
    }

    /// The claim of a name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Arc<ClaimState>> {
        self.claims.iter().find(|claim| claim.child.name == name)
    }
}

/// What the services need beside the objects that are made for them.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Something of a deleted Platform of the same name is still there, and
    /// will be collected in a moment.
    pub predecessor: bool,
    /// Whether the Secret with the administrator's key is there.
    pub admin_key: AdminKey,
    /// The Secret with the address of the database, if there is to be one.
    pub database_secret: Option<SecretState>,
    /// The Secret with the credentials of the store, if there is to be one.
    pub objects_secret: Option<SecretState>,
    /// The Secret with the credentials of NATS, if there is to be one.
    pub queue_secret: Option<SecretState>,
    /// Who signs the tokens that services show to one another.
    pub issuer: Option<Arc<Issuer>>,
    /// Whether the cluster has no HTTPRoutes.
    pub lacks_http_routes: bool,
}

/// What there is of the Secret with the administrator's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminKey {
    /// It does not exist.
    #[default]
    Missing,
    /// It has the key.
    Present,
    /// It exists and has no key of the name.
    WithoutKey,
}

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// A digest of the keys that are read.
    Read(String),
    /// It does not exist.
    Missing,
    /// It has no key of this name.
    KeyMissing(String),
    /// It cannot be read at the moment, for the reason given.
    Unreadable(String),
}

/// Whom an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The Platform.
    Own,
    /// A deleted Platform of the same name.
    Predecessor,
    /// Somebody else.
    Stranger,
}

/// Name of the Secret with the first administrator's key.
#[must_use]
pub fn admin_key_name(platform: &str) -> String {
    format!("{platform}-admin-key")
}

/// Reads what a reconcile needs.
///
/// # Errors
/// Those of the API server.
pub async fn dereference(platform: &Platform, context: &Context) -> Result<Observed, Error> {
    let owner = Owner { namespace: platform.namespace().unwrap_or_default(), name: platform.name_any() };
    let uid = platform.uid().unwrap_or_default();
    let children = &context.platforms.children;
    let (own, others): (Vec<Known>, Vec<Known>) =
        children.of(&owner).into_iter().partition(|known| known.state.belongs_to(&uid));
    let mut observed = Observed {
        children: own,
        deployments: children.deployments.of(&owner),
        claims: children.claims.of(&owner),
        pods: children.pods.of(&owner),
        references: References::default(),
    };
    observed.deployments.retain(|deployment| deployment.child.belongs_to(&uid));
    observed.claims.retain(|claim| claim.child.belongs_to(&uid));
    if platform.spec.suspend {
        return Ok(observed);
    }
    let reader = Reader { platform, context, namespace: &owner.namespace };
    observed.references = reader.references().await?;
    observed.references.predecessor |= others.iter().any(|known| known.state.is_of_predecessor(&uid));
    match reader.http_route().await? {
        HttpRoutes::Own(state) => observed.children.push(Known { kind: ChildKind::HttpRoute, state }),
        HttpRoutes::NotOurs => {}
        HttpRoutes::Unknown => observed.references.lacks_http_routes = true,
    }
    Ok(observed)
}

/// Finds out who has the name that an object would get; `None` if nobody has.
///
/// # Errors
/// Those of the API server.
pub async fn read_holder(
    kind: ChildKind,
    name: &str,
    platform: &Platform,
    context: &Context,
) -> Result<Option<(Holder, ObjectMeta)>, Error> {
    let objects: Api<DynamicObject> = Api::namespaced_with(
        context.client.clone(),
        &platform.namespace().unwrap_or_default(),
        &kind.resource(),
    );
    let found = objects.get_metadata_opt(name).await.map_err(|source| Error::ReadReference {
        kind: kind.as_str(),
        name: name.to_owned(),
        source,
    })?;
    Ok(found.map(|object| (holder(&object.metadata, platform), object.metadata)))
}

fn holder(metadata: &ObjectMeta, platform: &Platform) -> Holder {
    let controller = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let name = platform.name_any();
    match controller {
        Some(controller) if Some(&controller.uid) == platform.metadata.uid.as_ref() => Holder::Own,
        Some(controller) if controller.kind == "Platform" && controller.name == name => Holder::Predecessor,
        Some(_) => Holder::Stranger,
        // It was left behind by a Platform that was deleted alone.
        None if metadata.labels.as_ref().and_then(|labels| labels.get(labels::PLATFORM)) == Some(&name) => {
            Holder::Own
        }
        None => Holder::Stranger,
    }
}

enum HttpRoutes {
    /// There is one, and it is the Platform's.
    Own(ChildState),
    /// There is none of the name, or one of somebody else.
    NotOurs,
    /// The cluster does not know what an HTTPRoute is.
    Unknown,
}

type SecretData = BTreeMap<String, ByteString>;

fn state_of(data: &SecretData, keys: &[(&str, bool)]) -> SecretState {
    if let Some((key, _)) = keys.iter().find(|(key, is_needed)| *is_needed && !data.contains_key(*key)) {
        return SecretState::KeyMissing((*key).to_owned());
    }
    let values =
        keys.iter().map(|(key, _)| data.get(*key).map(|value| value.0.as_slice()).unwrap_or_default());
    SecretState::Read(digest(values))
}

/// What a Secret with credentials of NATS lacks. More than one kind of them is
/// no fault: the service takes the first.
fn missing_queue_key(data: &SecretData) -> Option<&'static str> {
    let has = |key: &str| data.contains_key(key);
    match (has("username"), has("password")) {
        _ if has("credentials") => None,
        (true, false) => Some("password"),
        (false, true) => Some("username"),
        (true, true) => None,
        _ if has("token") || has("ca.crt") => None,
        // As a part of a sentence, between backticks.
        _ => Some("credentials`, `username`, `token` or `ca.crt"),
    }
}

struct Reader<'a> {
    platform: &'a Platform,
    context: &'a Context,
    namespace: &'a str,
}

impl Reader<'_> {
    async fn references(&self) -> Result<References, Error> {
        let spec = &self.platform.spec;
        let database = spec.database.as_ref().and_then(|database| database.postgresql.as_ref());
        let database_secret = match database {
            Some(database) => {
                Some(self.secret(&database.secret.name, &[(database.secret.key.as_str(), true)]).await)
            }
            None => None,
        };
        let objects_secret = match spec.storage.as_ref().and_then(|storage| storage.s3.as_ref()) {
            Some(s3) => Some(self.secret(&s3.secret.name, &OBJECTS_KEYS).await),
            None => None,
        };
        let queue = spec.queue.as_ref().and_then(|queue| queue.nats_jet_stream.as_ref()?.secret.as_ref());
        let queue_secret = match queue {
            Some(secret) => Some(self.queue_secret(&secret.name).await),
            None => None,
        };
        let admin_key = self.admin_key().await?;
        let issuer =
            self.context.platforms.issuer.get(&self.context.client).await.map_err(Error::ReadIssuer)?;
        Ok(References {
            predecessor: admin_key.is_some_and(|(holder, _)| holder == Holder::Predecessor),
            // One that somebody made before is taken as it is.
            admin_key: admin_key.map_or(AdminKey::Missing, |(_, found)| found),
            database_secret,
            objects_secret,
            queue_secret,
            issuer: Some(issuer),
            lacks_http_routes: false,
        })
    }

    /// Whose the Secret with the administrator's key is, and what is in it.
    async fn admin_key(&self) -> Result<Option<(Holder, AdminKey)>, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), self.namespace);
        let name = admin_key_name(&self.platform.name_any());
        let found = secrets.get_opt(&name).await;
        let found = found.map_err(|source| Error::ReadReference { kind: "Secret", name, source })?;
        Ok(found.map(|secret| {
            let has_key = secret.data.is_some_and(|data| data.contains_key(paths::ADMIN_KEY_FILE));
            let found = if has_key { AdminKey::Present } else { AdminKey::WithoutKey };
            (holder(&secret.metadata, self.platform), found)
        }))
    }

    /// Reads a Secret that pods mount. That it cannot be read is told, and does
    /// not keep everything else from being done.
    async fn secret(&self, name: &str, keys: &[(&str, bool)]) -> SecretState {
        match self.secret_data(name).await {
            Ok(data) => state_of(&data, keys),
            Err(state) => state,
        }
    }

    /// Reads the Secret with the credentials of NATS, of which there are several
    /// kinds.
    async fn queue_secret(&self, name: &str) -> SecretState {
        match self.secret_data(name).await {
            Ok(data) => match missing_queue_key(&data) {
                Some(key) => SecretState::KeyMissing(key.to_owned()),
                None => state_of(&data, &QUEUE_KEYS),
            },
            Err(state) => state,
        }
    }

    async fn secret_data(&self, name: &str) -> Result<SecretData, SecretState> {
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), self.namespace);
        match secrets.get_opt(name).await {
            Ok(Some(secret)) => Ok(secret.data.unwrap_or_default()),
            Ok(None) => Err(SecretState::Missing),
            Err(error) => {
                tracing::warn!(%error, namespace = self.namespace, secret = name, "A Secret cannot be read. The pods keep what they have.");
                Err(SecretState::Unreadable(match error {
                    kube::Error::Api(status) => status.message,
                    _ => "the API server did not answer".to_owned(),
                }))
            }
        }
    }

    async fn http_route(&self) -> Result<HttpRoutes, Error> {
        let kind = ChildKind::HttpRoute;
        let name = self.platform.name_any();
        let routes: Api<DynamicObject> =
            Api::namespaced_with(self.context.client.clone(), self.namespace, &kind.resource());
        match routes.get_metadata(&name).await {
            Ok(found) if holder(&found.metadata, self.platform) == Holder::Own => {
                Ok(ChildState::read(&found.metadata)
                    .map_or(HttpRoutes::NotOurs, |(_, state)| HttpRoutes::Own(state)))
            }
            Ok(_) => Ok(HttpRoutes::NotOurs),
            // Only of a kind that it knows does the API server say which object
            // it is that it does not have.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(match status.details {
                Some(details) if details.name == name => HttpRoutes::NotOurs,
                _ => HttpRoutes::Unknown,
            }),
            // Where none is asked for, a broken Gateway API is not in the way.
            Err(_) if !self.asks_for_http_route() => Ok(HttpRoutes::NotOurs),
            Err(source) => Err(Error::ReadReference { kind: kind.as_str(), name, source }),
        }
    }

    fn asks_for_http_route(&self) -> bool {
        self.platform.spec.exposure.as_ref().is_some_and(|exposure| exposure.http_route.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_for_nats_has_one_of_several_kinds_of_credentials() {
        let missing = |keys: &[&str]| {
            let data = keys.iter().map(|key| ((*key).to_owned(), ByteString::default())).collect();
            missing_queue_key(&data)
        };
        for good in
            [&["credentials"][..], &["username", "password"], &["token"], &["ca.crt"], &["ca.crt", "token"]]
        {
            assert_eq!(missing(good), None, "{good:?}");
        }
        assert_eq!(missing(&["username"]), Some("password"));
        assert_eq!(missing(&["password", "ca.crt"]), Some("username"));
        assert!(missing(&["other"]).is_some_and(|keys| keys.contains("credentials")));
    }

    #[test]
    fn a_change_of_what_nobody_reads_changes_no_digest() {
        let data = |key: &str| BTreeMap::from([(key.to_owned(), ByteString(b"a".to_vec()))]);
        assert_eq!(state_of(&data("other"), &QUEUE_KEYS), state_of(&BTreeMap::new(), &QUEUE_KEYS));
        assert_ne!(state_of(&data("token"), &QUEUE_KEYS), state_of(&data("username"), &QUEUE_KEYS));
    }
}
