use cm_identity::NewTenant;
use cm_types::TenantId;

use super::*;

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

/// A tenant with an administrator; its key.
async fn made(house: &House) -> Secret<String> {
    let permit = house.kernel.authorize_of_node::<Create>(&house.admin, ResourceKind::Tenant).await.unwrap();
    let administrator = Some(PrincipalId::admin());
    let new = NewTenant { id: acme(), name: None, open: true, administrator };
    house.kernel.create_tenant(&house.admin, &permit, new).await.unwrap().1.unwrap()
}

async fn delete(house: &House) -> Result<(), KernelError> {
    let permit = house.kernel.authorize_of_node::<Delete>(&house.admin, ResourceKind::Tenant).await.unwrap();
    house.kernel.delete_tenant(&house.admin, &permit, &acme()).await
}

async fn people(house: &House, of: &OpContext, count: usize) {
    let permit = house.kernel.authorize::<Create>(of, ResourceKind::Principal).await.unwrap();
    for at in 0..count {
        let id = PrincipalId::parse(format!("user-{at:04}")).unwrap();
        let new = NewPrincipal { id, display_name: None, roles: Vec::new() };
        house.kernel.create_principal(of, &permit, new).await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_that_owns_something_stays_as_it_was() {
    let house = House::open().await;
    let key = made(&house).await;
    let admin = op(house.kernel.authenticate(key.expose()).await.unwrap());
    people(&house, &admin, 3).await;
    house.create_as(&admin, ResourceKind::Bucket, "kept", json!({})).await.unwrap();
    assert_eq!(class(delete(&house).await), ErrorClass::Conflict);
    let tenant = house.kernel.tenant(&acme()).await.unwrap().unwrap();
    assert!(!tenant.leaving, "it was closed for the while only");
    let admin = op(house.kernel.authenticate(key.expose()).await.unwrap());
    house.kernel.look_up_principal::<Read>(&admin, "user-0000").await.unwrap();
    house.delete(&admin, ResourceKind::Bucket, "kept").await.unwrap();
    delete(&house).await.unwrap();
    assert!(house.kernel.tenant(&acme()).await.unwrap().is_none());
    assert_eq!(class(house.kernel.authenticate(key.expose()).await), ErrorClass::Unauthenticated);
    assert_eq!(class(delete(&house).await), ErrorClass::NotFound);
}

#[tokio::test]
async fn a_tenant_of_an_id_that_was_another_begins_with_nothing() {
    let house = House::open().await;
    made(&house).await;
    let inside = house.kernel.operate_in(&house.admin, &acme()).await.unwrap();
    for at in 0..150 {
        let spec = json!({ "permissions": ["bucket:read"] });
        house.create_as(&inside, ResourceKind::Role, &format!("role-{at:03}"), spec).await.unwrap();
    }
    delete(&house).await.unwrap();
    let key = made(&house).await;
    let admin = op(house.kernel.authenticate(key.expose()).await.unwrap());
    let permit = house.kernel.authorize::<List>(&admin, ResourceKind::Role).await.unwrap();
    let query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Role) };
    let page = house.kernel.list_records(&admin, &permit, query).await.unwrap();
    let mut roles: Vec<&str> = page.items.iter().map(|role| role.header.id.as_str()).collect();
    let mut built_in: Vec<String> = cm_catalog::builtin_roles().into_iter().map(|role| role.name).collect();
    roles.sort_unstable();
    built_in.sort_unstable();
    assert_eq!(roles, built_in);
}

#[tokio::test]
async fn a_bucket_that_is_nobodys_keeps_its_tenant() {
    let house = House::open().await;
    made(&house).await;
    let inside = house.kernel.operate_in(&house.admin, &acme()).await.unwrap();
    house.create_as(&inside, ResourceKind::Bucket, "kept", json!({})).await.unwrap();
    assert_eq!(class(delete(&house).await), ErrorClass::Conflict);
    house.delete(&inside, ResourceKind::Bucket, "kept").await.unwrap();
    delete(&house).await.unwrap();
}

#[tokio::test]
async fn nobody_gets_into_a_tenant_that_is_leaving_and_a_start_finishes_it() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let (kernel, first) = open_with(dir.path(), &tasks, Limits::default()).await.unwrap();
    let admin = op(kernel.authenticate(first.unwrap().expose()).await.unwrap());
    let house = House { _dir: tempfile::tempdir().unwrap(), kernel, admin };
    let key = made(&house).await;
    let inside = op(house.kernel.authenticate(key.expose()).await.unwrap());
    people(&house, &inside, 2).await;
    // Where a removal is cut off: closed, and one of the principals gone already.
    let permit = house.kernel.authorize_of_node::<Delete>(&house.admin, ResourceKind::Tenant).await.unwrap();
    let identity = house.kernel.identity().clone();
    let done = house.kernel.db().write(move |tx| {
        identity.set_leaving(tx, &permit, &acme(), true, None)?;
        let gone = PrincipalId::parse("user-0000").unwrap();
        Ok::<_, KernelError>(identity.remove_principal_of_deleted_tenant(tx, &permit, &acme(), &gone)?)
    });
    done.await.unwrap();
    assert_eq!(class(house.kernel.authenticate(key.expose()).await), ErrorClass::Unauthenticated);
    assert_eq!(class(house.kernel.operate_in(&house.admin, &acme()).await), ErrorClass::NotFound);
    // Nor does somebody leave anything in it who was let in before.
    let late = house.create_as(&inside, ResourceKind::Bucket, "late", json!({})).await;
    assert_eq!(class(late), ErrorClass::NotFound);
    drop(house);
    drop(inside);
    tasks.drain(DRAIN).await;
    let tasks = Tasks::new();
    let (kernel, _) = open_with(dir.path(), &tasks, Limits::default()).await.unwrap();
    assert!(kernel.tenant(&acme()).await.unwrap().is_none(), "the start finished the removal");
    drop(kernel);
    tasks.drain(DRAIN).await;
}
