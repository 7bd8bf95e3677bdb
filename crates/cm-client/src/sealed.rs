//! Sealed objects: sealed before they leave this process, opened after they came back.
//!
//! The node stores and returns ciphertext. Sealing is blocking work over [`std::io`]; it runs on a thread of its own
//! and is joined to the network by a bounded pipe.

use std::io::{Read, Write};

use bytes::Bytes;
use cm_crypto::seal::{Opener, RecipientPublicKey, RecipientSecretKey, SealError, Sealer, sealed_len};
use cm_types::{BucketName, ObjectKey};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::io::{ReaderStream, SyncIoBridge};

use crate::objects::{ObjectView, READ_BYTES};
use crate::{Api, ClientError, Progress};

/// Bytes that the pipe between the sealing thread and the network holds.
const PIPE_BYTES: usize = 1 << 20;

fn file_error(path: &str) -> impl Fn(std::io::Error) -> ClientError {
    let path = path.to_owned();
    move |source| ClientError::File { path: path.clone(), source }
}

impl Api {
    /// Seals what `source` reads to the recipients while it is stored. `size` is that of the plaintext.
    pub async fn put_object_sealed(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        mut source: impl Read + Send + 'static,
        size: Option<u64>,
        recipients: Vec<RecipientPublicKey>,
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let length = size.map(|size| sealed_len(size, recipients.len()));
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let pipe = SyncIoBridge::new(near);
        let sealing = tokio::task::spawn_blocking(move || -> Result<(), SealError> {
            let mut sealer = Sealer::new(pipe, &recipients)?;
            std::io::copy(&mut source, &mut sealer)?;
            sealer.finish()?.shutdown()?;
            Ok(())
        });
        // The pipe also ends when sealing fails. What was sealed until then must not become an object, so the end
        // of the pipe counts only once sealing says that it is done.
        let ended = async move {
            match sealing.await {
                Ok(Ok(())) => Ok(Bytes::new()),
                Ok(Err(SealError::Io(error))) => Err(error),
                Ok(Err(error)) => Err(std::io::Error::other(error)),
                Err(_) => Err(std::io::Error::other("sealing was abandoned")),
            }
        };
        let parts = ReaderStream::with_capacity(far, READ_BYTES).chain(futures::stream::once(ended));
        self.put_parts(bucket, key, parts, length, progress).await
    }

    /// Opens a sealed object into `sink` while it is read. On an error `sink` has a prefix of authenticated
    /// segments and nothing else; the caller discards it.
    pub async fn get_object_sealed(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        mut sink: impl Write + Send + 'static,
        secret: RecipientSecretKey,
        progress: Option<Progress>,
    ) -> Result<u64, ClientError> {
        let mut download = self.get_object(bucket, key).await?;
        let (mut near, far) = tokio::io::duplex(PIPE_BYTES);
        let pipe = SyncIoBridge::new(far);
        let opening = tokio::task::spawn_blocking(move || -> Result<u64, SealError> {
            let mut opener = Opener::new(pipe, &secret)?;
            let opened = std::io::copy(&mut opener, &mut sink).map_err(SealError::from)?;
            sink.flush()?;
            Ok(opened)
        });
        let mut received = 0;
        while let Some(part) = download.next().await? {
            received += part.len() as u64;
            if let Some(progress) = &progress {
                progress(received);
            }
            // A reader that gave up has an error of its own, which says more than a broken pipe.
            if near.write_all(&part).await.is_err() {
                break;
            }
        }
        drop(near);
        opening
            .await
            .map_err(|_| file_error(key.as_str())(std::io::Error::other("opening was abandoned")))?
            .map_err(ClientError::from)
    }
}
