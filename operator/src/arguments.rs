//! What the operator is told at its start: by flags, or by environment
//! variables of the same meaning, which is how the chart sets them.

use std::net::SocketAddr;

use clap::{ArgAction, Parser};
use crds::workload::ImagePullPolicy;

/// The Kubernetes operator of ai-saas-platform.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Namespaces to work in, separated by commas. All of them if left out.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Where /livez, /readyz and /metrics are served. `[::]` is every address of
    /// the machine, of IPv4 and of IPv6 as far as there are such.
    #[arg(long, env = "LISTEN_ADDRESS", default_value = "[::]:8080")]
    pub listen_address: SocketAddr,

    /// Image of analysis-base: of the pods of AnalysisJobs, and of the service
    /// of Platforms, unless one names its own.
    #[arg(long, env = "ANALYSIS_BASE_IMAGE")]
    pub analysis_base_image: String,

    /// Image of the monolith, unless a Platform names its own.
    #[arg(long, env = "MONOLITH_IMAGE")]
    pub monolith_image: String,

    /// When images are pulled: Always, IfNotPresent or Never.
    #[arg(long, env = "IMAGE_PULL_POLICY", value_parser = parse_pull_policy, default_value = "IfNotPresent")]
    pub image_pull_policy: ImagePullPolicy,

    /// Secrets with the credentials of the registry, separated by commas.
    /// They must exist in the namespace of each workload.
    #[arg(long, env = "IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,

    /// Whether workloads get NetworkPolicies.
    #[arg(
        long,
        env = "WORKLOAD_NETWORK_POLICIES",
        action = ArgAction::Set,
        default_value_t = true
    )]
    pub workload_network_policies: bool,

    /// Ports of the API server: of its Service, and of its process. NetworkPolicies
    /// let those connect there that read of it.
    #[arg(long, env = "API_SERVER_PORTS", value_delimiter = ',', default_values_t = [443_u16, 6443])]
    pub api_server_ports: Vec<u16>,

    /// How many objects are reconciled at the same time.
    #[arg(long, env = "CONCURRENCY", default_value_t = 16)]
    pub concurrency: u16,

    /// Which log lines are written, as in `info` or `info,kube=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

fn parse_pull_policy(text: &str) -> Result<ImagePullPolicy, String> {
    match text {
        "Always" => Ok(ImagePullPolicy::Always),
        "IfNotPresent" => Ok(ImagePullPolicy::IfNotPresent),
        "Never" => Ok(ImagePullPolicy::Never),
        other => Err(format!("`{other}` is none of Always, IfNotPresent and Never")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_api_server_are_separated_by_commas() {
        let ports = |more: &[&str]| {
            let images = ["operator", "--analysis-base-image", "a", "--monolith-image", "m"];
            Arguments::parse_from(images.iter().chain(more)).api_server_ports
        };
        assert_eq!(ports(&[]), [443, 6443]);
        assert_eq!(ports(&["--api-server-ports", "443,8443"]), [443, 8443]);
    }
}
