//! Keeps refused credentials from flooding the log: one record a second for the same source and problem, with how many there
//! were since the last.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_events::{EventVerb, NewEvent, Outcome};
use cm_identity::{CredentialProblem, Source};
use cm_types::{RequestId, TenantId};

use crate::Kernel;

/// The least time between two records of the same refusal.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most refusals that are remembered; beyond it, those whose interval has passed are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// When each refusal was last recorded, and how many were not since.
#[derive(Default)]
pub(crate) struct RefusedCredentials(Mutex<HashMap<(Source, CredentialProblem), (Instant, u64)>>);

impl RefusedCredentials {
    /// How many refusals a record about this one stands for; `None` if it is not to be recorded now.
    fn count(&self, source: &Source, problem: CredentialProblem, now: Instant) -> Option<u64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = (source.clone(), problem);
        if let Some((at, unrecorded)) = last.get_mut(&refusal) {
            if now.saturating_duration_since(*at) < INTERVAL {
                *unrecorded += 1;
                return None;
            }
            let count = *unrecorded + 1;
            (*at, *unrecorded) = (now, 0);
            return Some(count);
        }
        if last.len() >= REMEMBERED_MAX {
            last.retain(|_, (at, _)| now.saturating_duration_since(*at) < INTERVAL);
        }
        // So many within a second are a flood from everywhere: what cannot be counted is not recorded either.
        if last.len() >= REMEMBERED_MAX {
            return None;
        }
        last.insert(refusal, (now, 0));
        Some(1)
    }
}

impl Kernel {
    /// Records that a credential was refused, `credential.refused`. What the caller is told does not depend on whether that
    /// succeeds.
    pub(crate) async fn credential_refused(
        &self,
        tenant: &TenantId,
        problem: CredentialProblem,
        source: &Source,
        request: &RequestId,
    ) {
        let Some(count) = self.refused_credentials().count(source, problem, self.clock().monotonic()) else {
            return;
        };
        let mut event = NewEvent::new(tenant.clone(), EventVerb::fixed("credential.refused"));
        event.request = Some(request.clone());
        event.outcome = Outcome::Denied;
        event.facts.insert("problem".to_owned(), problem.to_string().into());
        event.facts.insert("source".to_owned(), source.as_str().into());
        event.facts.insert("count".to_owned(), count.into());
        if let Err(error) = self.record_event(event).await {
            tracing::error!(error = &error as &dyn std::error::Error, "refused credential not recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_recorded_once_a_second() {
        let refused = RefusedCredentials::default();
        let (here, there) = (Source::of([192, 0, 2, 1].into()), Source::of([192, 0, 2, 2].into()));
        let now = Instant::now();
        let count = |source: &Source, problem, now| refused.count(source, problem, now);
        assert_eq!(count(&here, CredentialProblem::Expired, now), Some(1));
        assert_eq!(count(&here, CredentialProblem::Expired, now), None);
        assert_eq!(count(&here, CredentialProblem::Expired, now), None);
        assert_eq!(count(&here, CredentialProblem::NotOurs, now), Some(1), "another problem");
        assert_eq!(count(&there, CredentialProblem::Expired, now), Some(1), "another source");
        assert_eq!(count(&here, CredentialProblem::Expired, now + INTERVAL), Some(3));
        let many = (0..5000u32).filter(|at| {
            let source = Source::of(std::net::Ipv4Addr::from(0x0a00_0000 | at).into());
            count(&source, CredentialProblem::Expired, now + INTERVAL).is_some()
        });
        assert!(many.count() <= REMEMBERED_MAX, "a flood from everywhere is bounded");
    }
}
