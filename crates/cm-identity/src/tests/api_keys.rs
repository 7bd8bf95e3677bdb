use super::support::*;
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
