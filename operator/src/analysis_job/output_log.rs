//! The result of an analysis, as its pod printed it (see
//! [`crds::analysis::OUTPUT_MARKER`]).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crds::analysis::{OUTPUT_MARKER, OutputPart};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::build::CONTAINER;

/// A pod prints at most 700 KiB of result, as base64 in JSON. Reading stops
/// well above that, whatever the pod prints.
const READ_LIMIT_BYTES: i64 = 4 * 1024 * 1024;

/// Why the result could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It is not there, and will not be.
    #[error("{0}")]
    Gone(String),
    /// The API server did not give it.
    #[error(transparent)]
    Kubernetes(kube::Error),
    /// The stream broke off.
    #[error(transparent)]
    Interrupted(std::io::Error),
}

/// Reads the parts of the result from the log of a pod.
pub(super) async fn read(pods: &Api<Pod>, name: &str) -> Result<Vec<OutputPart>, Error> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        limit_bytes: Some(READ_LIMIT_BYTES),
        ..LogParams::default()
    };
    let stream = match pods.log_stream(name, &parameters).await {
        Ok(stream) => stream,
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 400 => {
            return Err(Error::Gone(format!(
                "the log of its pod cannot be read any more ({})",
                status.message
            )));
        }
        Err(error) => return Err(Error::Kubernetes(error)),
    };
    let mut lines = stream.lines();
    let mut parts = Vec::new();
    while let Some(line) = lines.try_next().await.map_err(Error::Interrupted)? {
        if let Some(json) = line.strip_prefix(OUTPUT_MARKER)
            && let Ok(part) = serde_json::from_str(json)
        {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// Why parts do not make files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Incomplete {
    /// Nothing was printed.
    #[error("its pod printed no result")]
    Empty,
    /// A part is missing.
    #[error("the log of its pod has only a part of `{0}`")]
    PartMissing(String),
    /// A part cannot be read.
    #[error("the log of its pod has a damaged part of `{0}`")]
    Damaged(String),
}

/// Puts parts together. Parts that come twice are taken once.
pub(super) fn assemble(parts: Vec<OutputPart>) -> Result<BTreeMap<String, Vec<u8>>, Incomplete> {
    let mut files: BTreeMap<String, BTreeMap<u32, OutputPart>> = BTreeMap::new();
    for part in parts {
        files.entry(part.file.clone()).or_default().insert(part.part, part);
    }
    if files.is_empty() {
        return Err(Incomplete::Empty);
    }
    files
        .into_iter()
        .map(|(name, parts)| {
            let expected = parts.values().next().map_or(0, |part| part.parts);
            if parts.keys().copied().ne(0..expected) {
                return Err(Incomplete::PartMissing(name));
            }
            let mut bytes = Vec::new();
            for part in parts.into_values() {
                let decoded = STANDARD.decode(part.data).map_err(|_| Incomplete::Damaged(name.clone()))?;
                bytes.extend(decoded);
            }
            Ok((name, bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(file: &str, part: u32, parts: u32, text: &str) -> OutputPart {
        OutputPart { file: file.to_owned(), part, parts, data: STANDARD.encode(text) }
    }

    #[test]
    fn parts_become_files_in_their_order() {
        let files = assemble(vec![
            part("b", 0, 1, "x"),
            part("a", 1, 2, "world"),
            part("a", 0, 2, "hello "),
            part("a", 0, 2, "hello "),
        ])
        .unwrap();
        assert_eq!(files["a"], b"hello world");
        assert_eq!(files["b"], b"x");
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        assert_eq!(assemble(vec![]), Err(Incomplete::Empty));
        assert_eq!(assemble(vec![part("a", 0, 2, "x")]), Err(Incomplete::PartMissing("a".to_owned())));
        assert_eq!(assemble(vec![part("a", 1, 2, "x")]), Err(Incomplete::PartMissing("a".to_owned())));
        let mut damaged = part("a", 0, 1, "x");
        damaged.data = "!".to_owned();
        assert_eq!(assemble(vec![damaged]), Err(Incomplete::Damaged("a".to_owned())));
    }
}
