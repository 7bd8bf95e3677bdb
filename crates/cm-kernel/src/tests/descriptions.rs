//! What is said of objects: with the bytes or not at all, and found by its terms.

use cm_objects::{DeleteObject, NewObject};
use cm_types::{BucketName, ObjectKey, Sha256Digest};
use futures::stream;

use super::*;
use crate::Description;

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
        let page = house.kernel.objects_by_term(&permit, &bucket, term, after, one).await.unwrap();
        all.extend(page.items.into_iter().map(|(info, text)| (info.key.to_string(), text)));
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
