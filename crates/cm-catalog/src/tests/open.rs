//! What a node in open mode lets pass, and what it holds to all the same.

use cm_types::{Labels, ResourceKind};
use serde_json::{Map, Value, json};

use super::support::{Fixture, id, named, new, on_both_engines};
use crate::guard::role_facts;
use crate::{CatalogError, Change, Dependents, Query, SpecChange};

use ResourceKind::{Function, FunctionResult, FunctionState, Microservice, Role, SecurityPolicy, Service};

fn merging(fields: Value) -> Change {
    let Value::Object(fields) = fields else { panic!("{fields} has no fields") };
    Change { spec: Some(SpecChange::Merge(fields)), ..Change::default() }
}

fn renaming(to: &str) -> Change {
    Change { name: Some(to.to_owned()), ..Change::default() }
}

#[test]
fn a_reference_may_lead_nowhere() {
    on_both_engines(async |f: Fixture| {
        let dangling = || new(Microservice, "m", json!({"service_id": "nowhere"}));
        let refused = f.create(dangling()).await.unwrap_err();
        assert!(matches!(&refused, CatalogError::DanglingReference { field, to }
            if field == "service_id" && *to == named(Service, "nowhere")));
        let open = f.open();
        open.create(dangling()).await.unwrap();
        open.make(Function, "f", json!({"microservice_id": "m", "endpoint_id": "e", "storage": "st"})).await;
        open.update(Function, "f", merging(json!({"endpoint_id": "elsewhere"}))).await.unwrap();
        // The reference is known nevertheless, and holds what it leads to as soon as that is there.
        let of_nowhere = Query { referencing: Some(named(Service, "nowhere")), ..Query::of(Microservice) };
        assert_eq!(f.ids(&of_nowhere).await, ["m"]);
        f.make(Service, "nowhere", json!({})).await;
        let refused = f.delete_and(Service, "nowhere", None, Dependents::Refuse).await.unwrap_err();
        assert!(matches!(refused, CatalogError::StillReferenced { by } if by == [named(Microservice, "m")]));
        // What does not change is not checked anew, what changes is.
        f.update(Function, "f", merging(json!({"description": "d"}))).await.unwrap();
        let refused = f.update(Function, "f", merging(json!({"storage": "other"}))).await.unwrap_err();
        assert!(matches!(refused, CatalogError::DanglingReference { .. }), "{refused}");
        f.check_indexes().await;
    });
}

#[test]
fn names_may_be_equal_and_ids_not() {
    on_both_engines(async |f: Fixture| {
        let open = f.open();
        let called = |kind, text: &str, name: &str| {
            let mut record = new(kind, text, json!({}));
            record.name = name.to_owned();
            record
        };
        for kind in [Role, SecurityPolicy] {
            f.create(called(kind, "first", "same")).await.unwrap();
            assert!(matches!(f.create(called(kind, "second", "same")).await, Err(CatalogError::Exists(_))));
            open.create(called(kind, "second", "same")).await.unwrap();
            let again = open.create(called(kind, "second", "other")).await;
            assert!(matches!(again, Err(CatalogError::Exists(taken)) if taken == named(kind, "second")));
            // Renaming the one that came second frees nothing of the first, and the other way round.
            open.update(kind, "second", renaming("moved")).await.unwrap();
            assert!(matches!(f.create(called(kind, "third", "same")).await, Err(CatalogError::Exists(_))));
            open.update(kind, "second", renaming("same")).await.unwrap();
            open.delete(kind, "first", None).await.unwrap();
            assert_eq!(f.get(kind, "second").await.unwrap().header.name, "same");
            open.delete(kind, "second", None).await.unwrap();
            f.create(called(kind, "third", "same")).await.unwrap();
        }
        f.check_invariants().await;
    });
}

#[test]
fn history_can_be_corrected() {
    on_both_engines(async |f: Fixture| {
        f.make(Function, "f", json!({})).await;
        f.make(FunctionState, "s", json!({"function_id": "f", "state": "runing"})).await;
        f.make(FunctionResult, "r", json!({"function_id": "f", "metadata": {"a": "1"}})).await;
        for (kind, text) in [(FunctionState, "s"), (FunctionResult, "r")] {
            let refused = f.update(kind, text, merging(json!({"metadata": {}}))).await.unwrap_err();
            assert!(matches!(refused, CatalogError::AppendOnly(found) if found == kind), "{refused}");
        }
        let open = f.open();
        let change = merging(json!({"state": "running", "metadata": {"k": "v"}}));
        let changed = open.update(FunctionState, "s", change).await.unwrap();
        assert_eq!(changed.spec, json!({"function_id": "f", "state": "running", "metadata": {"k": "v"}}));
        // Metadata is replaced, not merged.
        let changed =
            open.update(FunctionResult, "r", merging(json!({"metadata": {"b": "2"}}))).await.unwrap();
        assert_eq!(changed.spec["metadata"], json!({"b": "2"}));
        f.check_invariants().await;
    });
}

#[test]
fn a_word_that_is_no_permission_is_kept_and_grants_nothing() {
    on_both_engines(async |f: Fixture| {
        let words = json!(["fly", "read", "function:invoke", "*", "write", "admin"]);
        let refused = f.create(new(Role, "r", json!({"permissions": words}))).await.unwrap_err();
        let CatalogError::Invalid(errors) = refused else { panic!("{refused}") };
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["spec.permissions[0]", "spec.permissions[3]", "spec.permissions[5]"]);
        let made = f.open().make(Role, "r", json!({"permissions": words})).await;
        assert_eq!(made.spec["permissions"], words);
        let tenant = f.tenant.clone();
        let facts = f.db.read(move |tx| role_facts(tx, &tenant, &id("r"))).await.unwrap().unwrap();
        let granted: Vec<_> = facts.permissions.iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["*:read", "function:invoke", "*:create", "*:update"]);
        assert!(!facts.is_administrator());
    });
}

#[test]
fn form_and_limits_are_held_to_all_the_same() {
    on_both_engines(async |f: Fixture| {
        let open = f.open();
        for spec in [
            json!({"resources": {"cpu": 99, "ram": "1GB"}}),
            json!({"security_policy": {"roles": "r"}}),
            json!({"security_policy": "not an id/"}),
        ] {
            let refused = open.create(new(Service, "s", spec)).await.unwrap_err();
            assert!(matches!(refused, CatalogError::Invalid(_)), "{refused}");
        }
        open.make(Service, "s", json!({})).await;
        let change = Change { labels: Some(Labels::new()), status: Map::new(), ..Change::default() };
        open.update(Service, "s", change).await.unwrap();
        f.check_invariants().await;
    });
}
