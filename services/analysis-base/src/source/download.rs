//! A file on a web server, copied to the temporary folder.
//!
//! Web servers need not give parts of a file, and what they give may change
//! between two reads; a copy can be read as often as the analysis wants.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use super::{Downloads, Progress, Secret, SourceError, public};
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that sends nothing for this long is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 4;

/// Why one attempt failed.
enum AttemptError {
    /// Trying again may help.
    Passing(SourceError),
    Final(Failure),
}

/// Copies the file and gives the path of the copy.
pub(super) async fn fetch(
    source_name: &str,
    url: &str,
    secret: Option<&Secret>,
    downloads: &Downloads,
    progress: &Progress,
) -> Result<PathBuf, Failure> {
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("aisaas-analysis-base/", env!("CARGO_PKG_VERSION")));
    if downloads.public_addresses_only {
        if public::is_private(url) {
            return Err(not_public(source_name, url).into());
        }
        builder = public::only(builder);
    }
    let client = builder.build().map_err(Failure::internal)?;
    let path = downloads.folder.join(source_name);
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let tried =
            try_fetch(&client, source_name, url, secret, &path, downloads.limit_bytes, progress).await;
        match tried {
            Ok(()) => return Ok(path),
            Err(AttemptError::Final(failure)) => return Err(failure),
            Err(AttemptError::Passing(error)) if attempt == ATTEMPTS => return Err(error.into()),
            Err(AttemptError::Passing(error)) => {
                tracing::warn!(source = source_name, attempt, %error, "the download failed and is tried again");
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        attempt += 1;
    }
}

async fn try_fetch(
    client: &Client,
    source_name: &str,
    url: &str,
    secret: Option<&Secret>,
    path: &Path,
    limit_bytes: Option<u64>,
    progress: &Progress,
) -> Result<(), AttemptError> {
    let passing = |what: String| {
        AttemptError::Passing(SourceError::Unavailable { source_name: source_name.to_owned(), what })
    };
    let mut request = client.get(url);
    if let Some(secret) = secret {
        request = match secret.get("token") {
            Some(token) => request.bearer_auth(token),
            None => request.basic_auth(
                secret.require("username").map_err(AttemptError::Final)?,
                Some(secret.require("password").map_err(AttemptError::Final)?),
            ),
        };
    }
    let response = request.send().await.map_err(|error| {
        if public::was_refused(&error) {
            return AttemptError::Final(not_public(source_name, url).into());
        }
        passing(format!("`{url}` cannot be reached: {}", super::error::root_cause(&error)))
    })?;
    let mut response = checked(response, source_name, url)?;

    let too_large = |limit_bytes| {
        AttemptError::Final(
            SourceError::DownloadTooLarge { source_name: source_name.to_owned(), limit_bytes }.into(),
        )
    };
    if let (Some(length), Some(limit)) = (response.content_length(), limit_bytes)
        && length > limit
    {
        return Err(too_large(limit));
    }
    let not_written = |error: &io::Error| {
        AttemptError::Final(match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::disk_exhausted(limit_bytes),
            _ => Failure::internal(error),
        })
    };
    let mut file = std::fs::File::create(path).map_err(|error| not_written(&error))?;
    let mut received = 0_u64;
    loop {
        let part = response.chunk().await.map_err(|error| {
            passing(format!("`{url}` stopped after {received} bytes: {}", super::error::root_cause(&error)))
        })?;
        let Some(part) = part else { break };
        received += part.len() as u64;
        if let Some(limit) = limit_bytes.filter(|limit| received > *limit) {
            return Err(too_large(limit));
        }
        file.write_all(&part).map_err(|error| not_written(&error))?;
    }
    progress.add_bytes(received);
    Ok(())
}

fn not_public(source_name: &str, url: &str) -> SourceError {
    SourceError::NotPublic { source_name: source_name.to_owned(), url: url.to_owned() }
}

fn checked(response: Response, source_name: &str, url: &str) -> Result<Response, AttemptError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let source_name = source_name.to_owned();
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            AttemptError::Final(
                SourceError::Denied { source_name, what: format!("`{url}` ({status})") }.into(),
            )
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => {
            AttemptError::Passing(SourceError::Unavailable {
                source_name,
                what: format!("the server answered {status} to `{url}`"),
            })
        }
        _ if status.is_server_error() => AttemptError::Passing(SourceError::Unavailable {
            source_name,
            what: format!("the server answered {status} to `{url}`"),
        }),
        _ => AttemptError::Final(
            SourceError::NotFound { source_name, what: format!("the server answered {status} to `{url}`") }
                .into(),
        ),
    })
}
