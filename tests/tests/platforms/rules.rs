//! The rules of the CRD, by the API server and by the operator's own check.

use ai_saas_platform_tests::platform_rule_table::creations;
use ai_saas_platform_tests::rule_table::{Creation, Verdict};
use ai_saas_platform_tests::with_namespace;
use crds::Platform;
use crds::rules::check_platform_value;
use futures::{StreamExt, stream};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};

#[test]
fn the_operator_checks_objects_by_the_rules() {
    for Creation { name, object, verdict } in creations() {
        match (verdict, check_platform_value(&object, None)) {
            // The schema is the API server's and serde's.
            (Verdict::Accepted | Verdict::Schema(_), Ok(())) | (Verdict::Schema(_), Err(_)) => {}
            (Verdict::Rule(expected), Err(messages)) => {
                assert!(messages.iter().any(|message| message.contains(expected)), "{name}: {messages:?}");
            }
            (verdict, result) => panic!("{name}: expected {verdict:?}, found {result:?}"),
        }
    }
}

#[tokio::test]
async fn the_api_server_creates_what_the_rules_allow() -> anyhow::Result<()> {
    with_namespace(async |namespace| {
        let resource = ApiResource::erase::<Platform>(&());
        let platforms: Api<DynamicObject> =
            Api::namespaced_with(namespace.cluster.client.clone(), &namespace.name, &resource);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        stream::iter(creations())
            .for_each_concurrent(4, async |Creation { name, object, verdict }| {
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                match (verdict, platforms.create(&dry_run, &object).await) {
                    (Verdict::Accepted, Ok(_)) => {}
                    (Verdict::Rule(expected) | Verdict::Schema(expected), Err(kube::Error::Api(status))) => {
                        assert_eq!(status.code, 422, "{name}: {}", status.message);
                        assert!(status.message.contains(expected), "{name}: {}", status.message);
                    }
                    (verdict, answer) => panic!("{name}: expected {verdict:?}, found {answer:?}"),
                }
            })
            .await;
        Ok(())
    })
    .await
}
