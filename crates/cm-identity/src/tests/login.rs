use std::time::Duration;

use cm_crypto::Secret;
use cm_crypto::password::PasswordHash;
use cm_types::TenantId;

use super::support::*;
use crate::table::Principals;
use crate::{Credential, CredentialProblem, CredentialRight, IdentityError};

fn problem<T: std::fmt::Debug>(found: Result<T, IdentityError>) -> CredentialProblem {
    match found {
        Err(IdentityError::InvalidCredential(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

fn lock_secs<T: std::fmt::Debug>(found: Result<T, IdentityError>) -> u64 {
    match found {
        Err(IdentityError::Locked { retry_after }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    }
}

async fn world_with_alice() -> World {
    let world = World::new().await;
    world.create("alice").await;
    world.set_password("alice", PASSWORD).await.unwrap();
    world
}

#[tokio::test]
async fn the_right_password_opens() {
    let world = world_with_alice().await;
    let alice = world.login("alice", PASSWORD).await.unwrap();
    assert_eq!(alice.credential(), &Credential::Password);
    assert!(alice.principal().has_password);
    let (token, _) = world.token(&alice, 60).await.unwrap();
    assert_eq!(world.refusal(token.expose()).await, None);
    assert_eq!(world.count("login.succeeded").await, 1);
}

#[tokio::test]
async fn every_failure_looks_the_same_from_outside() {
    let world = world_with_alice().await;
    world.create("nopassword").await;
    world.create("disabled").await;
    world.set_password("disabled", PASSWORD).await.unwrap();
    world.set_disabled("disabled", true).await.unwrap();
    let mut texts = Vec::new();
    for (name, password, expected) in [
        ("alice", "wrong password", CredentialProblem::WrongPassword),
        ("alice", "", CredentialProblem::WrongPassword),
        ("nopassword", "", CredentialProblem::WrongPassword),
        ("disabled", PASSWORD, CredentialProblem::Disabled),
        ("nobody", PASSWORD, CredentialProblem::UnknownPrincipal),
        ("alice", &PASSWORD.repeat(200), CredentialProblem::WrongPassword),
    ] {
        let error = world.login(name, password).await.unwrap_err();
        texts.push(error.to_string());
        assert_eq!(problem::<()>(Err(error)), expected, "{name}");
    }
    texts.dedup();
    assert_eq!(texts, ["the credential is not valid"]);
    let elsewhere = TenantId::parse("elsewhere").unwrap();
    let secret = Secret::new(PASSWORD.to_owned());
    let found = world.identity.login(&elsewhere, &id("alice"), secret, &source(1), None).await;
    assert_eq!(problem(found), CredentialProblem::UnknownPrincipal);
}

#[tokio::test]
async fn five_failures_lock_and_the_right_password_does_not_open() {
    for name in ["alice", "nobody"] {
        let world = world_with_alice().await;
        for _ in 0..5 {
            problem(world.login(name, "wrong password").await);
        }
        assert_eq!(lock_secs(world.login(name, PASSWORD).await), 30, "{name}");
        world.advance(29);
        assert_eq!(lock_secs(world.login(name, PASSWORD).await), 1, "asking does not prolong");
        world.advance(1);
        problem(world.login(name, "wrong password").await);
        assert_eq!(lock_secs(world.login(name, PASSWORD).await), 60, "{name}");
    }
}

#[tokio::test]
async fn locking_leaves_events_and_api_keys_alone() {
    let world = world_with_alice().await;
    let (key, _) = world.api_key("alice").await.unwrap();
    for _ in 0..5 {
        problem(world.login("alice", "wrong password").await);
    }
    assert_eq!((world.count("login.failed").await, world.count("principal.locked").await), (5, 1));
    assert_eq!(world.refusal(key.expose()).await, None);
}

#[tokio::test]
async fn success_and_a_new_password_forget_failures() {
    let world = world_with_alice().await;
    for _ in 0..2 {
        for _ in 0..4 {
            problem(world.login("alice", "wrong password").await);
        }
        world.login("alice", PASSWORD).await.unwrap();
    }
    for _ in 0..5 {
        problem(world.login("alice", "wrong password").await);
    }
    world.set_password("alice", "another password").await.unwrap();
    assert_eq!(problem(world.login("alice", PASSWORD).await), CredentialProblem::WrongPassword);
    world.login("alice", "another password").await.unwrap();
}

#[tokio::test]
async fn of_many_attempts_at_once_only_five_are_judged() {
    let world = world_with_alice().await;
    let attempts = (0..20).map(|_| world.login("alice", "wrong password"));
    let results = futures::future::join_all(attempts).await;
    let judged =
        results.into_iter().filter(|found| matches!(found, Err(IdentityError::InvalidCredential(_)))).count();
    assert_eq!(judged, 5);
    assert_eq!(world.count("login.failed").await, 5);
}

#[tokio::test]
async fn who_guesses_from_elsewhere_does_not_lock_the_owner_out() {
    let world = world_with_alice().await;
    let (home, away) = (source(1), source(2));
    world.login_from("alice", PASSWORD, &home).await.unwrap();
    for _ in 0..3 {
        for guesser in 10..110 {
            let _ = world.login_from("alice", "wrong password", &source(guesser)).await.unwrap_err();
        }
        assert!(lock_secs(world.login_from("alice", PASSWORD, &away).await) <= 30, "strangers wait");
        world.login_from("alice", PASSWORD, &home).await.unwrap();
        world.advance(3600);
    }
    world.login_from("alice", PASSWORD, &away).await.unwrap();
}

/// The bound that holds however many guess at once, and from wherever.
#[tokio::test]
async fn of_thirty_two_parallel_guessers_with_many_addresses_few_are_judged() {
    let world = world_with_alice().await;
    let home = source(1);
    world.login_from("alice", PASSWORD, &home).await.unwrap();
    let mut judged = 0;
    for round in 0..6u8 {
        let sources: Vec<_> = (0..32).map(|guesser| source(10 + (round * 32 + guesser) % 200)).collect();
        let attempts = sources.iter().map(|source| world.login_from("alice", "wrong password", source));
        for outcome in futures::future::join_all(attempts).await {
            match outcome {
                Err(IdentityError::InvalidCredential(_)) => judged += 1,
                Err(IdentityError::Locked { .. } | IdentityError::Busy { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(judged, crate::lockout::STRANGERS_BURST);
    assert_eq!(world.count("login.failed").await as u32, judged, "an event each");
    world.login_from("alice", PASSWORD, &home).await.unwrap();
}

#[tokio::test]
async fn one_source_cannot_try_every_name() {
    let world = world_with_alice().await;
    world.login("alice", PASSWORD).await.unwrap();
    let mut judged = 0;
    for number in 0..crate::lockout::SPRAY_BURST + 10 {
        match world.login(&format!("ghost-{number}"), PASSWORD).await {
            Err(IdentityError::InvalidCredential(_)) => judged += 1,
            Err(IdentityError::Locked { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(judged, crate::lockout::SPRAY_BURST);
    world.login("alice", PASSWORD).await.unwrap();
    world.login_from("ghost", PASSWORD, &source(9)).await.unwrap_err();
}

#[tokio::test]
async fn a_hash_of_the_earlier_service_is_renewed_by_a_login() {
    let world = world_with_alice().await;
    let earlier = PasswordHash::parse(
        "pbkdf2$l=32,sl=16,i=1000$000102030405060708090a0b0c0d0e0f/c914cc4f06cc6e8f46d157e3a1b5aa7abceebb17bb0444cd4c4ac16ca2ae9864",
    )
    .unwrap();
    let stored = || world.read(|_, tx| Ok(tx.get::<Principals>(&(tenant(), id("alice")))?.unwrap().password));
    world
        .write(move |identity, tx| {
            identity.set_password(tx, CredentialRight::Granted(&grant()), &id("alice"), earlier, None)
        })
        .await
        .unwrap();
    problem(world.login("alice", "wrong password").await);
    assert!(stored().await.unwrap().unwrap().is_outdated());
    let alice = world.login("alice", PASSWORD).await.unwrap();
    assert!(!stored().await.unwrap().unwrap().is_outdated());
    let (token, _) = world.token(&alice, 60).await.unwrap();
    assert_eq!(world.refusal(token.expose()).await, None, "the same password is no new one");
    world.login("alice", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn unknown_names_do_not_flood_the_log() {
    let world = world_with_alice().await;
    for number in 0..8 {
        problem(world.login(&format!("ghost-{number}"), PASSWORD).await);
    }
    assert_eq!(world.count("login.failed").await, 1);
    world.clock.advance(Duration::from_secs(1));
    problem(world.login("ghost", PASSWORD).await);
    assert_eq!(world.count("login.failed").await, 2);
}

#[tokio::test]
async fn no_password_reaches_the_log() {
    let world = world_with_alice().await;
    world.login("alice", PASSWORD).await.unwrap();
    problem(world.login("alice", "wrong password").await);
    for event in world.events().await {
        let text = format!("{event:?}");
        assert!(
            !text.contains(PASSWORD) && !text.contains("wrong password") && !text.contains("argon2"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn signing_up_takes_from_what_a_source_may_fail() {
    let world = World::new().await;
    let source = crate::Source::of([192, 0, 2, 77].into());
    for _ in 0..crate::lockout::SPRAY_BURST {
        world.identity.spend_on_sign_up(&source).unwrap();
    }
    assert!(matches!(world.identity.spend_on_sign_up(&source), Err(IdentityError::Locked { .. })));
    let other = crate::Source::of([192, 0, 2, 78].into());
    world.identity.spend_on_sign_up(&other).unwrap();
}
