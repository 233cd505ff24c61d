use std::collections::BTreeMap;

use crds::platform::configuration::{PORT, audience, paths};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIProjection,
    DownwardAPIVolumeFile, EmptyDirVolumeSource, HTTPGetAction, KeyToPath, ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource,
    SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;

use super::Parts;
use crate::digest::digest;
use crate::labels;
use crate::platform::dereference::admin_key_name;
use crate::platform::services::ServiceImages;
use crate::pods::{limit_variable, merged, restricted};

/// Name of the port of the container.
pub(super) const PORT_NAME: &str = "http";
/// How long a pod may take to finish what is under way.
const GRACE_PERIOD_SECONDS: i64 = 30;
/// How long a service may take to start: a large database that is brought up
/// to date begins anew each time that it is cut short. As long as a Deployment
/// waits for a change to come to an end.
const STARTUP_SECONDS: i32 = 600;
/// How long a token is good for. The kubelet replaces it when four fifths of
/// that have passed.
const TOKEN_SECONDS: i64 = 3600;
/// Readable by the group that the pod runs under, nobody else.
const SECRET_MODE: i32 = 0o440;

impl Parts<'_> {
    pub(super) fn deployment(&self, images: &ServiceImages) -> Deployment {
        Deployment {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(DeploymentSpec {
                replicas: self.replicas(),
                revision_history_limit: Some(3),
                selector: LabelSelector {
                    match_labels: Some(labels::platform_service_selector(
                        &self.validated.name,
                        self.service.definition.name,
                    )),
                    ..LabelSelector::default()
                },
                strategy: Some(self.strategy()),
                template: PodTemplateSpec {
                    metadata: Some(self.pod_metadata()),
                    spec: Some(self.pod(images)),
                },
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }

    /// The number of pods; `None` leaves it to the autoscaler.
    fn replicas(&self) -> Option<i32> {
        if self.validated.is_suspended {
            return Some(0);
        }
        if self.service.autoscaling.is_none() {
            return Some(self.service.workload.replicas.unwrap_or(1));
        }
        // A field that its only owner leaves out gets its default, which is one
        // pod. So the number stays as it is until the autoscaler has taken it
        // over, by changing it for the first time.
        let present = self.service.present.as_ref()?;
        // No autoscaler starts what has no pods; nor does leaving out a number
        // that somebody else gave.
        if present.replicas == 0 && !present.owns_replicas {
            return Some(1);
        }
        (present.owns_replicas && present.replicas > 0).then_some(present.replicas)
    }

    /// Two pods at once cannot have the same claim; otherwise a new pod serves
    /// before an old one goes.
    fn strategy(&self) -> DeploymentStrategy {
        if self.service.storage.claim.is_some() {
            return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
        }
        DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }
    }

    fn pod_metadata(&self) -> ObjectMeta {
        let workload = &self.service.workload;
        let own = labels::platform_service(&self.validated.name, self.service.definition.name);
        // The configuration is read again while a service runs, but for where
        // its data and its work are; and Secrets are read when it starts.
        let storage = &self.service.storage;
        let places = serde_json::to_vec(&(&storage.database, &storage.objects)).unwrap_or_default();
        let queue = self.service.queue.as_ref();
        let queue = queue.map(|queue| serde_json::to_vec(&queue.configuration).unwrap_or_default());
        let places = [places.as_slice()].into_iter().chain(queue.as_deref());
        let mut annotations = BTreeMap::from([(labels::STORAGE_DIGEST.to_owned(), digest(places))]);
        if let Some(secrets) = &self.service.secrets_digest {
            annotations.insert(labels::SECRETS_DIGEST.to_owned(), secrets.clone());
        }
        ObjectMeta {
            labels: Some(merged(&workload.pod_labels, own)),
            annotations: Some(merged(&workload.pod_annotations, annotations)),
            ..ObjectMeta::default()
        }
    }

    fn pod(&self, images: &ServiceImages) -> PodSpec {
        let definition = self.service.definition;
        let name = definition.name;
        let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = self.volumes().into_iter().unzip();
        let container = Container {
            name: name.to_owned(),
            args: Some(vec!["serve".to_owned()]),
            env: Some(vec![
                limit_variable("MEMORY_LIMIT_BYTES", name, "memory", "1"),
                limit_variable("CPU_LIMIT", name, "cpu", "1"),
                limit_variable("TEMPORARY_LIMIT_BYTES", name, "ephemeral-storage", "1"),
            ]),
            ports: Some(vec![ContainerPort {
                name: Some(PORT_NAME.to_owned()),
                container_port: i32::from(PORT),
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            startup_probe: Some(probe("/livez", 1, STARTUP_SECONDS)),
            liveness_probe: Some(probe("/livez", 10, 3)),
            readiness_probe: Some(probe("/readyz", 5, 2)),
            volume_mounts: Some(mounts),
            termination_message_path: Some(paths::TERMINATION_MESSAGE.to_owned()),
            // One that panics or is killed leaves no message: its last lines
            // say then what the status tells.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        let pod = restricted(container, &self.service.workload, &images.of(definition), definition.resources);
        PodSpec {
            volumes: Some(volumes),
            service_account_name: Some(self.service.service_account.clone()),
            termination_grace_period_seconds: Some(GRACE_PERIOD_SECONDS),
            ..pod
        }
    }

    fn volumes(&self) -> Vec<(Volume, VolumeMount)> {
        let storage = &self.service.storage;
        let mut volumes = vec![self.configuration_volume(), temporary_volume()];
        volumes.extend(storage.claim.as_ref().map(|_| self.data_volume()));
        volumes.extend(self.token_volume());
        volumes.extend((!self.service.definition.kubernetes_access.is_empty()).then(kubernetes_volume));
        if self.service.definition.is_gateway() {
            let secret = admin_key_name(self.validated.name.as_str());
            let key = (paths::ADMIN_KEY_FILE, paths::ADMIN_KEY_FILE);
            let (mut volume, mount) = secret_volume("admin-key", paths::ADMIN_KEY_FOLDER, secret, Some(key));
            // The gateway serves without the key as well, and looks for it again
            // and again: that it is taken away keeps no pod from starting.
            if let Some(secret) = &mut volume.secret {
                secret.optional = Some(true);
            }
            volumes.push((volume, mount));
        }
        volumes.extend(storage.database_secret.as_ref().map(|secret| {
            let key = (secret.key.as_str(), paths::DATABASE_URL_FILE);
            secret_volume("database", paths::DATABASE_SECRET_FOLDER, secret.name.clone(), Some(key))
        }));
        volumes.extend(
            storage
                .objects_secret
                .as_ref()
                .map(|secret| secret_volume("objects", paths::OBJECTS_SECRET_FOLDER, secret.clone(), None)),
        );
        let queue = self.service.queue.as_ref().and_then(|queue| queue.secret.as_ref());
        volumes.extend(
            queue.map(|secret| secret_volume("queue", paths::QUEUE_SECRET_FOLDER, secret.clone(), None)),
        );
        volumes
    }

    fn configuration_volume(&self) -> (Volume, VolumeMount) {
        let volume = Volume {
            name: "configuration".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: self.service.configuration_name(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        };
        mounted(volume, paths::CONFIGURATION_FOLDER, true)
    }

    fn data_volume(&self) -> (Volume, VolumeMount) {
        let volume = Volume {
            name: "data".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: self.service.claim_name(),
                read_only: None,
            }),
            ..Volume::default()
        };
        mounted(volume, paths::DATA, false)
    }

    /// One token for each service that this one calls, and good for nothing
    /// else: each is made for its callee.
    fn token_volume(&self) -> Option<(Volume, VolumeMount)> {
        let namespace = self.validated.namespace.as_str();
        let tokens: Vec<VolumeProjection> = self
            .validated
            .callees(self.service)
            .map(|callee| VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(audience(callee.deployment.as_str(), namespace)),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: callee.definition.name.to_owned(),
                }),
                ..VolumeProjection::default()
            })
            .collect();
        (!tokens.is_empty()).then(|| {
            let volume = Volume {
                name: "tokens".to_owned(),
                projected: Some(ProjectedVolumeSource { sources: Some(tokens), default_mode: None }),
                ..Volume::default()
            };
            mounted(volume, paths::TOKENS, true)
        })
    }
}

/// What a client of the API server looks for in a pod: a token, the certificate
/// of the authority, and the namespace. It is put together here since the pod
/// is not given it by itself.
fn kubernetes_volume() -> (Volume, VolumeMount) {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: None,
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let authority = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            // The cluster keeps one in every namespace.
            name: "kube-root-ca.crt".to_owned(),
            items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "namespace".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.namespace".to_owned(),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    let volume = Volume {
        name: "kubernetes".to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![token, authority, namespace]),
            default_mode: None,
        }),
        ..Volume::default()
    };
    mounted(volume, paths::KUBERNETES, true)
}

fn temporary_volume() -> (Volume, VolumeMount) {
    // Bounded by the container's limit of ephemeral storage, which counts it.
    let volume = Volume {
        name: "temporary".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    mounted(volume, paths::TEMPORARY, false)
}

/// A Secret as a folder: of one key, as a file of another name, or of all keys.
fn secret_volume(
    name: &str,
    folder: &str,
    secret: String,
    key: Option<(&str, &str)>,
) -> (Volume, VolumeMount) {
    let volume = Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            items: key.map(|(key, path)| {
                vec![KeyToPath { key: key.to_owned(), path: path.to_owned(), mode: None }]
            }),
            default_mode: Some(SECRET_MODE),
            optional: None,
        }),
        ..Volume::default()
    };
    mounted(volume, folder, true)
}

fn mounted(volume: Volume, folder: &str, read_only: bool) -> (Volume, VolumeMount) {
    let mount = VolumeMount {
        name: volume.name.clone(),
        mount_path: folder.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    (volume, mount)
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        // A service that has its hands full is not broken.
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}
