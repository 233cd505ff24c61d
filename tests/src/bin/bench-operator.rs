//! How fast the operator is, beside plain Jobs in the same run, on a fake node
//! where pods succeed without running: what is measured is the control plane
//! and the operator, not the work.
//!
//! `cargo xtask bench operator` starts the node and calls this.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crds::AnalysisJob;
use crds::analysis::RunSummary;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Objects of each kind, unless told otherwise by the first argument.
const COUNT: usize = 1000;
/// Creations under way at the same time: more than either controller keeps up
/// with, so that the creating client is not what is measured.
const CREATIONS: usize = 32;
/// How long nothing happens while writes at rest are counted.
const REST: Duration = Duration::from_secs(30);
/// When to give up.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() -> Result<()> {
    let count = std::env::args()
        .nth(1)
        .map_or(Ok(COUNT), |text| text.parse())
        .context("usage: bench-operator [COUNT]")?;
    let client = Client::try_default().await.context("set KUBECONFIG: `cargo xtask bench operator` does")?;
    let idle = Figures::read(&client).await?;
    println!("operator at rest: {} MB", megabytes(idle.resident));

    let plain = phase(&client, "bench-jobs", count, plain_job, async |jobs: &Api<Job>| {
        finished(jobs, |job| job["status"]["completionTime"].is_string()).await
    })
    .await?;
    println!("{count} plain Jobs: {:.1} s, {:.1} a second", plain.as_secs_f64(), rate(count, plain));

    let before = Figures::read(&client).await?;
    let own = phase(&client, "bench-analysis-jobs", count, analysis_job, async |jobs: &Api<AnalysisJob>| {
        finished(jobs, |job| job["status"]["completionTime"].is_string()).await
    })
    .await?;
    let after = Figures::read(&client).await?;
    println!("{count} AnalysisJobs: {:.1} s, {:.1} a second", own.as_secs_f64(), rate(count, own));
    println!("ratio of the rates: {:.2}", rate(count, own) / rate(count, plain));
    println!("operator with {count} AnalysisJobs: {} MB", megabytes(after.resident));
    let writes = after.minus(&before);
    println!("writes for each AnalysisJob: {:.2}", writes.values().sum::<f64>() / float(count));
    for (write, number) in &writes {
        println!("  {write}: {:.3}", number / float(count));
    }

    tokio::time::sleep(REST).await;
    let rested = Figures::read(&client).await?;
    println!("writes in {} s at rest: {}", REST.as_secs(), rested.minus(&after).values().sum::<f64>());
    println!("operator after {} s at rest: {} MB", REST.as_secs(), megabytes(rested.resident));

    clean(&client, "bench-analysis-jobs").await?;
    clean(&client, "bench-jobs").await
}

/// Creates objects, waits until all have finished, and tells how long it took
/// from the first creation. The namespace stays, so that the objects do.
async fn phase<K, Done>(
    client: &Client,
    namespace: &str,
    count: usize,
    object: fn(usize) -> Value,
    wait: Done,
) -> Result<Duration>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
    Done: AsyncFn(&Api<K>) -> Result<usize>,
{
    let namespaces: Api<Namespace> = Api::all(client.clone());
    clean(client, namespace).await?;
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({ "metadata": { "name": namespace } }))?,
        )
        .await?;
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    // The namespace's default ServiceAccount comes a moment later, and pods
    // need it.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let begun = Instant::now();
    stream::iter(0..count)
        .map(|index| {
            let api = api.clone();
            async move {
                let object: K = serde_json::from_value(object(index))?;
                api.create(&PostParams::default(), &object).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CREATIONS)
        .try_collect::<Vec<()>>()
        .await
        .context("creating the objects")?;
    println!("  created {count} in {:.1} s", begun.elapsed().as_secs_f64());
    loop {
        let done = wait(&api).await?;
        if done == count {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < PATIENCE, "only {done} of {count} finished in {} s", PATIENCE.as_secs());
        // A list of everything costs the API server; seldom enough not to be
        // what is measured, often enough for a tenth of a second in twenty.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How many have finished, from the API server's cache.
async fn finished<K>(api: &Api<K>, is_finished: fn(&Value) -> bool) -> Result<usize>
where
    K: Resource + DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let list = api.list(&ListParams::default().match_any()).await?;
    let mut count = 0;
    for object in list {
        count += usize::from(is_finished(&serde_json::to_value(object)?));
    }
    Ok(count)
}

async fn clean(client: &Client, namespace: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_metadata_opt(namespace).await?.is_none() {
        return Ok(());
    }
    namespaces.delete(namespace, &DeleteParams::default()).await?;
    let begun = Instant::now();
    while let Some(PartialObjectMeta { .. }) = namespaces.get_metadata_opt(namespace).await? {
        ensure!(begun.elapsed() < PATIENCE, "the namespace {namespace} does not go away");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

fn plain_job(index: usize) -> Value {
    json!({
        "metadata": { "name": format!("job-{index}") },
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": node_selector(),
                    "tolerations": tolerations(),
                    "containers": [{ "name": "work", "image": "work" }],
                },
            },
        },
    })
}

fn analysis_job(index: usize) -> Value {
    let summary = RunSummary { message: "3 rows".to_owned(), rows_written: 3, ..RunSummary::default() };
    json!({
        "apiVersion": "aisaas.dev/v1alpha1",
        "kind": "AnalysisJob",
        "metadata": { "name": format!("analysis-{index}") },
        "spec": {
            "sources": [{ "name": "numbers", "format": "csv", "inline": "a\n1\n2\n3\n" }],
            "sql": "SELECT a FROM numbers",
            "workload": {
                "nodeSelector": node_selector(),
                "tolerations": tolerations(),
                "podAnnotations": {
                    "aisaas.dev/kwok-termination-message": serde_json::to_string(&summary).unwrap_or_default(),
                },
            },
        },
    })
}

fn node_selector() -> Value {
    json!({ "kwok.x-k8s.io/node": "fake" })
}

fn tolerations() -> Value {
    json!([{ "key": "kwok.x-k8s.io/node", "operator": "Equal", "value": "fake", "effect": "NoSchedule" }])
}

/// What the operator says of itself.
struct Figures {
    writes: BTreeMap<String, f64>,
    resident: f64,
}

impl Figures {
    async fn read(client: &Client) -> Result<Self> {
        let path =
            "/api/v1/namespaces/ai-saas-platform/services/ai-saas-platform-operator:http/proxy/metrics";
        let request = axum::http::Request::get(path).body(Vec::new())?;
        let text = client.request_text(request).await.context("reading the operator's metrics")?;
        let mut writes = BTreeMap::new();
        let mut resident = 0.0;
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            if let Some(write) = name.strip_prefix("aisaas_operator_api_writes_total{write=\"") {
                writes.insert(write.trim_end_matches("\"}").to_owned(), value.parse()?);
            } else if name == "aisaas_operator_resident_memory_bytes" {
                resident = value.parse()?;
            }
        }
        Ok(Self { writes, resident })
    }

    fn minus(&self, earlier: &Self) -> BTreeMap<String, f64> {
        self.writes
            .iter()
            .map(|(write, number)| (write.clone(), number - earlier.writes.get(write).unwrap_or(&0.0)))
            .filter(|(_, number)| *number > 0.0)
            .collect()
    }
}

fn rate(count: usize, took: Duration) -> f64 {
    float(count) / took.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn float(count: usize) -> f64 {
    count as f64
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}
