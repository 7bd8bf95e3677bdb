//! What a path below `/buckets` means.
//!
//! Keys may have slashes, so a key is whatever stands between the bucket and a word that has a meaning. Words have their
//! meaning only as they are written: `metadata` does, `%6Detadata` is a part of a key, and `%2F` never separates. So every key can
//! be named.

use cm_types::Sha256Digest;
use percent_encoding::percent_decode_str;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// What there is in a bucket: `BUCKET/metadata`.
    Bucket(String),
    /// Bytes with this digest, wherever they are: `checksum/SHA256`.
    Checksum(Sha256Digest),
    /// What is said of an object: `BUCKET/metadata/KEY`.
    Metadata(String, String),
    /// The pieces of a ball: `BUCKET/metadata/BALL/chunks`.
    Chunks(String, String),
    /// The same as peers say it: `BUCKET/metadata/BALL/group`.
    Group(String, String),
    /// How long an object is: `BUCKET/KEY/size`.
    Size(String, String),
    /// The bytes of a ball: `BUCKET/BALL/merge`.
    Merge(String, String),
    /// The bytes of an object: `BUCKET/KEY`.
    Data(String, String),
}

/// What is posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// What is going to be sent: `BUCKET/metadata`.
    Metadata(String),
    /// A form with the bytes of a task: `data/TASK`.
    Data(String),
    /// The bytes of a task: `data/TASK/chunked`.
    Chunked(String),
    /// Marks an object: `BUCKET/KEY/disable`.
    Disable(String, String),
    /// Fetches an object from another peer: `BUCKET/KEY/replicate`.
    Replicate(String, String),
}

/// What is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The pieces of a ball: `BUCKET/bid/BALL`.
    Ball(String, String),
    /// An object: `BUCKET/KEY`.
    Key(String, String),
}

/// What a path means to `GET`; `None` if nothing. The path begins behind `/buckets/`.
pub fn read(path: &str) -> Option<Read> {
    let parts = parts(path)?;
    Some(match parts.as_slice() {
        ["checksum", digest] if digest.len() == 64 && digest.parse::<Sha256Digest>().is_ok() => {
            Read::Checksum(digest.parse().ok()?)
        }
        [bucket, "metadata"] => Read::Bucket(text(bucket)?),
        [bucket, "metadata", ball @ .., "chunks"] if !ball.is_empty() => {
            Read::Chunks(text(bucket)?, joined(ball)?)
        }
        [bucket, "metadata", ball @ .., "group"] if !ball.is_empty() => {
            Read::Group(text(bucket)?, joined(ball)?)
        }
        [bucket, "metadata", key @ ..] => Read::Metadata(text(bucket)?, joined(key)?),
        [bucket, key @ .., "size"] if !key.is_empty() => Read::Size(text(bucket)?, joined(key)?),
        [bucket, ball @ .., "merge"] if !ball.is_empty() => Read::Merge(text(bucket)?, joined(ball)?),
        [bucket, key @ ..] => Read::Data(text(bucket)?, joined(key)?),
        [] => return None,
    })
}

/// What a path means to `POST`.
pub fn posted(path: &str) -> Option<Posted> {
    let parts = parts(path)?;
    Some(match parts.as_slice() {
        [bucket, "metadata"] => Posted::Metadata(text(bucket)?),
        ["data", task] => Posted::Data(text(task)?),
        ["data", task, "chunked" | "chunkedv1"] => Posted::Chunked(text(task)?),
        [bucket, key @ .., "disable"] if !key.is_empty() => Posted::Disable(text(bucket)?, joined(key)?),
        [bucket, key @ .., "replicate"] if !key.is_empty() => Posted::Replicate(text(bucket)?, joined(key)?),
        _ => return None,
    })
}

/// What a path means to `DELETE`.
pub fn deleted(path: &str) -> Option<Deleted> {
    let parts = parts(path)?;
    Some(match parts.as_slice() {
        [bucket, "bid", ball @ ..] if !ball.is_empty() => Deleted::Ball(text(bucket)?, joined(ball)?),
        [bucket, key @ ..] => Deleted::Key(text(bucket)?, joined(key)?),
        [] => return None,
    })
}

/// A key that is all of a path, as the first protocol names it, and a bucket with a key.
pub(super) fn whole(path: &str) -> Option<String> {
    joined(&path.split('/').collect::<Vec<_>>())
}

/// The bucket and the key of a path without words.
pub(super) fn bucket_and_key(path: &str) -> Option<(String, String)> {
    let (bucket, key) = path.split_once('/')?;
    Some((text(bucket)?, whole(key)?))
}

/// At least two parts, none of them empty but within a key.
fn parts(path: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = path.split('/').collect();
    (parts.len() > 1 && !parts[0].is_empty()).then_some(parts)
}

fn joined(parts: &[&str]) -> Option<String> {
    let decoded: Option<Vec<String>> = parts.iter().map(|part| decoded(part)).collect();
    decoded.map(|parts| parts.join("/")).filter(|text| !text.is_empty())
}

fn text(part: &str) -> Option<String> {
    decoded(part).filter(|text| !text.is_empty())
}

fn decoded(part: &str) -> Option<String> {
    percent_decode_str(part).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(make: fn(String, String) -> Read, bucket: &str, key: &str) -> Option<Read> {
        Some(make(bucket.to_owned(), key.to_owned()))
    }

    #[test]
    fn paths_mean_what_clients_mean() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (path, expected) in [
            ("b/metadata", Some(Read::Bucket("b".to_owned()))),
            ("b/metadata/k", pair(Read::Metadata, "b", "k")),
            ("b/metadata/a/b.txt", pair(Read::Metadata, "b", "a/b.txt")),
            ("b/metadata/k/chunks", pair(Read::Chunks, "b", "k")),
            ("b/metadata/chunks", pair(Read::Metadata, "b", "chunks")),
            ("b/metadata/k/group", pair(Read::Group, "b", "k")),
            ("b/k/size", pair(Read::Size, "b", "k")),
            ("b/size", pair(Read::Data, "b", "size")),
            ("b/a/k/merge", pair(Read::Merge, "b", "a/k")),
            ("b/k%2Fmerge", pair(Read::Data, "b", "k/merge")),
            ("b/%6Detadata", pair(Read::Data, "b", "metadata")),
            ("b/a//c", pair(Read::Data, "b", "a//c")),
            ("b/%C3%A4%20%2E", pair(Read::Data, "b", "ä .")),
            ("data/k", pair(Read::Data, "data", "k")),
            ("checksum/k", pair(Read::Data, "checksum", "k")),
            ("b/%FF", None),
            ("b", None),
            ("b/", None),
            ("/k", None),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
        assert_eq!(read(&format!("checksum/{digest}")), Some(Read::Checksum(digest.parse().unwrap())));
        assert_eq!(posted("data/metadata"), Some(Posted::Metadata("data".to_owned())));
        assert_eq!(posted("data/t"), Some(Posted::Data("t".to_owned())));
        assert_eq!(posted("data/t/chunked"), Some(Posted::Chunked("t".to_owned())));
        assert_eq!(posted("data/t/chunkedv1"), Some(Posted::Chunked("t".to_owned())));
        assert_eq!(posted("data/k/disable"), Some(Posted::Disable("data".to_owned(), "k".to_owned())));
        assert_eq!(posted("b/k"), None);
        assert_eq!(deleted("b/bid/x"), Some(Deleted::Ball("b".to_owned(), "x".to_owned())));
        assert_eq!(deleted("b/bid"), Some(Deleted::Key("b".to_owned(), "bid".to_owned())));
    }

    proptest! {
        /// A client that encodes all of a key always means that key.
        #[test]
        fn every_key_has_a_path(bucket in "\\PC{1,20}", key in "\\PC{1,40}") {
            // Not even letters are left as they are, hence no word either.
            let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let (bucket_text, key_text) = (encoded(&bucket), encoded(&key));
            let path = format!("{bucket_text}/{key_text}");
            prop_assert_eq!(read(&path), Some(Read::Data(bucket.clone(), key.clone())));
            prop_assert_eq!(deleted(&path), Some(Deleted::Key(bucket.clone(), key.clone())));
            prop_assert_eq!(read(&format!("{bucket_text}/metadata/{key_text}")), Some(Read::Metadata(bucket, key)));
        }

        #[test]
        fn no_path_is_too_strange(path in ".{0,60}") {
            let _ = (read(&path), posted(&path), deleted(&path), whole(&path), bucket_and_key(&path));
        }
    }
}
