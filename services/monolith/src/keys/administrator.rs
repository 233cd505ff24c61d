use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Key, KeyDigest, KeyText};
use crate::scope::Scope;

/// What stands for the first administrator's key where ids of keys do.
const ID: &str = "admin";

/// The first administrator's key: valid for as long as it is in its file, and
/// in no database.
#[derive(Debug)]
pub struct Administrator {
    file: PathBuf,
    key: RwLock<Option<Arc<Key>>>,
}

impl Administrator {
    /// The key in a file, which need not be there.
    pub fn at(file: PathBuf) -> Self {
        let administrator = Self { file, key: RwLock::default() };
        administrator.take(std::fs::read_to_string(&administrator.file));
        administrator
    }

    /// The key, if it is this one.
    pub fn find(&self, digest: &KeyDigest) -> Option<Arc<Key>> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        key.as_ref().filter(|key| key.digest.matches(digest)).map(Arc::clone)
    }

    /// Reads the file again.
    pub async fn look(&self) {
        self.take(tokio::fs::read_to_string(&self.file).await);
    }

    fn take(&self, text: std::io::Result<String>) {
        let key = match text {
            Ok(text) => KeyText::parse(&text),
            Err(error) => {
                tracing::debug!(%error, file = %self.file.display(), "There is no administrator's key.");
                None
            }
        };
        let key = key.map(|key| {
            Arc::new(Key {
                id: ID.to_owned(),
                scopes: vec![Scope::Admin],
                rate_limit: None,
                digest: key.digest(),
                expires_at: None,
            })
        });
        let mut known = self.key.write().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() != key.is_some() {
            tracing::info!(is_there = key.is_some(), "The administrator's key has come or gone.");
        }
        *known = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_key_is_that_of_the_file_and_of_no_other_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api-key");
        let administrator = Administrator::at(file.clone());
        let (one, two) = (KeyText::random(), KeyText::random());
        assert!(administrator.find(&one.digest()).is_none());
        std::fs::write(&file, format!("{}\n", one.reveal())).unwrap();
        administrator.look().await;
        assert!(administrator.find(&one.digest()).unwrap().may(Scope::DatasetsWrite));
        std::fs::write(&file, two.reveal()).unwrap();
        administrator.look().await;
        assert!(administrator.find(&one.digest()).is_none());
        assert!(administrator.find(&two.digest()).is_some());
        std::fs::remove_file(&file).unwrap();
        administrator.look().await;
        assert!(administrator.find(&two.digest()).is_none());
    }
}
