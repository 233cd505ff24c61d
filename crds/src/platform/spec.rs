use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Database, Exposure, PlatformService, PlatformStatus, Queue, Storage};

/// Specification of the shared services of one namespace. Everything is
/// optional: with `spec: {}`, every service runs as one pod, and keeps its data
/// on a volume of its own.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "aisaas.dev",
    version = "v1alpha1",
    kind = "Platform",
    plural = "platforms",
    shortname = "aip",
    category = "aisaas",
    namespaced,
    status = "PlatformStatus",
    derive = "PartialEq",
    doc = "Platform runs the shared services of one namespace behind one front door, the gateway: its Service has the name of the Platform. The data of the services are deleted with the Platform, unless they are in a database and a store of your own.",
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name may have at most 40 characters: the names of the services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must begin with a letter, and have only lower-case letters, digits and `-`: it is the name of a Service"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether all services serve"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why, or why not"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where the gateway is reached"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "What there is to say about it", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.services) || (has(self.database) && has(self.database.postgresql)) || self.services.all(service, !has(service.autoscaling) && (!has(service.workload) || !has(service.workload.replicas) || service.workload.replicas <= 1))")
        .message("more than one pod of a service needs `database.postgresql`: the embedded database belongs to one pod"),
    validation = Rule::new("!has(self.services) || (has(self.storage) && has(self.storage.s3)) || self.services.all(service, service.name != 'analysis-base' || (!has(service.autoscaling) && (!has(service.workload) || !has(service.workload.replicas) || service.workload.replicas <= 1)))")
        .message("more than one pod of analysis-base needs `storage.s3`: a claim belongs to one pod"),
    validation = Rule::new("!has(self.database) || !has(self.database.embedded) || !has(self.database.embedded.storageClassName) || !has(self.storage) || !has(self.storage.persistentVolumeClaim) || !has(self.storage.persistentVolumeClaim.storageClassName) || self.database.embedded.storageClassName == self.storage.persistentVolumeClaim.storageClassName")
        .message("the database and the objects of a service are on one claim: give the same `storageClassName` to both, or to one of them")
)]
pub struct PlatformSpec {
    /// How services run that are not to run as they do by default. A service
    /// that is not listed here runs, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<PlatformService>,

    /// How the gateway is reached from outside the cluster. If left out, it is
    /// reached from inside only, at `http://NAME.NAMESPACE.svc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,

    /// Where services keep objects: the data that are uploaded, the results of
    /// analyses. A claim of 10Gi for each service that keeps any, if left out.
    /// Objects are not moved when this is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,

    /// Where services keep everything else. SQLite on a claim of 5Gi for each
    /// service, if left out. Data are not moved when this is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// What hands out to the pods of a service the work that it has accepted.
    /// The work itself is in the database in any case, and the database also
    /// hands it out if this is left out, by being looked at every second. With
    /// many pods, NATS JetStream spares it that. While NATS is away, the
    /// database hands out the work again; nothing is lost or done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,

    /// Let analyses read from addresses of the cluster and of private networks,
    /// and from buckets, and let webhooks go there. Whoever has a key that may
    /// run analyses can then read what the services can reach, so this is off
    /// if left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_addresses: bool,

    /// Stop all services: no pod is left, and all data are kept. They start
    /// again when this becomes false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}
