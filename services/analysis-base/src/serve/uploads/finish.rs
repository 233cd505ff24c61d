//! From all parts of an upload to a version.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::Value;
use service_kit::objects::Written;
use service_kit::problem::chain;
use service_kit::queue::{Handler, Job, JobFailure};
use service_kit::spans::Span;
use uuid::Uuid;

use super::store::{self, UploadRecord, UploadStatus, prefix};
use super::{LIFE, Work, failed_problem};
use crate::serve::datasets::{self, DatasetName, data_object, inspected, publish};
use crate::serve::error::ServeError;
use crate::serve::garbage::Garbage;
use crate::serve::state::{Patience, Service};

/// Joining and looking take less.
const FINISHING: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes versions of uploads.
#[derive(Clone, Debug)]
pub struct Finisher(pub Arc<Service>);

impl Handler for Finisher {
    async fn handle(&self, job: Job) -> Result<(), JobFailure> {
        let mut span = Span::job(self.0.finishing.name(), &job, None);
        let attempted = self.attempt(&job).await;
        span.attempted(&attempted);
        attempted
    }
}

impl Finisher {
    async fn attempt(&self, job: &Job) -> Result<(), JobFailure> {
        let Work { upload } = job.payload()?;
        let found =
            store::find(&self.0.database, &upload).await.map_err(|error| JobFailure::again(chain(&error)))?;
        let Some(record) = found.filter(|record| record.status == UploadStatus::Finishing) else {
            return Ok(());
        };
        let noted = match self.finish(job, &record).await {
            Ok(()) => return Ok(()),
            // What the client has to mend is not tried again.
            Err(ServeError::Problem(problem)) if problem.status.is_client_error() => {
                self.refuse(job, &record, &problem.body()).await
            }
            Err(error) if job.attempt < job.max_attempts => return Err(JobFailure::again(chain(&error))),
            Err(error) => {
                tracing::error!(
                    upload = record.id,
                    error = chain(&error),
                    "No version of an upload could be made. Its parts are kept until it expires; an empty PATCH at \
                     their end has them tried again."
                );
                self.set_aside(job, &record, &failed_problem(error.is_storage_full())).await
            }
        };
        // If this is the last attempt, the housekeeping does it.
        noted.map_err(|error| JobFailure::again(chain(&error)))
    }

    async fn finish(&self, job: &Job, record: &UploadRecord) -> Result<(), ServeError> {
        let service = &self.0;
        let id = Uuid::now_v7().to_string();
        let objects = datasets::prefix(&id);
        service.garbage.reserve(&objects, FINISHING).await?;
        let finished = self.publish(job, record, &id).await;
        if finished.is_err() {
            service.garbage.give_up(&objects).await;
        }
        finished?;
        service.changes.tell(&record.id);
        service.garbage.wake();
        Ok(())
    }

    async fn publish(&self, job: &Job, record: &UploadRecord, id: &str) -> Result<(), ServeError> {
        let service = &self.0;
        let written = self.join(record, &data_object(id)).await?;
        let dataset = DatasetName::parse(&record.dataset)?;
        let how = (record.format, record.options.clone());
        let new = inspected(service, id, dataset, how, written, Patience::Work).await?;
        let mut transaction = service.database.begin().await?;
        let version = publish(&mut transaction, new).await?;
        store::end(&mut transaction, &record.id, Ok(version.version)).await?;
        Garbage::discard(&mut transaction, &prefix(&record.id)).await?;
        job.complete(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn join(&self, record: &UploadRecord, key: &str) -> Result<Written, ServeError> {
        let service = &self.0;
        let mut whole = service.objects.create(key).await?;
        for part in store::parts(&service.database, &record.id).await? {
            let mut chunks = service.objects.read(&part).await?.into_stream();
            while let Some(chunk) = chunks.try_next().await? {
                whole.write(chunk).await?;
            }
        }
        Ok(whole.finish().await?)
    }

    /// The data cannot become a version, and are not needed.
    async fn refuse(&self, job: &Job, record: &UploadRecord, problem: &Value) -> Result<(), ServeError> {
        let service = &self.0;
        let mut transaction = service.database.begin().await?;
        store::end(&mut transaction, &record.id, Err(problem)).await?;
        Garbage::discard(&mut transaction, &prefix(&record.id)).await?;
        job.complete(&mut transaction).await?;
        transaction.commit().await?;
        service.changes.tell(&record.id);
        service.garbage.wake();
        Ok(())
    }

    /// The data are not to blame: nobody has to send them again.
    async fn set_aside(&self, job: &Job, record: &UploadRecord, problem: &Value) -> Result<(), ServeError> {
        let service = &self.0;
        let mut transaction = service.database.begin().await?;
        // Whoever holds the job is the one who speaks for the upload.
        store::set_aside(&mut transaction, &record.id, problem, LIFE, i64::MAX).await?;
        job.complete(&mut transaction).await?;
        transaction.commit().await?;
        service.changes.tell(&record.id);
        Ok(())
    }
}
