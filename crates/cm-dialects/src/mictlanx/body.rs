//! Bodies: the one file of a form, and bytes that must be as many as were announced.

use std::io;

use bytes::Bytes;
use cm_http::body::form::{HeadLimit, piecewise};
use cm_http::{Failure, FailureClass, Upload};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use multer::{Field, Multipart};

use super::shape::{invalid_field, typed};

/// All that may arrive before the file, and again behind it, in bytes: other parts, heads, boundaries, and a piece of the file itself.
const HEAD_BYTES_MAX: usize = 2 << 20;

/// The bytes of the file `name` of a form, whatever few other parts it has. They end well only if the form does.
///
/// # Errors
/// 415 for another media type, 422 if there is no such part, 400 for a form that is none.
pub(super) async fn file(
    body: Upload,
    name: &'static str,
) -> Result<BoxStream<'static, io::Result<Bytes>>, Failure> {
    let boundary = body.content_type().and_then(|media_type| multer::parse_boundary(media_type).ok());
    let boundary = boundary.ok_or_else(|| {
        Failure::new(FailureClass::UnsupportedMediaType, "expected multipart/form-data with a boundary")
    })?;
    file_of(body.into_stream(), boundary, name).await
}

async fn file_of(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    boundary: String,
    name: &'static str,
) -> Result<BoxStream<'static, io::Result<Bytes>>, Failure> {
    let (body, limit) = piecewise(body, HEAD_BYTES_MAX);
    let mut form = Multipart::new(body, boundary);
    while let Some(field) = form.next_field().await.map_err(|error| refused(&error))? {
        if field.name() == Some(name) {
            limit.lift();
            let reading = Some((form, Some(field), limit));
            return Ok(stream::unfold(reading, |state| step(state, name)).fuse().boxed());
        }
    }
    Err(invalid_field(name, "the form has no such file"))
}

type Reading = (Multipart<'static>, Option<Field<'static>>, HeadLimit);

async fn step(state: Option<Reading>, name: &'static str) -> Option<(io::Result<Bytes>, Option<Reading>)> {
    let (mut form, mut field, limit) = state?;
    if let Some(part) = &mut field {
        match part.chunk().await {
            Ok(Some(bytes)) => return Some((Ok(bytes), Some((form, field, limit)))),
            Ok(None) => {}
            Err(error) => return Some((Err(broken(error)), None)),
        }
    }
    // The next part cannot be looked for while this one is held.
    drop(field);
    limit.set();
    loop {
        match form.next_field().await {
            Ok(None) => return None,
            Ok(Some(other)) if other.name() != Some(name) => {}
            Ok(Some(_)) => {
                let failure = invalid_field(name, "the form has the file twice");
                return Some((Err(io::Error::new(io::ErrorKind::InvalidData, failure)), None));
            }
            Err(error) => return Some((Err(broken(error)), None)),
        }
    }
}

/// The reason why a form broke off, which may be ours.
fn broken(error: multer::Error) -> io::Error {
    match error {
        multer::Error::StreamReadFailed(inner) => match inner.downcast::<io::Error>() {
            Ok(own) => *own,
            Err(other) => io::Error::other(other),
        },
        error => io::Error::new(io::ErrorKind::InvalidData, refused(&error)),
    }
}

fn refused(error: &multer::Error) -> Failure {
    typed(FailureClass::Malformed, 400, 400, format!("the form cannot be read: {error}"))
}

/// A body of so many bytes; more or fewer are an error.
pub(super) fn exactly(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    size: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mismatch = move |found: u64, more: &str| {
        let message = format!("the data has {more}{found} bytes, {size} were announced");
        let failure = typed(FailureClass::Malformed, 400, 400, message);
        Err(io::Error::new(io::ErrorKind::InvalidData, failure))
    };
    stream::unfold(Some((body.boxed(), 0u64)), move |state| async move {
        let (mut body, mut found) = state?;
        match body.next().await {
            Some(Ok(bytes)) => {
                found = found.saturating_add(bytes.len() as u64);
                match found > size {
                    true => Some((mismatch(found, "at least "), None)),
                    false => Some((Ok(bytes), Some((body, found)))),
                }
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if found < size => Some((mismatch(found, ""), None)),
            None => None,
        }
    })
    .fuse()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use proptest::prelude::*;

    use super::*;

    fn pieces(bytes: &[u8], len: usize) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let pieces: Vec<_> =
            bytes.chunks(len.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces)
    }

    fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, bytes) in parts {
            let head =
                format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"k\"\r\n\r\n");
            form.extend_from_slice(head.as_bytes());
            form.extend_from_slice(bytes);
            form.extend_from_slice(b"\r\n");
        }
        form.extend_from_slice(b"--X--\r\n");
        form
    }

    async fn read(form: &[u8], len: usize) -> Result<Vec<u8>, String> {
        let file = file_of(pieces(form, len), "X".to_owned(), "data")
            .await
            .map_err(|failure| failure.to_string())?;
        let pieces: Vec<Bytes> = file.try_collect().await.map_err(|error| error.to_string())?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn a_form_has_the_file_once() {
        assert_eq!(read(&form(&[("data", b"bytes")]), 7).await, Ok(b"bytes".to_vec()));
        assert_eq!(read(&form(&[("data", b"")]), 1).await, Ok(Vec::new()));
        assert!(read(&form(&[("upload", b"bytes")]), 7).await.is_err());
        let among = form(&[("note", b"a"), ("data", b"bytes"), ("note", b"b"), ("more", b"")]);
        for len in [1, 7, 1000] {
            assert_eq!(read(&among, len).await, Ok(b"bytes".to_vec()));
        }
        assert!(read(&form(&[("data", b"a"), ("data", b"b")]), 7).await.is_err());
        assert!(read(&form(&[]), 7).await.is_err());
        let whole = form(&[("data", b"bytes")]);
        for end in 0..whole.len() - 4 {
            assert!(read(&whole[..end], 5).await.is_err(), "cut off at {end}");
        }
    }

    /// Neither before the file nor behind it may a form grow without end.
    #[tokio::test]
    async fn what_surrounds_a_file_is_bounded() {
        let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let read = |begin: Vec<u8>| {
            taken.store(0, std::sync::atomic::Ordering::Relaxed);
            let counted = taken.clone();
            let endless = stream::repeat_with(move || {
                counted.fetch_add(4096, std::sync::atomic::Ordering::Relaxed);
                Ok(Bytes::from_static(&[b'a'; 4096]))
            });
            // What never ends would hang the test, not fail it.
            let endless = endless.take(4 * HEAD_BYTES_MAX / 4096);
            let body = stream::iter([Ok(Bytes::from(begin))]).chain(endless);
            async move {
                let file =
                    file_of(body, "X".to_owned(), "data").await.map_err(|failure| failure.to_string())?;
                file.try_collect::<Vec<_>>().await.map_err(|error| error.to_string())
            }
        };
        let before = b"--X\r\nContent-Disposition: form-data; name=\"data\"\r\nx: ".to_vec();
        let whole = form(&[("data", b"bytes")]);
        let mut behind = whole[..whole.len() - 4].to_vec();
        behind.extend_from_slice(b"\r\nx: ");
        for begin in [before, behind] {
            assert!(read(begin).await.is_err());
            let taken = taken.load(std::sync::atomic::Ordering::Relaxed);
            // Some pieces come with the end of the file, and one is refused.
            assert!(taken <= HEAD_BYTES_MAX + 4 * 4096, "{taken} bytes were taken");
        }
    }

    #[tokio::test]
    async fn a_body_that_ended_may_be_asked_again() {
        let mut body = std::pin::pin!(exactly(pieces(b"bytes", 2), 5));
        while body.next().await.is_some() {}
        assert!(body.next().await.is_none());
    }

    proptest! {
        #[test]
        fn only_what_was_announced_passes(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 0u64..250, len in 1usize..50) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let passed: io::Result<Vec<Bytes>> = runtime.block_on(exactly(pieces(&bytes, len), size).try_collect());
            prop_assert_eq!(passed.is_ok(), bytes.len() as u64 == size);
        }
    }
}
