//! The events that identities leave behind.

use cm_db::WriteTx;
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_types::{PrincipalId, RequestId, ResourceKind, ResourceRef, TenantId};
use serde_json::{Map, Value};

use crate::{Identity, IdentityError};

/// One event about a principal.
pub(crate) struct Entry<'a> {
    pub(crate) verb: &'static str,
    pub(crate) tenant: &'a TenantId,
    pub(crate) actor: Option<&'a PrincipalId>,
    pub(crate) about: &'a PrincipalId,
    pub(crate) request: Option<&'a RequestId>,
    pub(crate) outcome: Outcome,
    pub(crate) facts: Vec<(&'static str, Value)>,
}

impl<'a> Entry<'a> {
    /// Something that was done.
    pub(crate) fn done(
        verb: &'static str,
        tenant: &'a TenantId,
        actor: Option<&'a PrincipalId>,
        about: &'a PrincipalId,
        request: Option<&'a RequestId>,
    ) -> Self {
        Self { verb, tenant, actor, about, request, outcome: Outcome::Allowed, facts: Vec::new() }
    }

    /// With a fact; never a secret.
    pub(crate) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }
}

impl Identity {
    /// Appends the event to the transaction of what it tells about.
    pub(crate) fn record(&self, tx: &mut WriteTx<'_>, entry: Entry<'_>) -> Result<(), IdentityError> {
        let facts: Map<String, Value> =
            entry.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let event = NewEvent {
            tenant: entry.tenant.clone(),
            actor: entry.actor.cloned(),
            verb: EventVerb::fixed(entry.verb),
            resource: Some(ResourceRef::new(ResourceKind::Principal, entry.about.as_str())),
            request: entry.request.cloned(),
            outcome: entry.outcome,
            facts,
        };
        self.events().append(tx, event)?;
        Ok(())
    }
}
