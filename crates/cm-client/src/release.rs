//! Key release: an owner gives the key of a sealed object to an instance that is what the owner demands.
//!
//! ```text
//! put       seal for the owner, sign what an instance must be, store both
//! release   verify the owner's own signature, verify the instance's evidence, compare, hand the key over
//! carry     anybody brings the ciphertext into the instance, which opens it
//! ```
//!
//! The node stores ciphertext and a signed demand. It never has a key, and neither has whoever carries the bytes.

use std::io::Read;

use bytes::Bytes;
use cm_crypto::seal::{RecipientPublicKey, RecipientSecretKey, SealError, SealedHeader, Sealer, sealed_len};
use cm_instance::release::{Asking, ReleasePolicy};
use cm_instance::{GuestPath, PolicyText};
use cm_types::{BucketName, ObjectKey, Timestamp};
use futures::StreamExt;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use crate::objects::{ObjectView, READ_BYTES};
use crate::{Api, ClientError, ClientIdentity, InstanceConnection, Progress, Trust};

/// The free field of an object that holds its release policy.
pub const RELEASE_FIELD: &str = "release-policy";
/// Bytes that the pipe between the sealing thread and the network holds.
const PIPE_BYTES: usize = 1 << 20;
/// How many sealed bytes are read at most to find a header.
const HEADER_LEN_MAX: usize = 64 * 1024;

/// To whom a key is released.
pub struct Recipient<'a> {
    /// The instance's id.
    pub instance: &'a str,
    /// The text of its policy.
    pub policy: &'a str,
    /// What the file will be called there.
    pub file: &'a GuestPath,
    /// What is believed about it besides.
    pub trust: Trust,
    /// By which certificate the instance knows the owner.
    pub identity: &'a ClientIdentity,
    /// Whether the owner asked for this very release, rather than an agent that answers whoever asks.
    pub by_hand: bool,
}

impl Api {
    /// Seals what `source` reads for its owner (and further recipients), and stores it with a release policy. `release`
    /// makes the policy's signed text once the header is known that it is bound to.
    #[expect(clippy::too_many_arguments, reason = "each is a different thing, and there is one caller")]
    pub async fn put_object_released(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        mut source: impl Read + Send + 'static,
        size: Option<u64>,
        recipients: Vec<RecipientPublicKey>,
        release: impl FnOnce(&SealedHeader) -> Result<String, ClientError>,
        progress: Option<Progress>,
    ) -> Result<ObjectView, ClientError> {
        let length = size.map(|size| sealed_len(size, recipients.len()));
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let pipe = SyncIoBridge::new(near);
        let (begun, header) = tokio::sync::oneshot::channel();
        let sealing = tokio::task::spawn_blocking(move || -> Result<(), SealError> {
            let mut sealer = Sealer::new(pipe, &recipients)?;
            // Whoever asked may be gone; then the pipe is too.
            let _ = begun.send(sealer.header().clone());
            std::io::copy(&mut source, &mut sealer)?;
            sealer.finish()?.shutdown()?;
            Ok(())
        });
        let abandoned = || std::io::Error::other("sealing was abandoned");
        let Ok(header) = header.await else {
            return Err(match sealing.await {
                Ok(Err(error)) => error.into(),
                _ => ClientError::Seal(SealError::Io(abandoned())),
            });
        };
        let token = release(&header)?;
        let ended = async move {
            match sealing.await {
                Ok(Ok(())) => Ok(Bytes::new()),
                Ok(Err(SealError::Io(error))) => Err(error),
                Ok(Err(error)) => Err(std::io::Error::other(error)),
                Err(_) => Err(abandoned()),
            }
        };
        let parts = ReaderStream::with_capacity(far, READ_BYTES).chain(futures::stream::once(ended));
        self.put_described(bucket, key, parts, length, &[(RELEASE_FIELD, token)], progress).await
    }

    /// What the store knows of one object.
    pub async fn object(&self, bucket: &BucketName, key: &ObjectKey) -> Result<ObjectView, ClientError> {
        let page = self.list_objects(bucket, Some(key.as_str()), None, 1).await?;
        let found = page.items.into_iter().find(|object| object.key == key.as_str());
        found.ok_or_else(|| ClientError::NoObject(format!("{bucket}/{key}")))
    }

    /// The release policy of an object as its owner signed it; an object without one is released to nobody.
    pub async fn release_policy(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        owner: &RecipientSecretKey,
    ) -> Result<ReleasePolicy, ClientError> {
        let object = self.object(bucket, key).await?;
        let token =
            release_token(&object).ok_or_else(|| ClientError::NoReleasePolicy(format!("{bucket}/{key}")))?;
        Ok(ReleasePolicy::verify(token, &owner.signing_key().verifying_key())?)
    }

    /// The header of a sealed object.
    pub async fn sealed_header(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<SealedHeader, ClientError> {
        let mut download = self.get_object(bucket, key).await?;
        let mut beginning = Vec::new();
        while let Some(part) = download.next().await? {
            beginning.extend_from_slice(&part[..part.len().min(HEADER_LEN_MAX)]);
            if let Some(header) = SealedHeader::parse(&beginning)? {
                return Ok(header);
            }
            if beginning.len() >= HEADER_LEN_MAX {
                break;
            }
        }
        Err(SealError::Truncated.into())
    }

    /// Releases the key of an object to an instance, if the owner's release policy admits it. The connection can then
    /// carry the object, which anybody else who may write the file can too.
    ///
    /// # Errors
    /// [`ClientError::Release`] if the policy is not the owner's, [`ClientError::Untrusted`] if the instance's evidence
    /// is not believed, [`ClientError::NotReleased`] if it is, and the policy demands something else. In none of these
    /// cases anything was sent.
    pub async fn release_key(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        owner: &RecipientSecretKey,
        to: Recipient<'_>,
    ) -> Result<InstanceConnection, ClientError> {
        let release = self.release_policy(bucket, key, owner).await?;
        let header = self.sealed_header(bucket, key).await?;
        let content_key = header.content_key(owner)?;
        let text = PolicyText::new(to.policy);
        let mut trust = to.trust;
        if !release.measurements.is_empty() {
            trust.measurements = crate::trust::Measurements::OneOf(release.measurements.clone());
        }
        let mut inside = self.open_text(to.instance, &text, &trust, to.identity).await?;
        let asking = Asking {
            bucket: bucket.as_str(),
            key: key.as_str(),
            sealed: header.digest(),
            measurement: inside.claims().measurement,
            policy: &text,
            file: to.file,
            owner: to.identity.certificate.as_ref(),
            by_hand: to.by_hand,
        };
        release.admits(&asking, Timestamp::from(std::time::SystemTime::now()))?;
        inside.provide_key(to.file.as_str(), &content_key, header.digest()).await?;
        Ok(inside)
    }

    /// An object's bytes as a stream to read.
    pub async fn read_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<impl AsyncRead + Unpin + use<>, ClientError> {
        let download = self.get_object(bucket, key).await?;
        let parts = futures::stream::try_unfold(download, |mut download| async move {
            let part = download.next().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(part.map(|part| (part, download)))
        });
        Ok(StreamReader::new(Box::pin(parts)))
    }
}

/// The signed release policy of an object, if it has one.
pub fn release_token(object: &ObjectView) -> Option<&str> {
    object.more.get("metadata")?.get(RELEASE_FIELD)?.as_str()
}
