//! Starting and stopping.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::{Either, join, join_all, select};
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Arguments;
use crate::analysis_job;
use crate::context::Context;
use crate::http::{Readiness, router};
use crate::listen::listen;
use crate::network_policy::NetworkPolicies;
use crate::platform;
use crate::platform::services::ServiceImages;
use crate::telemetry;

/// After this time, the operator is ready though it could not read all that
/// there is of Platforms.
const PLATFORMS_LIMIT: Duration = Duration::from_secs(60);

/// What is under way when the operator is told to stop is given up after this
/// time: it waits for an API server that does not answer. It is taken up again
/// after the next start, and nothing of it is lost.
const STOPPING_LIMIT: Duration = Duration::from_secs(10);

/// Runs the operator until it is told to stop (SIGTERM or SIGINT). Reconciles
/// that are under way then are finished, unless they take too long.
///
/// # Errors
/// If no API server can be found, or the listening address is taken.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::start(&arguments.log)?;
    let stopping = stopping()?;
    let client = Client::try_default().await.context(
        "no Kubernetes API server is configured: run in a pod with a service account, or set KUBECONFIG",
    )?;
    let images = ServiceImages {
        monolith: arguments.monolith_image.clone(),
        analysis_base: arguments.analysis_base_image.clone(),
        pull_policy: arguments.image_pull_policy,
        pull_secrets: arguments.image_pull_secrets.iter().filter(|name| !name.is_empty()).cloned().collect(),
    };
    let api_server_ports = arguments.workload_network_policies.then(|| arguments.api_server_ports.clone());
    let context = Context::new(client, images, NetworkPolicies::new(api_server_ports));

    let readiness = Readiness::default();
    let listener = listen(arguments.listen_address)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen_address))?;
    let server = tokio::spawn({
        let app = router(context.metrics.clone(), readiness.clone());
        let stopped = until(stopping.clone());
        async move { axum::serve(listener, app).with_graceful_shutdown(stopped).await }
    });

    // One watch and one index for each namespace, or one for all of them.
    let mut scopes: Vec<Option<String>> =
        arguments.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().map(Some).collect();
    if scopes.is_empty() {
        scopes.push(None);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = ?arguments.watch_namespaces,
        analysis_base_image = arguments.analysis_base_image,
        monolith_image = arguments.monolith_image,
        "The operator starts."
    );
    let contexts: Vec<Context> = scopes.iter().map(|_| context.scoped()).collect();
    let all_ready = {
        let contexts = contexts.clone();
        let readiness = readiness.clone();
        async move {
            for context in &contexts {
                context.jobs.wait_until_ready().await;
                context.pods.wait_until_ready().await;
            }
            wait_for_platforms(&contexts).await;
            readiness.set(true);
        }
    };
    let ready = tokio::spawn(all_ready);

    let controllers = scopes.iter().zip(contexts).map(|(namespace, context)| {
        let (namespace, concurrency) = (namespace.as_deref(), arguments.concurrency);
        join(
            analysis_job::run(context.clone(), namespace, concurrency, until(stopping.clone())),
            platform::run(context, namespace, concurrency, until(stopping.clone())),
        )
    });
    let limit = async {
        until(stopping.clone()).await;
        tokio::time::sleep(STOPPING_LIMIT).await;
    };
    if !ends_before(join_all(controllers), limit).await {
        tracing::warn!("The operator stops in the midst of what it has begun, which takes too long.");
    }
    readiness.set(false);
    ready.abort();
    server.await.context("the server of /livez, /readyz and /metrics ended badly")??;
    tracing::info!("The operator has stopped.");
    Ok(())
}

/// Waits until all that there is of Platforms has been read, or that takes too
/// long: with CRDs or permissions from before there were Platforms, it never
/// ends, and AnalysisJobs are run all the same.
async fn wait_for_platforms(contexts: &[Context]) {
    let all = async {
        for context in contexts {
            context.platforms.wait_until_ready().await;
        }
    };
    if tokio::time::timeout(PLATFORMS_LIMIT, all).await.is_err() {
        let missing: BTreeSet<&str> =
            contexts.iter().flat_map(|context| context.platforms.missing()).collect();
        tracing::error!(
            ?missing,
            "The operator is ready, but not for Platforms. Objects of these kinds could not be read yet, and no Platform is reconciled before they are: see the warnings before this, and bring the CRDs and the permissions of the operator to its version."
        );
    } else {
        tracing::info!("The state of the cluster has been read.");
    }
}

/// Whether work ends before a limit does. Otherwise it is given up.
async fn ends_before<T>(work: impl Future<Output = T>, limit: impl Future<Output = ()>) -> bool {
    matches!(select(std::pin::pin!(work), std::pin::pin!(limit)).await, Either::Left(_))
}

/// A value that becomes true when the process is told to stop.
fn stopping() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        select(Box::pin(terminate.recv()), Box::pin(interrupt.recv())).await;
        tracing::info!("The operator was told to stop, and finishes what it has begun.");
        sender.send_replace(true);
    });
    Ok(receiver)
}

async fn until(mut stopping: watch::Receiver<bool>) {
    // The sender is kept until it has sent.
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn what_does_not_end_is_given_up() {
        assert!(ends_before(ready(()), pending()).await);
        assert!(!ends_before(pending::<()>(), ready(())).await);
    }
}
