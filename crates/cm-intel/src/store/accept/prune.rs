//! What goes for what comes, so that strangers with any number of keys fill the store with nothing but their own.
//!
//! Events whose reporters have no weight, that links brought, have a share of the store and push each other out of it; only what counts pushes out what
//! counts. With an event goes what stands by it alone: the reporter of whom nothing else is held, the indicator that nobody with weight confirmed.

use std::collections::HashSet;

use super::*;
use crate::store::tables::{Mark, Position, Positions, Weightless};

/// How many events may go for one new one: when the limits were lowered, so that nobody waits long.
const PRUNED_PER_EVENT: usize = 2;
/// Of so many events one may be of reporters without weight.
const WEIGHTLESS_SHARE: u64 = 4;
/// Where it is written down how many events there are, and how many of them are of reporters without weight.
const EVENTS: &str = "events-kept";
const WEIGHTLESS: &str = "events-weightless";

/// How many events there are.
pub(super) struct Kept {
    all: u64,
    weightless: u64,
}

impl Kept {
    pub(super) fn read(tx: &WriteTx<'_>) -> Result<Self, DbError> {
        let counted = |name: &str| tx.get::<Positions>(&name.to_owned());
        let all = match counted(EVENTS)? {
            Some(all) => all.at,
            // Nobody counted so far; numbers had no gaps then.
            None => crate::store::read::ends(tx)?.map_or(0, |(first, last)| last - first + 1),
        };
        Ok(Self { all, weightless: counted(WEIGHTLESS)?.map_or(0, |counted| counted.at) })
    }

    /// One more, of a reporter with weight or without.
    pub(super) fn add(&mut self, tx: &mut WriteTx<'_>, seq: u64, is_weightless: bool) -> Result<(), DbError> {
        self.all += 1;
        if is_weightless {
            self.weightless += 1;
            tx.insert::<Weightless>(&seq, &Mark {})?;
        }
        Ok(())
    }

    fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        for (name, at) in [(EVENTS, self.all), (WEIGHTLESS, self.weightless)] {
            tx.put::<Positions>(&name.to_owned(), &Position { at })?;
        }
        Ok(())
    }
}

impl Taking<'_> {
    /// Lets events go when there are too many, for so many new ones.
    pub(super) fn prune(&mut self, tx: &mut WriteTx<'_>, new: usize) -> Result<Vec<EventKey>, DbError> {
        if new == 0 {
            return Ok(Vec::new());
        }
        let events_max = self.rules.events_max;
        let over = |count: u64, most: u64| usize::try_from(count.saturating_sub(most)).unwrap_or(usize::MAX);
        let room = new * PRUNED_PER_EVENT;
        let mut going: Vec<u64> = Vec::new();
        let strangers = over(self.kept.weightless, events_max / WEIGHTLESS_SHARE).min(room);
        if strangers > 0 {
            let oldest = tx.raw_range::<Weightless>(KeyRange::all(), Direction::Forward, strangers)?;
            going.extend(oldest.iter().filter_map(|(key, _)| <u64 as cm_db::Key>::decode(key).ok()));
        }
        let beyond = over(self.kept.all - going.len() as u64, events_max).min(room);
        if beyond > 0 {
            let chosen: HashSet<u64> = going.iter().copied().collect();
            let oldest =
                tx.raw_range::<Events>(KeyRange::all(), Direction::Forward, beyond + chosen.len())?;
            let oldest = oldest.iter().filter_map(|(key, _)| <u64 as cm_db::Key>::decode(key).ok());
            going.extend(oldest.filter(|seq| !chosen.contains(seq)).take(beyond));
        }
        let mut pruned = Vec::with_capacity(going.len());
        for seq in going {
            pruned.extend(self.remove(tx, seq)?);
        }
        self.kept.write(tx)?;
        Ok(pruned)
    }

    /// Removes an event, and what stands by it alone.
    fn remove(&mut self, tx: &mut WriteTx<'_>, seq: u64) -> Result<Option<EventKey>, DbError> {
        let Some(row) = tx.get::<Events>(&seq)? else { return Ok(None) };
        let key = EventKey::of(&row.id, &row.reporter);
        self.kept.all = self.kept.all.saturating_sub(1);
        if tx.delete::<Weightless>(&seq)? {
            self.kept.weightless = self.kept.weightless.saturating_sub(1);
        }
        tx.delete::<Events>(&seq)?;
        tx.delete::<Names>(&(row.id, row.reporter.0))?;
        if let Some(reporter) = self.read(tx, &row.reporter)? {
            reporter.kept = reporter.kept.map(|kept| kept.saturating_sub(1));
        }
        self.forget_indicator(tx, &value_of(&row.source_ip), seq)?;
        Ok(Some(key))
    }

    /// Removes an indicator whose last event goes, if nobody with weight told of it; others hold until they expire.
    fn forget_indicator(&mut self, tx: &mut WriteTx<'_>, value: &str, seq: u64) -> Result<(), DbError> {
        let sightings = match self.indicators.get(value) {
            Some(read) => Some(read.clone()),
            None => tx.get::<Indicators>(&value.to_owned())?,
        };
        let Some(sightings) = sightings.filter(|sightings| sightings.seq == seq) else { return Ok(()) };
        let (terms, now) = (self.rules.terms.clone(), self.now);
        for reporter in sightings.reporters() {
            if let Some(row) = self.read(tx, reporter)?
                && terms.weight(reporter, &row.ledger, now) > 0.0
            {
                return Ok(());
            }
        }
        self.indicators.remove(value);
        tx.delete::<Indicators>(&value.to_owned())?;
        Ok(())
    }

    /// Writes down who is held of, and leaves out of whom nothing is.
    pub(super) fn finish(self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        for (key, mut row) in self.reporters {
            let (score, _) = self.rules.terms.score(&key, &row.ledger, self.now);
            row.ledger.note(score, self.now);
            // A key costs nothing: whoever has another is a newcomer, too, whatever was held against this one.
            let forgotten =
                row.kept == Some(0) && row.ledger.is_of_no_account(self.rules.terms.mode, self.now);
            match forgotten {
                true => drop(tx.delete::<Reporters>(&key.0)?),
                false => tx.put::<Reporters>(&key.0, &row)?,
            }
        }
        for (value, sightings) in self.indicators {
            tx.put::<Indicators>(&value, &sightings)?;
        }
        Ok(())
    }

    /// Lets the oldest evidence go, and with it a claimed reporter who never said anything.
    pub(super) fn forget_evidence(&mut self, tx: &mut WriteTx<'_>, number: u64) -> Result<(), DbError> {
        let Some(old) = tx.get::<Evidence>(&number)? else { return Ok(()) };
        tx.delete::<Evidence>(&number)?;
        let Some(claimed) = old.claimed else { return Ok(()) };
        if let Some(row) = self.read(tx, &claimed)?
            && row.kept == Some(0)
            && row.ledger.valid == 0
        {
            self.reporters.remove(&claimed);
            tx.delete::<Reporters>(&claimed.0)?;
        }
        Ok(())
    }
}
