//! Buckets and objects: bytes of any size under a name, written at once or not at all, and verified
//! whenever they are read.
//!
//! An object is cut into chunks of 1 MiB. A chunk is a file named by its SHA-256, so that equal chunks are
//! kept once; an object is a row with its size, its digest and the identifier of its **version**, whose
//! **manifest** lists the chunks.
//!
//! ```text
//! DIR/lock                    held by the one process that has the directory open
//! DIR/tmp/…                   files being written; whatever is found at opening is left over from a crash
//! DIR/chunks/ab/abcdef…       the chunks
//! object_buckets              (tenant, bucket)          the bucket exists
//! objects                     (tenant, bucket, key)     the visible version
//! object_manifests            (version, segment)        up to 1024 digests each
//! object_chunks               digest                    how many manifest entries name it
//! object_idle_chunks          (since, digest)           chunks that nothing names any more
//! object_doomed               version                   to be taken apart once nobody holds it
//! object_uploads              (tenant, bucket, key, upload)   an upload in parts
//! object_upload_parts         (upload, number)          one of its parts, which is a version too
//! object_ended_uploads        upload                    its parts are to be doomed
//! object_versions             (tenant, bucket, key, newest first)   earlier versions, and marks of deletion
//! object_version_ids          (tenant, bucket, key, version)        where each stands there
//! object_finished_parts       (version, number)         the parts that a version was completed of
//! object_lifecycles           (tenant, bucket)          the rules by which its objects end
//! object_bucket_tags          (tenant, bucket)          its tags
//! object_bucket_usage         (tenant, bucket)          how much is in it, and how much may be
//! object_tenant_usage         tenant                    how much is in all its buckets, and how much may be
//! object_cold_objects         name                      in the cold tier and not, or not any more, a chunk's
//! object_chunk_uses           digest                    when a chunk was last read, where that matters
//! object_cold_tier            ()                        how much lies in the cold tier
//! object_inline               version                   what is stored of a small version, which has no chunks
//! ```
//!
//! **Writing.** Chunks are hashed and made durable (temporary file, fsync, rename, fsync of the directory)
//! on blocking threads while the next one arrives. Then one transaction makes the version visible, counts
//! its chunks, dooms the version that it replaces and writes the event. Beyond 1 GiB the full segments
//! of the manifest are committed on the way, under a version that is doomed until the last transaction
//! spares it; so neither memory nor transactions grow with the object.
//!
//! **Small versions**, up to 8 KiB unless told, have no chunks: their bytes are a row, written by that last transaction. See `inline`.
//!
//! **Removing.** The collector takes doomed versions apart unless somebody reads or writes them, and
//! deletes a chunk that has been idle for the grace period. A writer pins a chunk **before** it looks
//! whether the file exists, and until the transaction that counts it has ended; the collector seizes a
//! chunk, which fails if it is pinned, before it looks at the count. Hence a counted chunk is never
//! deleted. A put that comes to nothing hands the collector the chunks that it had not counted, which
//! go at once unless somebody else counts or pins them; what a crash leaves is searched for at the next
//! start.
//!
//! **Uploads in parts.** A part is a version that no object knows. Completing an upload reads its parts, verified, into
//! a version of the object, as a put does: the chunks are there already, so little is written, and the whole gets a
//! digest. In the transaction that shows it the upload ends, and the collector dooms the parts. So it is when an
//! upload is aborted, or left alone for too long.
//!
//! **Versions.** Where a bucket keeps versions, what is replaced or deleted is not doomed but put among the versions of its
//! name. What is shown stays in `objects`, so that nothing is slower for it. See [`versions`], [`removal`] and, for what may not
//! be deleted, [`protection`].
//!
//! **Reading.** Every chunk is compared with its digest before a byte of it is released. A damaged chunk
//! is an error that names object and chunk; the next put of the same bytes repairs it.
//!
//! **Encryption.** Where a writer asks for it, what goes into chunks is encrypted before, in frames of a chunk each, so that
//! everything beneath works on ciphertext. See [`encryption`].
//!
//! **Cold chunks** may lie in an S3 service instead. See [`cold`].
//!
//! Deliberately absent here: who may do what (a [`cm_policy::Permit`] proves it), sealing (the client
//! does it).
//!
//! Reading order: [`object`], [`range`], [`error`], [`config`], [`objects`] (the engine), then what it does:
//! `put`, [`removal`], [`versions`], [`uploads`], [`parts`], [`completion`], [`finished_parts`], [`encryption`], [`read`], [`list`],
//! [`list_versions`], [`tags`], [`protection`], [`lifecycle`], [`quota`], [`scrub`], [`garbage`], [`cold`]; beneath them `chunks`, `claims`, `abandoned`,
//! `inline`, `tables` and `rows`.

mod abandoned;
pub mod access;
mod chunks;
mod claims;
pub mod cold;
pub mod completion;
pub mod config;
pub mod encryption;
pub mod error;
pub mod finished_parts;
pub mod garbage;
mod hashing;
mod inline;
pub mod lifecycle;
pub mod list;
pub mod list_versions;
pub mod network;
pub mod object;
pub mod objects;
pub mod packing;
pub mod parts;
mod places;
pub mod protection;
mod put;
pub mod quota;
pub mod range;
pub mod read;
pub mod removal;
mod rows;
pub mod scrub;
pub mod settings;
mod tables;
pub mod tags;
mod trail;
mod upload;
pub mod uploads;
pub mod versions;

pub use chunks::CHUNK_BYTES;
pub use cm_policy::ObjectFacts;
pub use cold::mover::Tended;
pub use cold::settings::COLD_DAYS_MAX;
pub use cold::{ColdPace, ColdStatus, ColdTier};
pub use completion::{Completion, Contents};
pub use config::Config;
pub use encryption::{BucketEncryption, CustomerKey, EncryptedBy, Encryption, NewEncryption};
pub use error::{Damage, Flaw, ObjectError};
pub use finished_parts::FinishedPart;
pub use garbage::Collected;
pub use inline::INLINE_BYTES_CEILING;
pub use lifecycle::worker::{Expired, LifecyclePace};
pub use lifecycle::{Expiration, Noncurrent, Rule, Scope, ScopeForm};
pub use list::{ListQuery, Listing};
pub use list_versions::{VersionListing, VersionQuery};
pub use network::elastic::settings::{ELASTIC_BUCKETS_MAX, Elastic, ElasticError};
pub use network::elastic::{EXTRA_CHUNKS_MAX, ElasticPace};
pub use network::keeping::{Keeping, KeepingError};
pub use network::status::{Extra, Holder, Kept, PeerStatus, ScrubProgress, StorageStatus};
pub use network::{LayoutChange, Member, Offer, Pace, Peering};
pub use object::{
    Condition, DeleteObject, LateHeaders, METADATA_BYTES_MAX, NewObject, ObjectInfo, PutAction, Tagging,
};
pub use objects::Objects;
pub use packing::{Compression, Cutting, Packing};
pub use parts::{NewPart, PART_NUMBER_MAX, PartInfo};
pub use protection::{DefaultRetention, Locking, Mode, Period, Protection, ProtectionChange, Retention};
pub use quota::{COUNTED_MAX, Quota, QuotaScope, QuotaUnit, Usage};
pub use range::ByteRange;
pub use read::{ObjectBody, ObjectRead, Piece, Reading};
pub use removal::{Removal, Removed};
pub use scrub::{ScrubItem, ScrubTotals};
pub use settings::Setting;
pub use tables::TABLES;
pub use tags::Tags;
pub use uploads::{NewUpload, UploadInfo, UploadPage, UploadRef};
pub use versions::{MarkerInfo, Version, VersionName, Versioning};

#[cfg(test)]
pub(crate) mod tests;
