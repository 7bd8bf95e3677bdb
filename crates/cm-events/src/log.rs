//! Appending and reading.

use std::sync::{Arc, Mutex, PoisonError};

use cm_crypto::sign::SigningKey;
use cm_db::{Db, DbError, Direction, KeyRange, ReadTx, WriteTx};
use cm_runtime::{Backoff, Clock, Tasks};
use cm_types::{Cursor, Page, PageLimit, Timestamp};
use tokio::sync::watch;

use crate::chain::{
    CHECKPOINT_EVERY, Checkpoints, GENESIS, HeadTable, Purpose, Records, claimed_seq, open_signed,
    read_signed, record_hash, sign, split_record,
};
use crate::event::{decode, encode};
use crate::verify::{self, Verified, VerifyOptions};
use crate::{Event, EventError, EventFilter, Finding, Head, NewEvent, VerifyingKeys, What};

/// Records looked at for one page; a selective filter gives short pages rather than long waits.
const SCAN_LEN_MAX: usize = 10_000;
/// Records read at once.
const BATCH_LEN: usize = 500;

/// The node's event log. Clones share it.
#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    signer: SigningKey,
    keys: VerifyingKeys,
    /// The stored head that was last signed or checked here, so that an unchanged one is not checked
    /// again with every append.
    trusted: Mutex<Option<Vec<u8>>>,
    committed: watch::Sender<u64>,
}

impl EventLog {
    /// Reads where the log ends. [`EventError::Broken`] if its head was not signed by this key, or is not
    /// that of the last record; for the whole log, see [`crate::verify()`].
    pub async fn open(db: &Db, clock: Arc<dyn Clock>, signer: SigningKey) -> Result<EventLog, EventError> {
        let keys = VerifyingKeys::from(signer.verifying_key());
        let (committed, _) = watch::channel(0);
        let log = EventLog(Arc::new(Inner { clock, signer, keys, trusted: Mutex::new(None), committed }));
        let opened = log.clone();
        let head = db
            .read(move |tx| {
                let head = opened.trusted_head(tx)?;
                check_end(tx, head.as_ref())?;
                Ok::<_, EventError>(head)
            })
            .await?;
        log.0.committed.send_replace(head.map_or(0, |head| head.seq));
        Ok(log)
    }

    /// Appends an event; its number. It becomes part of the log if and when the transaction commits;
    /// until then another transaction may be given the same number.
    ///
    /// [`EventError::Broken`] if the log was tampered with at its end; [`EventError::TooLarge`] if the
    /// facts are not small.
    pub fn append(&self, tx: &mut WriteTx<'_>, event: NewEvent) -> Result<u64, EventError> {
        let (seq, previous) = match self.trusted_head(tx)? {
            Some(head) => (head.seq + 1, head.hash),
            None => (1, GENESIS),
        };
        let committed = *self.0.committed.borrow();
        if seq <= committed {
            let detail = format!("the log reached to {committed} and was cut while the node ran");
            return Err(Finding { seq, what: What::RolledBack, detail }.into());
        }
        let body = encode(seq, Timestamp::from(self.0.clock.now()), event)?;
        let hash = record_hash(&previous, seq, &body);
        let row = [hash.as_bytes().as_slice(), &body].concat();
        match tx.insert_raw::<Records>(&seq, &row) {
            Err(DbError::Exists { .. }) => return Err(unsigned(seq).into()),
            other => other?,
        }
        let head = Head { seq, hash };
        if seq.is_multiple_of(CHECKPOINT_EVERY) {
            tx.put_raw::<Checkpoints>(&seq, &sign(Purpose::Checkpoint, &head, &self.0.signer))?;
        }
        let signed = sign(Purpose::Head, &head, &self.0.signer);
        tx.put_raw::<HeadTable>(&(), &signed)?;
        self.trust(signed);
        let log = self.clone();
        tx.on_commit(Box::new(move || log.committed(seq)));
        Ok(seq)
    }

    /// Lets [`EventLog::head`] follow what other processes append to the same log, until the tasks are told to end.
    /// Costs nothing where there are none.
    pub fn follow(&self, db: &Db, tasks: &Tasks) {
        let (log, db, token) = (self.clone(), db.clone(), tasks.token());
        let mut changes = db.changes_elsewhere();
        // Whatever was committed between opening and now counts.
        changes.mark_changed();
        let following = async move {
            while changes.changed().await.is_ok() {
                let mut backoff = Backoff::default();
                while let Err(error) = log.catch_up(&db).await {
                    if matches!(error, EventError::Db(DbError::Closed)) {
                        return;
                    }
                    if backoff.attempts() == 0 {
                        tracing::warn!(error = &error as &dyn std::error::Error, "end of the log not read");
                    }
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        };
        tasks.spawn("event-log-follow", async move {
            token.run_until_cancelled(following).await;
        });
    }

    /// Reads where the log ends by now.
    async fn catch_up(&self, db: &Db) -> Result<(), EventError> {
        let log = self.clone();
        let head = db.read(move |tx| log.trusted_head(tx)).await?;
        self.committed(head.map_or(0, |head| head.seq));
        Ok(())
    }

    /// The event is committed. Never goes back: a head that is behind is an old one.
    fn committed(&self, seq: u64) {
        self.0.committed.send_if_modified(|committed| {
            let newer = seq > *committed;
            *committed = seq.max(*committed);
            newer
        });
    }

    /// The number of the last committed event, 0 if there is none; changes with every commit that
    /// appended, also in other processes once [`EventLog::follow`] was called. What it says can be read at once.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.0.committed.subscribe()
    }

    /// The signed end of the log, for an operator to keep elsewhere; `None` if it is empty.
    pub fn signed_head(&self, tx: &ReadTx<'_>) -> Result<Option<Head>, EventError> {
        self.trusted_head(tx)
    }

    /// One event; `None` if the log does not reach so far.
    pub fn get(&self, tx: &ReadTx<'_>, seq: u64) -> Result<Option<Event>, EventError> {
        match tx.raw_get::<Records>(&seq)? {
            Some(row) => read_record(seq, &row).map(Some),
            None => Ok(None),
        }
    }

    /// The events after `after` that pass the filter, in order.
    ///
    /// A page may be short, even empty, and still have a `next`: the filter then skipped many events.
    /// `next` is the number to continue after; it is `None` at the end of the log, where a reader that
    /// wants more continues after the last event that it got, once [`EventLog::head`] has moved.
    pub fn page(
        &self,
        tx: &ReadTx<'_>,
        after: u64,
        limit: PageLimit,
        filter: &EventFilter,
    ) -> Result<Page<Event>, EventError> {
        let mut items = Vec::new();
        let mut at = after;
        let mut scanned = 0;
        while scanned < SCAN_LEN_MAX {
            let rows = read_after(tx, at, BATCH_LEN)?;
            let last_batch = rows.len() < BATCH_LEN;
            for (seq, row) in rows {
                if items.len() == limit.get() {
                    return Ok(Page { items, next: Some(Cursor(at.to_string())) });
                }
                let event = read_record(seq, &row)?;
                if filter.matches(&event) {
                    items.push(event);
                }
                at = seq;
                scanned += 1;
            }
            if last_batch {
                return Ok(Page { items, next: None });
            }
        }
        Ok(Page { items, next: Some(Cursor(at.to_string())) })
    }

    /// The events before `before`, or all of them, that pass the filter, the newest first. A page may be short as one
    /// of [`EventLog::page`] may; `next` is the number to continue before.
    pub fn page_backwards(
        &self,
        tx: &ReadTx<'_>,
        before: Option<u64>,
        limit: PageLimit,
        filter: &EventFilter,
    ) -> Result<Page<Event>, EventError> {
        let (mut items, mut scanned, mut at) = (Vec::new(), 0, before);
        while scanned < SCAN_LEN_MAX {
            let range = at.map_or_else(KeyRange::all, |at| KeyRange::all().before(&at));
            let rows = numbered(tx.raw_range::<Records>(range, Direction::Backward, BATCH_LEN)?, 0)?;
            let last_batch = rows.len() < BATCH_LEN;
            for (seq, row) in rows {
                if items.len() == limit.get() {
                    return Ok(Page { items, next: at.map(|at| Cursor(at.to_string())) });
                }
                let event = read_record(seq, &row)?;
                if filter.matches(&event) {
                    items.push(event);
                }
                at = Some(seq);
                scanned += 1;
            }
            if last_batch {
                return Ok(Page { items, next: None });
            }
        }
        Ok(Page { items, next: at.map(|at| Cursor(at.to_string())) })
    }

    /// Verifies the whole log in one snapshot; the first finding as [`EventError::Broken`]. For long logs
    /// [`crate::verify()`] is kinder to the reader threads.
    pub fn verify(
        tx: &ReadTx<'_>,
        keys: &VerifyingKeys,
        anchor: Option<Head>,
    ) -> Result<Verified, EventError> {
        let options = VerifyOptions { anchor, findings_max: 1 };
        let mut verified = verify::verify_snapshot(tx, keys, options)?;
        match verified.findings.pop() {
            Some(finding) => Err(finding.into()),
            None => Ok(verified),
        }
    }

    /// The keys that this log's own signatures are good under.
    pub fn verifying_keys(&self) -> &VerifyingKeys {
        &self.0.keys
    }

    fn trusted_head(&self, tx: &ReadTx<'_>) -> Result<Option<Head>, EventError> {
        let Some(row) = tx.raw_get::<HeadTable>(&())? else { return Ok(None) };
        let known = self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&row);
        if known && let Some(head) = read_signed(&row) {
            return Ok(Some(head));
        }
        match open_signed(Purpose::Head, &row, &self.0.keys) {
            Some(head) => {
                self.trust(row);
                Ok(Some(head))
            }
            None => Err(Finding {
                seq: claimed_seq(&row).unwrap_or(0),
                what: What::Forged,
                detail: "the head is not signed by the node's key".into(),
            }
            .into()),
        }
    }

    fn trust(&self, row: Vec<u8>) {
        *self.0.trusted.lock().unwrap_or_else(PoisonError::into_inner) = Some(row);
    }
}

/// At most `limit` stored records after `after`. A key that is no number sorts among them and is an
/// error of the database.
pub(crate) fn read_after(
    tx: &ReadTx<'_>,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, EventError> {
    numbered(tx.raw_range::<Records>(KeyRange::all().after(&after), Direction::Forward, limit)?, after)
}

/// Rows by their numbers; those that have none are found behind `after`.
fn numbered(rows: Vec<(Vec<u8>, Vec<u8>)>, after: u64) -> Result<Vec<(u64, Vec<u8>)>, EventError> {
    let number = |(key, row): (Vec<u8>, Vec<u8>)| match <[u8; 8]>::try_from(key.as_slice()) {
        Ok(bytes) => Ok((u64::from_be_bytes(bytes), row)),
        Err(_) => {
            let detail = "a row whose key is no number follows it".into();
            Err(Finding { seq: after, what: What::Extra, detail }.into())
        }
    };
    rows.into_iter().map(number).collect()
}

fn read_record(seq: u64, row: &[u8]) -> Result<Event, EventError> {
    match split_record(row) {
        Some((_, body)) => decode(seq, body),
        None => Err(Finding { seq, what: What::Altered, detail: "it is cut short".into() }.into()),
    }
}

/// The last record must be the one that the head is for; cheap, hence at every start.
fn check_end(tx: &ReadTx<'_>, head: Option<&Head>) -> Result<(), EventError> {
    let last = tx.raw_range::<Records>(KeyRange::all(), Direction::Backward, 1)?.pop();
    let finding = |seq, what, detail: &str| Err(Finding { seq, what, detail: detail.into() }.into());
    match (head, last) {
        (None, None) => Ok(()),
        (None, Some(_)) => finding(0, What::Missing, "there are records, but no signed head"),
        (Some(head), None) => {
            finding(head.seq, What::Missing, "the head is signed, but there are no records")
        }
        (Some(head), Some((key, row))) => {
            if key.as_slice() > head.seq.to_be_bytes().as_slice() {
                return Err(unsigned(head.seq + 1).into());
            }
            if key.as_slice() < head.seq.to_be_bytes().as_slice() {
                return finding(head.seq, What::Missing, "the head is signed, but the record is not there");
            }
            match split_record(&row) {
                Some((hash, _)) if hash == head.hash => Ok(()),
                _ => finding(head.seq, What::Altered, "its hash is not that of the signed head"),
            }
        }
    }
}

pub(crate) fn unsigned(seq: u64) -> Finding {
    Finding { seq, what: What::Extra, detail: "it is beyond the signed head".into() }
}

#[cfg(test)]
mod tests;
