//! Forms (`multipart/form-data`) as their parser may have them.
//!
//! A parser of forms takes whatever is there before it looks at any of it, and looks for the end of a part's head as long as there
//! is a body: a head without end would grow in memory. Here it gets one piece at a time, and outside of the file whose bytes
//! are passed on no more than was agreed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

/// What a limit without end is.
const LIFTED: usize = usize::MAX;

/// How much of a form may still arrive outside of its file. The form's reader says when the file begins and ends. Clones share it.
#[derive(Clone, Debug)]
pub struct HeadLimit {
    left: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl HeadLimit {
    /// The file has begun: it may be as long as its receiver takes.
    pub fn lift(&self) {
        self.left.store(LIFTED, Ordering::Relaxed);
    }

    /// The file has ended: what follows is bounded as what preceded it.
    pub fn set(&self) {
        self.left.store(self.bytes_max, Ordering::Relaxed);
    }

    /// Counts a piece, and answers whether it may pass.
    fn admits(&self, bytes: usize) -> bool {
        let counted = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            LIFTED => Some(LIFTED),
            left => left.checked_sub(bytes),
        });
        counted.is_ok()
    }
}

/// A form's body, one piece at a time, with `bytes_max` outside of its file at most; pieces count as a whole, the
/// file's first too. Ends with an error beyond that.
pub fn piecewise(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    bytes_max: usize,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, HeadLimit) {
    // One that is never reached is none.
    let bytes_max = bytes_max.min(LIFTED - 1);
    let limit = HeadLimit { left: Arc::new(AtomicUsize::new(bytes_max)), bytes_max };
    let counted = limit.clone();
    let pieces = stream::unfold(Some(body.boxed()), move |body| {
        let limit = counted.clone();
        async move {
            let mut body = body?;
            // The parser takes pieces until one is not there at once.
            tokio::task::yield_now().await;
            match body.next().await? {
                Ok(piece) if limit.admits(piece.len()) => Some((Ok(piece), Some(body))),
                Ok(_) => Some((Err(io::Error::other("the form is too long outside of its file")), None)),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    (pieces, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_file_is_unbounded() {
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'a'; 10])));
        let (pieces, limit) = piecewise(endless, 25);
        let mut pieces = std::pin::pin!(pieces);
        assert!(pieces.next().await.unwrap().is_ok());
        assert!(pieces.next().await.unwrap().is_ok());
        limit.lift();
        for _ in 0..100 {
            assert!(pieces.next().await.unwrap().is_ok());
        }
        limit.set();
        assert!(pieces.next().await.unwrap().is_ok());
        assert!(pieces.next().await.unwrap().is_ok());
        assert!(pieces.next().await.unwrap().is_err());
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn one_piece_is_there_at_a_time() {
        let ready = stream::iter((0..3).map(|_| Ok(Bytes::from_static(b"x"))));
        let (pieces, _limit) = piecewise(ready, 25);
        let mut pieces = Box::pin(pieces);
        for _ in 0..3 {
            assert!(futures::poll!(pieces.next()).is_pending(), "more was there at once");
            assert!(pieces.next().await.unwrap().is_ok());
        }
    }
}
