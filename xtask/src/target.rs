//! Which cluster a task works on. It is always named: the current context of a
//! kubeconfig is never used.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::cluster;
use crate::cluster::state::Paths;
use crate::go_modules;
use crate::process::{Tool, in_path};
use crate::versions::CLUSTER_NAME;

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Work on the cluster of this context instead of the local node; needs --registry
    #[arg(long, value_name = "NAME", requires = "registry", conflicts_with = "kind")]
    context: Option<String>,
    /// Where images are pushed to and the cluster pulls them from
    #[arg(long, value_name = "HOST/PATH", requires = "context")]
    registry: Option<String>,
    /// Work on this kind cluster; images are loaded with `kind load image-archive`.
    /// Not covered by the automated tests, which have no container engine
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "kind")]
    kind: Option<String>,
}

/// How images get to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    Node,
    Push { registry: String },
    Kind { cluster: String },
}

/// A cluster that answers.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) delivery: Delivery,
    pub(crate) kubeconfig: PathBuf,
    context: String,
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Arguments {
    /// Whether this is the node that `cargo xtask cluster` brings up and takes down.
    pub(crate) fn is_node(&self) -> bool {
        self.context.is_none() && self.kind.is_none()
    }

    /// Brings the local node up or checks the cluster that was named.
    pub(crate) fn prepare(&self, options: cluster::Options) -> Result<Target> {
        if self.is_node() {
            cluster::up(options)?;
            return Ok(Target {
                delivery: Delivery::Node,
                kubeconfig: Paths::new()?.kubeconfig(),
                context: CLUSTER_NAME.to_owned(),
                kubectl: go_modules::KUBERNETES.path("kubectl")?,
                helm: go_modules::HELM.path("helm")?,
            });
        }
        if options.kwok {
            bail!("the fake node exists on the local node only; leave out --context and --kind");
        }
        let (context, delivery) = match (&self.context, &self.registry, &self.kind) {
            (Some(context), Some(registry), _) => {
                (context.clone(), Delivery::Push { registry: registry.trim_end_matches('/').to_owned() })
            }
            (_, _, Some(name)) => (format!("kind-{name}"), Delivery::Kind { cluster: name.clone() }),
            _ => bail!("name the registry too: --context NAME --registry HOST/PATH"),
        };
        let kubectl = own_or_built("kubectl", &go_modules::KUBERNETES)?;
        let helm = own_or_built("helm", &go_modules::HELM)?;
        let kubeconfig = extract(&kubectl, &context)?;
        let target = Target { delivery, kubeconfig, context, kubectl, helm };
        target
            .kubectl()
            .args(["get", "--raw", "/readyz", "--request-timeout=10s"])
            .quiet()
            .with_context(|| format!("the cluster of context {} does not answer", target.context))?;
        Ok(target)
    }
}

impl Target {
    pub(crate) fn kubectl(&self) -> Tool {
        Tool::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--context", &self.context])
            .directory_of_repository()
    }

    /// Makes a program that is no part of this one work on the same cluster with the same tools.
    pub(crate) fn pass_to(&self, command: Tool) -> Tool {
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECTL", &self.kubectl).env("HELM", &self.helm)
    }

    pub(crate) fn helm(&self) -> Tool {
        Tool::new(&self.helm)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--kube-context", &self.context])
            .directory_of_repository()
    }
}

fn own_or_built(program: &'static str, build: &'static go_modules::Build) -> Result<PathBuf> {
    if in_path(program) {
        return Ok(PathBuf::from(program));
    }
    go_modules::ensure(&[build])?;
    build.path(program)
}

/// Copies one context into a kubeconfig of its own, so that programs that know
/// only `KUBECONFIG` work on that cluster too.
fn extract(kubectl: &Path, context: &str) -> Result<PathBuf> {
    let content = Tool::new(kubectl)
        .args(["config", "view", "--minify", "--flatten", "--context", context])
        .output()
        .with_context(|| {
            format!("see which contexts there are with `kubectl config get-contexts`; there is no {context}")
        })?;
    let name: String =
        context.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let path = cache::cache()?.join("kubeconfigs").join(name);
    cache::write_atomically(&path, content.as_bytes())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("restricting {}", path.display()))?;
    Ok(path)
}
