use std::sync::Arc;
use std::time::Duration;

use crds::analysis::FailureReason;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::Secret;
use crate::failure::Failure;

/// A bucket in an S3-compatible store, as a specification describes it.
#[derive(Debug)]
pub(crate) struct Bucket<'a> {
    /// `s3://BUCKET/KEY`
    pub(crate) url: &'a str,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
    pub(crate) secret: Option<Secret>,
}

/// A client for the bucket, and the key in its address.
///
/// Requests are bounded in time and are tried again, at most for a minute:
/// after that the Job's own retries take over.
pub(crate) fn open_bucket(bucket: &Bucket<'_>) -> Result<(Arc<AmazonS3>, ObjectPath), Failure> {
    let invalid = |detail: &dyn std::fmt::Display| {
        Failure::new(
            FailureReason::InvalidSpecification,
            format!("`{}` cannot be used: {detail}.", bucket.url),
        )
    };
    let rest = bucket.url.strip_prefix("s3://").ok_or_else(|| invalid(&"it does not start with s3://"))?;
    let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
    let key = ObjectPath::parse(key.trim_end_matches('/')).map_err(|error| invalid(&error))?;

    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(bucket.region.unwrap_or("us-east-1"))
        .with_client_options(
            ClientOptions::new()
                .with_connect_timeout(Duration::from_secs(10))
                .with_timeout(Duration::from_secs(60))
                .with_allow_http(true),
        )
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(8),
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: Duration::from_secs(60),
        });
    if let Some(endpoint) = bucket.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match &bucket.secret {
        None => builder.with_skip_signature(true),
        Some(secret) => {
            let builder = builder
                .with_access_key_id(secret.require("AWS_ACCESS_KEY_ID")?)
                .with_secret_access_key(secret.require("AWS_SECRET_ACCESS_KEY")?);
            match secret.get("AWS_SESSION_TOKEN") {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
    };
    let store = builder.build().map_err(|error| invalid(&super::error::root_cause(&error)))?;
    Ok((Arc::new(store), key))
}
