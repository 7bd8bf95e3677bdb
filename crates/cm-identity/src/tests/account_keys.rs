use cm_policy::Grant;
use cm_types::{Action, Labels, ResourceKind, TenantId, Timestamp};

use super::support::*;
use crate::{AccountKeyInfo, AccountScope, CredentialProblem, IdentityError};

async fn create(world: &World, scopes: &[AccountScope], end: Option<Timestamp>) -> (String, AccountKeyInfo) {
    let scopes = scopes.to_vec();
    let (text, info) = world
        .write(move |identity, tx| identity.create_account_key(tx, &grant(), ("web", scopes, end), None))
        .await
        .unwrap();
    (text.expose().clone(), info)
}

async fn problem(world: &World, text: &str) -> Option<CredentialProblem> {
    let text = text.to_owned();
    match world.read(move |identity, tx| identity.account_key(tx, &text)).await {
        Ok(_) => None,
        Err(IdentityError::InvalidCredential(problem)) => Some(problem),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say_until_it_is_revoked() {
    let world = World::new().await;
    let (text, key) = create(&world, &[AccountScope::Users], None).await;
    assert!(text.starts_with("XOLO_") && text.starts_with(&key.prefix) && text.len() > key.prefix.len() + 30);
    assert!(key.opens(AccountScope::Users) && !key.opens(AccountScope::Acl));
    let role = key.role();
    let permits =
        |kind, action| role.permissions.iter().any(|held| held.permits(kind, action, &Labels::new()));
    assert!(permits(ResourceKind::Principal, Action::Create));
    assert!(!permits(ResourceKind::Role, Action::Create) && !permits(ResourceKind::Tenant, Action::Read));
    assert!(!role.is_administrator());
    assert_eq!(problem(&world, &text).await, None);
    for bad in ["", "XOLO_", "XOLO_x_y", &text[..text.len() - 1], &text.replace("XOLO", "xolo")] {
        assert!(problem(&world, bad).await.is_some(), "{bad}");
    }
    let id = key.id.clone();
    let (rotated, _) =
        world.write(move |identity, tx| identity.rotate_account_key(tx, &grant(), &id, None)).await.unwrap();
    assert_eq!(problem(&world, &text).await, Some(CredentialProblem::UnknownKey));
    assert_eq!(problem(&world, rotated.expose()).await, None);
    let id = key.id.clone();
    world.write(move |identity, tx| identity.revoke_account_key(tx, &grant(), &id, None)).await.unwrap();
    assert_eq!(problem(&world, rotated.expose()).await, Some(CredentialProblem::UnknownKey));
}

#[tokio::test]
async fn a_key_ends_and_is_nobody_elses() {
    let world = World::new().await;
    let soon = world.identity.now().after(std::time::Duration::from_secs(10));
    let (text, key) = create(&world, &[AccountScope::All], Some(soon)).await;
    assert_eq!(problem(&world, &text).await, None);
    world.advance(10);
    assert_eq!(problem(&world, &text).await, Some(CredentialProblem::Expired));
    let elsewhere = TenantId::parse("elsewhere").unwrap();
    let refused = world
        .write(move |identity, tx| {
            // A permit of another tenant, as an administrator of that one would have it.
            let permit: cm_policy::Permit<Grant> = foreign(&elsewhere);
            identity.revoke_account_key(tx, &permit, &key.id, None)
        })
        .await;
    assert!(matches!(refused, Err(IdentityError::NoSuchAccountKey)));
}
