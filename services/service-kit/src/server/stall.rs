//! A connection whose other side has stopped reading.
//!
//! A client that takes nothing, but keeps its connection, would keep its place
//! among the connections, and all that its answer is made from, for ever: TCP
//! asks it again and again whether there is room, and it says each time that
//! there is none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// A connection that breaks off when nothing of what is written to it was taken
/// for some time.
#[derive(Debug)]
pub(super) struct StallLimited<S> {
    stream: S,
    limit: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    last_wait: LastWait,
}

/// When a write to a connection last had to wait: until then, what was not
/// taken may be what did not get through.
#[derive(Clone, Debug)]
pub(super) struct LastWait(Arc<Mutex<Instant>>);

impl LastWait {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes ready when none has had to wait for so long, from now on.
    pub(super) async fn none_for(&self, limit: Duration) {
        let begun = Instant::now();
        loop {
            let end = begun.max(self.at()) + limit;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }

    fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl<S> StallLimited<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None, last_wait: LastWait::new() }
    }

    /// Goes on being told when a write has to wait.
    pub(super) fn last_wait(&self) -> LastWait {
        self.last_wait.clone()
    }

    /// What has come of a write, or that it has waited for too long.
    fn limited<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        self.last_wait.is_now();
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the other side takes nothing of what is sent to it",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallLimited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallLimited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.limited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // That there is nothing to flush says nothing of a write that waits.
        if flushed.is_pending() { self.limited(context, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.stream).poll_shutdown(context);
        if shut_down.is_pending() { self.limited(context, shut_down) } else { shut_down }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_cut_off() {
        let (server, client) = duplex(16);
        let mut server = StallLimited::new(server, Duration::from_millis(50));
        server.write_all(&[0; 16]).await.expect("there is room for it");
        let error = server.write_all(&[0; 1]).await.expect_err("nobody takes it");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn who_takes_little_at_a_time_is_not() {
        let (server, mut client) = duplex(16);
        let mut server = StallLimited::new(server, Duration::from_millis(500));
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 16];
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                client.read_exact(&mut buffer).await.expect("what was sent");
            }
        });
        // Takes longer than the limit in all.
        server.write_all(&[0; 128]).await.expect("it is taken");
        reading.await.expect("the client");
    }
}
