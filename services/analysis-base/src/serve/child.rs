//! An analysis in a process of its own: this program again, as `run`.
//!
//! ```text
//!   workspace/specification.json ─▶ analysis-base run ─▶ workspace/…/output/result.parquet, charts
//!                                        │
//!                            stop: SIGTERM, then SIGKILL        ─▶ workspace/summary.json
//! ```
//!
//! A query that takes all of its memory, or data that a decoder aborts on, ends
//! that process and nothing else; and to stop a query is to stop a process.

use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crds::analysis::{AnalysisSpecification, FailureReason, RunSummary};
use rustix::process::{Pid, Signal, kill_process};
use service_kit::configuration::Configuration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::configuration::Settings;
use super::place::Place;
use super::shares::Share;
use crate::environment::Folders;

/// A process that was told to stop and has not done so by then is killed.
const GRACE: Duration = Duration::from_secs(2);
/// Of what a process logs so much is kept, in case that it is the only trace.
const LOG_BYTES: usize = 4 << 10;
/// How the name of a workspace begins.
const PREFIX: &str = "analysis-";

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The folder of the process cannot be made.
    #[error("no folder for an analysis can be made in {}", folder.display())]
    Workspace {
        /// Where it was to be.
        folder: PathBuf,
        /// What was in the way.
        source: io::Error,
    },
    /// The process cannot be started or waited for.
    #[error("the process of an analysis cannot be run")]
    Process(#[source] io::Error),
}

impl ChildError {
    /// Whether there is no room for the folder.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        let (Self::Workspace { source, .. } | Self::Process(source)) = self;
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// How a process ended; `S` is what stopped it.
#[derive(Debug)]
pub enum Ended<S> {
    /// Its files are in the workspace.
    Succeeded(RunSummary),
    /// The summary has the reason.
    Failed(FailureReason, RunSummary),
    /// It was stopped.
    Stopped(S),
}

/// Starts processes.
#[derive(Debug)]
pub struct Launcher {
    executable: PathBuf,
    folder: PathBuf,
    place: Place,
    settings: Configuration<Settings>,
}

impl Launcher {
    /// One that works in `folder`. What is there was left behind by a server
    /// that was killed, and is removed.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn new(folder: &Path, place: Place, settings: Configuration<Settings>) -> Result<Self, ChildError> {
        clear(folder).map_err(|source| ChildError::Workspace { folder: folder.to_owned(), source })?;
        let executable = std::env::current_exe().map_err(ChildError::Process)?;
        Ok(Self { executable, folder: folder.to_owned(), place, settings })
    }

    /// A folder for a process.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn workspace(&self) -> Result<Workspace, ChildError> {
        Workspace::new(&self.folder, &self.place)
            .map_err(|source| ChildError::Workspace { folder: self.folder.clone(), source })
    }

    /// Runs the specification to its end, or until `stop` says otherwise.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub async fn run<S>(
        &self,
        workspace: &Workspace,
        specification: &AnalysisSpecification,
        share: &Share,
        stop: impl Future<Output = S>,
    ) -> Result<Ended<S>, ChildError> {
        let text = serde_json::to_vec(specification).map_err(|error| ChildError::Process(error.into()))?;
        tokio::fs::write(workspace.specification(), text)
            .await
            .map_err(|source| ChildError::Workspace { folder: workspace.folder.path().to_owned(), source })?;
        let mut child = self.start(workspace, share).map_err(ChildError::Process)?;
        // An end of its input tells the process that this one is gone.
        let input = child.stdin.take();
        let log = tokio::spawn(tail(child.stderr.take()));
        let stopped = tokio::select! {
            status = child.wait() => Err(status.map_err(ChildError::Process)?),
            reason = stop => Ok(reason),
        };
        let ended = match stopped {
            Ok(reason) => {
                end(&mut child).await.map_err(ChildError::Process)?;
                Ended::Stopped(reason)
            }
            Err(status) => ended(status, workspace, &log.await.unwrap_or_default()).await,
        };
        drop(input);
        Ok(ended)
    }

    fn start(&self, workspace: &Workspace, share: &Share) -> io::Result<Child> {
        let mut command = Command::new(&self.executable);
        command
            .arg("run")
            .arg("--specification")
            .arg(workspace.specification())
            .arg("--root")
            .arg(workspace.folder.path())
            .arg("--termination-message")
            .arg(workspace.summary())
            .env("RUST_LOG", "warn")
            .env("MEMORY_LIMIT_BYTES", share.memory_bytes.to_string())
            .env("CPU_LIMIT", share.cores.to_string())
            .env("END_WITH_INPUT", "true")
            .current_dir(workspace.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // It is what runs a client's query, and sends no spans: their credentials are not for it.
        for headers in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
            command.env_remove(headers);
        }
        for variable in ["TEMPORARY_LIMIT_BYTES", "FILE_LIMIT_BYTES"] {
            match share.temporary_bytes {
                Some(bytes) => command.env(variable, bytes.to_string()),
                None => command.env_remove(variable),
            };
        }
        // A client must not reach by a source what only this pod can reach.
        if self.settings.current().analyses.allow_private_sources {
            command.env_remove("PUBLIC_ADDRESSES_ONLY");
        } else {
            command.env("PUBLIC_ADDRESSES_ONLY", "true");
        }
        command.spawn()
    }
}

fn clear(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours =
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        if is_ours && let Err(error) = std::fs::remove_dir_all(&path) {
            // A process that has outlived its server may still write to it.
            tracing::warn!(%error, folder = %path.display(), "A folder of an analysis stays behind.");
        }
    }
    Ok(())
}

/// Tells a process to stop, and sees to it that it does.
async fn end(child: &mut Child) -> io::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It is not reaped yet, so the number is still its own.
        kill_process(pid, Signal::TERM)?;
    }
    match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status.map(|_| ()),
        Err(_) => child.kill().await,
    }
}

async fn ended<S>(status: ExitStatus, workspace: &Workspace, log: &str) -> Ended<S> {
    let summary = tokio::fs::read(workspace.summary()).await.ok();
    let mut summary: RunSummary =
        summary.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if status.success() && summary.failure.is_none() {
        return Ended::Succeeded(summary);
    }
    if summary.failure.is_none() {
        // It had no time to say why.
        let (reason, message) = match status.signal() {
            Some(_) => (
                FailureReason::Aborted,
                "The system ended the analysis while it worked: something in the query or in the data asks for \
                 more than there is.",
            ),
            None => (FailureReason::InternalError, "The analysis ended without saying why."),
        };
        summary.failure = Some(reason);
        message.clone_into(&mut summary.message);
    }
    let reason = summary.failure.unwrap_or(FailureReason::InternalError);
    if matches!(reason, FailureReason::Aborted | FailureReason::InternalError) {
        tracing::error!(%status, ?reason, log, "The process of an analysis failed: {}", summary.message);
    }
    Ended::Failed(reason, summary)
}

/// The end of what a process logs.
async fn tail(source: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut source) = source else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = source.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let excess = kept.len().saturating_sub(LOG_BYTES);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The folder of a process. It is removed with all that is in it.
#[derive(Debug)]
pub struct Workspace {
    folder: TempDir,
    folders: Folders,
}

impl Workspace {
    fn new(parent: &Path, place: &Place) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let folders = Folders::below(folder.path());
        for made in [&folders.claims, &folders.output, &folders.secrets, &folders.temporary] {
            std::fs::create_dir_all(made)?;
        }
        match place {
            Place::Folder(objects) => symlink(objects, folders.claims.join(place.name()))?,
            Place::Bucket { credentials, .. } => symlink(credentials, folders.secrets.join(place.name()))?,
        }
        Ok(Self { folder, folders })
    }

    fn specification(&self) -> PathBuf {
        self.folder.path().join("specification.json")
    }

    fn summary(&self) -> PathBuf {
        self.folder.path().join("summary.json")
    }

    /// Puts a file where the analysis finds the ConfigMap key of a source.
    ///
    /// # Errors
    /// If there is no room for it.
    pub async fn add_key(&self, source: &str, key: &str, content: &[u8]) -> Result<(), ChildError> {
        let folder = self.folders.sources.join(source);
        let written = async {
            tokio::fs::create_dir_all(&folder).await?;
            tokio::fs::write(folder.join(key), content).await
        };
        written.await.map_err(|source| ChildError::Workspace { folder: folder.clone(), source })
    }

    /// A file that the analysis has written.
    #[must_use]
    pub fn output(&self, name: &str) -> PathBuf {
        self.folders.output.join(name)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Removing large files takes time, and nobody has to wait for it.
        let folder = self.folder.path().to_owned();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.folder.disable_cleanup(true);
            runtime.spawn_blocking(move || {
                if let Err(error) = std::fs::remove_dir_all(&folder) {
                    tracing::warn!(%error, folder = %folder.display(), "A folder of an analysis stays behind.");
                }
            });
        }
    }
}
