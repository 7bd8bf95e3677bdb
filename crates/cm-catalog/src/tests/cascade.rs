//! Deletions that take others along, or are refused because of them; and history.

use cm_policy::{Delete, Guard, Invoke};
use cm_types::{PrincipalId, ResourceKind, ResourceRef};
use serde_json::json;

use super::support::{Fixture, id, named, new, occasion, on_both_engines};
use crate::{CatalogError, Change, Dependents, Limits, Query, SpecChange};

use ResourceKind::{
    Endpoint, EndpointState, Function, FunctionResult, FunctionState, Instance, Microservice, Role,
    SecurityPolicy, Service, Storage,
};

/// A service with two microservices and functions, their states and results.
pub(super) async fn populate(f: &Fixture) {
    f.make(Role, "r", json!({"permissions": ["function:invoke"]})).await;
    f.make(SecurityPolicy, "sp", json!({"roles": ["r"]})).await;
    f.make(Service, "s", json!({"security_policy": "sp"})).await;
    f.make(Endpoint, "e", json!({"image": "i", "security_policy": "sp"})).await;
    f.make(EndpointState, "es", json!({"endpoint_id": "e", "state": "warm"})).await;
    f.make(Storage, "st", json!({"capacity": "1GB", "source_path": "/a", "sink_path": "/b"})).await;
    for text in ["m1", "m2"] {
        f.make(Microservice, text, json!({"service_id": "s"})).await;
    }
    f.make(Function, "f1", json!({"microservice_id": "m1", "endpoint_id": "e", "storage": "st"})).await;
    f.make(Function, "f2", json!({"microservice_id": "m2"})).await;
    for text in ["fs1", "fs2"] {
        f.make(FunctionState, text, json!({"function_id": "f1", "state": text})).await;
    }
    f.make(FunctionResult, "fr", json!({"function_id": "f1", "state_id": "fs2"})).await;
}

fn check_refused(found: Result<Vec<ResourceRef>, CatalogError>, expected: &[ResourceRef]) {
    match found {
        Err(CatalogError::StillReferenced { by }) => assert_eq!(by, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_belongs_goes_along_and_nothing_else() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let events = f.events().await;
        let gone = f.delete(Service, "s", None).await.unwrap();
        let expected = [
            named(Service, "s"),
            named(Microservice, "m1"),
            named(Microservice, "m2"),
            named(Function, "f1"),
            named(Function, "f2"),
            named(FunctionResult, "fr"),
            named(FunctionState, "fs1"),
            named(FunctionState, "fs2"),
        ];
        assert_eq!(gone, expected);
        // One event each for the service, two microservices and two functions.
        assert_eq!(f.events().await, events + 5);
        for (kind, left) in
            [(Endpoint, 1), (EndpointState, 1), (Storage, 1), (SecurityPolicy, 1), (Function, 0)]
        {
            assert_eq!(f.ids(&Query::of(kind)).await.len(), left, "{kind}");
        }
        f.check_invariants().await;
    });
}

#[test]
fn what_is_referenced_stays() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        check_refused(f.delete(Role, "r", None).await, &[named(SecurityPolicy, "sp")]);
        check_refused(
            f.delete(SecurityPolicy, "sp", None).await,
            &[named(Endpoint, "e"), named(Service, "s")],
        );
        check_refused(f.delete(Storage, "st", None).await, &[named(Function, "f1")]);
        // The endpoint's states would go along, but the function stands against it: nothing goes.
        check_refused(f.delete(Endpoint, "e", None).await, &[named(Function, "f1")]);
        // An instance two levels below stands against the service.
        f.make(Instance, "i", json!({"function": "f2"})).await;
        check_refused(f.delete(Service, "s", None).await, &[named(Instance, "i")]);
        assert_eq!(f.ids(&Query::of(EndpointState)).await, ["es"]);
        assert_eq!(f.ids(&Query::of(Function)).await, ["f1", "f2"]);
        f.delete(Instance, "i", None).await.unwrap();
        f.delete(Service, "s", None).await.unwrap();
        f.delete(Endpoint, "e", None).await.unwrap();
        f.delete(SecurityPolicy, "sp", None).await.unwrap();
        f.delete(Role, "r", None).await.unwrap();
        f.check_invariants().await;
    });
}

#[test]
fn a_reference_that_moved_does_not_hold_its_old_target() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let change =
            Change { spec: Some(SpecChange::Replace(json!({"microservice_id": "m2"}))), ..Change::default() };
        f.update(Function, "f1", change).await.unwrap();
        f.delete(Endpoint, "e", None).await.unwrap();
        assert_eq!(f.delete(Microservice, "m1", None).await.unwrap(), [named(Microservice, "m1")]);
        f.check_invariants().await;
    });
}

#[test]
fn more_than_the_limit_is_refused_as_a_whole() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let limits = Limits { cascade_records_max: 6, ..Limits::default() };
        let narrow = f.with_limits(limits);
        let refused = narrow.delete(Service, "s", None).await;
        assert!(matches!(refused, Err(CatalogError::TooManyCascades { max: 6 })), "{refused:?}");
        f.check_invariants().await;
        assert_eq!(f.ids(&Query::of(FunctionState)).await.len(), 2);
        // Seven go along.
        let limits = Limits { cascade_records_max: 7, ..Limits::default() };
        let enough = f.with_limits(limits);
        assert_eq!(enough.delete(Service, "s", None).await.unwrap().len(), 8);
    });
}

#[test]
fn too_long_a_history_is_removed_beforehand() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let narrow = f.with_limits(Limits { cascade_records_max: 2, ..Limits::default() });
        let remove = async |text: &'static str, expected| {
            let (catalog, permit) = (narrow.catalog.clone(), f.permit::<Delete>(Function, Some(text)));
            let remove = move |tx: &mut cm_db::WriteTx<'_>| {
                catalog.remove_history(tx, &permit, &id(text), expected, Dependents::Refuse, &occasion(4))
            };
            f.db.write(remove).await
        };
        let refused = narrow.delete(Function, "f1", None).await;
        assert!(matches!(refused, Err(CatalogError::TooManyCascades { max: 2 })), "{refused:?}");
        let instance = f.make(Instance, "i", json!({"function": "f1"})).await;
        let events = f.events().await;
        let refused = remove("f1", None).await;
        assert!(matches!(refused, Err(CatalogError::StillReferenced { .. })), "{refused:?}");
        let refused = remove("f1", Some(instance.header.generation.next())).await;
        assert!(matches!(refused, Err(CatalogError::Stale { .. })), "{refused:?}");
        assert_eq!((f.events().await, f.ids(&Query::of(FunctionState)).await.len()), (events, 2));
        f.delete(Instance, "i", None).await.unwrap();
        assert_eq!(remove("f1", None).await.unwrap(), 3);
        assert_eq!(remove("f1", None).await.unwrap(), 0);
        f.check_invariants().await;
        assert_eq!(narrow.delete(Function, "f1", None).await.unwrap(), [named(Function, "f1")]);
        f.check_invariants().await;
    });
}

#[test]
fn what_somebody_owns_is_known() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let owned = async |owner: PrincipalId, limit| {
            let (catalog, tenant) = (f.catalog.clone(), f.tenant.clone());
            f.db.read(move |tx| catalog.owned_by(tx, &tenant, &owner, limit)).await.unwrap()
        };
        let all = owned(PrincipalId::admin(), 100).await;
        assert_eq!(all.len(), 13);
        assert!(all[9..].iter().all(|resource| crate::kinds::is_history(resource.kind)), "{all:?}");
        assert_eq!(owned(PrincipalId::admin(), 2).await, all[..2]);
        assert_eq!(owned(PrincipalId::node(), 2).await, []);
        f.delete(Storage, "st", None).await.unwrap_err();
        f.delete(Function, "f1", None).await.unwrap();
        f.delete(Storage, "st", None).await.unwrap();
        assert!(!owned(PrincipalId::admin(), 100).await.contains(&named(Storage, "st")));
    });
}

#[test]
fn history_is_ordered_and_never_changed() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let (catalog, tenant) = (f.catalog.clone(), f.tenant.clone());
        let latest =
            f.db.read(move |tx| catalog.latest(tx, &tenant, &named(Function, "f1"), FunctionState))
                .await
                .unwrap();
        assert_eq!(latest.unwrap().header.id, id("fs2"));
        let query = Query { referencing: Some(named(Function, "f1")), ..Query::of(FunctionState) };
        assert_eq!(f.ids(&query).await, ["fs1", "fs2"]);
        let newest_first = Query { newest_first: true, ..query };
        assert_eq!(f.ids(&newest_first).await, ["fs2", "fs1"]);
        let of_all = Query { newest_first: true, ..Query::of(FunctionState) };
        assert_eq!(f.ids(&of_all).await.first().map(String::as_str), Some("fs2"));
        let refused = f.update(FunctionState, "fs1", Change::default()).await.unwrap_err();
        assert!(matches!(refused, CatalogError::AppendOnly(FunctionState)), "{refused}");
        let (catalog, tenant) = (f.catalog.clone(), f.tenant.clone());
        let none =
            f.db.read(move |tx| catalog.latest(tx, &tenant, &named(Function, "f2"), FunctionState))
                .await
                .unwrap();
        assert_eq!(none, None);
    });
}

#[test]
fn whoever_runs_a_function_adds_to_its_history_only() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        let permit = f.permit::<Invoke>(Function, Some("f1"));
        let append = async |new| {
            let (catalog, permit) = (f.catalog.clone(), permit.clone());
            f.db.write(move |tx| catalog.append_history(tx, &permit, new, &occasion(9))).await
        };
        let mut state = new(FunctionState, "x", json!({"function_id": "f1", "state": "running"}));
        (state.id, state.name) = (None, String::new());
        let added = append(state).await.unwrap();
        assert_eq!(added.header.name, added.header.id.as_str());
        assert_eq!(added.header.created_at, occasion(9).at);
        let other = new(FunctionState, "y", json!({"function_id": "f2", "state": "running"}));
        let instance = new(Instance, "i", json!({"function": "f1"}));
        for wrong in [other, instance] {
            let refused = append(wrong).await.unwrap_err();
            assert!(matches!(refused, CatalogError::PermitMismatch { .. }), "{refused}");
        }
        f.check_invariants().await;
    });
}

#[test]
fn a_security_policy_is_inherited() {
    on_both_engines(async |f: Fixture| {
        populate(&f).await;
        f.make(SecurityPolicy, "open", json!({"requires_authentication": false})).await;
        f.make(Function, "own", json!({"microservice_id": "m1", "security_policy": "open"})).await;
        f.make(Function, "alone", json!({})).await;
        f.make(Instance, "i", json!({"function": "f1"})).await;
        let guard = async |kind, text: &str| -> Option<Guard> {
            let record = f.get(kind, text).await.unwrap();
            f.db.read(move |tx| crate::guard::guard_of(tx, &record)).await.unwrap()
        };
        for (kind, text) in
            [(Service, "s"), (Microservice, "m1"), (Function, "f1"), (Instance, "i"), (FunctionResult, "fr")]
        {
            let found = guard(kind, text).await.unwrap();
            assert_eq!((found.id.as_str(), found.requires_authentication), ("sp", true), "{kind}/{text}");
            assert_eq!(found.roles[0].permissions, ["function:invoke".parse().unwrap()]);
        }
        assert!(!guard(Function, "own").await.unwrap().requires_authentication);
        assert_eq!(guard(Function, "alone").await, None);
        assert_eq!(guard(Storage, "st").await, None);
    });
}
