//! What happens to the node itself, as threats: guessed passwords, refused credentials, callers who try what they may not.
//!
//! Read from the kernel's log, where every part of the node writes what it refuses. What comes often becomes one event: somebody who
//! guesses a thousand passwords is one threat, and peers are not flooded by what floods us.

use std::collections::HashMap;
use std::time::Duration;

use cm_kernel::events::{Event, Outcome};
use cm_types::Timestamp;

use crate::{NewThreat, Tlp};

/// How often within which time somebody has to be refused to be reported.
const TIMES: u32 = 5;
const WITHIN: Duration = Duration::from_secs(600);
/// For how long the same is not reported again.
const SILENT_FOR: Duration = Duration::from_secs(3600);
/// Sources that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Reports in an hour at most.
const REPORTS_PER_HOUR: u32 = 200;

/// What is remembered of who was refused what.
#[derive(Debug, Default)]
pub(crate) struct OwnEvents {
    seen: HashMap<(String, &'static str), Seen>,
    hour: Option<Timestamp>,
    reports: u32,
}

#[derive(Debug)]
struct Seen {
    since: Timestamp,
    times: u32,
    silent_until: Option<Timestamp>,
}

/// What an event of the log is as a threat: type, gravity, and after how many times.
fn meaning(event: &Event) -> Option<(&'static str, &'static str, u32)> {
    if event.outcome != Outcome::Denied {
        return None;
    }
    match event.verb.as_str() {
        "login.failed" => Some(("password guessing", "medium", TIMES)),
        "principal.locked" => Some(("password guessing", "high", 1)),
        "credential.refused" => Some(("credential guessing", "medium", TIMES)),
        "computation.login-refused" => Some(("password guessing at a computation", "medium", TIMES)),
        "attestation.refused" | "instance.refused" => Some(("failed attestation", "high", TIMES)),
        "network.node-refused" => Some(("intrusion into a network of nodes", "high", 1)),
        _ => None,
    }
}

impl OwnEvents {
    /// What to report, now that this happened.
    pub(crate) fn see(&mut self, event: &Event) -> Option<NewThreat> {
        let (what, severity, times) = meaning(event)?;
        let source = event.facts.get("source").and_then(serde_json::Value::as_str)?;
        // Only addresses: who is within the node, or unknown, is nobody whom peers could look out for.
        let address: std::net::IpAddr = source.parse().ok()?;
        if address.to_canonical().is_loopback() {
            return None;
        }
        let count = event.facts.get("count").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.seen.len() >= REMEMBERED_MAX {
            self.seen.retain(|_, seen| event.at.since(seen.since) < WITHIN);
            if self.seen.len() >= REMEMBERED_MAX {
                return None;
            }
        }
        let new = || Seen { since: event.at, times: 0, silent_until: None };
        let seen = self.seen.entry((address.to_string(), what)).or_insert_with(new);
        if event.at.since(seen.since) >= WITHIN {
            (seen.since, seen.times) = (event.at, 0);
        }
        seen.times = seen.times.saturating_add(count);
        let silent = seen.silent_until.is_some_and(|until| event.at < until);
        if seen.times < times || silent || !within(&mut self.hour, &mut self.reports, event.at) {
            return None;
        }
        seen.silent_until = Some(event.at.after(SILENT_FOR));
        Some(NewThreat {
            source_ip: address.to_string(),
            threat_type: what.to_owned(),
            severity: severity.to_owned(),
            tlp: Tlp::Green,
        })
    }
}

/// Whether there is room for one more report in this hour.
fn within(hour: &mut Option<Timestamp>, reports: &mut u32, at: Timestamp) -> bool {
    if hour.is_none_or(|begun| at.since(begun) >= Duration::from_secs(3600)) {
        (*hour, *reports) = (Some(at), 0);
    }
    *reports += 1;
    *reports <= REPORTS_PER_HOUR
}

#[cfg(test)]
mod tests {
    use cm_kernel::events::EventVerb;
    use cm_types::TenantId;
    use serde_json::json;

    use super::*;

    fn event(verb: &'static str, source: &str, second: u64) -> Event {
        let serde_json::Value::Object(facts) = json!({ "source": source }) else { panic!("an object") };
        Event {
            seq: 1,
            at: Timestamp::from_micros(0).after(Duration::from_secs(second)),
            tenant: TenantId::default_tenant(),
            actor: None,
            verb: EventVerb::fixed(verb),
            resource: None,
            request: None,
            outcome: Outcome::Denied,
            facts,
        }
    }

    #[test]
    fn who_guesses_often_is_reported_once() {
        let mut own = OwnEvents::default();
        let times: Vec<bool> = (0..100)
            .map(|second| own.see(&event("login.failed", "198.51.100.7", second)).is_some())
            .collect();
        assert_eq!(times.iter().filter(|reported| **reported).count(), 1);
        assert!(times[4], "at the fifth time");
        assert!(own.see(&event("login.failed", "198.51.100.8", 200)).is_none(), "somebody else");
        let later =
            (4000..4010).filter(|second| own.see(&event("login.failed", "198.51.100.7", *second)).is_some());
        assert_eq!(later.count(), 1, "and again when it goes on");
    }

    #[test]
    fn who_is_slow_or_within_is_not() {
        let mut own = OwnEvents::default();
        assert!((0..50).all(|at| own.see(&event("login.failed", "198.51.100.7", at * 599)).is_none()));
        for source in ["127.0.0.1", "::1", "inside", ""] {
            assert!((0..50).all(|at| own.see(&event("principal.locked", source, at)).is_none()), "{source}");
        }
        let allowed = Event { outcome: Outcome::Allowed, ..event("principal.locked", "198.51.100.7", 1) };
        assert!(own.see(&allowed).is_none());
    }

    #[test]
    fn reports_are_bounded_whoever_comes() {
        let mut own = OwnEvents::default();
        let reported = (0..5000u32).filter(|at| {
            let source = format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255);
            own.see(&event("principal.locked", &source, 5)).is_some()
        });
        assert_eq!(reported.count() as u32, REPORTS_PER_HOUR);
    }
}
