use super::support::*;
use cm_types::PrincipalId;

use crate::identity::API_KEYS_MAX;
use crate::{Credential, CredentialProblem, CredentialRight, IdentityError};

#[tokio::test]
async fn a_key_proves_its_principal_until_revoked() {
    let world = World::new().await;
    let (key, info, authenticated) = world.keyed("alice").await;
    assert!(key.expose().starts_with(&format!("cmk_{}_", info.id)));
    assert_eq!(authenticated.principal().id, id("alice"));
    assert_eq!(authenticated.credential(), &Credential::ApiKey { id: info.id.clone() });
    let listed =
        world.read(|identity, tx| identity.list_api_keys(tx, &tenant(), &id("alice"))).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&info));
    let key_id = info.id.clone();
    world
        .write(move |identity, tx| {
            let right = CredentialRight::Own(&own(&id("alice")));
            identity.revoke_api_key(tx, right, &id("alice"), &key_id, None)
        })
        .await
        .unwrap();
    assert_eq!(world.refusal(key.expose()).await, Some(CredentialProblem::UnknownKey));
    let listed =
        world.read(|identity, tx| identity.list_api_keys(tx, &tenant(), &id("alice"))).await.unwrap();
    assert!(listed.is_empty());
    assert_eq!(world.count("api-key.revoked").await, 1);
}

#[tokio::test]
async fn a_wrong_secret_or_id_proves_nothing() {
    let world = World::new().await;
    let (key, info, _) = world.keyed("alice").await;
    let (other, ..) = world.keyed("bob").await;
    let text = key.expose();
    let secret_of_other = other.expose().splitn(3, '_').nth(2).unwrap();
    for (bearer, expected) in [
        (format!("{text}x"), CredentialProblem::UnknownKey),
        (text[..text.len() - 1].to_owned(), CredentialProblem::UnknownKey),
        (format!("cmk_{}_{secret_of_other}", info.id), CredentialProblem::UnknownKey),
        (text.replace(&info.id, "00000000000000000000"), CredentialProblem::UnknownKey),
        (format!("cmk_{}_", info.id), CredentialProblem::Malformed),
        (format!("cmk_{}", info.id), CredentialProblem::Malformed),
        (text.replace("cmk_", ""), CredentialProblem::NotOurs),
        (String::new(), CredentialProblem::NotOurs),
        ("x".repeat(5000), CredentialProblem::Malformed),
    ] {
        assert_eq!(world.refusal(&bearer).await, Some(expected), "{bearer}");
    }
}

#[tokio::test]
async fn neither_secret_nor_digest_is_kept_in_events() {
    let world = World::new().await;
    let (key, ..) = world.keyed("alice").await;
    let secret = key.expose().splitn(3, '_').nth(2).unwrap();
    let digest = cm_crypto::digest::sha256(secret.as_bytes()).to_string();
    for event in world.events().await {
        let text = format!("{event:?}");
        assert!(!text.contains(secret) && !text.contains(&digest), "{text}");
    }
}

#[tokio::test]
async fn a_disabled_or_deleted_principals_key_proves_nothing() {
    let world = World::new().await;
    let (key, ..) = world.keyed("alice").await;
    world.set_disabled("alice", true).await.unwrap();
    assert_eq!(world.refusal(key.expose()).await, Some(CredentialProblem::Disabled));
    world.set_disabled("alice", false).await.unwrap();
    assert_eq!(world.refusal(key.expose()).await, None);
    world.delete("alice").await.unwrap();
    assert_eq!(world.refusal(key.expose()).await, Some(CredentialProblem::UnknownKey));
    world.create("alice").await;
    assert_eq!(world.refusal(key.expose()).await, Some(CredentialProblem::UnknownKey), "a namesake");
}

#[tokio::test]
async fn anothers_key_cannot_be_revoked_as_ones_own() {
    let world = World::new().await;
    let (key, info, _) = world.keyed("alice").await;
    world.create("bob").await;
    let found = world
        .write(move |identity, tx| {
            let right = CredentialRight::Own(&own(&id("bob")));
            identity.revoke_api_key(tx, right, &id("bob"), &info.id, None)
        })
        .await;
    assert!(matches!(found, Err(IdentityError::NoSuchApiKey)));
    assert_eq!(world.refusal(key.expose()).await, None);
}

#[tokio::test]
async fn keys_are_limited_and_labelled() {
    let world = World::new().await;
    world.create("alice").await;
    for _ in 0..API_KEYS_MAX {
        world.api_key("alice").await.unwrap();
    }
    assert!(matches!(world.api_key("alice").await, Err(IdentityError::TooManyApiKeys { .. })));
    let unlabelled = world
        .write(|identity, tx| {
            identity.create_api_key(tx, CredentialRight::Granted(&grant()), &id("admin"), "", None)
        })
        .await;
    assert!(matches!(unlabelled, Err(IdentityError::Invalid(_))));
    assert!(matches!(world.api_key("nobody").await, Err(IdentityError::NoSuchPrincipal)));
}

#[tokio::test]
async fn an_s3_key_signs_and_does_nothing_else() {
    let world = World::new().await;
    world.create("alice").await;
    let (secret, info) = world
        .write(|identity, tx| {
            identity.create_s3_key(tx, CredentialRight::Granted(&grant()), &id("alice"), "backup", None)
        })
        .await
        .unwrap();
    assert_eq!((info.kind, info.id.len()), (crate::ApiKeyKind::S3, 20));
    let key = info.id.clone();
    let same = world.read(move |identity, tx| identity.s3_secret(tx, &key)).await.unwrap();
    assert_eq!(same.expose(), secret.expose());
    let key = info.id.clone();
    let recognised = async |secret: String| {
        let key = key.clone();
        world.read(move |identity, tx| identity.presented_s3(&key, &secret)?.recognise(tx)).await
    };
    let authenticated = recognised(secret.expose().clone()).await.unwrap();
    assert_eq!(authenticated.principal().id, id("alice"));
    let other = recognised("0".repeat(64)).await;
    assert!(matches!(other, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownKey))));
    // It is no bearer, and an administrator without another key is locked out.
    let bearer = format!("cmk_{}_{}", info.id, secret.expose());
    assert_eq!(world.refusal(&bearer).await, Some(CredentialProblem::Malformed));
    world.set_disabled("alice", true).await.unwrap();
    let disabled = recognised(secret.expose().clone()).await;
    assert!(matches!(disabled, Err(IdentityError::InvalidCredential(CredentialProblem::Disabled))));
    world.set_disabled("alice", false).await.unwrap();
    let key_id = info.id.clone();
    world
        .write(move |identity, tx| {
            let right = CredentialRight::Own(&own(&id("alice")));
            identity.revoke_api_key(tx, right, &id("alice"), &key_id, None)
        })
        .await
        .unwrap();
    let revoked = recognised(secret.expose().clone()).await;
    assert!(matches!(revoked, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownKey))));
    let key = info.id.clone();
    assert!(world.read(move |identity, tx| identity.s3_secret(tx, &key)).await.is_err());
    // A bearer key signs nothing.
    let (_, bearer, _) = world.keyed("bob").await;
    assert!(world.read(move |identity, tx| identity.s3_secret(tx, &bearer.id)).await.is_err());
}

#[tokio::test]
async fn an_s3_key_does_not_make_an_administrator_who_can_come_in() {
    let world = World::new().await;
    let admin = PrincipalId::admin();
    let holder = admin.clone();
    world
        .write(move |identity, tx| {
            identity.create_s3_key(tx, CredentialRight::Granted(&grant()), &holder, "backup", None)
        })
        .await
        .unwrap();
    let first = world.admin_key.expose().split('_').nth(1).unwrap().to_owned();
    let refused = world
        .write(move |identity, tx| {
            identity.revoke_api_key(tx, CredentialRight::Granted(&grant()), &admin, &first, None)
        })
        .await;
    assert!(matches!(refused, Err(IdentityError::LastAdministrator)));
}
