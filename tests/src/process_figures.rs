//! What the kernel says of processes: proc(5).

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Ticks a second in what the kernel tells programs: 100 on every machine that Linux runs on.
const TICKS: u64 = 100;

/// The processor time that a process has used, its threads and the kernel's
/// work for it included.
///
/// # Errors
/// If there is no such process.
pub fn processor_time(process: u32) -> Result<Duration> {
    let fields = fields(process)?;
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
    let used = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    let used = used.with_context(|| format!("the processor time of process {process}"))?;
    Ok(Duration::from_millis(used * 1000 / TICKS))
}

/// The memory that a process holds, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kibibytes.with_context(|| format!("the memory of process {process}"))? * 1024)
}

/// The processes that a process has started and that have not ended.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn children(process: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry?.file_name();
        let Some(other) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // It may have ended in the meantime.
        let Ok(fields) = fields(other) else { continue };
        if fields.get(1).and_then(|parent| parent.parse().ok()) == Some(process) {
            found.push(other);
        }
    }
    Ok(found)
}

/// The fields of `stat` from the third one on: the second is the name of the
/// program, which may hold anything.
fn fields(process: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (_, rest) = text.rsplit_once(')').with_context(|| format!("{path} is of another form"))?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_itself() {
        let own = std::process::id();
        assert!(resident_bytes(own).unwrap() > 1 << 16);
        assert!(processor_time(own).unwrap() < Duration::from_secs(3600));
        assert!(children(std::os::unix::process::parent_id()).unwrap().contains(&own));
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
