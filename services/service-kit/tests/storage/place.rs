//! Where a test keeps its things.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use service_kit::database::{Database, DatabaseError, DatabaseSettings, MigrationSet, PoolBounds};
use tempfile::TempDir;
use uuid::Uuid;

use crate::postgresql::Server;

/// What a test waits for at most.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A database of one test.
#[derive(Debug)]
pub struct Place {
    /// As in a configuration.json.
    pub configuration: Value,
    _folder: TempDir,
    _server: Option<Arc<Server>>,
}

impl Place {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        // A name with characters that mean something else in an address.
        let path = folder.path().join("data of 100% #1?").join("database.sqlite3");
        Self { configuration: json!({"sqlite": {"path": path}}), _folder: folder, _server: None }
    }

    pub fn postgresql() -> Self {
        Self::on(&Server::shared())
    }

    /// A schema on this server.
    pub fn on(server: &Arc<Server>) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let url_file = folder.path().join("url");
        std::fs::write(&url_file, format!("{}\n", server.url())).expect("write the URL");
        let schema = format!("test_{}", Uuid::now_v7().simple());
        let configuration = json!({"postgresql": {"urlFile": url_file, "schema": schema}});
        Self { configuration, _folder: folder, _server: Some(Arc::clone(server)) }
    }

    pub fn settings(&self) -> DatabaseSettings {
        settings(&self.configuration)
    }

    pub async fn open(&self) -> Database {
        self.open_with(&[]).await.expect("open the database")
    }

    pub async fn open_with(&self, sets: &[MigrationSet]) -> Result<Database, DatabaseError> {
        Database::open(&self.settings(), sets, bounds()).await
    }
}

pub fn settings(configuration: &Value) -> DatabaseSettings {
    serde_json::from_value(configuration.clone()).expect("settings")
}

/// The machine that runs the tests may be busy.
pub fn bounds() -> PoolBounds {
    PoolBounds { acquire: Duration::from_secs(30), ..PoolBounds::default() }
}

/// Waits until it is so.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}
