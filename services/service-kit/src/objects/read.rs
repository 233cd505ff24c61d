use std::fmt;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetResult, GetResultPayload};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, Take};

use super::{Object, ObjectError};

/// How much of a file is read at once. The library reads 8 KiB, each time on
/// another thread.
const CHUNK_BYTES: usize = 256 << 10;

/// What is in an object, or in a part of it.
pub struct Content {
    /// The whole object.
    pub object: Object,
    /// The part of it that is read.
    pub range: Range<u64>,
    stream: BoxStream<'static, Result<Bytes, ObjectError>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("Content");
        text.field("object", &self.object).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Content {
    pub(super) fn new(object: Object, place: &Arc<str>, got: GetResult) -> Self {
        let (key, place, range) = (object.key.clone(), Arc::clone(place), got.range);
        let stream = match got.payload {
            GetResultPayload::File(file, _) => file_stream(file, range.clone())
                .map_err(move |error| ObjectError::of_io(&place, &key, error))
                .boxed(),
            GetResultPayload::Stream(stream) => {
                stream.map_err(move |error| ObjectError::of_store(&place, &key, error)).boxed()
            }
        };
        Self { object, range, stream }
    }

    /// What is in it, chunk by chunk. A chunk that is an error ends it.
    #[must_use]
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes, ObjectError>> {
        self.stream
    }

    /// What is in it, in memory.
    ///
    /// # Errors
    /// If it is larger than `most` bytes, or the store fails.
    pub async fn collect(mut self, most: usize) -> Result<Bytes, ObjectError> {
        let too_large = |key: String| ObjectError::TooLarge { key, most: most as u64 };
        if self.range.end - self.range.start > most as u64 {
            return Err(too_large(self.object.key));
        }
        let mut content = BytesMut::new();
        while let Some(chunk) = self.stream.try_next().await? {
            if content.len() + chunk.len() > most {
                return Err(too_large(self.object.key));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content.freeze())
    }
}

fn file_stream(file: std::fs::File, range: Range<u64>) -> BoxStream<'static, io::Result<Bytes>> {
    let opened = async move {
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(range.start)).await?;
        Ok::<_, io::Error>(stream::try_unfold(file.take(range.end - range.start), next_chunk))
    };
    stream::once(opened).try_flatten().boxed()
}

async fn next_chunk(mut rest: Take<File>) -> io::Result<Option<(Bytes, Take<File>)>> {
    if rest.limit() == 0 {
        return Ok(None);
    }
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    if rest.read_buf(&mut chunk).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before its size"));
    }
    Ok(Some((chunk.freeze(), rest)))
}
