//! An S3-compatible server for the pods of a test.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{Cluster, Namespace, python};

const PROGRAM: &str = r#"
import boto3, logging, sys
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
address, bucket = sys.argv[1:]
server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
server.start()
endpoint = "http://%s:%d" % server.get_host_and_port()
boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
             aws_access_key_id="test", aws_secret_access_key="test").create_bucket(Bucket=bucket)
print(endpoint, flush=True)
sys.stdin.read()
"#;

/// Reads or writes one object; bytes travel as hexadecimal text.
const CLIENT: &str = r#"
import boto3, sys
endpoint, bucket, verb, key, *content = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1",
                  aws_access_key_id="test", aws_secret_access_key="test")
if verb == "put":
    s3.put_object(Bucket=bucket, Key=key, Body=bytes.fromhex(content[0]))
else:
    print(s3.get_object(Bucket=bucket, Key=key)["Body"].read().hex())
"#;

/// The bucket that is there.
pub const BUCKET: &str = "measurements";
/// The Secret that [`S3Server::create_secret`] makes.
pub const SECRET: &str = "s3-credentials";

/// An S3-compatible server with one bucket, for as long as the value lives.
#[derive(Debug)]
pub struct S3Server {
    /// Its address.
    pub endpoint: String,
    _service: python::Service,
}

impl S3Server {
    /// Starts one where the pods of the cluster reach it.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let service = python::Service::start(PROGRAM, &[&cluster.host_address, BUCKET]).await?;
        Ok(Self { endpoint: service.address.clone(), _service: service })
    }

    /// Makes the Secret with credentials.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_secret(&self, namespace: &Namespace) -> Result<()> {
        namespace
            .create_secret(SECRET, &[("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .await
    }

    /// Where and how an AnalysisJob reads or writes below a key.
    #[must_use]
    pub fn place(&self, key: &str) -> Value {
        json!({ "url": format!("s3://{BUCKET}/{key}"), "endpoint": self.endpoint, "secret": { "name": SECRET } })
    }

    /// Stores an object.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        python::evaluate(CLIENT, &[&self.endpoint, BUCKET, "put", key, &hexadecimal]).await.map(drop)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>> {
        let hexadecimal = python::evaluate(CLIENT, &[&self.endpoint, BUCKET, "get", key]).await?;
        let digits = hexadecimal.trim();
        (0..digits.len() / 2)
            .map(|index| {
                u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).context("a byte of the object")
            })
            .collect()
    }
}
