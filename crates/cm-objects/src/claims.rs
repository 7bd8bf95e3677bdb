//! Who is using what right now: shared claims by users, exclusive ones by the collector.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Shared and exclusive claims on keys, in memory. Clones share the same claims.
pub(crate) struct Claims<K>(Arc<Inner<K>>);

struct Inner<K> {
    // Invariant: a key is absent, shared by at least one, or seized by exactly one.
    claims: Mutex<HashMap<K, Claim>>,
    unseized: Condvar,
}

enum Claim {
    Shared(usize),
    Seized,
}

impl<K: Copy + Eq + Hash> Claims<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { claims: Mutex::new(HashMap::new()), unseized: Condvar::new() }))
    }

    /// Shares the key, waiting while it is seized. Blocks the thread: for blocking threads only.
    pub(crate) fn share(&self, key: K) -> Shared<K> {
        let mut claims = self.0.lock();
        while matches!(claims.get(&key), Some(Claim::Seized)) {
            claims = self.0.unseized.wait(claims).unwrap_or_else(PoisonError::into_inner);
        }
        self.enter(&mut claims, key)
    }

    /// Shares the key unless it is seized.
    pub(crate) fn try_share(&self, key: K) -> Option<Shared<K>> {
        let mut claims = self.0.lock();
        match claims.get(&key) {
            Some(Claim::Seized) => None,
            _ => Some(self.enter(&mut claims, key)),
        }
    }

    /// Whether somebody shares the key.
    pub(crate) fn is_shared(&self, key: K) -> bool {
        matches!(self.0.lock().get(&key), Some(Claim::Shared(_)))
    }

    /// Takes the key for oneself unless somebody claims it.
    pub(crate) fn seize(&self, key: K) -> Option<Seized<K>> {
        let mut claims = self.0.lock();
        if claims.contains_key(&key) {
            return None;
        }
        claims.insert(key, Claim::Seized);
        Some(Seized { claims: self.clone(), key })
    }

    fn enter(&self, claims: &mut HashMap<K, Claim>, key: K) -> Shared<K> {
        match claims.entry(key).or_insert(Claim::Shared(0)) {
            Claim::Shared(count) => *count += 1,
            Claim::Seized => unreachable!("the callers looked under the same lock"),
        }
        Shared { claims: self.clone(), key }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl<K> Inner<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Claims<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A shared claim; given up when dropped.
pub(crate) struct Shared<K: Copy + Eq + Hash> {
    claims: Claims<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Shared<K> {
    pub(crate) fn key(&self) -> K {
        self.key
    }
}

impl<K: Copy + Eq + Hash> Drop for Shared<K> {
    fn drop(&mut self) {
        let mut claims = self.claims.0.lock();
        if let Some(Claim::Shared(count)) = claims.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                claims.remove(&self.key);
            }
        }
    }
}

/// An exclusive claim; given up when dropped.
pub(crate) struct Seized<K: Copy + Eq + Hash> {
    claims: Claims<K>,
    key: K,
}

impl<K: Copy + Eq + Hash> Drop for Seized<K> {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.key);
        self.claims.0.unseized.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_exclude_each_other_and_end_with_their_guards() {
        let claims = Claims::new();
        let (first, second) = (claims.share(7), claims.try_share(7).unwrap());
        drop(first);
        assert!(claims.seize(7).is_none(), "seized although shared");
        drop(second);
        let seized = claims.seize(7).unwrap();
        assert!(claims.try_share(7).is_none() && claims.seize(7).is_none());
        assert!(claims.try_share(8).is_some(), "another key is affected");
        let waiting = std::thread::spawn({
            let claims = claims.clone();
            move || drop(claims.share(7))
        });
        drop(seized);
        waiting.join().unwrap();
        assert!(claims.is_empty());
    }
}
