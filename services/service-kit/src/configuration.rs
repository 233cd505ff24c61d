//! What the operator tells a service: a file of JSON, mounted from a
//! ConfigMap, that is read again whenever it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Where the operator mounts the file.
pub const PATH: &str = "/etc/aisaas/configuration/configuration.json";

/// How often the file is looked at. The kubelet changes it by swapping a
/// symbolic link, of which notifications of the kernel about a file tell
/// nothing; and it takes its own time anyway.
const LOOK: Duration = Duration::from_secs(2);

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read", path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// What was in the way.
        source: io::Error,
    },
    /// The file makes no sense.
    #[error("the configuration {} cannot be understood", path.display())]
    Understand {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: serde_json::Error,
    },
}

/// A configuration that is kept up to date. Cheap to clone.
#[derive(Debug)]
pub struct Configuration<T> {
    current: watch::Receiver<Arc<T>>,
}

impl<T> Clone for Configuration<T> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone() }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Configuration<T> {
    /// Reads the file, and goes on looking at it. A change that makes no sense
    /// is logged, and what was before stays in force.
    ///
    /// # Errors
    /// If the file cannot be read or makes no sense now.
    pub async fn follow(path: &Path) -> Result<Self, ConfigurationError> {
        Self::follow_at(path, LOOK).await
    }

    async fn follow_at(path: &Path, look: Duration) -> Result<Self, ConfigurationError> {
        let path = path.to_owned();
        let mut seen = read(&path).await?;
        let (sender, current) = watch::channel(Arc::new(understand::<T>(&path, &seen)?));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(look) => {}
                }
                // While the kubelet swaps the file it may be away for a moment.
                let Ok(text) = read(&path).await else { continue };
                if text == seen {
                    continue;
                }
                match understand(&path, &text) {
                    Ok(configuration) => {
                        sender.send_replace(Arc::new(configuration));
                        tracing::info!(path = %path.display(), "The changed configuration is in force.");
                    }
                    Err(error) => tracing::error!(
                        error = %crate::problem::chain(&error),
                        "The configuration was changed to one that cannot be used. The one before stays in force."
                    ),
                }
                seen = text;
            }
        });
        Ok(Self { current })
    }

    /// The configuration as it is now.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }

    /// Waits for the next change. `None` when there will be none any more.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.current.changed().await.ok()?;
        Some(Arc::clone(&self.current.borrow_and_update()))
    }
}

async fn read(path: &Path) -> Result<String, ConfigurationError> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|source| ConfigurationError::Read { path: path.to_owned(), source })
}

fn understand<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigurationError> {
    serde_json::from_str(text)
        .map_err(|source| ConfigurationError::Understand { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_takes_effect_and_a_wrong_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("configuration.json");
        std::fs::write(&path, "1").unwrap();
        let mut configuration =
            Configuration::<u32>::follow_at(&path, Duration::from_millis(5)).await.unwrap();
        assert_eq!(*configuration.current(), 1);
        std::fs::write(&path, "no number").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(*configuration.current(), 1);
        std::fs::remove_file(&path).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::fs::write(&path, "2").unwrap();
        assert_eq!(configuration.changed().await.as_deref(), Some(&2));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let error = Configuration::<u32>::follow(Path::new("/nowhere/at.json")).await.unwrap_err();
        assert_eq!(error.to_string(), "the configuration /nowhere/at.json cannot be read");
    }
}
