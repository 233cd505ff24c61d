//! Installing the charts.

use anyhow::{Context as _, Result};

use crate::images::Reference;
use crate::step::{self, Ticker};
use crate::target::Target;

pub(crate) const NAMESPACE: &str = "ai-saas-platform";
const CRDS: &str = "ai-saas-platform-crds";
const PLATFORM: &str = "ai-saas-platform";

/// Installs or upgrades both charts and waits until the operator is ready.
pub(crate) fn install(target: &Target, images: &[Reference]) -> Result<()> {
    release(target, CRDS, &[])?;
    let mut values = vec!["image.pullPolicy=IfNotPresent".to_owned()];
    for image in images {
        values.push(format!("{}.repository={}", image.value, image.repository));
        values.push(format!("{}.tag={}", image.value, image.tag));
    }
    release(target, PLATFORM, &values)
}

fn release(target: &Target, name: &str, values: &[String]) -> Result<()> {
    unlock(target, name)?;
    step::detail(&format!("helm upgrade --install {name}"));
    let _ticker = Ticker::start(&format!("waiting for {name} to be ready"));
    let mut command = target.helm().args(["upgrade", "--install", name, &format!("charts/{name}")]).args([
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--history-max=3",
        "--wait",
        "--timeout=3m",
    ]);
    for value in values {
        // A tag that consists of digits is still a text.
        command = command.args(["--set-string", value]);
    }
    command
        .quiet()
        .with_context(|| format!("find out more with `kubectl --namespace {NAMESPACE} get pods,events`"))
}

/// Helm refuses to go on where it was interrupted. What it had done so far is
/// done again, so the unfinished revision can be forgotten.
fn unlock(target: &Target, name: &str) -> Result<()> {
    let selector =
        format!("owner=helm,name={name},status in (pending-install,pending-upgrade,pending-rollback)");
    target
        .kubectl()
        .args(["delete", "secrets", "--ignore-not-found", "--namespace", NAMESPACE, "--selector", &selector])
        .quiet()
}
