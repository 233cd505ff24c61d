//! A bucket in an S3-compatible store, and writing to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientOptions, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    Result, RetryConfig,
};
use tokio::task::JoinSet;

use super::connector::{Patience, PatientConnector};
use super::{ObjectError, ObjectSettings};

/// A larger object goes out in parts of this size. A store takes at most 10,000
/// parts, so an object has at most 78 GiB.
const PART_BYTES: usize = 8 << 20;
/// Parts that go out at once, besides the one that is being filled.
const PARTS_AT_ONCE: usize = 2;

/// A client for the bucket, and the prefix in its address.
pub(super) fn open(
    settings: &ObjectSettings,
    patience: Patience,
) -> Result<(Arc<dyn ObjectStore>, ObjectPath), ObjectError> {
    let ObjectSettings::S3 { url, endpoint, region, credentials_folder } = settings else {
        return Err(ObjectError::Configuration {
            place: "a folder".to_owned(),
            problem: "it is no bucket".to_owned(),
        });
    };
    let invalid = |problem: String| ObjectError::Configuration { place: url.clone(), problem };
    let rest =
        url.strip_prefix("s3://").ok_or_else(|| invalid("its URL does not begin with s3://".to_owned()))?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(invalid("its URL names no bucket".to_owned()));
    }
    let prefix =
        ObjectPath::parse(prefix.trim_end_matches('/')).map_err(|error| invalid(error.to_string()))?;
    // The line break that editors leave at the end of a Secret's value is not a part of it.
    let read = |key: &str| {
        let text = std::fs::read_to_string(credentials_folder.join(key));
        text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
    };
    let require = |key: &str| {
        read(key).map_err(|error| {
            invalid(format!(
                "its credential {} cannot be read: {error}",
                credentials_folder.join(key).display()
            ))
        })
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(region.as_deref().unwrap_or("us-east-1"))
        .with_access_key_id(require("AWS_ACCESS_KEY_ID")?)
        .with_secret_access_key(require("AWS_SECRET_ACCESS_KEY")?)
        .with_client_options(
            ClientOptions::new()
                .with_connect_timeout(Duration::from_secs(5))
                .with_timeout_disabled()
                .with_allow_http(true),
        )
        .with_http_connector(PatientConnector(patience))
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: 4,
            retry_timeout: Duration::from_secs(30),
        });
    if let Ok(token) = read("AWS_SESSION_TOKEN") {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    let store = builder.build().map_err(|error| invalid(crate::problem::chain(&error)))?;
    Ok((Arc::new(store), prefix))
}

/// An object that is being written to a bucket.
#[derive(Debug)]
pub(super) struct BucketUpload {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    /// What has not gone out yet.
    buffer: BytesMut,
    /// Begun when the first part is full.
    parts: Option<Parts>,
}

impl BucketUpload {
    pub(super) fn new(store: &Arc<dyn ObjectStore>, path: ObjectPath) -> Self {
        Self { store: Arc::clone(store), path, buffer: BytesMut::new(), parts: None }
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = PART_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == PART_BYTES {
                let part = self.buffer.split().freeze();
                self.send(part).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        let parts = match self.parts.take() {
            Some(parts) => parts,
            None => Parts::start(&*self.store, &self.path).await?,
        };
        self.parts.insert(parts).send(part).await
    }

    pub(super) async fn finish(mut self) -> Result<()> {
        let rest = self.buffer.split().freeze();
        if self.parts.is_none() {
            self.store.put_opts(&self.path, rest.into(), PutOptions::default()).await?;
            return Ok(());
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        // If this fails, dropping takes the parts back.
        parts.complete().await?;
        self.parts = None;
        Ok(())
    }

    pub(super) async fn abort(mut self) {
        if let Some(parts) = self.parts.take() {
            parts.abort().await;
        }
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        // Parts that belong to no object are not visible, but cost money.
        if let Some(parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(parts.abort());
        }
    }
}

/// The parts of an object that have gone out, or are going out.
#[derive(Debug)]
struct Parts {
    upload: Box<dyn MultipartUpload>,
    going: JoinSet<Result<()>>,
}

impl Parts {
    async fn start(store: &dyn ObjectStore, path: &ObjectPath) -> Result<Self> {
        let upload = store.put_multipart_opts(path, PutMultipartOptions::default()).await?;
        Ok(Self { upload, going: JoinSet::new() })
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        self.wait(PARTS_AT_ONCE - 1).await?;
        self.going.spawn(self.upload.put_part(PutPayload::from(part)));
        Ok(())
    }

    /// Waits until at most so many parts are going out.
    async fn wait(&mut self, most: usize) -> Result<()> {
        while self.going.len() > most {
            if let Some(gone) = self.going.join_next().await {
                gone??;
            }
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<()> {
        self.wait(0).await?;
        self.upload.complete().await?;
        Ok(())
    }

    async fn abort(mut self) {
        self.going.shutdown().await;
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(error = %crate::problem::chain(&error), "The parts of an upload cannot be taken back.");
        }
    }
}
