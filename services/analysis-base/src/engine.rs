//! The query engine: Apache DataFusion within the limits of the run.

use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use url::Url;

use crate::environment::Environment;
use crate::failure::Failure;

/// With so few cores, to hash one side of a join on one of them costs less than
/// to hand the rows of both sides from core to core.
const FEW_CORES: usize = 4;
/// Most rows of a side that is hashed on one core: it takes some 0.2 s.
const ONE_TABLE_ROWS: usize = 4_000_000;

/// How tables are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// By a hash table of one side, which has to fit into memory: the fastest.
    Hashed,
    /// By sorting both sides, which may use temporary files.
    Sorted,
}

/// The engine with its tables.
#[derive(Debug)]
pub struct Engine {
    environment: Environment,
    runtime: Arc<RuntimeEnv>,
    tables: Vec<(String, Arc<dyn TableProvider>)>,
}

impl Engine {
    /// An engine without tables. What it spills goes to `spill_folder`.
    ///
    /// # Errors
    /// If the folder cannot be used.
    pub fn new(environment: &Environment, spill_folder: &Path) -> Result<Self, Failure> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill_folder.to_owned()]))
            .with_max_temp_directory_size(environment.temporary_limit_bytes.unwrap_or(u64::MAX));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(environment.engine_memory_bytes())))
            .with_disk_manager_builder(disk)
            .build()
            .map_err(|error| Failure::from_engine(&error, environment.limits()))?;
        // The engine comes with access to the local files. Sources bring
        // their own stores, and nothing else is to be read.
        if let Ok(local) = Url::parse("file:///") {
            let _ = runtime.deregister_object_store(&local);
        }
        Ok(Self { environment: environment.clone(), runtime: Arc::new(runtime), tables: Vec::new() })
    }

    /// Adds a table.
    pub fn add_table(&mut self, name: &str, table: Arc<dyn TableProvider>) {
        self.tables.push((name.to_owned(), table));
    }

    /// The names of the tables.
    #[must_use]
    pub fn table_names(&self) -> Vec<String> {
        self.tables.iter().map(|(name, _)| name.clone()).collect()
    }

    /// A session that has the tables and joins in this way.
    ///
    /// # Errors
    /// If two tables have one name.
    pub fn session(&self, joins: Joins) -> Result<SessionContext, Failure> {
        let cores = self.environment.cores;
        let mut config = SessionConfig::new()
            .with_target_partitions(cores)
            .with_batch_size(self.environment.batch_rows())
            .with_information_schema(false);
        let options = config.options_mut();
        // Every sort sets this aside for its final merge; the default is
        // meant for a machine, not for a small pod.
        options.execution.sort_spill_reservation_bytes =
            (self.environment.engine_memory_bytes() / (8 * cores)).clamp(512 << 10, 10 << 20);
        options.optimizer.prefer_hash_join = joins == Joins::Hashed;
        if cores <= FEW_CORES {
            options.optimizer.hash_join_single_partition_threshold =
                self.environment.engine_memory_bytes() / 8;
            options.optimizer.hash_join_single_partition_threshold_rows = ONE_TABLE_ROWS;
        }
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        for (name, table) in &self.tables {
            context
                .register_table(name.as_str(), Arc::clone(table))
                .map_err(|error| Failure::from_engine(&error, self.environment.limits()))?;
        }
        Ok(context)
    }
}
