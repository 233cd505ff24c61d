//! The pods of a Platform, and their sudden end.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;

use crate::Namespace;

/// Port that every service listens on.
const PORT: u16 = crds::platform::configuration::PORT;

impl Namespace {
    /// The pods of a service of a Platform, but for those that are being
    /// deleted.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn pods_of(&self, platform: &str, service: &str) -> Result<Vec<Pod>> {
        let labels = format!("app.kubernetes.io/instance={platform},app.kubernetes.io/name={service}");
        let pods = self.api::<Pod>().list(&ListParams::default().labels(&labels)).await;
        let pods = pods.with_context(|| format!("listing the pods of {service}"))?;
        Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Ends every process of the pods of a service at once, by SIGKILL on the
    /// node, as the kernel does when there is no memory left. Returns when the
    /// kubelet has started them again.
    ///
    /// # Errors
    /// If the processes are not on this machine, and if they are not started
    /// again in time.
    pub async fn kill_pods_of(&self, platform: &str, service: &str) -> Result<()> {
        let pods = self.pods_of(platform, service).await?;
        ensure!(!pods.is_empty(), "{service} of `{platform}` has no pod");
        for pod in &pods {
            kill_processes(pod)?;
        }
        for pod in &pods {
            let before = restarts(pod);
            let is_back =
                |pod: Option<&Pod>| pod.is_some_and(|pod| restarts(pod) > before && is_running(pod));
            self.wait_for::<Pod>(&pod.name_any(), "to be started again", is_back).await?;
        }
        Ok(())
    }

    /// Waits until all pods of a Deployment are as its specification says, are
    /// ready, and are so many.
    ///
    /// # Errors
    /// If they are not in time.
    pub async fn wait_until_rolled_out(&self, deployment: &str, pods: i32) -> Result<()> {
        let is_rolled_out = |deployment: Option<&Deployment>| {
            deployment.is_some_and(|deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                status.observed_generation == deployment.metadata.generation
                    && [status.replicas, status.updated_replicas, status.ready_replicas] == [Some(pods); 3]
            })
        };
        self.wait_for::<Deployment>(deployment, "to be rolled out", is_rolled_out).await.map(drop)
    }
}

/// Where a pod is reached from the node.
///
/// # Errors
/// If it has no address.
pub fn pod_url(pod: &Pod) -> Result<String> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
    Ok(format!("http://{}:{PORT}", address.context("the pod has no address")?))
}

/// How often containers of a pod were started again.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    containers(pod).iter().map(|container| container.restart_count).sum()
}

fn is_running(pod: &Pod) -> bool {
    containers(pod)
        .iter()
        .all(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
}

fn containers(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default()
}

fn kill_processes(pod: &Pod) -> Result<()> {
    for container in containers(pod) {
        let id = container.container_id.as_deref().and_then(|id| id.rsplit('/').next());
        let id = id.filter(|id| !id.is_empty()).context("the container has not been started")?;
        let processes = processes_of(id)?;
        ensure!(!processes.is_empty(), "no process of the pod is here: this test needs root on the node");
        // Some may have ended by now; that the container did is seen by its restart.
        let script = format!("kill -KILL {}", processes.join(" "));
        Command::new("sh").args(["-c", &script]).output().context("starting `kill`")?;
    }
    Ok(())
}

/// The ids of the processes in the control group of a container.
fn processes_of(container: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("listing the processes")? {
        let name = entry.context("listing the processes")?.file_name().to_string_lossy().into_owned();
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        // Processes come and go.
        let groups = if is_process { fs::read_to_string(format!("/proc/{name}/cgroup")).ok() } else { None };
        if groups.is_some_and(|groups| groups.contains(container)) {
            found.push(name);
        }
    }
    Ok(found)
}
