//! Many declarations at once.

use super::*;
use crate::manifest::{ApplyError, Declaration, Effect, WRITTEN_MAX};

fn declare(kind: ResourceKind, id: &str, spec: Value) -> Declaration {
    let id = ResourceId::parse(id).unwrap();
    Declaration { kind, id, name: None, labels: None, spec, if_absent: false }
}

async fn effects(house: &House, declarations: Vec<Declaration>) -> Vec<Effect> {
    let applied = house.kernel.apply(&house.admin, declarations, false).await.unwrap();
    applied.into_iter().map(|applied| applied.effect).collect()
}

#[tokio::test]
async fn an_empty_name_declares_none() {
    let house = House::open().await;
    let declared =
        Declaration { name: Some(String::new()), ..declare(ResourceKind::Service, "s", json!({})) };
    assert_eq!(effects(&house, vec![declared.clone()]).await, [Effect::Created]);
    assert_eq!(effects(&house, vec![declared]).await, [Effect::Unchanged]);
}

#[tokio::test]
async fn what_is_declared_twice_is_refused() {
    let house = House::open().await;
    let service = |text: &str| declare(ResourceKind::Service, "s", json!({ "description": text }));
    let refused = house.kernel.apply(&house.admin, vec![service("one"), service("two")], false).await;
    assert!(matches!(refused, Err(ApplyError::Twice { index: 1, .. })), "{refused:?}");
    let found = house.kernel.look_up::<Read>(&house.admin, ResourceKind::Service, "s").await;
    assert_eq!(class(found), ErrorClass::NotFound);
}

#[tokio::test]
async fn methods_count_among_what_is_written() {
    let house = House::open().await;
    house.create(ResourceKind::Service, "s", json!({})).await.unwrap();
    house.create(ResourceKind::Microservice, "m", json!({ "service_id": "s" })).await.unwrap();
    let methods = 250;
    let code: String = (0..methods).map(|at| format!("    def m{at}(self): pass\n")).collect();
    let object = json!({
        "axo_module": "m", "axo_class_name": "A", "axo_microservice_id": "m", "axo_code": format!("class A:\n{code}"),
    });
    let objects = WRITTEN_MAX / methods;
    let many = |count: usize| -> Vec<Declaration> {
        (0..count).map(|at| declare(ResourceKind::ActiveObject, &format!("o{at}"), object.clone())).collect()
    };
    let refused = house.kernel.apply(&house.admin, many(objects + 5), true).await;
    let at_most = objects - 1;
    assert!(matches!(refused, Err(ApplyError::WritesTooMuch { index }) if index == at_most), "{refused:?}");
    house.kernel.apply(&house.admin, many(2), true).await.unwrap();
}
