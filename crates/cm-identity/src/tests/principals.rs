use cm_policy::{Create, Delete, Update};
use cm_types::{Cursor, Generation, PageLimit, TenantId};

use super::support::*;
use crate::{CredentialRight, IdentityError, InvalidInput, NewPrincipal, PrincipalChange};

#[tokio::test]
async fn a_principal_lives_from_creation_to_deletion() {
    let world = World::new().await;
    let created = world.create_with("alice", &["reader"], Some(grant())).await.unwrap();
    assert_eq!((created.display_name.as_str(), created.generation), ("alice", Generation::FIRST));
    assert_eq!(created.roles, [role("reader")]);
    let change = PrincipalChange {
        expected: Some(Generation::FIRST),
        display_name: Some("Alice".to_owned()),
        roles: Some(vec![role("writer")]),
        disabled: None,
    };
    let updated = world.update("alice", change).await.unwrap();
    assert_eq!((updated.display_name.as_str(), updated.generation), ("Alice", Generation::FIRST.next()));
    let read = world.read(|identity, tx| identity.get_principal(tx, &tenant(), &id("alice"))).await.unwrap();
    assert_eq!(read, Some(updated));
    world.delete("alice").await.unwrap();
    let read = world.read(|identity, tx| identity.get_principal(tx, &tenant(), &id("alice"))).await.unwrap();
    assert_eq!(read, None);
    assert!(matches!(world.delete("alice").await, Err(IdentityError::NoSuchPrincipal)));
    for verb in ["principal.created", "principal.updated", "principal.deleted"] {
        assert!(world.count(verb).await >= 1, "{verb}");
    }
}

#[tokio::test]
async fn an_id_is_taken_once_and_some_never() {
    let world = World::new().await;
    world.create("alice").await;
    let before = world.events().await.len();
    assert!(matches!(world.create_with("alice", &[], None).await, Err(IdentityError::Exists)));
    let reserved = world.create_with("node", &[], None).await;
    assert!(matches!(reserved, Err(IdentityError::Invalid(InvalidInput::ReservedId))));
    assert_eq!(world.events().await.len(), before, "a refusal leaves no trace of a creation");
}

#[tokio::test]
async fn an_unknown_tenant_has_no_principals() {
    let world = World::new().await;
    let nowhere = TenantId::parse("nowhere").unwrap();
    let created = world
        .write(move |identity, tx| {
            let new = NewPrincipal { id: id("alice"), display_name: None, roles: Vec::new() };
            identity.create_principal(tx, &permit::<Create>(&nowhere, None), None, new, None)
        })
        .await;
    assert!(matches!(created, Err(IdentityError::NoSuchTenant)));
}

#[tokio::test]
async fn roles_are_only_given_by_who_may_grant() {
    let world = World::new().await;
    let created = world.create_with("alice", &["admin"], None).await;
    assert!(matches!(created, Err(IdentityError::RolesNeedGrant)));
    world.create("alice").await;
    let updated = world
        .write(|identity, tx| {
            let change = PrincipalChange { roles: Some(vec![role("admin")]), ..PrincipalChange::default() };
            identity.update_principal(tx, &own(&id("alice")), None, &id("alice"), change, None)
        })
        .await;
    assert!(matches!(updated, Err(IdentityError::RolesNeedGrant)));
}

#[tokio::test]
async fn a_permit_for_one_does_not_change_another() {
    let world = World::new().await;
    world.create("alice").await;
    world.create("bob").await;
    let updated = world
        .write(|identity, tx| {
            let permit = permit::<Update>(&tenant(), Some("alice"));
            identity.update_principal(tx, &permit, None, &id("bob"), PrincipalChange::default(), None)
        })
        .await;
    assert!(matches!(updated, Err(IdentityError::WrongPermit)));
    let deleted = world
        .write(|identity, tx| {
            let permit = permit::<Delete>(&tenant(), None);
            identity.delete_principal(tx, &permit, &id("bob"), None, None)
        })
        .await;
    assert!(matches!(deleted, Err(IdentityError::WrongPermit)), "not by the collection either");
    let hash = world.identity.hash_password(cm_crypto::Secret::new(PASSWORD.to_owned())).await.unwrap();
    let password = world
        .write(move |identity, tx| {
            let permit = permit::<Update>(&tenant(), Some("bob"));
            identity.set_password(tx, CredentialRight::Own(&permit), &id("bob"), hash, None)
        })
        .await;
    assert!(
        matches!(password, Err(IdentityError::WrongPermit)),
        "updating others is not owning their password"
    );
}

#[tokio::test]
async fn a_change_of_something_older_is_refused() {
    let world = World::new().await;
    world.create("alice").await;
    let change = || PrincipalChange { expected: Some(Generation::FIRST), ..PrincipalChange::default() };
    world.update("alice", change()).await.unwrap();
    let stale = world.update("alice", change()).await;
    assert!(matches!(stale, Err(IdentityError::Stale { found, .. }) if found == Generation::FIRST.next()));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let world = World::new().await;
    let last = |result: Result<(), IdentityError>| {
        assert!(matches!(result, Err(IdentityError::LastAdministrator)), "{result:?}");
    };
    last(world.delete("admin").await);
    last(world.set_disabled("admin", true).await.map(|_| ()));
    let no_roles = || PrincipalChange { roles: Some(Vec::new()), ..PrincipalChange::default() };
    last(world.update("admin", no_roles()).await.map(|_| ()));
    world.create_with("second", &["admin"], Some(grant())).await.unwrap();
    last(world.delete("admin").await);
    world.api_key("second").await.unwrap();
    world.set_disabled("second", true).await.unwrap();
    last(world.delete("admin").await);
    world.set_disabled("second", false).await.unwrap();
    world.delete("admin").await.unwrap();
    last(world.delete("second").await);
}

#[tokio::test]
async fn the_last_administrators_last_credential_stays() {
    let world = World::new().await;
    let revoke = async || {
        world
            .write(|identity, tx| {
                let keys = identity.list_api_keys(tx, &tenant(), &id("admin"))?;
                let right = CredentialRight::Granted(&grant());
                identity.revoke_api_key(tx, right, &id("admin"), &keys[0].id, None)
            })
            .await
    };
    assert!(matches!(revoke().await, Err(IdentityError::LastAdministrator)));
    assert_eq!(world.refusal(world.admin_key.expose()).await, None);
    world.api_key("admin").await.unwrap();
    revoke().await.unwrap();
    assert!(matches!(revoke().await, Err(IdentityError::LastAdministrator)));
    world.set_password("admin", PASSWORD).await.unwrap();
    revoke().await.unwrap();
}

#[tokio::test]
async fn a_list_is_paged_in_order() {
    let world = World::new().await;
    for name in ["b", "a", "d", "c"] {
        world.create(name).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let cursor = after.clone();
        let page = world
            .read(move |identity, tx| {
                identity.list_principals(tx, &tenant(), cursor.as_ref(), PageLimit::clamped(2))
            })
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|principal| principal.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "admin", "b", "c", "d"]);
    let bad = world
        .read(|identity, tx| {
            let cursor = Cursor("no such/cursor".to_owned());
            identity.list_principals(tx, &tenant(), Some(&cursor), PageLimit::default())
        })
        .await;
    assert!(matches!(bad, Err(IdentityError::Invalid(InvalidInput::Cursor))));
}

#[tokio::test]
async fn input_is_validated() {
    let world = World::new().await;
    world.create("alice").await;
    let display_name =
        |name: &str| PrincipalChange { display_name: Some(name.to_owned()), ..PrincipalChange::default() };
    let roles = |roles: Vec<&str>| PrincipalChange {
        roles: Some(roles.into_iter().map(role).collect()),
        ..PrincipalChange::default()
    };
    let many: Vec<String> = (0..65).map(|number| format!("r{number}")).collect();
    for change in [
        display_name(""),
        display_name("a\nb"),
        display_name(&"x".repeat(257)),
        roles(vec!["r", "r"]),
        roles(many.iter().map(String::as_str).collect()),
    ] {
        let found = world.update("alice", change.clone()).await;
        assert!(matches!(found, Err(IdentityError::Invalid(_))), "{change:?}");
    }
    for password in ["short", &"x".repeat(1025)] {
        let found = world.set_password("alice", password).await;
        assert!(matches!(found, Err(IdentityError::Invalid(InvalidInput::PasswordLength { .. }))));
    }
}
