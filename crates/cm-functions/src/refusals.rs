//! What instances refused, and the keys that they were given, in the log.

use std::time::{Duration, Instant};

use cm_instance::Refused;
use cm_instance::control::KeyProvided;
use cm_kernel::events::{EventVerb, NewEvent, Outcome};
use cm_types::{ResourceKind, ResourceRef};
use serde_json::{Map, Value};

use crate::watch::Subject;

/// Most refusals of one instance that are written down at once. An instance tells of few; one that was taken over could
/// tell of as many as it likes, and the log must be no weapon.
const BURST: u32 = 32;
/// How long it takes until another may be.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many more refusals of an instance may be written down.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    since: Instant,
    /// How many could not be, since the last that could.
    dropped: u64,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, dropped: 0 }
    }

    /// Takes one: how many were dropped before it. `None` if it has to be dropped too.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_secs() / INTERVAL.as_secs();
        if earned > 0 {
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.since = now;
        }
        if self.left == 0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

impl Subject {
    /// Writes down what the instance refused.
    pub(crate) async fn note(&self, refused: &Refused, allowance: &mut Allowance) {
        let kernel = &self.functions.0.kernel;
        let Some(dropped) = allowance.take(kernel.clock().monotonic()) else { return };
        self.write_down("instance.refused", Outcome::Denied, facts(refused, dropped)).await;
    }

    /// Writes down that the instance was given a key: by whom and for what, and nothing of the key.
    pub(crate) async fn note_key(&self, provided: &KeyProvided, allowance: &mut Allowance) {
        let kernel = &self.functions.0.kernel;
        let Some(dropped) = allowance.take(kernel.clock().monotonic()) else { return };
        let mut facts = Map::new();
        facts.insert("identity".to_owned(), provided.identity.into());
        facts.insert("sealed_header".to_owned(), provided.sealed_header.to_string().into());
        if let Some(file) = &provided.file {
            facts.insert("file".to_owned(), file.as_str().into());
        }
        if dropped > 0 {
            facts.insert("dropped".to_owned(), dropped.into());
        }
        self.write_down("instance.key-provided", Outcome::Allowed, facts).await;
    }

    async fn write_down(&self, verb: &'static str, outcome: Outcome, facts: Map<String, Value>) {
        let (tenant, instance) = &self.name;
        let event = NewEvent {
            resource: Some(ResourceRef::new(ResourceKind::Instance, instance.as_str())),
            outcome,
            facts,
            ..NewEvent::new(tenant.clone(), EventVerb::fixed(verb))
        };
        if let Err(error) = self.functions.0.kernel.record_event(event).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%instance, verb, error, "what an instance told is not recorded");
        }
    }
}

fn facts(refused: &Refused, dropped: u64) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("kind".to_owned(), refused.kind.as_str().into());
    facts.insert("count".to_owned(), refused.count.into());
    if let Some(identity) = refused.identity {
        facts.insert("identity".to_owned(), identity.into());
    }
    if let Some(file) = &refused.file {
        facts.insert("file".to_owned(), file.as_str().into());
    }
    if let Some(peer) = refused.peer {
        facts.insert("peer".to_owned(), peer.to_string().into());
    }
    if dropped > 0 {
        facts.insert("dropped".to_owned(), dropped.into());
    }
    facts
}

#[cfg(test)]
mod tests {
    use cm_instance::RefusalKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_that_tells_of_everything_fills_no_log() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = (0..1000).filter(|_| allowance.take(start).is_some()).count();
        assert_eq!(taken, BURST as usize);
        let later = start + INTERVAL;
        assert_eq!(allowance.take(later), Some(1000 - u64::from(BURST)));
        assert_eq!(allowance.take(later), None);
        let much_later = start + INTERVAL * 10_000;
        let taken = (0..1000).filter(|_| allowance.take(much_later).is_some()).count();
        assert_eq!(taken, BURST as usize);
    }

    #[test]
    fn an_event_says_who_tried_what_as_far_as_it_is_known() {
        let refused = Refused {
            kind: RefusalKind::UnknownCertificate,
            identity: None,
            file: None,
            peer: Some("192.0.2.1".parse().unwrap()),
            count: 3,
        };
        let expected = json!({ "kind": "unknown-certificate", "count": 3, "peer": "192.0.2.1" });
        assert_eq!(Value::Object(facts(&refused, 0)), expected);
    }
}
