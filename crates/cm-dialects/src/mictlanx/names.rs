//! Bucket ids.
//!
//! An id may be any text, `MICTLANX` for one, and the names of buckets are those of S3. An id that can be the name of a bucket is one; for any other
//! the name is made of its digest, and the id is kept with what is said of the objects.

use cm_crypto::digest::sha256;
use cm_types::{BucketName, ObjectKey};

/// Longest id, in bytes.
pub const BUCKET_ID_BYTES_MAX: usize = 256;
/// Where objects go whose bucket id is empty, as with the first clients.
pub const DEFAULT_BUCKET: &str = "mictlanx";
/// Digits of a digest in a name: 112 bits, short enough for the name of a record.
const DIGITS: usize = 28;

/// The name of the bucket with this id; `None` if no bucket can have it.
pub fn bucket_name(id: &str) -> Option<BucketName> {
    if id.is_empty() || id.len() > BUCKET_ID_BYTES_MAX || id.chars().any(char::is_control) {
        return None;
    }
    let own = BucketName::parse(id).ok();
    own.or_else(|| BucketName::parse(format!("mx-{}", &sha256(id.as_bytes()).to_string()[..DIGITS])).ok())
}

/// The key of an object; `None` if no object can have it.
pub(super) fn object_key(text: &str) -> Option<ObjectKey> {
    ObjectKey::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_are_names_are_kept_and_others_become_one() {
        for id in ["scans", "pytest-bucket-4", "b-0", "a.b"] {
            assert_eq!(bucket_name(id).unwrap().as_str(), id);
        }
        let shouted = bucket_name("MICTLANX").unwrap();
        assert_eq!(shouted, bucket_name("MICTLANX").unwrap());
        assert!(shouted.as_str().starts_with("mx-") && shouted.as_str().len() == 31, "{shouted}");
        assert_ne!(shouted, bucket_name("mictlanx").unwrap());
        for id in ["", "a\nb", &"x".repeat(257)] {
            assert_eq!(bucket_name(id), None, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn different_ids_have_different_names(one in "\\PC{1,30}", other in "\\PC{1,30}") {
            let (first, second) = (bucket_name(&one).unwrap(), bucket_name(&other).unwrap());
            prop_assert_eq!(one == other, first == second);
        }
    }
}
