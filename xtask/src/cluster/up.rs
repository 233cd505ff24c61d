//! Bringing the node up from whatever state it is in.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::state::{KUBELET_FOLDER, KUBERNETES_FOLDER, Paths, Record, boot, is_of};
use super::{addons, cgroups, containerd, daemon, down, images, kubeadm, kwok, network};
use crate::cache::{self, Key};
use crate::go_modules;
use crate::packages;
use crate::step::{self, Steps};
use crate::versions::NODE_IP;

/// What a person can ask for.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Options {
    /// Also start a fake node on which pods succeed without running
    #[arg(long)]
    pub(crate) kwok: bool,
}

const STEPS: usize = 8;

/// Leaves a ready cluster. An unhealthy one is repaired, then restarted, then rebuilt.
pub(crate) fn up(options: Options) -> Result<()> {
    if !packages::is_root() {
        bail!(
            "the local node needs root; run this with sudo, or use a cluster that you have with `--context NAME`"
        );
    }
    let paths = Paths::new()?;
    let mut steps = Steps::new("cluster up", STEPS);
    steps.next("Debian packages");
    packages::ensure(packages::NODE)?;
    steps.next("programs");
    go_modules::ensure(go_modules::NODE)?;
    go_modules::ensure(&[&go_modules::HELM])?;
    if options.kwok {
        go_modules::ensure(&[&go_modules::KWOK])?;
    }
    let _lock = cache::lock(&paths.lock(), "changing the node")?;
    let mut record = Record::load(&paths);
    let fingerprint = fingerprint(&paths)?;

    if healthy(&paths, &record, &fingerprint) {
        if options.kwok {
            kwok::start(&paths, &mut record)?;
        }
        steps.done(&format!("already up; export KUBECONFIG={}", paths.kubeconfig().display()));
        return Ok(());
    }
    steps.next("images of the node");
    let archives = images::build()?;

    if let Some(reason) = must_rebuild(&paths, &record, &fingerprint) {
        if paths.record().exists() {
            step::detail(&format!("starting afresh: {reason}"));
        }
        down::wipe(&paths)?;
        record = Record::load(&paths);
    }
    record.fingerprint = fingerprint;
    record.save(&paths)?;

    if let Err(error) = bring_up(&paths, &mut record, &archives, &mut steps) {
        step::detail(&format!("that did not work, so everything is stopped and started again: {error:#}"));
        down::stop(&paths)?;
        record = Record::load(&paths);
        let mut steps = Steps::new("cluster up, again", STEPS - 3);
        if let Err(error) = bring_up(&paths, &mut record, &archives, &mut steps) {
            step::detail(&format!("that did not help, so the node is rebuilt: {error:#}"));
            let fingerprint = record.fingerprint.clone();
            down::wipe(&paths)?;
            record = Record { fingerprint, ..Record::load(&paths) };
            let mut steps = Steps::new("cluster up, rebuilt", STEPS - 3);
            bring_up(&paths, &mut record, &archives, &mut steps).with_context(|| {
                format!(
                    "the node cannot be brought up; its logs are in {}",
                    paths.state.join("logs").display()
                )
            })?;
        }
    }
    if options.kwok {
        kwok::start(&paths, &mut record)?;
    }
    steps.done(&format!("ready; export KUBECONFIG={}", paths.kubeconfig().display()));
    Ok(())
}

/// Every part of this can be repeated, and does nothing where nothing is to be done.
fn bring_up(
    paths: &Paths,
    record: &mut Record,
    archives: &[(String, std::path::PathBuf)],
    steps: &mut Steps,
) -> Result<()> {
    steps.next(&format!("network: {NODE_IP}"));
    if record.boot != boot() {
        // The machine was started anew: nothing of the former run's sockets and addresses is valid.
        down::forget_run(paths, record)?;
    }
    cgroups::create()?;
    network::create(paths, record)?;

    steps.next("container runtime");
    containerd::start(paths, record)?;
    images::import(paths, record, archives)?;

    steps.next("control plane");
    if !record.initialised {
        kubeadm::prepare(paths, record)?;
    }
    kubeadm::start_kubelet(paths, record)?;
    kubeadm::wait_for_api(paths, record, Duration::from_secs(120))?;
    if !record.initialised {
        kubeadm::finish(paths)?;
    }
    kubeadm::start_proxy(paths, record)?;

    steps.next("DNS, storage, metrics");
    addons::apply(paths)?;
    record.initialised = true;
    record.save(paths)?;
    steps.next("waiting until all is ready");
    kubeadm::wait_for_node(paths, Duration::from_secs(90))?;
    addons::wait(paths)
}

/// Whether nothing is to be done.
fn healthy(paths: &Paths, record: &Record, fingerprint: &str) -> bool {
    record.initialised
        && record.fingerprint == fingerprint
        && !kubeadm::certificates_old(record)
        && ["containerd", "kubelet", "kube-proxy"].iter().all(|name| daemon::running(record, name))
        && kubeadm::api_ready(paths)
        && kubeadm::wait_for_node(paths, Duration::from_secs(1)).is_ok()
        && addons::ready(paths)
}

/// Why what is there cannot be used, if it cannot.
fn must_rebuild(paths: &Paths, record: &Record, fingerprint: &str) -> Option<&'static str> {
    if !record.initialised {
        Some("the node was not finished")
    } else if record.fingerprint != fingerprint {
        Some("the node was made with other versions or settings")
    } else if kubeadm::certificates_old(record) {
        Some("its certificates are about to expire")
    } else if ![KUBERNETES_FOLDER, KUBELET_FOLDER].iter().all(|folder| is_of(Path::new(folder), paths)) {
        Some("parts of it were removed, or are another node's by now")
    } else {
        None
    }
}

/// Stands for the programs and settings that a node is made with.
fn fingerprint(paths: &Paths) -> Result<String> {
    let mut key = Key::default().text(&paths.state.to_string_lossy());
    for build in go_modules::NODE {
        key = key.text(&build.key()?);
    }
    for setting in containerd::SETTINGS.iter().chain(kubeadm::SETTINGS).chain(addons::SETTINGS) {
        key = key.text(setting);
    }
    Ok(key.text(NODE_IP).short())
}
