//! Where a function's inputs come from and its outputs go: a storage by name, or places of its own.

use cm_types::{ByteCount, ObjectKey, ResourceId, ResourceKind};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Reference, refer};
use crate::OnDelete;
use crate::validation::Findings;

/// The storage of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum StoredIn {
    /// The id of a storage.
    Storage(ResourceId),
    /// Places written where others have an id.
    Own(Box<OwnStorage>),
}

/// A storage within the function that uses it. Its places are written as two paths, or as a source and a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnStorage {
    /// What its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_id: Option<ResourceId>,
    /// How much it may hold, such as `10GB`.
    pub capacity: ByteCount,
    /// Where inputs come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_path: Option<String>,
    /// Where outputs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_path: Option<String>,
    /// Where inputs come from, in more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Place>,
    /// Where outputs go, in more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Place>,
}

/// One place of data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// A path within the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A bucket. A name and no reference: it may be another store's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<String>,
    /// An object within the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl StoredIn {
    pub(super) fn reference(storage: Option<&StoredIn>) -> Option<Reference> {
        match storage {
            Some(StoredIn::Storage(id)) => {
                Some(refer("storage", ResourceKind::Storage, id, OnDelete::Restrict))
            }
            Some(StoredIn::Own(_)) | None => None,
        }
    }

    pub(super) fn check(storage: Option<&StoredIn>, findings: &mut Findings) {
        let Some(StoredIn::Own(own)) = storage else { return };
        if own.capacity.bytes() == 0 {
            findings.add("spec.storage.capacity", "must not be zero");
        }
        let paths = [
            ("spec.storage.source_path", own.source_path.as_ref()),
            ("spec.storage.sink_path", own.sink_path.as_ref()),
            ("spec.storage.source.path", own.source.as_ref().and_then(|place| place.path.as_ref())),
            ("spec.storage.sink.path", own.sink.as_ref().and_then(|place| place.path.as_ref())),
        ];
        for (path, text) in paths.into_iter().filter_map(|(path, text)| Some((path, text?))) {
            findings.path(path, text);
        }
        for (name, place) in [("source", &own.source), ("sink", &own.sink)] {
            if let Some(Place { bucket_id: Some(bucket), .. }) = place {
                findings.text(&format!("spec.storage.{name}.bucket_id"), bucket, 1, BUCKET_LEN_MAX, false);
            }
            if let Some(Place { key: Some(key), .. }) = place
                && let Err(error) = ObjectKey::parse(key.as_str())
            {
                findings.add(format!("spec.storage.{name}.key"), error.to_string());
            }
        }
    }
}

/// Longest name of a bucket here: other stores permit other characters than ours, and no longer names.
const BUCKET_LEN_MAX: usize = 63;

// By hand, because serde's own way for such a choice forgets what was wrong with the chosen form.
impl<'de> Deserialize<'de> for StoredIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = StoredIn;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the id of a storage, or a storage with `capacity`, `source_path` and `sink_path`",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StoredIn, E> {
                ResourceId::parse(text).map(StoredIn::Storage).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<StoredIn, A::Error> {
                OwnStorage::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(|own| StoredIn::Own(Box::new(own)))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
