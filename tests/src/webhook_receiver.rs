//! A receiver of webhooks on this machine, that is away or fails when it is
//! told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{Cluster, python};

/// What messages are signed with.
const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4=";

/// Checks signatures by the specification, which is another program's reading
/// of it than that of the gateway:
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
const VERIFIER: &str = r#"
import base64, hashlib, hmac, json, sys, time
secret, messages = sys.argv[1], json.loads(sys.argv[2])
key = base64.b64decode(secret.removeprefix("whsec_"))
for message in messages:
    signed = (message["id"] + "." + message["timestamp"] + "." + message["body"]).encode()
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected, given) for given in message["signature"].split(" ")):
        sys.exit("the signature of " + message["id"] + " is not valid")
    if abs(time.time() - int(message["timestamp"])) > 300:
        sys.exit("the time of " + message["id"] + " is too far from now")
print(len(messages))
"#;

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// By this a receiver tells repeats.
    pub id: String,
    /// When it was sent, in seconds since 1970.
    pub timestamp: String,
    /// The signatures.
    pub signature: String,
    /// What it says.
    pub body: String,
}

/// A receiver, for as long as the value lives.
#[derive(Debug)]
pub struct WebhookReceiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Inbox {
    messages: Mutex<Vec<Message>>,
    /// So many of the next messages are answered with 500.
    failures: Mutex<usize>,
}

impl WebhookReceiver {
    /// Finds an address that the pods of the cluster reach, and that refuses
    /// connections until [`Self::open`].
    ///
    /// # Errors
    /// If there is no such place.
    pub async fn closed(cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind((cluster.host_address.as_str(), 0))
            .await
            .with_context(|| format!("listening at {}", cluster.host_address))?;
        let address = listener.local_addr().context("the address of the receiver")?;
        Ok(Self { address, inbox: Arc::default(), task: None })
    }

    /// Receives from now on. So many of the next messages are answered with 500.
    ///
    /// # Errors
    /// If somebody else has the address by now.
    pub async fn open(&mut self, failures: usize) -> Result<()> {
        *self.inbox.failures.lock().unwrap_or_else(PoisonError::into_inner) = failures;
        let listener = TcpListener::bind(self.address).await.context("opening the receiver")?;
        let router =
            Router::new().route("/", axum::routing::post(receive)).with_state(Arc::clone(&self.inbox));
        self.task = Some(tokio::spawn(async move {
            // Ends with the test; what goes wrong before is seen by the gateway.
            let _ = axum::serve(listener, router).await;
        }));
        Ok(())
    }

    /// What a request says of whom to tell.
    #[must_use]
    pub fn webhook(&self) -> Value {
        json!({ "url": format!("http://{}/", self.address), "secret": SECRET })
    }

    /// All messages that came, also those that were answered with 500.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was said under each id, each time the same.
    ///
    /// # Errors
    /// If something else was said the next time.
    pub fn messages_by_id(&self) -> Result<BTreeMap<String, String>> {
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        for Message { id, body, .. } in self.messages() {
            let first = bodies.entry(id.clone()).or_insert_with(|| body.clone());
            anyhow::ensure!(*first == body, "under the id {id} came {first}, and later {body}");
        }
        Ok(bodies)
    }

    /// Checks the signatures of all messages.
    ///
    /// # Errors
    /// If one of them is not valid.
    pub async fn verify(&self) -> Result<()> {
        let messages = serde_json::to_string(&self.messages())?;
        python::evaluate(VERIFIER, &[SECRET, &messages]).await.map(drop)
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let message = Message {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
    };
    inbox.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    let mut failures = inbox.failures.lock().unwrap_or_else(PoisonError::into_inner);
    if *failures > 0 {
        *failures -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::NO_CONTENT
}
