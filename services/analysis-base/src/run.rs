//! The process around an analysis: it starts it, watches it, can stop it at
//! any moment, and always leaves a summary.
//!
//! ```text
//!   this thread: waits for   the analysis ── on the engine's threads
//!                            SIGTERM, SIGINT
//!                            the watchdog of the memory ── a thread
//!   whichever is first decides what the summary says
//! ```
//!
//! Signals and timers have a runtime of their own on this thread: the
//! engine's threads may all compute for seconds without a pause.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::analysis::{AnalysisSpecification, FailureReason, RunSummary, exit_code};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tracing_subscriber::EnvFilter;

use crate::analysis::{self, Outcome};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::file_limit;
use crate::memory::{self, Watchdog};
use crate::source::Progress;
use crate::summary;

/// What an analysis may take to undo what it began, when it is told to stop.
const GRACE: Duration = Duration::from_millis(800);

/// Sends the log to standard error, as JSON.
pub fn log_to_standard_error() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// What standard input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    IsNotRead,
    /// Its end is that of the process that holds it, for which this run works.
    EndsTheRun,
}

/// Runs the specification in the file and writes the summary to the other;
/// gives the exit code.
#[must_use]
pub fn run(specification: &Path, termination_message: &Path, environment: &Environment, input: Input) -> i32 {
    let started = Instant::now();
    report_panics();
    let path = termination_message.to_owned();
    let progress = Arc::new(Progress::telling(move |step| leave_in_advance(step, &path)));
    progress.begin("read its specification");
    let result = read_specification(specification)
        .and_then(|specification| supervise(specification, environment.clone(), &progress, input));
    let summary = summarize(result, &progress, started);
    match summary.failure {
        None => tracing::info!(
            rows_read = summary.rows_read,
            bytes_read = summary.bytes_read,
            rows_written = summary.rows_written,
            milliseconds = summary.duration_milliseconds,
            peak_memory_bytes = summary.peak_memory_bytes,
            "the analysis is complete: {}",
            summary.message
        ),
        Some(reason) => tracing::error!(
            ?reason,
            rows_read = summary.rows_read,
            milliseconds = summary.duration_milliseconds,
            peak_memory_bytes = summary.peak_memory_bytes,
            "the analysis failed: {}",
            summary.message
        ),
    }
    if let Err(error) = summary::write(&summary, termination_message) {
        tracing::error!(%error, path = %termination_message.display(), "the summary cannot be left");
    }
    match summary.failure {
        None => 0,
        Some(reason) if reason.is_retryable() => exit_code::TEMPORARY,
        Some(_) => exit_code::PERMANENT,
    }
}

/// Leaves a summary for the case that the process is ended before it can leave
/// another: a failed allocation and an overrun stack cannot be caught.
fn leave_in_advance(step: &str, termination_message: &Path) {
    let summary = RunSummary {
        failure: Some(FailureReason::Aborted),
        message: format!(
            "The system ended the program while it {step}. Look there for a length that no memory holds, or for \
             values nested without end."
        ),
        ..RunSummary::default()
    };
    if let Err(error) = summary::write(&summary, termination_message) {
        tracing::warn!(%error, path = %termination_message.display(), "no summary can be left");
    }
}

fn read_specification(path: &Path) -> Result<AnalysisSpecification, Failure> {
    let invalid = |detail: String| Failure::new(FailureReason::InvalidSpecification, detail);
    let text = fs::read_to_string(path)
        .map_err(|error| invalid(format!("The specification {} cannot be read: {error}.", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| invalid(format!("The specification cannot be understood: {error}.")))
}

fn supervise(
    specification: AnalysisSpecification,
    environment: Environment,
    progress: &Arc<Progress>,
    input: Input,
) -> Result<Outcome, Failure> {
    fs::create_dir_all(&environment.folders.temporary).map_err(Failure::internal)?;
    let scratch = tempfile::Builder::new()
        .prefix("analysis-")
        .tempdir_in(&environment.folders.temporary)
        .map_err(|error| {
            Failure::internal(format!(
                "{} cannot be written: {error}",
                environment.folders.temporary.display()
            ))
        })?;
    let control = Builder::new_current_thread().enable_all().build().map_err(Failure::internal)?;
    if let Some(bytes) = environment.file_limit_bytes {
        let _entered = control.enter();
        file_limit::set(bytes).map_err(Failure::internal)?;
    }
    let engine = engine_runtime(&environment)?;

    let memory_limit_bytes = environment.memory_limit_bytes;
    let exhausted = watch_memory(memory_limit_bytes);
    let abandoned = watch_input(input);
    let (stop, stopped) = watch::channel(false);
    let progress = Arc::clone(progress);
    let folder = scratch.path().to_owned();
    let analysis = engine
        .spawn(async move { analysis::run(&specification, &environment, &folder, &progress, stopped).await });
    let result = control.block_on(first_of(analysis, exhausted, abandoned, &stop, memory_limit_bytes));

    // What still computes is left to the end of the process.
    engine.shutdown_background();
    if matches!(&result, Err(failure) if failure.reason == FailureReason::MemoryExhausted) {
        // Memory may still be growing, and removing large files takes time:
        // the folder goes away with the pod.
        let _ = scratch.keep();
    }
    result
}

fn engine_runtime(environment: &Environment) -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(environment.cores)
        .thread_name("engine")
        // A query may be nested as deeply as it is long, and the engine walks
        // it recursively. This is address space; memory is taken as it is used.
        .thread_stack_size(environment.engine_stack_bytes)
        .enable_all()
        .build()
        .map_err(Failure::internal)
}

fn watch_memory(limit_bytes: u64) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        Watchdog::new(limit_bytes).wait();
        let _ = sender.send(());
    });
    receiver
}

/// Tells of the end of standard input, if that means something.
fn watch_input(input: Input) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    if input == Input::EndsTheRun {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = sender.send(());
        });
    }
    receiver
}

async fn first_of(
    mut analysis: JoinHandle<Result<Outcome, Failure>>,
    exhausted: oneshot::Receiver<()>,
    abandoned: oneshot::Receiver<()>,
    stop: &watch::Sender<bool>,
    memory_limit_bytes: u64,
) -> Result<Outcome, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::internal)?;
    tokio::select! {
        result = &mut analysis => return joined(result),
        Ok(()) = exhausted => return Err(Failure::memory_exhausted(memory_limit_bytes)),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // The sender is dropped at once where nobody is to be waited for.
        Ok(()) = abandoned => {}
    }
    tracing::warn!("the run was told to stop");
    let _ = stop.send(true);
    match tokio::time::timeout(GRACE, analysis).await {
        Ok(result) => joined(result),
        Err(_) => Err(Failure::interrupted()),
    }
}

fn joined(result: Result<Result<Outcome, Failure>, JoinError>) -> Result<Outcome, Failure> {
    result.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(payload) => Err(Failure::internal(panic_message(payload.as_ref()))),
        Err(error) => Err(Failure::internal(error)),
    })
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|information| {
        let place = information.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a part of the program panicked: {}", panic_message(information.payload()));
    }));
}

fn summarize(result: Result<Outcome, Failure>, progress: &Progress, started: Instant) -> RunSummary {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut summary = RunSummary {
        rows_read: number(progress.rows()),
        bytes_read: number(progress.bytes()),
        duration_milliseconds: i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX),
        peak_memory_bytes: number(memory::peak_bytes()),
        ..RunSummary::default()
    };
    match result {
        Ok(outcome) => {
            summary.message = outcome.message;
            summary.rows_written = number(outcome.rows_written);
            summary.files = outcome.files;
            summary.dataset_version = outcome.dataset_version;
            summary.preview = outcome.preview;
        }
        Err(failure) => {
            summary.failure = Some(failure.reason);
            summary.message = failure.message;
        }
    }
    summary
}
