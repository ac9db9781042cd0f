//! What a client sends along, read as a stream: image archives, files for a container.
//!
//! A refusal often comes before the end of it. A connection that is closed while data is under way
//! shows the client a broken pipe instead of the answer: so what is left is read, and dropped, for a
//! while after whoever wanted it has gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

/// How long the rest is read. A client that sends for longer finds the connection closed.
const PATIENCE: Duration = Duration::from_secs(60);

type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// A body on its way in. Must be dropped within a tokio runtime for its end to be read.
pub(crate) struct Upload {
    /// `None` once it has ended.
    reader: Option<StreamReader<Pieces, Bytes>>,
}

impl Upload {
    pub(crate) fn new(body: Body) -> Self {
        let pieces = body.into_data_stream();
        let pieces = pieces.map(|piece| piece.map_err(io::Error::other)).boxed();
        Self {
            reader: Some(StreamReader::new(pieces)),
        }
    }
}

impl AsyncRead for Upload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(Ok(()));
        };
        let before = buffer.filled().len();
        let read = ready!(Pin::new(reader).poll_read(context, buffer));
        let nothing = buffer.filled().len() == before && buffer.remaining() > 0;
        if read.is_err() || nothing {
            self.reader = None;
        }
        Poll::Ready(read)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(reader), Ok(runtime)) =
            (self.reader.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let mut pieces = reader.into_inner();
        runtime.spawn(tokio::time::timeout(PATIENCE, async move {
            while let Some(Ok(_)) = pieces.next().await {}
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A body of three pieces that counts what was taken of it.
    fn body() -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let pieces = futures::stream::iter(["one ", "two ", "three"]).map(move |piece| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, io::Error>(Bytes::from_static(piece.as_bytes()))
        });
        (Body::from_stream(pieces), taken)
    }

    #[tokio::test]
    async fn all_of_it_is_read() {
        let mut text = String::new();
        let mut upload = Upload::new(body().0);
        upload.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two three");
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_all_the_same() {
        let (body, taken) = body();
        let mut upload = Upload::new(body);
        let mut first = [0; 3];
        upload.read_exact(&mut first).await.unwrap();
        drop(upload);
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
            if taken.load(Ordering::SeqCst) == 3 {
                return;
            }
        }
        panic!("the rest is not read");
    }
}
