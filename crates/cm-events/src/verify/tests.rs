use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cm_crypto::sign::SigningKey;
use cm_db::{Key, Schema, WriteTx, open_memory};
use cm_runtime::ManualClock;
use cm_types::TenantId;
use proptest::prelude::*;

use super::*;
use crate::chain::sign;
use crate::{EventLog, EventVerb, NewEvent, TABLES};

/// A log of a few records, and what tampers with it within transactions that are undone.
struct Bench {
    runtime: tokio::runtime::Runtime,
    db: Db,
    log: EventLog,
    signer: SigningKey,
}

impl Bench {
    fn new(records: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let db = open_memory(&Schema::new(1).with_tables(TABLES));
        let signer = SigningKey::generate();
        let opened = EventLog::open(&db, Arc::new(ManualClock::new()), signer.clone());
        let log = runtime.block_on(opened).unwrap();
        let bench = Self { runtime, db, log, signer };
        bench.append(records);
        bench
    }

    fn append(&self, records: u64) {
        let log = self.log.clone();
        let fill = move |tx: &mut WriteTx<'_>| {
            for n in 0..records {
                let mut event = NewEvent::new(TenantId::default_tenant(), EventVerb::fixed("thing.done"));
                event.facts.insert("n".into(), n.into());
                log.append(tx, event)?;
            }
            Ok::<_, EventError>(())
        };
        self.runtime.block_on(self.db.write(fill)).unwrap();
    }

    /// What `f` returns, its effect undone.
    fn tampered<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut WriteTx<'_>) -> Result<T, EventError> + Send + 'static,
    ) -> T {
        let answer = Arc::new(Mutex::new(None));
        let inner = answer.clone();
        let undone: Result<(), EventError> = self.runtime.block_on(self.db.write(move |tx| {
            *inner.lock().unwrap() = Some(f(tx)?);
            Err(cm_db::DbError::Closed.into())
        }));
        let taken = answer.lock().unwrap().take();
        taken.unwrap_or_else(|| panic!("{undone:?}"))
    }

    fn keys(&self) -> VerifyingKeys {
        self.signer.verifying_key().into()
    }

    /// What is found after tampering, as numbers and kinds.
    fn found(
        &self,
        tamper: impl FnOnce(&mut WriteTx<'_>) -> Result<(), EventError> + Send + 'static,
    ) -> Vec<(u64, What)> {
        self.found_with(VerifyOptions::default(), tamper)
    }

    fn found_with(
        &self,
        options: VerifyOptions,
        tamper: impl FnOnce(&mut WriteTx<'_>) -> Result<(), EventError> + Send + 'static,
    ) -> Vec<(u64, What)> {
        let keys = self.keys();
        self.tampered(move |tx| {
            tamper(tx)?;
            let verified = verify_snapshot(tx, &keys, options)?;
            Ok(verified.findings.into_iter().map(|finding| (finding.seq, finding.what)).collect())
        })
    }

    fn head(&self) -> Head {
        let log = self.log.clone();
        self.tampered(move |tx| Ok(log.signed_head(tx)?.unwrap()))
    }
}

/// Every way to read and write rows of one of the three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Record(u64),
    Checkpoint(u64),
    Head,
}

fn get(tx: &WriteTx<'_>, place: Place) -> Option<Vec<u8>> {
    match place {
        Place::Record(seq) => tx.raw_get::<Records>(&seq),
        Place::Checkpoint(seq) => tx.raw_get::<Checkpoints>(&seq),
        Place::Head => tx.raw_get::<HeadTable>(&()),
    }
    .unwrap()
}

fn set(tx: &mut WriteTx<'_>, place: Place, row: Option<Vec<u8>>) {
    match (place, row) {
        (Place::Record(seq), Some(row)) => tx.put_raw::<Records>(&seq, &row),
        (Place::Record(seq), None) => tx.delete::<Records>(&seq).map(|_| ()),
        (Place::Checkpoint(seq), Some(row)) => tx.put_raw::<Checkpoints>(&seq, &row),
        (Place::Checkpoint(seq), None) => tx.delete::<Checkpoints>(&seq).map(|_| ()),
        (Place::Head, Some(row)) => tx.put_raw::<HeadTable>(&(), &row),
        (Place::Head, None) => tx.delete::<HeadTable>(&()).map(|_| ()),
    }
    .unwrap();
}

/// Replaces a record and all hashes after it, as somebody without the key can.
fn rewrite(tx: &mut WriteTx<'_>, first: u64, last: u64) -> Head {
    let mut hash = match first {
        1 => GENESIS,
        _ => split_record(&get(tx, Place::Record(first - 1)).unwrap()).unwrap().0,
    };
    for seq in first..=last {
        let row = get(tx, Place::Record(seq)).unwrap();
        let mut body = row[32..].to_vec();
        if seq == first {
            let text = String::from_utf8(body).unwrap();
            body = text.replace("allowed", "denied!").replace("denied!", "failed").into_bytes();
        }
        hash = record_hash(&hash, seq, &body);
        set(tx, Place::Record(seq), Some([hash.as_bytes().as_slice(), &body].concat()));
    }
    Head { seq: last, hash }
}

#[test]
fn an_untouched_log_is_intact() {
    for records in [0, 1, 6] {
        assert_eq!(Bench::new(records).found(|_| Ok(())), []);
    }
}

#[test]
fn every_flipped_bit_of_every_record_is_found_and_named() {
    const RECORDS: u64 = 4;
    let bench = Bench::new(RECORDS);
    let keys = bench.keys();
    bench.tampered(move |tx| {
        for seq in 1..=RECORDS {
            let original = get(tx, Place::Record(seq)).unwrap();
            for at in 0..original.len() {
                for bit in 0..8 {
                    let mut row = original.clone();
                    row[at] ^= 1 << bit;
                    set(tx, Place::Record(seq), Some(row));
                    let findings = verify_snapshot(tx, &keys, VerifyOptions::default())?.findings;
                    assert!(!findings.is_empty(), "record {seq}, byte {at}, bit {bit} was not found");
                    for finding in findings {
                        assert_eq!(finding.seq, seq, "byte {at}, bit {bit}: {finding}");
                        assert!(matches!(finding.what, What::Altered | What::Reordered), "{finding}");
                    }
                }
            }
            set(tx, Place::Record(seq), Some(original));
        }
        Ok(())
    });
}

#[test]
fn every_altered_byte_of_head_and_checkpoint_is_found_and_named() {
    let bench = Bench::new(CHECKPOINT_EVERY);
    let keys = bench.keys();
    bench.tampered(move |tx| {
        for place in [Place::Head, Place::Checkpoint(CHECKPOINT_EVERY)] {
            let original = get(tx, place).unwrap();
            for at in 0..original.len() {
                let mut row = original.clone();
                row[at] = row[at].wrapping_add(1);
                set(tx, place, Some(row));
                let findings = verify_snapshot(tx, &keys, VerifyOptions::default())?.findings;
                assert_eq!(findings.len(), 1, "{place:?}, byte {at}: {findings:?}");
                assert_eq!(findings[0].what, What::Forged, "{place:?}, byte {at}");
                if !matches!((place, at), (Place::Head, 1..9)) {
                    assert_eq!(findings[0].seq, CHECKPOINT_EVERY);
                }
            }
            set(tx, place, Some(original));
        }
        Ok(())
    });
}

#[test]
fn missing_and_extra_and_reordered_records_are_named() {
    let bench = Bench::new(6);
    let delete = |range: std::ops::RangeInclusive<u64>| {
        move |tx: &mut WriteTx<'_>| {
            range.for_each(|seq| set(tx, Place::Record(seq), None));
            Ok(())
        }
    };
    assert_eq!(bench.found(delete(1..=1)), [(1, What::Missing)]);
    assert_eq!(bench.found(delete(3..=4)), [(3, What::Missing)]);
    assert_eq!(bench.found(delete(6..=6)), [(6, What::Missing)]);
    assert_eq!(bench.found(delete(2..=6)), [(2, What::Missing)]);
    assert_eq!(bench.found(delete(1..=6)), [(1, What::Missing)]);
    let swap = |a, b| {
        move |tx: &mut WriteTx<'_>| {
            let (row_a, row_b) = (get(tx, Place::Record(a)), get(tx, Place::Record(b)));
            set(tx, Place::Record(a), row_b);
            set(tx, Place::Record(b), row_a);
            Ok(())
        }
    };
    assert_eq!(bench.found(swap(2, 3)), [(2, What::Reordered), (3, What::Reordered)]);
    assert_eq!(bench.found(swap(1, 6)), [(1, What::Reordered), (6, What::Reordered)]);
    let copy = |from, to| {
        move |tx: &mut WriteTx<'_>| {
            let row = get(tx, Place::Record(from));
            set(tx, Place::Record(to), row);
            Ok(())
        }
    };
    assert_eq!(bench.found(copy(6, 7)), [(7, What::Extra)]);
    assert_eq!(bench.found(copy(6, 0)), [(0, What::Extra)]);
    assert_eq!(bench.found(copy(2, 4)), [(4, What::Reordered)]);
    let no_head = |tx: &mut WriteTx<'_>| {
        set(tx, Place::Head, None);
        Ok(())
    };
    assert_eq!(bench.found(no_head), [(6, What::Missing)]);
}

#[test]
fn a_truncated_log_with_a_head_of_another_key_or_purpose_is_forged() {
    let bench = Bench::new(3);
    let thief = SigningKey::generate();
    let forge = move |tx: &mut WriteTx<'_>| {
        set(tx, Place::Record(3), None);
        let hash = split_record(&get(tx, Place::Record(2)).unwrap()).unwrap().0;
        set(tx, Place::Head, Some(sign(Purpose::Head, &Head { seq: 2, hash }, &thief)));
        Ok(())
    };
    assert_eq!(bench.found(forge), [(2, What::Forged)]);
    let (signer, end) = (bench.signer.clone(), bench.head());
    let other_purpose = move |tx: &mut WriteTx<'_>| {
        set(tx, Place::Head, Some(sign(Purpose::Checkpoint, &end, &signer)));
        Ok(())
    };
    assert_eq!(bench.found(other_purpose), [(3, What::Forged)]);
    let changed_key = VerifyingKeys::from(SigningKey::generate().verifying_key());
    let findings =
        bench.tampered(move |tx| Ok(verify_snapshot(tx, &changed_key, Default::default())?.findings));
    assert_eq!((findings[0].seq, findings[0].what), (3, What::Forged));
}

#[test]
fn rewriting_with_all_later_hashes_is_told_by_the_next_signature() {
    let bench = Bench::new(2 * CHECKPOINT_EVERY + 5);
    let end = 2 * CHECKPOINT_EVERY + 5;
    let check = |first, expected| {
        let found = bench.found(move |tx| {
            rewrite(tx, first, end);
            Ok(())
        });
        assert_eq!(found, [(expected, What::Rewritten)], "rewritten from {first}");
    };
    check(1, CHECKPOINT_EVERY);
    check(CHECKPOINT_EVERY, CHECKPOINT_EVERY);
    check(CHECKPOINT_EVERY + 1, 2 * CHECKPOINT_EVERY);
    check(end, end);
    let no_checkpoint = |tx: &mut WriteTx<'_>| {
        set(tx, Place::Checkpoint(CHECKPOINT_EVERY), None);
        let row = get(tx, Place::Checkpoint(2 * CHECKPOINT_EVERY));
        set(tx, Place::Checkpoint(7), row);
        Ok(())
    };
    assert_eq!(bench.found(no_checkpoint), [(CHECKPOINT_EVERY, What::Missing), (7, What::Extra)]);
}

#[test]
fn an_anchor_finds_a_genuine_but_older_or_other_log() {
    let bench = Bench::new(4);
    let early = bench.head();
    let anchored = |anchor| VerifyOptions { anchor: Some(anchor), ..VerifyOptions::default() };
    bench.append(3);
    let late = bench.head();
    assert_eq!(bench.found_with(anchored(early), |_| Ok(())), []);
    assert_eq!(bench.found_with(anchored(late), |_| Ok(())), []);
    let signer = bench.signer.clone();
    let roll_back = move |tx: &mut WriteTx<'_>| {
        (5..=7).for_each(|seq| set(tx, Place::Record(seq), None));
        set(tx, Place::Head, Some(sign(Purpose::Head, &early, &signer)));
        Ok(())
    };
    assert_eq!(bench.found(roll_back.clone()), [], "nothing in the log itself tells");
    assert_eq!(bench.found_with(anchored(late), roll_back), [(7, What::RolledBack)]);
    let signer = bench.signer.clone();
    let with_the_key = move |tx: &mut WriteTx<'_>| {
        let head = rewrite(tx, 2, 7);
        set(tx, Place::Head, Some(sign(Purpose::Head, &head, &signer)));
        Ok(())
    };
    assert_eq!(bench.found_with(anchored(early), with_the_key), [(4, What::Rewritten)]);
    let nothing_left = |tx: &mut WriteTx<'_>| {
        (1..=7).for_each(|seq| set(tx, Place::Record(seq), None));
        set(tx, Place::Head, None);
        Ok(())
    };
    assert_eq!(bench.found_with(anchored(early), nothing_left), [(4, What::RolledBack)]);
}

#[test]
fn findings_are_collected_up_to_a_limit_and_progress_is_told() {
    let bench = Bench::new(2500);
    let break_some = |tx: &mut WriteTx<'_>| {
        for seq in [3, 5, 1700, 2500] {
            let mut row = get(tx, Place::Record(seq)).unwrap();
            row[60] ^= 1;
            set(tx, Place::Record(seq), Some(row));
        }
        Ok(())
    };
    let all = [3, 5, 1700, 2500].map(|seq| (seq, What::Altered));
    assert_eq!(bench.found(break_some), all);
    assert_eq!(bench.found_with(VerifyOptions { anchor: None, findings_max: 1 }, break_some), all[..1]);
    let mut progress = Vec::new();
    let keys = bench.keys();
    let verifying = verify(&bench.db, &keys, VerifyOptions::default(), |step| progress.push(step.checked));
    let verified = bench.runtime.block_on(verifying).unwrap();
    assert!(verified.is_intact());
    assert_eq!((verified.records, verified.head), (2500, Some(bench.head())));
    assert_eq!(progress, [1000, 2000, 2500]);
}

#[test]
fn a_log_that_grows_meanwhile_is_intact() {
    let bench = Bench::new(1500);
    let keys = bench.keys();
    let appending = async {
        for _ in 0..200 {
            let log = bench.log.clone();
            let event = NewEvent::new(TenantId::default_tenant(), EventVerb::fixed("thing.done"));
            bench.db.write(move |tx| log.append(tx, event)).await.unwrap();
        }
    };
    let verifying = verify(&bench.db, &keys, VerifyOptions::default(), |_| ());
    let (verified, ()) = bench.runtime.block_on(async { tokio::join!(verifying, appending) });
    let verified = verified.unwrap();
    assert!(verified.is_intact(), "{verified:?}");
    assert_eq!(verified.head.map(|head| head.seq), Some(verified.records));
    assert!(verified.records >= 1500);
}

/// One act of somebody who can write the file.
#[derive(Clone, Debug)]
enum Act {
    Flip(usize, usize, u8),
    Delete(usize),
    Copy(usize, usize),
    Swap(usize, usize),
    Cut(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let place = 0usize..8;
    prop_oneof![
        (place.clone(), any::<usize>(), 0u8..8).prop_map(|(p, at, bit)| Act::Flip(p, at, bit)),
        place.clone().prop_map(Act::Delete),
        (place.clone(), place.clone()).prop_map(|(from, to)| Act::Copy(from, to)),
        (place.clone(), place.clone()).prop_map(|(a, b)| Act::Swap(a, b)),
        (place, 0usize..400).prop_map(|(p, len)| Act::Cut(p, len)),
    ]
}

/// Records 1 to 6, a place beyond the end, and the head.
const PLACES: [Place; 8] = [
    Place::Record(1),
    Place::Record(2),
    Place::Record(3),
    Place::Record(4),
    Place::Record(5),
    Place::Record(6),
    Place::Record(7),
    Place::Head,
];

fn perform(tx: &mut WriteTx<'_>, act: &Act) {
    match *act {
        Act::Flip(p, at, bit) => {
            let Some(mut row) = get(tx, PLACES[p]).filter(|row| !row.is_empty()) else { return };
            let at = at % row.len();
            row[at] ^= 1 << bit;
            set(tx, PLACES[p], Some(row));
        }
        Act::Delete(p) => set(tx, PLACES[p], None),
        Act::Copy(from, to) => {
            let row = get(tx, PLACES[from]);
            set(tx, PLACES[to], row);
        }
        Act::Swap(a, b) => {
            let (row_a, row_b) = (get(tx, PLACES[a]), get(tx, PLACES[b]));
            set(tx, PLACES[a], row_b);
            set(tx, PLACES[b], row_a);
        }
        Act::Cut(p, len) => {
            let row = get(tx, PLACES[p]).map(|mut row| {
                row.truncate(len);
                row
            });
            set(tx, PLACES[p], row);
        }
    }
}

fn content(tx: &WriteTx<'_>) -> BTreeMap<Place, Vec<u8>> {
    PLACES.iter().filter_map(|&place| get(tx, place).map(|row| (place, row))).collect()
}

#[test]
fn whatever_changes_the_log_is_found() {
    let bench = Bench::new(6);
    proptest!(|(acts in proptest::collection::vec(act(), 1..5))| {
        let keys = bench.keys();
        let described = format!("{acts:?}");
        let (same, findings) = bench.tampered(move |tx| {
            let before = content(tx);
            acts.iter().for_each(|act| perform(tx, act));
            let same = content(tx) == before;
            Ok((same, verify_snapshot(tx, &keys, VerifyOptions::default())?.findings))
        });
        prop_assert_eq!(same, findings.is_empty(), "{} {:?}", described, findings);
    });
}

#[test]
fn a_key_that_is_no_number_is_found() {
    struct AnyKey;
    impl cm_db::Table for AnyKey {
        const NAME: &'static str = "events";
        type Key = (u64, String);
        type Row = serde_json::Value;
    }
    let bench = Bench::new(3);
    let key = (2u64, "x".to_owned());
    assert!(key.encode().len() > 8);
    let found = bench.found(move |tx| Ok(tx.put_raw::<AnyKey>(&key, b"row")?));
    assert_eq!(found, [(2, What::Extra)]);
}
