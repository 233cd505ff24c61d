//! The Debian packages that tasks need.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::cache;
use crate::process::{Tool, in_path};
use crate::step;

/// What building images needs.
pub(crate) const IMAGES: &[&str] = &["buildah", "runc"];
/// What the local node needs.
pub(crate) const NODE: &[&str] = &[
    "buildah",
    "busybox-static",
    "catatonit",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "ebtables",
    "iproute2",
    "ipset",
    "iptables",
    "nftables",
    "runc",
    "socat",
    "util-linux",
];

/// What the tests of the services and of Platforms need: they run on PostgreSQL
/// as well.
pub(crate) const TESTS: &[&str] = &["postgresql", "util-linux"];

/// What loads a server as much as it takes.
pub(crate) const LOAD: &[&str] = &["wrk"];

/// Whether this process may change the machine.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs the packages that are missing or says what to install.
pub(crate) fn ensure(packages: &[&str]) -> Result<()> {
    if !in_path("dpkg-query") {
        bail!(
            "this machine does not have dpkg; install with its own package tool what Debian calls: {}",
            packages.join(" ")
        );
    }
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() {
        bail!("packages are missing; install them with: sudo apt-get install --no-install-recommends {list}");
    }
    step::detail(&format!("installing {list}"));
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends", "--no-remove"];
    arguments.extend(&missing);
    apt(&arguments)
}

/// Makes sure of a Python that can make virtual environments and has pip,
/// whoever installed it.
pub(crate) fn ensure_python() -> Result<()> {
    if Tool::new("python3").args(["-c", "import ensurepip, pip, venv"]).ok() {
        return Ok(());
    }
    ensure(&["python3", "python3-pip", "python3-venv"])
}

/// The path of a program of a package that is unpacked in the cache and not
/// installed: packages of servers start what they install, on ports that may be
/// somebody else's. Its libraries have to be on the machine.
pub(crate) fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    let folder = cache::cache()?.join("debian").join(package);
    let path = folder.join(program);
    if path.is_file() {
        return Ok(path);
    }
    step::detail(&format!("unpacking {package}"));
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let download = || Tool::new("apt-get").args(["download", "-q", package]).directory(&partial).quiet();
    if download().is_err() {
        // Its lists are missing, or of packages that have been replaced.
        if is_root() {
            apt(&["update", "-q"])?;
        }
        download().with_context(|| format!("downloading {package}; try `sudo apt-get update` first"))?;
    }
    let mut files = fs::read_dir(&partial).with_context(|| format!("reading {}", partial.display()))?;
    let file = files.next().with_context(|| format!("apt-get has downloaded no package {package}"))??.path();
    Tool::new("dpkg-deb").arg("--extract").arg(&file).arg(&partial).quiet()?;
    if !partial.join(program).is_file() {
        bail!("the package {package} has no {program}");
    }
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&partial, &folder).with_context(|| format!("moving {} into place", folder.display()))?;
    Ok(path)
}

fn installed(package: &str) -> bool {
    Tool::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", package])
        .output()
        .is_ok_and(|status| status == "installed")
}

fn apt(arguments: &[&str]) -> Result<()> {
    let _ticker = step::Ticker::start(&format!("apt-get {}", arguments[0]));
    Tool::new("apt-get")
        // Another installation may be going on; it ends by itself.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .quiet()
}
