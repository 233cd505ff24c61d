//! Addresses, routes and packet filter rules of the node.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::state::{Paths, Record};
use crate::cache;
use crate::process::Tool;
use crate::versions::{CLUSTER_NAME, NODE_IP, POD_CIDR, SERVICE_CIDR};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const TABLES: &[&str] = &["nat", "filter", "mangle", "raw"];
const FAMILIES: &[&str] = &["iptables", "ip6tables"];

/// Makes the addresses known to this machine; every step can be repeated.
pub(crate) fn create(paths: &Paths, record: &mut Record) -> Result<()> {
    // Where pods and the API server find the node. It never leaves this machine.
    ip(&["address", "replace", &format!("{NODE_IP}/32"), "dev", "lo"])?;
    // A packet to a service that no rule rewrites yet must not leave the machine.
    ip(&["route", "replace", "local", SERVICE_CIDR, "dev", "lo", "src", NODE_IP])?;
    // The same for a pod that does not exist; the route of one that does is more specific.
    ip(&["route", "replace", "unreachable", POD_CIDR])?;

    let before = fs::read_to_string(FORWARDING).with_context(|| format!("reading {FORWARDING}"))?;
    if before.trim() != "1" {
        record.sysctls.insert(FORWARDING.to_owned(), before.trim().to_owned());
        record.save(paths)?;
        fs::write(FORWARDING, "1").with_context(|| format!("writing {FORWARDING}"))?;
    }
    // Other software may forbid forwarding by default.
    for direction in ["-s", "-d"] {
        let rule =
            ["FORWARD", direction, POD_CIDR, "-m", "comment", "--comment", CLUSTER_NAME, "-j", "ACCEPT"];
        if !Tool::new("iptables").args(["-w", "-C"]).args(rule).ok() {
            Tool::new("iptables").args(["-w", "-I"]).args(rule).quiet()?;
        }
    }
    write_resolver(paths)
}

/// Takes back what `create` and what the node's own programs did.
pub(crate) fn remove(paths: &Paths, record: &mut Record) -> Result<()> {
    for device in pod_devices() {
        // It may be gone with its namespace already.
        let _ = ip(&["link", "delete", &device]);
    }
    for family in FAMILIES {
        for table in TABLES {
            let Ok(rules) = Tool::new(format!("{family}-save")).args(["-t", table]).output() else {
                continue;
            };
            if let Some(script) = removal(table, &rules) {
                Tool::new(format!("{family}-restore"))
                    .args(["-w", "--noflush"])
                    .output_with_input(&script)?;
            }
        }
    }
    let _ = ip(&["route", "delete", "unreachable", POD_CIDR]);
    let _ = ip(&["route", "delete", "local", SERVICE_CIDR, "dev", "lo"]);
    let _ = ip(&["address", "delete", &format!("{NODE_IP}/32"), "dev", "lo"]);
    for (path, value) in std::mem::take(&mut record.sysctls) {
        fs::write(&path, value).with_context(|| format!("writing {path}"))?;
    }
    record.save(paths)
}

/// What a complete removal would have left nothing of.
pub(crate) fn remaining() -> Vec<String> {
    let mut found: Vec<String> = pod_devices().into_iter().map(|device| format!("link {device}")).collect();
    for family in FAMILIES {
        for table in TABLES {
            let rules = Tool::new(format!("{family}-save")).args(["-t", table]).output().unwrap_or_default();
            if removal(table, &rules).is_some() {
                found.push(format!("{family} rules in table {table}"));
            }
        }
    }
    let routes = Tool::new("ip").args(["route", "show", "table", "all"]).output().unwrap_or_default();
    for cidr in [POD_CIDR, SERVICE_CIDR] {
        if routes.lines().any(|line| line.contains(cidr)) {
            found.push(format!("route {cidr}"));
        }
    }
    found
}

fn ip(arguments: &[&str]) -> Result<()> {
    Tool::new("ip").args(arguments).quiet()
}

/// The host's ends of the pods' links: where routes into the pod network go.
fn pod_devices() -> BTreeSet<String> {
    let routes = Tool::new("ip").args(["-4", "route", "show"]).output().unwrap_or_default();
    devices(&routes, POD_CIDR)
}

fn devices(routes: &str, cidr: &str) -> BTreeSet<String> {
    routes
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let destination = words.next()?;
            let device = words.skip_while(|word| *word != "dev").nth(1)?;
            (contains(cidr, destination) && device != "lo").then(|| device.to_owned())
        })
        .collect()
}

fn contains(cidr: &str, address: &str) -> bool {
    let parse = || {
        let (network, length) = cidr.split_once('/')?;
        let network = u32::from(network.parse::<Ipv4Addr>().ok()?);
        let address = u32::from(address.split('/').next()?.parse::<Ipv4Addr>().ok()?);
        let mask = u32::MAX.checked_shl(32 - length.parse::<u32>().ok()?).unwrap_or(0);
        Some(network & mask == address & mask)
    };
    parse().unwrap_or(false)
}

/// The input of `iptables-restore` that removes this node's chains and the
/// rules that lead to them, or nothing if there are none.
fn removal(table: &str, rules: &str) -> Option<String> {
    let by_network = format!("name: \\\"{CLUSTER_NAME}\\\"");
    let by_comment = format!("--comment {CLUSTER_NAME} ");
    let target =
        |rule: &str| rule.split(" -j ").nth(1).map(|rest| rest.split(' ').next().unwrap_or(rest).to_owned());

    let appended: Vec<&str> = rules.lines().filter(|line| line.starts_with("-A ")).collect();
    let mut chains: BTreeSet<String> = rules
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
        .filter(|chain| chain.starts_with("KUBE-"))
        .map(str::to_owned)
        .collect();
    // Other users of CNI have chains of the same form; the comment tells whose they are.
    for rule in appended.iter().filter(|rule| rule.contains(&by_network)) {
        chains.extend(target(rule).filter(|chain| chain.starts_with("CNI-")));
    }
    let shared = |line: &&str| line.strip_prefix(':').is_some_and(|line| line.starts_with("CNI-HOSTPORT-"));
    let others = appended.iter().any(|rule| {
        target(rule).is_some_and(|chain| chain.starts_with("CNI-DN-") && !chains.contains(&chain))
    });
    if !others {
        chains.extend(
            rules
                .lines()
                .filter(shared)
                .filter_map(|line| line.strip_prefix(':')?.split(' ').next())
                .map(str::to_owned),
        );
    }

    let leading: Vec<&&str> = appended
        .iter()
        .filter(|rule| {
            let chain = rule.split(' ').nth(1).unwrap_or_default();
            let ours = rule.contains(&by_comment)
                || rule.contains(&by_network)
                || target(rule).is_some_and(|target| chains.contains(&target));
            ours && !chains.contains(chain)
        })
        .collect();
    if chains.is_empty() && leading.is_empty() {
        return None;
    }

    let mut script = format!("*{table}\n");
    for chain in &chains {
        let _ = writeln!(script, ":{chain} - [0:0]");
    }
    for rule in leading {
        let _ = writeln!(script, "-D {}", &rule[3..]);
    }
    for chain in &chains {
        let _ = writeln!(script, "-X {chain}");
    }
    script.push_str("COMMIT\n");
    Some(script)
}

/// Name servers for pods that ask outside of the cluster. One that listens on
/// this machine's loopback cannot be reached from a pod.
fn write_resolver(paths: &Paths) -> Result<()> {
    let usable = |path: &str| -> Option<String> {
        let content = fs::read_to_string(Path::new(path)).ok()?;
        let servers: Vec<&str> = content
            .lines()
            .filter(|line| {
                line.strip_prefix("nameserver").is_some_and(|rest| {
                    let address = rest.trim();
                    !address.starts_with("127.") && address != "::1"
                })
            })
            .collect();
        (!servers.is_empty()).then(|| format!("{}\n", servers.join("\n")))
    };
    let content = usable("/etc/resolv.conf")
        .or_else(|| usable("/run/systemd/resolve/resolv.conf"))
        // Nothing listens there, so that a question is refused at once instead of timing out.
        .unwrap_or_else(|| format!("nameserver {NODE_IP}\n"));
    cache::write_atomically(&paths.state.join("resolv.conf"), content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_into_the_pod_network_are_found() {
        let routes = "default via 192.0.2.1 dev eth0\n\
                      unreachable 10.234.64.0/18\n\
                      10.234.64.5 dev veth12ab scope host\n\
                      10.235.0.0/16 dev other0 proto kernel scope link\n";
        assert_eq!(devices(routes, "10.234.64.0/18"), BTreeSet::from(["veth12ab".to_owned()]));
    }

    #[test]
    fn rules_of_others_stay() {
        let rules = "*nat\n\
            :PREROUTING ACCEPT [0:0]\n\
            :DOCKER - [0:0]\n\
            :KUBE-SERVICES - [0:0]\n\
            :CNI-aaa - [0:0]\n\
            :CNI-bbb - [0:0]\n\
            -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
            -A PREROUTING -j DOCKER\n\
            -A POSTROUTING -s 10.234.64.5/32 -m comment --comment \"name: \\\"ai-saas-platform\\\" id: \\\"1\\\"\" -j CNI-aaa\n\
            -A POSTROUTING -s 10.88.0.5/32 -m comment --comment \"name: \\\"podman\\\" id: \\\"2\\\"\" -j CNI-bbb\n\
            -A KUBE-SERVICES -j KUBE-MARK\n\
            COMMIT\n";
        let script = removal("nat", rules).unwrap();
        assert!(
            script.contains(
                "-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"
            )
        );
        assert!(script.contains("-X CNI-aaa") && script.contains("-X KUBE-SERVICES"));
        assert!(!script.contains("DOCKER") && !script.contains("CNI-bbb") && !script.contains("10.88"));
    }

    #[test]
    fn nothing_to_remove_is_no_script() {
        assert_eq!(removal("nat", "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"), None);
    }
}
