//! What feeds say, in a database in memory.

use std::time::Duration;

use cm_db::{Db, DbError, Direction, KeyRange, open_memory};
use cm_types::Timestamp;

use super::tables::{Claims, FeedRow, Feeds, Statements, Tally};
use super::take::{Taken, take_up_to};
use super::{FeedKind, Said, claims, sweep};
use crate::{Indicator, Tlp, store};

const DAY: Duration = Duration::from_secs(24 * 3600);
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

fn day(number: u64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000).after(DAY * u32::try_from(number).unwrap())
}

fn said(id: &str, version: u64, values: &[&str]) -> Said {
    Said {
        id: id.to_owned(),
        version: day(version),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        threat_type: "beacon".to_owned(),
        severity: "medium".to_owned(),
        confidence: 100,
        from: day(version),
        until: None,
        tlp: Tlp::Green,
    }
}

/// A database with feeds of these weights, called `a`, `b` and so on, under the numbers 1, 2 and so on.
async fn with_feeds(weights: &[u8]) -> Db {
    let db = open_memory(&store::schema());
    for (weight, number) in weights.iter().zip(1u8..) {
        let row = FeedRow {
            number: u64::from(number),
            kind: FeedKind::Taxii,
            url: "https://feed.example/".to_owned(),
            username: None,
            sealed: None,
            weight: *weight,
            every_secs: 3600,
            unmarked: Tlp::Amber,
            created: day(0),
            position: String::new(),
            next: day(0),
            pulls: 0,
            last_success: None,
            last_failure: None,
            failures: 0,
            indicators: 0,
            tally: Tally::default(),
        };
        let name = char::from(b'a' + number - 1).to_string();
        db.write(move |tx| tx.put::<Feeds>(&name, &row)).await.unwrap();
    }
    db
}

async fn take(db: &Db, feed: &str, said: Vec<Said>, now: u64, most: u64) -> Option<FeedRow> {
    let name = feed.to_owned();
    let written = db.write(move |tx| {
        let number = u64::from(name.as_bytes()[0] - b'a' + 1);
        let taken = Taken { said, position: format!("day {now}"), tally: Tally::default() };
        let kept = take_up_to(tx, &name, number, taken, day(now), LIFETIME, most)?;
        Ok::<_, DbError>(if kept { tx.get::<Feeds>(&name)? } else { None })
    });
    written.await.unwrap()
}

/// What all feeds say of a source.
async fn indicator(db: &Db, value: &str, now: u64) -> Option<Indicator> {
    let value = value.to_owned();
    let read = db.read(move |tx| {
        let (all, _) = claims::after(tx, None, 500)?;
        let of_it = all.get(&value).cloned().unwrap_or_default();
        Ok::<_, DbError>(claims::merged(None, value, &of_it, &claims::weights(tx)?, day(now)))
    });
    read.await.unwrap()
}

async fn counts(db: &Db) -> (usize, usize) {
    let read = db.read(|tx| {
        let statements = tx.range::<Statements>(KeyRange::all(), Direction::Forward, 1000)?.len();
        Ok::<_, DbError>((statements, tx.range::<Claims>(KeyRange::all(), Direction::Forward, 1000)?.len()))
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_version_replaces_the_one_before_and_an_older_one_never_returns() {
    let db = with_feeds(&[20]).await;
    take(&db, "a", vec![said("i", 1, &["198.51.100.1", "198.51.100.2"])], 2, 10).await.unwrap();
    let again = take(&db, "a", vec![said("i", 1, &["198.51.100.9"])], 2, 10).await.unwrap();
    assert_eq!((again.tally.kept, again.tally.known, again.indicators), (1, 1, 1), "known by id and version");
    assert_eq!(again.position, "day 2", "written with what was read");
    take(&db, "a", vec![said("i", 2, &["198.51.100.2", "198.51.100.3"])], 2, 10).await.unwrap();
    for (value, is_there) in
        [("198.51.100.1", false), ("198.51.100.2", true), ("198.51.100.3", true), ("198.51.100.9", false)]
    {
        assert_eq!(indicator(&db, value, 2).await.is_some(), is_there, "{value}");
    }
    let withdrawn = take(&db, "a", vec![said("i", 3, &[])], 3, 10).await.unwrap();
    assert_eq!((withdrawn.tally.withdrawn, withdrawn.indicators), (1, 0));
    take(&db, "a", vec![said("i", 2, &["198.51.100.2"])], 3, 10).await.unwrap();
    assert_eq!(counts(&db).await, (1, 0), "remembered as withdrawn");
}

#[tokio::test]
async fn statements_hold_for_their_time() {
    let db = with_feeds(&[20]).await;
    let until = |day_number| Said { until: Some(day(day_number)), ..said("long", 1, &["198.51.100.1"]) };
    let old = said("old", 1, &["198.51.100.2"]);
    let early = Said { from: day(30), until: Some(day(40)), ..said("early", 1, &["198.51.100.3"]) };
    let row = take(&db, "a", vec![until(20), old, early], 10, 10).await.unwrap();
    assert_eq!((row.tally.kept, row.tally.expired), (2, 1), "what came late without an end is no news");
    assert!(indicator(&db, "198.51.100.1", 20).await.is_some());
    assert!(indicator(&db, "198.51.100.1", 21).await.is_none());
    assert!(indicator(&db, "198.51.100.3", 29).await.is_none(), "not yet");
    sweep::sweep(&db, day(21)).await.unwrap();
    assert_eq!(counts(&db).await, (1, 1));
    let row = db.read(|tx| tx.get::<Feeds>(&"a".to_owned())).await.unwrap().unwrap();
    assert_eq!(row.indicators, 1);
}

#[tokio::test]
async fn confidence_is_that_of_independent_feeds_by_their_weights() {
    let db = with_feeds(&[20, 50, 0]).await;
    let say = |id: &str, confidence| Said { confidence, ..said(id, 1, &["198.51.100.1"]) };
    take(&db, "a", vec![say("i", 100), say("j", 50)], 2, 10).await.unwrap();
    let one = indicator(&db, "198.51.100.1", 2).await.unwrap();
    assert_eq!(
        (one.confidence, one.feeds.as_slice()),
        (18, &["a".to_owned()][..]),
        "its surest counts, once"
    );
    take(&db, "b", vec![say("i", 100)], 2, 10).await.unwrap();
    take(&db, "c", vec![say("i", 100)], 2, 10).await.unwrap();
    let all = indicator(&db, "198.51.100.1", 2).await.unwrap();
    assert_eq!((all.confidence, all.feeds.len()), (55, 3), "1 - 0.82 * 0.55; weight 0 adds nothing");
    assert_eq!((all.events, all.reporters, all.tlp), (0, 0, Tlp::Green));
}

#[tokio::test]
async fn the_strictest_marking_counts() {
    let db = with_feeds(&[20, 20]).await;
    take(&db, "a", vec![said("i", 1, &["x.example"])], 2, 10).await.unwrap();
    take(&db, "b", vec![Said { tlp: Tlp::Red, ..said("i", 1, &["x.example"]) }], 2, 10).await.unwrap();
    assert!(!indicator(&db, "x.example", 2).await.unwrap().tlp.for_export());
}

#[tokio::test]
async fn a_feed_has_room_for_so_much_and_others_lose_nothing_by_it() {
    let db = with_feeds(&[20, 20]).await;
    let many = (0..5).map(|number| said(&format!("i{number}"), 1, &["198.51.100.1"])).collect();
    let row = take(&db, "a", many, 2, 3).await.unwrap();
    assert_eq!((row.tally.kept, row.tally.dropped, row.indicators), (3, 2, 3));
    let newer = take(&db, "a", vec![said("i0", 2, &["198.51.100.2"])], 2, 3).await.unwrap();
    assert_eq!((newer.tally.kept, newer.indicators), (4, 3), "a new version takes the place of the old one");
    assert_eq!(take(&db, "b", vec![said("i", 1, &["198.51.100.3"])], 2, 3).await.unwrap().tally.kept, 1);
}

#[tokio::test]
async fn what_a_removed_feed_said_is_gone_at_once_and_swept() {
    let db = with_feeds(&[20]).await;
    take(&db, "a", vec![said("i", 1, &["198.51.100.1"])], 2, 10).await.unwrap();
    db.write(|tx| tx.delete::<Feeds>(&"a".to_owned())).await.unwrap();
    assert!(indicator(&db, "198.51.100.1", 2).await.is_none());
    assert!(take(&db, "a", vec![said("j", 1, &["198.51.100.2"])], 2, 10).await.is_none(), "nothing is kept");
    sweep::sweep(&db, day(2)).await.unwrap();
    assert_eq!(counts(&db).await, (0, 0));
}

#[tokio::test]
async fn pages_of_sources_miss_nothing() {
    let db = with_feeds(&[20]).await;
    // More statements about one source than are looked at, between two others.
    let mut many: Vec<Said> = (0..300).map(|number| said(&format!("m{number}"), 1, &["b.example"])).collect();
    many.extend(["a.example", "c.example"].map(|value| said(value, 1, &[value])));
    take(&db, "a", many, 2, 1000).await.unwrap();
    let read = db.read(|tx| {
        let (mut found, mut at): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let (some, more) = claims::after(tx, at.as_ref(), 1)?;
            found.extend(some.keys().cloned());
            at = some.last_key_value().map(|(value, _)| value.clone());
            if !more {
                return Ok::<_, DbError>(found);
            }
        }
    });
    assert_eq!(read.await.unwrap(), ["a.example", "b.example", "c.example"]);
}
