//! Finding out whether the log is what was written.
//!
//! One pass over the records in order. The *chain* is the hash that the next record must be built on. A
//! record whose hash does not fit was altered, or stands in another's place (its own number tells). What
//! comes after a finding is still judged: an altered record may be followed by one built on either its
//! stored or its computed hash; after a missing one the chain is taken up again from what is stored.
//!
//! Somebody who changes a record and all hashes after it makes a chain that fits; but signed heads and
//! checkpoints keep the old hash, and tell.

use cm_crypto::sign::VerifyingKey;
use cm_db::{Db, Direction, KeyRange, ReadTx};
use cm_types::Sha256Digest;

use crate::chain::{
    CHECKPOINT_EVERY, Checkpoints, GENESIS, HeadTable, Purpose, Records, claimed_seq, open_signed,
    record_hash, split_record,
};
use crate::event::decode;
use crate::log::unsigned;
use crate::{EventError, Finding, Head, VerifyingKeys, What};

/// Records read and checked in one snapshot: a few milliseconds and less than a megabyte, typically.
const BATCH_LEN: usize = 1000;

/// Hashes that a record after several altered ones may be built on; beyond that, a long run of altered
/// records would take quadratic time.
const CANDIDATES_MAX: usize = 8;

/// How to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyOptions {
    /// An end of the log that was kept elsewhere: the log must still contain it.
    pub anchor: Option<Head>,
    /// Stop after so many findings; at least 1.
    pub findings_max: usize,
}

impl Default for VerifyOptions {
    /// Without an anchor, up to 100 findings.
    fn default() -> Self {
        Self { anchor: None, findings_max: 100 }
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Up to which record the log was checked.
    pub checked: u64,
    /// Up to which record it reaches, as its head says. Grows while the node works.
    pub total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many records were checked.
    pub records: u64,
    /// The signed end of the log; `None` if it is empty, or if its signature is not good.
    pub head: Option<Head>,
    /// What is wrong, in the order of the log; empty if nothing is.
    pub findings: Vec<Finding>,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }
}

impl From<&VerifyingKey> for VerifyingKeys {
    fn from(key: &VerifyingKey) -> Self {
        VerifyingKeys::from(*key)
    }
}

/// Verifies the whole log, batch by batch, while the node may go on appending. Memory is bounded by a
/// batch and the findings. `progress` is called after each batch, on the caller's task.
///
/// An empty log without findings is no proof that nothing was ever written: a caller that knows better
/// gives an anchor.
///
/// Cancellation: may be dropped at any time.
pub async fn verify(
    db: &Db,
    keys: &VerifyingKeys,
    options: VerifyOptions,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Verified, EventError> {
    let mut verifier = Verifier::new(keys.clone(), options);
    loop {
        let step = move |tx: &ReadTx<'_>| {
            let done = verifier.step(tx)?;
            Ok::<_, EventError>((done, verifier))
        };
        let done;
        (done, verifier) = db.read(step).await?;
        progress(verifier.progress());
        if done {
            return Ok(verifier.into_verified());
        }
    }
}

/// As [`verify()`], but in one snapshot.
pub fn verify_snapshot(
    tx: &ReadTx<'_>,
    keys: &VerifyingKeys,
    options: VerifyOptions,
) -> Result<Verified, EventError> {
    let mut verifier = Verifier::new(keys.clone(), options);
    while !verifier.step(tx)? {}
    Ok(verifier.into_verified())
}

/// What the next record must be built on.
#[derive(Debug)]
enum Chain {
    /// One of these: two after an altered record.
    Known(Vec<Sha256Digest>),
    /// Not known, since the record before is not there.
    Lost,
}

impl Chain {
    /// Whether the record may have this hash, as far as can be told.
    fn may_be(&self, hash: &Sha256Digest) -> bool {
        match self {
            Chain::Known(hashes) => hashes.contains(hash),
            Chain::Lost => true,
        }
    }
}

struct Verifier {
    keys: VerifyingKeys,
    options: VerifyOptions,
    findings: Vec<Finding>,
    /// The key of the last row that was read.
    cursor: Option<Vec<u8>>,
    /// The number of the last record that was checked.
    at: u64,
    records: u64,
    chain: Chain,
    /// The last record that a good signature stands for.
    vouched: u64,
    /// Whether a rewritten chain was reported; every later signature then disagrees too.
    rewritten: bool,
    head: Option<Head>,
}

impl Verifier {
    fn new(keys: VerifyingKeys, options: VerifyOptions) -> Self {
        Self {
            keys,
            options,
            findings: Vec::new(),
            cursor: None,
            at: 0,
            records: 0,
            chain: Chain::Known(vec![GENESIS]),
            vouched: 0,
            rewritten: false,
            head: None,
        }
    }

    fn progress(&self) -> Progress {
        Progress { checked: self.at, total: self.head.map_or(self.at, |head| head.seq).max(self.at) }
    }

    fn into_verified(mut self) -> Verified {
        self.findings.truncate(self.options.findings_max.max(1));
        Verified { records: self.records, head: self.head, findings: self.findings }
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= self.options.findings_max.max(1)
    }

    fn report(&mut self, seq: u64, what: What, detail: impl Into<String>) {
        self.findings.push(Finding { seq, what, detail: detail.into() });
    }

    /// Checks one batch. Whether that was the last.
    fn step(&mut self, tx: &ReadTx<'_>) -> Result<bool, EventError> {
        let head_row = tx.raw_get::<HeadTable>(&())?;
        self.head = head_row.as_deref().and_then(|row| open_signed(Purpose::Head, row, &self.keys));
        let range = match &self.cursor {
            Some(key) => KeyRange::all().after_encoded(key),
            None => KeyRange::all(),
        };
        let rows = tx.raw_range::<Records>(range, Direction::Forward, BATCH_LEN)?;
        let last_batch = rows.len() < BATCH_LEN;
        for (key, row) in rows {
            if !self.check_row(tx, &key, &row)? {
                self.finish(tx, head_row.as_deref())?;
                return Ok(true);
            }
            if self.is_full() {
                return Ok(true);
            }
            self.cursor = Some(key);
        }
        if last_batch {
            self.finish(tx, head_row.as_deref())?;
        }
        Ok(last_batch)
    }

    /// Checks one stored row. `false` if the records end before it.
    fn check_row(&mut self, tx: &ReadTx<'_>, key: &[u8], row: &[u8]) -> Result<bool, EventError> {
        let Ok(seq) = key.try_into().map(u64::from_be_bytes) else {
            self.report(self.at, What::Extra, "a row whose key is no number is stored beside it");
            return Ok(true);
        };
        if self.head.is_some_and(|head| seq > head.seq) {
            self.missing_up_to(self.head.map_or(0, |head| head.seq));
            self.findings.push(unsigned(seq));
            return Ok(false);
        }
        if seq == 0 {
            self.report(0, What::Extra, "records count from 1");
            return Ok(true);
        }
        self.missing_up_to(seq - 1);
        self.check_record(seq, row);
        self.at = seq;
        self.records += 1;
        if seq.is_multiple_of(CHECKPOINT_EVERY) {
            self.check_checkpoint(tx, seq)?;
        }
        if self.options.anchor.is_some_and(|anchor| anchor.seq == seq && !self.chain.may_be(&anchor.hash)) {
            self.report_rewritten(seq, "the anchor");
        }
        Ok(true)
    }

    fn missing_up_to(&mut self, last: u64) {
        if self.at >= last {
            return;
        }
        let first = self.at + 1;
        let detail = match last - first {
            0 => "it is not there".to_owned(),
            more => format!("it and the {more} after it are not there"),
        };
        self.report(first, What::Missing, detail);
        self.at = last;
        self.chain = Chain::Lost;
    }

    fn check_record(&mut self, seq: u64, row: &[u8]) {
        let Some((stored, body)) = split_record(row) else {
            self.report(seq, What::Altered, "it is cut short");
            self.chain = Chain::Lost;
            return;
        };
        let computed: Vec<_> = match &self.chain {
            Chain::Known(previous) => previous.iter().map(|hash| record_hash(hash, seq, body)).collect(),
            Chain::Lost => Vec::new(),
        };
        let lost = matches!(self.chain, Chain::Lost);
        if computed.contains(&stored) {
            self.chain = Chain::Known(vec![stored]);
            return;
        }
        match decode(seq, body) {
            Err(EventError::Broken(finding)) if finding.what == What::Reordered => {
                self.findings.push(finding);
                self.chain = Chain::Lost;
            }
            Err(EventError::Broken(finding)) if lost => {
                self.findings.push(finding);
                self.chain = Chain::Known(vec![stored]);
            }
            _ if lost => self.chain = Chain::Known(vec![stored]),
            _ => {
                self.report(seq, What::Altered, "its hash does not fit its content and the record before it");
                let mut either = [vec![stored], computed].concat();
                either.truncate(CANDIDATES_MAX);
                self.chain = Chain::Known(either);
            }
        }
    }

    fn check_checkpoint(&mut self, tx: &ReadTx<'_>, seq: u64) -> Result<(), EventError> {
        let Some(row) = tx.raw_get::<Checkpoints>(&seq)? else {
            self.report(seq, What::Missing, "its signed checkpoint is not there");
            return Ok(());
        };
        match open_signed(Purpose::Checkpoint, &row, &self.keys) {
            Some(checkpoint) if checkpoint.seq == seq => {
                if self.chain.may_be(&checkpoint.hash) {
                    self.vouched = seq;
                } else {
                    self.report_rewritten(seq, "the signed checkpoint");
                }
            }
            _ => self.report(seq, What::Forged, "its checkpoint is not signed by a trusted key"),
        }
        Ok(())
    }

    fn report_rewritten(&mut self, seq: u64, witness: &str) {
        if self.rewritten {
            return;
        }
        self.rewritten = true;
        let first = self.vouched + 1;
        let detail = format!(
            "{witness} has another hash: a record from {first} to {seq} was changed, and all hashes after it"
        );
        self.report(seq, What::Rewritten, detail);
    }

    /// Judges the end of the log.
    fn finish(&mut self, tx: &ReadTx<'_>, head_row: Option<&[u8]>) -> Result<(), EventError> {
        match (self.head, head_row) {
            (Some(head), _) => {
                self.missing_up_to(head.seq);
                if !self.chain.may_be(&head.hash) {
                    self.report_rewritten(head.seq, "the signed head");
                }
            }
            (None, Some(row)) => {
                let seq = claimed_seq(row).unwrap_or(self.at);
                self.report(seq, What::Forged, "the head is not signed by a trusted key");
            }
            (None, None) if self.at > 0 || !self.findings.is_empty() => {
                self.report(self.at, What::Missing, "the signed head is not there");
            }
            (None, None) => {}
        }
        self.check_checkpoint_keys(tx)?;
        if let Some(anchor) = self.options.anchor
            && anchor.seq > self.at
        {
            let detail = format!("the log was there when the anchor was taken, and now ends at {}", self.at);
            self.report(anchor.seq, What::RolledBack, detail);
        }
        Ok(())
    }

    /// There must be no checkpoints but those of the records.
    fn check_checkpoint_keys(&mut self, tx: &ReadTx<'_>) -> Result<(), EventError> {
        let mut range = KeyRange::all();
        while !self.is_full() {
            let rows = tx.raw_range::<Checkpoints>(range.clone(), Direction::Forward, BATCH_LEN)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            range = range.after_encoded(last);
            for (key, _) in rows {
                let seq = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes).ok();
                let due = |seq: &u64| *seq > 0 && *seq <= self.at && seq.is_multiple_of(CHECKPOINT_EVERY);
                if !seq.as_ref().is_some_and(due) {
                    self.report(seq.unwrap_or(0), What::Extra, "there is a checkpoint where none is due");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
