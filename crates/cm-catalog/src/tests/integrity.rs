//! What is refused, and that a refusal leaves no trace.

use cm_policy::{Create, Update};
use cm_types::{Generation, ResourceKind};
use serde_json::{Value, json};

use super::support::{Fixture, id, named, new, occasion, on_both_engines};
use crate::{CatalogError, Change, Query, SpecChange, builtin_roles};

const ROLE: ResourceKind = ResourceKind::Role;
const POLICY: ResourceKind = ResourceKind::SecurityPolicy;
const SERVICE: ResourceKind = ResourceKind::Service;

fn with_spec(spec: Value) -> Change {
    Change { spec: Some(SpecChange::Replace(spec)), ..Change::default() }
}

#[test]
fn a_record_is_created_read_changed_and_removed_with_an_event_each() {
    on_both_engines(async |f: Fixture| {
        let made = f.make(ROLE, "r", json!({"permissions": ["functions:invoke"]})).await;
        assert_eq!(made.header.owner.as_str(), "admin");
        assert_eq!(made.header.generation, Generation::FIRST);
        assert_eq!(made.spec, json!({"permissions": ["functions:invoke"]}), "it is kept as written");
        assert_eq!(f.get(ROLE, "r").await, Some(made));
        let change =
            Change { name: Some("renamed".into()), expected: Some(Generation(1)), ..Change::default() };
        let changed = f.update(ROLE, "r", change).await.unwrap();
        assert_eq!((changed.header.name.as_str(), changed.header.generation), ("renamed", Generation(2)));
        assert!(changed.header.updated_at > changed.header.created_at);
        assert_eq!(f.delete(ROLE, "r", Some(Generation(2))).await.unwrap(), [named(ROLE, "r")]);
        assert_eq!(f.get(ROLE, "r").await, None);
        assert_eq!(f.events().await, 3);
        f.check_invariants().await;
    });
}

#[test]
fn a_stale_generation_is_refused() {
    on_both_engines(async |f: Fixture| {
        f.make(SERVICE, "s", json!({})).await;
        f.update(SERVICE, "s", with_spec(json!({"description": "first"}))).await.unwrap();
        let late = Change { expected: Some(Generation(1)), ..with_spec(json!({"description": "second"})) };
        let stale = |error| {
            assert!(
                matches!(error, CatalogError::Stale { expected: Generation(1), found: Generation(2) }),
                "{error}"
            );
        };
        stale(f.update(SERVICE, "s", late).await.unwrap_err());
        stale(f.delete(SERVICE, "s", Some(Generation(1))).await.unwrap_err());
        assert_eq!(f.get(SERVICE, "s").await.unwrap().spec, json!({"description": "first"}));
        assert_eq!(f.events().await, 2);
    });
}

#[test]
fn one_bad_update_never_poisons_a_collection() {
    on_both_engines(async |f: Fixture| {
        for text in ["a", "b"] {
            f.make(SERVICE, text, json!({"resources": {"cpu": 1, "ram": "1GB"}})).await;
        }
        let bad = [
            json!({"resources": {"cpu": null, "ram": "1GB"}}),
            json!({"resources": {"cpu": 99, "ram": "1GB"}}),
            json!({"resources": {"cpu": 1, "ram": "GB2GB"}}),
            json!({"unknown": 1}),
            json!("text"),
        ];
        for spec in bad {
            let error = f.update(SERVICE, "a", with_spec(spec)).await.unwrap_err();
            assert!(matches!(error, CatalogError::Invalid(_)), "{error}");
        }
        for name in ["a\nb", &"x".repeat(33), &"x".repeat(129)] {
            let change = Change { name: Some(name.to_owned()), ..Change::default() };
            let error = f.update(SERVICE, "a", change).await.unwrap_err();
            assert!(matches!(&error, CatalogError::Invalid(errors) if errors[0].path == "name"), "{error}");
        }
        assert_eq!(f.ids(&Query::of(SERVICE)).await, ["a", "b"]);
        assert_eq!(f.get(SERVICE, "a").await.unwrap().header.generation, Generation::FIRST);
        assert_eq!(f.delete(SERVICE, "a", None).await.unwrap().len(), 1);
        f.check_invariants().await;
    });
}

#[test]
fn ids_and_identifying_names_are_unique_per_tenant() {
    on_both_engines(async |f: Fixture| {
        f.make(ROLE, "r1", json!({})).await;
        let exists = |error, by: &str| {
            assert!(matches!(&error, CatalogError::Exists(found) if *found == named(ROLE, by)), "{error}");
        };
        exists(f.create(new(ROLE, "r1", json!({}))).await.unwrap_err(), "r1");
        let mut twin = new(ROLE, "r2", json!({}));
        twin.name = "r1".to_owned();
        exists(f.create(twin).await.unwrap_err(), "r1");
        f.make(ROLE, "r2", json!({})).await;
        let rename = |to: &str| Change { name: Some(to.to_owned()), ..Change::default() };
        exists(f.update(ROLE, "r2", rename("r1")).await.unwrap_err(), "r1");
        f.update(ROLE, "r1", rename("other")).await.unwrap();
        f.update(ROLE, "r2", rename("r1")).await.unwrap();
        let elsewhere = f.in_tenant("acme");
        elsewhere.make(ROLE, "r1", json!({})).await;
        assert_eq!(f.get(ROLE, "r1").await.unwrap().header.name, "other");
        // Services may share a name.
        for text in ["s1", "s2"] {
            let mut service = new(SERVICE, text, json!({}));
            service.name = "same".to_owned();
            f.create(service).await.unwrap();
        }
        f.check_invariants().await;
    });
}

#[test]
fn references_must_resolve_within_the_tenant() {
    on_both_engines(async |f: Fixture| {
        let elsewhere = f.in_tenant("acme");
        elsewhere.make(POLICY, "sp1", json!({})).await;
        let spec = json!({"security_policy": "sp1"});
        let dangles = |error| {
            assert!(
                matches!(&error, CatalogError::DanglingReference { field, to }
                    if field == "security_policy" && *to == named(POLICY, "sp1")),
                "{error}"
            );
        };
        dangles(f.create(new(SERVICE, "s", spec.clone())).await.unwrap_err());
        assert_eq!(f.get(SERVICE, "s").await, None);
        f.make(SERVICE, "s", json!({})).await;
        dangles(f.update(SERVICE, "s", with_spec(spec.clone())).await.unwrap_err());
        f.make(POLICY, "sp1", json!({})).await;
        f.update(SERVICE, "s", with_spec(spec)).await.unwrap();
        f.check_invariants().await;
    });
}

#[test]
fn a_bucket_is_named_by_its_id() {
    on_both_engines(async |f: Fixture| {
        let bucket = |id_text: Option<&str>, name: &str| {
            let mut new = new(ResourceKind::Bucket, "x", json!({}));
            new.id = id_text.map(id);
            new.name = name.to_owned();
            new
        };
        assert_eq!(f.create(bucket(None, "scans")).await.unwrap().header.id, id("scans"));
        for bad in [bucket(None, "No Bucket"), bucket(Some("a"), "b"), bucket(Some("A"), "A")] {
            assert!(matches!(f.create(bad).await, Err(CatalogError::Invalid(_))));
        }
    });
}

#[test]
fn a_permit_for_something_else_is_refused() {
    on_both_engines(async |f: Fixture| {
        f.make(SERVICE, "s", json!({})).await;
        let catalog = f.catalog.clone();
        let (wrong_kind, wrong_id) =
            (f.permit::<Create>(ROLE, None), f.permit::<Update>(SERVICE, Some("other")));
        let (one, collection) = (f.permit::<Create>(SERVICE, Some("s2")), f.permit::<Update>(SERVICE, None));
        let mismatches =
            f.db.write::<_, CatalogError, _>(move |tx| {
                let fresh = || new(SERVICE, "s2", json!({}));
                Ok([
                    catalog.create(tx, &wrong_kind, fresh(), &occasion(1)).err(),
                    catalog.create(tx, &one, fresh(), &occasion(1)).err(),
                    catalog.update(tx, &wrong_id, &id("s"), Change::default(), &occasion(1)).err(),
                    catalog.set_status(tx, &collection, &id("s"), None, json!({}), &occasion(1)).err(),
                ])
            })
            .await
            .unwrap();
        for error in mismatches {
            assert!(matches!(error, Some(CatalogError::PermitMismatch { .. })), "{error:?}");
        }
    });
}

#[test]
fn the_built_in_roles_are_valid_and_the_administrator_stays() {
    on_both_engines(async |f: Fixture| {
        for role in builtin_roles() {
            f.create(role).await.unwrap();
        }
        let names = f.ids(&Query::of(ROLE)).await;
        assert_eq!(names, ["admin", "operator", "developer", "analyst", "auditor"]);
        let refused = |error| assert!(matches!(error, CatalogError::BuiltIn(_)), "{error}");
        refused(f.update(ROLE, "admin", with_spec(json!({}))).await.unwrap_err());
        refused(f.delete(ROLE, "admin", None).await.unwrap_err());
        f.delete(ROLE, "operator", None).await.unwrap();
        let tenant = f.tenant.clone();
        let facts =
            f.db.read(move |tx| crate::guard::role_facts(tx, &tenant, &id("admin"))).await.unwrap().unwrap();
        assert!(facts.is_administrator());
    });
}
