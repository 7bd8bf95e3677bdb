//! Principals, what they own, and their credentials.

use std::time::Duration;

use cm_catalog::CatalogError;
use cm_identity::{External, IdentityError, PrincipalChange, Provider};
use cm_types::TenantId;

use super::*;

fn password() -> Secret<String> {
    Secret::new("correct horse battery".to_owned())
}

async fn create(house: &House, name: &str) -> Result<(), KernelError> {
    let permit = house.kernel.authorize::<Create>(&house.admin, ResourceKind::Principal).await?;
    let new = NewPrincipal { id: PrincipalId::parse(name).unwrap(), display_name: None, roles: vec![] };
    house.kernel.create_principal(&house.admin, &permit, new).await.map(drop)
}

#[tokio::test]
async fn a_namesake_inherits_nothing() {
    let house = House::open().await;
    let bob = house.somebody("bob", &["bucket:create", "function:invoke"]).await;
    house.create_as(&bob, ResourceKind::Bucket, "his-bucket", json!({})).await.unwrap();
    match house.delete_principal(&house.admin, "bob").await {
        Err(error @ KernelError::Catalog(CatalogError::StillReferenced { .. })) => {
            assert_eq!(error.class(), ErrorClass::Conflict);
            assert!(error.to_string().contains("his-bucket"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    house.create(ResourceKind::Function, "f", json!({})).await.unwrap();
    let (_, permit) = house.kernel.look_up::<Invoke>(&bob, ResourceKind::Function, "f").await.unwrap();
    let result = NewRecord {
        kind: ResourceKind::FunctionResult,
        id: None,
        name: String::new(),
        owner: None,
        labels: Labels::new(),
        spec: json!({ "function_id": "f" }),
        status: Value::Null,
    };
    house.kernel.append_history(&bob, &permit, vec![result]).await.unwrap();
    house.delete(&house.admin, ResourceKind::Bucket, "his-bucket").await.unwrap();
    house.delete_principal(&house.admin, "bob").await.unwrap();
    let again = create(&house, "bob").await;
    assert!(matches!(again, Err(KernelError::Identity(IdentityError::Exists))), "results are his: {again:?}");
    house.delete(&house.admin, ResourceKind::Function, "f").await.unwrap();
    create(&house, "bob").await.unwrap();
}

#[tokio::test]
async fn credentials_give_what_their_principal_owns() {
    let house = House::open().await;
    let manager = house.somebody("manager", &["principal:*", "bucket:*"]).await;
    let bob = house.somebody("bob", &["bucket:create"]).await;
    let make = async |op: &OpContext| {
        let (principal, permit) = house.kernel.look_up_principal::<Grant>(op, "bob").await.unwrap();
        house.kernel.create_api_key(op, &permit, &principal, "key".into()).await
    };
    make(&manager).await.expect("he owns nothing and has no role that the manager lacks");
    house.create_as(&bob, ResourceKind::Bucket, "his-bucket", json!({})).await.unwrap();
    let refused = make(&manager).await;
    assert!(matches!(refused, Err(KernelError::OwnsRecords(_))), "{refused:?}");
    assert_eq!(class(refused), ErrorClass::Forbidden);
    let (principal, permit) = house.kernel.look_up_principal::<Grant>(&manager, "bob").await.unwrap();
    let refused = house.kernel.set_password(&manager, &permit, &principal, password()).await;
    assert!(matches!(refused, Err(KernelError::OwnsRecords(_))), "{refused:?}");
    make(&house.admin).await.expect("an administrator may");
}

#[tokio::test]
async fn nobody_takes_away_more_than_they_hold() {
    let house = House::open().await;
    let manager = house.somebody("manager", &["principal:*", "role:read"]).await;
    house.principal("second", &["admin"]).await;
    house.principal("colleague", &["role-of-manager"]).await;
    let (principal, permit) = house.kernel.look_up_principal::<Grant>(&manager, "second").await.unwrap();
    let keys = house.kernel.list_api_keys(&permit, &principal.id).await;
    assert_eq!(class(keys), ErrorClass::Forbidden);
    let admins = house.kernel.look_up_principal::<Grant>(&house.admin, "second").await.unwrap().1;
    let key = house.kernel.list_api_keys(&admins, &principal.id).await.unwrap().remove(0).id;
    let revoked = house.kernel.revoke_api_key(&manager, &permit, &principal.id, key).await;
    assert_eq!(class(revoked), ErrorClass::Forbidden);

    let update = async |name: &str, change: PrincipalChange| {
        let (principal, permit) = house.kernel.look_up_principal::<Update>(&manager, name).await.unwrap();
        house.kernel.update_principal(&manager, &permit, &principal.id, change).await
    };
    let roles = |roles: Vec<ResourceId>| PrincipalChange { roles: Some(roles), ..PrincipalChange::default() };
    let disabled = || PrincipalChange { disabled: Some(true), ..PrincipalChange::default() };
    assert_eq!(class(update("second", roles(vec![])).await), ErrorClass::Forbidden);
    assert_eq!(class(update("second", disabled()).await), ErrorClass::Forbidden);
    assert_eq!(class(house.delete_principal(&manager, "second").await), ErrorClass::Forbidden);
    let named = PrincipalChange { display_name: Some("Second".into()), ..PrincipalChange::default() };
    update("second", named).await.unwrap();
    update("colleague", roles(vec![])).await.unwrap();
    update("colleague", disabled()).await.unwrap();
    house.delete_principal(&manager, "colleague").await.unwrap();
}

#[tokio::test]
async fn everybody_keeps_their_own_credentials() {
    let house = House::open().await;
    let alice = house.somebody("alice", &[]).await;
    let refused = house.kernel.look_up_credentials(&alice, "admin").await;
    assert_eq!(class(refused), ErrorClass::Forbidden);
    let (myself, permit) = house.kernel.look_up_credentials(&alice, "alice").await.unwrap();
    let first = house.kernel.set_password(&alice, &permit, &myself, password()).await;
    assert_eq!(class(first), ErrorClass::Forbidden, "a first one is given");
    let (someone, grant) = house.kernel.look_up_principal::<Grant>(&house.admin, "alice").await.unwrap();
    house.kernel.set_password(&house.admin, &grant, &someone, password()).await.unwrap();
    let changed = house.kernel.set_password(&alice, &permit, &myself, password()).await;
    assert_eq!(class(changed), ErrorClass::Forbidden, "the old one is asked for");
    let old = (password(), None);
    house.kernel.change_password(&alice, &permit, &myself, old, password()).await.unwrap();
    house.kernel.create_api_key(&alice, &permit, &myself, "mine".into()).await.unwrap();
    let keys = house.kernel.list_api_keys(&permit, &myself.id).await.unwrap();
    assert_eq!(keys.len(), 2);
    house.kernel.revoke_api_key(&alice, &permit, &myself.id, keys[0].id.clone()).await.unwrap();
    let tenant = TenantId::default_tenant();
    house.kernel.login(&alice, &tenant, &myself.id, password()).await.unwrap();
    let another = PrincipalId::admin();
    let key = house.kernel.revoke_api_key(&alice, &permit, &another, keys[1].id.clone()).await;
    assert!(key.is_err(), "the permit is for oneself");
}

#[tokio::test]
async fn the_administrator_is_recovered() {
    let house = House::open().await;
    let key = house.kernel.recover_administrator().await.unwrap();
    let admin = op(house.kernel.authenticate(key.expose()).await.unwrap());
    assert!(house.kernel.authorize::<Create>(&admin, ResourceKind::Role).await.is_ok());
}

#[tokio::test]
async fn a_plan_names_those_who_hold_the_role() {
    let house = House::open().await;
    house.somebody("holder", &["service:read"]).await;
    let plan = async |role: &str| {
        let (record, permit) =
            house.kernel.look_up::<Delete>(&house.admin, ResourceKind::Role, role).await.unwrap();
        house.kernel.plan_deletion(&house.admin, &permit, &record.header.id, Dependents::Refuse).await
    };
    let holders = plan("role-of-holder").await.unwrap().refusing;
    assert_eq!(holders, [ResourceRef::new(ResourceKind::Principal, "holder")]);
    assert_eq!(class(plan("admin").await), ErrorClass::Conflict, "it is built in");
}

#[tokio::test]
async fn no_face_binds_a_key_to_whom_a_provider_vouches_for() {
    let house = House::open().await;
    house.create(ResourceKind::Role, "reader", json!({ "permissions": ["bucket:read"] })).await.unwrap();
    let reader = ResourceId::parse("reader").unwrap();
    let provider = Provider {
        id: ResourceId::parse("idp").unwrap(),
        issuer: "https://id.example.com".to_owned(),
        audience: "mesh".to_owned(),
        algorithms: vec!["ES256".to_owned()],
        keys_url: None,
        claim: "groups".to_owned(),
        roles: [("staff".to_owned(), vec![reader.clone()])].into(),
    };
    let home = TenantId::default_tenant();
    let permit = house.kernel.authorize_of_node::<Update>(&house.admin, ResourceKind::Tenant).await.unwrap();
    house.kernel.set_provider(&house.admin, &permit, &home, provider.clone()).await.unwrap();
    let expires_at = house.kernel.now().after(Duration::from_secs(600));
    let external = External { subject: "ada".to_owned(), roles: vec![reader], expires_at };
    let identity = house.kernel.identity().clone();
    let admitted = house.kernel.db().write(move |tx| {
        identity.admit_external(tx, &TenantId::default_tenant(), (&provider, &external), None)
    });
    let ada = admitted.await.unwrap().principal().id.clone();
    let bound = house.kernel.require_own_credentials(&home, &ada).await;
    assert!(matches!(bound, Err(KernelError::Identity(IdentityError::Vouched))), "{bound:?}");
    assert_eq!(bound.unwrap_err().class(), ErrorClass::Forbidden);
    // What was bound before counts no more.
    assert!(matches!(house.kernel.vouched_for(&home, &ada).await, Err(KernelError::Unauthenticated)));
    let bob = house.principal("bob", &[]).await.principal().unwrap().clone();
    house.kernel.require_own_credentials(&home, &bob).await.unwrap();
    house.kernel.vouched_for(&home, &bob).await.unwrap();
}
