//! Objects that are encrypted where they are stored, because their writers ask for it.
//!
//! Every such object has a **content key** of 32 random bytes. It encrypts the content in frames, each of which fills one chunk with its
//! tag ([`cm_crypto::frames`]; the name of the content is its version). The content key is kept with the object, itself encrypted
//! (AES-256-GCM): under a key of the node ([`EncryptedBy::Node`]), so that the disk alone, or a peer that carries chunks, tells
//! nothing; or under a key that the writer brings ([`EncryptedBy::Customer`]) and must bring again whenever the object is read, so
//! that neither the node's keys nor its database open it.
//!
//! While an object of the second kind is **uploaded in parts**, the node keeps the content key under its own key too, because completing
//! an upload reads the parts and brings no key; it forgets that copy when the upload ends.
//!
//! Of an object under a writer's key the digest is that of what is stored, and its entity tag is no MD5: both would let whoever
//! reads the tables try out what the content may be.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use cm_crypto::digest::{Md5, Sha256};
use cm_crypto::frames::{FrameKey, TAG_BYTES};
use cm_crypto::{Secret, derive, mac, sealed, secret};
use cm_db::ReadTx;
use cm_runtime::Tasks;
use cm_types::{BucketName, ObjectKey, Sha256Digest, TenantId};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::objects::Engine;
use crate::places::Place;
use crate::quota::Room;
use crate::rows::UploadRow;
use crate::settings::{BucketSettings, Setting};
use crate::upload::{Digests, Stored, Upload, hex_text};
use crate::{CHUNK_BYTES, Damage, Flaw, ObjectError, ObjectInfo, Objects};

/// Bytes of content in every frame but the last.
const FRAME_BYTES: usize = CHUNK_BYTES - TAG_BYTES;
/// What the key of a content is encrypted for.
const CONTENT_KEY: &[u8] = b"cryptomesh/content-key/v1";
const CUSTOMER_KEY: &str = "cryptomesh/customer-key/v1";

/// A key that a writer brings along, and every reader after it. It is used, and forgotten.
#[derive(Clone)]
pub struct CustomerKey(Arc<Secret<[u8; 32]>>);

impl CustomerKey {
    /// Of these bytes, which are a key already and no password.
    pub fn new(bytes: Secret<[u8; 32]>) -> Self {
        Self(Arc::new(bytes))
    }

    fn wrapping(&self) -> Secret<[u8; 32]> {
        derive::derive_key(self.0.expose(), CUSTOMER_KEY)
    }
}

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerKey(..)")
    }
}

/// How a bucket's new objects are encrypted whose writers do not say: the value of [`Setting::Encryption`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketEncryption {
    /// With a key that the node keeps.
    Node,
}

impl BucketEncryption {
    /// As the setting has it.
    pub fn to_text(self) -> &'static str {
        match self {
            Self::Node => "node",
        }
    }
}

/// How an object is to be encrypted whose writer does not say.
pub(crate) fn by_default(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<Option<NewEncryption>, ObjectError> {
    let key = (tenant.clone(), bucket.clone(), Setting::Encryption.name().to_owned());
    let is_set =
        tx.get::<BucketSettings>(&key)?.is_some_and(|row| row.value == BucketEncryption::Node.to_text());
    Ok(is_set.then_some(NewEncryption::Node))
}

impl Objects {
    /// Whether an object may be shown to whoever brings this key, or none.
    ///
    /// # Errors
    /// [`ObjectError::KeyRequired`], [`ObjectError::WrongKey`].
    pub fn check_key(&self, info: &ObjectInfo, key: Option<&CustomerKey>) -> Result<(), ObjectError> {
        ContentKey::of(&self.0, info, key).map(drop)
    }
}

/// With which key an object is to be encrypted.
#[derive(Clone, Debug)]
pub enum NewEncryption {
    /// With one that the node keeps.
    Node,
    /// With one that whoever reads it must bring.
    Customer(CustomerKey),
}

/// Whose key opens an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncryptedBy {
    /// The node's.
    Node,
    /// One that its writer brought.
    Customer,
}

/// How an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    by: EncryptedBy,
    /// The content key, encrypted, in hexadecimal.
    key: String,
    /// The digest of what is stored.
    pub(crate) stored: Sha256Digest,
}

impl Encryption {
    /// Whose key opens it.
    pub fn by(&self) -> EncryptedBy {
        self.by
    }
}

/// How what is uploaded in parts is going to be encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UploadEncryption {
    pub(crate) by: EncryptedBy,
    /// The content key as the object is going to have it.
    key: String,
    /// The content key under the node's key, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<String>,
}

/// The key of a content that is at hand, and how it is going to be kept.
#[derive(Clone)]
pub(crate) struct ContentKey {
    secret: Secret<[u8; 32]>,
    by: EncryptedBy,
    key: String,
}

impl ContentKey {
    /// A new one.
    pub(crate) fn new(engine: &Engine, asked: &NewEncryption) -> Self {
        let secret = Secret::new(secret::random_bytes::<32>());
        let (by, key) = match asked {
            NewEncryption::Node => (EncryptedBy::Node, wrap(&engine.encryption_key, &secret)),
            NewEncryption::Customer(key) => (EncryptedBy::Customer, wrap(&key.wrapping(), &secret)),
        };
        Self { secret, by, key }
    }

    /// That of an object.
    ///
    /// # Errors
    /// [`ObjectError::KeyRequired`], [`ObjectError::WrongKey`].
    pub(crate) fn of(
        engine: &Engine,
        info: &ObjectInfo,
        customer: Option<&CustomerKey>,
    ) -> Result<Option<Self>, ObjectError> {
        let wrong = || ObjectError::WrongKey { bucket: info.bucket.clone(), key: info.key.clone() };
        let Some(Encryption { by, key, .. }) = &info.encryption else {
            return if customer.is_some() { Err(wrong()) } else { Ok(None) };
        };
        let secret = match (by, customer) {
            (EncryptedBy::Node, None) => unwrap(&engine.encryption_key, key),
            (EncryptedBy::Customer, Some(customer)) => unwrap(&customer.wrapping(), key),
            (EncryptedBy::Node, Some(_)) => None,
            (EncryptedBy::Customer, None) => {
                return Err(ObjectError::KeyRequired { bucket: info.bucket.clone(), key: info.key.clone() });
            }
        };
        Ok(Some(Self { secret: secret.ok_or_else(wrong)?, by: *by, key: key.clone() }))
    }

    /// That of an upload, as the node keeps it until it ends.
    pub(crate) fn of_upload(engine: &Engine, row: &UploadRow) -> Result<Option<Self>, ObjectError> {
        let Some(UploadEncryption { by, key, own }) = &row.encryption else { return Ok(None) };
        let secret = unwrap(&engine.encryption_key, own.as_ref().unwrap_or(key)).ok_or(ObjectError::Lost)?;
        Ok(Some(Self { secret, by: *by, key: key.clone() }))
    }

    /// How an upload keeps it.
    pub(crate) fn for_upload(self, engine: &Engine) -> UploadEncryption {
        let own = (self.by == EncryptedBy::Customer).then(|| wrap(&engine.encryption_key, &self.secret));
        UploadEncryption { by: self.by, key: self.key, own }
    }

    fn frames(&self, version: Uuid) -> FrameKey {
        FrameKey::derive(&self.secret, &version.to_string())
    }

    /// What a version is, of which this is known and that was stored.
    fn describe(&self, plain: Plain, stored: Stored) -> Stored {
        let encryption = Encryption { by: self.by, key: self.key.clone(), stored: stored.sha256 };
        let md5 = plain.md5.map(|md5| match self.by {
            EncryptedBy::Node => md5,
            EncryptedBy::Customer => keyed(&mac::hmac_sha256(self.secret.expose(), &md5)),
        });
        let sha256 = match self.by {
            EncryptedBy::Node => plain.sha256,
            EncryptedBy::Customer => stored.sha256,
        };
        let md5 = md5.map(hex_text);
        Stored { size: plain.size, sha256, md5, encryption: Some(encryption), ..stored }
    }
}

fn keyed(mac: &[u8; 32]) -> [u8; 16] {
    let mut tag = [0; 16];
    tag.copy_from_slice(&mac[..16]);
    tag
}

impl UploadRow {
    /// Whether a part may come with this key, or without one.
    pub(crate) fn check_key(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        customer: Option<&CustomerKey>,
    ) -> Result<(), ObjectError> {
        let wrong = || ObjectError::WrongKey { bucket: bucket.clone(), key: key.clone() };
        let by = self.encryption.as_ref().map(|encryption| (encryption.by, &encryption.key));
        match (by, customer) {
            (None | Some((EncryptedBy::Node, _)), None) => Ok(()),
            (None | Some((EncryptedBy::Node, _)), Some(_)) => Err(wrong()),
            (Some((EncryptedBy::Customer, _)), None) => {
                Err(ObjectError::KeyRequired { bucket: bucket.clone(), key: key.clone() })
            }
            (Some((EncryptedBy::Customer, wrapped)), Some(customer)) => {
                unwrap(&customer.wrapping(), wrapped).map(drop).ok_or_else(wrong)
            }
        }
    }
}

fn wrap(key: &Secret<[u8; 32]>, content_key: &Secret<[u8; 32]>) -> String {
    hex::encode(sealed::seal(key, CONTENT_KEY, content_key.expose()))
}

fn unwrap(key: &Secret<[u8; 32]>, wrapped: &str) -> Option<Secret<[u8; 32]>> {
    let opened = Secret::new(sealed::open(key, CONTENT_KEY, &hex::decode(wrapped).ok()?).ok()?);
    opened.expose().as_slice().try_into().ok().map(Secret::new)
}

/// How many bytes are stored of so many.
pub(crate) fn stored_bytes(plain: u64) -> u64 {
    plain + plain.div_ceil(FRAME_BYTES as u64) * TAG_BYTES as u64
}

/// What is known of a content when all of it has passed.
struct Plain {
    size: u64,
    sha256: Sha256Digest,
    md5: Option<[u8; 16]>,
}

/// Takes a whole body in, encrypted if there is a key for it. What it returns besides describes the content, given what was stored.
///
/// # Errors
/// Those of [`Upload::fill`]; of an encrypted one those of [`Digests::check`].
pub(crate) async fn fill(
    engine: Arc<Engine>,
    place: Place,
    key: Option<ContentKey>,
    digests: Digests,
    body: impl Stream<Item = Result<Bytes, ObjectError>> + Send,
) -> Result<(Upload, impl FnOnce(Stored) -> Stored + Send + 'static), ObjectError> {
    let plain = Arc::new(OnceLock::new());
    let filled = match &key {
        Some(key) => {
            let tasks = engine.tasks.clone();
            let upload = Upload::new(engine, place, {
                let room = digests.room.clone().map(Room::for_stored);
                Digests { keeping: digests.keeping, room, ..Digests::default() }
            });
            let sealing = Sealing::new(key.frames(upload.version()), tasks, digests, plain.clone(), body);
            upload.fill(stream::try_unfold(sealing, Sealing::step)).await?
        }
        None => Upload::new(engine, place, digests).fill(body).await?,
    };
    let describe = move |stored: Stored| match (key, Arc::into_inner(plain).and_then(OnceLock::into_inner)) {
        (Some(key), Some(plain)) => key.describe(plain, stored),
        _ => stored,
    };
    Ok((filled, describe))
}

struct Sealing<'a> {
    body: BoxStream<'a, Result<Bytes, ObjectError>>,
    pending: BytesMut,
    ended: bool,
    work: Option<Box<Work>>,
    tasks: Tasks,
    digests: Digests,
    plain: Arc<OnceLock<Plain>>,
}

/// What the blocking thread works with.
struct Work {
    key: FrameKey,
    number: u64,
    size: u64,
    whole: Sha256,
    md5: Option<Md5>,
}

impl Work {
    fn seal(&mut self, mut frame: Vec<u8>) -> Bytes {
        self.whole.update(&frame);
        if let Some(md5) = &mut self.md5 {
            md5.update(&frame);
        }
        self.size += frame.len() as u64;
        self.key.seal(self.number, &mut frame);
        self.number += 1;
        frame.into()
    }
}

impl<'a> Sealing<'a> {
    fn new(
        key: FrameKey,
        tasks: Tasks,
        digests: Digests,
        plain: Arc<OnceLock<Plain>>,
        body: impl Stream<Item = Result<Bytes, ObjectError>> + Send + 'a,
    ) -> Self {
        let md5 = (digests.wants_md5 || digests.md5.is_some()).then(Md5::new);
        let work = Work { key, number: 0, size: 0, whole: Sha256::new(), md5 };
        let (body, pending) = (body.boxed(), BytesMut::new());
        Self { body, pending, ended: false, work: Some(Box::new(work)), tasks, digests, plain }
    }

    /// The next frame.
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, ObjectError> {
        while !self.ended && self.pending.len() < FRAME_BYTES {
            match self.body.next().await {
                Some(piece) => self.pending.extend_from_slice(&piece?),
                None => self.ended = true,
            }
        }
        let length = self.pending.len().min(FRAME_BYTES);
        if length == 0 {
            self.finish()?;
            return Ok(None);
        }
        let mut frame = Vec::with_capacity(length + TAG_BYTES);
        frame.extend_from_slice(&self.pending.split_to(length));
        let Some(mut work) = self.work.take() else { return Err(ObjectError::Lost) };
        let sealed = self.tasks.spawn_blocking("object-seal", move || {
            let frame = work.seal(frame);
            (work, frame)
        });
        let (work, frame) = sealed.await.map_err(|_| ObjectError::Lost)?;
        self.work = Some(work);
        Ok(Some((frame, self)))
    }

    /// Compares what passed with what it must be.
    fn finish(&mut self) -> Result<(), ObjectError> {
        let Some(work) = self.work.take() else { return Err(ObjectError::Lost) };
        let (sha256, md5) = (work.whole.finish(), work.md5.map(Md5::finish));
        self.digests.check(sha256, md5)?;
        // Nobody else sets it.
        let _ = self.plain.set(Plain { size: work.size, sha256, md5 });
        Ok(())
    }
}

/// Which bytes of what is stored hold a range of a content: whole frames.
pub(crate) fn frames_of(wanted: &Range<u64>, size: u64) -> Range<u64> {
    if wanted.is_empty() {
        return 0..0;
    }
    let first = wanted.start / FRAME_BYTES as u64;
    let end = wanted.end.div_ceil(FRAME_BYTES as u64) * CHUNK_BYTES as u64;
    first * CHUNK_BYTES as u64..end.min(stored_bytes(size))
}

/// The bytes of a range, of the frames that [`frames_of`] it.
pub(crate) fn opened<S>(
    engine: Arc<Engine>,
    tenant: TenantId,
    info: &ObjectInfo,
    key: &ContentKey,
    wanted: Range<u64>,
    frames: S,
) -> impl Stream<Item = Result<Result<Bytes, Box<Damage>>, ObjectError>> + Send + use<S>
where
    S: Stream<Item = Result<Result<Bytes, Box<Damage>>, ObjectError>> + Send,
{
    let frame_key = Arc::new(key.frames(info.version));
    let first = wanted.start / FRAME_BYTES as u64;
    let (bucket, name, digest) = (info.bucket.clone(), info.key.clone(), info.stored().1);
    let numbered = frames.enumerate().map(move |(at, frame)| frame.map(|frame| (first + at as u64, frame)));
    numbered.and_then(move |(number, frame)| {
        let (engine, key, wanted) = (engine.clone(), frame_key.clone(), wanted.clone());
        let damage = Damage {
            tenant: tenant.clone(),
            bucket: bucket.clone(),
            key: name.clone(),
            chunk: Some(number),
            digest,
            flaw: Flaw::Sealed,
        };
        async move {
            let frame = match frame {
                Ok(frame) => frame,
                Err(damage) => return Ok(Err(damage)),
            };
            let opening = engine.tasks.spawn_blocking("object-open", move || {
                let mut frame = frame.to_vec();
                key.open(number, &mut frame).map(|()| Bytes::from(frame))
            });
            let Ok(bytes) = opening.await.map_err(|_| ObjectError::Lost)? else {
                return Ok(Err(Box::new(damage)));
            };
            let offset = number * FRAME_BYTES as u64;
            let within = |at: u64| at.saturating_sub(offset).min(bytes.len() as u64) as usize;
            Ok(Ok(bytes.slice(within(wanted.start)..within(wanted.end))))
        }
    })
}
