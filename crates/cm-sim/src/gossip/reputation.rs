//! Reporters who collude, against the product's own ledgers and indicators.
//!
//! Each day there are threats that anchors and honest reporters see, some of them each, at any hour. Colluding reporters tell of addresses where nothing is,
//! all of them of the same, and do what they can to be believed. An operator looks at what comes to be believed, and dismisses what is false the day after.

use std::time::Duration;

use cm_intel::indicator::Sightings;
use cm_intel::ledger::Mode;
use cm_intel::ledger::bucket::Rate;
use cm_intel::ledger::reporter::{Fault, ReporterLedger, Standing, Terms};
use cm_intel::{KeyId, ThreatEvent, Tlp};
use cm_quorum::Rng;
use cm_types::{Sha256Digest, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Threats that there are each day, and false ones that colluding reporters tell of.
const TRUE_PER_DAY: usize = 20;
const FALSE_PER_DAY: usize = 5;
/// How many of a thousand threats an anchor sees, and an honest reporter.
const ANCHOR_SEES: u64 = 300;
const HONEST_SEES: u64 = 100;
/// From this confidence on something is believed: what exports ask for unless told.
const BELIEVED_FROM: u8 = 50;

/// How colluding reporters come to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collusion {
    /// By saying the same as many.
    Farm,
    /// Also by repeating what others said.
    Parrots,
    /// By telling the truth for half of the time, as well as honest ones do.
    Sleepers,
}

impl Collusion {
    /// All of them.
    pub const ALL: [Collusion; 3] = [Collusion::Farm, Collusion::Parrots, Collusion::Sleepers];

    /// The name, for tables.
    pub fn name(self) -> &'static str {
        match self {
            Collusion::Farm => "say the same",
            Collusion::Parrots => "repeat others",
            Collusion::Sleepers => "tell the truth at first",
        }
    }
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many reporters, anchors included.
    pub reporters: usize,
    /// How many of them the operator names.
    pub anchors: usize,
    /// How many of a hundred others collude.
    pub colluding_percent: u64,
    /// How.
    pub collusion: Collusion,
    /// For how long.
    pub days: u32,
    /// What decides everything.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What the word of honest reporters weighs at the end, on average; anchors apart.
    pub honest_weight: f64,
    /// What that of the weightiest colluding reporter weighs at the end, and ever did.
    pub colluding_weight: f64,
    /// See [`Report::colluding_weight`].
    pub colluding_weight_most: f64,
    /// How many of a thousand threats that an honest reporter told of came to be believed, in the second half.
    pub believed_permille: u64,
    /// How many false ones were told of, and how many of them came to be believed.
    pub lies: u64,
    /// See [`Report::lies`].
    pub lies_believed: u64,
    /// On how many days a lie was believed.
    pub days_deceived: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Anchor,
    Honest,
    Colluding,
}

struct Town {
    terms: Terms,
    kinds: Vec<Kind>,
    ledgers: Vec<ReporterLedger>,
}

fn key(number: usize) -> KeyId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    KeyId(Sha256Digest::from_bytes(bytes))
}

fn number(key: &KeyId) -> usize {
    let (head, _) = key.0.as_bytes().split_first_chunk::<8>().expect("a digest has 32 bytes");
    usize::try_from(u64::from_be_bytes(*head)).unwrap_or(usize::MAX)
}

/// Simulates reporters for some days.
pub fn run(settings: &Settings) -> Report {
    let mut rng = Rng::new(settings.seed);
    let kinds: Vec<Kind> = (0..settings.reporters)
        .map(|at| match at < settings.anchors {
            true => Kind::Anchor,
            false if rng.per_mille(settings.colluding_percent * 10) => Kind::Colluding,
            false => Kind::Honest,
        })
        .collect();
    let terms = Terms {
        mode: Mode::Hardened,
        anchors: (0..settings.anchors).map(key).collect(),
        organisations: Default::default(),
        probation: DAY,
        rate_new: Rate::per_hour(600),
        rate_known: Rate::per_hour(36_000),
    };
    let ledgers = vec![ReporterLedger::new(Timestamp::from_micros(0)); settings.reporters];
    let mut town = Town { terms, kinds, ledgers };
    let mut report = Report {
        honest_weight: 0.0,
        colluding_weight: 0.0,
        colluding_weight_most: 0.0,
        believed_permille: 0,
        lies: 0,
        lies_believed: 0,
        days_deceived: 0,
    };
    let (mut told, mut believed) = (0, 0);
    for day in 0..settings.days {
        let morning = Timestamp::from_micros(0).after(DAY * day);
        let second_half = day >= settings.days / 2;
        let sleeping = settings.collusion == Collusion::Sleepers && !second_half;
        for _ in 0..TRUE_PER_DAY {
            let who = town.witnesses(&mut rng, settings.collusion, sleeping);
            let sightings = town.tell(&who, morning, &mut rng);
            if second_half && who.iter().any(|at| town.kinds[*at] == Kind::Honest) {
                told += 1;
                believed += u64::from(town.confidence(&sightings, morning.after(DAY)) >= BELIEVED_FROM);
            }
        }
        if sleeping {
            continue;
        }
        let mut deceived = false;
        for _ in 0..FALSE_PER_DAY {
            let liars: Vec<usize> =
                (0..settings.reporters).filter(|at| town.kinds[*at] == Kind::Colluding).collect();
            let sightings = town.tell(&liars, morning, &mut rng);
            report.lies += 1;
            let evening = morning.after(DAY);
            if town.confidence(&sightings, evening) >= BELIEVED_FROM {
                report.lies_believed += 1;
                deceived = true;
                // Somebody was refused who should not have been, and complains.
                for liar in sightings.reporters() {
                    town.ledgers[number(liar)].fault(Fault::Dismissed, evening);
                }
            }
        }
        report.days_deceived += u32::from(deceived);
        report.colluding_weight_most =
            report.colluding_weight_most.max(town.heaviest(Kind::Colluding, morning));
    }
    let end = Timestamp::from_micros(0).after(DAY * settings.days);
    let honest: Vec<f64> = town.weights(Kind::Honest, end).collect();
    report.honest_weight = honest.iter().sum::<f64>() / honest.len().max(1) as f64;
    report.colluding_weight = town.heaviest(Kind::Colluding, end);
    report.colluding_weight_most = report.colluding_weight_most.max(report.colluding_weight);
    report.believed_permille = believed * 1000 / told.max(1);
    report
}

impl Town {
    fn weight(&self, at: usize, now: Timestamp) -> f64 {
        self.terms.weight(&key(at), &self.ledgers[at], now)
    }

    fn weights(&self, kind: Kind, now: Timestamp) -> impl Iterator<Item = f64> {
        let of = (0..self.kinds.len()).filter(move |at| self.kinds[*at] == kind);
        of.map(move |at| self.weight(at, now))
    }

    fn heaviest(&self, kind: Kind, now: Timestamp) -> f64 {
        self.weights(kind, now).fold(0.0, f64::max)
    }

    /// Who tells of a threat that there is, in the order in which they do.
    fn witnesses(&self, rng: &mut Rng, collusion: Collusion, sleeping: bool) -> Vec<usize> {
        let (mut seen, mut parrots) = (Vec::new(), Vec::new());
        for (at, kind) in self.kinds.iter().enumerate() {
            let sees = match kind {
                Kind::Anchor => ANCHOR_SEES,
                Kind::Honest => HONEST_SEES,
                Kind::Colluding if sleeping => HONEST_SEES,
                Kind::Colluding if collusion == Collusion::Parrots => {
                    parrots.push(at);
                    continue;
                }
                Kind::Colluding => 0,
            };
            if rng.per_mille(sees) {
                seen.push(at);
            }
        }
        // Anybody may be first.
        for at in (1..seen.len()).rev() {
            seen.swap(at, rng.below(at as u64 + 1) as usize);
        }
        // Whoever repeats waits for the first to speak, not for anchors.
        if !seen.is_empty() {
            let after = 1 + rng.below(seen.len() as u64) as usize;
            seen.splice(after..after, parrots);
        }
        seen
    }

    /// Lets them tell of something new, in their order, over a day.
    fn tell(&mut self, who: &[usize], morning: Timestamp, rng: &mut Rng) -> Sightings {
        let event = ThreatEvent {
            id: String::new(),
            source_ip: "198.51.100.1".to_owned(),
            threat_type: "scan".to_owned(),
            severity: "high".to_owned(),
            timestamp: String::new(),
            reporter_pubkey: String::new(),
            signature: String::new(),
        };
        let mut now = morning;
        let mut sightings = Sightings::new(now);
        for at in who {
            now = now.after(rng.duration(Duration::from_secs(1), DAY / (who.len() as u32 + 1)));
            let banned = self.terms.score(&key(*at), &self.ledgers[*at], now).1 == Standing::Banned;
            if banned {
                continue;
            }
            self.ledgers[*at].keep(now);
            let weight = self.weight(*at, now);
            let weigh = |other: &KeyId| self.weight(number(other), now);
            let confirmed = sightings.add((&event, 1), key(*at), Tlp::Clear, now, &self.terms, weigh);
            for confirmed in confirmed {
                self.ledgers[number(&confirmed.reporter)].confirm(weight, confirmed.position, now);
            }
        }
        sightings
    }

    fn confidence(&self, sightings: &Sightings, now: Timestamp) -> u8 {
        let weigh = |other: &KeyId| self.weight(number(other), now);
        sightings.indicator("198.51.100.1".to_owned(), 7 * DAY, &self.terms, weigh).confidence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(collusion: Collusion) -> Settings {
        Settings { reporters: 100, anchors: 4, colluding_percent: 30, collusion, days: 40, seed: 7 }
    }

    #[test]
    fn whoever_only_agrees_with_each_other_is_never_believed() {
        let report = run(&settings(Collusion::Farm));
        assert_eq!((report.colluding_weight_most, report.lies_believed), (0.0, 0), "{report:?}");
        assert!(report.honest_weight > 0.5, "{report:?}");
        assert!(report.believed_permille > 900, "{report:?}");
    }

    #[test]
    fn whoever_earned_trust_and_lies_loses_it() {
        let report = run(&settings(Collusion::Sleepers));
        assert!(report.lies_believed > 0, "whoever told the truth is believed: {report:?}");
        assert!(report.days_deceived <= 12, "{report:?}");
        assert!(report.colluding_weight < 0.1, "{report:?}");
        assert_eq!(run(&settings(Collusion::Sleepers)), report, "a seed decides everything");
    }
}
