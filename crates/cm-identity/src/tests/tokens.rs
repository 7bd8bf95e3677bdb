use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::sign::SigningKey;

use super::support::*;
use crate::{Credential, CredentialProblem, CredentialRight, IdentityError, InvalidInput};

#[tokio::test]
async fn a_token_proves_its_principal_until_it_expires() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    let (token, info) = world.token(&alice, 60).await.unwrap();
    let authenticated = world.identity.authenticate(token.expose()).await.unwrap();
    assert_eq!(authenticated.principal().id, id("alice"));
    assert!(matches!(authenticated.credential(), Credential::Token { jti, .. } if *jti == info.jti));
    world.advance(59);
    assert_eq!(world.refusal(token.expose()).await, None);
    world.advance(1);
    assert_eq!(world.refusal(token.expose()).await, Some(CredentialProblem::Expired));
    assert_eq!(world.count("token.issued").await, 1);
}

#[tokio::test]
async fn logging_out_ends_one_token() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    let (one, _) = world.token(&alice, 60).await.unwrap();
    let (two, _) = world.token(&alice, 60).await.unwrap();
    let by_one = world.identity.authenticate(one.expose()).await.unwrap();
    world.write(move |identity, tx| identity.revoke_token(tx, &by_one, None)).await.unwrap();
    assert_eq!(world.refusal(one.expose()).await, Some(CredentialProblem::Revoked));
    assert_eq!(world.refusal(two.expose()).await, None);
    let not_a_token = world.write(move |identity, tx| identity.revoke_token(tx, &alice, None)).await;
    assert!(matches!(not_a_token, Err(IdentityError::NotAToken)));
}

#[tokio::test]
async fn revocations_are_forgotten_once_their_tokens_are_expired() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    for _ in 0..20 {
        let (token, _) = world.token(&alice, 10).await.unwrap();
        let by_token = world.identity.authenticate(token.expose()).await.unwrap();
        world.write(move |identity, tx| identity.revoke_token(tx, &by_token, None)).await.unwrap();
        world.advance(11);
    }
    let kept = world
        .db
        .read(|tx| {
            let all = || cm_db::KeyRange::all();
            let forward = cm_db::Direction::Forward;
            let by_id = tx.range::<crate::table::RevokedTokens>(all(), forward, 100)?.len();
            let by_expiry = tx.range::<crate::table::RevokedTokensByExpiry>(all(), forward, 100)?.len();
            Ok::<_, cm_db::DbError>((by_id, by_expiry))
        })
        .await
        .unwrap();
    assert_eq!(kept, (1, 1));
}

#[tokio::test]
async fn all_tokens_end_with_the_password_with_disabling_and_on_demand() {
    let world = World::new().await;
    let (key, _, alice) = world.keyed("alice").await;
    let token = || async { world.token(&alice, 3600).await.unwrap().0 };

    let old = token().await;
    world.set_password("alice", PASSWORD).await.unwrap();
    assert_eq!(world.refusal(old.expose()).await, Some(CredentialProblem::Revoked));
    assert_eq!(world.refusal(key.expose()).await, None, "API keys stay");

    let old = token().await;
    world.set_disabled("alice", true).await.unwrap();
    assert_eq!(world.refusal(old.expose()).await, Some(CredentialProblem::Disabled));
    assert!(world.token(&alice, 60).await.is_err(), "no new ones either");
    world.set_disabled("alice", false).await.unwrap();
    assert_eq!(world.refusal(old.expose()).await, Some(CredentialProblem::Revoked));

    let old = token().await;
    world.delete("alice").await.unwrap();
    assert_eq!(world.refusal(old.expose()).await, Some(CredentialProblem::UnknownPrincipal));
    world.create("alice").await;
    assert_eq!(world.refusal(old.expose()).await, Some(CredentialProblem::Revoked), "a namesake");
}

#[tokio::test]
async fn a_token_ends_with_the_key_it_was_made_with() {
    let world = World::new().await;
    let (_, info, alice) = world.keyed("alice").await;
    let (token, _) = world.token(&alice, 3600).await.unwrap();
    let by_token = world.identity.authenticate(token.expose()).await.unwrap();
    let (grandchild, _) = world.token(&by_token, 3600).await.unwrap();
    world
        .write(move |identity, tx| {
            let right = CredentialRight::Own(&own(&id("alice")));
            identity.revoke_api_key(tx, right, &id("alice"), &info.id, None)
        })
        .await
        .unwrap();
    assert_eq!(world.refusal(token.expose()).await, Some(CredentialProblem::Revoked));
    assert_eq!(world.refusal(grandchild.expose()).await, Some(CredentialProblem::Revoked));
}

#[tokio::test]
async fn a_token_cannot_prolong_itself() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    let (token, info) = world.token(&alice, 60).await.unwrap();
    world.advance(30);
    let by_token = world.identity.authenticate(token.expose()).await.unwrap();
    let (_, longer) = world.token(&by_token, 3600).await.unwrap();
    assert_eq!(longer.expires_at, info.expires_at);
    let (_, shorter) = world.token(&by_token, 10).await.unwrap();
    assert!(shorter.expires_at < info.expires_at);
}

#[tokio::test]
async fn lifetimes_are_bounded() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    for ttl_secs in [0, 24 * 3600 + 1] {
        let found = world.token(&alice, ttl_secs).await;
        assert!(matches!(found, Err(IdentityError::Invalid(InvalidInput::Ttl { .. }))), "{ttl_secs}");
    }
    world.token(&alice, 24 * 3600).await.unwrap();
}

#[tokio::test]
async fn foreign_and_altered_tokens_prove_nothing() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    let (token, _) = world.token(&alice, 60).await.unwrap();
    let text = token.expose();
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] ^= 1;
        let altered = String::from_utf8(bytes).unwrap();
        assert_eq!(world.refusal(&altered).await, Some(CredentialProblem::NotOurs), "byte {at}");
    }
    let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
    let by_stranger = jws::sign(&SigningKey::generate(), TokenType::ACCESS, &claims);
    assert_eq!(world.refusal(&by_stranger).await, Some(CredentialProblem::NotOurs));
    // The node's own key signs other things than tokens.
    for kind in [TokenType::EAT, TokenType::ACCESS] {
        let by_node = jws::sign(world.identity.keys().signing(), kind, &claims);
        assert!(world.refusal(&by_node).await.is_some());
    }
}

#[tokio::test]
async fn a_token_from_the_future_is_refused() {
    let world = World::new().await;
    let (_, _, alice) = world.keyed("alice").await;
    let (token, _) = world.token(&alice, 3600).await.unwrap();
    let issued_at = cm_runtime::Clock::now(&world.clock);
    world.clock.set_wall(issued_at - std::time::Duration::from_secs(60));
    assert_eq!(world.refusal(token.expose()).await, None);
    world.clock.set_wall(issued_at - std::time::Duration::from_secs(61));
    assert_eq!(world.refusal(token.expose()).await, Some(CredentialProblem::Expired));
}
