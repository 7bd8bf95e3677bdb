//! What becomes of the records that depend on a deleted one.

use cm_policy::Delete;
use cm_types::{ResourceKind, ResourceRef};
use serde_json::{Value, json};

use super::cascade::populate;
use super::support::{Fixture, id, named, on_both_engines};
use crate::catalog::Deletion;
use crate::{CatalogError, Change, Dependents, Query, SpecChange};

use ResourceKind::{
    Endpoint, EndpointState, Function, FunctionResult, FunctionState, Instance, Microservice, Role,
    SecurityPolicy, Service, Storage,
};

async fn plan(f: &Fixture, kind: ResourceKind, text: &'static str, dependents: Dependents) -> Deletion {
    let (catalog, permit) = (f.catalog.clone(), f.permit::<Delete>(kind, Some(text)));
    f.db.read(move |tx| catalog.plan_deletion(tx, &permit, &id(text), dependents)).await.unwrap()
}

/// Asserts what a deletion would come to, that asking changes nothing, and that deleting comes to the same.
async fn check(
    f: &Fixture,
    (kind, text): (ResourceKind, &'static str),
    dependents: Dependents,
    goes: &[ResourceRef],
    refusing: &[ResourceRef],
    orphaned: &[ResourceRef],
) {
    let events = f.events().await;
    let planned = plan(f, kind, text, dependents).await;
    assert_eq!((planned.refusing.as_slice(), planned.orphaned.as_slice()), (refusing, orphaned), "{text}");
    assert_eq!(f.events().await, events);
    let deleted = f.delete_and(kind, text, None, dependents).await;
    if refusing.is_empty() {
        assert_eq!(planned.goes, goes, "{text}");
        assert_eq!(deleted.unwrap(), goes, "{text}");
    } else {
        assert!(matches!(deleted, Err(CatalogError::StillReferenced { by }) if by == refusing), "{text}");
        assert!(f.get(kind, text).await.is_some());
        assert_eq!(f.events().await, events);
    }
}

fn history_of_f1() -> [ResourceRef; 3] {
    [named(FunctionResult, "fr"), named(FunctionState, "fs1"), named(FunctionState, "fs2")]
}

#[test]
fn refusing_keeps_everything_but_history() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let refuse = Dependents::Refuse;
        let parts = [named(Microservice, "m1"), named(Microservice, "m2")];
        check(&f, (Service, "s"), refuse, &[], &parts, &[]).await;
        check(&f, (Microservice, "m1"), refuse, &[], &[named(Function, "f1")], &[]).await;
        check(&f, (Endpoint, "e"), refuse, &[], &[named(Function, "f1")], &[]).await;
        check(&f, (Role, "r"), refuse, &[], &[named(SecurityPolicy, "sp")], &[]).await;
        // A state or result never stands against anything.
        let [result, first, second] = history_of_f1();
        let goes = [named(Function, "f1"), result, first, second];
        check(&f, (Function, "f1"), refuse, &goes, &[], &[]).await;
        let goes = [named(Endpoint, "e"), named(EndpointState, "es")];
        check(&f, (Endpoint, "e"), refuse, &goes, &[], &[]).await;
        f.check_invariants().await;
    });
}

#[test]
fn cascading_takes_parts_along_and_is_stopped_by_users() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let cascade = Dependents::Cascade;
        check(&f, (Storage, "st"), cascade, &[], &[named(Function, "f1")], &[]).await;
        f.make(Instance, "i", json!({"function": "f2"})).await;
        check(&f, (Microservice, "m2"), cascade, &[], &[named(Instance, "i")], &[]).await;
        f.delete(Instance, "i", None).await.unwrap();
        let goes = [named(Microservice, "m2"), named(Function, "f2")];
        check(&f, (Microservice, "m2"), cascade, &goes, &[], &[]).await;
        let [result, first, second] = history_of_f1();
        let goes =
            [named(Service, "s"), named(Microservice, "m1"), named(Function, "f1"), result, first, second];
        check(&f, (Service, "s"), cascade, &goes, &[], &[]).await;
        f.check_invariants().await;
    });
}

#[test]
fn orphaning_leaves_what_referred_as_it_was() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let orphan = Dependents::Orphan;
        let before = f.get(Microservice, "m1").await.unwrap();
        let parts = [named(Microservice, "m1"), named(Microservice, "m2")];
        check(&f, (Service, "s"), orphan, &[named(Service, "s")], &[], &parts).await;
        assert_eq!(f.get(Microservice, "m1").await.unwrap(), before);
        // The endpoint's state goes with it in any case.
        let goes = [named(Endpoint, "e"), named(EndpointState, "es")];
        check(&f, (Endpoint, "e"), orphan, &goes, &[], &[named(Function, "f1")]).await;
        check(&f, (SecurityPolicy, "sp"), orphan, &[named(SecurityPolicy, "sp")], &[], &[]).await;
        f.check_indexes().await;
        // An orphan can be changed, given a home, and deleted.
        let change = |fields: Value| {
            let Value::Object(fields) = fields else { panic!("{fields}") };
            Change { spec: Some(SpecChange::Merge(fields)), ..Change::default() }
        };
        f.update(Microservice, "m1", change(json!({"description": "d"}))).await.unwrap();
        f.make(Service, "home", json!({})).await;
        f.update(Microservice, "m1", change(json!({"service_id": "home"}))).await.unwrap();
        f.update(Function, "f1", change(json!({"endpoint_id": null}))).await.unwrap();
        f.delete(Microservice, "m2", None).await.unwrap();
        f.check_invariants().await;
    });
}

#[test]
fn what_comes_again_under_the_same_id_is_referred_to_again() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        f.delete_and(Service, "s", None, Dependents::Orphan).await.unwrap();
        f.make(Service, "s", json!({})).await;
        let of_s = Query { referencing: Some(named(Service, "s")), ..Query::of(Microservice) };
        assert_eq!(f.ids(&of_s).await, ["m1", "m2"]);
        let gone = f.delete(Service, "s", None).await.unwrap();
        assert_eq!(gone.len(), 8);
        f.check_invariants().await;
    });
}
