//! What the CRD of Platform accepts, and what it refuses with which words. The
//! API server and the rules that the operator checks by itself are held against
//! the same table.

use serde_json::{Value, json};

use crate::rule_table::{Creation, Verdict};
use crate::specification::with;

const ONE_DATABASE: &str = "give exactly one of `embedded` and `postgresql`";
const ONE_QUEUE: &str = "give `natsJetStream`, or leave out `queue`: then the database hands out the work";
const ONE_STORAGE: &str = "give exactly one of `persistentVolumeClaim` and `s3`";
const NEEDS_POSTGRESQL: &str =
    "more than one pod of a service needs `database.postgresql`: the embedded database belongs to one pod";
const NEEDS_S3: &str = "more than one pod of analysis-base needs `storage.s3`: a claim belongs to one pod";
const ONE_CLASS: &str = "the database and the objects of a service are on one claim: give the same `storageClassName` to both, or to one of them";
const NAME_FORM: &str = "metadata.name must begin with a letter, and have only lower-case letters, digits and `-`: it is the name of a Service";

/// Objects to create.
#[must_use]
pub fn creations() -> Vec<Creation> {
    let mut table = accepted();
    table.extend(refused());
    table.extend(refused_names());
    table.extend(refused_by_schema());
    table
}

fn accepted() -> Vec<Creation> {
    let everything = json!({
        "services": [
            { "name": "monolith", "enabled": true, "autoscaling": { "minReplicas": 2, "maxReplicas": 2, "targetCPUUtilizationPercentage": 60 } },
            {
                "name": "analysis-base",
                "enabled": false,
                "workload": {
                    "replicas": 3,
                    "image": "example.org/image:1",
                    "imagePullPolicy": "Never",
                    "resources": { "limits": { "memory": "2Gi" } },
                    "env": [{ "name": "A", "value": "b" }],
                    "securityContext": { "runAsUser": 1000, "fsGroup": 1000 },
                },
            },
        ],
        "exposure": {
            "serviceType": "NodePort",
            "ingress": { "host": "ai.example.com", "className": "nginx", "tlsSecretName": "tls", "annotations": { "a": "b" } },
            "httpRoute": {
                "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "https" }],
                "hostnames": ["*.example.com", "ai.example.com"],
            },
            "corsAllowedOrigins": ["*", "https://shop.example.com:8443"],
        },
        "storage": s3(),
        "database": postgresql(),
        "queue": nats(json!({ "secret": { "name": "nats" }, "replicas": 3 })),
        "suspend": true,
    });
    let embedded = json!({
        "database": { "embedded": { "size": "512Mi", "storageClassName": "fast" } },
        "storage": { "persistentVolumeClaim": { "size": "1T", "storageClassName": "fast" } },
    });
    let one_class = json!({
        "database": { "embedded": {} },
        "storage": { "persistentVolumeClaim": { "storageClassName": "fast" } },
    });
    let replicas = |count: i32| json!({ "services": [service("monolith", json!({ "workload": { "replicas": count } }))] });
    vec![
        row("nothing at all", json!({}), Verdict::Accepted),
        row("every field that a platform at scale can have", everything, Verdict::Accepted),
        row("every field that an embedded platform can have", embedded, Verdict::Accepted),
        row("a storage class of one of two", one_class, Verdict::Accepted),
        row("a queue without credentials", json!({ "queue": nats(json!({})) }), Verdict::Accepted),
        row("one pod", replicas(1), Verdict::Accepted),
        row("no pod", replicas(0), Verdict::Accepted),
        row(
            "more pods of a service that keeps no objects",
            with(replicas(2), json!({ "database": postgresql() })),
            Verdict::Accepted,
        ),
        named("a name of 40 characters", &"a".repeat(40), Verdict::Accepted),
        named("a name of one letter", "a", Verdict::Accepted),
    ]
}

fn refused() -> Vec<Creation> {
    let of = |name, spec, message| row(name, spec, Verdict::Rule(message));
    let with_service = |name: &str, fields: Value| json!({ "services": [service(name, fields)] });
    let two_pods = json!({ "workload": { "replicas": 2 } });
    let autoscaling = |least: i32| json!({ "autoscaling": { "minReplicas": least, "maxReplicas": 3 } });
    let classes = json!({
        "database": { "embedded": { "storageClassName": "fast" } },
        "storage": { "persistentVolumeClaim": { "storageClassName": "slow" } },
    });
    vec![
        of(
            "a platform without its front door",
            with_service("monolith", json!({ "enabled": false })),
            "the monolith is the front door and cannot be disabled: set `spec.suspend` to stop the platform",
        ),
        of(
            "a number of pods and an autoscaler",
            with(
                with_service("monolith", with(autoscaling(1), two_pods.clone())),
                json!({ "database": postgresql() }),
            ),
            "the autoscaler decides how many pods there are: give one of `autoscaling` and `workload.replicas`",
        ),
        of(
            "an autoscaler with its bounds the wrong way round",
            with(with_service("monolith", autoscaling(4)), json!({ "database": postgresql() })),
            "minReplicas may not be more than maxReplicas",
        ),
        of(
            "two pods with an embedded database",
            with_service("monolith", two_pods.clone()),
            NEEDS_POSTGRESQL,
        ),
        of(
            "an autoscaler with an embedded database",
            with_service("monolith", autoscaling(1)),
            NEEDS_POSTGRESQL,
        ),
        of(
            "two pods with objects on a claim",
            with(with_service("analysis-base", two_pods), json!({ "database": postgresql() })),
            NEEDS_S3,
        ),
        of(
            "an autoscaler with objects on a claim",
            with(with_service("analysis-base", autoscaling(1)), json!({ "database": postgresql() })),
            NEEDS_S3,
        ),
        of("a database that is nowhere", json!({ "database": {} }), ONE_DATABASE),
        of(
            "two databases",
            json!({ "database": with(postgresql(), json!({ "embedded": {} })) }),
            ONE_DATABASE,
        ),
        of("a storage that is nowhere", json!({ "storage": {} }), ONE_STORAGE),
        of(
            "two storages",
            json!({ "storage": with(s3(), json!({ "persistentVolumeClaim": {} })) }),
            ONE_STORAGE,
        ),
        of("two storage classes for one claim", classes, ONE_CLASS),
        of("a queue that is nowhere", json!({ "queue": {} }), ONE_QUEUE),
        of(
            "a stream on two servers",
            json!({ "queue": nats(json!({ "replicas": 2 })) }),
            "replicas must be 1, 3 or 5",
        ),
    ]
}

fn refused_names() -> Vec<Creation> {
    vec![
        named(
            "a name of 41 characters",
            &"a".repeat(41),
            Verdict::Rule(
                "metadata.name may have at most 40 characters: the names of the services are made from it",
            ),
        ),
        named("a name that begins with a digit", "1a", Verdict::Rule(NAME_FORM)),
        named("a name with a dot", "a.b", Verdict::Rule(NAME_FORM)),
    ]
}

fn refused_by_schema() -> Vec<Creation> {
    let of = |name, spec, message| row(name, spec, Verdict::Schema(message));
    let exposure = |fields: Value| json!({ "exposure": fields });
    let size = |size: &str| json!({ "database": { "embedded": { "size": size } } });
    let address = "spec.storage.s3.url";
    vec![
        of(
            "a service that does not exist",
            json!({ "services": [service("nobody", json!({}))] }),
            "Unsupported value",
        ),
        of(
            "one service twice",
            json!({ "services": [service("monolith", json!({})), service("monolith", json!({}))] }),
            "Duplicate value",
        ),
        of("a size without a unit", size("5"), "spec.database.embedded.size"),
        of("a size of nothing", size("0Gi"), "spec.database.embedded.size"),
        of("a size with a fraction", size("1.5Gi"), "spec.database.embedded.size"),
        of(
            "a Secret without a key",
            json!({ "database": { "postgresql": { "secret": { "name": "a" } } } }),
            "secret.key",
        ),
        of(
            "a store of another scheme",
            json!({ "storage": { "s3": { "url": "https://bucket", "secret": { "name": "a" } } } }),
            address,
        ),
        of(
            "a queue of another scheme",
            json!({ "queue": nats(json!({ "url": "https://nats:4222" })) }),
            "spec.queue.natsJetStream.url",
        ),
        of(
            "credentials in an address",
            json!({ "queue": nats(json!({ "url": "nats://me:secret@nats:4222" })) }),
            "spec.queue.natsJetStream.url",
        ),
        of(
            "a type of Service that does not exist",
            exposure(json!({ "serviceType": "ExternalName" })),
            "Unsupported value",
        ),
        of(
            "a host with a path",
            exposure(json!({ "ingress": { "host": "example.com/ai" } })),
            "spec.exposure.ingress.host",
        ),
        of(
            "an origin with a path",
            exposure(json!({ "corsAllowedOrigins": ["https://example.com/"] })),
            "corsAllowedOrigins",
        ),
        of("a route without a Gateway", exposure(json!({ "httpRoute": { "parentRefs": [] } })), "parentRefs"),
        of(
            "an autoscaler without an upper bound",
            json!({ "services": [service("monolith", json!({ "autoscaling": { "minReplicas": 1 } }))] }),
            "maxReplicas",
        ),
    ]
}

fn row(name: &'static str, spec: Value, verdict: Verdict) -> Creation {
    Creation { name, object: object("table", spec), verdict }
}

fn named(name: &'static str, object_name: &str, verdict: Verdict) -> Creation {
    Creation { name, object: object(object_name, json!({})), verdict }
}

fn object(name: &str, spec: Value) -> Value {
    let mut object =
        json!({ "apiVersion": "aisaas.dev/v1alpha1", "kind": "Platform", "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

fn service(name: &str, fields: Value) -> Value {
    with(json!({ "name": name }), fields)
}

fn postgresql() -> Value {
    json!({ "postgresql": { "secret": { "name": "database", "key": "url" } } })
}

fn nats(fields: Value) -> Value {
    json!({ "natsJetStream": with(json!({ "url": "nats://nats.messaging:4222" }), fields) })
}

fn s3() -> Value {
    json!({ "s3": { "url": "s3://bucket/prefix", "endpoint": "http://store:9000", "region": "eu-west-1", "secret": { "name": "store" } } })
}
