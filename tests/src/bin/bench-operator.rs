//! How fast the operator is, beside plain Jobs in the same run, on a fake node
//! where pods succeed without running: what is measured is the control plane
//! and the operator, not the work.
//!
//! There are two kinds of plain Jobs: the smallest that there is, and the very
//! Job that an AnalysisJob becomes, as somebody would write it who has no
//! operator. The second tells what the operator costs, the first what a larger
//! pod costs as well.
//!
//! `cargo xtask bench operator` starts the node and calls this.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use crds::AnalysisJob;
use crds::analysis::RunSummary;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, NotUsed, Object, PartialObjectMeta, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::Deserialize;
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

const TEMPLATE: &str = "bench-template";
const SMALLEST_JOBS: &str = "bench-smallest-jobs";
const SAME_JOBS: &str = "bench-same-jobs";
const ANALYSIS_JOBS: &str = "bench-analysis-jobs";
/// The namespaces that the objects are in.
const NAMESPACES: [&str; 4] = [TEMPLATE, SMALLEST_JOBS, SAME_JOBS, ANALYSIS_JOBS];

#[tokio::main]
async fn main() -> Result<()> {
    let count = std::env::args()
        .nth(1)
        .map_or(Ok(COUNT), |text| text.parse())
        .context("usage: bench-operator [COUNT]")?;
    let client = Client::try_default().await.context("set KUBECONFIG: `cargo xtask bench operator` does")?;
    for namespace in NAMESPACES {
        clean(&client, namespace).await?;
    }
    let idle = Figures::read(&client).await?;
    println!("operator at rest: {} MB", megabytes(idle.resident));

    let jobs = ApiResource::erase::<Job>(&());
    let smallest = phase(&client, SMALLEST_JOBS, &jobs, count, smallest_job).await?;
    println!("{count} smallest Jobs: {}", told(count, smallest));
    // Each phase begins with an empty cluster: what is left of others makes
    // the control plane slower.
    clean(&client, SMALLEST_JOBS).await?;
    let job = same_job(&client).await?;
    let same = phase(&client, SAME_JOBS, &jobs, count, |index| named(&job, index)).await?;
    println!("{count} Jobs like those of AnalysisJobs: {}", told(count, same));
    clean(&client, TEMPLATE).await?;
    clean(&client, SAME_JOBS).await?;

    let before = Figures::read(&client).await?;
    let own = phase(&client, ANALYSIS_JOBS, &ApiResource::erase::<AnalysisJob>(&()), count, |index| {
        named(&analysis_job(), index)
    })
    .await?;
    let after = Figures::read(&client).await?;
    println!("{count} AnalysisJobs: {}", told(count, own));
    println!("their rate beside that of the smallest Jobs: {:.2}", ratio(smallest, own));
    println!("their rate beside that of the same Jobs: {:.2}", ratio(same, own));
    println!("operator with {count} AnalysisJobs: {} MB", megabytes(after.resident));
    let writes = after.minus(&before);
    println!("writes for each AnalysisJob: {:.2}", writes.values().sum::<f64>() / float(count));
    for (write, number) in &writes {
        println!("  {write}: {:.3}", number / float(count));
    }

    tokio::time::sleep(REST).await;
    let rested = Figures::read(&client).await?;
    let written: f64 = rested.minus(&after).values().sum();
    println!("writes in {} s at rest: {}", REST.as_secs(), written.abs());
    println!("operator after {} s at rest: {} MB", REST.as_secs(), megabytes(rested.resident));

    clean(&client, ANALYSIS_JOBS).await
}

/// A Job or an AnalysisJob, as far as matters here: a watch that decodes little
/// leaves the processors to what is measured.
type Run = Object<NotUsed, Ending>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ending {
    completion_time: Option<String>,
}

fn is_complete(run: &Run) -> bool {
    run.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Creates objects, waits until all are complete, and tells how long it took
/// from the first creation.
async fn phase(
    client: &Client,
    namespace: &str,
    kind: &ApiResource,
    count: usize,
    object: impl Fn(usize) -> Value,
) -> Result<Duration> {
    create_namespace(client, namespace).await?;
    let runs: Api<Run> = Api::namespaced_with(client.clone(), namespace, kind);
    let completed = completions(watcher(runs, watcher::Config::default()));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
    let begun = Instant::now();
    let create = async {
        stream::iter((0..count).map(object))
            .map(|object| {
                let api = api.clone();
                async move {
                    let object: DynamicObject = serde_json::from_value(object)?;
                    api.create(&PostParams::default(), &object).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(CREATIONS)
            .try_collect::<Vec<()>>()
            .await
            .context("creating the objects")?;
        println!("  created {count} in {:.1} s", begun.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    let complete = async {
        let mut completed = std::pin::pin!(completed.take(count));
        while completed.next().await.is_some() {}
        anyhow::Ok(())
    };
    let all = async { futures::try_join!(create, complete).map(drop) };
    tokio::time::timeout(PATIENCE, all).await.context("not all objects were completed in time")??;
    Ok(begun.elapsed())
}

/// One item for each object that completes. A watch that breaks off starts
/// again.
fn completions(events: impl Stream<Item = watcher::Result<watcher::Event<Run>>>) -> impl Stream<Item = ()> {
    let mut seen = HashSet::new();
    events.default_backoff().applied_objects().filter_map(move |run| {
        let is_new = run.ok().filter(is_complete).is_some_and(|run| seen.insert(run.metadata.name));
        async move { is_new.then_some(()) }
    })
}

async fn create_namespace(client: &Client, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    namespaces.create(&PostParams::default(), &namespace).await?;
    // The namespace's default ServiceAccount comes a moment later, and pods
    // need it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(())
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

fn smallest_job(index: usize) -> Value {
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
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
    });
    named(&job, index)
}

/// The Job that an AnalysisJob becomes, free of what belongs to it alone.
async fn same_job(client: &Client) -> Result<Value> {
    create_namespace(client, TEMPLATE).await?;
    let owner: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), TEMPLATE, &ApiResource::erase::<AnalysisJob>(&()));
    let owner =
        owner.create(&PostParams::default(), &serde_json::from_value(named(&analysis_job(), 0))?).await?;
    let jobs: Api<Job> = Api::namespaced(client.clone(), TEMPLATE);
    let begun = Instant::now();
    let job = loop {
        if let Some(job) = jobs.get_opt(&owner.metadata.name.clone().unwrap_or_default()).await? {
            break job;
        }
        ensure!(begun.elapsed() < PATIENCE, "the operator makes no Job: is it running?");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut spec = serde_json::to_value(job.spec)?;
    let labels = &mut spec["template"]["metadata"]["labels"];
    if let Some(labels) = labels.as_object_mut() {
        // Those of the Job controller are of that Job, ours would make these
        // Jobs the operator's business.
        labels.retain(|name, _| {
            !name.contains("batch.kubernetes.io") && !name.contains("aisaas.dev") && name.contains('/')
        });
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("selector");
    }
    Ok(json!({ "apiVersion": "batch/v1", "kind": "Job", "spec": spec }))
}

fn analysis_job() -> Value {
    let summary = RunSummary { message: "3 rows".to_owned(), rows_written: 3, ..RunSummary::default() };
    json!({
        "apiVersion": "aisaas.dev/v1alpha1",
        "kind": "AnalysisJob",
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

fn named(object: &Value, index: usize) -> Value {
    let mut object = object.clone();
    object["metadata"] = json!({ "name": format!("bench-{index}") });
    object
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

fn told(count: usize, took: Duration) -> String {
    format!("{:.1} s, {:.1} a second", took.as_secs_f64(), float(count) / took.as_secs_f64())
}

/// The rate of the second beside that of the first, of as many objects.
fn ratio(first: Duration, second: Duration) -> f64 {
    first.as_secs_f64() / second.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn float(count: usize) -> f64 {
    count as f64
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}
