use cm_types::TenantId;

use super::support::*;
use crate::{IdentityError, NewTenant, Tenant};

fn tenant_id(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

async fn create(world: &World, text: &str, administrator: Option<&str>) -> Result<Tenant, IdentityError> {
    let administrator = administrator.map(id);
    let new = NewTenant { id: tenant_id(text), name: None, open: false, administrator };
    world
        .write(move |identity, tx| identity.create_tenant(tx, &of_tenants(), new, None))
        .await
        .map(|(tenant, _)| tenant)
}

#[tokio::test]
async fn tenants_are_made_listed_and_removed_when_they_are_empty() {
    let world = World::new().await;
    let made = create(&world, "Xelhua_fwW0zVpEWo2vK0Sq", None).await.unwrap();
    assert_eq!((made.name.as_str(), made.open), ("Xelhua_fwW0zVpEWo2vK0Sq", false));
    assert!(matches!(create(&world, "default", None).await, Err(IdentityError::TenantExists)));
    create(&world, "b", Some("boss")).await.unwrap();
    let listed = world.read(|identity, tx| identity.list_tenants(tx)).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|tenant| tenant.id.as_str()).collect();
    assert_eq!(ids, ["Xelhua_fwW0zVpEWo2vK0Sq", "b", "default"]);
    let delete = |text: &str| {
        let tenant = tenant_id(text);
        world.write(move |identity, tx| identity.delete_tenant(tx, &of_tenants(), &tenant, None))
    };
    for used in ["b", "default"] {
        assert!(matches!(delete(used).await, Err(IdentityError::TenantInUse(_))), "{used}");
    }
    delete("Xelhua_fwW0zVpEWo2vK0Sq").await.unwrap();
    assert!(matches!(delete("Xelhua_fwW0zVpEWo2vK0Sq").await, Err(IdentityError::NoSuchTenant)));
}

#[tokio::test]
async fn a_permit_about_principals_makes_no_tenant() {
    let world = World::new().await;
    let new = NewTenant { id: tenant_id("x"), name: None, open: false, administrator: None };
    let made = world
        .write(move |identity, tx| identity.create_tenant(tx, &permit(&tenant(), None), new, None))
        .await;
    assert!(matches!(made, Err(IdentityError::WrongPermit)));
}
