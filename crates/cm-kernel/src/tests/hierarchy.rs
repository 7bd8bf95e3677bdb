//! The tree of services.

use cm_types::Page;

use super::*;
use crate::hierarchy::ServiceTree;

const CODE: &str = "class A:\n    def f(self): pass\n";

/// Services `s0` to `s3`, each with a microservice, an active object with one method, and as many functions as its number.
async fn village() -> House {
    let house = House::open().await;
    for number in 0..4 {
        let (service, home) = (format!("s{number}"), format!("m{number}"));
        house.create(ResourceKind::Service, &service, json!({})).await.unwrap();
        house.create(ResourceKind::Microservice, &home, json!({ "service_id": service })).await.unwrap();
        let object = json!({ "axo_module": "m", "axo_class_name": "A", "axo_microservice_id": home, "axo_code": CODE });
        house.create(ResourceKind::ActiveObject, &format!("o{number}"), object).await.unwrap();
        for function in 0..number {
            let id = format!("f{number}-{function}");
            house.create(ResourceKind::Function, &id, json!({ "microservice_id": home })).await.unwrap();
        }
    }
    house
}

async fn page(
    house: &House,
    op: &OpContext,
    after: Option<cm_types::Cursor>,
    services_max: Option<usize>,
    records_max: usize,
) -> Page<ServiceTree> {
    let permit = house.kernel.authorize::<List>(op, ResourceKind::Service).await.unwrap();
    let services_max = services_max.map(PageLimit::clamped);
    house.kernel.hierarchy_within(op, &permit, after, services_max, records_max).await.unwrap()
}

/// The records of a service: `service microservice object [methods] functions`.
fn describe(tree: &ServiceTree) -> String {
    let mut text = tree.service.header.id.to_string();
    for home in &tree.microservices {
        text += &format!(" {}", home.microservice.header.id);
        for object in &home.active_objects {
            assert_eq!(object.object.spec.get("axo_code"), None);
            let names: Vec<_> = object.functions.iter().map(|method| method.name.as_str()).collect();
            text += &format!(" {} [{}]", object.object.header.id, names.join(" "));
        }
        for function in &home.functions {
            text += &format!(" {}", function.id);
        }
    }
    text + if tree.truncated { " …" } else { "" }
}

#[tokio::test]
async fn every_service_is_on_one_page_whatever_the_limits() {
    let house = village().await;
    let whole = page(&house, &house.admin, None, None, 1000).await;
    assert_eq!(whole.next, None);
    let whole: Vec<String> = whole.items.iter().map(describe).collect();
    assert_eq!(whole[0], "s0 m0 o0 [f]");
    assert_eq!(whole[3], "s3 m3 o3 [f] f3-0 f3-1 f3-2");
    for services_max in [None, Some(1), Some(3)] {
        // The largest service has seven records.
        for records_max in 7..25 {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = page(&house, &house.admin, after, services_max, records_max).await;
                assert!(!page.items.is_empty() && page.items.len() <= services_max.unwrap_or(4));
                found.extend(page.items.iter().map(describe));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, whole, "{services_max:?} {records_max}");
        }
    }
    let narrow = page(&house, &house.admin, None, None, 3).await;
    assert_eq!(describe(&narrow.items[0]), "s0 m0 o0 [] …");
    assert_eq!(narrow.items.len(), 1);
    assert!(narrow.next.is_some());
}

#[tokio::test]
async fn what_may_not_be_read_is_not_in_the_tree() {
    let house = village().await;
    house.create(ResourceKind::Role, "inner", json!({ "permissions": ["function:read"] })).await.unwrap();
    house.create(ResourceKind::SecurityPolicy, "narrow", json!({ "roles": ["inner"] })).await.unwrap();
    let guard = |policy| Change {
        spec: Some(SpecChange::Merge([("security_policy".to_owned(), policy)].into_iter().collect())),
        ..Change::default()
    };
    house.update(&house.admin, ResourceKind::Service, "s1", guard("narrow".into())).await.unwrap();
    house.update(&house.admin, ResourceKind::Function, "f2-0", guard("narrow".into())).await.unwrap();
    let rights = ["service:list", "service:read", "microservice:read", "function:read"];
    let reader = house.somebody("reader", &rights).await;
    let seen = page(&house, &reader, None, None, 1000).await;
    let seen: Vec<String> = seen.items.iter().map(describe).collect();
    let method = |tree: &str| tree.split(' ').nth(2).unwrap().to_owned();
    // Methods of an object that may not be read are functions like others.
    let expected = [
        format!("s0 m0 {}", method(&seen[0])),
        format!("s2 m2 {} f2-1", method(&seen[1])),
        format!("s3 m3 {} f3-0 f3-1 f3-2", method(&seen[2])),
    ];
    assert_eq!(seen, expected);
    let lister = house.somebody("lister", &["service:list"]).await;
    assert_eq!(page(&house, &lister, None, None, 1000).await.items.len(), 0);
}
