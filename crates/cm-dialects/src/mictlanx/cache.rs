//! Small objects that were read a moment ago. What is here is served only as long as the index of objects says that it is still what is stored,
//! so nothing stale is ever seen; it saves reading and verifying chunks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cm_types::{BucketName, ObjectKey, TenantId};
use uuid::Uuid;

/// Bytes that are kept.
pub(super) const CAPACITY: u64 = 64 << 20;
/// The largest object that is kept, in bytes.
pub(super) const OBJECT_BYTES_MAX: u64 = 1 << 20;
/// What an entry costs beside its bytes.
const ENTRY_BYTES: u64 = 512;

/// Which object.
pub(super) type Place = (TenantId, BucketName, ObjectKey);

/// The cache: whatever was not asked for the longest goes first.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Place, Entry>,
    /// The places in the order in which they were asked for.
    order: BTreeMap<u64, Place>,
    clock: u64,
    used: u64,
}

#[derive(Debug)]
struct Entry {
    version: Uuid,
    bucket_id: String,
    bytes: Bytes,
    asked: u64,
}

impl State {
    fn remove(&mut self, place: &Place) {
        if let Some(entry) = self.entries.remove(place) {
            self.order.remove(&entry.asked);
            self.used -= entry.bytes.len() as u64 + ENTRY_BYTES;
        }
    }
}

impl Cache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of this version, if they are here.
    pub(super) fn get(&self, place: &Place, version: Uuid) -> Option<Bytes> {
        let mut state = self.state();
        let state = &mut *state;
        let entry = state.entries.get_mut(place)?;
        if entry.version != version {
            state.remove(place);
            return None;
        }
        state.order.remove(&entry.asked);
        state.clock += 1;
        entry.asked = state.clock;
        state.order.insert(entry.asked, place.clone());
        Some(entry.bytes.clone())
    }

    /// Keeps the bytes of a version, unless they are too many.
    pub(super) fn keep(&self, place: Place, version: Uuid, bucket_id: &str, bytes: Bytes) {
        if bytes.len() as u64 > OBJECT_BYTES_MAX {
            return;
        }
        let mut state = self.state();
        state.remove(&place);
        state.clock += 1;
        let asked = state.clock;
        state.used += bytes.len() as u64 + ENTRY_BYTES;
        state.order.insert(asked, place.clone());
        state.entries.insert(place, Entry { version, bucket_id: bucket_id.to_owned(), bytes, asked });
        while state.used > CAPACITY {
            let Some((_, oldest)) = state.order.first_key_value() else { return };
            let oldest = oldest.clone();
            state.remove(&oldest);
        }
    }

    /// Forgets an object.
    pub(super) fn forget(&self, place: &Place) {
        self.state().remove(place);
    }

    /// Forgets everything of a tenant.
    pub(super) fn reset(&self, tenant: &TenantId) {
        let mut state = self.state();
        let places: Vec<_> = state.entries.keys().filter(|(owner, _, _)| owner == tenant).cloned().collect();
        for place in &places {
            state.remove(place);
        }
    }

    /// What is here of a tenant: bucket ids and keys.
    pub(super) fn keys(&self, tenant: &TenantId) -> Vec<(BucketName, String, ObjectKey)> {
        let state = self.state();
        let own = state.entries.iter().filter(|((owner, _, _), _)| owner == tenant);
        let mut keys: Vec<_> = own
            .map(|((_, bucket, key), entry)| (bucket.clone(), entry.bucket_id.clone(), key.clone()))
            .collect();
        keys.sort();
        keys
    }

    /// How much of it is used, in bytes.
    pub(super) fn used(&self) -> u64 {
        self.state().used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(tenant: &str, key: usize) -> Place {
        let bucket = BucketName::parse("b").unwrap();
        (TenantId::parse(tenant).unwrap(), bucket, ObjectKey::parse(key.to_string()).unwrap())
    }

    #[test]
    fn only_the_stored_version_is_served_and_tenants_are_apart() {
        let cache = Cache::default();
        let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
        cache.keep(place("t", 1), old, "b", Bytes::from_static(b"old"));
        assert_eq!(cache.get(&place("t", 1), old), Some(Bytes::from_static(b"old")));
        assert_eq!(cache.get(&place("u", 1), old), None);
        assert_eq!(cache.get(&place("t", 1), new), None);
        assert_eq!((cache.get(&place("t", 1), old), cache.used()), (None, 0));
        cache.keep(place("t", 1), new, "b", Bytes::from_static(b"new"));
        cache.keep(place("u", 1), new, "b", Bytes::new());
        assert_eq!(cache.keys(&place("t", 1).0).len(), 1);
        cache.reset(&place("t", 1).0);
        assert_eq!((cache.keys(&place("t", 1).0).len(), cache.keys(&place("u", 1).0).len()), (0, 1));
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let cache = Cache::default();
        let (version, mib) = (Uuid::from_u128(1), Bytes::from(vec![0; OBJECT_BYTES_MAX as usize]));
        for key in 0..63 {
            cache.keep(place("t", key), version, "b", mib.clone());
        }
        assert!(cache.get(&place("t", 0), version).is_some());
        for key in 63..70 {
            cache.keep(place("t", key), version, "b", mib.clone());
        }
        assert!(cache.used() <= CAPACITY);
        assert!(cache.get(&place("t", 0), version).is_some() && cache.get(&place("t", 1), version).is_none());
        cache.keep(place("t", 99), version, "b", Bytes::from(vec![0; OBJECT_BYTES_MAX as usize + 1]));
        assert!(cache.get(&place("t", 99), version).is_none());
    }
}
