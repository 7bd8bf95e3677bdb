//! Taking events in: the one place that writes them, with everything that follows from them in the same transaction.

mod prune;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cm_db::{DbError, Direction, KeyRange, WriteTx};
use cm_types::Timestamp;

use super::tables::{
    EventRow, Events, Evidence, EvidenceRow, Indicators, NameRow, Names, Origin, ReporterRow, Reporters,
};
use crate::event::PAYLOAD_LEN_MAX;
use crate::indicator::{Sightings, seen_at, value_of};
use crate::ledger::Mode;
use crate::ledger::reporter::{Fault, ReporterLedger, Standing, Terms};
use crate::{EventKey, KeyId, Stored, ThreatEvent, Tlp, Verified};

/// Longest name that an event may have, in bytes; names are digests as a rule.
pub const ID_LEN_MAX: usize = 256;
/// Forged events that are kept as evidence; the oldest go first.
const EVIDENCE_MAX: u64 = 1000;
/// How much of a forged event is kept, in characters.
const EVIDENCE_CHARS: usize = 2048;

/// Something that arrived and was looked at.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// An event that was signed by whom it names.
    Valid {
        /// The event.
        verified: Verified,
        /// How it came.
        origin: Origin,
        /// With whom it may be shared.
        tlp: Tlp,
    },
    /// An event that was not.
    Forged {
        /// What came.
        event: Box<ThreatEvent>,
        /// Whose key it names.
        claimed: Option<KeyId>,
        /// Who brought it.
        link: String,
        /// What is wrong.
        reason: String,
    },
}

impl Arrival {
    /// By what an event is known that was signed by whom it names; what was not has no claim to its name.
    pub fn key(&self) -> Option<EventKey> {
        match self {
            Arrival::Valid { verified, .. } => Some(verified.key()),
            Arrival::Forged { .. } => None,
        }
    }
}

/// What became of an arrival.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is kept.
    Kept(Arc<Stored>),
    /// It was kept before, under this number.
    Known(u64),
    /// Its reporter is not listened to.
    Banned,
    /// Its reporter says too much.
    Limited,
    /// It was forged, and kept as evidence.
    Evidence,
    /// Its name is longer than names may be.
    NameTooLong,
    /// It is longer than events may be, as it is written for others.
    TooLong,
}

/// What became of all arrivals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// Of each of them, in their order.
    pub outcomes: Vec<Outcome>,
    /// Events that had to go for new ones.
    pub pruned: Vec<EventKey>,
}

/// What taking in needs to know.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How reporters are judged.
    pub terms: Arc<Terms>,
    /// How many events are kept.
    pub events_max: u64,
    /// Which sources the operator vouches for.
    pub exempt: Arc<dyn Exempt>,
}

/// Which sources the operator vouches for.
pub trait Exempt: Send + Sync + std::fmt::Debug {
    /// Whether a source is one of them.
    fn is_exempt(&self, event: &ThreatEvent) -> bool;
}

/// Nobody is vouched for.
impl Exempt for () {
    fn is_exempt(&self, _: &ThreatEvent) -> bool {
        false
    }
}

/// Takes arrivals in, in their order.
///
/// # Errors
/// When the database fails; nothing is kept then.
pub fn accept(
    tx: &mut WriteTx<'_>,
    rules: &Rules,
    arrivals: Vec<Arrival>,
    now: Timestamp,
) -> Result<Accepted, DbError> {
    let last = tx.range::<Events>(KeyRange::all(), Direction::Backward, 1)?.pop();
    let (seq, received) = last.map_or((0, Timestamp::from_micros(0)), |(seq, row)| (seq, row.received));
    let kept = prune::Kept::read(tx)?;
    let (reporters, indicators) = (HashMap::new(), HashMap::new());
    let mut taking = Taking { rules, now, seq, received, kept, reporters, indicators };
    let mut outcomes = Vec::with_capacity(arrivals.len());
    let mut new = 0;
    for arrival in arrivals {
        let outcome = match arrival {
            Arrival::Valid { verified, origin, tlp } => taking.valid(tx, &verified, origin, tlp)?,
            Arrival::Forged { event, claimed, link, reason } => {
                taking.forged(tx, *event, claimed, link, reason)?
            }
        };
        new += usize::from(matches!(outcome, Outcome::Kept(_)));
        outcomes.push(outcome);
    }
    let pruned = taking.prune(tx, new)?;
    taking.finish(tx)?;
    Ok(Accepted { outcomes, pruned })
}

struct Taking<'a> {
    rules: &'a Rules,
    now: Timestamp,
    seq: u64,
    received: Timestamp,
    kept: prune::Kept,
    /// Rows that were read, and are written once at the end.
    reporters: HashMap<KeyId, ReporterRow>,
    indicators: HashMap<String, Sightings>,
}

impl Taking<'_> {
    fn valid(
        &mut self,
        tx: &mut WriteTx<'_>,
        verified: &Verified,
        origin: Origin,
        tlp: Tlp,
    ) -> Result<Outcome, DbError> {
        let (event, reporter) = (verified.event(), verified.reporter());
        if event.id.len() > ID_LEN_MAX {
            return Ok(Outcome::NameTooLong);
        }
        // What came short may be long when written anew, with every character escaped; peers would refuse it.
        if event.longer_than(PAYLOAD_LEN_MAX) {
            return Ok(Outcome::TooLong);
        }
        let name = (event.id.clone(), reporter.0);
        let text = verified.text();
        if let Some(known) = tx.get::<Names>(&name)? {
            if known.text != text {
                // One name for two events: both signed, hence the signer's own doing.
                // Once: whoever brings them again must not decide how much that weighs.
                if !known.equivocated {
                    let now = self.now;
                    self.ledger(tx, &reporter, event)?.fault(Fault::Equivocated, now);
                    tx.put::<Names>(&name, &NameRow { equivocated: true, ..known })?;
                }
            }
            return Ok(Outcome::Known(known.seq));
        }
        let (terms, now) = (self.rules.terms.clone(), self.now);
        let ledger = self.ledger(tx, &reporter, event)?;
        let (_, standing) = terms.score(&reporter, ledger, now);
        if standing == Standing::Banned {
            return Ok(Outcome::Banned);
        }
        if origin != Origin::Own && !ledger.take(terms.rate(standing), now) {
            ledger.limited += 1;
            return Ok(Outcome::Limited);
        }
        ledger.keep(now);
        let weight = terms.weight(&reporter, ledger, now);
        if let Some(row) = self.reporters.get_mut(&reporter) {
            row.kept = row.kept.map(|kept| kept + 1);
        }
        if origin != Origin::Own && self.rules.exempt.is_exempt(event) {
            self.ledger(tx, &reporter, event)?.fault(Fault::Exempt, now);
        } else {
            self.sight(tx, event, reporter, weight, tlp)?;
        }
        let is_weightless = weight <= 0.0 && matches!(origin, Origin::Link(_) | Origin::Feed(_));
        let stored = self.insert(tx, verified, origin, tlp, standing, text)?;
        self.kept.add(tx, stored.seq, is_weightless)?;
        Ok(Outcome::Kept(Arc::new(stored)))
    }

    fn insert(
        &mut self,
        tx: &mut WriteTx<'_>,
        verified: &Verified,
        origin: Origin,
        tlp: Tlp,
        standing: Standing,
        text: u64,
    ) -> Result<Stored, DbError> {
        let (event, reporter) = (verified.event(), verified.reporter());
        self.seq += 1;
        // Never the same moment twice, whatever the clock does: readers go on by it.
        self.received = self.now.max(self.received.after(Duration::from_micros(1)));
        let known = self.reporters.get(&reporter).map(|row| row.pem.as_str());
        let row = EventRow {
            received: self.received,
            reporter,
            id: event.id.clone(),
            source_ip: event.source_ip.clone(),
            threat_type: event.threat_type.clone(),
            severity: event.severity.clone(),
            timestamp: event.timestamp.clone(),
            signature: event.signature.clone(),
            pem: (known != Some(event.reporter_pubkey.as_str())).then(|| event.reporter_pubkey.clone()),
            origin: origin.clone(),
            tlp,
            dismissed: false,
        };
        tx.insert::<Events>(&self.seq, &row)?;
        tx.insert::<Names>(&(row.id, reporter.0), &NameRow { seq: self.seq, text, equivocated: false })?;
        Ok(Stored {
            seq: self.seq,
            received: self.received,
            event: event.clone(),
            key: reporter,
            origin,
            tlp,
            standing,
        })
    }

    /// Adds the event to what is known of its source; whoever said so before is confirmed.
    fn sight(
        &mut self,
        tx: &WriteTx<'_>,
        event: &ThreatEvent,
        reporter: KeyId,
        weight: f64,
        tlp: Tlp,
    ) -> Result<(), DbError> {
        let value = value_of(&event.source_ip);
        if value.is_empty() {
            return Ok(());
        }
        let mut sightings = match self.indicators.remove(&value) {
            Some(read) => read,
            None => tx.get::<Indicators>(&value)?.unwrap_or_else(|| Sightings::new(seen_at(event, self.now))),
        };
        let others: Vec<KeyId> = sightings.reporters().copied().collect();
        for other in &others {
            self.read(tx, other)?;
        }
        let terms = self.rules.terms.clone();
        let (reporters, now) = (&self.reporters, self.now);
        let weigh = |key: &KeyId| match reporters.get(key) {
            Some(row) => terms.weight(key, &row.ledger, now),
            None => 0.0,
        };
        let confirmed = sightings.add((event, self.seq + 1), reporter, tlp, now, &terms, weigh);
        for confirmed in confirmed {
            if let Some(row) = self.reporters.get_mut(&confirmed.reporter) {
                row.ledger.confirm(weight, confirmed.position, now);
            }
        }
        self.indicators.insert(value, sightings);
        Ok(())
    }

    fn forged(
        &mut self,
        tx: &mut WriteTx<'_>,
        event: ThreatEvent,
        claimed: Option<KeyId>,
        link: String,
        reason: String,
    ) -> Result<Outcome, DbError> {
        if let (Mode::Seed, Some(claimed)) = (self.rules.terms.mode, claimed) {
            let ledger = self.ledger(tx, &claimed, &event)?;
            if ledger.seed < crate::ledger::reporter::SEED_IGNORED_BELOW {
                return Ok(Outcome::Banned);
            }
            ledger.blame();
        } else if let Some(row) = claimed.map(|claimed| self.read(tx, &claimed)).transpose()?.flatten() {
            // Told, and held against nobody.
            row.ledger.invalid += 1;
        }
        let last = tx.raw_range::<Evidence>(KeyRange::all(), Direction::Backward, 1)?.pop();
        let number =
            last.and_then(|(key, _)| <u64 as cm_db::Key>::decode(&key).ok()).map_or(1, |last| last + 1);
        let payload = event.payload().chars().take(EVIDENCE_CHARS).collect();
        tx.insert::<Evidence>(&number, &EvidenceRow { at: self.now, link, reason, claimed, payload })?;
        if number > EVIDENCE_MAX {
            self.forget_evidence(tx, number - EVIDENCE_MAX)?;
        }
        Ok(Outcome::Evidence)
    }

    /// A reporter that is known.
    fn read(&mut self, tx: &WriteTx<'_>, key: &KeyId) -> Result<Option<&mut ReporterRow>, DbError> {
        if !self.reporters.contains_key(key)
            && let Some(row) = tx.get::<Reporters>(&key.0)?
        {
            self.reporters.insert(*key, row);
        }
        Ok(self.reporters.get_mut(key))
    }

    /// The ledger of a reporter, a new one if need be.
    fn ledger(
        &mut self,
        tx: &WriteTx<'_>,
        key: &KeyId,
        event: &ThreatEvent,
    ) -> Result<&mut ReporterLedger, DbError> {
        self.read(tx, key)?;
        let (pem, ledger) = (&event.reporter_pubkey, ReporterLedger::new(self.now));
        let new = || ReporterRow { pem: pem.clone(), ledger, kept: Some(0) };
        Ok(&mut self.reporters.entry(*key).or_insert_with(new).ledger)
    }
}

/// Writes down that an operator found an event to be false; once, however often it is said. Its reporter is no witness of its source any more.
///
/// # Errors
/// When the database fails.
pub fn dismiss(
    tx: &mut WriteTx<'_>,
    terms: &Terms,
    seq: u64,
    now: Timestamp,
) -> Result<Option<KeyId>, DbError> {
    let Some(mut row) = tx.get::<Events>(&seq)? else { return Ok(None) };
    let Some(mut reporter) = tx.get::<Reporters>(&row.reporter.0)? else { return Ok(None) };
    if row.dismissed {
        return Ok(Some(row.reporter));
    }
    row.dismissed = true;
    tx.put::<Events>(&seq, &row)?;
    let value = value_of(&row.source_ip);
    if let Some(mut sightings) = tx.get::<Indicators>(&value)? {
        sightings.withdraw(&row.reporter);
        if sightings.reporters().next().is_none() {
            tx.delete::<Indicators>(&value)?;
        } else {
            tx.put::<Indicators>(&value, &sightings)?;
        }
    }
    reporter.ledger.fault(Fault::Dismissed, now);
    let (score, _) = terms.score(&row.reporter, &reporter.ledger, now);
    reporter.ledger.note(score, now);
    tx.put::<Reporters>(&row.reporter.0, &reporter)?;
    Ok(Some(row.reporter))
}

#[cfg(test)]
mod tests;
