//! What is held of those who sign events.
//!
//! A valid signature is worth nothing by itself: keys are free, and so is signing. What counts is being confirmed. When somebody
//! whose word has weight reports what others reported before, those gain; the first of them gains most, since repeating is easy. Weight
//! begins with the **anchors**, the node itself and whom the operator names, and flows from them to those whom they confirm: a
//! farm of keys that confirm each other stays where it began, at nothing (no symmetric reputation can resist such farms, but one that
//! flows from the viewer can: Cheng and Friedman, 2005). What is found wrong counts against who said it, and both fade with time, as in the beta reputation of
//! Jøsang and Ismail (2002): `good / (good + bad + 2)`, whose prior is all on the side of doubt.
//!
//! Confirmations count between organisations only; a key that the operator assigned to none is one of its own. Newcomers are on
//! **probation**: what they say is kept and shown as theirs, within a rate, and weighs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use cm_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::Mode;
use super::bucket::{Bucket, Rate};
use crate::KeyId;

/// After how long half of what was held of somebody is forgotten.
const HALF_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// The doubt that everybody begins with, in confirmations.
const DOUBT: f64 = 2.0;
/// The most that confirmations add in a day.
const GAIN_PER_DAY_MAX: f64 = 5.0;
/// How many confirmations of full weight end a probation.
const CONFIRMED_MIN: f64 = 1.0;
/// So little of what was confirmed gives no weight to anything.
const NEGLIGIBLE: f64 = 0.05;
/// From this score on somebody is trusted.
const TRUSTED_FROM: f64 = 0.6;
/// So much more bad than good makes somebody distrusted; so much bad, and hardly any good, banned.
const DISTRUST_MARGIN: f64 = 1.0;
const BANNED_FROM: f64 = 8.0;
/// Below this the earlier node ignores a key.
pub const SEED_IGNORED_BELOW: i64 = -10;
/// Points of a history that are kept, and the least time between two of them.
const HISTORY_MAX: usize = 64;
const HISTORY_STEP: Duration = Duration::from_secs(3600);

/// Where somebody stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Not listened to at all.
    Banned,
    /// Listened to, and neither passed on nor counted.
    Distrusted,
    /// Too new, or too little confirmed, to count.
    Probation,
    /// Counts by its score.
    Neutral,
    /// Counts by its score, which is high.
    Trusted,
    /// Named by the operator, or the node itself: counts in full.
    Anchor,
}

impl Standing {
    /// The name, as in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Banned => "banned",
            Standing::Distrusted => "distrusted",
            Standing::Probation => "probation",
            Standing::Neutral => "neutral",
            Standing::Trusted => "trusted",
            Standing::Anchor => "anchor",
        }
    }
}

/// What was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An operator of this node found a report to be false.
    Dismissed,
    /// It reported an address that the operator vouches for.
    Exempt,
    /// It used one name for two different events.
    Equivocated,
}

impl Fault {
    fn weight(self) -> f64 {
        match self {
            Fault::Dismissed => 2.0,
            Fault::Exempt => 1.0,
            Fault::Equivocated => 4.0,
        }
    }
}

/// What is written down of a reporter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReporterLedger {
    /// When its first valid event came.
    pub first_seen: Timestamp,
    /// When its last valid event came.
    pub last_seen: Timestamp,
    /// Valid events that were kept.
    pub valid: u64,
    /// Events in its name that it had not signed; whose fault that is, is in the ledger of links.
    pub invalid: u64,
    /// How often it was confirmed by somebody with weight.
    pub corroborated: u64,
    /// How often it was found wrong.
    pub contradicted: u64,
    /// Valid events that were dropped because there were too many. Anybody may bring them, so that it weighs nothing.
    pub limited: u64,
    /// The count of the earlier node: 1 for a valid event, -3 for another.
    pub seed: i64,
    good: f64,
    bad: f64,
    at: Timestamp,
    gained: f64,
    gained_at: Timestamp,
    bucket: Bucket,
    history: Vec<(Timestamp, f64)>,
}

impl ReporterLedger {
    /// Of somebody new.
    pub fn new(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            last_seen: now,
            valid: 0,
            invalid: 0,
            corroborated: 0,
            contradicted: 0,
            limited: 0,
            seed: 0,
            good: 0.0,
            bad: 0.0,
            at: now,
            gained: 0.0,
            gained_at: now,
            bucket: Bucket::default(),
            history: Vec::new(),
        }
    }

    /// What is left of good and bad.
    fn balance(&self, now: Timestamp) -> (f64, f64) {
        let factor = fade(self.at, now, HALF_LIFE);
        (self.good * factor, self.bad * factor)
    }

    fn settle(&mut self, now: Timestamp) {
        (self.good, self.bad) = self.balance(now);
        self.at = self.at.max(now);
    }

    /// A valid event was kept.
    pub fn keep(&mut self, now: Timestamp) {
        self.valid += 1;
        self.seed += 1;
        self.last_seen = self.last_seen.max(now);
    }

    /// An event came in its name that it had not signed; counts in [`Mode::Seed`] only.
    pub fn blame(&mut self) {
        self.invalid += 1;
        self.seed -= 3;
    }

    /// Somebody with this weight reported the same later; `position` counts who reported it before, from 1.
    pub fn confirm(&mut self, weight: f64, position: usize, now: Timestamp) {
        if weight <= 0.0 {
            return;
        }
        self.settle(now);
        self.gained *= fade(self.gained_at, now, Duration::from_secs(12 * 3600));
        self.gained_at = self.gained_at.max(now);
        let place = position.max(1) as f64;
        let gain = (weight.min(1.0) / (place * place)).min(GAIN_PER_DAY_MAX - self.gained).max(0.0);
        self.gained += gain;
        self.good += gain;
        self.corroborated += 1;
    }

    /// It was found wrong.
    pub fn fault(&mut self, fault: Fault, now: Timestamp) {
        self.settle(now);
        self.bad += fault.weight();
        self.contradicted += 1;
    }

    /// Takes one event off the rate of its standing; whether that was allowed.
    pub fn take(&mut self, rate: Option<Rate>, now: Timestamp) -> bool {
        rate.is_none_or(|rate| self.bucket.take(rate, now))
    }

    /// Whether it makes no difference if this is forgotten: nobody confirmed it, or long ago. What the earlier node counts is never forgotten so.
    pub fn is_of_no_account(&self, mode: Mode, now: Timestamp) -> bool {
        mode == Mode::Hardened && self.balance(now).0 < NEGLIGIBLE
    }

    /// Notes a score for the history, now and then.
    pub fn note(&mut self, score: f64, now: Timestamp) {
        match self.history.last_mut() {
            Some(last) if now.since(last.0) < HISTORY_STEP => last.1 = score,
            _ => self.history.push((now, score)),
        }
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }

    /// The scores of the past, oldest first.
    pub fn history(&self) -> &[(Timestamp, f64)] {
        &self.history
    }
}

/// What is left of 1 after the time that passed; a clock that was set back takes nothing.
fn fade(at: Timestamp, now: Timestamp, half_life: Duration) -> f64 {
    0.5f64.powf(now.since(at).as_secs_f64() / half_life.as_secs_f64())
}

/// Whom the operator trusts, and how strict the node is.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// How reporters are judged.
    pub mode: Mode,
    /// Whose word counts in full; the node's own key is one of them.
    pub anchors: Vec<KeyId>,
    /// Which keys belong together.
    pub organisations: BTreeMap<KeyId, String>,
    /// For how long a newcomer is on probation at least.
    pub probation: Duration,
    /// What somebody on probation may report.
    pub rate_new: Rate,
    /// What others may report, anchors apart.
    pub rate_known: Rate,
}

/// One reason for a score, with how much it adds or takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// For people.
    pub what: String,
    /// What it adds to the score.
    pub effect: f64,
}

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// From 0 to 1; in [`Mode::Seed`] a whole number.
    pub score: f64,
    /// What follows from it.
    pub standing: Standing,
    /// Why; the effects add up to the score.
    pub reasons: Vec<Reason>,
}

impl Terms {
    /// To which organisation a key belongs.
    pub fn organisation(&self, key: &KeyId) -> Option<&str> {
        self.organisations.get(key).map(String::as_str)
    }

    /// Whether two keys belong to different organisations.
    pub fn independent(&self, a: &KeyId, b: &KeyId) -> bool {
        a != b && (self.organisation(a).is_none() || self.organisation(a) != self.organisation(b))
    }

    /// What the word of a reporter weighs, 0 to 1.
    pub fn weight(&self, key: &KeyId, ledger: &ReporterLedger, now: Timestamp) -> f64 {
        let (score, standing) = self.score(key, ledger, now);
        match standing {
            Standing::Anchor => 1.0,
            // The earlier node knows no weights: whoever is not ignored counts.
            Standing::Trusted | Standing::Neutral if self.mode == Mode::Seed => 1.0,
            Standing::Trusted | Standing::Neutral => score,
            Standing::Probation | Standing::Distrusted | Standing::Banned => 0.0,
        }
    }

    /// What may be reported; `None` without a limit.
    pub fn rate(&self, standing: Standing) -> Option<Rate> {
        match (self.mode, standing) {
            (Mode::Seed, _) | (_, Standing::Anchor) => None,
            (_, Standing::Trusted | Standing::Neutral) => Some(self.rate_known),
            _ => Some(self.rate_new),
        }
    }

    /// Score and standing of a reporter.
    pub fn score(&self, key: &KeyId, ledger: &ReporterLedger, now: Timestamp) -> (f64, Standing) {
        if self.mode == Mode::Seed {
            let standing = match ledger.seed {
                _ if self.anchors.contains(key) => Standing::Anchor,
                seed if seed < SEED_IGNORED_BELOW => Standing::Banned,
                _ => Standing::Neutral,
            };
            return (ledger.seed as f64, standing);
        }
        if self.anchors.contains(key) {
            return (1.0, Standing::Anchor);
        }
        let (good, bad) = ledger.balance(now);
        let score = good / (good + bad + DOUBT);
        let standing = if bad >= BANNED_FROM && bad > 2.0 * good {
            Standing::Banned
        } else if bad > good + DISTRUST_MARGIN {
            Standing::Distrusted
        } else if good < CONFIRMED_MIN || now.since(ledger.first_seen) < self.probation {
            Standing::Probation
        } else if score >= TRUSTED_FROM {
            Standing::Trusted
        } else {
            Standing::Neutral
        };
        (score, standing)
    }

    /// A reporter's score, with everything that it is made of.
    pub fn judge(&self, key: &KeyId, ledger: &ReporterLedger, now: Timestamp) -> Judgement {
        let (score, standing) = self.score(key, ledger, now);
        let mut reasons = Vec::new();
        let mut reason = |what: String, effect: f64| reasons.push(Reason { what, effect });
        if self.mode == Mode::Seed {
            let lost = ledger.invalid as f64 * -3.0;
            reason(format!("{} events with a valid signature, 1 each", ledger.valid), score - lost);
            reason(format!("{} events in its name with another, -3 each", ledger.invalid), lost);
        } else if standing == Standing::Anchor {
            reason("named as an anchor by the operator, or this node itself".to_owned(), 1.0);
        } else {
            let (good, bad) = ledger.balance(now);
            let without = good / (good + DOUBT);
            let kept = format!(
                "confirmed {} times by others with weight; {good:.2} of it is left",
                ledger.corroborated
            );
            reason(kept, without);
            let found = format!("found wrong {} times; {bad:.2} of it is left", ledger.contradicted);
            reason(found, score - without);
            if good < CONFIRMED_MIN {
                reason(
                    "on probation until independent reporters with weight confirm what it reports".to_owned(),
                    0.0,
                );
            }
            let age = now.since(ledger.first_seen);
            if age < self.probation {
                let left = (self.probation - age).as_secs().div_ceil(3600);
                reason(format!("on probation for {left} more hours, since it is new"), 0.0);
            }
            if ledger.limited > 0 {
                reason(format!("{} events were dropped, since there were too many", ledger.limited), 0.0);
            }
            if let Some(organisation) = self.organisation(key) {
                reason(
                    format!("one of organisation `{organisation}`, whose keys do not confirm each other"),
                    0.0,
                );
            }
        }
        Judgement { score, standing, reasons }
    }
}

#[cfg(test)]
mod tests;
