//! Active objects, whose methods are functions.

use super::*;

const CODE: &str = "class A:\n    def f(self): pass\n    def g(self, x): pass\n";
const OBJECT: ResourceKind = ResourceKind::ActiveObject;

fn object(home: &str, code: Option<&str>) -> Value {
    json!({ "axo_module": "m", "axo_class_name": "A", "axo_microservice_id": home, "axo_code": code })
}

fn merge(fields: Value) -> Change {
    Change { spec: Some(SpecChange::Merge(fields.as_object().unwrap().clone())), ..Change::default() }
}

async fn homes(house: &House) {
    house.create(ResourceKind::Service, "s", json!({})).await.unwrap();
    house.create(ResourceKind::Role, "inner", json!({ "permissions": ["function:invoke"] })).await.unwrap();
    house.create(ResourceKind::SecurityPolicy, "narrow", json!({ "roles": ["inner"] })).await.unwrap();
    for open in ["open", "second"] {
        house.create(ResourceKind::Microservice, open, json!({ "service_id": "s" })).await.unwrap();
    }
    let guarded = json!({ "service_id": "s", "security_policy": "narrow" });
    house.create(ResourceKind::Microservice, "guarded", guarded).await.unwrap();
}

async fn methods(house: &House, op: &OpContext, object: &str) -> Vec<String> {
    let whole = vec![ResourceRef::new(OBJECT, object)];
    let parts = house.kernel.parts_of(op, whole, ResourceKind::Function).await.unwrap();
    parts.into_iter().flatten().map(|part| part.name).collect()
}

#[tokio::test]
async fn code_creates_functions_and_asks_for_that_permission() {
    let house = House::open().await;
    homes(&house).await;
    let declarer = house
        .somebody("declarer", &["active-object:create", "active-object:update", "microservice:read"])
        .await;
    let refused = house.create_as(&declarer, OBJECT, "o", object("open", Some(CODE))).await;
    assert_eq!(class(refused), ErrorClass::Forbidden);
    assert_eq!(class(house.kernel.look_up::<Read>(&house.admin, OBJECT, "o").await), ErrorClass::NotFound);
    house.create_as(&declarer, OBJECT, "o", object("open", None)).await.unwrap();
    let refused = house.update(&declarer, OBJECT, "o", merge(json!({ "axo_code": CODE }))).await;
    assert_eq!(class(refused), ErrorClass::Forbidden);
    assert_eq!(methods(&house, &house.admin, "o").await, [""; 0]);

    let rights = ["active-object:create", "microservice:read", "function:create", "function:read"];
    let coder = house.somebody("coder", &rights).await;
    house.create_as(&coder, OBJECT, "p", object("open", Some(CODE))).await.unwrap();
    assert_eq!(methods(&house, &coder, "p").await, ["f", "g"]);
    assert_eq!(methods(&house, &declarer, "p").await, [""; 0], "what may not be read is not listed");
}

#[tokio::test]
async fn an_object_is_no_vehicle_for_its_methods() {
    let house = House::open().await;
    homes(&house).await;
    house.create(OBJECT, "o", object("guarded", Some(CODE))).await.unwrap();
    let outside = house.somebody("outside", &["active-object:update", "microservice:read"]).await;
    let moved = || merge(json!({ "axo_microservice_id": "open" }));
    let refused = house.update(&outside, OBJECT, "o", moved()).await;
    assert!(refused.is_err(), "{refused:?}");
    house.update(&house.admin, OBJECT, "o", moved()).await.unwrap();
    // The object is theirs to move now, but not what moves with it.
    let further = || merge(json!({ "axo_microservice_id": "second" }));
    assert_eq!(class(house.update(&outside, OBJECT, "o", further()).await), ErrorClass::Forbidden);
    house.update(&outside, OBJECT, "o", merge(json!({ "axo_version": 2 }))).await.unwrap();
    let rights = ["active-object:update", "function:update", "microservice:read"];
    let mover = house.somebody("mover", &rights).await;
    house.update(&mover, OBJECT, "o", further()).await.unwrap();
}

#[tokio::test]
async fn referrers_are_those_that_the_actor_may_read() {
    let house = House::open().await;
    homes(&house).await;
    house.create(OBJECT, "o", object("open", Some(CODE))).await.unwrap();
    let listed = async |op: &OpContext| {
        let (_, permit) = house.kernel.look_up::<Read>(op, ResourceKind::Microservice, "open").await.unwrap();
        let page = house.kernel.referrers(op, &permit, None, PageLimit::default()).await.unwrap();
        page.items.iter().map(|referrer| referrer.kind).collect::<Vec<_>>()
    };
    assert_eq!(listed(&house.admin).await.len(), 3);
    let reader = house.somebody("reader", &["microservice:read", "active-object:read"]).await;
    assert_eq!(listed(&reader).await, [OBJECT]);
}

#[tokio::test]
async fn code_without_a_method_deletes_a_function_and_asks_for_that_permission() {
    let house = House::open().await;
    homes(&house).await;
    house.create(OBJECT, "o", object("open", Some(CODE))).await.unwrap();
    let shorter = || merge(json!({ "axo_code": "class A:\n    def f(self): pass\n" }));
    let rights = ["active-object:update", "microservice:read", "function:update", "function:create"];
    let writer = house.somebody("writer", &rights).await;
    let refused = house.update(&writer, OBJECT, "o", shorter()).await;
    assert_eq!(class(refused), ErrorClass::Forbidden);
    assert_eq!(methods(&house, &house.admin, "o").await, ["f", "g"]);
    let rights = ["active-object:update", "microservice:read", "function:delete"];
    let remover = house.somebody("remover", &rights).await;
    house.update(&remover, OBJECT, "o", shorter()).await.unwrap();
    assert_eq!(methods(&house, &house.admin, "o").await, ["f"]);
}

#[tokio::test]
async fn labels_of_an_object_are_those_of_its_methods_unless_they_were_given_others() {
    let house = House::open().await;
    homes(&house).await;
    house.create(OBJECT, "o", object("open", Some(CODE))).await.unwrap();
    let labelled = |text: &str| {
        let labels = std::collections::BTreeMap::from([("env".to_owned(), text.to_owned())]);
        Change { labels: Some(Labels::try_from(labels).unwrap()), ..Change::default() }
    };
    let whole = vec![ResourceRef::new(OBJECT, "o")];
    let parts = house.kernel.parts_of(&house.admin, whole, ResourceKind::Function).await.unwrap();
    let own = parts[0][1].id.as_str();
    house.update(&house.admin, ResourceKind::Function, own, labelled("own")).await.unwrap();
    house.update(&house.admin, OBJECT, "o", labelled("prod")).await.unwrap();
    for (part, expected) in parts[0].iter().zip(["prod", "own"]) {
        let function = house.kernel.look_up::<Read>(&house.admin, ResourceKind::Function, part.id.as_str());
        let labels = function.await.unwrap().0.header.labels;
        assert_eq!(labels.get("env"), Some(expected), "{}", part.name);
    }
}
