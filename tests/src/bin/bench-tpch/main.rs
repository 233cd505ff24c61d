//! TPC-H at scale factor 1 over Parquet: the 22 queries by the program of an
//! AnalysisJob's pod, by DuckDB and by Polars, in turns, with the same number of
//! threads; and whether all give the same results.
//!
//! A time of ours is that of a whole process, from its start to the result
//! on disk. The others are processes that stay, and theirs are those of the
//! query and of writing its result. DuckDB is also run as ours is, a process for
//! each query, so that it has nothing in memory either.
//!
//! `cargo xtask bench analysis` and `cargo xtask bench tpch` call this.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

mod data;
mod ours;
mod peer;

use std::path::Path;
use std::process::Stdio;

use ai_saas_platform_tests::command::repository;
use ai_saas_platform_tests::python;
use ai_saas_platform_tests::statistics::{geometric_mean, median};
use ai_saas_platform_tests::stopping::unless_stopped;
use ai_saas_platform_tests::tpch;
use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use crate::ours::Ours;
use crate::peer::Peer;

/// Runs of each query by each engine.
const RUNS: usize = 3;
const MEMORY_BYTES: u64 = 4 << 30;

/// What each engine may use.
#[derive(Clone, Copy, Debug)]
struct Limits {
    cores: usize,
    memory_bytes: u64,
}

/// One run of a query.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// As the engine measured it.
    seconds: f64,
    /// With the start and the end of a process, where there is one for each query.
    wall_seconds: f64,
    peak_bytes: u64,
}

/// The runs of a query by one engine, or why there are none.
type Runs = Result<Vec<Run>, String>;

/// How queries are run, in the order of the columns.
const ENGINES: usize = 4;
const OURS: usize = 0;
const DUCKDB: usize = 1;
/// DuckDB with a process for each query.
const DUCKDB_ANEW: usize = 2;
const POLARS: usize = 3;

/// What became of a query: the runs of each engine.
#[derive(Debug)]
struct Row {
    name: String,
    runs: [Runs; ENGINES],
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names = tpch::names();
    }
    for name in &names {
        ensure!(tpch::names().contains(name), "usage: bench-tpch [q01 … q22]; there is no query `{name}`");
    }
    unless_stopped(run(&names)).await
}

async fn run(names: &[String]) -> Result<()> {
    let interpreter = python::TPCH.interpreter().await?;
    let data = data::ensure(&interpreter).await?;
    let cores = std::thread::available_parallelism().context("how many cores there are")?.get();
    let limits = Limits { cores, memory_bytes: MEMORY_BYTES };
    let ours = Ours::new(&data, limits)?;
    let mut duckdb = Peer::start("duckdb", &interpreter, &data, limits).await?;
    let mut polars = Peer::start("polars", &interpreter, &data, limits).await?;
    println!(
        "TPC-H, scale factor 1, Parquet with Snappy, {cores} threads, {} GiB; medians of {RUNS} runs in seconds; \
         duckdb {}, polars {}",
        MEMORY_BYTES >> 30,
        duckdb.version,
        polars.version
    );
    println!(
        "{:<8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>12}{:>9}{:>12}",
        "query", "ours", "process", "duckdb", "anew", "polars", "to duckdb", "anew", "to polars"
    );
    let (mut rows, mut mismatches) = (Vec::new(), Vec::new());
    for name in names {
        let mut runs: [Runs; ENGINES] = [const { Ok(Vec::new()) }; ENGINES];
        for _ in 0..RUNS {
            add(&mut runs[OURS], ours.run(name).await);
            add(&mut runs[DUCKDB], duckdb.run(name).await);
            add(&mut runs[POLARS], polars.run(name).await);
            let mut anew = Peer::start("duckdb", &interpreter, &data, limits).await?;
            add(&mut runs[DUCKDB_ANEW], anew.run(name).await);
        }
        let row = Row { name: name.clone(), runs };
        row.print();
        for (peer, runs) in [(&duckdb, &row.runs[DUCKDB]), (&polars, &row.runs[POLARS])] {
            if row.runs[OURS].is_ok() && runs.is_ok() {
                let found = compare(&interpreter, name, &ours.result(name), &peer.result(name)).await?;
                mismatches
                    .extend(found.lines().map(|line| format!("{name}, ours and {}: {line}", peer.name)));
            }
        }
        rows.push(row);
    }
    summarize(&rows);
    for mismatch in &mismatches {
        println!("MISMATCH {mismatch}");
    }
    let failures: Vec<_> =
        rows.iter().flat_map(|row| &row.runs).filter_map(|runs| runs.as_ref().err()).collect();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    if !mismatches.is_empty() || !failures.is_empty() {
        bail!("{} differences between results, {} failures", mismatches.len(), failures.len());
    }
    println!("all results agree");
    Ok(())
}

/// A query that has failed once is not measured.
fn add(runs: &mut Runs, run: Result<Run>) {
    let Ok(before) = runs else { return };
    match run {
        Ok(run) => before.push(run),
        Err(error) => *runs = Err(format!("{error:#}")),
    }
}

impl Row {
    /// The median of an engine; NaN if it failed.
    fn median(&self, engine: usize) -> f64 {
        self.of(engine, |run| run.seconds, median)
    }

    fn best(&self, engine: usize) -> f64 {
        self.of(engine, |run| run.seconds, |seconds| seconds.iter().copied().fold(f64::NAN, f64::min))
    }

    fn of(&self, engine: usize, figure: fn(&Run) -> f64, of_runs: fn(&[f64]) -> f64) -> f64 {
        match &self.runs[engine] {
            Ok(runs) => of_runs(&runs.iter().map(figure).collect::<Vec<_>>()),
            Err(_) => f64::NAN,
        }
    }

    fn print(&self) {
        let process = self.of(OURS, |run| run.wall_seconds, median);
        print_figures(&self.name, &format!("{process:.3}"), |engine| self.median(engine));
    }
}

/// The seconds of each engine and what ours are beside the others.
fn print_figures(name: &str, process: &str, seconds: impl Fn(usize) -> f64) {
    let [ours, duckdb, anew, polars] = [OURS, DUCKDB, DUCKDB_ANEW, POLARS].map(seconds);
    println!(
        "{name:<8}{ours:>9.3}{process:>9}{duckdb:>9.3}{anew:>9.3}{polars:>9.3}{:>12.2}{:>9.2}{:>12.2}",
        ours / duckdb,
        ours / anew,
        ours / polars
    );
}

/// Totals over the queries that all engines could run.
fn summarize(rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.runs.iter().all(std::result::Result::is_ok)).collect();
    let total = |engine: usize, figure: fn(&Row, usize) -> f64| -> f64 {
        rows.iter().map(|row| figure(row, engine)).sum()
    };
    for (what, figure) in
        [("total", Row::median as fn(&Row, usize) -> f64), ("best", Row::best as fn(&Row, usize) -> f64)]
    {
        print_figures(what, "", |engine| total(engine, figure));
    }
    let ratios = |peer: usize| {
        let ratios: Vec<f64> = rows.iter().map(|row| row.median(OURS) / row.median(peer)).collect();
        geometric_mean(&ratios)
    };
    println!(
        "geometric mean of the ratios: {:.2} to duckdb, {:.2} to duckdb begun anew, {:.2} to polars",
        ratios(DUCKDB),
        ratios(DUCKDB_ANEW),
        ratios(POLARS)
    );
    let [ours, duckdb, anew, polars] = [OURS, DUCKDB, DUCKDB_ANEW, POLARS].map(|engine| {
        let runs = rows.iter().filter_map(|row| row.runs[engine].as_ref().ok()).flatten();
        runs.map(|run| run.peak_bytes).max().unwrap_or_default() >> 20
    });
    println!(
        "peak memory: ours {ours} MiB, duckdb begun anew {anew} MiB (of the largest query), \
         duckdb {duckdb} MiB, polars {polars} MiB (of the process)"
    );
}

/// The differences between two results of a query, one a line.
async fn compare(interpreter: &Path, name: &str, ours: &Path, other: &Path) -> Result<String> {
    let output = Command::new(interpreter)
        .arg(repository(tpch::QUERIES).join("compare.py"))
        .arg(name)
        .args([ours, other])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("comparing results")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the results of {name} cannot be compared:\n{complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
