//! Which keys a scan visits.

use std::ops::{Bound, RangeBounds};

use crate::Key;
use crate::key::escape;

/// In which order a scan visits keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest first.
    Forward,
    /// Largest first.
    Backward,
}

/// A contiguous range of encoded keys. Every kind of bound is held as one half-open interval, since the
/// byte string right after `k` is `k` followed by `00`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// The keys between bounds: `KeyRange::of(5u64..10)`.
    pub fn of<K: Key>(bounds: impl RangeBounds<K>) -> Self {
        let start = match bounds.start_bound() {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => key.encode(),
            Bound::Excluded(key) => successor(key.encode()),
        };
        let end = match bounds.end_bound() {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(successor(key.encode())),
            Bound::Excluded(key) => Some(key.encode()),
        };
        Self { start, end }
    }

    /// The keys whose bytes begin so; see [`KeyPrefix`].
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let start = prefix.as_ref().to_vec();
        let mut end = start.clone();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let end = end.last_mut().map(|last| *last += 1).map(|()| end.clone());
        Self { start, end }
    }

    /// The part of this range after `key`.
    pub fn after<K: Key>(self, key: &K) -> Self {
        self.after_encoded(&key.encode())
    }

    /// The part of this range after a key as it is stored, whether or not it decodes.
    pub fn after_encoded(mut self, key: &[u8]) -> Self {
        self.start = self.start.max(successor(key.to_vec()));
        self
    }

    /// The part of this range before `key`.
    pub fn before<K: Key>(mut self, key: &K) -> Self {
        let key = key.encode();
        self.end = Some(match self.end {
            Some(end) => end.min(key),
            None => key,
        });
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Builds the beginning of keys, part by part.
///
/// `KeyPrefix::new().part(&tenant).part(&bucket).text("scans/")` is the beginning of every
/// `(tenant, bucket, key)` whose key begins with `scans/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPrefix(Vec<u8>);

impl KeyPrefix {
    /// The beginning of every key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Followed by exactly this part.
    pub fn part<K: Key>(mut self, part: &K) -> Self {
        part.encode_to(&mut self.0);
        self
    }

    /// Followed by a text part that begins so. Nothing can follow.
    pub fn text(mut self, beginning: &str) -> KeyPrefix {
        escape(beginning.as_bytes(), &mut self.0);
        self
    }
}

impl AsRef<[u8]> for KeyPrefix {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_half_open_intervals() {
        let check = |range: KeyRange, start: &[u8], end: Option<&[u8]>| {
            assert_eq!((range.start.as_slice(), range.end.as_deref()), (start, end));
        };
        check(KeyRange::all(), b"", None);
        check(KeyRange::of(1u8..2), b"\x01", Some(b"\x02"));
        check(KeyRange::of(1u8..=2), b"\x01", Some(b"\x02\0"));
        check(KeyRange::of((Bound::Excluded(1u8), Bound::Unbounded)), b"\x01\0", None);
        check(KeyRange::prefix(b"ab"), b"ab", Some(b"ac"));
        check(KeyRange::prefix(b"a\xff"), b"a\xff", Some(b"b"));
        check(KeyRange::prefix(b"\xff\xff"), b"\xff\xff", None);
        check(KeyRange::prefix(b""), b"", None);
        check(KeyRange::of(1u8..9).after(&4u8).before(&7u8), b"\x04\0", Some(b"\x07"));
        assert!(KeyRange::of(3u8..9).before(&2u8).is_empty());
    }

    #[test]
    fn a_prefix_is_the_beginning_of_keys() {
        let prefix = KeyPrefix::new().part(&"t".to_owned()).text("a\0");
        let key = ("t".to_owned(), "a\0b".to_owned()).encode();
        assert!(key.starts_with(prefix.as_ref()));
    }
}
