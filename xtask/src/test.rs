//! Everything that must hold before a change is merged.

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::cargo;
use crate::chart;
use crate::cluster;
use crate::gateway_api;
use crate::generate;
use crate::go_modules;
use crate::images;
use crate::packages;
use crate::process::Tool;
use crate::schemas;
use crate::step::{self, Steps};
use crate::target;
use crate::versions::CARGO_DENY;

/// The tests that need a cluster: targets of the crate in `tests/` that are not
/// tested by default.
const END_TO_END: &[&str] =
    &["--test", "analysis_jobs", "--test", "platforms", "--test", "conformance", "--test", "disruption"];
/// They mostly wait for pods, so more of them than there are cores may run.
const END_TO_END_THREADS: &str = "--test-threads=4";
const CHARTS: &[&str] = &["charts/ai-saas-platform-crds", "charts/ai-saas-platform"];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Stop before the tests that need a cluster
    #[arg(long)]
    unit: bool,
    /// Leave the cluster up
    #[arg(long)]
    keep: bool,
    /// Only the tests that need a cluster
    #[arg(long, conflicts_with = "unit")]
    end_to_end: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
    #[command(flatten)]
    target: target::Arguments,
}

impl Options {
    fn takes_down(&self) -> bool {
        !self.unit && !self.keep && self.target.is_node()
    }

    fn steps(&self) -> usize {
        let without_cluster = if self.end_to_end { 0 } else { 6 };
        let with_cluster = if self.unit { 0 } else { 4 };
        without_cluster + with_cluster + usize::from(self.takes_down())
    }
}

/// How many checks and tests passed and failed.
#[derive(Debug, Default)]
struct Total {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

pub(crate) fn test(options: &Options) -> Result<()> {
    let mut total = Total::default();
    let mut steps = Steps::new("test", options.steps());
    if !options.end_to_end {
        without_cluster(options, &mut total, &mut steps);
    }
    if !options.unit && total.failed == 0 {
        let outcome = with_cluster(options, &mut total, &mut steps);
        total.check("end to end", outcome);
    }
    if options.takes_down() {
        steps.next("taking the cluster down");
        total.check("cluster down", cluster::down());
    }
    for failure in &total.failures {
        println!("\nFAILED {failure}");
    }
    steps.done("checks and tests:");
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        // The reasons have been printed; a last line of another form would hide the one above.
        std::process::exit(1);
    }
    Ok(())
}

fn without_cluster(options: &Options, total: &mut Total, steps: &mut Steps) {
    steps.next("format");
    total.check("cargo fmt", cargo::plain("fmt").and_then(|cargo| cargo.args(["--all", "--check"]).run()));
    steps.next("lint");
    let strictly = |cargo: Tool| cargo.args(["--quiet", "--", "-D", "warnings"]).run();
    let all_targets = |cargo: Tool| strictly(cargo.arg("--all-targets"));
    total.check("cargo clippy", cargo::cargo("clippy").and_then(all_targets));
    // All targets are all but those that are not tested by default.
    let end_to_end = |cargo: Tool| strictly(cargo.args(END_TO_END));
    total.check("cargo clippy of the end-to-end tests", cargo::cargo("clippy").and_then(end_to_end));
    total.check("cargo clippy of xtask", cargo::own("clippy").and_then(all_targets));
    steps.next("dependencies");
    total.check("cargo deny", dependencies());
    steps.next("unit tests");
    total.check("packages", packages::ensure(packages::TESTS));
    total.check("nats-server", go_modules::ensure(&[&go_modules::NATS_SERVER]));
    let filter: Vec<&str> = options.filter.as_deref().into_iter().collect();
    for cargo in [cargo::cargo("test"), cargo::own("test")] {
        let outcome =
            cargo.and_then(with_nats_server).and_then(|cargo| cargo_test(total, cargo.args(&filter), &[]));
        total.check("cargo test", outcome);
    }
    steps.next("generated files");
    total.check("generate --check", generate::generate(true));
    steps.next("charts");
    for chart in CHARTS {
        total.check(chart, check_chart(chart));
    }
}

fn with_cluster(options: &Options, total: &mut Total, steps: &mut Steps) -> Result<()> {
    steps.next("cluster");
    let target = options.target.prepare(cluster::Options::default())?;
    steps.next("images");
    let images = images::deliver(&target.delivery)?;
    steps.next("install");
    chart::install(&target, &images)?;
    steps.next("end-to-end tests");
    packages::ensure_python()?;
    packages::ensure(packages::TESTS)?;
    go_modules::ensure(&[&go_modules::NATS_SERVER])?;
    let cargo = cargo::cargo("test")?.args(END_TO_END).args(options.filter.as_deref());
    let cargo = with_nats_server(target.pass_to(cargo))?.env("TEST_GATEWAY_API", gateway_api::definitions()?);
    cargo_test(total, cargo, &[END_TO_END_THREADS])
}

/// Runs tests, adds up their results, and fails only if they could not be run to the end.
fn cargo_test(total: &mut Total, cargo: Tool, for_the_tests: &[&str]) -> Result<()> {
    let command = cargo.arg("--no-fail-fast").arg("--").args(for_the_tests);
    let line = command.line();
    let failed = total.failed;
    let succeeded = command.tee(|line| total.add(line))?;
    if !succeeded && total.failed == failed {
        bail!("`{line}` failed before all tests had run; see its output above");
    }
    Ok(())
}

/// Tells tests where the server is that queues are tested with.
fn with_nats_server(cargo: Tool) -> Result<Tool> {
    Ok(cargo.env("NATS_SERVER", go_modules::NATS_SERVER.path("nats-server")?))
}

fn dependencies() -> Result<()> {
    let root = cache::cache()?.join("tools").join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny");
    let lock = root.with_extension("lock");
    let _lock = cache::lock(&lock, "installing cargo-deny")?;
    if !program.is_file() {
        step::detail("installing cargo-deny (once; some minutes)");
        let _ticker = step::Ticker::start("installing cargo-deny");
        // Its own build output is of no use afterwards.
        let build = root.join("build");
        cargo::plain("install")?
            .args(["--quiet", "--locked", "--version", CARGO_DENY, "--root"])
            .arg(&root)
            .arg("cargo-deny")
            .env("CARGO_TARGET_DIR", &build)
            // It runs for seconds; its own profile would spend minutes on making that less.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .run()?;
        std::fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))?;
    }
    Tool::new(program)
        .args(["--log-level", "error", "--locked", "check", "bans", "licenses", "sources"])
        .directory(&cache::repository()?)
        .run()
}

/// Renders a chart as it would be installed and checks every object against the API.
fn check_chart(chart: &str) -> Result<()> {
    go_modules::ensure(&[&go_modules::KUBERNETES, &go_modules::HELM, &go_modules::KUBECONFORM])?;
    let root = cache::repository()?;
    let helm = || Ok::<_, anyhow::Error>(Tool::new(go_modules::HELM.path("helm")?).directory(&root));
    helm()?.args(["lint", "--strict", "--quiet", chart]).run()?;
    let manifests = helm()?.args(["template", "check", chart, "--namespace", chart::NAMESPACE]).output()?;
    let location = schemas::folder()?.join("{{.ResourceKind}}{{.KindSuffix}}.json");
    let report = Tool::new(go_modules::KUBECONFORM.path("kubeconform")?)
        .args(["-strict", "-summary", "-schema-location"])
        .arg(location)
        .output_with_input(&manifests)
        .with_context(|| format!("checking what {chart} renders"))?;
    step::detail(report.trim());
    Ok(())
}

impl Total {
    /// Counts a check, whose error is printed at once and again at the end.
    fn check(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                let text = format!("{name}: {error:#}");
                println!("{text}");
                self.failed += 1;
                self.failures.push(text);
            }
        }
    }

    /// Adds what a line of `cargo test` says.
    fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.passed += count(rest, "passed");
            self.failed += count(rest, "failed");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// The number before a word, as in `ok. 3 passed; 1 failed;`.
fn count(line: &str, word: &str) -> u64 {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty());
    let mut last = "";
    words
        .find_map(|part| {
            if part == word {
                last.parse().ok()
            } else {
                last = part;
                None
            }
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_runs_are_added_up() {
        let mut total = Total::default();
        total.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        total.add("test a::b ... FAILED");
        total.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!((total.passed, total.failed), (5, 1));
        assert_eq!(total.failures, ["a::b"]);
    }
}
