//! The process: everything that runs beside the requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use service_kit::configuration::Configuration;
use service_kit::database::{Database, PoolBounds};
use service_kit::health::Readiness;
use service_kit::metrics::Metrics;
use service_kit::queue::Dispatch;
use service_kit::server::{self, ServerSettings};
use service_kit::spans::Export;
use service_kit::telemetry;

use crate::configuration::Settings;
use crate::counters::Counters;
use crate::gateway::{Gateway, Live};
use crate::keys::Keys;
use crate::{api, requests, schema, webhooks};

/// Where what the process needs is.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArguments {
    /// What the operator says, as JSON.
    #[arg(long, env = "CONFIGURATION", default_value = service_kit::configuration::PATH)]
    configuration: PathBuf,
    /// The file with the first administrator's API key, which need not be there.
    #[arg(long, env = "ADMIN_KEY_FILE", default_value = "/var/run/secrets/aisaas/admin-key/api-key")]
    admin_key_file: PathBuf,
    /// Where requests are taken: by IPv6 and by IPv4.
    #[arg(long, env = "LISTEN", default_value = "[::]:8080", hide = true)]
    listen: SocketAddr,
    /// What is logged, as in `info` or `info,monolith=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    log: String,
    /// Where it is left why the process cannot go on.
    #[arg(long, default_value = "/dev/termination-log", hide = true)]
    termination_message: PathBuf,
}

/// Serves until the process is told to stop. Why it cannot is also left where
/// the kubelet finds it.
///
/// # Errors
/// If it cannot start.
pub async fn serve(arguments: ServeArguments) -> anyhow::Result<()> {
    let message = arguments.termination_message.clone();
    let served = run(arguments).await;
    if let Err(error) = &served {
        // Outside of a pod there is no such file, and the error is printed.
        let _ = std::fs::write(message, format!("{error:#}"));
    }
    served
}

async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    telemetry::start(&arguments.log)?;
    let export = Export::begin("monolith", env!("CARGO_PKG_VERSION"))?;
    let stopping = server::stopping()?;
    let configuration = Configuration::<Settings>::follow(&arguments.configuration).await?;
    let settings = configuration.current();
    let database = Database::open(&settings.database, &[schema::TABLES], PoolBounds::default()).await?;
    let keys = Keys::open(&database, arguments.admin_key_file).await?;
    let metrics = Metrics::new("monolith");
    let counters = Counters::new(&metrics);
    let live = Live::new(&settings)?;
    let dispatch = Dispatch::start(settings.queue.as_ref(), &metrics);
    let gateway = Arc::new(Gateway::new(live, database.clone(), &dispatch, keys, counters, stopping.clone()));

    let readiness = Readiness::default();
    let checked = database.clone();
    readiness.require("database", move || {
        let database = checked.clone();
        async move { database.ping().await.map_err(|error| service_kit::problem::chain(&error)) }
    });
    let router = api::router(&gateway, readiness.clone(), metrics)?;
    let listener = server::listen(arguments.listen)
        .await
        .with_context(|| format!("listening at {}", arguments.listen))?;

    let following = Arc::clone(&gateway);
    tokio::spawn(async move { following.follow(configuration).await });
    let following = Arc::clone(&gateway);
    tokio::spawn(async move { following.keys.follow().await });
    let tidying = Arc::clone(&gateway);
    tokio::spawn(async move { requests::tidy(&tidying).await });
    let at_once = settings.gateway.requests_at_once;
    let working =
        tokio::spawn(requests::work(Arc::clone(&gateway), at_once, server::until(stopping.clone())));
    let delivering = tokio::spawn(webhooks::deliver(Arc::clone(&gateway), server::until(stopping.clone())));

    server::serve(listener, router, &readiness, ServerSettings::default(), server::until(stopping)).await?;
    // What they were at is stored: whoever starts next goes on with it.
    working.await?;
    delivering.await?;
    database.close().await;
    export.end().await;
    Ok(())
}
