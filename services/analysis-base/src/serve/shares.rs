//! How the container is shared by the analyses in it.

use super::Arguments;
use crate::memory;

/// For the server itself.
const SERVER_BYTES: u64 = 128 << 20;
/// For the look at an upload, which does not wait for the analyses.
const INSPECTION_BYTES: u64 = 96 << 20;
/// With less an analysis cannot do much.
const LEAST_BYTES: u64 = 96 << 20;
/// Of the temporary folder, for the look at an upload.
const INSPECTION_TEMPORARY_BYTES: u64 = 64 << 20;

/// What one process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Memory.
    pub memory_bytes: u64,
    /// Temporary files, and as much again for the result; `None` for as much as there is room for.
    pub temporary_bytes: Option<u64>,
    /// Threads that compute. The kernel shares out the cores.
    pub cores: usize,
}

/// Who may take what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// How many analyses run at once.
    pub concurrency: usize,
    /// Each analysis.
    pub analysis: Share,
    /// The look at an upload, of which there is one at a time.
    pub inspection: Share,
}

impl Shares {
    /// The shares of a container with what the arguments say that it has.
    #[must_use]
    pub fn of(arguments: &Arguments) -> Self {
        let cores = arguments
            .cpu_limit
            .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1)
            .max(1);
        let memory_bytes = arguments.memory_limit_bytes.unwrap_or_else(memory::surrounding_limit_bytes);
        Self::new(memory_bytes, cores, arguments.temporary_limit_bytes, arguments.concurrency)
    }

    fn new(
        memory_bytes: u64,
        cores: usize,
        temporary_bytes: Option<u64>,
        concurrency: Option<usize>,
    ) -> Self {
        let memory_bytes = memory_bytes.saturating_sub(SERVER_BYTES + INSPECTION_BYTES);
        let affordable = usize::try_from(memory_bytes / LEAST_BYTES).unwrap_or(usize::MAX);
        let concurrency = concurrency.unwrap_or_else(|| cores.max(2).min(affordable)).max(1);
        // The other half is for results, which lie in the same folder until they
        // are stored: a pod that fills its folder is evicted.
        let temporary_bytes = temporary_bytes
            .map(|bytes| bytes.saturating_sub(INSPECTION_TEMPORARY_BYTES) / 2 / concurrency as u64);
        Self {
            concurrency,
            analysis: Share {
                memory_bytes: (memory_bytes / concurrency as u64).max(LEAST_BYTES),
                temporary_bytes,
                cores,
            },
            inspection: Share {
                memory_bytes: INSPECTION_BYTES,
                temporary_bytes: Some(INSPECTION_TEMPORARY_BYTES),
                cores: 1,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_shared_equally() {
        let shares = Shares::new(2 << 30, 4, Some(8 << 30), None);
        assert_eq!(shares.concurrency, 4);
        assert_eq!(shares.analysis.memory_bytes, ((2 << 30) - (224 << 20)) / 4);
        assert_eq!(shares.analysis.temporary_bytes, Some(((8 << 30) - (64 << 20)) / 8));
        assert_eq!(shares.analysis.cores, 4);
    }

    #[test]
    fn few_analyses_run_where_memory_is_scarce() {
        assert_eq!(Shares::new(512 << 20, 8, None, None).concurrency, 3);
        let least = Shares::new(64 << 20, 1, None, None);
        assert_eq!((least.concurrency, least.analysis.memory_bytes), (1, LEAST_BYTES));
        assert_eq!(Shares::new(2 << 30, 1, None, None).concurrency, 2);
        assert_eq!(Shares::new(512 << 20, 8, None, Some(5)).concurrency, 5);
    }
}
