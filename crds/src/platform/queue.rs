use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretReference;

/// What hands out the work that services have accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.natsJetStream)")
        .message("give `natsJetStream`, or leave out `queue`: then the database hands out the work")
)]
pub struct Queue {
    /// NATS JetStream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats_jet_stream: Option<NatsJetStream>,
}

/// A NATS server, or a cluster of them, with JetStream (2.9 or newer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || self.replicas == 1 || self.replicas == 3 || self.replicas == 5")
        .message("replicas must be 1, 3 or 5")
)]
pub struct NatsJetStream {
    /// Address: `nats://HOST:4222`, or `tls://HOST:4222` to insist on TLS.
    /// Credentials do not belong here but into a Secret.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^(nats|tls)://[^\s/@?#]+$"))]
    pub url: String,

    /// Secret with either the key `credentials` (a `.creds` file, as `nsc` writes
    /// it), or the keys `username` and `password`, or the key `token`; and with
    /// `ca.crt`, if the certificate of the server is not from a public
    /// authority. None, if the server asks for no credentials. When they change,
    /// the pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretReference>,

    /// On how many servers of a cluster each stream is: 1, 3 or 5; 1 if left out.
    /// Even with 1 nothing is lost when a server is, since the work itself is in
    /// the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
}
