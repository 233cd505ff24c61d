//! The node's processes: started apart from the caller, recorded, recognised, ended.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::state::{Paths, Record, boot};
use crate::process::wait_until;
use crate::step;

/// Set in the environment of everything that is started here and inherited by
/// what those start, so that a process can be recognised that no record names.
const MARK: &str = "AI_SAAS_PLATFORM_NODE";

/// A process that is meant, and no later one that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) id: u32,
    /// Clock ticks from the start of the machine to the start of the process.
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this number now, if it is running.
    pub(crate) fn current(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (state != 'Z' && state != 'X').then_some(Self { id, started })
    }

    pub(crate) fn alive(self) -> bool {
        Self::current(self.id) == Some(self)
    }

    fn signal(self, signal: Signal) {
        if !self.alive() {
            return;
        }
        if let Some(id) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            // It may have ended by itself in the meantime, which is what is wanted.
            let _ = kill_process(id, signal);
        }
    }
}

/// The state and the start time in a line of `/proc/PID/stat`.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The name stands in parentheses and may hold anything, even parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The start time is field 22; the state is field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// Whether the process of that name is running.
pub(crate) fn running(record: &Record, name: &str) -> bool {
    record.boot == boot() && record.processes.get(name).is_some_and(|process| process.alive())
}

/// Starts a process that outlives this one and holds none of its streams.
pub(crate) fn start(
    paths: &Paths,
    record: &mut Record,
    name: &str,
    program: &Path,
    arguments: &[String],
) -> Result<()> {
    let path = paths.log(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    // The log of the run before stays readable.
    let _ = fs::rename(&path, path.with_extension("log.1"));
    let log = fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let child = Command::new("setsid")
        .arg(program)
        .args(arguments)
        // What the caller has set, such as a proxy, is not meant for the node.
        .env_clear()
        .env("HOME", &paths.state)
        .env(MARK, &paths.state)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("sharing the log file")?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    // `setsid` becomes the program, so the number and the start time are those of the program.
    let process = Process::current(child.id())
        .with_context(|| format!("{name} ended at once; its log is {}", path.display()))?;
    let boot = boot();
    if record.boot != boot {
        record.processes.clear();
        record.boot = boot;
    }
    record.processes.insert(name.to_owned(), process);
    record.save(paths)
}

/// Ends the process of that name.
pub(crate) fn stop(paths: &Paths, record: &mut Record, name: &str, patience: Duration) -> Result<()> {
    if record.boot == boot()
        && let Some(process) = record.processes.get(name)
    {
        end(&[*process], patience);
    }
    record.processes.remove(name);
    record.save(paths)
}

/// Ends processes of the node that no record names, such as the shims of
/// containers or what an interrupted start left behind.
pub(crate) fn stop_marked(paths: &Paths) {
    let processes = marked(paths);
    if !processes.is_empty() {
        step::detail(&format!("ending {} more processes of the node", processes.len()));
        end(&processes, Duration::from_secs(5));
    }
}

/// Every running process that carries the mark of this node.
pub(crate) fn marked(paths: &Paths) -> Vec<Process> {
    let wanted = format!("{MARK}={}", paths.state.display()).into_bytes();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
            })
        })
        .filter_map(Process::current)
        .collect()
}

/// Asks the processes to end, then makes them.
pub(crate) fn end(processes: &[Process], patience: Duration) {
    for process in processes {
        process.signal(Signal::TERM);
    }
    let gone = || !processes.iter().any(|process| process.alive());
    if wait_until(patience, gone) {
        return;
    }
    for process in processes {
        process.signal(Signal::KILL);
    }
    wait_until(Duration::from_secs(5), gone);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trouble() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b) S {}", fields.join(" "));
        assert_eq!(parse_stat(&stat), Some(('S', 22)));
    }

    #[test]
    fn this_process_is_alive_and_another_start_of_its_number_is_not() {
        let own = Process::current(std::process::id()).unwrap();
        assert!(own.alive());
        assert!(!Process { started: own.started + 1, ..own }.alive());
    }

    #[test]
    fn a_process_that_was_ended_is_not_alive() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::current(child.id()).unwrap();
        end(&[process], Duration::from_secs(5));
        assert!(!process.alive());
        child.wait().unwrap();
    }
}
