//! From a Platform and what was read to one that can be built without asking
//! again. Pure.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use crds::Platform;
use crds::platform::configuration::paths;
use crds::platform::{Autoscaling, Exposure};
use crds::workload::WorkloadSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::Rejection;
use super::children::{ChildKind, DeploymentState, MountedSecret};
use super::dereference::{AdminKey, Observed, References, SecretState, admin_key_name};
use super::issuer::Issuer;
use super::queue::{ServiceQueue, queue};
use super::services::{ServiceDefinition, deployment_name, service_url};
use super::storage::{ServiceStorage, storage};
use crate::digest::digest;
use crate::names::{LabelName, NameError};
use crate::quantity::compare;
use crate::rules::Rules;

/// Digest of Secrets that could not be read yet when their pods were made.
const NOT_READ: &str = "not read";

/// A Platform of which everything is known that its objects are made from.
#[derive(Clone, Debug)]
pub struct ValidatedPlatform {
    /// Its name, and that of the gateway's objects.
    pub name: LabelName,
    /// Its namespace.
    pub namespace: LabelName,
    /// Its uid.
    pub uid: String,
    /// What makes its objects its own.
    pub owner_reference: OwnerReference,
    /// Whether it is to stand still.
    pub is_suspended: bool,
    /// How the gateway is reached from outside.
    pub exposure: Exposure,
    /// Whether sources and webhooks may be at private addresses.
    pub allow_private_addresses: bool,
    /// The services that are to run.
    pub services: Vec<ValidatedService>,
    /// Who signs the tokens of service accounts. Known unless it is suspended.
    pub issuer: Option<Arc<Issuer>>,
    /// Whether the Secret with the administrator's key is there.
    pub has_admin_key: bool,
    /// A Secret that cannot be read at the moment, and why.
    pub unreadable_secret: Option<(String, String)>,
    /// A Secret that pods of the Platform mount and that lacks something, or is
    /// not there any more. Nothing was started without it.
    pub missing_secret: Option<Rejection>,
    /// Whether the cluster has no HTTPRoutes.
    pub lacks_http_routes: bool,
}

/// A service that is to run.
#[derive(Clone, Debug)]
pub struct ValidatedService {
    /// What there is to know of it.
    pub definition: &'static ServiceDefinition,
    /// Name of its Deployment, and of most of its objects.
    pub deployment: LabelName,
    /// Where it is reached inside the cluster.
    pub url: String,
    /// Name of its service account.
    pub service_account: String,
    /// Service accounts of before, under which pods of it still run.
    pub earlier_accounts: Vec<String>,
    /// Whether the service account that it has if none is given is there, and
    /// is the Platform's.
    pub has_own_account: bool,
    /// How its pods run.
    pub workload: WorkloadSpec,
    /// How the number of its pods follows the load.
    pub autoscaling: Option<Autoscaling>,
    /// Where it keeps its data.
    pub storage: ServiceStorage,
    /// What hands out its work, if it is not the database.
    pub queue: Option<ServiceQueue>,
    /// Digest of the Secrets that its pods mount, if they mount any.
    pub secrets_digest: Option<String>,
    /// Its Deployment as it is, if there is one.
    pub present: Option<Arc<DeploymentState>>,
}

impl ValidatedPlatform {
    /// Where clients reach the gateway: from inside the cluster, unless there is
    /// an Ingress. Of an HTTPRoute it is not known whether its listener speaks
    /// HTTPS, nor at which port.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(ingress) = &self.exposure.ingress {
            let scheme = if ingress.tls_secret_name.is_some() { "https" } else { "http" };
            return format!("{scheme}://{}", ingress.host);
        }
        service_url(self.name.as_str(), self.namespace.as_str())
    }

    /// The services that a service calls.
    pub fn callees(&self, service: &ValidatedService) -> impl Iterator<Item = &ValidatedService> {
        let calls = service.definition.calls;
        self.services.iter().filter(move |other| calls.contains(&other.definition.name))
    }

    /// The services that call a service.
    pub fn callers(&self, service: &ValidatedService) -> impl Iterator<Item = &ValidatedService> {
        let name = service.definition.name;
        self.services.iter().filter(move |other| other.definition.calls.contains(&name))
    }
}

impl ValidatedService {
    /// Name of its claim.
    #[must_use]
    pub fn claim_name(&self) -> String {
        claim_name(&self.deployment)
    }

    /// Names of the service accounts that its pods may run under: that of now,
    /// that of pods from before a user gave one, and those that a user gave before.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        let before = Some(self.deployment.as_str()).filter(|own| *own != self.service_account);
        let earlier = self.earlier_accounts.iter().map(String::as_str);
        [self.service_account.as_str()].into_iter().chain(before).chain(earlier)
    }

    /// Name of the ConfigMap with its configuration.
    #[must_use]
    pub fn configuration_name(&self) -> String {
        format!("{}-configuration", self.deployment)
    }

    /// The most pods that it may have.
    #[must_use]
    pub fn most_replicas(&self) -> i32 {
        let fixed = self.workload.replicas.unwrap_or(1);
        self.autoscaling.as_ref().map_or(fixed, |autoscaling| autoscaling.max_replicas)
    }
}

/// Checks a Platform. `services` are those that it consists of.
///
/// # Errors
/// Why it is not accepted.
pub fn validate(
    platform: &Platform,
    observed: &Observed,
    rules: &Rules,
    services: &'static [ServiceDefinition],
) -> Result<ValidatedPlatform, Rejection> {
    rules.check_platform(platform).map_err(Rejection::InvalidSpecification)?;
    let name = LabelName::parse(platform.name_any()).map_err(invalid)?;
    let namespace = LabelName::parse(platform.namespace().unwrap_or_default()).map_err(invalid)?;
    let (Some(owner_reference), Some(uid)) = (platform.controller_owner_ref(&()), platform.uid()) else {
        return Err(Rejection::InvalidSpecification(vec!["the object has no uid".to_owned()]));
    };
    let references = &observed.references;
    let secrets = secret_states(platform, references);
    // A suspended platform needs none of them.
    let missing_secret =
        if platform.spec.suspend { None } else { missing_secret(&secrets, name.as_str(), observed)? };
    let unreadable_secret = secrets.iter().find_map(|(secret, state)| match state {
        SecretState::Unreadable(cause) => Some((secret.name.clone(), cause.clone())),
        _ => None,
    });
    let builder = ServiceBuilder { platform, observed, name: &name, namespace: &namespace };
    let services = services
        .iter()
        .filter_map(|definition| builder.service(definition).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ValidatedPlatform {
        is_suspended: platform.spec.suspend,
        allow_private_addresses: platform.spec.allow_private_addresses,
        exposure: platform.spec.exposure.clone().unwrap_or_default(),
        issuer: references.issuer.clone(),
        has_admin_key: references.admin_key != AdminKey::Missing,
        lacks_http_routes: references.lacks_http_routes,
        name,
        namespace,
        uid,
        owner_reference,
        services,
        unreadable_secret,
        missing_secret,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that map_err asks for")]
fn invalid(error: NameError) -> Rejection {
    Rejection::InvalidSpecification(vec![error.to_string()])
}

/// The Secrets that the specification refers to, as pods mount them.
fn secret_states<'a>(
    platform: &Platform,
    references: &'a References,
) -> Vec<(MountedSecret, &'a SecretState)> {
    let spec = &platform.spec;
    let mounted =
        |name: &str, key: Option<&str>| MountedSecret { name: name.to_owned(), key: key.map(str::to_owned) };
    let database = spec.database.as_ref().and_then(|database| database.postgresql.as_ref());
    let database =
        database.map(|database| mounted(&database.secret.name, Some(database.secret.key.as_str())));
    let objects = spec.storage.as_ref().and_then(|storage| storage.s3.as_ref());
    let objects = objects.map(|s3| mounted(&s3.secret.name, None));
    let queue = spec.queue.as_ref().and_then(|queue| queue.nats_jet_stream.as_ref()?.secret.as_ref());
    let queue = queue.map(|secret| mounted(&secret.name, None));
    database
        .zip(references.database_secret.as_ref())
        .into_iter()
        .chain(objects.zip(references.objects_secret.as_ref()))
        .chain(queue.zip(references.queue_secret.as_ref()))
        .collect()
}

/// The first thing that Secrets lack and that pods which there are have got
/// before: they run on, and all else of the Platform is kept in line. That what
/// nothing was started with yet is missing is an error: pods that serve are not
/// replaced by others that cannot start.
fn missing_secret(
    secrets: &[(MountedSecret, &SecretState)],
    platform: &str,
    observed: &Observed,
) -> Result<Option<Rejection>, Rejection> {
    let admin_key = (observed.references.admin_key == AdminKey::WithoutKey).then(|| {
        let key = paths::ADMIN_KEY_FILE.to_owned();
        let secret = MountedSecret { name: admin_key_name(platform), key: Some(key.clone()) };
        (secret.clone(), Rejection::SecretKeyNotFound { name: secret.name, key })
    });
    let missing = secrets.iter().filter_map(|(secret, state)| {
        let name = secret.name.clone();
        let rejection = match state {
            SecretState::Missing => Rejection::SecretNotFound(name),
            SecretState::KeyMissing(key) => Rejection::SecretKeyNotFound { name, key: key.clone() },
            SecretState::Read(_) | SecretState::Unreadable(_) => return None,
        };
        Some((secret.clone(), rejection))
    });
    let mut first = None;
    for (secret, rejection) in missing.chain(admin_key) {
        if !observed.deployments.iter().any(|deployment| deployment.secrets.contains(&secret)) {
            return Err(rejection);
        }
        first = first.or(Some(rejection));
    }
    Ok(first)
}

struct ServiceBuilder<'a> {
    platform: &'a Platform,
    observed: &'a Observed,
    name: &'a LabelName,
    namespace: &'a LabelName,
}

impl ServiceBuilder<'_> {
    /// The service as it is to run; `None` if it is disabled.
    fn service(&self, definition: &'static ServiceDefinition) -> Result<Option<ValidatedService>, Rejection> {
        let spec = &self.platform.spec;
        let given = spec.services.iter().find(|service| service.name.as_str() == definition.name);
        if given.is_some_and(|service| service.enabled == Some(false)) {
            return Ok(None);
        }
        let deployment =
            LabelName::parse(deployment_name(self.name.as_str(), definition.name)).map_err(invalid)?;
        let present = self.observed.deployment(deployment.as_str()).cloned();
        let workload = given.and_then(|service| service.workload.clone()).unwrap_or_default();
        let mut storage =
            storage(definition, spec).map_err(|message| Rejection::InvalidSpecification(vec![message]))?;
        self.keep_claim(&mut storage, &deployment);
        let queue = queue(definition, spec, self.name, self.namespace);
        let service_account = workload.service_account_name.clone().unwrap_or_else(|| deployment.to_string());
        Ok(Some(ValidatedService {
            definition,
            url: service_url(deployment.as_str(), self.namespace.as_str()),
            earlier_accounts: self
                .earlier_accounts(definition, [service_account.as_str(), deployment.as_str()]),
            service_account,
            has_own_account: self.observed.child(ChildKind::ServiceAccount, deployment.as_str()).is_some(),
            autoscaling: given.and_then(|service| service.autoscaling.clone()),
            secrets_digest: secrets_digest(
                &storage,
                queue.as_ref(),
                &self.observed.references,
                present.as_deref(),
            ),
            deployment,
            workload,
            storage,
            queue,
            present,
        }))
    }

    /// The accounts, other than these, of pods that have not been replaced yet.
    fn earlier_accounts(&self, definition: &ServiceDefinition, others: [&str; 2]) -> Vec<String> {
        let pods = self.observed.pods.iter().filter(|pod| pod.service == definition.name);
        let accounts: BTreeSet<&str> = pods.map(|pod| pod.service_account.as_str()).collect();
        let earlier = accounts.into_iter().filter(|account| !account.is_empty() && !others.contains(account));
        earlier.map(str::to_owned).collect()
    }

    /// A claim cannot shrink: one that is larger, whoever made it so, stays. Nor
    /// can it lose its storage class, which the specification may cease to name:
    /// that of a database goes when the database moves elsewhere.
    fn keep_claim(&self, storage: &mut ServiceStorage, deployment: &LabelName) {
        let (Some(claim), Some(present)) = (&mut storage.claim, self.observed.claim(&claim_name(deployment)))
        else {
            return;
        };
        if let Some(size) = &present.size
            && compare(size, &claim.size) == Some(Ordering::Greater)
        {
            claim.size = size.clone();
        }
        if claim.storage_class.is_none() {
            claim.storage_class.clone_from(&present.storage_class);
        }
    }
}

fn claim_name(deployment: &LabelName) -> String {
    format!("{deployment}-data")
}

/// Digest of the Secrets that the pods of a service mount. As long as one of
/// them cannot be read, it stays what it was: another one would replace all
/// pods, for nothing.
fn secrets_digest(
    storage: &ServiceStorage,
    queue: Option<&ServiceQueue>,
    references: &References,
    present: Option<&DeploymentState>,
) -> Option<String> {
    let mounted = [
        storage.database_secret.as_ref().map(|_| references.database_secret.as_ref()),
        storage.objects_secret.as_ref().map(|_| references.objects_secret.as_ref()),
        queue.and_then(|queue| queue.secret.as_ref()).map(|_| references.queue_secret.as_ref()),
    ];
    if mounted == [None, None, None] {
        return None;
    }
    let digests: Option<Vec<&[u8]>> = mounted
        .into_iter()
        .flatten()
        .map(|state| match state {
            Some(SecretState::Read(digest)) => Some(digest.as_bytes()),
            _ => None,
        })
        .collect();
    let carried = || present.and_then(|present| present.secrets_digest.clone());
    digests.map(digest).or_else(carried).or_else(|| Some(NOT_READ.to_owned()))
}
