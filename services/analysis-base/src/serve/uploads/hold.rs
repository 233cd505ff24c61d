//! An upload does not expire while a part of it comes in, however long that takes.

use std::time::Duration;

use service_kit::database::{Database, DatabaseError};
use service_kit::problem::chain;
use tokio::time::Instant;

use super::LIFE;
use super::store::{self, prefix};
use crate::serve::garbage::Garbage;

/// The parts are garbage a while after the upload has expired.
pub const PARTS_LIFE: Duration = Duration::from_secs(26 * 60 * 60);
/// How often it is noted down that a part still comes: a few such times may fail.
pub const EVERY: Duration = Duration::from_secs(15 * 60);

/// An upload that is kept for a part that begins there.
#[derive(Debug)]
pub struct Hold<'a> {
    database: &'a Database,
    id: &'a str,
    starts_at: i64,
    every: Duration,
    renewed: Instant,
}

impl<'a> Hold<'a> {
    /// Keeps the upload, and what is going to be written of the part. `None` if
    /// that is not its next one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn begin(
        database: &'a Database,
        id: &'a str,
        starts_at: i64,
        every: Duration,
    ) -> Result<Option<Self>, DatabaseError> {
        let mut transaction = database.begin().await?;
        // First: of an upload of which all parts are there by now, nothing may
        // become garbage again.
        if !store::renew(&mut transaction, id, starts_at, LIFE).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        Garbage::reserve_in(&mut transaction, &prefix(id), PARTS_LIFE).await?;
        transaction.commit().await?;
        Ok(Some(Self { database, id, starts_at, every, renewed: Instant::now() }))
    }

    /// Keeps it for longer, if it is time to. False if the part is of no use any
    /// more: the upload was given up, or another one has sent the same part.
    pub async fn go_on(&mut self) -> bool {
        if self.renewed.elapsed() < self.every {
            return true;
        }
        self.renewed = Instant::now();
        match self.renew().await {
            Ok(is_held) => is_held,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(upload = self.id, error, "It cannot be noted down that an upload goes on.");
                true
            }
        }
    }

    async fn renew(&self) -> Result<bool, DatabaseError> {
        let mut transaction = self.database.begin().await?;
        let is_held = store::renew(&mut transaction, self.id, self.starts_at, LIFE).await?
            && Garbage::extend(&mut transaction, &prefix(self.id), PARTS_LIFE).await?;
        if is_held {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok(is_held)
    }
}
