//! The event log, as faces read it.

use cm_events::{Event, EventFilter, Head, NewEvent, Verified, VerifyOptions};
use cm_policy::{List, Permit};
use cm_types::{Page, PageLimit};

use crate::{Kernel, KernelError};

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
        let filter = EventFilter { tenant: Some(permit.tenant().clone()), ..filter };
        let events = self.events().clone();
        self.db().read(move |tx| Ok(events.page(tx, after, limit, &filter)?)).await
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

    /// Records something that changed nothing else.
    pub async fn record_event(&self, event: NewEvent) -> Result<u64, KernelError> {
        let events = self.events().clone();
        self.db().write(move |tx| Ok(events.append(tx, event)?)).await
    }
}
