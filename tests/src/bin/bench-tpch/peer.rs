//! Queries by another engine, in a Python process that stays.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use ai_saas_platform_tests::command::repository;
use ai_saas_platform_tests::tpch;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Limits, Run};

/// An engine that waits for queries. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As the Python package is called.
    pub(crate) name: &'static str,
    pub(crate) version: String,
    results: TempDir,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Killed when it is dropped.
    _process: Child,
}

/// A line that `peer.py` prints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    version: Option<String>,
    seconds: f64,
    peak_bytes: u64,
    error: Option<String>,
}

impl Peer {
    pub(crate) async fn start(
        name: &'static str,
        interpreter: &Path,
        data: &Path,
        limits: Limits,
    ) -> Result<Self> {
        let results = tempfile::tempdir().context("a folder for results")?;
        let queries = repository(tpch::QUERIES);
        let mut process = Command::new(interpreter)
            .arg(queries.join("peer.py"))
            .arg(name)
            .args([data, &queries, results.path()])
            .args([limits.cores.to_string(), limits.memory_bytes.to_string()])
            // The sources stay as they are.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let input = process.stdin.take().context("the process has no input")?;
        let output = process.stdout.take().context("the process has no output")?;
        let output = BufReader::new(output).lines();
        let mut peer = Self { name, version: String::new(), results, input, output, _process: process };
        peer.version = peer.answer().await?.version.unwrap_or_default();
        Ok(peer)
    }

    /// Where the result of a query is.
    pub(crate) fn result(&self, name: &str) -> PathBuf {
        self.results.path().join(format!("{name}.parquet"))
    }

    /// Runs a query.
    pub(crate) async fn run(&mut self, name: &str) -> Result<Run> {
        self.input.write_all(format!("{name}\n").as_bytes()).await.context("asking for a query")?;
        let answer = self.answer().await.with_context(|| format!("{name} by {}", self.name))?;
        if let Some(error) = answer.error {
            bail!("{name} by {} failed: {error}", self.name);
        }
        Ok(Run { seconds: answer.seconds, wall_seconds: answer.seconds, peak_bytes: answer.peak_bytes })
    }

    async fn answer(&mut self) -> Result<Answer> {
        let line = self.output.next_line().await.context("reading an answer")?;
        let line = line.with_context(|| format!("{} has ended", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("an answer of {}: {line}", self.name))
    }
}
