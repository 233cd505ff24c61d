//! What a run finds around itself: folders and limits.

use std::path::{Path, PathBuf};

use crds::analysis::paths;

use crate::failure::Limits;

/// The folders that the operator mounts. Tests put others in their place.
#[derive(Clone, Debug)]
pub struct Folders {
    /// One folder for each source that is a ConfigMap key.
    pub sources: PathBuf,
    /// One folder for each claim that is read.
    pub claims: PathBuf,
    /// The claim that is written to.
    pub output: PathBuf,
    /// One folder for each Secret.
    pub secrets: PathBuf,
    /// One file for each Platform, with a token for its data sets.
    pub platform_tokens: PathBuf,
    /// For temporary files.
    pub temporary: PathBuf,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            sources: paths::SOURCES.into(),
            claims: paths::CLAIMS.into(),
            output: paths::OUTPUT.into(),
            secrets: paths::SECRETS.into(),
            platform_tokens: paths::PLATFORM_TOKENS.into(),
            temporary: paths::TEMPORARY.into(),
        }
    }
}

impl Folders {
    /// The same folders below another root, for runs outside of a pod.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let moved = |path: &str| root.join(path.trim_start_matches('/'));
        Self {
            sources: moved(paths::SOURCES),
            claims: moved(paths::CLAIMS),
            output: moved(paths::OUTPUT),
            secrets: moved(paths::SECRETS),
            platform_tokens: moved(paths::PLATFORM_TOKENS),
            temporary: moved(paths::TEMPORARY),
        }
    }
}

/// Room for the recursion over a query of the longest text that is accepted.
pub const ENGINE_STACK_BYTES: usize = 512 << 20;

/// Folders and limits of a run.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where to find and to put files.
    pub folders: Folders,
    /// The container's memory limit in bytes.
    pub memory_limit_bytes: u64,
    /// How many bytes the temporary folder may hold; `None` for no limit but the disk's.
    pub temporary_limit_bytes: Option<u64>,
    /// How many bytes a file may have; `None` for no limit but the disk's.
    pub file_limit_bytes: Option<u64>,
    /// The stack of each of the engine's threads.
    pub engine_stack_bytes: usize,
    /// Cores to use, at least 1.
    pub cores: usize,
    /// Whether web servers are read only at addresses of the public internet.
    pub public_addresses_only: bool,
}

impl Environment {
    /// The limits as messages name them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { memory_bytes: self.memory_limit_bytes, temporary_bytes: self.temporary_limit_bytes }
    }

    /// How many bytes the query engine may account for.
    ///
    /// The engine counts what its operators keep, not what passes through:
    /// decoding buffers, batches under way, the plan, the allocator's slack.
    /// That part is a constant for the process and a share that grows with
    /// the data, so both are taken off.
    #[must_use]
    pub fn engine_memory_bytes(&self) -> usize {
        const PROCESS: u64 = 48 << 20;
        const LEAST: u64 = 8 << 20;
        let rest = self.memory_limit_bytes.saturating_sub(PROCESS);
        usize::try_from((rest / 20 * 13).max(LEAST)).unwrap_or(usize::MAX)
    }

    /// Rows that the engine handles at once: fewer when memory is scarce,
    /// since a few batches are under way in every operator.
    #[must_use]
    pub fn batch_rows(&self) -> usize {
        if self.memory_limit_bytes < 384 << 20 { 4096 } else { 8192 }
    }
}
