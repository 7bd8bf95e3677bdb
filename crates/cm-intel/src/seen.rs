//! What came lately, so that most of what comes again costs a digest and no signature.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use cm_crypto::digest;

/// Payloads that are remembered in each of two generations, 16 bytes each.
const GENERATION_LEN: usize = 131_072;

/// A memory of payloads that is never larger than two generations.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    new: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
}

/// Names a payload in the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trace([u8; 16]);

impl Trace {
    /// Of these very bytes: a flag or a space more makes another one, which then costs a signature and is found out.
    pub(crate) fn of(payload: &str) -> Self {
        let digest = digest::sha256(payload.as_bytes());
        let (head, _) = digest.as_bytes().split_first_chunk::<16>().expect("a digest has 32 bytes");
        Self(*head)
    }
}

impl Seen {
    /// Remembers a payload; whether it was new.
    pub(crate) fn enter(&self, trace: Trace) -> bool {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.old.contains(&trace.0) || !generations.new.insert(trace.0) {
            return false;
        }
        if generations.new.len() >= GENERATION_LEN {
            generations.old = std::mem::take(&mut generations.new);
        }
        true
    }

    /// Forgets a payload that was not looked at after all.
    pub(crate) fn forget(&self, trace: Trace) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.new.remove(&trace.0);
        generations.old.remove(&trace.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_new_once_and_the_memory_is_bounded() {
        let seen = Seen::default();
        assert!(seen.enter(Trace::of("a")));
        assert!(!seen.enter(Trace::of("a")));
        assert!(seen.enter(Trace::of("a ")));
        seen.forget(Trace::of("a"));
        assert!(seen.enter(Trace::of("a")));
        for number in 0..3 * GENERATION_LEN {
            seen.enter(Trace::of(&number.to_string()));
        }
        let generations = seen.0.lock().unwrap();
        assert!(generations.new.len() + generations.old.len() <= 2 * GENERATION_LEN);
    }
}
