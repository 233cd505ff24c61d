//! analysis-base as a service: data sets in, analyses over them, results out.
//!
//! ```text
//!   client ─▶ datasets, uploads ──▶ objects (folder or S3)  ◀── child: this program as `run`,
//!        ├──▶ analyses ─▶ database (row and job) ─▶ worker ───▶        one process for each analysis
//!        └──▶ analysis_jobs ─▶ kubernetes: AnalysisJobs of the namespace, and their ConfigMaps
//!   housekeeping: what is over, and what nothing refers to, is removed
//! ```
//!
//! The server itself runs no query and decodes nothing that a client has sent
//! (results are what this program wrote itself): it can be killed at any instruction and started again, and whatever ends a
//! child ends nothing else.

mod admission;
mod analyses;
mod analysis_jobs;
mod arguments;
mod child;
mod configuration;
mod datasets;
mod error;
mod files;
mod garbage;
mod housekeeping;
mod idempotent;
mod json;
mod kubernetes;
mod metrics;
mod negotiate;
mod pace;
mod place;
mod rows;
mod schema;
mod shares;
mod state;
mod table;
mod tables;
mod uploads;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn;
use service_kit::Application;
use service_kit::changes::Changes;
use service_kit::configuration::{Configuration, ConfigurationError};
use service_kit::database::{Database, DatabaseError, PoolBounds};
use service_kit::health::Readiness;
use service_kit::idempotency::{Idempotency, IdempotencySettings};
use service_kit::identity::{Trust, TrustError};
use service_kit::limits::Limits;
use service_kit::metrics::Metrics;
use service_kit::objects::{ObjectError, Objects};
use service_kit::problem::chain;
use service_kit::queue::{Backoff, Dispatch, Queue, QueueSettings, Worker, WorkerSettings};
use service_kit::server::{self, ServerSettings};
use service_kit::spans::{Export, ExportError};
use service_kit::telemetry::{self, TelemetryError};
use tokio::sync::watch;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{OpenApi, Tag};
use utoipa_axum::router::OpenApiRouter;

pub use arguments::Arguments;

use analyses::Runner;
use child::{ChildError, Launcher};
use configuration::Settings;
use garbage::Garbage;
use kubernetes::Kubernetes;
use metrics::ServeMetrics;
use place::Place;
use shares::Shares;
use state::{Service, Turns};
use uploads::Finisher;

const NAME: &str = "analysis-base";
/// What the names of its counters begin with.
const PREFIX: &str = "analysis_base";
const DESCRIPTION: &str = "Keeps data sets in versions, and runs SQL queries and profiles over them: results as JSON, \
    CSV, Parquet and Arrow, charts as SVG and Vega-Lite.";
/// What a killed server has left behind is taken over after this.
const LEASE: Duration = Duration::from_secs(15);
/// Analyses that run when the service stops may go on for so long. It is less
/// than a pod has to end, and requests that wait for them have it as well.
const DRAIN: Duration = Duration::from_secs(15);
/// The waits after an analysis or an upload has failed for a reason that may pass.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    /// Logging cannot be started.
    #[error("logging cannot be started")]
    Telemetry(#[from] TelemetryError),
    /// Spans cannot be sent.
    #[error("spans cannot be sent")]
    Export(#[from] ExportError),
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Configuration(#[from] ConfigurationError),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
    /// The place of the objects cannot be used.
    #[error("the place of the objects cannot be used")]
    Objects(#[from] ObjectError),
    /// Nobody can be trusted.
    #[error("the trusted issuer cannot be used")]
    Trust(#[from] TrustError),
    /// No analysis can be run.
    #[error("analyses cannot be run")]
    Child(#[from] ChildError),
    /// The document of the API cannot be made.
    #[error("the document of the API cannot be written")]
    Document(#[from] serde_json::Error),
    /// The network or a signal cannot be used.
    #[error("the service cannot listen")]
    Listen(#[from] io::Error),
}

/// Runs the service until it is told to stop; gives the exit code.
#[must_use]
pub fn run(arguments: &Arguments) -> i32 {
    match start(arguments) {
        Ok(()) => 0,
        Err(error) => {
            if matches!(error, ServeFailure::Telemetry(_)) {
                // Otherwise nobody would learn of it.
                let _ = telemetry::start("info");
            }
            tracing::error!(error = %chain(&error), "The service cannot run.");
            1
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), ServeFailure> {
    telemetry::start(&arguments.log)?;
    crate::run::report_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(arguments));
    // What still computes is left to the end of the process.
    runtime.shutdown_background();
    ended
}

async fn serve(arguments: &Arguments) -> Result<(), ServeFailure> {
    let export = Export::begin(NAME, env!("CARGO_PKG_VERSION"))?;
    let stopping = server::stopping()?;
    let settings = Configuration::<Settings>::follow(&arguments.configuration).await?;
    let metrics = Metrics::new(PREFIX);
    let service = Arc::new(open(arguments, settings.clone(), &metrics).await?);
    let trust = follow_trust(settings)?;

    let readiness = Readiness::default();
    let database = service.database.clone();
    readiness.require("database", move || {
        let database = database.clone();
        async move { database.ping().await.map_err(|error| chain(&error)) }
    });
    let routes = routes().with_state(Arc::clone(&service));
    let streams = streams().with_state(Arc::clone(&service));
    let router = application(routes, streams, readiness.clone(), metrics, trust).into_router()?;
    let router = uploads::with_named_methods(router);
    let listener = server::listen(arguments.listen).await?;

    let workers = tokio::spawn(work(Arc::clone(&service), stopping.clone()));
    let keeper = tokio::spawn({
        let service = Arc::clone(&service);
        async move { housekeeping::keep(&service).await }
    });
    let until = server::until(stopping);
    server::serve(listener, router, &readiness, ServerSettings::default(), until).await?;
    keeper.abort();
    if let Err(error) = workers.await {
        tracing::error!(%error, "The workers have failed.");
    }
    service.database.close().await;
    export.end().await;
    Ok(())
}

/// Opens everything that the service needs.
async fn open(
    arguments: &Arguments,
    settings: Configuration<Settings>,
    metrics: &Metrics,
) -> Result<Service, ServeFailure> {
    let current = settings.current();
    let bounds = current.analyses;
    let shares = Shares::of(arguments);
    tracing::info!(
        concurrency = shares.concurrency,
        memory_bytes = shares.analysis.memory_bytes,
        "Each analysis has its share of the container."
    );
    let place = Place::from(&current.objects);
    // Before anything is opened: it removes what an earlier server has left.
    let launcher = Launcher::new(&arguments.work_folder, place.clone(), settings.clone())?;
    let objects = Objects::open(&current.objects)?;
    let database = Database::open(&current.database, &[tables::TABLES], PoolBounds::default()).await?;
    let dispatch = Dispatch::start(current.queue.as_ref(), metrics);
    let queue_settings = QueueSettings { bound: bounds.queue_length, ..QueueSettings::default() };
    Ok(Service {
        garbage: Garbage::new(&database, &objects),
        queue: Queue::new(&database, "analyses", queue_settings).dispatched_by(&dispatch),
        finishing: Queue::new(&database, "uploads", QueueSettings::default()).dispatched_by(&dispatch),
        idempotency: Idempotency::new(&database, IdempotencySettings::default()),
        turns: Turns::new(shares.concurrency, &place),
        metrics: ServeMetrics::register(metrics),
        changes: Changes::default(),
        kubernetes: Kubernetes::new(
            arguments.kubernetes_url.clone(),
            Some(current.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        ),
        database,
        objects,
        place,
        launcher,
        shares,
        settings,
    })
}

/// The document that describes the API.
#[must_use]
pub fn document() -> OpenApi {
    let described = |router: OpenApiRouter<Arc<Service>>| OpenApiRouter::with_openapi(router.into_openapi());
    let metrics = Metrics::new(PREFIX);
    application(described(routes()), described(streams()), Readiness::default(), metrics, None).document()
}

fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .merge(datasets::routes())
        .merge(uploads::routes())
        .merge(analyses::routes())
        .merge(analysis_jobs::routes())
}

fn streams() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default().merge(datasets::streams()).merge(uploads::streams()).merge(analyses::streams())
}

/// The addresses of the service with all that is around them.
fn application(
    mut routes: OpenApiRouter,
    streams: OpenApiRouter,
    readiness: Readiness,
    metrics: Metrics,
    trust: Option<Arc<Trust>>,
) -> Application {
    routes.get_openapi_mut().tags = Some(tags());
    Application {
        name: NAME,
        description: DESCRIPTION,
        version: env!("CARGO_PKG_VERSION"),
        routes: routes.layer(from_fn(admission::enforce)),
        streams: streams.layer(from_fn(admission::enforce)),
        readiness,
        metrics,
        limits: Limits::default(),
        trust,
    }
}

fn tags() -> Vec<Tag> {
    [
        ("datasets", "Data in versions that never change."),
        ("uploads", "Resumable uploads of versions: tus 1.0 (https://tus.io)."),
        ("analyses", "Queries and profiles, and their results and charts."),
        (
            "analysis-jobs",
            "Analyses that were declared to Kubernetes as AnalysisJobs. They are seen here; they are made, changed and \
             deleted with kubectl or by GitOps. To run an analysis by this API, post it to `/v1/analyses`.",
        ),
    ]
    .map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build())
    .to_vec()
}

/// Works through the queues until the service stops.
async fn work(service: Arc<Service>, stopping: watch::Receiver<bool>) {
    let settings = WorkerSettings {
        concurrency: service.shares.concurrency,
        lease: LEASE,
        backoff: BACKOFF,
        drain: DRAIN,
        ..WorkerSettings::default()
    };
    let analyses = Worker::new(&service.queue, Runner(Arc::clone(&service)), settings);
    let uploads = WorkerSettings { concurrency: 1, ..settings };
    let uploads = Worker::new(&service.finishing, Finisher(Arc::clone(&service)), uploads);
    tokio::join!(analyses.run(server::until(stopping.clone())), uploads.run(server::until(stopping)));
}

/// Trusts whom the configuration says, also after it was changed.
fn follow_trust(mut settings: Configuration<Settings>) -> Result<Option<Arc<Trust>>, ServeFailure> {
    let current = settings.current();
    let Some(configured) = current.trust_settings() else {
        tracing::warn!("The configuration says nothing of `trust`: everybody may call the service.");
        return Ok(None);
    };
    let trust = Arc::new(Trust::new(configured)?);
    let followed = Arc::clone(&trust);
    tokio::spawn(async move {
        while let Some(changed) = settings.changed().await {
            let Some(configured) = changed.trust_settings() else {
                tracing::error!("The changed configuration has no `trust`. Who was trusted before still is.");
                continue;
            };
            if let Err(error) = followed.replace(configured) {
                tracing::error!(error = %chain(&error), "Who was trusted before still is.");
            }
        }
    });
    Ok(Some(trust))
}
