use std::time::Duration;

use cm_crypto::Secret;

use super::support::*;
use crate::table::{SecondFactorRow, SecondFactors};
use crate::{
    Authenticated, CredentialProblem, CredentialRight, Enrolment, IdentityError, NewSession, SessionKind,
};

/// The code that a device shows now.
fn code(world: &World, enrolment: &Enrolment) -> String {
    code_at(world, enrolment, 0)
}

fn code_at(world: &World, enrolment: &Enrolment, shift: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(enrolment.secret.expose()).unwrap();
    let device = totp_rs::Builder::new().with_algorithm(totp_rs::Algorithm::SHA1).with_secret(secret);
    let now = world.identity.now().as_secs() + shift;
    device.build().unwrap().generate(u64::try_from(now).unwrap()).to_string()
}

async fn login(world: &World, code: Option<&str>) -> Result<Authenticated, IdentityError> {
    let password = Secret::new(PASSWORD.to_owned());
    let code = code.map(|code| Secret::new(code.to_owned()));
    let who = (&tenant(), &id("alice"));
    world.identity.login_with_code(who, (password, code), &source(1), None).await
}

async fn confirm(world: &World, code: &str) -> Result<Vec<Secret<String>>, IdentityError> {
    let (alice, code) = (id("alice"), code.to_owned());
    world
        .write(move |identity, tx| {
            let right = own(&alice);
            identity.confirm_second_factor(tx, CredentialRight::Own(&right), (&alice, &code), None)
        })
        .await
}

async fn enrol(world: &World) -> Result<Enrolment, IdentityError> {
    let alice = id("alice");
    world
        .write(move |identity, tx| {
            let right = own(&alice);
            identity.enrol_second_factor(tx, CredentialRight::Own(&right), &alice)
        })
        .await
}

async fn remove(world: &World, code: &str) -> Result<(), IdentityError> {
    let (alice, code) = (id("alice"), code.to_owned());
    let outcome = world.write(move |identity, tx| {
        let right = own(&alice);
        identity.remove_second_factor(tx, CredentialRight::Own(&right), (&alice, Some(&code)), None)
    });
    outcome.await.unwrap_or_else(Err)
}

/// Alice, with a device whose code was confirmed a while ago, and her recovery codes.
async fn enrolled() -> (World, Enrolment, Vec<Secret<String>>) {
    let world = World::new().await;
    world.create("alice").await;
    world.set_password("alice", PASSWORD).await.unwrap();
    let enrolment = enrol(&world).await.unwrap();
    assert!(login(&world, None).await.is_ok(), "what is not confirmed is not asked for");
    let recovery = confirm(&world, &code(&world, &enrolment)).await.unwrap();
    world.advance(60);
    (world, enrolment, recovery)
}

fn is_refused(outcome: Result<Authenticated, IdentityError>) -> bool {
    matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::WrongCode)))
}

#[tokio::test]
async fn a_password_alone_lets_nobody_in_any_more() {
    let (world, enrolment, _) = enrolled().await;
    assert!(matches!(login(&world, None).await, Err(IdentityError::SecondFactorRequired)));
    assert!(matches!(world.login("alice", PASSWORD).await, Err(IdentityError::SecondFactorRequired)));
    assert!(is_refused(login(&world, Some("")).await));
    let now = code(&world, &enrolment);
    let wrong = if now == "000000" { "000001" } else { "000000" };
    assert!(is_refused(login(&world, Some(wrong)).await));
    let alice = login(&world, Some(&now)).await.unwrap();
    assert!(alice.has_second_factor());
    // The password is looked at first: nobody learns about codes without it.
    let outcome = world.login("alice", "another password").await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::WrongPassword))));
}

#[tokio::test]
async fn the_second_factor_is_known_of_the_session_and_of_what_is_made_of_it() {
    let (world, enrolment, _) = enrolled().await;
    let alice = login(&world, Some(&code(&world, &enrolment))).await.unwrap();
    let new = NewSession { kind: SessionKind::Api, label: String::new(), ttl: Duration::from_secs(600) };
    let session =
        world.write(move |identity, tx| identity.begin_session(tx, &alice, new, None)).await.unwrap();
    let shown = world.identity.authenticate(session.token.expose()).await.unwrap();
    let (derived, _) = world.token(&shown, 60).await.unwrap();
    let derived = world.identity.authenticate(derived.expose()).await.unwrap();
    assert!(shown.has_second_factor() && derived.has_second_factor());
    let (key, _) = world.api_key("alice").await.unwrap();
    assert!(!world.identity.authenticate(key.expose()).await.unwrap().has_second_factor());
}

#[tokio::test]
async fn a_code_is_of_use_once_and_near_its_time() {
    let (world, enrolment, _) = enrolled().await;
    let first = code(&world, &enrolment);
    login(&world, Some(&first)).await.unwrap();
    assert!(is_refused(login(&world, Some(&first)).await), "a copy of it is of no use");
    assert!(
        is_refused(login(&world, Some(&code_at(&world, &enrolment, -30))).await),
        "nor is an earlier one"
    );
    world.advance(30);
    login(&world, Some(&code(&world, &enrolment))).await.unwrap();
    world.advance(300);
    for far in [-90, 90] {
        assert!(is_refused(login(&world, Some(&code_at(&world, &enrolment, far))).await), "{far}");
    }
    login(&world, Some(&code_at(&world, &enrolment, 30))).await.unwrap();
}

#[tokio::test]
async fn recovery_codes_are_of_use_once_each() {
    let (world, enrolment, recovery) = enrolled().await;
    assert_eq!(recovery.len(), crate::second_factor::RECOVERY_CODES);
    let written = recovery[3].expose().to_uppercase().replace('-', " ");
    login(&world, Some(&written)).await.unwrap();
    assert!(is_refused(login(&world, Some(&written)).await));
    login(&world, Some(recovery[4].expose())).await.unwrap();
    let left = world.read(|identity, tx| identity.second_factor(tx, &tenant(), &id("alice"))).await.unwrap();
    assert_eq!(left.unwrap().recovery_left, recovery.len() - 2);
    assert_eq!(world.count("second-factor.recovery-used").await, 2);
    login(&world, Some(&code(&world, &enrolment))).await.unwrap();
}

#[tokio::test]
async fn wrong_codes_count_as_wrong_passwords_do() {
    let (world, enrolment, _) = enrolled().await;
    for _ in 0..5 {
        assert!(is_refused(login(&world, Some("nothing")).await));
    }
    let outcome = login(&world, Some(&code(&world, &enrolment))).await;
    assert!(matches!(outcome, Err(IdentityError::Locked { .. })), "{outcome:?}");
    assert!(world.count("principal.locked").await > 0);
}

#[tokio::test]
async fn who_has_a_session_alone_does_not_take_the_factor_away() {
    let (world, enrolment, _) = enrolled().await;
    assert!(matches!(enrol(&world).await, Err(IdentityError::SecondFactorExists)));
    for _ in 0..5 {
        assert!(matches!(remove(&world, "000000").await, Err(IdentityError::WrongCode)));
    }
    let outcome = remove(&world, &code(&world, &enrolment)).await;
    assert!(matches!(outcome, Err(IdentityError::Locked { .. })), "{outcome:?}");
    assert_eq!(world.count("second-factor.refused").await, 5);
    login(&world, Some(&code(&world, &enrolment))).await.expect("the login is another matter");
    world.advance(60);
    remove(&world, &code(&world, &enrolment)).await.unwrap();
    assert!(login(&world, None).await.is_ok());
    // Somebody who may grant helps who lost both.
    let again = enrol(&world).await.unwrap();
    assert!(matches!(confirm(&world, "nothing").await, Err(IdentityError::WrongCode)));
    confirm(&world, &code(&world, &again)).await.unwrap();
    let granted = world.write(|identity, tx| {
        identity.remove_second_factor(tx, CredentialRight::Granted(&grant()), (&id("alice"), None), None)
    });
    granted.await.unwrap().unwrap();
    assert!(login(&world, None).await.is_ok());
}

#[tokio::test]
async fn whatever_one_may_ones_own_factor_takes_a_code() {
    let (world, enrolment, _) = enrolled().await;
    // Somebody who may grant everything, with a stolen credential: for oneself it is of no use.
    let remove = async |code: Option<String>| {
        let outcome = world.write(move |identity, tx| {
            let permit = of_oneself(&id("alice"));
            let shown = (&id("alice"), code.as_deref());
            identity.remove_second_factor(tx, CredentialRight::Granted(&permit), shown, None)
        });
        outcome.await.unwrap_or_else(Err)
    };
    assert!(matches!(remove(None).await, Err(IdentityError::WrongCode)));
    assert!(matches!(login(&world, None).await, Err(IdentityError::SecondFactorRequired)));
    remove(Some(code(&world, &enrolment))).await.unwrap();
}

#[tokio::test]
async fn many_addresses_guess_codes_no_faster() {
    let (world, enrolment, _) = enrolled().await;
    let try_from = async |address: u8, code: String| {
        let shown = (Secret::new(PASSWORD.to_owned()), Some(Secret::new(code)));
        world.identity.login_with_code((&tenant(), &id("alice")), shown, &source(address), None).await
    };
    for address in 1..=5 {
        assert!(is_refused(try_from(address, "nothing".to_owned()).await), "{address}");
    }
    let wait = async |address: u8| match try_from(address, code(&world, &enrolment)).await {
        Err(IdentityError::Locked { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    let first = wait(6).await;
    world.advance(first.as_secs());
    assert!(is_refused(try_from(7, "nothing".to_owned()).await));
    assert_eq!(wait(8).await, first * 2, "each further one doubles it");
    assert_eq!(world.count("second-factor.locked").await, 2);
    world.advance(2 * first.as_secs());
    try_from(9, code(&world, &enrolment)).await.expect("a wait has an end");
    assert!(is_refused(try_from(10, "nothing".to_owned()).await), "who has a code begins anew");
}

#[tokio::test]
async fn only_a_password_counts_for_enrolling() {
    let world = World::new().await;
    let (_, _, keyed) = world.keyed("alice").await;
    assert!(!keyed.is_in_person());
    world.set_password("alice", PASSWORD).await.unwrap();
    let alice = world.login("alice", PASSWORD).await.unwrap();
    let begin = async |who: &Authenticated| {
        let who = who.clone();
        let new = NewSession { kind: SessionKind::Api, label: String::new(), ttl: Duration::from_secs(600) };
        let begun =
            world.write(move |identity, tx| identity.begin_session(tx, &who, new, None)).await.unwrap();
        world.identity.authenticate(begun.token.expose()).await.unwrap()
    };
    let session = begin(&alice).await;
    assert!(alice.is_in_person() && session.is_in_person());
    assert!(!begin(&keyed).await.is_in_person());
    let (derived, _) = world.token(&session, 60).await.unwrap();
    assert!(!world.identity.authenticate(derived.expose()).await.unwrap().is_in_person());
}

#[tokio::test]
async fn recovery_codes_work_where_the_secret_does_not_open() {
    let (world, enrolment, recovery) = enrolled().await;
    // As after a change of the master key.
    let changed = world.write(|_, tx| {
        let key = (tenant(), id("alice"));
        let row = tx.get::<SecondFactors>(&key)?.unwrap();
        tx.put::<SecondFactors>(&key, &SecondFactorRow { sealed: "AAAA".to_owned(), ..row })?;
        Ok(())
    });
    changed.await.unwrap();
    for _ in 0..6 {
        let outcome = login(&world, Some(&code(&world, &enrolment))).await;
        assert!(matches!(outcome, Err(IdentityError::MasterKey { .. })), "{outcome:?}");
    }
    let alice = login(&world, Some(recovery[0].expose())).await.expect("nothing was counted for it");
    assert!(alice.has_second_factor());
    let outcome = login(&world, Some(recovery[0].expose())).await;
    assert!(outcome.is_err(), "each is of use once");
    // So she gets rid of it, and enrols anew.
    remove(&world, recovery[1].expose()).await.unwrap();
    let again = enrol(&world).await.unwrap();
    confirm(&world, &code(&world, &again)).await.unwrap();
}
