//! Measures in force: whose requests are refused, and who is vouched for.
//!
//! Measures are records ([`cm_catalog::kinds::Measure`]), which operators make and unmake. What they come to is kept in memory, since every
//! request is asked about: a change takes effect within a moment, on every node of a catalogue. Whoever administers the first tenant is
//! refused nothing, so that nobody locks out who could undo it.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cm_catalog::kinds::{Effect, Measure, Network};
use cm_catalog::{CatalogError, FieldError, Query, Record};
use cm_events::EventFilter;
use cm_policy::{List, Permit, RoleFacts, Subject, Target, decide};
use cm_types::{Labels, PageLimit, PrincipalId, ResourceKind, TenantId, Timestamp};

use crate::{Actor, Kernel, KernelError, OpContext};

/// How often is looked although nothing was heard of a change: times run out.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most measures of the operators that are kept in force, the oldest first, and most of all other tenants together. They have room of their own, so
/// that no tenant displaces what the operators decided.
const MEASURES_MAX: usize = 20_000;
/// Most measures of one other tenant that are kept in force.
const MEASURES_OF_TENANT_MAX: usize = 1000;
/// Most records of one other tenant that are looked at.
const LOOKED_AT_MAX: usize = 10 * MEASURES_OF_TENANT_MAX;

/// The measures that are in force.
#[derive(Debug, Default)]
pub(crate) struct Measures(RwLock<Arc<InForce>>);

#[derive(Debug, Default)]
struct InForce {
    /// Single addresses apart: they are many, and looked up in no time.
    addresses: std::collections::HashMap<IpAddr, Vec<(Effect, Option<Timestamp>)>>,
    networks: Vec<(Network, Effect, Option<Timestamp>)>,
    principals: Vec<(TenantId, PrincipalId, Effect, Option<Timestamp>)>,
}

impl InForce {
    fn of(measures: Vec<(TenantId, Measure)>) -> Self {
        let mut in_force = Self::default();
        for (tenant, measure) in measures {
            let Measure { source, principal, effect, until, reason: _ } = measure;
            if let Some(network) = source {
                let is_one = Network::of(network.address()) == network;
                if is_one {
                    in_force.addresses.entry(network.address()).or_default().push((effect, until));
                } else {
                    in_force.networks.push((network, effect, until));
                }
            }
            if let Some(principal) = principal {
                in_force.principals.push((tenant, principal, effect, until));
            }
        }
        in_force
    }

    /// What is done about an address. An exemption goes before everything else, a refusal before a challenge.
    fn about(&self, address: IpAddr, now: Timestamp) -> Option<Effect> {
        let address = address.to_canonical();
        let single = self.addresses.get(&address).into_iter().flatten().copied();
        let wide = self.networks.iter().filter(|(network, ..)| network.contains(address));
        let effects = single.chain(wide.map(|(_, effect, until)| (*effect, *until)));
        strongest(
            effects.filter(|(_, until)| until.is_none_or(|until| now < until)).map(|(effect, _)| effect),
        )
    }

    fn about_principal(&self, tenant: &TenantId, principal: &PrincipalId, now: Timestamp) -> Option<Effect> {
        let concerns = |(of, who, _, until): &&(TenantId, PrincipalId, Effect, Option<Timestamp>)| {
            of == tenant && who == principal && until.is_none_or(|until| now < until)
        };
        strongest(self.principals.iter().filter(concerns).map(|(_, _, effect, _)| *effect))
    }
}

/// Measures on their way into force.
#[derive(Default)]
struct Gathered {
    of_first: Vec<(TenantId, Measure)>,
    of_others: Vec<(TenantId, Measure)>,
}

impl Gathered {
    /// Takes what a tenant's records say, and whether there is room for more of that tenant. `taken` is how many of it were taken before.
    fn take(
        &mut self,
        tenant: &TenantId,
        measures: impl Iterator<Item = Measure>,
        taken: &mut usize,
    ) -> bool {
        let is_first = *tenant == TenantId::default_tenant();
        let (gathered, most) = match is_first {
            true => (&mut self.of_first, MEASURES_MAX),
            false => (&mut self.of_others, MEASURES_OF_TENANT_MAX),
        };
        // What concerns whole networks is for the operators of the node, not for tenants.
        for measure in measures.filter(|measure| is_first || measure.source.is_none()) {
            if *taken >= most || gathered.len() >= MEASURES_MAX {
                return false;
            }
            *taken += 1;
            gathered.push((tenant.clone(), measure));
        }
        true
    }

    fn into_all(self) -> Vec<(TenantId, Measure)> {
        let mut all = self.of_first;
        all.extend(self.of_others);
        all
    }
}

fn strongest(effects: impl Iterator<Item = Effect>) -> Option<Effect> {
    effects.min_by_key(|effect| match effect {
        Effect::Allow => 0,
        Effect::Deny => 1,
        Effect::Challenge => 2,
    })
}

impl Measures {
    fn current(&self) -> Arc<InForce> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kernel {
    /// Whether a request from an address by an actor is served, as far as measures say.
    ///
    /// # Errors
    /// [`KernelError::Refused`].
    pub fn admit(&self, source: Option<IpAddr>, actor: &Actor) -> Result<(), KernelError> {
        let in_force = self.measures().current();
        let now = self.now();
        let (facts, has_credential) = match actor {
            Actor::Anonymous => (None, false),
            Actor::Node(_) => (None, false),
            Actor::Principal(facts, _) => (Some(facts), true),
        };
        if let Some(facts) = facts {
            let administers = facts.roles.iter().any(RoleFacts::is_administrator);
            if administers && facts.tenant == TenantId::default_tenant() {
                return Ok(());
            }
            if in_force.about_principal(&facts.tenant, &facts.principal, now) == Some(Effect::Deny) {
                return Err(KernelError::Refused);
            }
        }
        self.admit_source(source, has_credential)
    }

    /// As [`Kernel::admit`], before it is known who asks: whether they show a credential at all.
    ///
    /// # Errors
    /// [`KernelError::Refused`].
    pub fn admit_source(&self, source: Option<IpAddr>, has_credential: bool) -> Result<(), KernelError> {
        let in_force = self.measures().current();
        match source.and_then(|source| in_force.about(source, self.now())) {
            Some(Effect::Deny) => Err(KernelError::Refused),
            Some(Effect::Challenge) if !has_credential => Err(KernelError::Refused),
            _ => Ok(()),
        }
    }

    /// Whether the operator vouches for an address.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.measures().current().about(address, self.now()) == Some(Effect::Allow)
    }

    /// Keeps measures in force, until the tasks are told to end.
    pub(crate) fn follow_measures(&self) {
        let kernel = self.clone();
        let token = self.tasks().token();
        let following = async move {
            let mut head = kernel.events().head();
            let mut after = *head.borrow_and_update();
            loop {
                let mut wait = LOOK_EVERY;
                if let Err(error) = kernel.look_at_measures().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "measures not read");
                    wait = LOOK_AGAIN;
                }
                let changed = kernel.measure_changed(&mut head, &mut after);
                // A closed log means that the node ends; the token says so.
                let _ = tokio::time::timeout(wait, changed).await;
            }
        };
        self.tasks().spawn("measures", async move {
            token.run_until_cancelled(following).await;
        });
    }

    /// Returns when an event tells of a measure; each event is looked at once.
    async fn measure_changed(&self, head: &mut tokio::sync::watch::Receiver<u64>, after: &mut u64) {
        let filter = EventFilter { verb_prefix: Some("measure.".to_owned()), ..EventFilter::default() };
        loop {
            // Before the log is read: what is appended meanwhile is behind it, and read next.
            let end = *head.borrow_and_update();
            let events = self.events().clone();
            let (from, wanted) = (*after, filter.clone());
            let read = self.db().read(move |tx| events.page(tx, from, PageLimit::clamped(1), &wanted)).await;
            match read {
                Ok(page) => {
                    let next = page.next.as_ref().and_then(|next| next.0.parse().ok());
                    let found = page.items.first().map(|event| event.seq);
                    *after = found.or(next).unwrap_or(end).max(*after);
                    if found.is_some() {
                        return;
                    }
                    if next.is_some() {
                        continue;
                    }
                }
                // Whoever waits looks again after a while; a database that is closed answers at once, each time.
                Err(_) => std::future::pending::<()>().await,
            }
            if head.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reads all measures of all tenants, and puts them in force.
    async fn look_at_measures(&self) -> Result<(), KernelError> {
        let mut gathered = Gathered::default();
        let op = OpContext::node(self.tasks().token());
        let tenants = self.authorize::<List>(&op, ResourceKind::Tenant).await?;
        for tenant in self.list_tenants(&tenants).await? {
            let permit = listing_of_measures(&tenant.id);
            let is_first = tenant.id == TenantId::default_tenant();
            let (mut after, mut taken, mut looked_at) = (None, 0, 0);
            loop {
                let query = Query { after, limit: PageLimit::MAX, ..Query::of(ResourceKind::Measure) };
                let page = self.list_records(&op, &permit, query).await?;
                looked_at += page.items.len();
                // What was stored was valid; a newer program's measure is that program's business.
                let measures = page.items.iter().filter_map(|record| record.spec.decode::<Measure>().ok());
                let has_room = gathered.take(&tenant.id, measures, &mut taken);
                after = page.next;
                if after.is_none() || !has_room || (!is_first && looked_at >= LOOKED_AT_MAX) {
                    break;
                }
            }
        }
        let in_force = Arc::new(InForce::of(gathered.into_all()));
        *self.measures().0.write().unwrap_or_else(PoisonError::into_inner) = in_force;
        Ok(())
    }
}

/// Refuses a measure about addresses of another tenant than the first, which would have no effect: whole networks are the business of
/// who operates the node.
pub(crate) fn demand_reach(record: &Record) -> Result<(), CatalogError> {
    let header = &record.header;
    if header.kind != ResourceKind::Measure || header.tenant == TenantId::default_tenant() {
        return Ok(());
    }
    match record.spec.decode::<Measure>() {
        Ok(Measure { source: Some(_), .. }) => {
            let message =
                format!("only measures of the tenant {} are about addresses", TenantId::default_tenant());
            Err(CatalogError::Invalid(vec![FieldError::form("spec.source", message)]))
        }
        _ => Ok(()),
    }
}

/// The node's own permit to list the measures of a tenant, decided as every other.
fn listing_of_measures(tenant: &TenantId) -> Permit<List> {
    let (node, labels, roles) = (PrincipalId::node(), Labels::new(), [RoleFacts::administrator()]);
    let kind = ResourceKind::Measure;
    let target = Target { kind, id: None, tenant, owner: None, labels: &labels, guard: None };
    decide::<List>(&Subject::principal(&node, tenant, &roles), &target)
        .expect("an administrator may list measures in its own tenant")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn in_force(specs: &[serde_json::Value]) -> InForce {
        let mut in_force = InForce::default();
        for spec in specs {
            let measure: Measure = serde_json::from_value(spec.clone()).unwrap();
            match measure.source {
                Some(network) if Network::of(network.address()) == network => {
                    let entry = in_force.addresses.entry(network.address()).or_default();
                    entry.push((measure.effect, measure.until));
                }
                Some(network) => in_force.networks.push((network, measure.effect, measure.until)),
                None => {}
            }
        }
        in_force
    }

    fn measures(count: usize, spec: serde_json::Value) -> impl Iterator<Item = Measure> {
        std::iter::repeat_n(serde_json::from_value(spec).unwrap(), count)
    }

    #[test]
    fn no_tenant_displaces_what_others_decided() {
        let (first, loud) = (TenantId::default_tenant(), TenantId::parse("loud").unwrap());
        let quiet = TenantId::parse("quiet").unwrap();
        let of_principal = || json!({"principal": "bob", "effect": "deny"});
        let mut gathered = Gathered::default();
        let mut taken = 0;
        let sources = measures(2 * MEASURES_MAX, json!({"source": "198.51.100.7", "effect": "allow"}));
        assert!(gathered.take(&loud, sources, &mut taken), "what has no effect takes no room");
        assert!(!gathered.take(&loud, measures(2 * MEASURES_MAX, of_principal()), &mut taken));
        assert_eq!((taken, gathered.of_others.len()), (MEASURES_OF_TENANT_MAX, MEASURES_OF_TENANT_MAX));
        assert!(gathered.take(&quiet, measures(1, of_principal()), &mut 0));
        let operators = measures(MEASURES_MAX, json!({"source": "198.51.100.7", "effect": "deny"}));
        assert!(gathered.take(&first, operators, &mut 0));
        let in_force = InForce::of(gathered.into_all());
        let now = Timestamp::from_micros(0);
        assert_eq!(in_force.about("198.51.100.7".parse().unwrap(), now), Some(Effect::Deny));
        let bob = PrincipalId::parse("bob").unwrap();
        assert_eq!(in_force.about_principal(&quiet, &bob, now), Some(Effect::Deny));
    }

    #[test]
    fn exemptions_go_before_refusals_and_refusals_before_challenges() {
        let in_force = in_force(&[
            json!({"source": "198.51.100.0/24", "effect": "deny"}),
            json!({"source": "198.51.100.7", "effect": "allow"}),
            json!({"source": "198.51.0.0/16", "effect": "challenge"}),
            json!({"source": "203.0.113.9", "effect": "deny", "until": "2026-01-01T00:00:00Z"}),
        ]);
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let about = |address: &str| in_force.about(address.parse().unwrap(), now);
        assert_eq!(about("198.51.100.7"), Some(Effect::Allow));
        assert_eq!(about("::ffff:198.51.100.8"), Some(Effect::Deny));
        assert_eq!(about("198.51.7.7"), Some(Effect::Challenge));
        assert_eq!(about("203.0.113.9"), None, "its time has run out");
    }
}
