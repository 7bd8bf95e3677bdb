//! Active objects and the functions that their code is made into.

use cm_policy::{Create, Delete};
use cm_types::{Generation, PageLimit, ResourceKind, ResourceRef};
use serde_json::{Value, json};

use super::support::{Fixture, id, named, new, occasion, on_both_engines};
use crate::{CatalogError, Change, Dependents, Fault, Query, Record, SpecChange};

const OBJECT: ResourceKind = ResourceKind::ActiveObject;
const FUNCTION: ResourceKind = ResourceKind::Function;

const CODE: &str = "class Counter:\n    def __init__(self, start: int = 0):\n        self.n = start\n\n    \
                    def add(self, by: int):\n        self.n += by\n\n    def read(self):\n        return self.n\n";

fn object(code: &str) -> Value {
    json!({"axo_module": "counters", "axo_class_name": "Whatever", "axo_microservice_id": "m", "axo_code": code})
}

fn merge(fields: Value) -> Change {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    Change { spec: Some(SpecChange::Merge(fields)), ..Change::default() }
}

async fn home(f: &Fixture) {
    f.make(ResourceKind::Service, "s", json!({})).await;
    f.make(ResourceKind::Microservice, "m", json!({"service_id": "s"})).await;
}

async fn methods(f: &Fixture, object: &str) -> Vec<Record> {
    let (catalog, tenant, object) = (f.catalog.clone(), f.tenant.clone(), id(object));
    f.db.read(move |tx| catalog.methods_of(tx, &tenant, &object)).await.unwrap()
}

fn names(methods: &[Record]) -> Vec<&str> {
    methods.iter().map(|method| method.header.name.as_str()).collect()
}

#[track_caller]
fn refused_at(outcome: Result<Record, CatalogError>, path: &str) -> String {
    match outcome {
        Err(CatalogError::Invalid(errors)) if errors[0].path == path => errors[0].message.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn code_becomes_a_schema_and_a_function_for_each_method() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        let made = f.make(OBJECT, "o", object(CODE)).await;
        assert_eq!(made.spec["axo_class_name"], "Counter");
        assert_eq!(made.spec["axo_schema"]["init"][0]["name"], "start");
        assert_eq!(made.spec["axo_schema"]["methods"]["add"][0]["type"], "int");
        assert_eq!(made.spec["path"], "/axo/data");
        let functions = methods(&f, "o").await;
        assert_eq!(names(&functions), ["add", "read"]);
        for function in &functions {
            assert_eq!(function.spec["active_object_id"], "o");
            assert_eq!(function.spec["microservice_id"], "m");
            assert_eq!(function.spec.get("resources"), None);
        }
        // A service, a microservice, the object and its two methods.
        assert_eq!(f.events().await, 5);
        assert_eq!(methods(&f, "o").await, functions, "the ids stay");
        f.check_invariants().await;
        let gone = f.delete(OBJECT, "o", None).await.unwrap();
        assert_eq!((gone.len(), methods(&f, "o").await.len()), (3, 0));
        f.check_invariants().await;
    });
}

#[test]
fn new_code_keeps_the_methods_that_stay_and_their_history() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        f.make(OBJECT, "o", object(CODE)).await;
        let before = methods(&f, "o").await;
        let (add, read) = (before[0].header.id.as_str(), before[1].header.id.as_str());
        for (state, function) in [("s1", add), ("s2", read)] {
            let spec = json!({"function_id": function, "state": "running"});
            f.make(ResourceKind::FunctionState, state, spec).await;
        }
        let code = "class Other:\n    def add(self, by, times=1): pass\n    def clear(self): pass\n";
        let changed = f.update(OBJECT, "o", merge(json!({"axo_code": code}))).await.unwrap();
        assert_eq!(changed.spec["axo_class_name"], "Other");
        assert_eq!(changed.spec["axo_schema"]["methods"]["add"][1]["default"], 1);
        let after = methods(&f, "o").await;
        assert_eq!(names(&after), ["add", "clear"]);
        assert_eq!(after[0], before[0], "nothing of it changed");
        assert!(f.get(ResourceKind::FunctionState, "s1").await.is_some());
        assert!(f.get(ResourceKind::FunctionState, "s2").await.is_none());
        f.check_invariants().await;
        f.update(OBJECT, "o", merge(json!({"axo_code": null}))).await.unwrap();
        assert_eq!(methods(&f, "o").await, []);
        let bare = f.get(OBJECT, "o").await.unwrap();
        let empty = json!({"class_name": "Other", "init": [], "methods": {}});
        assert_eq!(bare.spec["axo_schema"], empty);
        f.check_invariants().await;
    });
}

#[test]
fn methods_move_with_their_object() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        f.make(ResourceKind::Microservice, "m2", json!({"service_id": "s"})).await;
        f.make(ResourceKind::Endpoint, "e", json!({"image": "i"})).await;
        f.make(OBJECT, "o", object(CODE)).await;
        let kept = methods(&f, "o").await[0].clone();
        let to = json!({"axo_microservice_id": "m2", "axo_endpoint_id": "e"});
        f.update(OBJECT, "o", merge(to)).await.unwrap();
        let moved = methods(&f, "o").await[0].clone();
        assert_eq!((&moved.spec["microservice_id"], &moved.spec["endpoint_id"]), (&json!("m2"), &json!("e")));
        assert_eq!((moved.header.id, moved.header.generation), (kept.header.id, Generation(2)));
        f.update(OBJECT, "o", merge(json!({"axo_version": 3}))).await.unwrap();
        assert_eq!(methods(&f, "o").await[0].header.generation, Generation(2), "nothing to follow");
        f.check_invariants().await;
    });
}

#[test]
fn bad_code_is_refused_with_its_place_and_leaves_nothing() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        let before = f.events().await;
        let bad = object("class A:\n    def f(self:\n        pass\n");
        let message = refused_at(f.create(new(OBJECT, "o", bad.clone())).await, "spec.axo_code");
        assert!(message.starts_with("line ") && message.contains("column"), "{message}");
        assert_eq!((f.get(OBJECT, "o").await, f.events().await), (None, before));
        let good = f.make(OBJECT, "o", object(CODE)).await;
        refused_at(f.update(OBJECT, "o", merge(json!({"axo_code": bad["axo_code"]}))).await, "spec.axo_code");
        assert_eq!(f.get(OBJECT, "o").await, Some(good));
        let many: String = (0..300).map(|at| format!("    def f{at}(self): pass\n")).collect();
        match f.create(new(OBJECT, "many", object(&format!("class A:\n{many}")))).await {
            Err(CatalogError::Invalid(errors)) => assert_eq!(errors[0].fault, Fault::Limit),
            other => panic!("{other:?}"),
        }
        refused_at(f.update(OBJECT, "o", merge(json!({"axo_version": -1}))).await, "spec.axo_version");
        f.check_invariants().await;
    });
}

#[test]
fn a_schema_is_derived_and_never_given() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        let mut spec = object(CODE);
        spec["axo_schema"] = json!({"class_name": "Forged", "init": [], "methods": {"evil": []}});
        let made = f.make(OBJECT, "o", spec).await;
        assert_eq!(made.spec["axo_schema"]["class_name"], "Counter");
        assert_eq!(names(&methods(&f, "o").await), ["add", "read"]);
    });
}

#[test]
fn an_alias_names_the_record_and_its_key() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        let mut spec = object(CODE);
        spec["axo_alias"] = json!("the counter");
        let mut nameless = new(OBJECT, "o", spec.clone());
        nameless.name = String::new();
        let made = f.create(nameless).await.unwrap();
        assert_eq!(
            (made.header.name.as_str(), &made.spec["axo_key"]),
            ("the counter", &json!("the counter"))
        );
        spec["axo_alias"] = json!("x".repeat(33));
        refused_at(f.create(new(OBJECT, "long", spec)).await, "spec.axo_alias");
    });
}

#[test]
fn a_method_is_nobodys_but_its_objects() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        f.make(OBJECT, "o", object(CODE)).await;
        let method = methods(&f, "o").await[0].header.id.to_string();
        let claim = json!({"active_object_id": "o"});
        refused_at(f.create(new(FUNCTION, "f", claim.clone())).await, "spec.active_object_id");
        f.make(FUNCTION, "f", json!({})).await;
        refused_at(f.update(FUNCTION, "f", merge(claim)).await, "spec.active_object_id");
        for field in ["active_object_id", "microservice_id"] {
            let fields = json!({ field: null });
            refused_at(f.update(FUNCTION, &method, merge(fields)).await, &format!("spec.{field}"));
        }
        let renamed = Change { name: Some("other".into()), ..Change::default() };
        refused_at(f.update(FUNCTION, &method, renamed).await, "name");
        // Everything else is like any function's.
        let resources = json!({"resources": {"cpu": 1, "ram": "1GB"}});
        f.update(FUNCTION, &method, merge(resources)).await.unwrap();
        f.update(OBJECT, "o", merge(json!({"axo_version": 1}))).await.unwrap();
        assert_eq!(methods(&f, "o").await[0].spec["resources"]["cpu"], 1, "and stays");
        for dependents in [Dependents::Refuse, Dependents::Cascade, Dependents::Orphan] {
            match f.delete_and(FUNCTION, &method, None, dependents).await {
                Err(CatalogError::StillReferenced { by }) => assert_eq!(by, [named(OBJECT, "o")]),
                other => panic!("{other:?}"),
            }
        }
        let (catalog, permit) = (f.catalog.clone(), f.permit::<Delete>(FUNCTION, Some(&method)));
        let root = id(&method);
        let plan =
            f.db.read(move |tx| catalog.plan_deletion(tx, &permit, &root, Dependents::Cascade))
                .await
                .unwrap();
        assert_eq!(plan.refusing, [named(OBJECT, "o")]);
        f.delete(ResourceKind::Service, "s", None).await.unwrap();
        assert_eq!(f.ids(&Query::of(FUNCTION)).await, ["f"]);
        f.check_invariants().await;
    });
}

#[test]
fn a_method_that_runs_stays() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        f.make(OBJECT, "o", object(CODE)).await;
        let method = methods(&f, "o").await[0].header.id.to_string();
        f.make(ResourceKind::Instance, "i", json!({ "function": method })).await;
        match f.update(OBJECT, "o", merge(json!({"axo_code": "class A: pass"}))).await {
            Err(CatalogError::StillReferenced { by }) => assert_eq!(by, [named(ResourceKind::Instance, "i")]),
            other => panic!("{other:?}"),
        }
        assert_eq!(methods(&f, "o").await.len(), 2);
        f.check_invariants().await;
    });
}

#[test]
fn a_permit_for_the_object_is_enough_of_the_catalogue() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        let (catalog, permit) = (f.catalog.clone(), f.permit::<Create>(OBJECT, None));
        let made =
            f.db.write(move |tx| catalog.create(tx, &permit, new(OBJECT, "o", object(CODE)), &occasion(1)));
        made.await.unwrap();
        let owners: Vec<_> = methods(&f, "o").await.into_iter().map(|method| method.header.owner).collect();
        assert!(owners.iter().all(|owner| owner.as_str() == "admin"), "{owners:?}");
    });
}

async fn referrers(f: &Fixture, of: ResourceRef, limit: usize, hidden: &'static str) -> Vec<String> {
    let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let (catalog, tenant, target) = (f.catalog.clone(), f.tenant.clone(), of.clone());
        let limit = PageLimit::clamped(limit);
        let page = f.db.read(move |tx| {
            let visible = |record: &Record| record.header.id.as_str() != hidden;
            catalog.referrers(tx, &tenant, &target, after.as_ref(), limit, visible)
        });
        let page = page.await.unwrap();
        assert!(page.items.len() <= limit.get());
        all.extend(page.items.iter().map(ToString::to_string));
        after = page.next;
        pages += 1;
        assert!(pages < 20, "it never ends");
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn referrers_are_paged_and_those_that_are_hidden_left_out() {
    on_both_engines(async |f: Fixture| {
        home(&f).await;
        for function in ["f1", "f2", "f3"] {
            f.make(FUNCTION, function, json!({"microservice_id": "m"})).await;
        }
        f.make(OBJECT, "o", json!({"axo_module": "x", "axo_class_name": "X", "axo_microservice_id": "m"}))
            .await;
        let target = named(ResourceKind::Microservice, "m");
        let mut everything = referrers(&f, target.clone(), 100, "").await;
        for limit in 1..6 {
            assert_eq!(referrers(&f, target.clone(), limit, "").await, everything, "{limit}");
        }
        everything.sort();
        assert_eq!(everything, ["active-object/o", "function/f1", "function/f2", "function/f3"]);
        let mut some = referrers(&f, target.clone(), 1, "f2").await;
        some.sort();
        assert_eq!(some, ["active-object/o", "function/f1", "function/f3"]);
        let (catalog, tenant) = (f.catalog.clone(), f.tenant.clone());
        let refused = f.db.read(move |tx| {
            let foreign = cm_types::Cursor(format!("{:016x}{:016x}function", 0, 1));
            catalog.referrers(tx, &tenant, &target, Some(&foreign), PageLimit::default(), |_| true)
        });
        assert!(matches!(refused.await, Err(CatalogError::InvalidCursor)));
    });
}
