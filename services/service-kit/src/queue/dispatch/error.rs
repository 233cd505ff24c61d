use std::path::PathBuf;

use crate::database::DatabaseError;

/// Why NATS does not dispatch. Only told in logs: the database does instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum DispatchError {
    #[error("the file {} cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// What is wrong is not told: it might quote the credentials.
    #[error("the file {} has no NATS credentials, as `nsc` writes them", .0.display())]
    Credentials(PathBuf),
    #[error("TLS cannot be set up")]
    Tls(#[source] async_nats::rustls::Error),
    #[error("NATS at {url} refuses the credentials")]
    Refused { url: String },
    #[error("NATS at {url} cannot be reached")]
    Unreachable { url: String, source: async_nats::ConnectError },
    #[error("NATS at {url} does not answer in time")]
    Slow { url: String },
    #[error("the connection was lost")]
    Lost,
    #[error("{what}")]
    Refusal { what: String, source: async_nats::Error },
    #[error("the jobs to announce cannot be read")]
    Database(#[from] DatabaseError),
}

impl DispatchError {
    /// What NATS did not do, and what it said.
    pub(super) fn refusal(what: impl Into<String>, source: impl Into<async_nats::Error>) -> Self {
        Self::Refusal { what: what.into(), source: source.into() }
    }
}
