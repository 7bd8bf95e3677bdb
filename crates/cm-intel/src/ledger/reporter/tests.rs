use cm_types::Sha256Digest;
use proptest::prelude::*;

use super::*;

fn key(number: u8) -> KeyId {
    KeyId(Sha256Digest::from_bytes([number; 32]))
}

fn terms(mode: Mode) -> Terms {
    Terms {
        mode,
        anchors: vec![key(0)],
        organisations: BTreeMap::from([(key(7), "bank".to_owned()), (key(8), "bank".to_owned())]),
        probation: Duration::from_secs(24 * 3600),
        rate_new: Rate::per_hour(600),
        rate_known: Rate::per_hour(6000),
    }
}

fn begin() -> Timestamp {
    Timestamp::from_micros(0)
}

fn days(count: u64) -> Timestamp {
    begin().after(Duration::from_secs(count * 24 * 3600))
}

#[test]
fn seed_counts_and_ignores_as_the_earlier_node_does() {
    let terms = terms(Mode::Seed);
    let mut ledger = ReporterLedger::new(begin());
    ledger.keep(begin());
    let mut seen = vec![terms.score(&key(1), &ledger, begin())];
    for _ in 0..4 {
        ledger.blame();
        seen.push(terms.score(&key(1), &ledger, begin()));
    }
    let scores: Vec<f64> = seen.iter().map(|(score, _)| *score).collect();
    assert_eq!(scores, [1.0, -2.0, -5.0, -8.0, -11.0]);
    let banned: Vec<bool> = seen.iter().map(|(_, standing)| *standing == Standing::Banned).collect();
    assert_eq!(banned, [false, false, false, false, true]);
}

#[test]
fn forgeries_in_somebodys_name_do_not_harm_who_is_named() {
    let terms = terms(Mode::Hardened);
    let mut ledger = ReporterLedger::new(begin());
    for _ in 0..3 {
        ledger.confirm(1.0, 1, begin());
    }
    let before = terms.score(&key(1), &ledger, days(2));
    (0..1000).for_each(|_| ledger.blame());
    assert_eq!(terms.score(&key(1), &ledger, days(2)), before);
    assert_eq!(before.1, Standing::Neutral);
}

#[test]
fn a_farm_of_keys_cannot_vote_itself_up() {
    let terms = terms(Mode::Hardened);
    let mut farm: Vec<ReporterLedger> = (0..100).map(|_| ReporterLedger::new(begin())).collect();
    for day in 0..30 {
        let weights: Vec<f64> =
            (0..100u8).map(|at| terms.weight(&key(at + 50), &farm[usize::from(at)], days(day))).collect();
        for (at, ledger) in farm.iter_mut().enumerate() {
            ledger.keep(days(day));
            weights
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != at)
                .for_each(|(_, weight)| ledger.confirm(*weight, 1, days(day)));
        }
    }
    for (at, ledger) in (0u8..).zip(&farm) {
        assert_eq!(terms.score(&key(at + 50), ledger, days(30)), (0.0, Standing::Probation));
    }
}

#[test]
fn trust_flows_from_anchors_and_fades() {
    let terms = terms(Mode::Hardened);
    let mut ledger = ReporterLedger::new(begin());
    for day in 0..10 {
        ledger.confirm(1.0, 1, days(day));
    }
    assert_eq!(terms.score(&key(1), &ledger, days(10)).1, Standing::Trusted);
    let weight = terms.weight(&key(1), &ledger, days(10));
    let mut second = ReporterLedger::new(days(0));
    (0..4).for_each(|_| second.confirm(weight, 1, days(10)));
    assert!(terms.score(&key(2), &second, days(10)).0 < terms.score(&key(1), &ledger, days(10)).0);
    assert_eq!(terms.score(&key(1), &ledger, days(400)).1, Standing::Probation, "forgotten in time");
}

#[test]
fn repeating_what_others_said_gains_little() {
    let terms = terms(Mode::Hardened);
    let (mut first, mut parrot) = (ReporterLedger::new(begin()), ReporterLedger::new(begin()));
    first.confirm(1.0, 1, begin());
    parrot.confirm(1.0, 4, begin());
    let score = |ledger: &ReporterLedger| terms.score(&key(1), ledger, days(1)).0;
    assert!(score(&first) > 8.0 * score(&parrot));
}

#[test]
fn what_is_found_wrong_bans_in_the_end() {
    let terms = terms(Mode::Hardened);
    let mut ledger = ReporterLedger::new(begin());
    let standing = |ledger: &ReporterLedger| terms.score(&key(1), ledger, begin()).1;
    ledger.fault(Fault::Dismissed, begin());
    assert_eq!(standing(&ledger), Standing::Distrusted);
    (0..3).for_each(|_| ledger.fault(Fault::Dismissed, begin()));
    assert_eq!(standing(&ledger), Standing::Banned);
    assert_eq!(terms.score(&key(0), &ledger, begin()).1, Standing::Anchor, "the operator's word goes before");
}

#[test]
fn keys_of_one_organisation_do_not_confirm_each_other() {
    let terms = terms(Mode::Hardened);
    assert!(!terms.independent(&key(7), &key(8)));
    assert!(!terms.independent(&key(1), &key(1)));
    assert!(terms.independent(&key(1), &key(2)));
    assert!(terms.independent(&key(1), &key(7)));
}

proptest! {
    #[test]
    fn every_score_is_explained_to_the_last_digit(
        confirmed in prop::collection::vec((0.0f64..1.0, 1usize..5, 0u64..50), 0..30),
        faults in 0usize..6,
        blamed in 0u64..9,
        kept in 0u64..9,
    ) {
        let mut ledger = ReporterLedger::new(begin());
        (0..kept).for_each(|_| ledger.keep(begin()));
        (0..blamed).for_each(|_| ledger.blame());
        for (weight, position, day) in confirmed {
            ledger.confirm(weight, position, days(day));
        }
        (0..faults).for_each(|_| ledger.fault(Fault::Exempt, days(50)));
        for (mode, least, most) in [(Mode::Hardened, 0.0, 1.0), (Mode::Seed, f64::MIN, f64::MAX)] {
            let judgement = terms(mode).judge(&key(1), &ledger, days(51));
            let sum: f64 = judgement.reasons.iter().map(|reason| reason.effect).sum();
            prop_assert!((sum - judgement.score).abs() < 1e-9, "{judgement:?}");
            prop_assert!((least..=most).contains(&judgement.score));
        }
    }

    #[test]
    fn a_day_adds_a_bounded_amount(count in 0usize..500) {
        let mut ledger = ReporterLedger::new(begin());
        (0..count).for_each(|_| ledger.confirm(1.0, 1, begin()));
        prop_assert!(ledger.balance(begin()).0 <= GAIN_PER_DAY_MAX + 1e-9);
    }
}
