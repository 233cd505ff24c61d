//! From nothing to results: a cluster, the platform on it, and examples that run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cache;
use crate::chart;
use crate::cluster;
use crate::images;
use crate::packages;
use crate::process::Tool;
use crate::step::{self, Steps};
use crate::target::{Arguments, Delivery, Target};

const NAMESPACE: &str = "demo";
/// All but the one that needs a bucket of the user's own.
const EXAMPLES: &[&str] = &["inline", "penguins", "penguins-profile", "flights"];
const OUTPUT: &str = "demo-output";
/// How much of a result is printed: the header, and ten rows.
const SHOWN_LINES: usize = 11;
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn demo(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new("demo", 6);
    steps.next("cluster");
    let target = arguments.prepare(cluster::Options::default())?;
    steps.next("images");
    let images = images::deliver(&target.delivery)?;
    steps.next("charts");
    chart::install(&target, &images)?;
    steps.next("examples");
    apply(&target)?;
    steps.next("waiting for the analyses");
    let jobs = wait(&target)?;
    steps.next("results");
    show(&target, &jobs)?;
    steps.done("go on with:");
    println!("\n  export KUBECONFIG={}", target.kubeconfig.display());
    println!("  kubectl get analysisjobs --namespace {NAMESPACE}");
    if arguments.is_node() {
        println!("  cargo xtask cluster down    # when you are done\n");
    }
    let failed: Vec<&str> = jobs.iter().filter(|job| !succeeded(job)).filter_map(name).collect();
    if !failed.is_empty() {
        bail!("these analyses failed: {}; see why with `kubectl describe analysisjob`", failed.join(", "));
    }
    Ok(())
}

fn apply(target: &Target) -> Result<()> {
    let namespace = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, \
         labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"
    );
    let apply =
        || target.kubectl().args(["apply", "--server-side", "--force-conflicts", "--namespace", NAMESPACE]);
    apply().args(["--filename", "-"]).output_with_input(&namespace)?;
    load_flights(target)?;
    for example in EXAMPLES {
        step::detail(&format!("kubectl apply --filename examples/{example}/"));
        apply().args(["--filename", &format!("examples/{example}/")]).quiet()?;
    }
    Ok(())
}

/// Downloads the flights, once, and puts them onto a claim.
fn load_flights(target: &Target) -> Result<()> {
    packages::ensure_python()?;
    let script = cache::repository()?.join("examples/flights/load.sh");
    step::detail(&format!("examples/flights/load.sh {NAMESPACE}"));
    let mut load = target.pass_to(Tool::new(script).arg(NAMESPACE));
    if target.delivery == Delivery::Node {
        load = load.env("IMAGE", cluster::images::reference("busybox"));
    }
    load.quiet()
}

/// Waits until every analysis has ended, well or badly, and returns them.
fn wait(target: &Target) -> Result<Vec<Value>> {
    let end = Instant::now() + PATIENCE;
    let mut told = BTreeSet::new();
    loop {
        let list = target
            .kubectl()
            .args(["get", "analysisjobs.aisaas.dev", "--namespace", NAMESPACE, "--output", "json"])
            .output()?;
        let mut list: Value = serde_json::from_str(&list).context("reading the list of analyses")?;
        let jobs = match list["items"].take() {
            Value::Array(jobs) => jobs,
            _ => Vec::new(),
        };
        for job in &jobs {
            let line = summary(job);
            if told.insert(line.clone()) {
                step::detail(&line);
            }
        }
        if !jobs.is_empty() && jobs.iter().all(ended) {
            return Ok(jobs);
        }
        if Instant::now() > end {
            bail!(
                "the analyses have not ended after {} s; see why with \
                 `kubectl describe analysisjobs --namespace {NAMESPACE}`",
                PATIENCE.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn show(target: &Target, jobs: &[Value]) -> Result<()> {
    target.kubectl().args(["get", "analysisjobs.aisaas.dev", "--namespace", NAMESPACE]).run()?;
    let folder = cache::repository()?.join(OUTPUT);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for job in jobs {
        let Some(name) = job["status"]["output"]["configMap"].as_str() else { continue };
        let content = target
            .kubectl()
            .args(["get", "configmap", name, "--namespace", NAMESPACE, "--output", "json"])
            .output()?;
        let content: Value = serde_json::from_str(&content).context("reading a result")?;
        save(&folder.join(name), &content["data"])?;
    }
    Ok(())
}

/// Writes a result's files into a folder and prints the table among them.
fn save(folder: &Path, data: &Value) -> Result<()> {
    let Some(files) = data.as_object() else { return Ok(()) };
    for (file, content) in files {
        let (Some(content), Some(file)) = (content.as_str(), Path::new(file).file_name()) else { continue };
        let path = folder.join(file);
        cache::write_atomically(&path, content.as_bytes())?;
        step::detail(&format!("wrote {}", path.display()));
        if file == "result.csv" {
            println!("\n{}\n", beginning(content));
        }
    }
    Ok(())
}

/// The first lines of a table, and how many there are besides.
fn beginning(table: &str) -> String {
    let lines: Vec<&str> = table.lines().collect();
    let shown = lines.iter().take(SHOWN_LINES).copied().collect::<Vec<_>>().join("\n");
    match lines.len().saturating_sub(SHOWN_LINES) {
        0 => shown,
        more => format!("{shown}\n… {more} more rows"),
    }
}

fn name(job: &Value) -> Option<&str> {
    job["metadata"]["name"].as_str()
}

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a Value> {
    job["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is(job: &Value, kind: &str, status: &str) -> bool {
    condition(job, kind).is_some_and(|condition| condition["status"] == status)
}

fn succeeded(job: &Value) -> bool {
    is(job, "Complete", "True")
}

/// Whether nothing more will happen; what the status says must be about the present specification.
fn ended(job: &Value) -> bool {
    let current = job["status"]["observedGeneration"] == job["metadata"]["generation"];
    let stopped = job["status"]["completionTime"].is_string() || is(job, "Accepted", "False");
    current && (succeeded(job) || stopped)
}

fn summary(job: &Value) -> String {
    let name = name(job).unwrap_or_default();
    let Some(complete) = condition(job, "Complete") else {
        return format!("{name}: waiting for the operator");
    };
    let text = |field: &str| complete[field].as_str().unwrap_or_default();
    format!("{name}: {} {}", text("reason"), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        assert_eq!(beginning("a\n1\n"), "a\n1");
        let long = format!("a\n{}", "1\n".repeat(12));
        assert!(beginning(&long).ends_with("1\n… 2 more rows"), "{}", beginning(&long));
    }

    fn job(status: &Value) -> Value {
        json!({"metadata": {"name": "a", "generation": 2}, "status": status})
    }

    #[test]
    fn an_analysis_has_ended_when_its_own_status_says_so() {
        let complete = json!([{"type": "Complete", "status": "True"}]);
        let refused =
            json!([{"type": "Accepted", "status": "False"}, {"type": "Complete", "status": "False"}]);
        let running = json!([{"type": "Complete", "status": "False", "reason": "Running"}]);
        assert!(ended(&job(&json!({"observedGeneration": 2, "conditions": complete}))));
        assert!(!ended(&job(&json!({"observedGeneration": 1, "conditions": complete}))));
        assert!(ended(&job(&json!({"observedGeneration": 2, "conditions": refused}))));
        assert!(!ended(&job(&json!({"observedGeneration": 2, "conditions": running}))));
    }
}
