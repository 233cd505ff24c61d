//! Queries by the program of an AnalysisJob's pod, with what the pod has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use ai_saas_platform_tests::tpch;
use anyhow::{Context as _, Result, ensure};
use crds::analysis::{RunSummary, paths};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{Limits, Run};

/// What an AnalysisJob has if nothing is said.
const TEMPORARY_LIMIT_BYTES: u64 = 8 << 30;

/// A folder in place of the root of a pod's file system.
#[derive(Debug)]
pub(crate) struct Ours {
    root: TempDir,
    program: PathBuf,
    limits: Limits,
}

impl Ours {
    /// With the tables as a claim.
    pub(crate) fn new(data: &Path, limits: Limits) -> Result<Self> {
        let root = tempfile::tempdir().context("a folder for the analyses")?;
        for path in [paths::CLAIMS, paths::OUTPUT, paths::TEMPORARY] {
            fs::create_dir_all(below(root.path(), path)).with_context(|| format!("creating {path}"))?;
        }
        symlink(data, below(root.path(), paths::CLAIMS).join(tpch::CLAIM)).context("linking the tables")?;
        // Built together with this program.
        let program =
            std::env::current_exe().context("where this program is")?.with_file_name("analysis-base");
        Ok(Self { root, program, limits })
    }

    /// Where the result of a query is.
    pub(crate) fn result(&self, name: &str) -> PathBuf {
        below(self.root.path(), paths::OUTPUT).join(name).join("result.parquet")
    }

    /// Runs a query as a process.
    pub(crate) async fn run(&self, name: &str) -> Result<Run> {
        let specification = self.root.path().join("specification.json");
        let summary = self.root.path().join("termination-log");
        fs::write(&specification, tpch::specification(name)?.to_string())?;
        let begun = Instant::now();
        let output = Command::new(&self.program)
            .arg("run")
            .arg("--specification")
            .arg(&specification)
            .arg("--root")
            .arg(self.root.path())
            .arg("--termination-message")
            .arg(&summary)
            .env("MEMORY_LIMIT_BYTES", self.limits.memory_bytes.to_string())
            .env("TEMPORARY_LIMIT_BYTES", TEMPORARY_LIMIT_BYTES.to_string())
            .env("CPU_LIMIT", self.limits.cores.to_string())
            // As its image has it.
            .env("MIMALLOC_ALLOW_THP", "0")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {}", self.program.display()))?;
        let wall_seconds = begun.elapsed().as_secs_f64();
        let summary: RunSummary = serde_json::from_slice(&fs::read(&summary)?).context("the summary")?;
        ensure!(
            output.status.success() && summary.failure.is_none(),
            "{name} failed ({}): {}",
            output.status,
            summary.message
        );
        Ok(Run {
            seconds: milliseconds(summary.duration_milliseconds),
            wall_seconds,
            peak_bytes: u64::try_from(summary.peak_memory_bytes).unwrap_or_default(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn milliseconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
