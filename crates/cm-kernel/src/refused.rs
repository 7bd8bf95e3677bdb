//! Keeps refused credentials from flooding the log: one record a second for the same tenant, source and problem, with how many there
//! were since the last.
//!
//! Every refusal is counted in a record: what was not recorded at once is within about a second, or when the node stops. So many
//! different ones that they cannot be told apart are counted together, by their problem.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_events::{EventVerb, NewEvent, Outcome};
use cm_identity::{CredentialProblem, Source};
use cm_types::{RequestId, TenantId};
use tokio::sync::Notify;

use crate::{Kernel, KernelError};

/// The least time between two records of the same refusal, and how often is looked for what is not recorded yet.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most refusals that are told apart.
const REMEMBERED_MAX: usize = 4096;
/// What stands for the source of refusals that are counted together.
const MANY_SOURCES: &str = "many";

/// What is refused, as records tell it apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refusal {
    tenant: TenantId,
    /// `None` for those that are counted together.
    source: Option<Source>,
    problem: CredentialProblem,
}

/// What is to be recorded: a refusal and how often it happened.
type Counted = (Refusal, u64);

/// When each refusal was last recorded, and how many were not since.
#[derive(Default)]
pub(crate) struct RefusedCredentials {
    last: Mutex<HashMap<Refusal, (Instant, u64)>>,
    /// Told when something waits to be recorded.
    waiting: Notify,
}

impl RefusedCredentials {
    /// How many refusals a record about this one stands for; `None` if it is to be recorded later.
    fn count(&self, refusal: &Refusal, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.contains_key(refusal) && last.len() >= REMEMBERED_MAX {
            last.retain(|_, (at, waiting)| *waiting > 0 || now.saturating_duration_since(*at) < INTERVAL);
        }
        let refusal = match last.contains_key(refusal) || last.len() < REMEMBERED_MAX {
            true => refusal.clone(),
            // So many within a second are a flood from everywhere. There are few problems, so that these have room besides.
            false => Refusal { tenant: TenantId::default_tenant(), source: None, problem: refusal.problem },
        };
        let Some((at, waiting)) = last.get_mut(&refusal) else {
            last.insert(refusal, (now, 0));
            return Some(1);
        };
        *waiting += 1;
        if now.saturating_duration_since(*at) < INTERVAL {
            self.waiting.notify_one();
            return None;
        }
        *at = now;
        Some(std::mem::take(waiting))
    }

    /// Takes what waits and was last recorded by then; says whether something goes on waiting.
    fn take(&self, by: Option<Instant>) -> (Vec<Counted>, bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for (refusal, (at, waiting)) in last.iter_mut().filter(|(_, (_, waiting))| *waiting > 0) {
            if by.is_none_or(|now| now.saturating_duration_since(*at) >= INTERVAL) {
                taken.push((refusal.clone(), std::mem::take(waiting)));
                *at = by.unwrap_or(*at);
            }
        }
        let goes_on = last.values().any(|(_, waiting)| *waiting > 0);
        (taken, goes_on)
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
        let tenant = self.tenant_to_tell(tenant).await;
        let refusal = Refusal { tenant, source: Some(source.clone()), problem };
        if let Some(count) = self.refused_credentials().count(&refusal, self.clock().monotonic()) {
            let recorded = self.record_refusal((refusal, count), Some(request.clone())).await;
            tell(recorded);
        }
    }

    /// Whom a refusal is told. Strangers name any tenant, and must not get a record for each that is not there.
    async fn tenant_to_tell(&self, named: &TenantId) -> TenantId {
        let first = TenantId::default_tenant();
        match *named != first && matches!(self.tenant(named).await, Ok(Some(_))) {
            true => named.clone(),
            false => first,
        }
    }

    /// Records what waits to be, until the tasks are told to end.
    pub(crate) fn follow_refusals(&self) {
        let kernel = self.clone();
        let token = self.tasks().token();
        let following = async move {
            loop {
                kernel.refused_credentials().waiting.notified().await;
                let mut goes_on = true;
                while goes_on {
                    tokio::time::sleep(INTERVAL).await;
                    goes_on = kernel.record_refusals(Some(kernel.clock().monotonic())).await;
                }
            }
        };
        self.tasks().spawn("refused-credentials", async move {
            token.run_until_cancelled(following).await;
        });
    }

    /// Records what waits and was last recorded long enough before then, or all of it; says whether something goes on waiting.
    pub(crate) async fn record_refusals(&self, by: Option<Instant>) -> bool {
        let (taken, goes_on) = self.refused_credentials().take(by);
        for counted in taken {
            tell(self.record_refusal(counted, None).await);
        }
        goes_on
    }

    async fn record_refusal(
        &self,
        (refusal, count): Counted,
        request: Option<RequestId>,
    ) -> Result<u64, KernelError> {
        let Refusal { tenant, source, problem } = refusal;
        let mut event = NewEvent::new(tenant, EventVerb::fixed("credential.refused"));
        event.request = request;
        event.outcome = Outcome::Denied;
        event.facts.insert("problem".to_owned(), problem.to_string().into());
        let source = source.as_ref().map_or(MANY_SOURCES, Source::as_str);
        event.facts.insert("source".to_owned(), source.into());
        event.facts.insert("count".to_owned(), count.into());
        self.record_event(event).await
    }
}

fn tell(recorded: Result<u64, KernelError>) {
    if let Err(error) = recorded {
        tracing::error!(error = &error as &dyn std::error::Error, "refused credential not recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(tenant: &str, address: u32, problem: CredentialProblem) -> Refusal {
        let source = Some(Source::of(std::net::Ipv4Addr::from(address).into()));
        Refusal { tenant: TenantId::parse(tenant).unwrap(), source, problem }
    }

    #[test]
    fn a_flood_is_counted_and_recorded_once_a_second() {
        let refused = RefusedCredentials::default();
        let here = refusal("default", 1, CredentialProblem::Expired);
        let now = Instant::now();
        assert_eq!(refused.count(&here, now), Some(1));
        assert_eq!(refused.count(&here, now), None);
        assert_eq!(refused.count(&here, now), None);
        for other in [
            refusal("default", 1, CredentialProblem::NotOurs),
            refusal("default", 2, CredentialProblem::Expired),
            refusal("acme", 1, CredentialProblem::Expired),
        ] {
            assert_eq!(refused.count(&other, now), Some(1), "{other:?}");
        }
        assert_eq!(refused.count(&here, now + INTERVAL), Some(3));
    }

    #[test]
    fn what_waits_is_recorded_though_it_does_not_happen_again() {
        let refused = RefusedCredentials::default();
        let here = refusal("default", 1, CredentialProblem::Expired);
        let now = Instant::now();
        let counts: Vec<_> = (0..4).map(|_| refused.count(&here, now)).collect();
        assert_eq!(counts, [Some(1), None, None, None]);
        assert_eq!(refused.take(Some(now)), (Vec::new(), true), "too soon");
        assert_eq!(refused.take(Some(now + INTERVAL)), (vec![(here.clone(), 3)], false));
        assert_eq!(refused.count(&here, now + INTERVAL), None, "it was recorded just now");
        assert_eq!(refused.take(None), (vec![(here, 1)], false), "nothing is left at the end");
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_and_every_refusal_counted() {
        let refused = RefusedCredentials::default();
        let now = Instant::now();
        let all = 2 * REMEMBERED_MAX as u32;
        let flood = (0..all).map(|at| refusal("default", at, CredentialProblem::Expired));
        let recorded: Vec<u64> = flood.filter_map(|refusal| refused.count(&refusal, now)).collect();
        assert!(recorded.len() <= REMEMBERED_MAX + 1, "{}", recorded.len());
        let (rest, _) = refused.take(None);
        let counted: u64 = recorded.iter().sum::<u64>() + rest.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(counted, u64::from(all));
    }
}
