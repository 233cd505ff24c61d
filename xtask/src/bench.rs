//! Benchmarks. Each compares with a peer in the same run; none is a test.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo;
use crate::chart;
use crate::cluster;
use crate::go_modules;
use crate::images;
use crate::packages;
use crate::step::Steps;
use crate::target::Arguments;

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Name {
    /// How long the local node takes to stop and to start
    Cluster,
    /// AnalysisJobs beside plain Jobs, on a node where pods succeed without running
    Operator,
    /// TPC-H beside DuckDB and Polars, then AnalysisJobs on the real node: a small one, and the New
    /// York flights. Takes the names of queries, such as q01, to run only those
    Analysis,
    /// Only the part of `analysis` that needs no node
    Tpch,
    /// The gateway beside nginx and the upstream alone: latency, throughput, streams, memory. Takes --quick
    Gateway,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    name: Name,
    /// Passed on to the benchmark
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn bench(options: &Options) -> Result<()> {
    match options.name {
        Name::Cluster => cluster(options),
        Name::Operator => on_cluster(options, "operator", cluster::Options { kwok: true }),
        Name::Analysis => {
            tpch(options)?;
            on_cluster(options, "analysis", cluster::Options::default())
        }
        Name::Tpch => tpch(options),
        Name::Gateway => gateway(options),
    }
}

/// Runs the benchmark of a name against the platform, freshly installed.
fn on_cluster(options: &Options, name: &str, cluster: cluster::Options) -> Result<()> {
    let mut steps = Steps::new("bench", 4);
    steps.next("cluster");
    let target = Arguments::default().prepare(cluster)?;
    steps.next("images");
    let images = images::deliver(&target.delivery)?;
    steps.next("charts");
    chart::install(&target, &images)?;
    steps.next("benchmark");
    packages::ensure_python()?;
    target.pass_to(cargo::built(&format!("bench-{name}"))?.args(&options.arguments)).run()
}

fn tpch(options: &Options) -> Result<()> {
    packages::ensure_python()?;
    cargo::built("bench-tpch")?.args(&options.arguments).run()
}

fn gateway(options: &Options) -> Result<()> {
    let mut steps = Steps::new("bench", 2);
    steps.next("programs");
    packages::ensure(packages::LOAD)?;
    // Not installed: that would start it as a service of this machine.
    let nginx = packages::unpacked("nginx", "usr/sbin/nginx")?;
    go_modules::ensure(&[&go_modules::VEGETA])?;
    let benchmark = cargo::built("bench-gateway")?;
    steps.next("benchmark");
    benchmark
        .env("NGINX", nginx)
        .env("VEGETA", go_modules::VEGETA.path("vegeta")?)
        .args(&options.arguments)
        .run()
}

fn cluster(options: &Options) -> Result<()> {
    if !options.arguments.is_empty() {
        bail!("this benchmark takes no arguments");
    }
    // What is measured is a start with all programs and images at hand.
    cluster::up(cluster::Options::default())?;
    let seconds = |task: &dyn Fn() -> Result<()>| {
        let started = Instant::now();
        task().map(|()| started.elapsed().as_secs_f32())
    };
    let again = seconds(&|| cluster::up(cluster::Options::default()))?;
    let down = seconds(&cluster::down)?;
    let up = seconds(&|| cluster::up(cluster::Options::default()))?;
    println!("up when already up: {again:.1} s\ndown: {down:.1} s\nup after down: {up:.1} s");
    Ok(())
}
