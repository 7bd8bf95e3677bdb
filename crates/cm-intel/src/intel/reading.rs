//! What the engine knows, for faces: events, reporters, indicators, forgeries.

use cm_db::Direction;
use cm_kernel::policy::{List, Permit};
use cm_types::{Page, PageLimit, Timestamp};

use super::Intel;
use crate::store::read;
use crate::{EventFilter, Forged, Indicator, IntelError, KeyId, Reputation, Stored};

impl Intel {
    /// The events after a number that pass the filter, the oldest first. A page may be short, even empty, and have a `next`: the number to go on
    /// after. At the end, go on after the last event once [`Intel::head`] has moved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_page(
        &self,
        _permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        self.events((Some(after), Direction::Forward), limit, filter).await
    }

    /// The events before a number, or all of them, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_page_backwards(
        &self,
        _permit: &Permit<List>,
        before: Option<u64>,
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        self.events((before, Direction::Backward), limit, filter).await
    }

    /// The events that were accepted after a moment, strictly, and after a number, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_since(
        &self,
        _permit: &Permit<List>,
        added_after: Timestamp,
        after: u64,
        limit: PageLimit,
    ) -> Result<Page<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        let read = self.0.db.read(move |tx| {
            let from = after.max(read::last_until(tx, added_after)?);
            read::events(tx, &terms, now, (Some(from), Direction::Forward), limit, &EventFilter::default())
        });
        Ok(read.await?)
    }

    async fn events(
        &self,
        from: (Option<u64>, Direction),
        limit: PageLimit,
        filter: EventFilter,
    ) -> Result<Page<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::events(tx, &terms, now, from, limit, &filter)).await?)
    }

    /// One event by its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event(&self, _permit: &Permit<List>, seq: u64) -> Result<Option<Stored>, IntelError> {
        self.read_event(seq).await
    }

    pub(crate) async fn read_event(&self, seq: u64) -> Result<Option<Stored>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.look_up(move |tx| read::event(tx, &terms, now, seq)).await?)
    }

    /// The events that reporters call so: at most one of each reporter.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_by_id(&self, _permit: &Permit<List>, id: &str) -> Result<Vec<Stored>, IntelError> {
        let (terms, now, id) = (self.0.terms.clone(), self.0.kernel.now(), id.to_owned());
        Ok(self.0.db.read(move |tx| read::by_name(tx, &terms, now, &id)).await?)
    }

    /// Reporters after a key, in the order of their keys.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reputations(
        &self,
        _permit: &Permit<List>,
        after: Option<KeyId>,
        limit: PageLimit,
    ) -> Result<Page<Reputation>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::reputations(tx, &terms, now, after, limit)).await?)
    }

    /// What is held of a reporter, and why; `None` if nobody of that key reported anything.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn why(&self, _permit: &Permit<List>, key: KeyId) -> Result<Option<Reputation>, IntelError> {
        let (terms, now) = (self.0.terms.clone(), self.0.kernel.now());
        Ok(self.0.db.read(move |tx| read::reputation(tx, &terms, now, key)).await?)
    }

    /// Sources of threats that hold at present, after a name, in the order of their names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn indicators(
        &self,
        _permit: &Permit<List>,
        after: Option<String>,
        limit: PageLimit,
    ) -> Result<Page<Indicator>, IntelError> {
        let (terms, config, now) = (self.0.terms.clone(), self.0.config.clone(), self.0.kernel.now());
        let kernel = self.0.kernel.clone();
        let read = self.0.db.read(move |tx| {
            let is_exempt = |address| kernel.is_exempt(address);
            read::indicators(tx, (&config, &terms), is_exempt, now, after, limit)
        });
        Ok(read.await?)
    }

    /// What was forged of late, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forged(&self, _permit: &Permit<List>, limit: PageLimit) -> Result<Vec<Forged>, IntelError> {
        Ok(self.0.db.read(move |tx| read::forged(tx, limit)).await?)
    }
}
