//! What is said of objects: by clients that are going to send them, in descriptions, and in answers.

use std::collections::{BTreeMap, BTreeSet};

use cm_http::{Failure, FailureClass};
use cm_kernel::objects::ObjectInfo;
use cm_kernel::{Description, Told};
use cm_types::{ObjectKey, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::names::{BUCKET_ID_BYTES_MAX, object_key};
use super::shape::{invalid_field, typed};

/// The media type of what nobody named one for.
pub(super) const OCTET_STREAM: &str = "application/octet-stream";
/// Longest id of a ball, in bytes: that of a key.
const BALL_ID_BYTES_MAX: usize = 1024;
/// Longest media type, in bytes: the store's limit.
const CONTENT_TYPE_BYTES_MAX: usize = 512;

/// What a client is going to send. Peers are told `is_disable`, routers `is_disabled`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Announcement {
    #[serde(default)]
    pub(super) bucket_id: Option<String>,
    pub(super) key: String,
    #[serde(default)]
    pub(super) ball_id: Option<String>,
    pub(super) checksum: String,
    pub(super) size: u64,
    pub(super) producer_id: String,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default = "octet_stream")]
    pub(super) content_type: String,
    #[serde(default, alias = "is_disable")]
    pub(super) is_disabled: bool,
    #[serde(default = "one")]
    pub(super) replication_factor: i64,
}

fn octet_stream() -> String {
    OCTET_STREAM.to_owned()
}

fn one() -> i64 {
    1
}

impl Announcement {
    /// Key and digest, if everything that is said can be kept.
    pub(super) fn check(&self) -> Result<(ObjectKey, Sha256Digest), Failure> {
        let key = object_key(&self.key)
            .ok_or_else(|| invalid_field("key", "a key has 1 to 1024 bytes and no control characters"))?;
        let checksum = self
            .checksum
            .parse()
            .map_err(|_| invalid_field("checksum", "a checksum is a SHA-256, 64 hexadecimal digits"))?;
        let ball = self.ball_id();
        if ball.len() > BALL_ID_BYTES_MAX || ball.chars().any(char::is_control) {
            return Err(invalid_field(
                "ball_id",
                "a ball's id has at most 1024 bytes and no control characters",
            ));
        }
        if self.content_type.len() > CONTENT_TYPE_BYTES_MAX || self.content_type.chars().any(char::is_control)
        {
            let message = "a content type has at most 512 bytes and no control characters";
            return Err(invalid_field("content_type", message));
        }
        Ok((key, checksum))
    }

    /// Without a ball an object is one of its own.
    fn ball_id(&self) -> &str {
        self.ball_id.as_deref().filter(|id| !id.is_empty()).unwrap_or(&self.key)
    }

    /// What is kept of it, for a bucket with this id.
    pub(super) fn said(&self, bucket_id: &str) -> Said {
        Said {
            bucket_id: bucket_id.to_owned(),
            ball_id: self.ball_id().to_owned(),
            producer_id: self.producer_id.clone(),
            tags: self.tags.clone(),
            content_type: self.content_type.clone(),
            is_disabled: self.is_disabled,
        }
    }
}

/// What is kept of an object beside what the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) bucket_id: String,
    pub(super) ball_id: String,
    pub(super) producer_id: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) content_type: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_disabled: bool,
}

impl Said {
    /// As it is kept, found by ball, key and digest.
    ///
    /// # Errors
    /// 422 if it is too long.
    pub(super) fn description(
        &self,
        key: &ObjectKey,
        contents: Sha256Digest,
    ) -> Result<Description, Failure> {
        let text = serde_json::to_string(self).map_err(Failure::internal)?;
        let max = cm_kernel::descriptions::TEXT_BYTES_MAX;
        if text.len() > max || self.bucket_id.len() > BUCKET_ID_BYTES_MAX {
            let message =
                format!("tags, ids and content type have {} bytes together, {max} are kept", text.len());
            return Err(invalid_field("tags", &message));
        }
        let terms = [ball_term(&self.ball_id), key_term(key.as_str()), digest_term(contents)];
        Ok(Description { text, terms: BTreeSet::from(terms) })
    }
}

/// By what a ball's pieces are found.
pub(super) fn ball_term(ball: &str) -> String {
    format!("mictlanx ball {ball}")
}

/// By what an object is found whose bucket is not said.
pub(super) fn key_term(key: &str) -> String {
    format!("mictlanx key {key}")
}

/// By what bytes are found whose key is not said.
pub(super) fn digest_term(contents: Sha256Digest) -> String {
    format!("mictlanx sha256 {contents}")
}

/// What is said of an object in answers: nine fields, all tags texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Metadata {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) checksum: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) content_type: String,
    pub(super) producer_id: String,
    pub(super) ball_id: String,
    pub(super) bucket_id: String,
    pub(super) is_disabled: bool,
    /// Whether its reader may know no more than that it is there.
    #[serde(skip)]
    pub(super) is_hidden: bool,
}

impl Metadata {
    /// What may be told of an object of the bucket with this id: of what one may not read, its key and its size.
    pub(super) fn told(bucket_id: &str, info: &ObjectInfo, told: &Told) -> Self {
        match told {
            Told::Text(text) => Self::of(bucket_id, info, Some(text)),
            Told::Nothing => Self::of(bucket_id, info, None),
            Told::Hidden => Self {
                key: info.key.to_string(),
                size: info.size,
                checksum: String::new(),
                tags: BTreeMap::new(),
                content_type: octet_stream(),
                producer_id: String::new(),
                ball_id: String::new(),
                bucket_id: bucket_id.to_owned(),
                is_disabled: false,
                is_hidden: true,
            },
        }
    }

    /// What is said of an object of the bucket with this id. What other faces wrote has no description, and is a ball of its own.
    pub(super) fn of(bucket_id: &str, info: &ObjectInfo, text: Option<&str>) -> Self {
        let said = text.and_then(|text| serde_json::from_str::<Said>(text).ok()).unwrap_or_else(|| Said {
            bucket_id: bucket_id.to_owned(),
            ball_id: info.key.to_string(),
            producer_id: String::new(),
            tags: info.metadata.clone(),
            content_type: info.content_type.clone().unwrap_or_else(octet_stream),
            is_disabled: false,
        });
        Self {
            key: info.key.to_string(),
            size: info.size,
            checksum: info.sha256.to_string(),
            tags: said.tags,
            content_type: said.content_type,
            producer_id: said.producer_id,
            ball_id: said.ball_id,
            bucket_id: said.bucket_id,
            is_disabled: said.is_disabled,
            is_hidden: false,
        }
    }

    /// The same as it is kept.
    pub(super) fn said(self) -> Said {
        let Self { tags, content_type, producer_id, ball_id, bucket_id, is_disabled, .. } = self;
        Said { bucket_id, ball_id, producer_id, tags, content_type, is_disabled }
    }

    /// As the first clients read it, who know eight fields and refuse a ninth.
    pub(super) fn first(&self) -> serde_json::Value {
        json!({
            "key": self.key, "size": self.size, "checksum": self.checksum, "tags": self.tags,
            "content_type": self.content_type, "producer_id": self.producer_id, "ball_id": self.ball_id,
            "bucket_id": self.bucket_id,
        })
    }

    /// The place of a piece in its ball: what its tag says, or the number at the end of its key.
    pub(super) fn place(&self) -> u64 {
        let tagged = self.tags.get("index").and_then(|text| text.trim().parse().ok());
        let numbered = || self.key.rsplit_once('_').and_then(|(_, number)| number.parse().ok());
        tagged.or_else(numbered).unwrap_or(0)
    }
}

/// 404 for an object.
pub(super) fn absent(bucket_id: &str, key: &str) -> Failure {
    typed(FailureClass::NotFound, 404, 404, format!("no object {bucket_id}@{key}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn announced(text: &str) -> Result<Announcement, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn both_spellings_of_a_flag_are_known_and_texts_are_demanded() {
        let rest = r#""key":"k","checksum":"c","size":1,"producer_id":"p""#;
        for (flag, expected) in
            [("", false), (r#","is_disable":true"#, true), (r#","is_disabled":true"#, true)]
        {
            assert_eq!(announced(&format!("{{{rest}{flag}}}")).unwrap().is_disabled, expected);
        }
        for wrong in [r#","tags":{"a":1}"#, r#","size":"1""#, r#","replication_factor":1.5"#] {
            assert!(announced(&format!("{{{rest}{wrong}}}")).is_err(), "{wrong}");
        }
        assert!(announced(r#"{"key":"k"}"#).unwrap_err().contains("checksum"));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_back(ball in "\\PC{0,20}", tag in "\\PC{0,20}", value in ".{0,20}", disabled: bool) {
            let said = Said {
                bucket_id: "b".to_owned(),
                ball_id: ball,
                producer_id: "p".to_owned(),
                tags: BTreeMap::from([(tag, value)]),
                content_type: octet_stream(),
                is_disabled: disabled,
            };
            let key = ObjectKey::parse("k").unwrap();
            let kept = said.description(&key, Sha256Digest::from_bytes([7; 32])).unwrap();
            prop_assert_eq!(serde_json::from_str::<Said>(&kept.text).unwrap(), said);
            prop_assert!(kept.terms.len() <= cm_kernel::descriptions::TERMS_MAX);
        }
    }
}
