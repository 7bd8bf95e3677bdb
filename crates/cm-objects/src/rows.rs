//! What the rows about buckets, objects and uploads hold. Fields that came later are left out where they say nothing, so
//! that rows of every age decode.

use std::collections::BTreeMap;

use cm_db::Row;
use cm_policy::sharing::Acl;
use cm_types::{PrincipalId, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::encryption::{Encryption, UploadEncryption};
use crate::lifecycle::Rule;
use crate::network::keeping::Keeping;
use crate::packing::Packing;
use crate::protection::{Locking, Protection};
use crate::versions::{VersionName, Versioning};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) created_at: Timestamp,
    /// `None` as long as nobody has ever asked for versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) versioning: Option<Versioning>,
    /// Set once versions can be locked, and for ever then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) locking: Option<Locking>,
    /// How its chunks are kept in a storage network, if not as those of all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keeping: Option<Keeping>,
    /// After how many days without access its chunks may go to the cold tier; `None` if they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cold_after_days: Option<u32>,
    /// How content becomes chunks, if it is cut by content or compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packing: Option<Packing>,
}

/// Which name a version goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lineage {
    /// None is shown: nobody had asked for versions when it was written. It is the null version.
    #[default]
    Unversioned,
    /// The null version: written while versions were suspended.
    Null,
    /// Its own id.
    Own,
}

impl Lineage {
    fn is_unversioned(&self) -> bool {
        *self == Self::Unversioned
    }

    pub(crate) fn name(self, version: Uuid) -> VersionName {
        match self {
            Self::Unversioned | Self::Null => VersionName::Null,
            Self::Own => VersionName::Own(version),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    pub(crate) version: Uuid,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// The entity tag, where it is another than the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Lineage::is_unversioned")]
    pub(crate) lineage: Lineage,
    /// Rises with every version of a name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) order: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Protection::is_none")]
    pub(crate) protection: Protection,
    /// How many parts it was completed of; none if it was written at once.
    #[serde(default, skip_serializing_if = "is_no_part")]
    pub(crate) parts: u16,
    /// Who wrote it, or to whom its writer gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer: Option<PrincipalId>,
    /// Its grants; `None` is private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acl: Option<Acl>,
    /// How its chunks are encrypted, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
    /// The upload that it was completed of, so that a client which missed the answer can be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upload: Option<Uuid>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_no_part(number: &u16) -> bool {
    *number == 0
}

impl ObjectRow {
    pub(crate) fn etag(&self) -> String {
        self.tag.clone().unwrap_or_else(|| self.sha256.to_string())
    }

    pub(crate) fn name(&self) -> VersionName {
        self.lineage.name(self.version)
    }
}

/// A version that is not what its name shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VersionRow {
    /// An earlier object.
    Object(Box<ObjectRow>),
    /// The name was deleted then.
    Marker(MarkerRow),
}

impl VersionRow {
    pub(crate) fn name(&self) -> VersionName {
        match self {
            Self::Object(row) => row.name(),
            Self::Marker(row) => row.lineage.name(row.version),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MarkerRow {
    pub(crate) version: Uuid,
    pub(crate) lineage: Lineage,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer: Option<PrincipalId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderRow {
    pub(crate) order: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct UploadRow {
    pub(crate) owner: Option<PrincipalId>,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Protection::is_none")]
    pub(crate) protection: Protection,
    /// Whose the object is going to be, if not of whoever began the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_owner: Option<PrincipalId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acl: Option<Acl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<UploadEncryption>,
    /// How long its parts are together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    pub(crate) md5: String,
    pub(crate) version: Uuid,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    /// How its chunks are encrypted, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
}

/// A part of an object that was completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FinishedPartRow {
    /// Where it begins in the object.
    pub(crate) offset: u64,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LifecycleRow {
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TagsRow {
    pub(crate) tags: BTreeMap<String, String>,
}

impl Row for BucketRow {}
impl Row for ObjectRow {}
impl Row for VersionRow {}
impl Row for OrderRow {}
impl Row for UploadRow {}
impl Row for PartRow {}
impl Row for FinishedPartRow {}
impl Row for LifecycleRow {}
impl Row for TagsRow {}

#[cfg(test)]
mod tests {
    use super::*;

    /// As they were stored before there were versions.
    #[test]
    fn rows_of_earlier_programs_decode() {
        let bucket: BucketRow = serde_json::from_str(r#"{"created_at":"2026-01-02T03:04:05Z"}"#).unwrap();
        assert_eq!((bucket.versioning, bucket.locking), (None, None));
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let version = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
        let text = format!(
            r#"{{"size":0,"sha256":"{digest}","version":"{version}","content_type":null,"metadata":{{}},"created_at":"2026-01-02T03:04:05Z"}}"#
        );
        let object: ObjectRow = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (object.order, object.parts, object.name(), object.upload),
            (0, 0, VersionName::Null, None)
        );
        assert_eq!(serde_json::to_string(&object).unwrap(), text, "a plain object is stored as it was");
    }
}
