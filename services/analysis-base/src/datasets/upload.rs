//! A file that becomes a version, exactly once: who uploads it again with the
//! same key is answered with the version that is there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use crds::analysis::OutputFormat;
use futures::{Stream, stream};
use reqwest::Body;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::error::checked;
use super::{Attempts, Dataset, DatasetError, LONG, Version, read};

/// Bytes of the file that are read at once.
const PART_BYTES: usize = 128 << 10;
/// An upload of which nothing goes out, and that is not answered, for so long is
/// given up. The service looks at the data before it answers.
const STALL: Duration = Duration::from_secs(180);
/// The analysis is done, and perhaps it took hours: so this is tried for some
/// minutes. A service that was killed during an upload lets it be done again
/// after two.
const ATTEMPTS: u32 = 12;

impl Dataset {
    /// Makes the file the next version, unless one was made with this key. Gives
    /// the version.
    ///
    /// # Errors
    /// If the service does not take it.
    pub async fn add(&self, format: OutputFormat, key: &str, file: &Path) -> Result<Version, DatasetError> {
        let mut attempts = Attempts::new(ATTEMPTS);
        loop {
            match self.try_add(format, key, file).await {
                Ok(version) => return Ok(version),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    async fn try_add(&self, format: OutputFormat, key: &str, file: &Path) -> Result<Version, DatasetError> {
        let file = File::open(file).await.map_err(DatasetError::File)?;
        let sent = Arc::new(AtomicU64::new(0));
        let path = format!("/v1/datasets/{}?format={}", self.name, format.as_str());
        // Neither length nor digest: another attempt may have computed other
        // bytes, such as other rows first, and is the same request all the same.
        let request = self
            .client
            .request(Method::PUT, &path)
            .header("idempotency-key", key)
            .body(Body::wrap_stream(parts(file, Arc::clone(&sent))));
        let response = tokio::select! {
            answer = self.send(request, LONG) => answer?,
            () = stalled(&sent, STALL) => {
                let seconds = STALL.as_secs();
                let detail = format!("analysis-base neither took the result nor answered for {seconds} s");
                return Err(DatasetError::Unavailable(detail));
            }
        };
        read(checked(response).await?).await
    }
}

/// The parts of a file; `sent` is how many bytes were asked for so far.
fn parts(file: File, sent: Arc<AtomicU64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((file, sent), |(mut file, sent): (File, Arc<AtomicU64>)| async move {
        let mut part = vec![0; PART_BYTES];
        let read = file.read(&mut part).await?;
        if read == 0 {
            return Ok::<_, io::Error>(None);
        }
        part.truncate(read);
        sent.fetch_add(read as u64, Ordering::Relaxed);
        Ok(Some((Bytes::from(part), (file, sent))))
    })
}

/// Ends when nothing has been sent for so long.
async fn stalled(sent: &AtomicU64, time: Duration) {
    let mut before = None;
    loop {
        let now = sent.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn all_parts_of_a_file_are_sent() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(PART_BYTES * 2 + 7).collect();
        std::fs::write(file.path(), &content).expect("write");
        let sent = Arc::new(AtomicU64::new(0));
        let opened = File::open(file.path()).await.expect("open");
        let read: Vec<Bytes> = parts(opened, Arc::clone(&sent)).try_collect().await.expect("parts");
        assert_eq!(read.concat(), content);
        assert_eq!(sent.load(Ordering::Relaxed), content.len() as u64);
    }

    #[tokio::test]
    async fn what_moves_is_not_stalled() {
        let time = Duration::from_millis(400);
        let sent = AtomicU64::new(0);
        let moves = async {
            for _ in 0..10 {
                tokio::time::sleep(time / 8).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = moves => {}
            () = stalled(&sent, time) => panic!("it moves"),
        }
        let begun = tokio::time::Instant::now();
        stalled(&sent, time).await;
        assert!(begun.elapsed() >= time);
    }
}
