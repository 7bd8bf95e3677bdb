//! What is said of objects: with the bytes or not at all, and found by its terms.

use cm_objects::{DeleteObject, NewObject};
use cm_types::{BucketName, ObjectKey, Sha256Digest, Timestamp};
use futures::stream;

use super::*;
use crate::descriptions::{DescriptionRow, Descriptions, TermRow, Terms};
use crate::{Description, Told};

fn names(key: &str) -> (BucketName, ObjectKey) {
    (BucketName::parse("scans").unwrap(), ObjectKey::parse(key).unwrap())
}

fn description(text: &str, terms: &[&str]) -> Description {
    Description { text: text.to_owned(), terms: terms.iter().map(|term| (*term).to_owned()).collect() }
}

async fn put(house: &House, key: &str, bytes: &'static [u8]) -> Sha256Digest {
    let (bucket, key) = names(key);
    let permit = house.kernel.look_up_object::<Update>(&house.admin, &bucket, &key).await.unwrap();
    let body = stream::iter([Ok(bytes.into())]);
    let put = house.kernel.objects().put(&permit, &bucket, &key, NewObject::default(), body).await;
    put.unwrap().sha256
}

async fn describe(house: &House, key: &str, contents: Sha256Digest, said: Description) {
    let (bucket, key) = names(key);
    let permit = house.kernel.look_up_object::<Update>(&house.admin, &bucket, &key).await.unwrap();
    let kept = house.kernel.prepare_description(&permit, (&bucket, &key), contents, said).await;
    kept.unwrap();
}

/// What a term finds in the bucket, by key and text.
async fn found(house: &House, term: &str) -> Vec<(String, String)> {
    let (_, permit) =
        house.kernel.look_up::<List>(&house.admin, ResourceKind::Bucket, "scans").await.unwrap();
    let (bucket, _) = names("-");
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let one = PageLimit::clamped(1);
        let page = house.kernel.objects_by_term(&house.admin, &permit, &bucket, term, after, one);
        let page = page.await.unwrap();
        all.extend(page.items.into_iter().map(|(info, told)| match told {
            Told::Text(text) => (info.key.to_string(), text),
            other => panic!("{other:?}"),
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_description_says_something_only_of_the_contents_it_was_kept_for() {
    let house = House::open().await;
    house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
    let none: Vec<(String, String)> = Vec::new();
    let contents = put(&house, "other", b"bytes").await;
    describe(&house, "a_0", contents, description("first", &["ball a"])).await;
    assert_eq!(found(&house, "ball a").await, none, "bytes have not arrived");
    put(&house, "a_0", b"other bytes").await;
    assert_eq!(found(&house, "ball a").await, none, "other bytes are there");
    put(&house, "a_0", b"bytes").await;
    put(&house, "a_1", b"bytes").await;
    describe(&house, "a_1", contents, description("second", &["ball a", "x"])).await;
    let both = vec![("a_0".to_owned(), "first".to_owned()), ("a_1".to_owned(), "second".to_owned())];
    assert_eq!(found(&house, "ball a").await, both);
    describe(&house, "a_1", contents, description("third", &["x"])).await;
    assert_eq!(found(&house, "ball a").await, both[..1]);
    assert_eq!(found(&house, "x").await, vec![("a_1".to_owned(), "third".to_owned())]);

    let (bucket, key) = names("a_0");
    let permit = house.kernel.look_up_object::<Delete>(&house.admin, &bucket, &key).await.unwrap();
    let deleted = house.kernel.objects().delete(&permit, &bucket, &key, DeleteObject::default()).await;
    deleted.unwrap();
    assert_eq!(found(&house, "ball a").await, none);
    house.kernel.forget_description(&permit, (&bucket, &key), contents).await.unwrap();
    put(&house, "a_0", b"bytes").await;
    assert_eq!(found(&house, "ball a").await, none, "what was forgotten came back");
}

#[tokio::test]
async fn a_search_in_all_buckets_shows_what_the_actor_may_read_and_nothing_else() {
    let house = House::open().await;
    house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
    let contents = put(&house, "a", b"bytes").await;
    describe(&house, "a", contents, description("said", &["key a"])).await;
    let mine = house.kernel.find_objects(&house.admin, "key a").await.unwrap();
    assert_eq!(
        mine.iter().map(|(info, text, _)| (info.key.as_str(), text.as_str())).collect::<Vec<_>>(),
        [("a", "said")]
    );
    let stranger = house.somebody("stranger", &["bucket:create"]).await;
    assert!(house.kernel.find_objects(&stranger, "key a").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_long_or_for_another_object_is_refused() {
    let house = House::open().await;
    house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
    let contents = put(&house, "a", b"bytes").await;
    let (bucket, key) = names("a");
    let permit = house.kernel.look_up_object::<Update>(&house.admin, &bucket, &key).await.unwrap();
    for said in [
        description(&"x".repeat(crate::descriptions::TEXT_BYTES_MAX + 1), &[]),
        description("", &["1", "2", "3", "4", "5"]),
        description("", &["line\nfeed"]),
        description("", &[&"x".repeat(crate::descriptions::TERM_BYTES_MAX + 1)]),
    ] {
        let refused = house.kernel.prepare_description(&permit, (&bucket, &key), contents, said).await;
        assert_eq!(refused.unwrap_err().class(), ErrorClass::Invalid);
    }
    let (_, other) = names("b");
    let said = description("", &[]);
    let refused = house.kernel.prepare_description(&permit, (&bucket, &other), contents, said).await;
    assert_eq!(refused.unwrap_err().class(), ErrorClass::Internal);
}

/// Whoever gets the name of a bucket that is gone gets nothing of what was said in it, though the bytes be the same.
#[tokio::test]
async fn what_was_said_in_a_bucket_that_is_gone_is_told_of_no_other() {
    let house = House::open().await;
    let (bucket, key) = names("a");
    for by_the_bucket in [true, false] {
        house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
        let contents = put(&house, "a", b"bytes").await;
        describe(&house, "a", contents, description("secret", &["key a"])).await;
        let permit = house.kernel.look_up_object::<Delete>(&house.admin, &bucket, &key).await.unwrap();
        let deleted = house.kernel.objects().delete(&permit, &bucket, &key, DeleteObject::default()).await;
        deleted.unwrap();
        let row = || {
            let place = (permit.tenant().clone(), bucket.clone(), key.clone(), contents);
            house.kernel.db().read(move |tx| Ok::<_, KernelError>(tx.get::<Descriptions>(&place)?))
        };
        let said =
            row().await.unwrap().expect("the description is not deleted with the object by other faces");
        let id = ResourceId::parse("scans").unwrap();
        let (_, dropping) =
            house.kernel.look_up::<Delete>(&house.admin, ResourceKind::Bucket, "scans").await.unwrap();
        let gone = house.kernel.delete_record(&house.admin, &dropping, &id, None, Dependents::Refuse).await;
        gone.unwrap();
        assert!(row().await.unwrap().is_none(), "it went with its bucket");
        if !by_the_bucket {
            // As a bucket leaves them behind that has more than go in one transaction.
            let place = (permit.tenant().clone(), bucket.clone(), key.clone(), contents);
            let at = (permit.tenant().clone(), "key a".to_owned(), bucket.clone(), (key.clone(), contents));
            let put = house.kernel.db().write(move |tx| {
                tx.put::<Terms>(&at, &TermRow {})?;
                Ok::<_, KernelError>(tx.put::<Descriptions>(&place, &said)?)
            });
            put.await.unwrap();
        }
        house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
        assert_eq!(put(&house, "a", b"bytes").await, contents);
        let none: Vec<(String, String)> = Vec::new();
        assert_eq!(found(&house, "key a").await, none);
        let reading = house.kernel.look_up_object::<Read>(&house.admin, &bucket, &key).await.unwrap();
        let told = house.kernel.object_description(&reading, (&bucket, &key), contents).await.unwrap();
        assert_eq!(told, None);
        assert!(house.kernel.find_objects(&house.admin, "key a").await.unwrap().is_empty());
        assert!(row().await.unwrap().is_none(), "a search forgets what it comes across");
        let permit = house.kernel.look_up_object::<Delete>(&house.admin, &bucket, &key).await.unwrap();
        let deleted = house.kernel.objects().delete(&permit, &bucket, &key, DeleteObject::default()).await;
        deleted.unwrap();
        let (_, dropping) =
            house.kernel.look_up::<Delete>(&house.admin, ResourceKind::Bucket, "scans").await.unwrap();
        let gone = house.kernel.delete_record(&house.admin, &dropping, &id, None, Dependents::Refuse).await;
        gone.unwrap();
    }
}

/// Neither what others keep for themselves nor what was said of earlier contents stands before what the actor may read.
#[tokio::test]
async fn a_search_goes_on_until_there_is_something_to_read() {
    let house = House::open().await;
    let reader = house.somebody("reader", &["bucket:create", "object:*"]).await;
    house.create(ResourceKind::Bucket, "scans", json!({})).await.unwrap();
    for number in 0..40 {
        let said = description("earlier", &["key z"]);
        describe(&house, "z", Sha256Digest::from_bytes([number; 32]), said).await;
    }
    for number in 0..40 {
        let key = format!("a{number}");
        describe(&house, &key, Sha256Digest::from_bytes([number; 32]), description("", &["key z"])).await;
    }
    let contents = put(&house, "z", b"bytes").await;
    describe(&house, "z", contents, description("said", &["key z"])).await;
    for actor in [&house.admin, &reader] {
        let found = house.kernel.find_objects(actor, "key z").await.unwrap();
        assert_eq!(found.iter().map(|(_, text, _)| text.as_str()).collect::<Vec<_>>(), ["said"]);
    }
}

/// Rows of the time before they knew their bucket are still read.
#[test]
fn old_rows_belong_to_the_buckets_that_were_there() {
    let row: DescriptionRow =
        serde_json::from_value(json!({ "text": "t", "terms": [], "since": "2026-01-02T00:00:00Z" })).unwrap();
    let day = 24 * 3600 * 1_000_000;
    let said = row.since.as_micros();
    assert!(row.was_said_in(Timestamp::from_micros(said - day)));
    assert!(!row.was_said_in(Timestamp::from_micros(said + day)));
}
