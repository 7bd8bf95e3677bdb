//! What happens to the records of a kind, as it happens.

use cm_catalog::catalog::GUARDED;
use cm_catalog::{Query, Record, guard};
use cm_events::EventFilter;
use cm_policy::{List, Permit, Read, RoleFacts, Target, decide};
use cm_types::{Labels, PageLimit, ResourceId, ResourceRef};

use crate::records::target_of;
use crate::{Kernel, KernelError, OpContext};

/// Something that happened to a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordChange {
    /// The number of its event.
    pub seq: u64,
    /// What happened.
    pub what: Happened,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// It was created; the record as it is now.
    Created(Box<Record>),
    /// It was changed; the record as it is now.
    Changed(Box<Record>),
    /// It was deleted.
    Deleted(ResourceId),
}

/// A part of what happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// What happened, in order.
    pub items: Vec<RecordChange>,
    /// Everything up to this event was looked at.
    pub seen: u64,
}

impl Kernel {
    /// What happened after an event to the records that the query selects and the actor may read. Order and limit of
    /// the query do not matter; its kind must be that of the permit.
    ///
    /// A record that was deleted is named to those who may read every record of the kind and, if it had a security policy,
    /// to administrators alone: nothing is left to decide about anybody else by. A record that a change takes out of
    /// the query, or out of the actor's sight, is not told of. What was created or changed and is gone meanwhile is left out: its deletion follows. States and
    /// results that go along with what they belong to are not named one by one.
    pub async fn record_changes(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        query: &Query,
        after: u64,
        limit: PageLimit,
    ) -> Result<Changes, KernelError> {
        let (events, catalog) = (self.events().clone(), self.catalog().clone());
        let (op, tenant, query) = (op.at(self.now()).into_owned(), permit.tenant().clone(), query.clone());
        let committed = *self.events().head().borrow();
        let of_kind = EventFilter { verb_prefix: Some(format!("{}.", query.kind)), ..EventFilter::default() };
        let own = self.own_events(permit, of_kind);
        self.db()
            .read(move |tx| {
                let page = events.page(tx, after, limit, &own(tx)?)?;
                let last = page.items.last().map_or(after, |event| event.seq);
                let next = page.next.and_then(|cursor| cursor.0.parse().ok());
                let mut changes = Changes { items: Vec::new(), seen: next.unwrap_or(committed).max(last) };
                for event in page.items {
                    let Some(ResourceRef { id, .. }) = event.resource else { continue };
                    let Ok(id) = ResourceId::parse(id) else { continue };
                    let what = if event.verb.as_str().ends_with(".deleted") {
                        let bare = Target {
                            kind: query.kind,
                            id: Some(id.as_str()),
                            tenant: &tenant,
                            owner: None,
                            labels: &Labels::new(),
                            guard: None,
                        };
                        let guarded = event.facts.get(GUARDED) == Some(&true.into());
                        let administers = op.subject().roles.iter().any(RoleFacts::is_administrator);
                        if decide::<Read>(&op.subject(), &bare).is_err() || (guarded && !administers) {
                            continue;
                        }
                        Happened::Deleted(id)
                    } else {
                        let Some(record) = catalog.get(tx, &tenant, query.kind, &id)? else { continue };
                        let guard = guard::guard_of(tx, &record)?;
                        let visible =
                            decide::<Read>(&op.subject(), &target_of(&record, guard.as_ref())).is_ok();
                        if !visible || !query.selects(&record) {
                            continue;
                        }
                        match event.verb.as_str().ends_with(".created") {
                            true => Happened::Created(Box::new(record)),
                            false => Happened::Changed(Box::new(record)),
                        }
                    };
                    changes.items.push(RecordChange { seq: event.seq, what });
                }
                Ok(changes)
            })
            .await
    }
}
