//! What can go wrong with objects.

use std::io;
use std::path::PathBuf;

use cm_db::{DbError, StorageClass};
use cm_events::EventError;
use cm_types::{BucketName, ObjectKey, ResourceRef, Sha256Digest, TenantId, Timestamp};
use uuid::Uuid;

use crate::network::LayoutChange;
use crate::network::elastic::settings::ElasticError;
use crate::{Condition, QuotaScope, QuotaUnit, VersionName};

/// Why an operation on objects failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The permit is for something else. A mistake of the caller, never of the client.
    #[error("the permit is not for {wanted}")]
    NotPermitted {
        /// What the operation is about.
        wanted: ResourceRef,
    },
    /// There is no such bucket.
    #[error("bucket `{bucket}` does not exist")]
    BucketNotFound {
        /// Its name.
        bucket: BucketName,
    },
    /// The bucket exists already.
    #[error("bucket `{bucket}` exists already")]
    BucketExists {
        /// Its name.
        bucket: BucketName,
    },
    /// A bucket must be empty to be deleted.
    #[error("bucket `{bucket}` is not empty")]
    BucketNotEmpty {
        /// Its name.
        bucket: BucketName,
    },
    /// There is no such object.
    #[error("object `{bucket}/{key}` does not exist")]
    NotFound {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// The mark that its deletion left, where versions are kept.
        marker: Option<VersionName>,
    },
    /// There is no such version of the object.
    #[error("object `{bucket}/{key}` has no version `{version}`")]
    VersionNotFound {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// The version.
        version: VersionName,
    },
    /// The version is the mark of a deletion, which has no content.
    #[error("version `{version}` of `{bucket}/{key}` marks its deletion")]
    IsMarker {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// The version.
        version: VersionName,
        /// When it was deleted.
        created_at: Timestamp,
    },
    /// The version is locked. Nothing changed.
    #[error("version `{version}` of `{bucket}/{key}` is locked")]
    Locked {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// The version.
        version: VersionName,
    },
    /// Versions of the bucket cannot be locked: that was not asked for.
    #[error("versions of bucket `{bucket}` cannot be locked")]
    NotLockable {
        /// The bucket.
        bucket: BucketName,
    },
    /// A bucket whose versions can be locked must keep versions.
    #[error("bucket `{bucket}` must keep versions for them to be locked")]
    LockingNeedsVersions {
        /// The bucket.
        bucket: BucketName,
    },
    /// Too many tags.
    #[error("there may be {max} tags at most")]
    TooManyTags {
        /// The limit.
        max: usize,
    },
    /// A tag is empty, too long, or has control characters.
    #[error(
        "`{name}` is no tag: names have 1 to 128 characters, values up to 256, none of them a control character"
    )]
    InvalidTag {
        /// Its name.
        name: String,
    },
    /// Too many rules of a bucket.
    #[error("there may be {max} rules at most")]
    TooManyRules {
        /// The limit.
        max: usize,
    },
    /// The object exists, but the put must not replace one. Nothing changed.
    #[error("object `{bucket}/{key}` exists already")]
    AlreadyExists {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
    },
    /// The object is not the one that the caller expected. Nothing changed.
    #[error("object `{bucket}/{key}` is not as the request expects it: {expected}")]
    PreconditionFailed {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// How it should be.
        expected: Condition,
        /// The etag of the object; `None` if there is no object.
        found: Option<String>,
    },
    /// The body is not what was announced. Nothing changed.
    #[error("the body has digest {found}, expected {expected}")]
    DigestMismatch {
        /// The digest that was announced.
        expected: Sha256Digest,
        /// The digest of what arrived.
        found: Sha256Digest,
    },
    /// The body is not what its MD5 announced. Nothing changed.
    #[error("the body has another MD5 than announced")]
    Md5Mismatch,
    /// The object is encrypted with a key of its writer, and it did not come along.
    #[error(
        "object `{bucket}/{key}` is encrypted with a key of its writer, which must come with the request"
    )]
    KeyRequired {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
    },
    /// A key came along that the object is not encrypted with.
    #[error("object `{bucket}/{key}` is not encrypted with the key that came with the request")]
    WrongKey {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
    },
    /// There is no such upload in parts, or it has ended.
    #[error("upload `{upload}` of `{bucket}/{key}` does not exist")]
    UploadNotFound {
        /// The bucket.
        bucket: BucketName,
        /// The key.
        key: ObjectKey,
        /// The upload.
        upload: Uuid,
    },
    /// A part that the object should be made of was not uploaded, or is another one by now. Nothing changed.
    #[error("part {number} was not uploaded, or has another entity tag")]
    PartNotFound {
        /// Its number.
        number: u16,
    },
    /// The numbers of the parts do not rise. Nothing changed.
    #[error("the parts are not in the order of their numbers")]
    PartOrder,
    /// A part that is not the last one is too small. Nothing changed.
    #[error("part {number} has {size} bytes, all but the last must have {min}")]
    PartTooSmall {
        /// Its number.
        number: u16,
        /// Its size, in bytes.
        size: u64,
        /// What it must have, in bytes.
        min: u64,
    },
    /// There are as many uploads in parts as a bucket may have at a time. Complete or abort some.
    #[error("bucket `{bucket}` has {max} uploads under way, as many as it may")]
    TooManyUploads {
        /// The bucket.
        bucket: BucketName,
        /// The limit.
        max: usize,
    },
    /// The body is longer than allowed. Nothing changed.
    #[error("the object is larger than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// A quota says that there may not be so much. Nothing changed.
    #[error("{scope} may have {max} {unit} at most; delete some, or ask an administrator for more")]
    QuotaExceeded {
        /// Whose quota.
        scope: QuotaScope,
        /// Of what.
        unit: QuotaUnit,
        /// The limit.
        max: u64,
    },
    /// A quota cannot be set because there is more than is counted at once, and it was never counted. Nothing changed.
    #[error(
        "bucket `{bucket}` is older than quotas, and more than {max} objects, versions and uploads would be counted at once; give quotas to the \
         buckets of the tenant one by one, the smallest first, or delete some"
    )]
    TooMuchToCount {
        /// The bucket that could not be counted.
        bucket: BucketName,
        /// The limit.
        max: usize,
    },
    /// Metadata or content type is longer than allowed.
    #[error("{what} of {bytes} bytes is longer than {max} bytes")]
    DescriptionTooLong {
        /// "metadata" or "content type".
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Metadata or content type has control characters, with which it could not be sent as a header.
    #[error("{what} contains a control character")]
    DescriptionCharacter {
        /// "metadata" or "content type".
        what: &'static str,
    },
    /// The range lies outside the object.
    #[error("the range lies outside the object of {size} bytes")]
    RangeNotSatisfiable {
        /// The size of the object.
        size: u64,
    },
    /// The sender of the body failed or went away. Nothing changed.
    #[error("the body could not be received")]
    Body(#[source] io::Error),
    /// What is stored is not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// Too many puts at once, or an object that is replaced faster than it can be opened. Retry later.
    #[error("the object store is busy")]
    Busy,
    /// Too few peers have made a chunk durable. Nothing changed; retry when more of them answer, or have room.
    #[error(
        "{durable} parts of a chunk are durable on other peers of {width}, too few to count on; try again when more peers answer"
    )]
    NotEnoughPeers {
        /// How many parts were stored.
        durable: usize,
        /// How many there should be.
        width: usize,
        /// Whether some peer has no room left.
        is_full: bool,
    },
    /// Chunks cannot be kept like this: there are too few peers that take data.
    #[error(
        "`{redundancy}` takes more nodes than the {peers} that take data; add nodes first, or choose less"
    )]
    TooFewPeers {
        /// What was wished for.
        redundancy: String,
        /// How many there are.
        peers: usize,
    },
    /// What was stored was reclaimed before it could be counted, or the layout has changed too often meanwhile. Nothing changed; retry.
    #[error("the chunks were reclaimed while they were written; try again")]
    Overtaken,
    /// Too few of the peers that may have the chunk answer. Retry when they do.
    #[error("chunk {digest} cannot be read until more of the peers that have it answer")]
    Unreachable {
        /// Which chunk.
        digest: Sha256Digest,
    },
    /// Part of the object lies in the cold tier, which does not answer, or which this node does not have. Nothing is lost; retry when it answers.
    #[error("part of the object lies in the cold tier, which does not answer; try again later")]
    ColdUnavailable {
        /// What the service is called.
        place: String,
    },
    /// Chunks cannot go to a cold tier that is not there.
    #[error("the node has no cold tier; name a service for it by `objects.cold_bucket` of the configuration")]
    NoColdTier,
    /// A bucket cannot wait for so many days.
    #[error("chunks go to the cold tier after 0 to {max} days")]
    ColdDays {
        /// The limit.
        max: u32,
    },
    /// The node has a cold tier already.
    #[error("the node has a cold tier already")]
    ColdAlready,
    /// The layout of the storage network cannot be changed like this.
    #[error(transparent)]
    Layout(#[from] LayoutChange),
    /// Copies of a bucket's chunks cannot follow the load like this.
    #[error(transparent)]
    Elastic(#[from] ElasticError),
    /// The node is a peer already, or something else answers its peers.
    #[error("the node takes part in a storage network already")]
    ConnectedAlready,
    /// The node belongs to no storage network.
    #[error("the node belongs to no storage network")]
    NotConnected,
    /// The cursor was not returned by this listing.
    #[error("the cursor is invalid")]
    InvalidCursor,
    /// Another process has the directory open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The file system failed; [`ObjectError::is_full`] says whether for lack of space.
    #[error("{} could not be used", path.display())]
    Storage {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A task of the engine was lost, by a panic or because the runtime ended. Whether the effect
    /// happened is unknown.
    #[error("a task of the object store was lost")]
    Lost,
    /// The database failed; [`DbError::effect`] says whether the effect may have happened.
    #[error("the object tables failed")]
    Db(#[from] DbError),
    /// The event could not be written; nothing changed.
    #[error("the event could not be written")]
    Events(#[from] EventError),
}

impl ObjectError {
    /// Whether the same call may succeed later without anybody repairing anything.
    pub fn retryable(&self) -> bool {
        match self {
            ObjectError::Busy
            | ObjectError::NotEnoughPeers { .. }
            | ObjectError::Overtaken
            | ObjectError::ColdUnavailable { .. }
            | ObjectError::Unreachable { .. } => true,
            ObjectError::Db(error) => error.retryable(),
            _ => false,
        }
    }

    /// Whether space ran out: on the disk or in a quota of the file system, for the chunks or the tables. The operation did
    /// not happen, and may succeed once somebody makes room.
    pub fn is_full(&self) -> bool {
        match self {
            ObjectError::Storage { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            ObjectError::NotEnoughPeers { is_full, .. } => *is_full,
            ObjectError::Db(error) | ObjectError::Events(EventError::Db(error)) => {
                matches!(error, DbError::Storage(source) | DbError::CommitFailed { source, .. }
                    if source.class == StorageClass::Full)
            }
            _ => false,
        }
    }

    pub(crate) fn not_found(bucket: &BucketName, key: &ObjectKey) -> Self {
        ObjectError::NotFound { bucket: bucket.clone(), key: key.clone(), marker: None }
    }

    pub(crate) fn storage(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ObjectError {
        let path = path.into();
        move |source| ObjectError::Storage { path, source }
    }
}

/// One place where an object is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("object `{bucket}/{key}` of tenant `{tenant}`, chunk {chunk:?} ({digest}): {flaw}")]
pub struct Damage {
    /// The tenant of the object.
    pub tenant: TenantId,
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// In which MiB of the object the chunk begins, counted from zero; `None` if it is the manifest.
    pub chunk: Option<u64>,
    /// The digest that the chunk (or, for the manifest, the object) should have.
    pub digest: Sha256Digest,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What is wrong with a chunk or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The file, or the segment of the manifest, is not there.
    #[error("missing")]
    Missing,
    /// The file is shorter than the chunk.
    #[error("truncated to {found} of {expected} bytes")]
    Truncated {
        /// The length of the chunk.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// The bytes have another digest.
    #[error("altered, digest is {found}")]
    Altered {
        /// The digest of what is there.
        found: Sha256Digest,
    },
    /// The bytes are those that were stored, but the key of the object does not open them.
    #[error("not encrypted with the key of the object")]
    Sealed,
    /// The bytes are those that were stored, but what is compressed in them is not what the manifest says.
    #[error("not compressed as the manifest says")]
    Packed,
    /// The file cannot be read.
    #[error("unreadable ({0})")]
    Unreadable(io::ErrorKind),
}
