//! What is said about an object.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cm_policy::sharing::Acl;
use cm_policy::{ActionKind, Create, Update};
use cm_types::{
    BucketName, ObjectKey, PrincipalId, RequestId, ResourceKind, ResourceRef, Sha256Digest, Timestamp,
};
use uuid::Uuid;

use crate::encryption::{self, Encryption, NewEncryption};
use crate::tags::{OBJECT_TAGS_MAX, Tags, check_tags};
use crate::{ObjectError, Protection, VersionName};

/// Most bytes of metadata, names and values together: the limit of S3, which clients expect.
pub const METADATA_BYTES_MAX: usize = 2048;
/// Most bytes of a content type. RFC 6838 allows 127 for each half of the name, and parameters follow.
const CONTENT_TYPE_BYTES_MAX: usize = 512;

/// One visible version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The bucket.
    pub bucket: BucketName,
    /// The name within the bucket.
    pub key: ObjectKey,
    /// The length in bytes.
    pub size: u64,
    /// The digest of the whole content; of one that is encrypted with a key of its writer, of what is stored.
    pub sha256: Sha256Digest,
    /// Identifies this version; another put makes another one, even of the same bytes.
    pub version: Uuid,
    /// What this version is called, where that is to be shown: if it was written since its bucket was told to keep versions.
    pub shown_version: Option<VersionName>,
    /// The media type, as the writer said.
    pub content_type: Option<String>,
    /// Free pairs of names and values, as the writer said.
    pub metadata: BTreeMap<String, String>,
    /// What else HTTP is to say about the content, by names in lower case: its encoding, its language, checksums.
    pub headers: BTreeMap<String, String>,
    /// The entity tag, where it is another than the digest; see [`ObjectInfo::etag`].
    pub own_tag: Option<String>,
    /// Pairs by which people sort objects; unlike metadata they change while the object stays.
    pub tags: Tags,
    /// What keeps this version from being deleted.
    pub protection: Protection,
    /// How many parts it was completed of; none if it was written at once.
    pub parts: u16,
    /// Who wrote it.
    pub writer: Option<PrincipalId>,
    /// When this version became visible.
    pub created_at: Timestamp,
    /// How it is encrypted where it is stored, if its writer asked for that.
    pub encryption: Option<Encryption>,
}

impl ObjectInfo {
    /// The entity tag, without quotation marks: the digest of the content in hexadecimal, unless its writer chose another
    /// [`Tagging`].
    pub fn etag(&self) -> String {
        self.own_tag.clone().unwrap_or_else(|| self.sha256.to_string())
    }

    /// The length of what is stored, in bytes, and its digest.
    pub(crate) fn stored(&self) -> (u64, Sha256Digest) {
        match &self.encryption {
            Some(encryption) => (encryption::stored_bytes(self.size), encryption.stored),
            None => (self.size, self.sha256),
        }
    }

    /// What this version is called within its object.
    pub fn version_name(&self) -> VersionName {
        self.shown_version.unwrap_or(VersionName::Null)
    }
}

/// Which entity tag an object gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tagging {
    /// The SHA-256 of the content.
    #[default]
    Sha256,
    /// The MD5 of the content, as clients of S3 expect.
    Md5,
    /// This one.
    Given(String),
}

/// Headers that a writer knows only once it has sent the body: set before the body's stream ends, or never.
pub type LateHeaders = Arc<OnceLock<BTreeMap<String, String>>>;

/// What a put says about the object besides its bytes.
#[derive(Clone, Debug, Default)]
pub struct NewObject {
    /// The media type; 512 bytes at most.
    pub content_type: Option<String>,
    /// Free pairs; [`METADATA_BYTES_MAX`] bytes at most.
    pub metadata: BTreeMap<String, String>,
    /// What else HTTP is to say about the content, by names in lower case; [`METADATA_BYTES_MAX`] bytes at most.
    pub headers: BTreeMap<String, String>,
    /// More of them.
    pub late_headers: LateHeaders,
    /// The entity tag.
    pub tagging: Tagging,
    /// Its tags.
    pub tags: Tags,
    /// What keeps it from being deleted, where its bucket's versions can be locked.
    pub protection: Protection,
    /// Whose it is going to be; `None` is whoever writes it.
    pub owner: Option<PrincipalId>,
    /// Its grants, which count in buckets that have a list of grants; `None` is private.
    pub acl: Option<Acl>,
    /// Whether it is to be encrypted where it is stored, and with which key.
    pub encryption: Option<NewEncryption>,
    /// The digest that the body must have.
    pub expected_sha256: Option<Sha256Digest>,
    /// The MD5 that the body must have.
    pub expected_md5: Option<[u8; 16]>,
    /// Only if there is no object of that name.
    pub if_none_match: bool,
    /// Only if the object has that etag.
    pub if_match: Option<String>,
    /// The request, for the event.
    pub request: Option<RequestId>,
}

impl NewObject {
    pub(crate) fn check(&self) -> Result<(), ObjectError> {
        check_tags(&self.tags, OBJECT_TAGS_MAX)?;
        check_description(self.content_type.as_deref(), &self.metadata, &self.headers)
    }
}

/// Whether what is said about an object is short enough, and can be sent as headers.
pub(crate) fn check_description(
    content_type: Option<&str>,
    metadata: &BTreeMap<String, String>,
    headers: &BTreeMap<String, String>,
) -> Result<(), ObjectError> {
    let content_type = content_type.unwrap_or_default();
    let texts = |pairs: &BTreeMap<String, String>, what| {
        let all = || pairs.iter().flat_map(|(name, value)| [name, value]);
        let (bytes, max) = (all().map(String::len).sum(), METADATA_BYTES_MAX);
        if bytes > max {
            return Err(ObjectError::DescriptionTooLong { what, bytes, max });
        }
        if all().any(|text| text.chars().any(char::is_control)) {
            return Err(ObjectError::DescriptionCharacter { what });
        }
        Ok(())
    };
    let (bytes, max) = (content_type.len(), CONTENT_TYPE_BYTES_MAX);
    if bytes > max {
        return Err(ObjectError::DescriptionTooLong { what: "content type", bytes, max });
    }
    if content_type.chars().any(char::is_control) {
        return Err(ObjectError::DescriptionCharacter { what: "content type" });
    }
    texts(metadata, "metadata")?;
    texts(headers, "headers")
}

/// How the object must be for a change to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is an object of that name, whatever its etag. To HTTP: `If-Match: *`.
    Present,
    /// There is no object of that name. To HTTP: `If-None-Match: *`.
    Absent,
    /// There is an object, with one of these etags. To HTTP: `If-Match` with tags.
    OneOf(Vec<String>),
    /// There is no object, or one with none of these etags. To HTTP: `If-None-Match` with tags.
    NoneOf(Vec<String>),
}

impl Condition {
    pub(crate) fn one_of(etag: String) -> Self {
        Condition::OneOf(vec![etag])
    }

    /// Whether an object with this etag meets it; `None` if there is no object.
    pub fn holds(&self, etag: Option<&str>) -> bool {
        let listed = |etags: &[String]| etag.is_some_and(|etag| etags.iter().any(|listed| listed == etag));
        match self {
            Condition::Present => etag.is_some(),
            Condition::Absent => etag.is_none(),
            Condition::OneOf(etags) => listed(etags),
            Condition::NoneOf(etags) => !listed(etags),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Condition::Present => f.write_str("any object"),
            Condition::Absent => f.write_str("no object"),
            Condition::OneOf(etags) => write!(f, "one of {etags:?}"),
            Condition::NoneOf(etags) => write!(f, "none of {etags:?}"),
        }
    }
}

/// What a deletion says besides the name.
#[derive(Clone, Debug, Default)]
pub struct DeleteObject {
    /// Only if the object has that etag.
    pub if_match: Option<String>,
    /// The request, for the event.
    pub request: Option<RequestId>,
}

/// An action whose permit allows a put.
pub trait PutAction: ActionKind + private::Sealed {
    /// Whether an object of that name may be replaced.
    const MAY_REPLACE: bool;
}

impl PutAction for Create {
    const MAY_REPLACE: bool = false;
}

/// To somebody who may update a name, its absence is one of its states: the permit creates too.
impl PutAction for Update {
    const MAY_REPLACE: bool = true;
}

mod private {
    pub trait Sealed {}
    impl Sealed for cm_policy::Create {}
    impl Sealed for cm_policy::Update {}
}

/// How policy, events and errors name an object: `bucket/key`.
pub(crate) fn object_ref(bucket: &BucketName, key: &ObjectKey) -> ResourceRef {
    ResourceRef::new(ResourceKind::Object, format!("{bucket}/{key}"))
}
