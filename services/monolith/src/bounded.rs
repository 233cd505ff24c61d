//! Reading answers of services, of which nobody promises that they are short.

use bytes::BytesMut;

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It broke off.
    #[error("the answer broke off")]
    Broken(#[from] reqwest::Error),
    /// It goes on and on.
    #[error("the answer is longer than {most} bytes")]
    TooLong {
        /// What would have been read.
        most: usize,
    },
}

/// Reads an answer of at most so many bytes.
///
/// # Errors
/// If it is longer, or breaks off.
pub async fn read(mut response: reqwest::Response, most: usize) -> Result<BytesMut, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(BodyError::TooLong { most });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
