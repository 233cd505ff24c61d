//! What the gateway costs: latency at a constant rate, throughput, processor
//! time, the delay of streams, and memory after a million requests; beside the
//! upstream asked directly, and beside nginx, in alternating rounds of one run.
//!
//! ```text
//!   vegeta, wrk ─▶ upstream                  direct
//!               ─▶ gateway ─▶ upstream
//!               ─▶ nginx   ─▶ upstream
//! ```
//!
//! All of them share the processors of this machine, the load generators and
//! the upstream, too: the processor time of a request is what compares best.
//!
//! `cargo xtask bench gateway` builds and finds the programs and calls this.
#![expect(clippy::print_stdout, reason = "printing figures is its purpose")]

mod gateway;
mod load;
mod nginx;
mod streams;
mod upstream;

use std::path::Path;
use std::time::{Duration, Instant};

use ai_saas_platform_tests::process_figures::{processor_time, resident_bytes};
use ai_saas_platform_tests::statistics::{median, quantile};
use ai_saas_platform_tests::stopping::unless_stopped;
use anyhow::{Context as _, Result, bail};

use crate::gateway::Gateway;
use crate::load::{CONNECTIONS, Target};
use crate::nginx::Nginx;
use crate::streams::Delays;
use crate::upstream::{SMALL, Upstream};

/// Requests a second, where latency is measured.
const RATE: u32 = 1000;
const MEBIBYTE: u64 = 1 << 20;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    rounds: usize,
    /// Of each contestant, in each round.
    at_a_rate: Duration,
    /// The same, for throughput.
    as_fast_as_possible: Duration,
    /// The requests after which memory is looked at.
    memory_after: [u64; 2],
    /// When not to wait for that any longer.
    memory_within: Duration,
}

const WHOLE: Plan = Plan {
    rounds: 3,
    at_a_rate: Duration::from_secs(8),
    as_fast_as_possible: Duration::from_secs(6),
    memory_after: [100_000, 1_000_000],
    memory_within: Duration::from_secs(150),
};
const QUICK: Plan = Plan {
    rounds: 1,
    at_a_rate: Duration::from_secs(3),
    as_fast_as_possible: Duration::from_secs(2),
    memory_after: [10_000, 100_000],
    memory_within: Duration::from_secs(20),
};

/// One of those that are compared, and its figures of each round.
#[derive(Debug)]
struct Contestant {
    name: &'static str,
    target: Target,
    /// Whose processor time counts; none for the upstream itself.
    processes: Vec<u32>,
    medians: Vec<f64>,
    p99s: Vec<f64>,
    /// Processor time of a request in microseconds, at the constant rate.
    costs_at_a_rate: Vec<f64>,
    /// Requests a second.
    throughputs: Vec<f64>,
    /// Processor time of a request in microseconds, at full load.
    costs_at_full_load: Vec<f64>,
    delays: Delays,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plan = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => WHOLE,
        ["--quick"] => QUICK,
        _ => bail!("usage: bench-gateway [--quick]"),
    };
    unless_stopped(run(plan)).await
}

async fn run(plan: Plan) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build().context("making a client")?;
    let folder = tempfile::tempdir().context("a folder for the load generators")?;
    let upstream = Upstream::start().await?;
    let gateway = Gateway::start(&upstream.address, &client).await?;
    let nginx = Nginx::start(&upstream.address, &gateway.key).await?;
    let mut contestants = [
        Contestant::new("direct", format!("http://{}", upstream.address), &gateway.key, Vec::new()),
        Contestant::new("gateway", gateway.url.clone(), &gateway.key, vec![gateway.process]),
        Contestant::new("nginx", nginx.url.clone(), &gateway.key, nginx.workers.clone()),
    ];
    for contestant in &contestants {
        // Connections, caches: what is paid for once.
        load::as_fast_as_possible(&contestant.target, SMALL, Duration::from_secs(1), folder.path()).await?;
    }
    for _ in 0..plan.rounds {
        for contestant in &mut contestants {
            contestant.measure_latency(plan.at_a_rate, folder.path()).await?;
        }
    }
    for _ in 0..plan.rounds {
        for contestant in &mut contestants {
            contestant.measure_throughput(plan.as_fast_as_possible, folder.path()).await?;
        }
    }
    for _ in 0..plan.rounds {
        for contestant in &mut contestants {
            let delays = streams::read(&client, &contestant.target, upstream.epoch).await?;
            contestant.delays.add(delays);
        }
    }
    print(&contestants, plan);
    drop(nginx);
    drop(gateway);
    memory(&upstream, &client, plan, folder.path()).await
}

impl Contestant {
    fn new(name: &'static str, url: String, key: &str, processes: Vec<u32>) -> Self {
        Self {
            name,
            target: Target { url, key: key.to_owned() },
            processes,
            medians: Vec::new(),
            p99s: Vec::new(),
            costs_at_a_rate: Vec::new(),
            throughputs: Vec::new(),
            costs_at_full_load: Vec::new(),
            delays: Delays::default(),
        }
    }

    async fn measure_latency(&mut self, duration: Duration, folder: &Path) -> Result<()> {
        let before = self.used()?;
        let (latency, requests) = load::at_a_rate(&self.target, SMALL, RATE, duration, folder).await?;
        self.medians.push(latency.median);
        self.p99s.push(latency.p99);
        self.costs_at_a_rate.push(cost(self.used()?.saturating_sub(before), requests));
        Ok(())
    }

    async fn measure_throughput(&mut self, duration: Duration, folder: &Path) -> Result<()> {
        let before = self.used()?;
        let through = load::as_fast_as_possible(&self.target, SMALL, duration, folder).await?;
        self.throughputs.push(through.a_second());
        self.costs_at_full_load.push(cost(self.used()?.saturating_sub(before), through.requests));
        Ok(())
    }

    fn used(&self) -> Result<Duration> {
        self.processes.iter().map(|process| processor_time(*process)).sum()
    }
}

/// Microseconds of each request.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn cost(used: Duration, requests: u64) -> f64 {
    used.as_secs_f64() * 1e6 / requests as f64
}

fn print(contestants: &[Contestant; 3], plan: Plan) {
    let [direct, gateway, nginx] = contestants;
    println!(
        "medians of {} rounds; latency at {RATE} requests a second, {} s each; throughput with {CONNECTIONS} \
         connections, {} s each",
        plan.rounds,
        plan.at_a_rate.as_secs(),
        plan.as_fast_as_possible.as_secs()
    );
    println!("{:<44}{:>10}{:>10}{:>10}", "", direct.name, gateway.name, nginx.name);
    let line = |what: &str, digits: usize, figure: &dyn Fn(&Contestant) -> f64| {
        let shown = contestants.each_ref().map(|contestant| match figure(contestant) {
            figure if figure.is_nan() => "-".to_owned(),
            figure => format!("{figure:.digits$}"),
        });
        println!("{what:<44}{:>10}{:>10}{:>10}", shown[0], shown[1], shown[2]);
    };
    // The upstream's own processor time is that of this program, and not measured.
    let only_proxies = |contestant: &Contestant, costs: &[f64]| {
        if contestant.processes.is_empty() { f64::NAN } else { median(costs) }
    };
    line("latency p50, ms", 3, &|contestant| median(&contestant.medians));
    line("latency p99, ms", 3, &|contestant| median(&contestant.p99s));
    line("  added p50, ms", 3, &|contestant| median(&contestant.medians) - median(&direct.medians));
    line("  added p99, ms", 3, &|contestant| median(&contestant.p99s) - median(&direct.p99s));
    line("processor time at that rate, µs a request", 1, &|contestant| {
        only_proxies(contestant, &contestant.costs_at_a_rate)
    });
    line("requests a second at full load", 0, &|contestant| median(&contestant.throughputs));
    line("processor time at full load, µs a request", 1, &|contestant| {
        only_proxies(contestant, &contestant.costs_at_full_load)
    });
    line("first part of a stream, ms, median", 3, &|contestant| median(&contestant.delays.first));
    line("a part of a stream under way, ms, median", 3, &|contestant| median(&contestant.delays.parts));
    line("a part of a stream under way, ms, longest", 3, &|contestant| {
        quantile(&contestant.delays.parts, 1.0)
    });
    println!(
        "gateway beside nginx: throughput {:.2}, processor time {:.2} at {RATE} requests a second and {:.2} at \
         full load",
        median(&gateway.throughputs) / median(&nginx.throughputs),
        median(&gateway.costs_at_a_rate) / median(&nginx.costs_at_a_rate),
        median(&gateway.costs_at_full_load) / median(&nginx.costs_at_full_load)
    );
}

/// The memory of a fresh gateway, before and after many requests.
async fn memory(upstream: &Upstream, client: &reqwest::Client, plan: Plan, folder: &Path) -> Result<()> {
    let gateway = Gateway::start(&upstream.address, client).await?;
    let target = Target { url: gateway.url.clone(), key: gateway.key.clone() };
    let shown = |bytes: u64| format!("{} MiB", bytes / MEBIBYTE);
    println!("memory of the gateway, just started: {}", shown(resident_bytes(gateway.process)?));
    let begun = Instant::now();
    let mut requests = 0;
    for wanted in plan.memory_after {
        while requests < wanted && begun.elapsed() < plan.memory_within {
            let slice = Duration::from_secs(2);
            requests += load::as_fast_as_possible(&target, SMALL, slice, folder).await?.requests;
        }
        let cut = if requests < wanted { " (the time was over)" } else { "" };
        println!("  after {requests} requests{cut}: {}", shown(resident_bytes(gateway.process)?));
    }
    Ok(())
}
