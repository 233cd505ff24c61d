//! The operator: its pod, its log and its counters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt};

use crate::Cluster;
use crate::cluster::{OPERATOR, RELEASE};
use crate::namespace::PATIENCE;

/// The operator.
#[derive(Clone, Debug)]
pub struct Operator {
    cluster: Cluster,
}

impl Operator {
    /// The operator of a cluster.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone() }
    }

    /// Its pod that is not being deleted.
    ///
    /// # Errors
    /// If there is none.
    pub async fn pod(&self) -> Result<Pod> {
        let selector = ListParams::default().labels(&selector());
        let pods = self.pods().list(&selector).await.context("listing the pods of the operator")?;
        let alive = pods.items.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none());
        alive.context("the operator has no pod")
    }

    /// Its Deployment.
    ///
    /// # Errors
    /// If there is none.
    pub async fn deployment(&self) -> Result<Deployment> {
        self.deployments().get(OPERATOR).await.context("reading the Deployment of the operator")
    }

    /// Ends the operator at once, as a node that is switched off does: no
    /// signal, no grace. Returns when there is another pod in its place.
    ///
    /// # Errors
    /// Those of the API server, or if there is no other pod in time.
    pub async fn kill(&self) -> Result<()> {
        let killed = self.pod().await?;
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.pods().delete(&killed.name_any(), &parameters).await.context("killing the operator")?;
        let own = watcher::Config::default().labels(&selector());
        let pods = watcher(self.pods(), own).default_backoff().applied_objects();
        let others = pods.try_filter(|pod| std::future::ready(pod.uid() != killed.uid()));
        let mut others = std::pin::pin!(others);
        tokio::time::timeout(PATIENCE, others.next())
            .await
            .map_err(|_| anyhow!("the operator got no other pod"))?
            .context("the watch of pods has ended")?
            .context("watching the pods of the operator")?;
        Ok(())
    }

    /// Waits until the operator is at work.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let is_ready = |deployment: Option<&Deployment>| {
            deployment.is_some_and(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                status.observed_generation == deployment.metadata.generation
                    && status.updated_replicas == status.replicas
                    && status.ready_replicas.is_some_and(|ready| Some(ready) == status.replicas)
            })
        };
        tokio::time::timeout(PATIENCE, await_condition(self.deployments(), OPERATOR, is_ready))
            .await
            .map_err(|_| anyhow!("the operator was not ready in time"))?
            .context("waiting for the operator")?;
        Ok(())
    }

    /// Its log, or the last lines of it.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn log(&self, last_lines: Option<i64>) -> Result<String> {
        let name = self.pod().await?.name_any();
        let parameters = LogParams { tail_lines: last_lines, ..LogParams::default() };
        self.pods().logs(&name, &parameters).await.context("reading the log of the operator")
    }

    /// How often it wrote to the API server since its start, by the kind of
    /// write.
    ///
    /// # Errors
    /// If its counters cannot be read.
    pub async fn writes(&self) -> Result<BTreeMap<String, u64>> {
        let metrics = self.metrics().await?;
        let prefix = "aisaas_operator_api_writes_total{write=\"";
        let writes = metrics.lines().filter_map(|line| {
            let (write, count) = line.strip_prefix(prefix)?.split_once("\"} ")?;
            Some((write.to_owned(), count.parse().ok()?))
        });
        Ok(writes.collect())
    }

    /// How many reconciles it has begun since its start.
    ///
    /// # Errors
    /// If its counters cannot be read.
    pub async fn reconciles(&self) -> Result<u64> {
        let metrics = self.metrics().await?;
        let counts = metrics.lines().filter_map(|line| {
            line.strip_prefix("aisaas_operator_reconciles_total{")?.rsplit_once(' ')?.1.parse::<u64>().ok()
        });
        Ok(counts.sum())
    }

    /// Its counters as text, by way of its Service.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn metrics(&self) -> Result<String> {
        let path = format!("/api/v1/namespaces/{RELEASE}/services/{OPERATOR}:http/proxy/metrics");
        let request = axum::http::Request::get(path).body(Vec::new()).context("asking for the counters")?;
        self.cluster.client.request_text(request).await.context("reading the counters of the operator")
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), RELEASE)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client.clone(), RELEASE)
    }
}

fn selector() -> String {
    format!("app.kubernetes.io/name={OPERATOR}")
}
