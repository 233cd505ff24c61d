//! Where an analysis runs in these tests: folders of its own, and limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analysis_base::analysis::{self, Outcome};
use analysis_base::environment::{ENGINE_STACK_BYTES, Environment, Folders};
use analysis_base::failure::Failure;
use analysis_base::source::Progress;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

/// A root folder with everything that a pod has mounted.
pub(crate) struct Bench {
    root: TempDir,
    pub(crate) environment: Environment,
}

/// What a run gave.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) rows_read: u64,
    pub(crate) bytes_read: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("folder");
        let folders = Folders::below(root.path());
        for folder in
            [&folders.sources, &folders.claims, &folders.output, &folders.secrets, &folders.temporary]
        {
            fs::create_dir_all(folder).expect("folder");
        }
        let environment = Environment {
            folders,
            memory_limit_bytes: 512 << 20,
            temporary_limit_bytes: None,
            file_limit_bytes: None,
            engine_stack_bytes: ENGINE_STACK_BYTES,
            cores: 2,
            public_addresses_only: false,
        };
        Self { root, environment }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Puts a file on the claim `data`.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.environment.folders.claims.join("data").join(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, content).expect("file");
    }

    pub(crate) fn put_secret(&self, secret: &str, key: &str, value: &str) {
        let folder = self.environment.folders.secrets.join(secret);
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join(key), value).expect("file");
    }

    pub(crate) fn output(&self, name: &str) -> PathBuf {
        self.environment.folders.output.join("out").join(name)
    }

    pub(crate) fn written(&self, name: &str) -> String {
        fs::read_to_string(self.output(name)).expect("output")
    }

    pub(crate) async fn run(&self, specification: Value) -> Result<Run, Failure> {
        let specification = serde_json::from_value(specification).expect("specification");
        let scratch = tempfile::tempdir_in(&self.environment.folders.temporary).expect("folder");
        let progress = Arc::new(Progress::default());
        let (_stop, stopped) = watch::channel(false);
        let outcome =
            analysis::run(&specification, &self.environment, scratch.path(), &progress, stopped).await?;
        Ok(Run { outcome, rows_read: progress.rows(), bytes_read: progress.bytes() })
    }

    pub(crate) async fn failure(&self, specification: Value) -> Failure {
        match self.run(specification).await {
            Ok(run) => panic!("the run succeeded: {:?}", run.outcome),
            Err(failure) => failure,
        }
    }

    /// The preview of a query over one source.
    pub(crate) async fn preview(&self, source: Value, sql: &str) -> String {
        let specification = serde_json::json!({"sources": [source], "sql": sql});
        self.run(specification).await.expect("run").outcome.preview
    }
}
