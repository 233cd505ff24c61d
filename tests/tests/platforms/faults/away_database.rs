//! A Platform that outlives the loss of a node, as in
//! `examples/platform/production.yaml`: several pods of each service, PostgreSQL
//! and S3. Its Secrets come late, are changed and are deleted, and its database
//! goes away for a while and comes back.

use std::time::Duration;

use ai_saas_platform_tests::command::repository;
use ai_saas_platform_tests::front_door::problem;
use ai_saas_platform_tests::platform_pods::{pod_url, restarts};
use ai_saas_platform_tests::s3_server::{BUCKET, SECRET};
use ai_saas_platform_tests::{
    FrontDoor, HttpServer, Namespace, Page, PostgresqlServer, S3Server, with_namespace,
};
use anyhow::{Context as _, Result, ensure};
use crds::{Platform, condition};
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};

use super::{eventually, has_summed, id_of, sum_of};

const PODS: i32 = 2;
const DEPLOYMENTS: [&str; 2] = ["platform", "platform-analysis-base"];
const DIGEST: &str = "aisaas.dev/secrets-digest";
/// Longer than the probes need to find out.
const OUTAGE: Duration = Duration::from_secs(12);
const PENDING: usize = 4;

fn spec(store: &S3Server) -> Value {
    json!({
        "services": [
            { "name": "monolith", "workload": { "replicas": PODS } },
            { "name": "analysis-base", "workload": { "replicas": PODS } },
        ],
        "database": { "postgresql": { "secret": { "name": "database", "key": "url" } } },
        "storage": { "s3": {
            "url": format!("s3://{BUCKET}/platform"),
            "endpoint": store.endpoint,
            "secret": { "name": SECRET },
        } },
        "allowPrivateAddresses": true,
    })
}

/// The reason and the message of a condition.
fn told<'a>(platform: &'a Platform, condition_type: &str) -> Option<(&'a str, &'a str)> {
    let conditions = &platform.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == condition_type)?;
    Some((found.reason.as_str(), found.message.as_str()))
}

/// The gateway by way of each of its pods.
async fn doors(namespace: &Namespace, door: &FrontDoor) -> Result<Vec<FrontDoor>> {
    let pods = namespace.pods_of("platform", "monolith").await?;
    pods.iter().map(|pod| Ok(door.at(pod_url(pod)?))).collect()
}

async fn wait_until_served(namespace: &Namespace) -> Result<()> {
    for deployment in DEPLOYMENTS {
        namespace.wait_until_rolled_out(deployment, PODS).await?;
    }
    Ok(())
}

async fn readiness(door: &FrontDoor) -> Result<(u16, String)> {
    let answer = door.without_key(&format!("{}/readyz", door.url)).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

#[tokio::test]
async fn a_platform_of_several_pods_goes_on_after_its_database_was_away() -> Result<()> {
    with_namespace(async |namespace| {
        let cluster = &namespace.cluster;
        let site = HttpServer::start(cluster, [("numbers.csv", Page::new("n\n1\n2\n").held())]).await?;
        let store = S3Server::start(cluster).await?;
        let mut database = PostgresqlServer::start(cluster).await?;
        store.create_secret(namespace).await?;
        let door = served_when_its_secret_comes(namespace, &store, &database).await?;
        rolled_when_its_secret_changes(namespace, &database).await?;
        kept_in_line_without_its_secret(namespace, &database).await?;
        shared_by_its_pods(namespace, &door).await?;

        let mut ids = Vec::new();
        for _ in 0..PENDING {
            let order = door.post("/v1/requests", &sum_of(&site.url("numbers.csv")));
            ids.push(id_of(&door.json(order.header("prefer", "respond-async")).await?)?);
        }
        eventually("some of them run", async || Ok(site.requests("numbers.csv") > 0)).await?;
        let doors = doors(namespace, &door).await?;
        database.stop().await?;
        let stopped = tokio::time::Instant::now();
        try_join_all(doors.iter().map(refused)).await?;
        namespace
            .wait_for::<Platform>("platform", "to be told not to serve", |platform| {
                let ready = platform.and_then(|platform| told(platform, condition::READY));
                ready.is_some_and(|(reason, message)| {
                    reason == "Pending" && message.ends_with("or wait for their database")
                })
            })
            .await?;
        tokio::time::sleep_until(stopped + OUTAGE).await;

        let _database = database.start_again().await?;
        wait_until_served(namespace).await?;
        site.release();
        for id in &ids {
            let request = door.ended(&format!("/v1/requests/{id}")).await?;
            assert!(has_summed(&request), "{request}");
        }
        // One analysis was there before. What was refused has left nothing.
        assert_eq!(door.items("/v1/requests").await?.len(), PENDING);
        assert_eq!(door.items("/v1/analyses").await?.len(), PENDING + 1);
        for service in ["monolith", "analysis-base"] {
            for pod in namespace.pods_of("platform", service).await? {
                assert_eq!(restarts(&pod), 0, "{service} goes on by itself");
            }
        }
        Ok(())
    })
    .await
}

async fn served_when_its_secret_comes(
    namespace: &Namespace,
    store: &S3Server,
    database: &PostgresqlServer,
) -> Result<FrontDoor> {
    namespace.create_object(&Platform::new("platform", serde_json::from_value(spec(store))?)).await?;
    namespace
        .wait_for::<Platform>("platform", "to miss its Secret", |platform| {
            let accepted = platform.and_then(|platform| told(platform, condition::ACCEPTED));
            accepted
                .is_some_and(|(reason, message)| reason == "SecretNotFound" && message.contains("`database`"))
        })
        .await?;
    let url = database.url();
    namespace.create_secret("database", &[("url", url.as_str())]).await?;
    let door = FrontDoor::of(namespace, "platform").await?;
    wait_until_served(namespace).await?;
    Ok(door)
}

/// Another address of the same database, as when a password is changed.
async fn rolled_when_its_secret_changes(namespace: &Namespace, database: &PostgresqlServer) -> Result<()> {
    let digest = async || -> Result<Option<String>> {
        let deployment = namespace.api::<Deployment>().get(DEPLOYMENTS[0]).await?;
        let template = deployment.spec.and_then(|spec| spec.template.metadata);
        Ok(template.and_then(|metadata| metadata.annotations?.remove(DIGEST)))
    };
    let before = digest().await?.context("a digest of the Secrets")?;
    let url = format!("{}?application_name=changed", database.url());
    let changed = Patch::Merge(json!({ "stringData": { "url": url } }));
    namespace.api::<Secret>().patch("database", &PatchParams::default(), &changed).await?;
    // The operator looks at Secrets once a minute, and at a Platform when an
    // annotation changes.
    let looked_at = Patch::Merge(json!({ "metadata": { "annotations": { "changed": "true" } } }));
    namespace.api::<Platform>().patch("platform", &PatchParams::default(), &looked_at).await?;
    eventually("the template is another one", async || Ok(digest().await?.as_ref() != Some(&before))).await?;
    wait_until_served(namespace).await
}

/// Somebody deletes the Secret that the pods were started with, and a Service.
async fn kept_in_line_without_its_secret(namespace: &Namespace, database: &PostgresqlServer) -> Result<()> {
    let is_accepted = |platform: Option<&Platform>, expected: &str| {
        platform.and_then(|platform| told(platform, condition::ACCEPTED)).map(|(reason, _)| reason)
            == Some(expected)
    };
    namespace.api::<Secret>().delete("database", &DeleteParams::default()).await?;
    namespace.api::<Service>().delete(DEPLOYMENTS[1], &DeleteParams::default()).await?;
    namespace
        .wait_for::<Platform>("platform", "to miss its Secret", |platform| {
            is_accepted(platform, "SecretNotFound")
        })
        .await?;
    namespace.wait_for::<Service>(DEPLOYMENTS[1], "to be back", |service| service.is_some()).await?;
    let platform = namespace.api::<Platform>().get("platform").await?;
    let (ready, message) = told(&platform, condition::READY).context("a condition")?;
    ensure!(ready == "Available", "{ready}: {message}");
    wait_until_served(namespace).await?;
    let url = format!("{}?application_name=changed", database.url());
    namespace.create_secret("database", &[("url", url.as_str())]).await?;
    namespace
        .wait_for::<Platform>("platform", "to be accepted again", |platform| is_accepted(platform, "Valid"))
        .await?;
    wait_until_served(namespace).await
}

/// What comes in by one pod is there at the other.
async fn shared_by_its_pods(namespace: &Namespace, door: &FrontDoor) -> Result<()> {
    let doors = doors(namespace, door).await?;
    let [one, two] = doors.as_slice() else { anyhow::bail!("{} pods of the gateway", doors.len()) };
    let csv = std::fs::read(repository("tests/data/measurements.csv"))?;
    let upload = one.request(Method::PUT, "/v1/datasets/measurements?format=csv").body(csv.clone());
    one.json(upload).await?;
    let content = two.request(Method::GET, "/v1/datasets/measurements/versions/1/content").send().await?;
    assert_eq!(content.error_for_status()?.bytes().await?, csv);
    let analysis = json!({
        "sources": [{ "name": "m", "dataset": { "name": "measurements" } }],
        "sql": "SELECT station, count(*) AS n FROM m GROUP BY station ORDER BY station",
    });
    let analysis = two.json(two.post("/v1/analyses", &analysis)).await?;
    assert_eq!(analysis["status"], "succeeded", "{analysis}");
    let path = format!("/v1/analyses/{}/result", id_of(&analysis)?);
    let result = one.request(Method::GET, &path).header("accept", "text/csv").send().await?;
    let result = result.error_for_status()?.text().await?;
    ensure!(result.starts_with("station,n\n") && result.lines().count() > 2, "{result}");
    Ok(())
}

/// What a gateway says while its database is away.
async fn refused(door: &FrontDoor) -> Result<()> {
    let order = json!({
        "input": "How many rows are there?",
        "data": [{ "name": "data", "inline": "n\n1\n", "format": "csv" }],
    });
    let requests = [
        door.request(Method::GET, "/v1/requests"),
        door.post("/v1/requests", &order),
        door.request(Method::GET, "/v1/datasets"),
    ];
    for answer in try_join_all(requests.map(reqwest::RequestBuilder::send)).await? {
        let problem = problem(answer).await?;
        ensure!(problem["status"] == 503, "{problem}");
    }
    eventually("it says so itself", async || {
        let (status, text) = readiness(door).await?;
        Ok(status == 503 && text.contains("database"))
    })
    .await?;
    // It is alive: to start it again would not help.
    let alive = door.without_key(&format!("{}/livez", door.url)).await?;
    ensure!(alive.status() == 200, "{}", alive.status());
    Ok(())
}
