//! How long an AnalysisJob takes on a real node: a small one from its creation
//! to its end, with the operator's share of it; and the profile and the query
//! of the New York flights, as their pods measured them.
//!
//! `cargo xtask bench analysis` starts the node and calls this.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

use std::pin::pin;
use std::time::{Duration, Instant};

use ai_saas_platform_tests::command::{kubectl, repository, repository_argument, run};
use ai_saas_platform_tests::volume::shell_image;
use ai_saas_platform_tests::{Namespace, outcome, specification, with_namespace};
use anyhow::{Context as _, Result, anyhow, ensure};
use crds::AnalysisJob;
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Small AnalysisJobs, one after the other.
const SMALL: usize = 15;
/// Runs of each analysis of the flights.
const FLIGHTS: usize = 5;
/// Label that the Job controller puts on the pods of a Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    with_namespace(async |namespace| {
        small(namespace).await?;
        flights(namespace).await
    })
    .await
}

async fn small(namespace: &Namespace) -> Result<()> {
    let mut jobs = pin!(watched::<Job>(namespace));
    let mut pods = pin!(watched::<Pod>(namespace));
    let mut analyses = pin!(watched::<AnalysisJob>(namespace));
    let (mut totals, mut shares) = (Vec::new(), Vec::new());
    for index in 0..=SMALL {
        let name = format!("small-{index}");
        let spec = specification::query(
            specification::inline_csv("numbers", "a\n1\n2\n3\n"),
            "SELECT sum(a) AS total FROM numbers",
        );
        let begun = Instant::now();
        namespace.create_analysis(&name, spec).await?;
        let created = begun.elapsed();
        seen(&mut jobs, |job| job.name_any() == name).await?;
        let job_created = begun.elapsed();
        seen(&mut pods, |pod| pod.labels().get(JOB_NAME) == Some(&name) && has_exited(pod)).await?;
        let pod_ended = begun.elapsed();
        let analysis = seen(&mut analyses, |job| job.name_any() == name && outcome::has_ended(job)).await?;
        let ended = begun.elapsed();
        ensure!(outcome::has_succeeded(&analysis), "{}", outcome::in_words(&analysis));
        // The first one pays for what is loaded once.
        if index > 0 {
            totals.push(ended);
            shares.push(job_created.saturating_sub(created) + ended.saturating_sub(pod_ended));
        }
    }
    println!("small AnalysisJob, creation to Complete ({SMALL} runs): {}", spread(&mut totals));
    println!("  of which the operator: {}", spread(&mut shares));
    Ok(())
}

async fn flights(namespace: &Namespace) -> Result<()> {
    let script = repository("examples/flights/load.sh");
    run(script.into_os_string(), &[&namespace.name], &[("IMAGE", &shell_image())]).await?;
    let folder = repository_argument("examples/flights");
    for name in ["flights-profile", "flights-delays"] {
        let (mut durations, mut peak) = (Vec::new(), 0);
        for _ in 0..FLIGHTS {
            kubectl(&["--namespace", &namespace.name, "apply", "--filename", &folder]).await?;
            let job = namespace.wait_until_ended(name).await?;
            ensure!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
            let status = job.status.context("an AnalysisJob that has ended has a status")?;
            let milliseconds = status.duration_milliseconds.unwrap_or_default();
            durations.push(Duration::from_millis(milliseconds.unsigned_abs()));
            peak = peak.max(status.peak_memory_bytes.unwrap_or_default());
            kubectl(&["--namespace", &namespace.name, "delete", "--wait", "analysisjobs", "--all"]).await?;
        }
        println!(
            "{name}, in its pod ({FLIGHTS} runs): {}, at most {} MiB",
            spread(&mut durations),
            peak >> 20
        );
    }
    Ok(())
}

/// Every state of the objects of a kind, from the first one on.
fn watched<K>(namespace: &Namespace) -> impl Stream<Item = watcher::Result<K>> + use<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    watcher(namespace.api::<K>(), watcher::Config::default()).default_backoff().applied_objects()
}

/// The first state of an object that is as it should be.
async fn seen<K>(
    states: &mut (impl Stream<Item = watcher::Result<K>> + Unpin),
    is_so: impl Fn(&K) -> bool,
) -> Result<K> {
    let found = async {
        while let Some(state) = states.next().await {
            let state = state.context("watching")?;
            if is_so(&state) {
                return Ok(state);
            }
        }
        Err(anyhow!("the watch has ended"))
    };
    tokio::time::timeout(PATIENCE, found).await.map_err(|_| anyhow!("an analysis does not get on"))?
}

fn has_exited(pod: &Pod) -> bool {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.filter_map(|container| container.state.as_ref()).any(|state| state.terminated.is_some())
}

fn spread(durations: &mut [Duration]) -> String {
    durations.sort_unstable();
    let milliseconds = |duration: Option<&Duration>| duration.map_or(0, Duration::as_millis);
    format!(
        "median {} ms, {} to {} ms",
        milliseconds(durations.get(durations.len() / 2)),
        milliseconds(durations.first()),
        milliseconds(durations.last())
    )
}
