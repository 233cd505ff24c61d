//! The memory of this process, as the kernel sees it.
//!
//! The engine's own accounting is partial (it leaves out decoders and batches
//! under way), so the kernel's figure decides: a [`Watchdog`] ends the run in
//! an orderly way just before the kernel would kill the process without a word.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a page. All images are built for targets with this size.
const PAGE_BYTES: u64 = 4096;

/// The most that [`anonymous_bytes`] has given so far.
static PEAK_BYTES: AtomicU64 = AtomicU64::new(0);

/// The most memory that this process held at once, in bytes, as far as it was
/// looked at: the [`Watchdog`] does so every few milliseconds. What counts is
/// what counts against a limit, see [`anonymous_bytes`].
#[must_use]
pub fn peak_bytes() -> u64 {
    let _ = anonymous_bytes();
    PEAK_BYTES.load(Ordering::Relaxed)
}

/// Memory of this process that cannot be given back to a file, in bytes.
///
/// Pages of mapped files (the program itself) are left out: the kernel drops
/// them before it kills.
#[must_use]
pub fn anonymous_bytes() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/statm") else { return 0 };
    let mut fields = text.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let resident = fields.next().unwrap_or(0);
    let of_files = fields.next().unwrap_or(0);
    let bytes = resident.saturating_sub(of_files) * PAGE_BYTES;
    PEAK_BYTES.fetch_max(bytes, Ordering::Relaxed);
    bytes
}

/// The memory limit of the surrounding container, or the machine's memory.
#[must_use]
pub fn surrounding_limit_bytes() -> u64 {
    let of_group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    of_group.or_else(machine_bytes).unwrap_or(1 << 30)
}

fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    kilobytes(&text, "MemTotal:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|value| value * 1024)
}

/// Watches the memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    threshold_bytes: u64,
}

impl Watchdog {
    /// Between two looks: memory can grow by some MiB in this time.
    const INTERVAL: Duration = Duration::from_millis(4);

    /// A watchdog for a container with this limit.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        // What the process may still take between two looks, and what the
        // kernel keeps for it (page tables, sockets), stays free.
        let reserve = (limit_bytes / 16).max(8 << 20);
        Self { threshold_bytes: limit_bytes.saturating_sub(reserve) }
    }

    /// Waits until the process holds too much. Never returns otherwise.
    pub fn wait(self) {
        while anonymous_bytes() < self.threshold_bytes {
            std::thread::sleep(Self::INTERVAL);
        }
    }
}
