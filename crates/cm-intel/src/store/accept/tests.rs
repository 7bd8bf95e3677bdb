use cm_crypto::pss::PssSigningKey;
use cm_db::{Db, open_memory};
use cm_types::PageLimit;

use super::*;
use crate::ledger::bucket::Rate;
use crate::store::{read, schema};
use crate::{Draft, EventFilter, sign};

fn rules(mode: Mode, anchors: Vec<KeyId>) -> Rules {
    let terms = Terms {
        mode,
        anchors,
        organisations: Default::default(),
        probation: Duration::ZERO,
        rate_new: Rate { per_second: 0.1, burst: 5.0 },
        rate_known: Rate::per_hour(1000),
    };
    Rules { terms: Arc::new(terms), events_max: 1000, exempt: Arc::new(()) }
}

fn draft(source: &str) -> Draft {
    Draft {
        source_ip: source.into(),
        threat_type: "brute force".into(),
        severity: "high".into(),
        timestamp: "2026-11-21 10:00:00".into(),
    }
}

fn valid(verified: Verified) -> Arrival {
    Arrival::Valid { verified, origin: Origin::Link("192.0.2.1".into()), tlp: Tlp::Clear }
}

fn forged(event: &ThreatEvent, claimed: KeyId) -> Arrival {
    let event = Box::new(ThreatEvent { signature: String::new(), ..event.clone() });
    Arrival::Forged { event, claimed: Some(claimed), link: "192.0.2.1".into(), reason: "test".into() }
}

async fn take(db: &Db, rules: &Rules, arrivals: Vec<Arrival>, at: u64) -> Vec<Outcome> {
    let rules = rules.clone();
    let now = Timestamp::from_micros(0).after(Duration::from_secs(at));
    db.write(move |tx| accept(tx, &rules, arrivals, now)).await.unwrap().outcomes
}

async fn score(db: &Db, rules: &Rules, key: KeyId) -> (f64, Standing) {
    let terms = rules.terms.clone();
    let found = db.read(move |tx| read::reputation(tx, &terms, Timestamp::from_micros(0), key)).await;
    let found = found.unwrap().unwrap();
    (found.score, found.standing)
}

async fn count(db: &Db, rules: &Rules) -> usize {
    let terms = rules.terms.clone();
    let page = db.read(move |tx| {
        let from = (None, Direction::Forward);
        read::events(tx, &terms, Timestamp::from_micros(0), from, PageLimit::MAX, &EventFilter::default())
    });
    page.await.unwrap().items.len()
}

fn stored(outcome: &Outcome) -> &Stored {
    match outcome {
        Outcome::Kept(stored) => stored,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_kept_and_counted_once_however_often_it_comes() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let rules = rules(Mode::Seed, Vec::new());
    let event = sign(&key, draft("198.51.100.1"));
    let again = sign(&key, draft("198.51.100.1"));
    let mut all = Vec::new();
    for _ in 0..4 {
        all.extend(take(&db, &rules, vec![valid(event.clone()), valid(again.clone())], 1).await);
    }
    assert!(matches!(all[0], Outcome::Kept(_)));
    assert!(all[1..].iter().all(|outcome| *outcome == Outcome::Known(1)), "{all:?}");
    assert_eq!(score(&db, &rules, event.reporter()).await, (1.0, Standing::Neutral));
    let terms = rules.terms.clone();
    let read =
        db.read(move |tx| read::event(tx, &terms, Timestamp::from_micros(0), 1)).await.unwrap().unwrap();
    assert_eq!(read.event, *event.event(), "every byte that was signed");
}

#[tokio::test]
async fn only_verified_events_occupy_a_name_and_nobody_elses() {
    let (db, rules) = (open_memory(&schema()), rules(Mode::Hardened, Vec::new()));
    let (victim, squatter) = (PssSigningKey::generate().unwrap(), PssSigningKey::generate().unwrap());
    let real = sign(&victim, draft("198.51.100.1"));
    // A forged event with the name that is to come, then the squatter's own under that name, both before the real one.
    let mut squat = ThreatEvent::clone(sign(&squatter, draft("203.0.113.9")).event());
    squat.id.clone_from(&real.event().id);
    squat.signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(squatter.sign(squat.canonical().as_bytes()))
    };
    let squat = crate::Verifier::default().verify(squat).unwrap();
    let arrivals = vec![forged(real.event(), real.reporter()), valid(squat), valid(real.clone())];
    let outcomes = take(&db, &rules, arrivals, 1).await;
    assert_eq!(outcomes[0], Outcome::Evidence);
    assert!(matches!(outcomes[1], Outcome::Kept(_)));
    assert_eq!(stored(&outcomes[2]).event, *real.event());
    let (terms, id) = (rules.terms.clone(), real.event().id.clone());
    let named = db.read(move |tx| read::by_name(tx, &terms, Timestamp::from_micros(0), &id)).await.unwrap();
    assert_eq!(named.len(), 2, "each under its own reporter");
}

#[tokio::test]
async fn framing_bans_the_victim_in_seed_mode_only() {
    for (mode, expected) in [(Mode::Seed, Standing::Banned), (Mode::Hardened, Standing::Probation)] {
        let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
        let rules = rules(mode, Vec::new());
        let event = sign(&key, draft("198.51.100.1"));
        let victim = event.reporter();
        take(&db, &rules, vec![valid(event.clone())], 1).await;
        let outcomes = take(&db, &rules, vec![forged(event.event(), victim); 6], 1).await;
        assert_eq!(score(&db, &rules, victim).await.1, expected);
        let next = take(&db, &rules, vec![valid(sign(&key, draft("198.51.100.2")))], 1).await;
        match mode {
            Mode::Seed => {
                assert_eq!((&outcomes[3], &outcomes[4]), (&Outcome::Evidence, &Outcome::Banned));
                assert_eq!(score(&db, &rules, victim).await.0, -11.0);
                assert_eq!(next[0], Outcome::Banned);
            }
            Mode::Hardened => assert!(matches!(next[0], Outcome::Kept(_))),
        }
        let evidence = db.read(|tx| read::forged(tx, PageLimit::MAX)).await.unwrap();
        assert_eq!(evidence[0].link, "192.0.2.1");
        assert_eq!(evidence[0].claimed, Some(victim));
    }
}

#[tokio::test]
async fn newcomers_have_a_rate_and_anchors_have_none() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let events: Vec<Verified> = (0..9).map(|at| sign(&key, draft(&format!("198.51.100.{at}")))).collect();
    let newcomer = rules(Mode::Hardened, Vec::new());
    let arrivals = || events.iter().cloned().map(valid).collect::<Vec<_>>();
    let outcomes = take(&db, &newcomer, arrivals(), 1).await;
    let limited = outcomes.iter().filter(|outcome| **outcome == Outcome::Limited).count();
    assert_eq!(limited, 4);
    let anchor = rules(Mode::Hardened, vec![events[0].reporter()]);
    let fresh = open_memory(&schema());
    let outcomes = take(&fresh, &anchor, arrivals(), 1).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Kept(_))));
}

#[tokio::test]
async fn an_anchor_confirms_whoever_said_it_before() {
    let db = open_memory(&schema());
    let (anchor, early, late) = (
        PssSigningKey::generate().unwrap(),
        PssSigningKey::generate().unwrap(),
        PssSigningKey::generate().unwrap(),
    );
    let confirmed = sign(&anchor, draft("198.51.100.1"));
    let rules = rules(Mode::Hardened, vec![confirmed.reporter()]);
    let (first, parrot) = (sign(&early, draft("198.51.100.1")), sign(&late, draft("198.51.100.1")));
    take(&db, &rules, vec![valid(first.clone()), valid(confirmed), valid(parrot.clone())], 1).await;
    assert!(score(&db, &rules, first.reporter()).await.0 > 0.3);
    assert_eq!(score(&db, &rules, parrot.reporter()).await.0, 0.0, "what was public already proves nothing");
}

#[tokio::test]
async fn one_name_for_two_events_is_held_against_its_signer() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let rules = rules(Mode::Hardened, Vec::new());
    let one = sign(&key, draft("198.51.100.1"));
    let mut other = ThreatEvent::clone(sign(&key, draft("198.51.100.2")).event());
    other.id.clone_from(&one.event().id);
    other.signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(key.sign(other.canonical().as_bytes()))
    };
    let other = crate::Verifier::default().verify(other).unwrap();
    let outcomes = take(&db, &rules, vec![valid(one.clone()), valid(other.clone())], 1).await;
    assert_eq!(outcomes[1], Outcome::Known(1));
    assert_eq!(score(&db, &rules, one.reporter()).await.1, Standing::Distrusted);
    take(&db, &rules, vec![valid(other); 9], 1).await;
    assert_eq!(score(&db, &rules, one.reporter()).await.1, Standing::Distrusted, "once for a name");
}

#[tokio::test]
async fn an_event_is_dismissed_once_and_its_reporter_is_no_witness_any_more() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let rules = rules(Mode::Hardened, Vec::new());
    let event = sign(&key, draft("198.51.100.1"));
    take(&db, &rules, vec![valid(event.clone())], 1).await;
    let indicator = || db.read(|tx| tx.get::<Indicators>(&"198.51.100.1".to_owned()));
    assert!(indicator().await.unwrap().is_some());
    for _ in 0..9 {
        let terms = rules.terms.clone();
        let dismissed = db.write(move |tx| dismiss(tx, &terms, 1, Timestamp::from_micros(1))).await;
        assert_eq!(dismissed.unwrap(), Some(event.reporter()));
    }
    assert_eq!(score(&db, &rules, event.reporter()).await.1, Standing::Distrusted, "not banned");
    assert!(indicator().await.unwrap().is_none());
}

#[tokio::test]
async fn events_beyond_a_rate_weigh_nothing() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let rules = rules(Mode::Hardened, Vec::new());
    let events: Vec<Arrival> =
        (0..30).map(|at| valid(sign(&key, draft(&format!("198.51.100.{at}"))))).collect();
    for _ in 0..40 {
        take(&db, &rules, events.clone(), 1).await;
    }
    let terms = rules.terms.clone();
    let reporter = KeyId(cm_crypto::pss::PssKey::from_pem(&key.public_pem()).unwrap().id());
    let found = db.read(move |tx| read::reputation(tx, &terms, Timestamp::from_micros(0), reporter)).await;
    assert_eq!(found.unwrap().unwrap().standing, Standing::Probation);
}

#[tokio::test]
async fn numbers_and_moments_rise_and_the_oldest_go() {
    let (db, key) = (open_memory(&schema()), PssSigningKey::generate().unwrap());
    let mut rules = rules(Mode::Seed, Vec::new());
    rules.events_max = 10;
    let mut kept = Vec::new();
    // The clock is set back on the way.
    for (at, second) in (0..30u64).zip((0..15).chain(0..15)) {
        let event = sign(&key, draft(&format!("203.0.113.{at}")));
        kept.push(stored(&take(&db, &rules, vec![valid(event)], second).await[0]).clone());
    }
    assert!(
        kept.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq && pair[0].received < pair[1].received)
    );
    assert_eq!(count(&db, &rules).await, 10);
    for stored in &kept[20..] {
        let at = stored.received;
        let last = db.read(move |tx| read::last_until(tx, at)).await.unwrap();
        assert_eq!(last, stored.seq);
    }
    let before = kept[20].received;
    let none = db.read(move |tx| read::last_until(tx, Timestamp::from_micros(before.as_micros() - 1))).await;
    assert_eq!(none.unwrap(), 20);
}

/// How many rows a table has.
async fn rows<T: cm_db::Table>(db: &Db) -> usize {
    db.read(|tx| tx.raw_range::<T>(KeyRange::all(), Direction::Forward, 10_000)).await.unwrap().len()
}

#[tokio::test]
async fn strangers_push_out_strangers_and_leave_nothing_behind() {
    let db = open_memory(&schema());
    let anchor = PssSigningKey::generate().unwrap();
    let of_anchor: Vec<Verified> =
        (0..8).map(|at| sign(&anchor, draft(&format!("203.0.113.{at}")))).collect();
    let mut rules = rules(Mode::Hardened, vec![of_anchor[0].reporter()]);
    rules.events_max = 16;
    take(&db, &rules, of_anchor.iter().cloned().map(valid).collect(), 1).await;
    // A new key for each event, as many as anybody likes; one of them says what the anchor said.
    let mut keys = Vec::new();
    for at in 0..30 {
        let stranger = PssSigningKey::generate().unwrap();
        let source = if at == 0 { "203.0.113.0".to_owned() } else { format!("198.51.100.{at}") };
        let event = sign(&stranger, draft(&source));
        keys.push(event.reporter());
        assert!(matches!(take(&db, &rules, vec![valid(event)], 2).await[0], Outcome::Kept(_)));
    }
    assert_eq!(count(&db, &rules).await, 8 + 4, "a quarter is for strangers");
    for of_anchor in &of_anchor {
        let name = (of_anchor.event().id.clone(), of_anchor.reporter().0);
        assert!(db.read(move |tx| tx.get::<Names>(&name)).await.unwrap().is_some(), "what counts stays");
    }
    assert_eq!(rows::<Reporters>(&db).await, 1 + 4, "nobody is remembered of whom nothing is kept");
    assert_eq!(rows::<Indicators>(&db).await, 8 + 4, "what an anchor tells of holds");
    assert_eq!(rows::<crate::store::tables::Weightless>(&db).await, 4);
    // What counts takes the room that it needs, and the oldest go.
    let more: Vec<Arrival> = (0..9).map(|at| valid(sign(&anchor, draft(&format!("192.0.2.{at}"))))).collect();
    let outcomes = take(&db, &rules, more, 3).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Kept(_))));
    assert_eq!(count(&db, &rules).await, 16);
    let last = stored(outcomes.last().unwrap());
    let (at, seq) = (last.received, last.seq);
    assert_eq!(db.read(move |tx| read::last_until(tx, at)).await.unwrap(), seq, "whatever gaps there are");
}

#[tokio::test]
async fn moments_are_found_between_gaps() {
    let (db, rules) = (open_memory(&schema()), rules(Mode::Seed, Vec::new()));
    let key = PssSigningKey::generate().unwrap();
    let mut kept = Vec::new();
    for at in 0..20u64 {
        let event = sign(&key, draft(&format!("203.0.113.{at}")));
        kept.push(stored(&take(&db, &rules, vec![valid(event)], at).await[0]).clone());
    }
    let gone: Vec<u64> = (2..19).filter(|seq| seq % 3 != 0).collect();
    db.write(move |tx| gone.iter().try_for_each(|seq| tx.delete::<Events>(seq).map(drop))).await.unwrap();
    for stored in kept.iter().filter(|stored| !(2..19).contains(&stored.seq) || stored.seq % 3 == 0) {
        let at = stored.received;
        assert_eq!(db.read(move |tx| read::last_until(tx, at)).await.unwrap(), stored.seq);
    }
}

#[tokio::test]
async fn who_is_named_by_forgeries_alone_is_forgotten_with_them() {
    let (db, rules) = (open_memory(&schema()), rules(Mode::Seed, Vec::new()));
    let event = sign(&PssSigningKey::generate().unwrap(), draft("198.51.100.1"));
    let someone = |number: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        KeyId(cm_types::Sha256Digest::from_bytes(bytes))
    };
    for some in (0..EVIDENCE_MAX as u16 + 50).collect::<Vec<_>>().chunks(100) {
        let arrivals = some.iter().map(|number| forged(event.event(), someone(*number))).collect();
        take(&db, &rules, arrivals, 1).await;
    }
    assert_eq!(rows::<Evidence>(&db).await as u64, EVIDENCE_MAX);
    assert_eq!(rows::<Reporters>(&db).await as u64, EVIDENCE_MAX);
}

#[tokio::test]
async fn what_expired_is_swept_away_and_the_rest_is_not() {
    let (db, mut rules) = (open_memory(&schema()), rules(Mode::Seed, Vec::new()));
    rules.events_max = 1;
    let (old, new) = (PssSigningKey::generate().unwrap(), PssSigningKey::generate().unwrap());
    let day = 24 * 3600;
    let said = |key: &PssSigningKey, source: &str, at: &str| {
        valid(sign(key, Draft { timestamp: at.into(), ..draft(source) }))
    };
    take(&db, &rules, vec![said(&old, "198.51.100.1", "1970-01-02 00:00:00")], 2 * day).await;
    take(&db, &rules, vec![said(&new, "198.51.100.2", "1970-01-09 00:00:00")], 9 * day).await;
    let lifetime = Duration::from_secs(7 * day);
    let at = |days: u64| Timestamp::from_micros(0).after(Duration::from_secs(days * day));
    crate::store::sweep::sweep(&db, lifetime, at(9)).await.unwrap();
    let left = db.read(|tx| tx.range::<Indicators>(KeyRange::all(), Direction::Forward, 10)).await.unwrap();
    assert_eq!(left.iter().map(|(value, _)| value.as_str()).collect::<Vec<_>>(), ["198.51.100.2"]);
    crate::store::sweep::sweep(&db, lifetime, at(400)).await.unwrap();
    assert_eq!(rows::<Indicators>(&db).await, 0);
    assert_eq!(rows::<Reporters>(&db).await, 1, "the event of one of them is kept");
    assert_eq!(count(&db, &rules).await, 1);
}
