//! AnalysisJobs that read and write data sets of a Platform.

use std::path::Path;

use ai_saas_platform_tests::command::{kubectl, repository, repository_argument, run};
use ai_saas_platform_tests::{FrontDoor, Namespace, outcome, with_namespace};
use anyhow::{Context as _, Result};
use crds::Platform;
use crds::condition::ACCEPTED;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use reqwest::Method;
use serde_json::{Value, json};

/// How the flights are read: `{"csv":{"nullValues":["NA"],"compression":"gzip"}}`.
const READING: &str = "format=csv&options=%7B%22csv%22%3A%7B%22nullValues%22%3A%5B%22NA%22%5D%2C%22compression%22%3A%22gzip%22%7D%7D";

async fn apply(namespace: &Namespace, file: &str) -> Result<()> {
    let file = repository_argument(&format!("examples/platform/{file}"));
    kubectl(&["apply", "--namespace", &namespace.name, "--filename", &file]).await.map(drop)
}

/// An analysis of nothing that becomes a version of a data set.
fn writing() -> Value {
    json!({
        "sources": [{ "name": "data", "format": "csv", "inline": "n\n1\n2\n" }],
        "sql": "SELECT n, n * n AS square FROM data ORDER BY n",
        "output": { "format": "parquet", "dataset": { "name": "squares" } },
    })
}

#[tokio::test]
async fn the_example_reads_flights_from_a_data_set_and_writes_another_one() -> Result<()> {
    with_namespace(async |namespace| {
        apply(namespace, "platform.yaml").await?;
        let script = repository("examples/flights/download.sh");
        let folder = run(script.into_os_string(), &[], &[]).await?;
        let flights = std::fs::read(Path::new(folder.trim()).join("flights.csv.gz"))?;
        let door = FrontDoor::of(namespace, "platform").await?;
        let upload = door.request(Method::PUT, &format!("/v1/datasets/flights?{READING}")).body(flights);
        assert_eq!(door.json(upload).await?["version"], 1);

        apply(namespace, "flights-by-airport.yaml").await?;
        let job = namespace.wait_until_ended("flights-by-airport").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let status = job.status.context("a status")?;
        assert!(status.rows_read >= Some(336_776), "{:?}", status.rows_read);
        let output = status.output.context("an output")?;
        assert_eq!(output.location, "dataset/flights-by-airport/1");
        assert_eq!(output.config_map.as_deref(), Some("flights-by-airport-charts"));
        let chart = namespace.text_of("flights-by-airport-charts", "delay-by-month.svg").await?;
        assert!(chart.contains("<svg"), "{chart}");

        // Read again through the gateway: three airports, twelve months.
        let analysis = json!({
            "sources": [{ "name": "f", "dataset": { "name": "flights-by-airport" } }],
            "sql": "SELECT count(*) AS n, sum(flights) AS flights, sum(cancelled) AS cancelled FROM f",
        });
        let analysis = door.json(door.post("/v1/analyses", &analysis)).await?;
        assert_eq!(analysis["status"], "succeeded", "{analysis}");
        // As the documentation of the data set has them.
        let expected = json!({ "n": 36, "flights": 336_776, "cancelled": 8_255 });
        assert_eq!(analysis["result"]["rows"][0], expected, "{analysis}");

        // The pod has a token for the data sets, and none for the API server.
        let pods = ListParams::default().labels("aisaas.dev/analysis-job=flights-by-airport");
        let pod = namespace.api::<Pod>().list(&pods).await?.items.pop().context("a pod")?;
        let pod = serde_json::to_value(pod)?;
        let volumes = pod["spec"]["volumes"].as_array().context("volumes")?;
        let tokens: Vec<&Value> = volumes.iter().filter_map(|volume| volume.get("projected")).collect();
        assert_eq!(tokens.len(), 1, "{volumes:?}");
        assert_eq!(
            tokens[0]["sources"][0]["serviceAccountToken"]["audience"],
            format!("platform-analysis-base.{}.aisaas.dev", namespace.name)
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_analysis_without_a_platform_says_so_and_starts_when_there_is_one() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_analysis("early", writing()).await?;
        let job = namespace
            .wait_for_analysis("early", "to be looked at", |job| !outcome::reason(job).is_empty())
            .await?;
        assert_eq!(outcome::reason(&job), "PlatformNotFound", "{}", outcome::in_words(&job));
        assert!(
            outcome::message(&job).contains("examples/platform/platform.yaml"),
            "{}",
            outcome::in_words(&job)
        );
        assert!(!outcome::holds(&job, ACCEPTED));
        assert!(namespace.api::<Job>().get_opt("early").await?.is_none(), "there is a Job");
        namespace.wait_for_event("early", "PlatformNotFound").await?;

        apply(namespace, "platform.yaml").await?;
        let job = namespace.wait_until_ended("early").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let output = job.status.and_then(|status| status.output).context("an output")?;
        assert_eq!(output.location, "dataset/squares/1");
        let door = FrontDoor::of(namespace, "platform").await?;
        let rows = door.json(door.request(Method::GET, "/v1/datasets/squares/versions/1/preview")).await?;
        assert_eq!(rows["rows"], json!([{ "n": 1, "square": 1 }, { "n": 2, "square": 4 }]), "{rows}");

        // A data set that is not there is told with those that are.
        let missing = json!({
            "sources": [{ "name": "data", "dataset": { "name": "square" } }], "sql": "SELECT * FROM data",
        });
        let job = namespace.analyse("missing", missing).await?;
        assert_eq!(outcome::reason(&job), "SourceNotFound", "{}", outcome::in_words(&job));
        assert!(outcome::message(&job).contains("There are squares"), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}

async fn create_platform(namespace: &Namespace, name: &str, spec: Value) -> Result<()> {
    namespace.create_object(&Platform::new(name, serde_json::from_value(spec)?)).await.map(drop)
}

#[tokio::test]
async fn which_platform_is_meant_has_to_be_clear_and_it_has_to_serve() -> Result<()> {
    with_namespace(async |namespace| {
        // Nothing of them needs to run.
        let suspended = json!({ "suspend": true });
        create_platform(namespace, "one", suspended.clone()).await?;
        create_platform(namespace, "two", suspended).await?;
        namespace.create_analysis("unclear", writing()).await?;
        let until = async |reason: &str| {
            namespace.wait_for_analysis("unclear", reason, |job| outcome::reason(job) == reason).await
        };
        let job = until("PlatformAmbiguous").await?;
        assert!(outcome::message(&job).contains("(one, two)"), "{}", outcome::in_words(&job));

        namespace.api::<Platform>().delete("two", &DeleteParams::default()).await?;
        let job = until("PlatformNotReady").await?;
        assert!(outcome::holds(&job, ACCEPTED), "{}", outcome::in_words(&job));
        assert!(outcome::message(&job).contains("Platform `one`"), "{}", outcome::in_words(&job));

        namespace.api::<Platform>().delete("one", &DeleteParams::default()).await?;
        until("PlatformNotFound").await?;
        let disabled =
            json!({ "suspend": true, "services": [{ "name": "analysis-base", "enabled": false }] });
        create_platform(namespace, "three", disabled).await?;
        let job = until("AnalysisBaseDisabled").await?;
        assert!(outcome::message(&job).contains("Platform `three`"), "{}", outcome::in_words(&job));
        assert!(namespace.api::<Job>().get_opt("unclear").await?.is_none(), "there is a Job");
        Ok(())
    })
    .await
}
