use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Uri;

/// What `serve` is told when it starts; everything else is in its configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The configuration, as JSON. A change takes effect without a restart, except that of the
    /// database and of the objects.
    #[arg(long, env = "CONFIGURATION", default_value = service_kit::configuration::PATH)]
    pub configuration: PathBuf,
    /// Where to listen. Without IPv6, `[::]` is `0.0.0.0`.
    #[arg(long, env = "LISTEN", default_value = "[::]:8080")]
    pub listen: SocketAddr,
    /// What to log, as in `info` or `warn,analysis_base=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// The folder in which analyses work. It is emptied at the start, so it belongs to one server.
    #[arg(long, env = "WORK_FOLDER", default_value = "/tmp/analysis-base")]
    pub work_folder: PathBuf,
    /// How many analyses run at once. If left out, as many as there are cores, at least two, and
    /// no more than the memory allows.
    #[arg(long, env = "CONCURRENCY")]
    pub concurrency: Option<usize>,
    /// An API server of Kubernetes that asks for no credentials, such as `http://127.0.0.1:8001` of
    /// `kubectl proxy`, for a service outside of the cluster whose AnalysisJobs it shows. In a pod
    /// it is left out.
    #[arg(long, env = "KUBERNETES_URL")]
    pub kubernetes_url: Option<Uri>,
    /// The container's memory limit in bytes.
    #[arg(long, env = "MEMORY_LIMIT_BYTES", hide = true)]
    pub memory_limit_bytes: Option<u64>,
    /// The container's cpu limit in whole cores.
    #[arg(long, env = "CPU_LIMIT", hide = true)]
    pub cpu_limit: Option<usize>,
    /// How many bytes the temporary folder may hold.
    #[arg(long, env = "TEMPORARY_LIMIT_BYTES", hide = true)]
    pub temporary_limit_bytes: Option<u64>,
}
