//! Creations that are sent twice.

use super::*;
use crate::idempotency::{IdempotencyKey, digest_of};

async fn create_once(house: &House, op: &OpContext, id: &str) -> Result<(Record, bool), KernelError> {
    let permit = house.kernel.authorize::<Create>(op, ResourceKind::Service).await?;
    let new = NewRecord {
        kind: ResourceKind::Service,
        id: Some(ResourceId::parse(id).unwrap()),
        name: String::new(),
        owner: None,
        labels: Labels::new(),
        spec: json!({}),
        status: Value::Null,
    };
    let key = IdempotencyKey::new("key", digest_of("service", id.as_bytes())).unwrap();
    house.kernel.create_record_once(op, &permit, new, key).await
}

#[tokio::test]
async fn a_repeated_creation_answers_with_its_own_record_only() {
    let house = House::open().await;
    let maker = house.somebody("maker", &["service:create"]).await;
    let (made, replayed) = create_once(&house, &maker, "s").await.unwrap();
    assert!(!replayed);
    let again = create_once(&house, &maker, "s").await.unwrap();
    assert_eq!(again, (made, true));
    let other = create_once(&house, &maker, "other").await;
    assert!(matches!(other, Err(KernelError::KeyReused(_))), "{other:?}");
    let stranger = create_once(&house, &house.admin, "s").await;
    assert_eq!(class(stranger), ErrorClass::Conflict, "keys are their principal's own");

    house.delete(&house.admin, ResourceKind::Service, "s").await.unwrap();
    house
        .create(ResourceKind::Service, "s", json!({ "description": "of no concern to the maker" }))
        .await
        .unwrap();
    assert!(house.kernel.look_up::<Read>(&maker, ResourceKind::Service, "s").await.is_err());
    let gone = create_once(&house, &maker, "s").await;
    assert!(matches!(gone, Err(KernelError::CreationGone(_))), "{gone:?}");
}
