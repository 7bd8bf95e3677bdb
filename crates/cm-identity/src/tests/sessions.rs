use std::time::Duration;

use cm_crypto::Secret;
use cm_crypto::jws::claimed_key_id;
use cm_types::TenantId;

use super::support::*;
use crate::identity::{SESSION_MAX, SESSIONS_MAX};
use crate::signing::Purpose;
use crate::{
    Authenticated, CredentialProblem, IdentityError, LiveSession, NewSession, SessionKind, SessionTokens,
};

const TTL: Duration = Duration::from_secs(600);

fn new(kind: SessionKind, label: &str) -> NewSession {
    NewSession { kind, label: label.to_owned(), ttl: TTL }
}

async fn begin(world: &World, who: &Authenticated, kind: SessionKind, label: &str) -> SessionTokens {
    let (who, session) = (who.clone(), new(kind, label));
    world.write(move |identity, tx| identity.begin_session(tx, &who, session, None)).await.unwrap()
}

async fn refresh(world: &World, text: &Secret<String>) -> Result<SessionTokens, CredentialProblem> {
    let text = text.clone();
    let outcome =
        world.write(move |identity, tx| identity.refresh_session(tx, text.expose(), TTL, None)).await;
    outcome.unwrap().map(|(_, tokens)| tokens)
}

async fn live(
    world: &World,
    token: &str,
    kind: SessionKind,
    tenant: &str,
) -> Result<LiveSession, CredentialProblem> {
    let (token, tenant) = (token.to_owned(), TenantId::parse(tenant).unwrap());
    match world.read(move |identity, tx| identity.xolo_session(tx, &token, kind, &tenant)).await {
        Ok(live) => Ok(live),
        Err(IdentityError::InvalidCredential(problem)) => Err(problem),
        Err(other) => panic!("{other:?}"),
    }
}

async fn alice(world: &World) -> Authenticated {
    world.create("alice").await;
    world.set_password("alice", PASSWORD).await.unwrap();
    world.login("alice", PASSWORD).await.unwrap()
}

#[tokio::test]
async fn a_session_has_one_live_token_and_refreshing_makes_another() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let first = begin(&world, &alice, SessionKind::Api, "").await;
    assert_eq!(world.refusal(first.token.expose()).await, None);
    let second = refresh(&world, &first.refresh.clone().unwrap()).await.unwrap();
    assert_eq!(second.session, first.session);
    assert_eq!(world.refusal(first.token.expose()).await, Some(CredentialProblem::Replaced));
    assert_eq!(world.refusal(second.token.expose()).await, None);
    world.advance(TTL.as_secs());
    assert_eq!(world.refusal(second.token.expose()).await, Some(CredentialProblem::Expired));
    let third = refresh(&world, &second.refresh.unwrap()).await.unwrap();
    assert_eq!(world.refusal(third.token.expose()).await, None);
    assert_eq!((world.count("session.begun").await, world.count("session.refreshed").await), (1, 2));
}

#[tokio::test]
async fn who_uses_a_refresh_token_twice_ends_the_session_for_everybody() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let first = begin(&world, &alice, SessionKind::Api, "").await;
    let other = begin(&world, &alice, SessionKind::Api, "").await;
    let stolen = first.refresh.clone().unwrap();
    let second = refresh(&world, &stolen).await.unwrap();
    assert_eq!(refresh(&world, &stolen).await.unwrap_err(), CredentialProblem::Reused);
    assert_eq!(world.refusal(second.token.expose()).await, Some(CredentialProblem::Replaced));
    assert_eq!(refresh(&world, &second.refresh.unwrap()).await.unwrap_err(), CredentialProblem::Replaced);
    assert_eq!(world.count("session.reuse-detected").await, 1);
    assert_eq!(world.refusal(other.token.expose()).await, None, "other sessions go on");
}

#[tokio::test]
async fn a_guessed_refresh_token_ends_nothing() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let session = begin(&world, &alice, SessionKind::Api, "").await;
    let text = session.refresh.clone().unwrap().expose().clone();
    let (head, mac) = text.rsplit_once('_').unwrap();
    for bad in [
        format!("{head}_{}", "0".repeat(mac.len())),
        format!("cmr_{}_7_{mac}", session.session),
        format!("cmr_{}_0_", session.session),
        "cmr__0_x".to_owned(),
        String::new(),
    ] {
        let found = refresh(&world, &Secret::new(bad.clone())).await.unwrap_err();
        assert_eq!(found, CredentialProblem::NotOurs, "{bad}");
    }
    refresh(&world, &Secret::new(text)).await.unwrap();
}

#[tokio::test]
async fn what_ends_a_principal_ends_its_sessions() {
    for how in ["disable", "password", "delete", "end", "time"] {
        let world = World::new().await;
        let alice = alice(&world).await;
        let session = begin(&world, &alice, SessionKind::Api, "").await;
        let xolo = begin(&world, &alice, SessionKind::Xolo4, "OPS").await;
        match how {
            "disable" => drop(world.set_disabled("alice", true).await.unwrap()),
            "password" => world.set_password("alice", "another password").await.unwrap(),
            "delete" => world.delete("alice").await.unwrap(),
            "end" => {
                let ids = [session.session.clone(), xolo.session.clone()];
                world
                    .write(move |identity, tx| {
                        ids.iter().try_for_each(|id| identity.end_session(tx, id, None))
                    })
                    .await
                    .unwrap();
            }
            _ => world.advance(SESSION_MAX.as_secs() + 1),
        }
        assert!(world.refusal(session.token.expose()).await.is_some(), "{how}");
        assert!(live(&world, xolo.token.expose(), SessionKind::Xolo4, "default").await.is_err(), "{how}");
        refresh(&world, &session.refresh.unwrap()).await.unwrap_err();
    }
}

#[tokio::test]
async fn tokens_of_the_dialect_are_made_anew_from_their_session() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let begun = begin(&world, &alice, SessionKind::Xolo4, "OPS").await;
    assert!(begun.refresh.is_none());
    let who = alice.clone();
    let again = world
        .read(move |identity, tx| identity.live_session(tx, &who, SessionKind::Xolo4, "OPS"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.token.expose(), begun.token.expose());
    let found = live(&world, begun.token.expose(), SessionKind::Xolo4, "default").await.unwrap();
    assert_eq!((found.label.as_str(), found.principal.id.as_str()), ("OPS", "alice"));
    let secret = world.identity.temporal_secret(&found.id, &found.jti);
    assert!(world.identity.is_temporal_secret(&found, secret.expose()));
    assert!(!world.identity.is_temporal_secret(&found, ""));
    let live_one = found.clone();
    let renewed =
        world.write(move |identity, tx| identity.renew_session(tx, &live_one, TTL, None)).await.unwrap();
    let problem = live(&world, begun.token.expose(), SessionKind::Xolo4, "default").await.unwrap_err();
    assert_eq!(problem, CredentialProblem::Replaced);
    let now = live(&world, renewed.token.expose(), SessionKind::Xolo4, "default").await.unwrap();
    assert!(!world.identity.is_temporal_secret(&now, secret.expose()), "each token has its own");
    world.advance(TTL.as_secs());
    let problem = live(&world, renewed.token.expose(), SessionKind::Xolo4, "default").await.unwrap_err();
    assert_eq!(problem, CredentialProblem::Expired);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_protocol_and_tenant_only() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let api = begin(&world, &alice, SessionKind::Api, "").await;
    let four = begin(&world, &alice, SessionKind::Xolo4, "OPS").await;
    let other = CredentialProblem::OtherAudience;
    let text = four.token.expose();
    assert_eq!(live(&world, text, SessionKind::Xolo3, "default").await.unwrap_err(), other);
    assert_eq!(live(&world, text, SessionKind::Xolo4, "elsewhere").await.unwrap_err(), other);
    let not_ours = CredentialProblem::NotOurs;
    assert_eq!(live(&world, api.token.expose(), SessionKind::Xolo4, "default").await.unwrap_err(), not_ours);
    assert_eq!(world.refusal(text).await, Some(not_ours));
    for bad in ["", "a.b.c", "cmk_x_y"] {
        live(&world, bad, SessionKind::Xolo4, "default").await.unwrap_err();
    }
}

#[tokio::test]
async fn tokens_of_an_earlier_key_hold_until_they_expire_and_no_longer_if_it_ends_at_once() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let before = begin(&world, &alice, SessionKind::Api, "").await;
    let rotate = |at_once| {
        world.write(move |identity, tx| {
            identity.rotate_signing_key(tx, &of_tenants(), Purpose::Tokens, at_once, None)
        })
    };
    let key = rotate(false).await.unwrap();
    let after = begin(&world, &alice, SessionKind::Api, "").await;
    assert_eq!(claimed_key_id(after.token.expose()), Some(key.id.clone()));
    assert_ne!(claimed_key_id(before.token.expose()), Some(key.id));
    assert_eq!(world.refusal(before.token.expose()).await, None);
    rotate(true).await.unwrap();
    for token in [before, after] {
        assert_eq!(world.refusal(token.token.expose()).await, Some(CredentialProblem::NotOurs));
    }
}

#[tokio::test]
async fn sessions_of_one_principal_are_few() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let first = begin(&world, &alice, SessionKind::Api, "").await;
    world.advance(1);
    for _ in 0..SESSIONS_MAX {
        begin(&world, &alice, SessionKind::Api, "").await;
    }
    assert_eq!(world.refusal(first.token.expose()).await, Some(CredentialProblem::Replaced));
    let who = alice.clone();
    let ttl = NewSession { ttl: Duration::from_secs(25 * 3600), ..new(SessionKind::Api, "") };
    let refused = world.write(move |identity, tx| identity.begin_session(tx, &who, ttl, None)).await;
    assert!(matches!(refused, Err(IdentityError::Invalid(_))));
}

#[tokio::test]
async fn what_was_proven_before_new_credentials_gets_neither_tokens_nor_sessions() {
    let world = World::new().await;
    let alice = alice(&world).await;
    world.set_password("alice", "another horse battery").await.unwrap();
    let is_revoked = |error: IdentityError| {
        assert!(matches!(error, IdentityError::InvalidCredential(CredentialProblem::Revoked)), "{error:?}");
    };
    is_revoked(world.token(&alice, 60).await.unwrap_err());
    let session = new(SessionKind::Api, "");
    let begun = world.write(move |identity, tx| identity.begin_session(tx, &alice, session, None)).await;
    is_revoked(begun.unwrap_err());
}

#[tokio::test]
async fn what_is_made_of_a_session_ends_with_it_however_it_ends() {
    for how in ["reuse", "end", "disable", "time"] {
        let world = World::new().await;
        let alice = alice(&world).await;
        let session = begin(&world, &alice, SessionKind::Api, "").await;
        let shown = world.identity.authenticate(session.token.expose()).await.unwrap();
        let (derived, _) = world.token(&shown, 3600).await.unwrap();
        let again = world.identity.authenticate(derived.expose()).await.unwrap();
        let (twice, _) = world.token(&again, 3600).await.unwrap();
        let second = refresh(&world, &session.refresh.clone().unwrap()).await.unwrap();
        for token in [&derived, &twice] {
            assert_eq!(
                world.refusal(token.expose()).await,
                None,
                "refreshing ends only the session's own token"
            );
        }
        match how {
            "reuse" => {
                let stolen = session.refresh.clone().unwrap();
                assert_eq!(refresh(&world, &stolen).await.unwrap_err(), CredentialProblem::Reused);
            }
            "end" => {
                let id = second.session.clone();
                world.write(move |identity, tx| identity.end_session(tx, &id, None)).await.unwrap();
            }
            "disable" => drop(world.set_disabled("alice", true).await.unwrap()),
            _ => world.advance(SESSION_MAX.as_secs() + 1),
        }
        for token in [&derived, &twice] {
            assert!(world.refusal(token.expose()).await.is_some(), "{how}");
        }
    }
}

#[tokio::test]
async fn a_token_made_of_a_session_ends_alone_when_it_is_revoked() {
    let world = World::new().await;
    let alice = alice(&world).await;
    let session = begin(&world, &alice, SessionKind::Api, "").await;
    let shown = world.identity.authenticate(session.token.expose()).await.unwrap();
    let (derived, _) = world.token(&shown, 3600).await.unwrap();
    let authenticated = world.identity.authenticate(derived.expose()).await.unwrap();
    world.write(move |identity, tx| identity.revoke_token(tx, &authenticated, None)).await.unwrap();
    assert_eq!(world.refusal(derived.expose()).await, Some(CredentialProblem::Revoked));
    assert_eq!(world.refusal(session.token.expose()).await, None);
    // Nor is anything made of a session that has ended since its token was looked at.
    world.write(move |identity, tx| identity.end_session(tx, &session.session, None)).await.unwrap();
    let refused = world.token(&shown, 60).await.unwrap_err();
    assert!(matches!(refused, IdentityError::InvalidCredential(CredentialProblem::Replaced)), "{refused:?}");
}
