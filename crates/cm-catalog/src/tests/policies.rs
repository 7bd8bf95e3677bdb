//! Policies within records, and those that are gone or cannot be read.

use cm_policy::{Guard, Read, RoleFacts, Subject, Target, decide};
use cm_types::{Labels, PrincipalId, ResourceKind, TenantId};
use serde_json::{Value, json};

use super::support::{Fixture, id, named, on_both_engines};
use crate::guard::{guard_of, role_facts};
use crate::{CatalogError, Dependents, Record};

use ResourceKind::{Bucket, Function, FunctionState, Instance, Microservice, Role, SecurityPolicy, Service};

async fn guard(f: &Fixture, record: Record) -> Option<Guard> {
    f.db.read(move |tx| guard_of(tx, &record)).await.unwrap()
}

/// Whether somebody, holding a role or anonymous, may read the record.
async fn may_read(f: &Fixture, record: &Record, holding: Option<&'static str>) -> bool {
    let tenant = f.tenant.clone();
    let facts = match holding {
        Some(role) => f.db.read(move |tx| role_facts(tx, &tenant, &id(role))).await.unwrap(),
        None => None,
    };
    let (home, somebody) = (TenantId::default_tenant(), PrincipalId::parse("somebody").unwrap());
    let roles: Vec<RoleFacts> = facts.into_iter().collect();
    let subject = match holding {
        Some(_) => Subject::principal(&somebody, &home, &roles),
        None => Subject::anonymous(),
    };
    let (guard, labels) = (guard(f, record.clone()).await, Labels::new());
    let target = Target {
        kind: record.header.kind,
        id: Some(record.header.id.as_str()),
        tenant: &f.tenant,
        owner: Some(&record.header.owner),
        labels: &labels,
        guard: guard.as_ref(),
    };
    decide::<Read>(&subject, &target).is_ok()
}

/// Two roles that may read everything.
async fn with_roles(f: &Fixture) {
    for role in ["listed", "other"] {
        f.make(Role, role, json!({"permissions": ["read"]})).await;
    }
}

#[test]
fn a_records_own_policy_is_in_force_on_it_and_what_belongs_to_it() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        let own = json!({"sp_id": "mine", "roles": ["listed"], "requires_authentication": true});
        let service = f.make(Service, "s", json!({"security_policy": own})).await;
        assert_eq!(service.spec, json!({"security_policy": own}), "it is kept as written");
        let field = |record: &Record| -> Vec<(String, String)> {
            record.references.iter().map(|r| (r.field.clone(), r.to.to_string())).collect()
        };
        let expected = ("security_policy.roles[0]".to_owned(), named(Role, "listed").to_string());
        assert_eq!(field(&service), [expected]);
        let below = [
            f.make(Microservice, "m", json!({"service_id": "s"})).await,
            f.make(Function, "f", json!({"microservice_id": "m"})).await,
            f.make(FunctionState, "fs", json!({"function_id": "f", "state": "running"})).await,
            f.make(Instance, "i", json!({"function": "f"})).await,
        ];
        for record in below.iter().chain([&service]) {
            let found = guard(&f, record.clone()).await.unwrap();
            assert_eq!((found.id.as_str(), found.requires_authentication), ("mine", true));
            assert!(may_read(&f, record, Some("listed")).await, "{}", record.resource());
            assert!(!may_read(&f, record, Some("other")).await, "{}", record.resource());
            assert!(!may_read(&f, record, None).await, "{}", record.resource());
        }
        // Its roles hold it up as those of a policy would.
        let refused = f.delete_and(Role, "listed", None, Dependents::Cascade).await.unwrap_err();
        assert!(matches!(refused, CatalogError::StillReferenced { by } if by == [named(Service, "s")]));
        f.check_invariants().await;
    });
}

#[test]
fn an_own_policy_goes_before_the_one_above_and_may_open_to_the_anonymous() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        f.make(Service, "s", json!({"security_policy": {"roles": ["listed"]}})).await;
        let open = json!({"roles": ["other"], "requires_authentication": false});
        let microservice =
            f.make(Microservice, "m", json!({"service_id": "s", "security_policy": open})).await;
        let found = guard(&f, microservice.clone()).await.unwrap();
        assert_eq!((found.id.as_str(), found.requires_authentication), ("m", false));
        assert!(may_read(&f, &microservice, Some("other")).await);
        assert!(may_read(&f, &microservice, None).await, "the policy's role may read");
        let without_roles = f.make(Bucket, "plain", json!({"security_policy": {}})).await;
        assert!(may_read(&f, &without_roles, Some("other")).await, "no roles narrow nothing");
        assert!(!may_read(&f, &without_roles, None).await);
    });
}

#[test]
fn what_an_own_policy_names_must_be_there_unless_the_node_is_open() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        let spec = json!({"security_policy": {"roles": ["listed", "absent"]}});
        let refused = f.create(super::support::new(Service, "s", spec.clone())).await.unwrap_err();
        assert!(
            matches!(&refused, CatalogError::DanglingReference { field, .. }
            if field == "security_policy.roles[1]"),
            "{refused}"
        );
        // A role that is missing is held by nobody: the other still opens, and alone nobody passes.
        let both = f.open().make(Service, "s", spec).await;
        assert!(may_read(&f, &both, Some("listed")).await);
        assert!(!may_read(&f, &both, Some("other")).await);
        let absent = f.open().make(Service, "t", json!({"security_policy": {"roles": ["absent"]}})).await;
        for holding in [Some("listed"), Some("other"), None] {
            assert!(!may_read(&f, &absent, holding).await, "{holding:?}");
        }
    });
}

#[test]
fn a_policy_that_is_gone_closes_what_it_guarded() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        f.make(SecurityPolicy, "listed", json!({"roles": ["listed"], "requires_authentication": false}))
            .await;
        let service = f.make(Service, "s", json!({"security_policy": "listed"})).await;
        let below = f.make(Microservice, "m", json!({"service_id": "s"})).await;
        assert!(may_read(&f, &service, Some("listed")).await);
        f.delete_and(SecurityPolicy, "listed", None, Dependents::Orphan).await.unwrap();
        for record in [&service, &below] {
            // Not even to those who hold a role that is called as the policy was.
            for holding in [Some("listed"), Some("other"), None] {
                assert!(!may_read(&f, record, holding).await, "{} {holding:?}", record.resource());
            }
        }
    });
}

#[test]
fn what_lost_what_it_belongs_to_does_not_fall_open() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        f.make(SecurityPolicy, "listed", json!({"roles": ["listed"]})).await;
        f.make(Service, "s", json!({"security_policy": "listed"})).await;
        let below = f.make(Microservice, "m", json!({"service_id": "s"})).await;
        assert!(may_read(&f, &below, Some("listed")).await);
        assert!(!may_read(&f, &below, Some("other")).await);
        f.delete_and(Service, "s", None, Dependents::Orphan).await.unwrap();
        for holding in [Some("listed"), Some("other"), None] {
            assert!(!may_read(&f, &below, holding).await, "{holding:?}");
        }
    });
}

#[test]
fn a_policy_that_cannot_be_read_closes_what_it_guards() {
    on_both_engines(async |f: Fixture| {
        with_roles(&f).await;
        let service = f.make(Service, "s", json!({})).await;
        assert!(may_read(&f, &service, Some("listed")).await);
        for unreadable in
            [json!(7), json!({"roles": "listed"}), json!({"colour": "red"}), Value::Null, json!("a/b")]
        {
            let mut bad = service.clone();
            bad.spec["security_policy"] = unreadable.clone();
            for holding in [Some("listed"), None] {
                assert!(!may_read(&f, &bad, holding).await, "{unreadable} {holding:?}");
            }
        }
    });
}
