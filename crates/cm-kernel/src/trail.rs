//! What has been kept, and whether it is still what was written: the event log and the stored objects.

use cm_db::ReadTx;
use cm_events::{Event, EventFilter, Head, NewEvent, Verified, VerifyOptions};
use cm_objects::{Damage, ScrubItem, ScrubTotals};
use cm_policy::{List, Permit};
use cm_types::{Page, PageLimit, ResourceKind, TenantId};
use futures::StreamExt;

use crate::{Kernel, KernelError, OpContext};

/// Most findings that one verification reports.
const FINDINGS_MAX: usize = 100;

impl Kernel {
    /// Events after `after`, oldest first. A tenant sees its own; the filter says which.
    pub async fn event_page(
        &self,
        permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Event>, KernelError> {
        let (events, own) = (self.events().clone(), self.own_events(permit, filter));
        self.db().read(move |tx| Ok(events.page(tx, after, limit, &own(tx)?)?)).await
    }

    /// Events before `before`, or all of them, newest first.
    pub async fn event_page_backwards(
        &self,
        permit: &Permit<List>,
        before: Option<u64>,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Event>, KernelError> {
        let (events, own) = (self.events().clone(), self.own_events(permit, filter));
        self.db().read(move |tx| Ok(events.page_backwards(tx, before, limit, &own(tx)?)?)).await
    }

    /// Narrows a filter down to what a tenant may see: its own events, and of a tenant whose id another had before it none of that one's.
    pub(crate) fn own_events(
        &self,
        permit: &Permit<List>,
        filter: EventFilter,
    ) -> impl FnOnce(&ReadTx<'_>) -> Result<EventFilter, KernelError> + Send + 'static {
        let (identity, tenant) = (self.identity().clone(), permit.tenant().clone());
        move |tx| {
            // The first tenant is never removed, and there are events from before it was made.
            let since = match tenant == TenantId::default_tenant() {
                true => None,
                false => identity.get_tenant(tx, &tenant)?.map(|tenant| tenant.created_at),
            };
            Ok(EventFilter { tenant: Some(tenant), since, ..filter })
        }
    }

    /// The signed end of the log; `None` while it is empty.
    pub async fn event_head(&self, _permit: &Permit<List>) -> Result<Option<Head>, KernelError> {
        let events = self.events().clone();
        self.db().read(move |tx| Ok(events.signed_head(tx)?)).await
    }

    /// Checks every record of the log against its chain, the signed head, the checkpoints and, if there is one, an
    /// anchor that was kept elsewhere.
    pub async fn verify_events(
        &self,
        _permit: &Permit<List>,
        anchor: Option<Head>,
    ) -> Result<Verified, KernelError> {
        let options = VerifyOptions { anchor, findings_max: FINDINGS_MAX };
        Ok(cm_events::verify(self.db(), self.events().verifying_keys(), options, |_| {}).await?)
    }

    /// Reads and checks every stored object of the permit's tenant, or of all tenants for somebody who may list those. Names up to 100
    /// damaged places; the totals count all of what was checked.
    pub async fn verify_objects(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
    ) -> Result<(ScrubTotals, Vec<Damage>), KernelError> {
        let mut found = Vec::new();
        let mut items = match self.may_of_node::<List>(op, ResourceKind::Tenant) {
            true => self.objects().verify_all().left_stream(),
            false => self.objects().verify_of(permit.tenant()).right_stream(),
        };
        while let Some(item) = items.next().await {
            match item? {
                ScrubItem::Finished(totals) => return Ok((totals, found)),
                ScrubItem::Damaged(damage) => {
                    if found.len() < FINDINGS_MAX {
                        found.push(damage);
                    }
                }
            }
        }
        Err(KernelError::ShuttingDown)
    }

    /// Records something that changed nothing else.
    pub async fn record_event(&self, event: NewEvent) -> Result<u64, KernelError> {
        let events = self.events().clone();
        self.db().write(move |tx| Ok(events.append(tx, event)?)).await
    }
}
