//! Logs: one JSON object a line, on standard error.

use tracing_subscriber::EnvFilter;

/// The client logs every connection that fails as an error. What comes of it,
/// and that it is tried again, is logged by who made the request.
const QUIET: &str = "kube_client::client::builder=off";

/// Starts logging.
///
/// # Errors
/// If the filter cannot be read, or logging was started before.
pub fn start(filter: &str) -> anyhow::Result<()> {
    // Who asks for the client's own words gets them.
    let filter = if filter.contains("kube") { filter.to_owned() } else { format!("{filter},{QUIET}") };
    let filter = EnvFilter::try_new(&filter)
        .map_err(|error| anyhow::anyhow!("the log filter `{filter}` cannot be read: {error}"))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}
