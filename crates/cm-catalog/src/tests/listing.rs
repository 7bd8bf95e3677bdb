//! Pages, filters, cursors.

use std::collections::BTreeMap;

use cm_policy::Update;
use cm_types::{Cursor, Labels, PageLimit, ResourceKind};
use serde_json::json;

use super::support::{Fixture, id, named, new, occasion, on_both_engines};
use crate::{CatalogError, Query};

const SERVICE: ResourceKind = ResourceKind::Service;
const STATE: ResourceKind = ResourceKind::EndpointState;

#[test]
fn pages_are_in_creation_order_and_stable_under_inserts_and_removals() {
    on_both_engines(async |f: Fixture| {
        // Names against the order of creation.
        for number in (0..10).rev() {
            f.make(SERVICE, &format!("s{number}"), json!({})).await;
        }
        let mut query = Query { limit: PageLimit::clamped(4), ..Query::of(SERVICE) };
        let mut seen = Vec::new();
        for round in 0.. {
            let page = f.list(&query).await.unwrap();
            seen.extend(page.items.iter().map(|record| record.header.id.to_string()));
            if round == 0 {
                f.make(SERVICE, "a-late-one", json!({})).await;
                f.delete(SERVICE, "s6", None).await.unwrap();
                f.delete(SERVICE, "s4", None).await.unwrap();
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["s9", "s8", "s7", "s6", "s5", "s3", "s2", "s1", "s0", "a-late-one"]);
    });
}

#[test]
fn a_full_last_page_has_no_next_one() {
    on_both_engines(async |f: Fixture| {
        for number in 0..4 {
            f.make(SERVICE, &format!("s{number}"), json!({})).await;
        }
        let page = f.list(&Query { limit: PageLimit::clamped(4), ..Query::of(SERVICE) }).await.unwrap();
        assert_eq!((page.items.len(), page.next), (4, None));
        let page = f.list(&Query::of(STATE)).await.unwrap();
        assert_eq!((page.items.len(), page.next), (0, None));
    });
}

#[test]
fn selectors_filters_and_references_narrow() {
    on_both_engines(async |f: Fixture| {
        f.make(ResourceKind::Role, "r", json!({})).await;
        f.make(ResourceKind::SecurityPolicy, "sp", json!({"roles": ["r"]})).await;
        for (text, env, cpu, policy) in [("a", "prod", 1, "sp"), ("b", "dev", 2, "sp"), ("c", "prod", 2, "")]
        {
            let mut spec = json!({"resources": {"cpu": cpu, "ram": "1GB"}});
            if !policy.is_empty() {
                spec["security_policy"] = json!(policy);
            }
            let mut service = new(SERVICE, text, spec);
            service.labels = Labels::try_from(BTreeMap::from([("env".to_owned(), env.to_owned())])).unwrap();
            f.create(service).await.unwrap();
        }
        let permit = f.permit::<Update>(SERVICE, Some("c"));
        let catalog = f.catalog.clone();
        f.db.write(move |tx| {
            catalog.set_status(tx, &permit, &id("c"), None, json!({"phase": "up"}), &occasion(2))
        })
        .await
        .unwrap();
        let filter = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        let all = Query::of(SERVICE);
        let check = async |query: Query, expected: &[&str]| assert_eq!(f.ids(&query).await, expected);
        check(Query { selector: "env=prod".parse().unwrap(), ..all.clone() }, &["a", "c"]).await;
        check(Query { filters: vec![filter("resources.cpu", "2")], ..all.clone() }, &["b", "c"]).await;
        check(Query { filters: vec![filter("security_policy", "sp")], ..all.clone() }, &["a", "b"]).await;
        check(Query { filters: vec![filter("status.phase", "up")], ..all.clone() }, &["c"]).await;
        check(Query { filters: vec![filter("nowhere", "sp")], ..all.clone() }, &[]).await;
        let policy = named(ResourceKind::SecurityPolicy, "sp");
        let referencing = Query { referencing: Some(policy), ..all };
        check(referencing.clone(), &["a", "b"]).await;
        check(Query { selector: "env=dev".parse().unwrap(), ..referencing }, &["b"]).await;
        let policies =
            Query { filters: vec![filter("roles", "r")], ..Query::of(ResourceKind::SecurityPolicy) };
        check(policies, &["sp"]).await;
    });
}

#[test]
fn what_may_not_be_seen_leaves_no_gap() {
    on_both_engines(async |f: Fixture| {
        for number in 0..9 {
            f.make(SERVICE, &format!("s{number}"), json!({})).await;
        }
        let (catalog, tenant) = (f.catalog.clone(), f.tenant.clone());
        let query = Query { limit: PageLimit::clamped(3), ..Query::of(SERVICE) };
        let odd = |id: &str| id.ends_with(['1', '3', '5', '7']);
        let page =
            f.db.read(move |tx| catalog.list_where(tx, &tenant, &query, |r| odd(r.header.id.as_str())))
                .await
                .unwrap();
        let ids: Vec<&str> = page.items.iter().map(|record| record.header.id.as_str()).collect();
        assert_eq!((ids.as_slice(), page.next.is_some()), (["s1", "s3", "s5"].as_slice(), true));
    });
}

#[test]
fn a_forged_cursor_is_refused() {
    on_both_engines(async |f: Fixture| {
        for number in 0..3 {
            f.make(SERVICE, &format!("s{number}"), json!({})).await;
        }
        let query = Query { limit: PageLimit::clamped(1), ..Query::of(SERVICE) };
        let good = f.list(&query).await.unwrap().next.unwrap();
        let mut upper = good.clone();
        upper.0.replace_range(0..1, "F");
        let shifted = Cursor(format!("0{}", &good.0[..31]));
        for bad in [Cursor(String::new()), Cursor("1".into()), Cursor("x".repeat(32)), upper, shifted] {
            let refused = f.list(&Query { after: Some(bad.clone()), ..query.clone() }).await;
            assert!(matches!(refused, Err(CatalogError::InvalidCursor)), "{bad:?}: {refused:?}");
        }
        // Another query's, and the same query's in another tenant.
        let other = Query { selector: "a=b".parse().unwrap(), after: Some(good.clone()), ..query.clone() };
        assert!(matches!(f.list(&other).await, Err(CatalogError::InvalidCursor)));
        let same = Query { after: Some(good), ..query };
        assert!(matches!(f.in_tenant("acme").list(&same).await, Err(CatalogError::InvalidCursor)));
        assert_eq!(f.list(&same).await.unwrap().items[0].header.id, id("s1"));
    });
}

#[test]
fn a_page_ends_when_it_is_large() {
    on_both_engines(async |f: Fixture| {
        let long = "x".repeat(1000 * 1000);
        for number in 0..7 {
            let spec = json!({ "confidential": { "policy": long } });
            f.make(ResourceKind::Function, &format!("f{number}"), spec).await;
        }
        let mut query = Query { limit: PageLimit::clamped(100), ..Query::of(ResourceKind::Function) };
        let mut sizes = Vec::new();
        loop {
            let page = f.list(&query).await.unwrap();
            sizes.push(page.items.len());
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [5, 2]);
    });
}
