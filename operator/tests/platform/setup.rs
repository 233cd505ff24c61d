//! The Platforms of the tests, what is there when they are built, and how to
//! look into what they become.

use std::collections::BTreeMap;
use std::sync::Arc;

use ai_saas_platform_operator::platform::build::{Prepared, build};
use ai_saas_platform_operator::platform::children::{ChildKind, ChildState, DeploymentState};
use ai_saas_platform_operator::platform::dereference::{Observed, References, SecretState};
use ai_saas_platform_operator::platform::issuer::Issuer;
use ai_saas_platform_operator::platform::services::{SERVICES, ServiceImages};
use ai_saas_platform_operator::platform::validate::{ValidatedPlatform, validate};
use ai_saas_platform_operator::rules::Rules;
use crds::Platform;
use crds::platform::configuration::ServiceConfiguration;
use crds::workload::ImagePullPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec};
use serde::de::DeserializeOwned;
use serde_json::json;

/// A specification that leaves everything to the defaults.
pub(crate) const SMALLEST: &str = "{}";
/// A specification that leaves little to the defaults.
pub(crate) const LARGEST: &str = r"
services:
  - name: monolith
    autoscaling: {minReplicas: 2, maxReplicas: 5, targetCPUUtilizationPercentage: 60}
  - name: analysis-base
    workload:
      replicas: 3
      image: own/image:2
      imagePullPolicy: Always
      resources: {limits: {memory: 4Gi}, requests: {cpu: '1'}}
      env: [{name: LOG, value: debug}, {name: MEMORY_LIMIT_BYTES, value: '1'}]
      nodeSelector: {disk: fast}
      serviceAccountName: analyst
      securityContext: {runAsUser: 1000, fsGroup: 2000}
      podLabels: {team: birds, app.kubernetes.io/name: mine}
      podAnnotations: {note: hello, aisaas.dev/secrets-digest: mine}
exposure:
  serviceType: LoadBalancer
  ingress: {host: ai.example.com, className: nginx, tlsSecretName: certificate, annotations: {a: b}}
  httpRoute: {parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [api.example.com]}
  corsAllowedOrigins: ['https://shop.example.com']
storage: {s3: {url: 's3://bucket/prefix/', endpoint: 'https://store:9000', region: eu-west-1, secret: {name: store}}}
database: {postgresql: {secret: {name: database, key: address}}}
queue: {natsJetStream: {url: 'tls://nats.messaging:4222', secret: {name: nats}, replicas: 3}}
";

/// The ports of the API server that the operator was started with.
pub(crate) const API_SERVER_PORTS: [u16; 2] = [443, 6443];

/// A Platform with this specification.
pub(crate) fn platform(spec: &str) -> Platform {
    platform_named("platform", spec)
}

/// A Platform of this name, with which the names of all its objects begin.
pub(crate) fn platform_named(name: &str, spec: &str) -> Platform {
    let spec: serde_json::Value = serde_yaml_ng::from_str(spec).unwrap();
    let metadata = json!({
        "name": name, "namespace": "demo", "generation": 1,
        "uid": "5f0c8f0e-0000-4000-8000-000000000001",
    });
    serde_json::from_value(json!({
        "apiVersion": "aisaas.dev/v1alpha1", "kind": "Platform", "metadata": metadata, "spec": spec,
    }))
    .unwrap()
}

/// The images that the operator was started with.
pub(crate) fn images() -> ServiceImages {
    ServiceImages {
        monolith: "registry.example/monolith:1".to_owned(),
        analysis_base: "registry.example/analysis-base:1".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: vec!["registry".to_owned()],
    }
}

/// A namespace with every Secret that a Platform can name, and none of the
/// Platform's own objects.
pub(crate) fn observed() -> Observed {
    let read = |digest: &str| Some(SecretState::Read(digest.to_owned()));
    Observed {
        references: References {
            database_secret: read("d"),
            objects_secret: read("o"),
            queue_secret: read("q"),
            issuer: Some(Arc::new(Issuer {
                name: "https://kubernetes.default.svc".to_owned(),
                keys: json!({ "keys": [{ "kty": "RSA", "kid": "1" }] }),
            })),
            ..References::default()
        },
        ..Observed::default()
    }
}

/// The same with a Deployment of the gateway.
pub(crate) fn with_deployment(state: DeploymentState) -> Observed {
    let child = ChildState { name: "platform".to_owned(), ..ChildState::default() };
    Observed { deployments: vec![Arc::new(DeploymentState { child, ..state })], ..observed() }
}

/// A Platform that is accepted.
pub(crate) fn validated(platform: &Platform, observed: &Observed) -> ValidatedPlatform {
    validate(platform, observed, &Rules::default(), SERVICES).unwrap()
}

/// What a Platform becomes beside what is there, network policies included.
pub(crate) fn built_from(platform: &Platform, observed: &Observed) -> Prepared {
    build(&validated(platform, observed), &images(), Some(&API_SERVER_PORTS))
}

/// What a Platform with this specification becomes at first.
pub(crate) fn built(spec: &str) -> Prepared {
    built_from(&platform(spec), &observed())
}

/// The names of all objects of a kind.
pub(crate) fn names(prepared: &Prepared, kind: ChildKind) -> Vec<&str> {
    let of_kind = prepared.objects.iter().filter(|object| object.kind == kind);
    of_kind.map(|object| object.name.as_str()).collect()
}

/// The object of this kind and name.
pub(crate) fn find<K: DeserializeOwned>(prepared: &Prepared, kind: ChildKind, name: &str) -> K {
    let object = prepared.objects.iter().find(|object| object.kind == kind && object.name == name);
    serde_json::from_value(object.unwrap().content.clone()).unwrap()
}

/// The Deployment of this name.
pub(crate) fn deployment(prepared: &Prepared, name: &str) -> Deployment {
    find(prepared, ChildKind::Deployment, name)
}

/// The pods of the Deployment of this name.
pub(crate) fn pod(prepared: &Prepared, name: &str) -> PodSpec {
    deployment(prepared, name).spec.unwrap().template.spec.unwrap()
}

/// The annotations of the pods of the Deployment of this name: when one
/// changes, the pods are replaced.
pub(crate) fn annotations(prepared: &Prepared, name: &str) -> BTreeMap<String, String> {
    deployment(prepared, name).spec.unwrap().template.metadata.unwrap().annotations.unwrap()
}

/// What a service reads of the ConfigMap of this name.
pub(crate) fn configuration(prepared: &Prepared, name: &str) -> ServiceConfiguration {
    let map: ConfigMap = find(prepared, ChildKind::ConfigMap, name);
    serde_json::from_str(&map.data.unwrap()["configuration.json"]).unwrap()
}
