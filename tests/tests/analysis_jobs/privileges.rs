//! What the pods may do: as little as possible.

use ai_saas_platform_tests::specification::{inline_csv, query, with};
use ai_saas_platform_tests::{Operator, with_namespace};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

#[tokio::test]
async fn an_analysis_runs_with_no_privileges() -> Result<()> {
    // That the pod is admitted at all says that it passes `restricted`.
    with_namespace(async |namespace| {
        let asked = json!({ "workload": {
            "serviceAccountName": "default",
            "env": [{ "name": "MEMORY_LIMIT_BYTES", "value": "1" }, { "name": "MINE", "value": "1" }],
            "podLabels": { "app.kubernetes.io/managed-by": "me", "team": "data" },
        } });
        namespace
            .analyse_well("modest", with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), asked))
            .await?;
        let pod = namespace.api::<Pod>().list(&ListParams::default()).await?.items.pop().context("a pod")?;
        let pod = serde_json::to_value(pod)?;

        let spec = &pod["spec"];
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["enableServiceLinks"], false);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let volumes = spec["volumes"].as_array().context("volumes")?;
        assert!(
            volumes
                .iter()
                .all(|volume| volume.get("projected").is_none() && volume.get("hostPath").is_none())
        );
        let container = &spec["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        for resource in ["cpu", "memory", "ephemeral-storage"] {
            assert!(container["resources"]["requests"][resource].is_string(), "{resource}");
            assert!(container["resources"]["limits"][resource].is_string(), "{resource}");
        }

        // A user adds, and does not replace what is the operator's.
        let variables = container["env"].as_array().context("variables")?;
        let named =
            |name: &str| variables.iter().filter(|variable| variable["name"] == name).collect::<Vec<_>>();
        assert_eq!(named("MINE").len(), 1);
        assert_eq!(named("MEMORY_LIMIT_BYTES").len(), 1);
        assert!(named("MEMORY_LIMIT_BYTES")[0]["valueFrom"].is_object());
        assert_eq!(pod["metadata"]["labels"]["team"], "data");
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/managed-by"], "ai-saas-platform-operator");

        let policy = namespace.api::<NetworkPolicy>().get("ai-saas-platform-analysis").await?;
        let policy = serde_json::to_value(policy)?;
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"].get("ingress"), None, "nothing may connect to the pod");
        let selected = policy["spec"]["podSelector"]["matchLabels"].as_object().context("a selector")?;
        assert!(selected.iter().all(|(key, value)| &pod["metadata"]["labels"][key] == value), "{selected:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_that_somebody_opens_or_deletes_is_put_right_before_the_next_pod() -> Result<()> {
    with_namespace(async |namespace| {
        let policies = namespace.api::<NetworkPolicy>();
        let name = "ai-saas-platform-analysis";
        let ingress_after = async |analysis: &str| -> Result<Option<Value>> {
            // The operator hears of a change by a watch.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            namespace
                .analyse_well(analysis, query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"))
                .await?;
            let policy = serde_json::to_value(policies.get(name).await?)?;
            Ok(policy["spec"].get("ingress").cloned())
        };
        assert_eq!(ingress_after("first").await?, None);
        let open = Patch::Merge(json!({ "spec": { "ingress": [{}] } }));
        policies.patch(name, &PatchParams::default(), &open).await?;
        assert_eq!(ingress_after("second").await?, None);
        policies.delete(name, &DeleteParams::default()).await?;
        assert_eq!(ingress_after("third").await?, None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_operator_runs_with_no_more_than_it_needs() -> Result<()> {
    with_namespace(async |namespace| {
        let operator = Operator::of(&namespace.cluster);
        let pod = serde_json::to_value(operator.pod().await?)?;
        let container = &pod["spec"]["containers"][0];
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        // What the log of the API server's refusals would look like.
        let log = operator.log(None).await?;
        let refused: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("forbidden: User") || line.contains("is forbidden: User"))
            .collect();
        assert_eq!(refused, Vec::<&str>::new());
        let lines: Vec<Value> =
            log.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a log of JSON lines")?;
        assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{log}");
        Ok(())
    })
    .await
}
