//! The Debian packages that tasks need.

use anyhow::{Result, bail};

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

/// What the tests of the services need: they run on PostgreSQL as well.
pub(crate) const TESTS: &[&str] = &["postgresql", "util-linux"];

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
