use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use crds::analysis::FailureReason;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use service_kit::objects::{Patience, PatientConnector};

use super::Secret;
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
/// No request waits for a silent store, and requests are tried again, at most
/// for a minute: after that the Job's own retries take over.
pub(crate) fn open_bucket(bucket: &Bucket<'_>) -> Result<(Arc<AmazonS3>, ObjectPath), Failure> {
    open(bucket, Patience::default())
}

fn open(bucket: &Bucket<'_>, patience: Patience) -> Result<(Arc<AmazonS3>, ObjectPath), Failure> {
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
                .with_user_agent(HeaderValue::from_static(concat!(
                    "aisaas-analysis-base/",
                    env!("CARGO_PKG_VERSION")
                )))
                .with_connect_timeout(CONNECT_TIMEOUT)
                // A query may take its time to read an object: what is bounded is
                // how long the store is silent.
                .with_timeout_disabled()
                .with_allow_http(true),
        )
        .with_http_connector(PatientConnector(patience))
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use object_store::ObjectStoreExt;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    /// What a store does with a request whose head it has read.
    type Answer = fn(&TcpStream, &str);

    /// A store with an answer for each connection; gives its address.
    fn store(answers: Vec<Answer>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().expect("connection");
                std::thread::spawn(move || {
                    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                    answer(&stream, &head.join("\n").to_ascii_lowercase());
                });
            }
        });
        address
    }

    fn begin(mut stream: &TcpStream, status: &str, length: usize) {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\netag: \"1\"\r\nconnection: close\r\n\
             last-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        );
        stream.write_all(head.as_bytes()).expect("head");
    }

    fn drip(mut stream: &TcpStream, bytes: &[u8]) {
        for byte in bytes {
            stream.write_all(&[*byte]).expect("byte");
            std::thread::sleep(PAUSE);
        }
    }

    async fn read(answers: Vec<Answer>) -> Vec<u8> {
        let endpoint = store(answers);
        let bucket = Bucket { url: "s3://lake/t", endpoint: Some(&endpoint), region: None, secret: None };
        let (store, key) =
            open(&bucket, Patience { silence: 4 * PAUSE, ..Patience::default() }).expect("bucket");
        store.get(&key).await.expect("object").bytes().await.expect("bytes").to_vec()
    }

    #[tokio::test]
    async fn an_answer_may_take_its_time() {
        let slowly: Answer = |mut stream, _| {
            begin(stream, "200 OK", 12);
            stream.write_all(b"\r\n").expect("head");
            drip(stream, b"twelve bytes");
        };
        assert_eq!(read(vec![slowly]).await, b"twelve bytes");
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_is_asked_for_the_rest() {
        let partly: Answer = |mut stream, _| {
            begin(stream, "200 OK", 12);
            stream.write_all(b"\r\n").expect("head");
            drip(stream, b"twelve");
            std::thread::sleep(10 * PAUSE);
        };
        let rest: Answer = |mut stream, head| {
            assert!(head.contains("range: bytes=6-11"), "{head}");
            begin(stream, "206 Partial Content", 6);
            stream.write_all(b"content-range: bytes 6-11/12\r\n\r\n bytes").expect("rest");
        };
        assert_eq!(read(vec![partly, rest]).await, b"twelve bytes");
    }
}
