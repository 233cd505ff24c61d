//! Builds the programs of the local node, and those that tests and benchmarks need, from
//! the pinned Go modules in `cluster/go`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, Key};
use crate::process::{Tool, in_path};
use crate::step::{self, Ticker};
use crate::versions;

/// Programs that are built and cached together.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) name: &'static str,
    /// The module's folder in `cluster/go`.
    module: &'static str,
    /// Each package and the name of its binary.
    programs: &'static [(&'static str, &'static str)],
}

pub(crate) const KUBERNETES: Build = Build {
    name: "kubernetes",
    module: "kubernetes",
    programs: &[
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
        ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
        ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
        ("k8s.io/kubernetes/cmd/kubeadm", "kubeadm"),
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
    ],
};
pub(crate) const ETCD: Build =
    Build { name: "etcd", module: "etcd", programs: &[("go.etcd.io/etcd/server/v3", "etcd")] };
pub(crate) const COREDNS: Build =
    Build { name: "coredns", module: "addons", programs: &[("./coredns", "coredns")] };
pub(crate) const LOCAL_PATH: Build = Build {
    name: "local-path-provisioner",
    module: "addons",
    programs: &[("github.com/rancher/local-path-provisioner", "local-path-provisioner")],
};
pub(crate) const METRICS_SERVER: Build = Build {
    name: "metrics-server",
    module: "metrics-server",
    programs: &[("sigs.k8s.io/metrics-server/cmd/metrics-server", "metrics-server")],
};
pub(crate) const HELM: Build =
    Build { name: "helm", module: "addons", programs: &[("helm.sh/helm/v3/cmd/helm", "helm")] };
pub(crate) const KUBECONFORM: Build = Build {
    name: "kubeconform",
    module: "kubeconform",
    programs: &[("github.com/yannh/kubeconform/cmd/kubeconform", "kubeconform")],
};
pub(crate) const KWOK: Build =
    Build { name: "kwok", module: "kwok", programs: &[("sigs.k8s.io/kwok/cmd/kwok", "kwok")] };
pub(crate) const VEGETA: Build =
    Build { name: "vegeta", module: "vegeta", programs: &[("github.com/tsenart/vegeta/v12", "vegeta")] };
/// The server that queues are tested with.
pub(crate) const NATS_SERVER: Build = Build {
    name: "nats-server",
    module: "nats-server",
    programs: &[("github.com/nats-io/nats-server/v2", "nats-server")],
};

/// What a node is made of, in the order in which it is needed.
pub(crate) const NODE: &[&Build] = &[&KUBERNETES, &ETCD, &COREDNS, &LOCAL_PATH, &METRICS_SERVER];

/// Builds what is not in the cache.
pub(crate) fn ensure(builds: &[&Build]) -> Result<()> {
    for build in builds {
        build.ensure()?;
    }
    Ok(())
}

impl Build {
    /// The path of one of its programs, whether or not it has been built.
    pub(crate) fn path(&self, program: &str) -> Result<PathBuf> {
        Ok(self.folder()?.join(program))
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(cache::cache()?.join("bin").join(format!("{}-{}", self.name, self.key()?)))
    }

    /// Stands for everything that decides what comes out of the build.
    pub(crate) fn key(&self) -> Result<String> {
        let module = self.source()?;
        let mut key = Key::default().text(&self.flags().join(" "));
        for file in sources(&module)? {
            key = key.file(&file)?;
        }
        for (package, program) in self.programs {
            key = key.text(package).text(program);
        }
        Ok(key.short())
    }

    fn source(&self) -> Result<PathBuf> {
        Ok(cache::repository()?.join("cluster/go").join(self.module))
    }

    fn flags(&self) -> Vec<String> {
        let mut linker = String::from("-s -w");
        for (variable, value) in self.variables() {
            linker.push_str(&format!(" -X {variable}={value}"));
        }
        vec!["-trimpath".into(), "-buildvcs=false".into(), "-ldflags".into(), linker]
    }

    /// What the project's own builds set at link time, such as the version.
    fn variables(&self) -> Vec<(String, &'static str)> {
        let version = versions::KUBERNETES;
        let mut parts = version.trim_start_matches('v').split('.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut variables = Vec::new();
        if self.name == KUBERNETES.name {
            for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
                let values = [
                    ("gitVersion", version),
                    ("gitMajor", major),
                    ("gitMinor", minor),
                    ("gitTreeState", "clean"),
                ];
                variables.extend(values.map(|(name, value)| (format!("{package}.{name}"), value)));
            }
        }
        if self.name == HELM.name {
            // Which Kubernetes charts are rendered and checked for when there is no cluster to ask.
            for package in ["helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"] {
                let values = [("k8sVersionMajor", major), ("k8sVersionMinor", minor)];
                variables.extend(values.map(|(name, value)| (format!("{package}.{name}"), value)));
            }
            variables.push(("helm.sh/helm/v3/internal/version.version".to_owned(), versions::HELM));
        }
        variables
    }

    fn ensure(&self) -> Result<()> {
        let folder = self.folder()?;
        if folder.is_dir() {
            return Ok(());
        }
        if !in_path("go") {
            bail!("Go is needed to build {}; install Go 1.26.4 or newer and put it into PATH", self.name);
        }
        let cache = cache::cache()?;
        let _lock = cache::lock(
            &cache.join("bin").join(format!(".{}.lock", self.name)),
            "building the same programs",
        )?;
        if folder.is_dir() {
            return Ok(());
        }
        step::detail(&format!("building {} (once; minutes when nothing is cached yet)", self.name));
        let partial = cache.join("bin").join(format!(".{}.partial", self.name));
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
        for (packages, output) in self.commands(&partial) {
            self.compile(&packages, &output)?;
        }
        fs::rename(&partial, &folder).with_context(|| format!("moving {} into place", folder.display()))
    }

    /// Several programs share one run of the compiler; a single one is named as it should be called.
    fn commands(&self, folder: &Path) -> Vec<(Vec<&'static str>, PathBuf)> {
        match self.programs {
            [(package, program)] => vec![(vec![package], folder.join(program))],
            programs => vec![(programs.iter().map(|(package, _)| *package).collect(), folder.join(""))],
        }
    }

    fn compile(&self, packages: &[&str], output: &Path) -> Result<()> {
        let ticker = Ticker::start(&format!("{}: loading, or linking what is compiled", self.name));
        let (mut compiled, mut downloaded) = (0_usize, 0_usize);
        Tool::new("go")
            .arg("build")
            .args(self.flags())
            .args(["-v", "-o"])
            .arg(output)
            .args(packages)
            .directory(&self.source()?)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly")
            // Another toolchain would be a download of its own.
            .env("GOTOOLCHAIN", "local")
            .with_lines(|line| {
                if line.starts_with("go: downloading") {
                    downloaded += 1;
                } else {
                    compiled += 1;
                }
                ticker.say(format!(
                    "{}: {downloaded} modules downloaded, {compiled} packages compiled",
                    self.name
                ));
            })
            .with_context(|| format!("building {} from cluster/go/{}", self.name, self.module))
    }
}

/// The module's own files, in a stable order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
