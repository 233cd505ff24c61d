use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use kube::api::{DynamicObject, ObjectMeta};
use serde_json::json;

use super::Parts;
use super::service::SERVICE_PORT;
use crate::platform::children::ChildKind;

impl Parts<'_> {
    /// `None` if there is to be none.
    pub(super) fn ingress(&self) -> Option<Ingress> {
        let ingress = self.validated.exposure.ingress.as_ref()?;
        let backend = IngressBackend {
            service: Some(IngressServiceBackend {
                name: self.service.deployment.to_string(),
                port: Some(ServiceBackendPort { number: Some(SERVICE_PORT), name: None }),
            }),
            resource: None,
        };
        Some(Ingress {
            metadata: ObjectMeta {
                annotations: Some(ingress.annotations.clone()).filter(|annotations| !annotations.is_empty()),
                ..self.metadata(self.service.deployment.as_str())
            },
            spec: Some(IngressSpec {
                ingress_class_name: ingress.class_name.clone(),
                rules: Some(vec![IngressRule {
                    host: Some(ingress.host.clone()),
                    http: Some(HTTPIngressRuleValue {
                        paths: vec![HTTPIngressPath {
                            path: Some("/".to_owned()),
                            path_type: "Prefix".to_owned(),
                            backend,
                        }],
                    }),
                }]),
                tls: ingress.tls_secret_name.as_ref().map(|secret| {
                    vec![IngressTLS {
                        hosts: Some(vec![ingress.host.clone()]),
                        secret_name: Some(secret.clone()),
                    }]
                }),
                default_backend: None,
            }),
            status: None,
        })
    }

    /// `None` if there is to be none, or cannot be any.
    pub(super) fn http_route(&self) -> Option<DynamicObject> {
        let route = self.validated.exposure.http_route.as_ref()?;
        if self.validated.lacks_http_routes {
            return None;
        }
        let name = self.service.deployment.as_str();
        let mut spec = json!({
            "parentRefs": route.parent_refs,
            "rules": [{ "backendRefs": [{ "name": name, "port": SERVICE_PORT }] }],
        });
        if !route.hostnames.is_empty() {
            spec["hostnames"] = json!(route.hostnames);
        }
        let mut object =
            DynamicObject::new(name, &ChildKind::HttpRoute.resource()).data(json!({ "spec": spec }));
        object.metadata = self.metadata(name);
        Some(object)
    }
}
