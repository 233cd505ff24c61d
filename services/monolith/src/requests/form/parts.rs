//! The parts of a form, one after the other, as they come.
//!
//! Whoever reads forms reads on for as long as something comes, into memory,
//! until it has found what it looks for. A head of a part without an end, or a
//! form without a beginning, would be read until there is no memory left: the
//! body gives no more than is taken of it, and a little for the heads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use service_kit::Problem;

/// A client that sends nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the heads of all parts may be together, and how much is read ahead.
const MOST_AHEAD_BYTES: usize = 64 << 10;
/// So often what was read is looked through before it is too long. For the
/// beginning of a form it is looked twice each time.
const LOOKS: usize = 2;

/// The parts of a form.
#[derive(Debug)]
pub struct Parts {
    parts: Multipart,
    meter: Arc<Meter>,
    silence: Duration,
}

/// A part of a form, of which the head was read.
#[derive(Debug)]
pub struct Part<'a> {
    field: Field<'a>,
    meter: &'a Meter,
    silence: Duration,
}

impl Parts {
    /// Those of a request, of which nothing is read yet.
    ///
    /// # Errors
    /// If it is no form.
    pub async fn of(request: Request) -> Result<Self, Problem> {
        let meter = Arc::new(Meter::default());
        let mut request = request.map(|body| Body::new(Metered { body, meter: Arc::clone(&meter) }));
        // Files have no bound here: they are passed on as they come.
        DefaultBodyLimit::disable().apply(&mut request);
        let parts = Multipart::from_request(request, &()).await.map_err(|error| {
            Problem::bad_request(format!("The form cannot be read: {}.", error.body_text()))
        })?;
        Ok(Self { parts, meter, silence: SILENCE })
    }

    /// The next one; `None` after the last one.
    ///
    /// # Errors
    /// If its head does not come in time, is too long or makes no sense.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>, Problem> {
        let Self { parts, meter, silence } = self;
        let meter: &Meter = meter;
        let silence = *silence;
        let found = tokio::time::timeout(silence, parts.next_field()).await.map_err(|_| {
            let seconds = silence.as_secs();
            Problem::request_timeout(format!("The head of the next part has not come within {seconds} s."))
        })?;
        let field = found.map_err(|error| unreadable(&error, meter))?;
        meter.looked();
        Ok(field.map(|field| Part { field, meter, silence }))
    }
}

impl Part<'_> {
    /// The name of what it is.
    pub fn name(&self) -> Option<&str> {
        self.field.name()
    }

    /// What the file is called.
    pub fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// Its media type.
    pub fn content_type(&self) -> Option<&str> {
        self.field.content_type()
    }

    /// What comes next of its content; `None` at its end.
    ///
    /// # Errors
    /// If nothing comes for a while, or the form is broken off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        let chunk = tokio::time::timeout(self.silence, self.field.chunk()).await.map_err(|_| {
            Problem::request_timeout(format!("Nothing has come for {} s.", self.silence.as_secs()))
        })?;
        let chunk = chunk.map_err(|error| unreadable(&error, self.meter))?;
        self.meter.taken(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }
}

fn unreadable(error: &MultipartError, meter: &Meter) -> Problem {
    if meter.is_exceeded() {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            format!(
                "The form cannot be read: what stands before its first part and the heads of its parts have more \
                 than {MOST_AHEAD_BYTES} bytes."
            ),
        )
        .with("limitBytes", MOST_AHEAD_BYTES);
    }
    Problem::bad_request(format!("The form cannot be read: {}.", error.body_text()))
}

/// How much more of a form was read than was taken of it as content.
#[derive(Debug, Default)]
struct Meter {
    ahead: AtomicUsize,
    /// How often what was read was looked through since something was found.
    looks: AtomicUsize,
}

impl Meter {
    /// Something was found in what was read.
    fn looked(&self) {
        self.looks.store(0, Ordering::Relaxed);
    }

    /// So much was taken out of what was read.
    fn taken(&self, bytes: usize) {
        self.ahead.fetch_sub(bytes, Ordering::Relaxed);
        self.looked();
    }

    fn is_exceeded(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > LOOKS
    }
}

/// Why a body gives no more.
#[derive(Debug, thiserror::Error)]
#[error("more was read than was made use of")]
struct Exceeded;

/// A body that is read no further ahead than it may be.
#[derive(Debug)]
struct Metered {
    body: Body,
    meter: Arc<Meter>,
}

impl hyper::body::Body for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.meter.ahead.load(Ordering::Relaxed) >= MOST_AHEAD_BYTES {
            // As if there were no more yet, so that what is there is looked
            // through. A frame may have been longer than all that, and good.
            self.meter.looks.fetch_add(1, Ordering::Relaxed);
            if self.meter.is_exceeded() {
                return Poll::Ready(Some(Err(Exceeded.into())));
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.meter.ahead.fetch_add(bytes, Ordering::Relaxed);
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::header;
    use bytes::BytesMut;
    use futures::{Stream, StreamExt as _, stream};

    use super::*;

    async fn parts(body: impl Stream<Item = Bytes> + Send + 'static) -> Parts {
        let body = Body::from_stream(body.map(Ok::<_, Infallible>));
        let request = Request::builder().header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
        Parts::of(request.body(body).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn what_has_no_end_is_not_read_to_its_end() {
        for beginning in ["", "--b\r\nX: "] {
            let read = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&read);
            let endless = stream::repeat_with(move || {
                counted.fetch_add(1024, Ordering::Relaxed);
                Bytes::from_static(&[b'a'; 1024])
            });
            let beginning = stream::iter([Bytes::from_static(beginning.as_bytes())]);
            let mut parts = parts(beginning.chain(endless)).await;
            let refused = parts.next().await.unwrap_err();
            assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.detail);
            assert!(read.load(Ordering::Relaxed) <= MOST_AHEAD_BYTES + 1024);
        }
    }

    #[tokio::test]
    async fn contents_may_be_long_and_come_in_long_pieces() {
        const COUNT: usize = 20;
        let content = Bytes::from(vec![b'x'; 3 * MOST_AHEAD_BYTES]);
        let mut pieces = Vec::new();
        for number in 0..COUNT {
            let head = format!("--b\r\ncontent-disposition: form-data; name=\"n{number}\"\r\n\r\n");
            pieces.extend([Bytes::from(head), content.clone(), Bytes::from_static(b"\r\n")]);
        }
        pieces.push(Bytes::from_static(b"--b--\r\n"));
        let mut joined = BytesMut::new();
        for piece in &pieces {
            joined.extend_from_slice(piece);
        }
        for pieces in [pieces, vec![joined.freeze()]] {
            let mut parts = parts(stream::iter(pieces)).await;
            let mut count = 0;
            while let Some(mut part) = parts.next().await.unwrap() {
                assert_eq!(part.name().unwrap(), format!("n{count}"));
                let mut bytes = 0;
                while let Some(chunk) = part.chunk().await.unwrap() {
                    bytes += chunk.len();
                }
                assert_eq!(bytes, content.len());
                count += 1;
            }
            assert_eq!(count, COUNT);
        }
    }

    #[tokio::test]
    async fn who_sends_no_head_is_not_waited_for() {
        let begun = stream::iter([Bytes::from_static(b"--b\r\n")]);
        let mut parts = parts(begun.chain(stream::pending())).await;
        parts.silence = Duration::from_millis(20);
        let refused = parts.next().await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }
}
