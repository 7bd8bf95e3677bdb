//! What people and clients write: labels, quantities, permissions, ranges; and keys of rows.

use std::time::Duration;

use cm_db::Key;
use cm_dialects::xolo::duration;
use cm_events::{EventVerb, Head};
use cm_http::RangeRequest;
use cm_objects::ByteRange;
use cm_policy::Permission;
use cm_types::{ByteCount, LabelSelector, ResourceRef, SpiffeId, TrustDomain};

/// A selector or reference that is accepted is the same after writing and reading.
pub fn labels(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = text.parse::<LabelSelector>() {
        assert_eq!(selector.to_string().parse::<LabelSelector>().expect("what we write, we read"), selector);
    }
    if let Ok(resource) = text.parse::<ResourceRef>() {
        assert_eq!(resource.to_string().parse::<ResourceRef>().expect("what we write, we read"), resource);
    }
}

/// A duration is within its bounds, the same with spaces around it, and its whole seconds are read as such.
pub fn durations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = duration::parse(text) else { return };
    assert!(text.len() <= duration::TEXT_LEN_MAX, "a text of {} bytes was read", text.len());
    assert!(found >= Duration::from_millis(1), "{text} is shorter than a millisecond");
    assert!(found.as_secs() <= 1000 * 366 * 24 * 3600, "{text} is longer than a thousand years");
    let trimmed = text.trim();
    assert_eq!(duration::parse(trimmed), Ok(found));
    let whole = Duration::from_secs(found.as_secs());
    if whole > Duration::ZERO {
        assert_eq!(duration::parse(&format!("{}s", whole.as_secs())), Ok(whole));
    }
}

/// A SPIFFE id that is accepted is written as it was read: there is no second form of it.
pub fn spiffe_ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = SpiffeId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(TrustDomain::parse(id.domain().as_str()).as_ref(), Ok(id.domain()));
    }
}

/// A quantity keeps its text, and its text means the same number.
pub fn byte_counts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(count) = text.parse::<ByteCount>() {
        let again = count.as_str().parse::<ByteCount>().expect("what we write, we read");
        assert_eq!(again.bytes(), count.bytes());
    }
}

/// A permission is the same after writing and reading, and implies itself.
pub fn permissions(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(permission) = text.parse::<Permission>() {
        assert_eq!(permission.to_string().parse::<Permission>().expect("what we write, we read"), permission);
        assert!(permission.implies(&permission));
        assert!(Permission::everything().implies(&permission));
    }
}

/// A head of the log, and a verb of an event, are the same after writing and reading.
pub fn log_heads(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(head) = text.parse::<Head>() {
        assert_eq!(head.to_string().parse(), Ok(head));
    }
    if let Ok(verb) = text.parse::<EventVerb>() {
        assert_eq!(verb.to_string().parse::<EventVerb>().expect("what we write, we read"), verb);
    }
}

/// A range that is asked for in order begins before it ends, and what the store grants of it lies inside the object and
/// is not empty.
pub fn ranges(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk::<8>() else { return };
    let size = u64::from_be_bytes(*size);
    let Ok(text) = std::str::from_utf8(header) else { return };
    let wanted = match RangeRequest::parse(text) {
        RangeRequest::Whole => return,
        RangeRequest::From { first, last: None } => ByteRange::From(first),
        RangeRequest::From { first, last: Some(last) } => {
            assert!(first <= last, "{text:?} was understood as {first} to {last}");
            ByteRange::Inclusive(first, last)
        }
        RangeRequest::Suffix { len } => ByteRange::Suffix(len),
    };
    if let Ok(range) = wanted.resolve(size) {
        assert!(range.start < range.end && range.end <= size, "{range:?} of {size}");
    }
}

/// Bytes that are a key are the only bytes of that key, and bytes sort as keys do.
pub fn row_keys(data: &[u8]) {
    check_key::<String>(data);
    check_key::<u64>(data);
    check_key::<(String, u64)>(data);
    check_key::<(String, String, u64)>(data);
}

fn check_key<K: Key + Ord>(data: &[u8]) {
    if let Ok(key) = K::decode(data) {
        assert_eq!(key.encode(), data, "two encodings of one key");
    }
    let (left, right) = data.split_at(data.len() / 2);
    if let (Ok(first), Ok(second)) = (K::decode(left), K::decode(right)) {
        assert_eq!(first.cmp(&second), left.cmp(right), "bytes do not sort as the keys do");
    }
}
