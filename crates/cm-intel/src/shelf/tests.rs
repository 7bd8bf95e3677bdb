use cm_db::{Schema, open_memory};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_micros(0)
}

fn shelf() -> (Shelf, ShelfId) {
    let db = open_memory(&Schema::new(1).with_tables(tables::TABLES));
    (Shelf::new(db), ShelfId::of(&TenantId::default_tenant(), &"feed".parse().unwrap(), now()))
}

fn object(kind: &str, number: u32, version: i64, spec: u8) -> NewObject {
    let id = format!("{kind}--{number}");
    let text = serde_json::value::to_raw_value(&serde_json::json!({ "id": id, "n": version })).unwrap();
    NewObject { id, version: (version >= 0).then(|| Timestamp::from_micros(version)), spec, text }
}

async fn put(shelf: &Shelf, id: &ShelfId, objects: Vec<NewObject>) -> Vec<Put> {
    shelf.put(id, objects, now(), WhenFull::Refuse, None).await.unwrap()
}

async fn ids(shelf: &Shelf, id: &ShelfId, query: Query) -> Vec<(String, i64)> {
    let page = shelf.page(id, query).await.unwrap();
    page.items.iter().map(|item| (item.id.clone(), item.version.as_micros())).collect()
}

#[tokio::test]
async fn moments_rise_and_are_never_given_twice_whatever_the_clock_does() {
    let (shelf, id) = shelf();
    let late = Timestamp::from_micros(1_000_000);
    let first = shelf.put(
        &id,
        vec![object("indicator", 1, 1, 21), object("indicator", 2, 1, 21)],
        late,
        WhenFull::Refuse,
        None,
    );
    assert_eq!(first.await.unwrap(), [Put::Added(late), Put::Added(Timestamp::from_micros(1_000_001))]);
    let back = put(&shelf, &id, vec![object("indicator", 3, 1, 21)]).await;
    assert_eq!(back, [Put::Added(Timestamp::from_micros(1_000_002))]);
    assert_eq!(put(&shelf, &id, vec![object("indicator", 3, 1, 21)]).await, [Put::Known]);
}

#[tokio::test]
async fn objects_without_a_version_are_kept_once() {
    let (shelf, id) = shelf();
    let outcomes =
        put(&shelf, &id, vec![object("ipv4-addr", 1, -1, 21), object("ipv4-addr", 1, -1, 21)]).await;
    assert!(matches!(outcomes[..], [Put::Added(_), Put::Known]));
}

#[tokio::test]
async fn the_newest_version_counts_unless_another_is_asked_for() {
    let (shelf, id) = shelf();
    put(
        &shelf,
        &id,
        vec![object("a", 1, 10, 21), object("b", 2, 10, 21), object("a", 1, 30, 21), object("a", 1, 20, 21)],
    )
    .await;
    let of = |versions: Vec<Match>| Query { versions, ..Query::default() };
    let pairs = |found: Vec<(String, i64)>| {
        found.iter().map(|(id, version)| format!("{id}@{version}")).collect::<Vec<_>>()
    };
    assert_eq!(pairs(ids(&shelf, &id, of(vec![Match::Last])).await), ["b--2@10", "a--1@30"]);
    assert_eq!(pairs(ids(&shelf, &id, of(vec![Match::First])).await), ["a--1@10", "b--2@10"]);
    assert_eq!(pairs(ids(&shelf, &id, of(vec![Match::At(Timestamp::from_micros(20))])).await), ["a--1@20"]);
    assert_eq!(ids(&shelf, &id, of(vec![Match::All])).await.len(), 4);
    let named = Query {
        ids: vec!["a--1".into(), "a--1".into()],
        versions: vec![Match::First, Match::Last],
        ..Query::default()
    };
    assert_eq!(pairs(ids(&shelf, &id, named).await), ["a--1@10", "a--1@30"]);
    let versions = shelf.versions(&id, "a--1", of(vec![Match::All])).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.version.as_micros()).collect::<Vec<_>>(), [30, 20, 10]);
}

#[tokio::test]
async fn of_two_versions_of_stix_the_newer_counts_unless_told() {
    let (shelf, id) = shelf();
    put(&shelf, &id, vec![object("a", 1, 10, 21), object("a", 1, 20, 20), object("b", 2, 10, 20)]).await;
    assert_eq!(ids(&shelf, &id, Query::default()).await, [("a--1".into(), 10), ("b--2".into(), 10)]);
    let older = Query { specs: vec![20], ..Query::default() };
    assert_eq!(ids(&shelf, &id, older).await, [("a--1".into(), 20), ("b--2".into(), 10)]);
}

#[tokio::test]
async fn pages_are_whole_and_undisturbed_by_what_comes_meanwhile() {
    let (shelf, id) = shelf();
    put(
        &shelf,
        &id,
        (0..700).map(|number| object(if number % 7 == 0 { "a" } else { "b" }, number, 1, 21)).collect(),
    )
    .await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let query = Query { after, limit: 9, kinds: vec!["a".into()], ..Query::default() };
        let page = shelf.page(&id, query).await.unwrap();
        seen.extend(page.items.iter().map(|item| item.id.clone()));
        put(&shelf, &id, vec![object("c", 1000 + seen.len() as u32, 1, 21)]).await;
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let expected: Vec<String> = (0..100).map(|number| format!("a--{}", number * 7)).collect();
    assert_eq!(seen, expected);
    let exact =
        shelf.page(&id, Query { limit: 100, kinds: vec!["a".into()], ..Query::default() }).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (100, None), "nothing is promised behind the last");
}

#[tokio::test]
async fn what_is_removed_is_gone_and_makes_room() {
    let (shelf, id) = shelf();
    let shelf = shelf.bounded_to(2);
    let outcomes =
        put(&shelf, &id, vec![object("a", 1, 10, 21), object("a", 1, 20, 21), object("a", 2, 10, 21)]).await;
    assert_eq!(outcomes[2], Put::Full);
    assert_eq!(shelf.remove(&id, "a--1", Query::default()).await.unwrap(), 1, "the newest");
    assert_eq!(ids(&shelf, &id, Query::default()).await, [("a--1".into(), 10)]);
    let all = Query { versions: vec![Match::All], ..Query::default() };
    assert_eq!(shelf.remove(&id, "a--1", all.clone()).await.unwrap(), 1);
    assert_eq!(shelf.remove(&id, "a--1", all).await.unwrap(), 0);
    assert!(!shelf.has(&id, "a--1").await.unwrap());
    assert!(matches!(put(&shelf, &id, vec![object("a", 2, 10, 21)]).await[..], [Put::Added(_)]));
}

#[tokio::test]
async fn a_shelf_that_follows_goes_on_once_and_forgets_the_oldest() {
    let (shelf, id) = shelf();
    let shelf = shelf.bounded_to(2);
    let feed = |from: u64, to: u64, number: u32| {
        shelf.put(&id, vec![object("a", number, 1, 21)], now(), WhenFull::DropOldest, Some((from, to)))
    };
    assert_eq!(feed(0, 5, 1).await.unwrap().len(), 1);
    assert!(feed(0, 5, 1).await.unwrap().is_empty(), "somebody else went on");
    assert_eq!(shelf.fed(&id).await.unwrap(), 5);
    feed(5, 6, 2).await.unwrap();
    feed(6, 7, 3).await.unwrap();
    assert_eq!(ids(&shelf, &id, Query::default()).await, [("a--2".into(), 1), ("a--3".into(), 1)]);
}

#[tokio::test]
async fn shelves_are_apart_and_a_collection_made_again_begins_empty() {
    let (shelf, id) = shelf();
    let tenant = TenantId::default_tenant();
    put(&shelf, &id, vec![object("a", 1, 1, 21)]).await;
    for other in
        [ShelfId::of(&tenant, &"feed".parse().unwrap(), Timestamp::from_micros(7)), ShelfId::events(&tenant)]
    {
        assert!(ids(&shelf, &other, Query::default()).await.is_empty());
        assert!(!shelf.has(&other, "a--1").await.unwrap());
    }
}

#[tokio::test]
async fn reports_are_kept_for_whom_they_are() {
    let (shelf, _) = shelf();
    let status = Status {
        tenant: TenantId::default_tenant(),
        principal: None,
        body: serde_json::json!({ "total_count": 3 }),
    };
    shelf.keep_status("x", status.clone(), now()).await.unwrap();
    assert_eq!(shelf.status("x").await.unwrap(), Some(status));
    assert_eq!(shelf.status("y").await.unwrap(), None);
}

#[tokio::test]
async fn of_one_object_there_are_so_many_versions_and_no_more() {
    let (shelf, id) = shelf();
    let shelf = shelf.with_versions_and_statuses(2, 10);
    let outcomes = put(&shelf, &id, (1..=3).map(|version| object("a", 1, version, 21)).collect()).await;
    assert!(matches!(outcomes[..], [Put::Added(_), Put::Added(_), Put::ManyVersions]));
    assert!(matches!(
        put(&shelf, &id, vec![object("a", 1, 3, 21), object("b", 1, 1, 21)]).await[..],
        [Put::ManyVersions, Put::Added(_)]
    ));
    assert_eq!(put(&shelf, &id, vec![object("a", 1, 2, 21)]).await, [Put::Known]);
    let feed = vec![object("a", 1, 3, 21), object("a", 1, 4, 21)];
    let fed = shelf.put(&id, feed, now(), WhenFull::DropOldest, None).await.unwrap();
    assert!(matches!(fed[..], [Put::Added(_), Put::Added(_)]));
    let all = Query { versions: vec![Match::All], ..Query::default() };
    let left = ids(&shelf, &id, all).await;
    assert_eq!(left, [("b--1".into(), 1), ("a--1".into(), 3), ("a--1".into(), 4)]);
}

#[tokio::test]
async fn the_oldest_report_goes() {
    let (shelf, _) = shelf();
    let shelf = shelf.with_versions_and_statuses(10, 2);
    let body = serde_json::json!({});
    for (second, id) in ["x", "y", "z"].into_iter().enumerate() {
        let status = Status { tenant: TenantId::default_tenant(), principal: None, body: body.clone() };
        let at = Timestamp::from_micros(second as i64);
        shelf.keep_status(id, status, at).await.unwrap();
    }
    assert_eq!(shelf.status("x").await.unwrap(), None);
    assert!(shelf.status("y").await.unwrap().is_some() && shelf.status("z").await.unwrap().is_some());
}
