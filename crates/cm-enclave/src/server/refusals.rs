//! What matters for security, on its way to the launcher: what was refused, and keys that were handed over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_instance::control::{FromInstance, KeyProvided};
use cm_instance::{GuestPath, RefusalKind, Refused};
use cm_types::Sha256Digest;

/// The least time between two that are told of the same kind and identity. What happens in between is counted.
const INTERVAL: Duration = Duration::from_secs(1);

/// Told about it; must not wait. Called from several threads.
pub(crate) type Tell = dyn Fn(FromInstance) + Send + Sync;

/// Tells of refusals, of few of each kind, and of keys.
pub(crate) struct Refusals {
    tell: Box<Tell>,
    /// What was told when, and how often the same happened since. There are no more entries than kinds for each identity.
    told: Mutex<HashMap<(RefusalKind, Option<u64>), Told>>,
}

struct Told {
    at: Instant,
    since: u64,
}

impl Refusals {
    /// Tells somebody.
    pub(crate) fn new(tell: Box<Tell>) -> Self {
        Self { tell, told: Mutex::default() }
    }

    /// Something was refused to somebody who has not proved to be anybody.
    pub(crate) fn stranger(&self, kind: RefusalKind, peer: IpAddr) {
        self.note(Refused { kind, identity: None, file: None, peer: Some(peer), count: 1 }, Instant::now());
    }

    /// Something was refused to an identity of the policy.
    pub(crate) fn identity(&self, kind: RefusalKind, identity: u64, file: Option<GuestPath>) {
        self.note(Refused { kind, identity: Some(identity), file, peer: None, count: 1 }, Instant::now());
    }

    /// An identity handed over the key of a sealed file.
    pub(crate) fn key_provided(&self, identity: u64, file: Option<GuestPath>, sealed_header: Sha256Digest) {
        (self.tell)(FromInstance::KeyProvided(KeyProvided { identity, file, sealed_header }));
    }

    fn note(&self, refused: Refused, now: Instant) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get_mut(&(refused.kind, refused.identity));
        let untold = match last {
            Some(last) if now.saturating_duration_since(last.at) < INTERVAL => {
                last.since += 1;
                return;
            }
            Some(last) => last.since,
            None => 0,
        };
        told.insert((refused.kind, refused.identity), Told { at: now, since: 0 });
        drop(told);
        (self.tell)(FromInstance::Refused(Refused { count: untold + 1, ..refused }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_kind_is_told_at_once_and_then_once_a_second_with_its_count() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let refusals = Refusals::new({
            let told = told.clone();
            Box::new(move |message| {
                let FromInstance::Refused(refused) = message else { panic!("{message:?}") };
                told.lock().unwrap().push((refused.kind, refused.identity, refused.count))
            })
        });
        let start = Instant::now();
        let note = |kind, identity, now| {
            refusals.note(Refused { kind, identity, file: None, peer: None, count: 1 }, now);
        };
        for _ in 0..1000 {
            note(RefusalKind::Right, Some(1), start);
        }
        note(RefusalKind::Right, Some(2), start);
        note(RefusalKind::Hash, Some(1), start);
        note(RefusalKind::Right, Some(1), start + INTERVAL);
        let expected = [
            (RefusalKind::Right, Some(1), 1),
            (RefusalKind::Right, Some(2), 1),
            (RefusalKind::Hash, Some(1), 1),
            (RefusalKind::Right, Some(1), 1000),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
