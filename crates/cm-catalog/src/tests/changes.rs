//! Names, merged specs, states in a life, and writers who come at once.

use cm_policy::Update;
use cm_runtime::Tasks;
use cm_types::{Generation, ResourceKind};
use serde_json::{Map, Value, json};

use super::support::{Fixture, id, new, occasion, on_both_engines};
use crate::{CatalogError, Change, Fault, Record, SpecChange};

use ResourceKind::{
    Endpoint, EndpointState, Function, FunctionState, Microservice, Role, SecurityPolicy, Service, Storage,
};

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("{other} has no fields"),
    }
}

fn merging(spec: Value) -> Change {
    Change { spec: Some(SpecChange::Merge(fields(spec))), ..Change::default() }
}

#[test]
fn a_name_is_the_id_or_of_at_most_32_characters() {
    on_both_engines(async |f: Fixture| {
        let long = "é".repeat(32);
        for kind in [Role, SecurityPolicy, Service, Function] {
            let called = |text: &str, name: &str| {
                let mut record = new(kind, text, json!({}));
                record.name = name.to_owned();
                record
            };
            assert_eq!(f.create(called("nameless", "")).await.unwrap().header.name, "nameless");
            assert_eq!(f.create(called("named", &long)).await.unwrap().header.name, long);
            let refused = f.create(called("too-long", &format!("{long}x"))).await.unwrap_err();
            let CatalogError::Invalid(errors) = refused else { panic!("{refused}") };
            assert_eq!((errors[0].path.as_str(), errors[0].fault), ("name", Fault::Limit));
            // An id may be longer, and with it the name that is the id.
            let id = "x".repeat(40);
            assert_eq!(f.create(called(&id, "")).await.unwrap().header.name, id);
            let rename = |to: &str| Change { name: Some(to.to_owned()), ..Change::default() };
            assert_eq!(f.update(kind, "named", rename("")).await.unwrap().header.name, "named");
            let refused = f.update(kind, "named", rename(&"x".repeat(33))).await;
            assert!(matches!(refused, Err(CatalogError::Invalid(_))), "{refused:?}");
        }
        // What the platform names is not held to it.
        f.make(Storage, "st", json!({"capacity": "1GB", "source_path": "/a", "sink_path": "/b"})).await;
        f.update(Storage, "st", Change { name: Some("x".repeat(33)), ..Change::default() }).await.unwrap();
        f.check_invariants().await;
    });
}

fn check_merge(before: Value, sent: Value, after: Value) {
    assert_eq!(SpecChange::Merge(fields(sent.clone())).apply(&before), after, "{sent}");
}

#[test]
fn merging_replaces_fields_and_goes_into_three_of_them() {
    let before = json!({"description": "d", "resources": {"cpu": 1, "ram": "1GB"}, "metadata": {"a": "1"}});
    check_merge(before.clone(), json!({}), before.clone());
    check_merge(
        before.clone(),
        json!({"resources": {"cpu": 2}, "metadata": {"b": "2"}}),
        json!({"description": "d", "resources": {"cpu": 2, "ram": "1GB"}, "metadata": {"b": "2"}}),
    );
    check_merge(
        before.clone(),
        json!({"description": null, "resources": null, "absent": null}),
        json!({"metadata": {"a": "1"}}),
    );
    check_merge(
        before,
        json!({"resources": {"ram": null}}),
        json!({"description": "d", "resources": {"cpu": 1}, "metadata": {"a": "1"}}),
    );
    check_merge(json!({}), json!({"resources": {"cpu": 1}}), json!({"resources": {"cpu": 1}}));
    // A policy of one's own is replaced as a whole: half of one policy and half of another is none.
    check_merge(
        json!({"security_policy": {"roles": ["a"], "requires_authentication": false}}),
        json!({"security_policy": {"roles": ["b"]}}),
        json!({"security_policy": {"roles": ["b"]}}),
    );
    // From an id to an object and back there is nothing to merge.
    check_merge(
        json!({"storage": "st"}),
        json!({"storage": {"capacity": "1GB"}}),
        json!({"storage": {"capacity": "1GB"}}),
    );
    check_merge(json!({"storage": {"capacity": "1GB"}}), json!({"storage": "st"}), json!({"storage": "st"}));
    check_merge(
        json!({"confidential": {"policy": "p"}, "storage": {"capacity": "1GB", "source": {"path": "/a", "key": "k"}}}),
        json!({"confidential": {}, "storage": {"source": {"path": "/b"}}}),
        json!({"confidential": {"policy": "p"}, "storage": {"capacity": "1GB", "source": {"path": "/b"}}}),
    );
}

#[test]
fn what_a_merge_comes_to_is_checked_as_a_whole() {
    on_both_engines(async |f: Fixture| {
        f.make(Service, "s", json!({"resources": {"cpu": 1, "ram": "1GB"}})).await;
        for sent in [
            json!({"resources": {"cpu": null}}),
            json!({"resources": {"cpu": 99}}),
            json!({"colour": "red"}),
            json!({"security_policy": {"roles": ["a", "a"]}}),
        ] {
            let refused = f.update(Service, "s", merging(sent.clone())).await.unwrap_err();
            assert!(matches!(refused, CatalogError::Invalid(_)), "{sent}: {refused}");
        }
        let changed = f.update(Service, "s", merging(json!({"resources": {"ram": "2GB"}}))).await.unwrap();
        assert_eq!(changed.spec, json!({"resources": {"cpu": 1, "ram": "2GB"}}));
        assert_eq!(changed.header.generation, Generation(2));
        f.make(Microservice, "m", json!({"service_id": "s"})).await;
        let refused = f.update(Microservice, "m", merging(json!({"service_id": null}))).await.unwrap_err();
        assert!(matches!(refused, CatalogError::Invalid(_)), "what is required cannot be removed: {refused}");
        f.check_invariants().await;
    });
}

#[test]
fn ten_writers_at_once_lose_nothing() {
    on_both_engines(async |f: Fixture| {
        f.make(Role, "r", json!({})).await;
        f.make(
            Function,
            "f",
            json!({"resources": {"cpu": 1, "ram": "1GB"},
                "storage": {"capacity": "1GB", "source_path": "/a", "sink_path": "/b"}}),
        )
        .await;
        let parts = [
            json!({"description": "d"}),
            json!({"image": "i"}),
            json!({"policy_id": "p"}),
            json!({"resources": {"cpu": 2}}),
            json!({"resources": {"ram": "2GB"}}),
            json!({"storage": {"capacity": "2GB"}}),
            json!({"storage": {"source_path": "/c"}}),
            json!({"storage": {"sink_path": "/d"}}),
            json!({"confidential": {"policy": "{}"}}),
            json!({"security_policy": {"roles": ["r"], "requires_authentication": true}}),
        ];
        let tasks = Tasks::new();
        let writers: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let f = f.clone();
                tasks.spawn("writer", async move { f.update(Function, "f", merging(part)).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        let written = f.get(Function, "f").await.unwrap();
        assert_eq!(written.header.generation, Generation(11));
        assert_eq!(
            written.spec,
            json!({
                "description": "d", "executor": "confidential", "image": "i", "policy_id": "p",
                "resources": {"cpu": 2, "ram": "2GB"},
                "storage": {"capacity": "2GB", "source_path": "/c", "sink_path": "/d"},
                "confidential": {"policy": "{}"},
                "security_policy": {"roles": ["r"], "requires_authentication": true},
            })
        );
        f.check_invariants().await;
    });
}

/// Goes through the states of a life by `step`; the last one is refused unless told otherwise, and leaves no trace.
async fn check_steps(
    f: &Fixture,
    states: &[&'static str],
    last_is_refused: bool,
    step: impl AsyncFn(&'static str) -> Result<Record, CatalogError>,
) {
    let (last, first) = states.split_last().unwrap();
    for state in first {
        step(state).await.unwrap_or_else(|error| panic!("{state}: {error}"));
    }
    let events = f.events().await;
    match (step(last).await, last_is_refused) {
        (Err(CatalogError::IllegalTransition { from, to, .. }), true) => {
            assert_eq!((from.as_str(), to.as_str()), (*first.last().unwrap_or(&from.as_str()), *last));
            assert_eq!(f.events().await, events);
        }
        (Ok(_), false) => {}
        (found, _) => panic!("{states:?}: {found:?}"),
    }
}

#[test]
fn a_life_is_held_to_by_the_status() {
    on_both_engines(async |f: Fixture| {
        f.make(Endpoint, "e", json!({"image": "i"})).await;
        f.make(Function, "f", json!({})).await;
        let set = async |kind, text: &'static str, status: Value| {
            let (catalog, permit) = (f.catalog.clone(), f.permit::<Update>(kind, Some(text)));
            f.db.write(move |tx| catalog.set_status(tx, &permit, &id(text), None, status, &occasion(5))).await
        };
        let endpoint = async |state| set(Endpoint, "e", json!({"state": state, "port": 1})).await;
        check_steps(&f, &["cold", "warming", "warm", "draining", "cold", "warm"], true, endpoint).await;
        check_steps(&f, &["warming", "cold", "draining"], true, endpoint).await;
        check_steps(&f, &["cold", "on holiday", "warm"], false, endpoint).await;
        let function = async |state| set(Function, "f", json!({"deployment_status": state})).await;
        check_steps(&f, &["completed"], true, function).await;
        check_steps(&f, &["deploying", "completed", "failed"], true, function).await;
        check_steps(&f, &["deploying", "failed", "initiated", "completed"], true, function).await;
        // A status that does not say takes the record back to its beginning, if a way leads there.
        set(Function, "f", json!({})).await.unwrap();
        set(Function, "f", json!({"deployment_status": "deploying"})).await.unwrap();
        let refused = set(Function, "f", Value::Null).await;
        assert!(matches!(refused, Err(CatalogError::IllegalTransition { .. })), "{refused:?}");
        f.check_invariants().await;
    });
}

#[test]
fn a_life_is_held_to_by_changes_that_clients_make_of_the_status() {
    on_both_engines(async |f: Fixture| {
        f.make(Function, "f", json!({})).await;
        let claim = async |state| {
            let status = fields(json!({"deployment_status": state}));
            f.open().update(Function, "f", Change { status, ..Change::default() }).await
        };
        check_steps(&f, &["initiated", "completed"], true, claim).await;
        check_steps(&f, &["deploying", "completed", "deploying", "failed"], false, claim).await;
        // Other fields of the status stay.
        let status = fields(json!({"note": "n"}));
        let changed = f.open().update(Function, "f", Change { status, ..Change::default() }).await.unwrap();
        assert_eq!(changed.status, json!({"deployment_status": "failed", "note": "n"}));
    });
}

#[test]
fn a_state_follows_the_last_one_of_the_same() {
    on_both_engines(async |f: Fixture| {
        for text in ["e", "other"] {
            f.make(Endpoint, text, json!({"image": "i"})).await;
        }
        f.make(Function, "f", json!({})).await;
        let post = async |kind, spec: Value| {
            let mut state = new(kind, "x", spec);
            (state.id, state.name) = (None, String::new());
            f.create(state).await
        };
        let endpoint = async |state| post(EndpointState, json!({"endpoint_id": "e", "state": state})).await;
        check_steps(&f, &["warm", "draining", "warm"], true, endpoint).await;
        check_steps(&f, &["cold", "warming", "warm", "cold", "banana", "warm"], false, endpoint).await;
        post(EndpointState, json!({"endpoint_id": "other", "state": "draining"})).await.unwrap();
        let function = async |state| post(FunctionState, json!({"function_id": "f", "state": state})).await;
        check_steps(&f, &["initiated", "completed"], true, function).await;
        check_steps(&f, &["deploying", "completed", "running", "initiated"], false, function).await;
        // What leads nowhere has no life.
        let dangling = new(EndpointState, "lost", json!({"endpoint_id": "nowhere", "state": "warm"}));
        f.open().create(dangling).await.unwrap();
        f.check_indexes().await;
    });
}
