//! Load, by programs that are made for it: vegeta at a constant rate, wrk as
//! much as goes through.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

/// Connections of the closed loop.
pub(crate) const CONNECTIONS: u32 = 64;

/// What wrk calls at its end.
const REPORT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('\nresult {"requests":%d,"microseconds":%d,"failed":%d}\n',
    summary.requests, summary.duration, failed))
end
"#;

/// Where requests go, and what they say.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Without the path.
    pub(crate) url: String,
    /// The same for all, so that requests are alike.
    pub(crate) key: String,
}

/// How long requests took at a constant rate, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    /// The 99th percentile.
    pub(crate) p99: f64,
}

#[derive(Deserialize)]
struct AttackReport {
    latencies: AttackLatencies,
    requests: u64,
    success: f64,
}

/// In nanoseconds.
#[derive(Deserialize)]
struct AttackLatencies {
    #[serde(rename = "50th")]
    p50: f64,
    #[serde(rename = "99th")]
    p99: f64,
}

/// What a closed loop got through.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Throughput {
    pub(crate) requests: u64,
    microseconds: u64,
    failed: u64,
}

impl Throughput {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(crate) fn a_second(&self) -> f64 {
        self.requests as f64 / Duration::from_micros(self.microseconds).as_secs_f64()
    }
}

/// Requests at a constant rate: each is sent when its time has come, whether
/// or not earlier ones have been answered. Gives their number as well.
pub(crate) async fn at_a_rate(
    target: &Target,
    path: &str,
    rate: u32,
    duration: Duration,
    folder: &Path,
) -> Result<(Latency, u64)> {
    let (targets, results) = (folder.join("targets"), folder.join("results"));
    fs::write(&targets, format!("GET {}{path}\nAuthorization: Bearer {}\n", target.url, target.key))?;
    let vegeta = || Command::new(std::env::var_os("VEGETA").unwrap_or_else(|| OsString::from("vegeta")));
    let mut attack = vegeta();
    attack.arg("attack").arg("-targets").arg(&targets).arg("-output").arg(&results);
    attack.args(["-max-body", "0", "-rate", &format!("{rate}/1s")]);
    attack.args(["-duration", &format!("{}s", duration.as_secs())]);
    output(attack).await?;
    let mut report = vegeta();
    report.args(["report", "-type", "json"]).arg(&results);
    let report: AttackReport =
        serde_json::from_str(&output(report).await?).context("the report of vegeta")?;
    ensure!(
        report.success >= 1.0,
        "{:.2} % of the requests to {} failed",
        100.0 * (1.0 - report.success),
        target.url
    );
    let milliseconds = |nanoseconds: f64| nanoseconds / 1e6;
    let latency =
        Latency { median: milliseconds(report.latencies.p50), p99: milliseconds(report.latencies.p99) };
    Ok((latency, report.requests))
}

/// Requests one after the other on each connection, as fast as they are answered.
pub(crate) async fn as_fast_as_possible(
    target: &Target,
    path: &str,
    duration: Duration,
    folder: &Path,
) -> Result<Throughput> {
    let script = folder.join("report.lua");
    fs::write(&script, REPORT)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--timeout", "10s"]);
    wrk.args(["--duration", &format!("{}s", duration.as_secs())]).arg("--script").arg(&script);
    wrk.args(["--header", &format!("Authorization: Bearer {}", target.key)]);
    wrk.arg(format!("{}{path}", target.url));
    let printed = output(wrk).await?;
    let result = printed.lines().find_map(|line| line.strip_prefix("result "));
    let result = result.with_context(|| format!("wrk has no result:\n{printed}"))?;
    let throughput: Throughput = serde_json::from_str(result).context("the result of wrk")?;
    ensure!(
        throughput.failed == 0 && throughput.requests > 0,
        "{} of {} requests to {} failed",
        throughput.failed,
        throughput.requests,
        target.url
    );
    Ok(throughput)
}

/// What a program prints. It is ended when nobody waits for it any more.
async fn output(mut command: Command) -> Result<String> {
    let shown = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("starting `{shown}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}):\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}
