use std::sync::Arc;
use std::time::Duration;

use cm_crypto::Secret;
use cm_types::TenantId;
use serde_json::{Value, json};

use super::device::{Device, ORIGIN};
use super::support::*;
use crate::{
    Authenticated, Credential, CredentialProblem, CredentialRight, EndedPasskeys, IdentityError,
    InvalidInput, NewSession, NewTenant, PASSKEYS_MAX, PasskeyChallenge, PasskeyInfo, PasskeyProblem,
    RelyingParty, SessionKind, SessionTokens,
};

/// A world whose node browsers know, with somebody who has a password.
async fn world() -> World {
    let world = World::new().await;
    let party = RelyingParty::new(None, &[ORIGIN.to_owned()]).unwrap();
    world.identity.use_relying_party(Arc::new(party)).unwrap();
    person(&world, "alice").await;
    world
}

async fn person(world: &World, name: &str) {
    world.create(name).await;
    world.set_password(name, PASSWORD).await.unwrap();
}

async fn begin_session(world: &World, who: &Authenticated) -> SessionTokens {
    let who = who.clone();
    let new = NewSession { kind: SessionKind::Api, label: String::new(), ttl: Duration::from_secs(600) };
    world.write(move |identity, tx| identity.begin_session(tx, &who, new, None)).await.unwrap()
}

/// Who shows the token of a session that was begun by this.
async fn in_session(world: &World, who: &Authenticated) -> Authenticated {
    let tokens = begin_session(world, who).await;
    world.identity.authenticate(tokens.token.expose()).await.unwrap()
}

async fn by_password(world: &World, name: &str) -> Authenticated {
    in_session(world, &world.login(name, PASSWORD).await.unwrap()).await
}

async fn begin(world: &World, who: &Authenticated) -> Result<PasskeyChallenge, IdentityError> {
    let who = who.clone();
    world
        .read(move |identity, tx| {
            let right = own(&who.principal().id);
            identity.begin_passkey(tx, CredentialRight::Own(&right), &who)
        })
        .await
}

async fn finish(
    world: &World,
    who: &Authenticated,
    (state, credential): (&str, Value),
    label: &str,
) -> Result<PasskeyInfo, IdentityError> {
    let checked = world.identity.check_passkey(who, state, credential).await?;
    let (who, label) = (who.clone(), label.to_owned());
    world
        .write(move |identity, tx| {
            let right = own(&who.principal().id);
            identity.add_passkey(tx, CredentialRight::Own(&right), (&who, checked), &label, None)
        })
        .await
}

async fn register(
    world: &World,
    who: &Authenticated,
    device: &mut Device,
) -> Result<PasskeyInfo, IdentityError> {
    let challenge = begin(world, who).await?;
    let made = device.make(&challenge);
    finish(world, who, (&challenge.state, made), "laptop").await
}

async fn answer(
    world: &World,
    challenge: &PasskeyChallenge,
    answer: Value,
) -> Result<Authenticated, IdentityError> {
    world.identity.login_with_passkey(&challenge.state, answer, &source(1), None).await
}

async fn login(world: &World, device: &Device) -> Result<Authenticated, IdentityError> {
    let challenge = world.identity.begin_passkey_login().unwrap();
    answer(world, &challenge, device.sign(&challenge)).await
}

#[track_caller]
fn check_refused(outcome: Result<Authenticated, IdentityError>, expected: PasskeyProblem) {
    match outcome {
        Err(IdentityError::InvalidCredential(CredentialProblem::Passkey(problem))) => {
            assert_eq!(problem, expected);
        }
        other => panic!("expected {expected:?}, found {other:?}"),
    }
}

#[track_caller]
fn check_not_registered(outcome: Result<PasskeyInfo, IdentityError>, expected: PasskeyProblem) {
    match outcome {
        Err(IdentityError::PasskeyRefused(problem)) => assert_eq!(problem, expected),
        other => panic!("expected {expected:?}, found {other:?}"),
    }
}

/// Alice with a device, and how long she has been waiting to use it.
async fn registered() -> (World, Device, PasskeyInfo) {
    let (world, mut device) = (world().await, Device::new());
    let alice = by_password(&world, "alice").await;
    let passkey = register(&world, &alice, &mut device).await.unwrap();
    (world, device, passkey)
}

async fn list(world: &World, name: &str) -> Vec<PasskeyInfo> {
    let name = id(name);
    world.read(move |identity, tx| identity.passkeys(tx, &tenant(), &name)).await.unwrap()
}

#[tokio::test]
async fn a_passkey_logs_in_and_counts_as_two_factors() {
    let (world, mut device, passkey) = registered().await;
    assert_eq!((passkey.label.as_str(), passkey.last_used_at), ("laptop", None));
    world.advance(60);
    device.counter = 7;
    let alice = login(&world, &device).await.unwrap();
    assert_eq!(alice.principal().id, id("alice"));
    assert_eq!(alice.credential(), &Credential::Passkey { id: passkey.id.clone() });
    let session = in_session(&world, &alice).await;
    assert!(session.has_second_factor() && session.is_in_person());
    let (derived, _) = world.token(&session, 60).await.unwrap();
    let derived = world.identity.authenticate(derived.expose()).await.unwrap();
    assert!(derived.has_second_factor() && !derived.is_in_person());
    assert!(!by_password(&world, "alice").await.has_second_factor(), "a password alone is what it was");
    assert_eq!(list(&world, "alice").await[0].last_used_at, Some(world.identity.now()));
    let events = world.events().await;
    let event = events.iter().rev().find(|event| event.facts.get("way") == Some(&json!("passkey"))).unwrap();
    assert_eq!((event.verb.as_str(), &event.facts["passkey"]), ("login.succeeded", &json!(passkey.id)));
    assert_eq!(world.count("passkey.registered").await, 1);
}

#[tokio::test]
async fn what_devices_are_asked_names_nobody_and_demands_verification() {
    let (world, ..) = registered().await;
    let challenge = world.identity.begin_passkey_login().unwrap();
    assert_eq!(challenge.options["allowCredentials"], json!([]));
    assert_eq!(challenge.options["userVerification"], "required");
    assert_eq!(challenge.options["rpId"], "localhost");
    assert!(!challenge.state.contains("localhost"), "what is remembered is not shown");
    let other = world.identity.begin_passkey_login().unwrap();
    assert_ne!(challenge.options["challenge"], other.options["challenge"]);
    person(&world, "bob").await;
    let bob = by_password(&world, "bob").await;
    let challenge = begin(&world, &bob).await.unwrap();
    let selection = &challenge.options["authenticatorSelection"];
    assert_eq!(
        (&selection["residentKey"], &selection["userVerification"]),
        (&json!("required"), &json!("required"))
    );
    assert_eq!(challenge.options["excludeCredentials"], json!([]), "of others nothing is told");
    assert_eq!(challenge.options["user"]["name"], "default/bob");
}

#[tokio::test]
async fn an_answer_lets_in_once() {
    let (world, device, _) = registered().await;
    let challenge = world.identity.begin_passkey_login().unwrap();
    let signed = device.sign(&challenge);
    answer(&world, &challenge, signed.clone()).await.unwrap();
    check_refused(answer(&world, &challenge, signed).await, PasskeyProblem::Challenge);
    // Nor does it answer another challenge, or one that was made for something else.
    let other = world.identity.begin_passkey_login().unwrap();
    check_refused(answer(&world, &other, device.sign(&challenge)).await, PasskeyProblem::Challenge);
    let alice = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let registration = begin(&world, &alice).await.unwrap();
    check_refused(answer(&world, &registration, device.sign(&registration)).await, PasskeyProblem::Challenge);
    let forged = PasskeyChallenge { state: format!("{}A", other.state), ..other };
    check_refused(answer(&world, &forged, device.sign(&forged)).await, PasskeyProblem::Challenge);
    assert_eq!(world.count("login.failed").await, 4);
}

#[tokio::test]
async fn a_failed_answer_uses_its_challenge_too() {
    let (world, mut device, _) = registered().await;
    let challenge = world.identity.begin_passkey_login().unwrap();
    device.verifies = false;
    check_refused(answer(&world, &challenge, device.sign(&challenge)).await, PasskeyProblem::NotVerified);
    device.verifies = true;
    check_refused(answer(&world, &challenge, device.sign(&challenge)).await, PasskeyProblem::Challenge);
}

#[tokio::test]
async fn challenges_are_over_after_five_minutes() {
    let (world, device, _) = registered().await;
    let challenge = world.identity.begin_passkey_login().unwrap();
    world.advance(299);
    answer(&world, &challenge, device.sign(&challenge)).await.unwrap();
    let challenge = world.identity.begin_passkey_login().unwrap();
    world.advance(300);
    check_refused(answer(&world, &challenge, device.sign(&challenge)).await, PasskeyProblem::Expired);
    person(&world, "bob").await;
    let bob = by_password(&world, "bob").await;
    let challenge = begin(&world, &bob).await.unwrap();
    let made = Device::new().make(&challenge);
    world.advance(300);
    let outcome = finish(&world, &bob, (&challenge.state, made), "late").await;
    check_not_registered(outcome, PasskeyProblem::Expired);
}

/// What a device says that is not true, and what is found.
type Lie = (fn(&mut Device), PasskeyProblem);

fn lies() -> [Lie; 6] {
    [
        (|device| device.origin = "https://evil.example".to_owned(), PasskeyProblem::Origin),
        (|device| device.origin = "http://localhost:19001".to_owned(), PasskeyProblem::Origin),
        (|device| device.origin = "https://localhost:19000".to_owned(), PasskeyProblem::Origin),
        (|device| device.origin = "http://sub.localhost:19000".to_owned(), PasskeyProblem::Origin),
        (|device| device.party = "evil.example".to_owned(), PasskeyProblem::RelyingParty),
        (|device| device.verifies = false, PasskeyProblem::NotVerified),
    ]
}

#[tokio::test]
async fn what_is_for_others_or_unverified_logs_nobody_in() {
    for (lie, problem) in lies() {
        let (world, mut device, _) = registered().await;
        lie(&mut device);
        check_refused(login(&world, &device).await, problem);
    }
    // Somebody who knows the passkey's id, and the account, but has another key.
    let (world, device, _) = registered().await;
    let thief = Device { id: device.id.clone(), handle: device.handle.clone(), ..Device::new() };
    check_refused(login(&world, &thief).await, PasskeyProblem::Signature);
}

#[tokio::test]
async fn what_is_for_others_or_unverified_is_not_registered() {
    let world = world().await;
    let alice = by_password(&world, "alice").await;
    for (lie, problem) in lies() {
        let mut device = Device::new();
        lie(&mut device);
        check_not_registered(register(&world, &alice, &mut device).await, problem);
    }
    let challenge = begin(&world, &alice).await.unwrap();
    let mut hidden = Device::new().make(&challenge);
    hidden["clientExtensionResults"]["credProps"]["rk"] = false.into();
    check_not_registered(
        finish(&world, &alice, (&challenge.state, hidden), "key").await,
        PasskeyProblem::NotDiscoverable,
    );
    for nonsense in [json!(null), json!({}), json!({ "id": "x", "rawId": "!", "type": "public-key" })] {
        let outcome = finish(&world, &alice, (&challenge.state, nonsense), "key").await;
        check_not_registered(outcome, PasskeyProblem::Form);
    }
    let mut device = Device::new();
    let made = device.make(&challenge);
    let outcome = finish(&world, &alice, (&challenge.state, made.clone()), "").await;
    assert!(matches!(outcome, Err(IdentityError::Invalid(InvalidInput::Text { .. }))));
    finish(&world, &alice, (&challenge.state, made), "key").await.unwrap();
}

#[tokio::test]
async fn a_counter_that_goes_back_is_refused_and_told() {
    let (world, mut device, _) = registered().await;
    for counter in [0, 0, 5, 6] {
        device.counter = counter;
        login(&world, &device).await.unwrap();
    }
    for counter in [6, 5, 0] {
        device.counter = counter;
        check_refused(login(&world, &device).await, PasskeyProblem::Counter);
    }
    assert_eq!(world.count("passkey.counter-went-back").await, 3);
    device.counter = 7;
    login(&world, &device).await.unwrap();
}

#[tokio::test]
async fn of_two_answers_with_one_counter_one_lets_in() {
    let (world, mut device, _) = registered().await;
    device.counter = 1;
    let (a, b) = tokio::join!(login(&world, &device), login(&world, &device));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
}

#[tokio::test]
async fn nobody_uses_what_is_somebody_elses() {
    let (world, device, _) = registered().await;
    person(&world, "bob").await;
    let bob = by_password(&world, "bob").await;
    let mut bobs = Device::new();
    register(&world, &bob, &mut bobs).await.unwrap();
    let bob = in_session(&world, &login(&world, &bobs).await.unwrap()).await;
    // Alice's key under Bob's name, and the other way round.
    let mut mixed = device;
    let hers = std::mem::replace(&mut mixed.handle, bobs.handle.clone());
    check_refused(login(&world, &mixed).await, PasskeyProblem::Owner);
    mixed.handle = None;
    check_refused(login(&world, &mixed).await, PasskeyProblem::Owner);
    mixed.handle = hers.clone();
    assert_eq!(login(&world, &mixed).await.unwrap().principal().id, id("alice"));
    // Her credential is not registered again for him.
    assert!(matches!(register(&world, &bob, &mut mixed).await, Err(IdentityError::PasskeyExists)));
    mixed.handle = hers;
    // What she began is not finished by him.
    let alice = in_session(&world, &login(&world, &mixed).await.unwrap()).await;
    let challenge = begin(&world, &alice).await.unwrap();
    let made = Device::new().make(&challenge);
    let outcome = finish(&world, &bob, (&challenge.state, made), "mine now").await;
    check_not_registered(outcome, PasskeyProblem::Challenge);
}

#[tokio::test]
async fn a_registration_is_finished_once_and_under_the_same_password() {
    let world = world().await;
    let alice = by_password(&world, "alice").await;
    let challenge = begin(&world, &alice).await.unwrap();
    let (first, second) = (Device::new().make(&challenge), Device::new().make(&challenge));
    finish(&world, &alice, (&challenge.state, first), "one").await.unwrap();
    let stronger = in_session(&world, &world.login("alice", PASSWORD).await.unwrap()).await;
    assert!(matches!(begin(&world, &stronger).await, Err(IdentityError::FactorNotShown)));
    let outcome = finish(&world, &alice, (&challenge.state, second), "two").await;
    assert!(matches!(outcome, Err(IdentityError::FactorNotShown)), "{outcome:?}");
    let outcome = remove(&world, &alice, &list(&world, "alice").await[0].id).await;
    assert!(matches!(outcome, Err(IdentityError::FactorNotShown)));

    person(&world, "bob").await;
    let bob = by_password(&world, "bob").await;
    let challenge = begin(&world, &bob).await.unwrap();
    world.set_password("bob", "another horse").await.unwrap();
    let bob = in_session(&world, &world.login("bob", "another horse").await.unwrap()).await;
    let outcome = finish(&world, &bob, (&challenge.state, Device::new().make(&challenge)), "old").await;
    check_not_registered(outcome, PasskeyProblem::Challenge);
}

async fn remove(world: &World, who: &Authenticated, key: &str) -> Result<(), IdentityError> {
    let (who, key) = (who.clone(), key.to_owned());
    world
        .write(move |identity, tx| {
            let right = own(&who.principal().id);
            identity.remove_passkey(tx, CredentialRight::Own(&right), &who, &key, None)
        })
        .await
}

#[tokio::test]
async fn only_a_person_registers_and_with_what_guards_the_account() {
    let (world, device, passkey) = registered().await;
    let (key, _) = world.api_key("alice").await.unwrap();
    let keyed = world.identity.authenticate(key.expose()).await.unwrap();
    let strong = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let (derived, _) = world.token(&strong, 60).await.unwrap();
    let derived = world.identity.authenticate(derived.expose()).await.unwrap();
    for other in [&keyed, &in_session(&world, &keyed).await, &derived] {
        assert!(matches!(begin(&world, other).await, Err(IdentityError::NotInPerson)));
        assert!(matches!(remove(&world, other, &passkey.id).await, Err(IdentityError::NotInPerson)));
    }
    let weak = by_password(&world, "alice").await;
    assert!(matches!(begin(&world, &weak).await, Err(IdentityError::FactorNotShown)));
    // Nor does the password alone enrol another factor, by which it would get past `mfa`.
    let shown = weak.clone();
    let outcome = world.read(move |identity, tx| identity.require_factor_shown(tx, &shown)).await;
    assert!(matches!(outcome, Err(IdentityError::FactorNotShown)));
    let rename = async |who: &Authenticated, label: &str| {
        let (who, key, label) = (who.clone(), passkey.id.clone(), label.to_owned());
        world
            .write(move |identity, tx| {
                let right = own(&id("alice"));
                identity.rename_passkey(tx, CredentialRight::Own(&right), &who, (&key, &label), None)
            })
            .await
    };
    assert!(matches!(rename(&weak, "mine").await, Err(IdentityError::FactorNotShown)));
    assert_eq!(rename(&strong, "blue key").await.unwrap().label, "blue key");
    register(&world, &strong, &mut Device::new()).await.unwrap();
    assert!(matches!(remove(&world, &strong, "nothing").await, Err(IdentityError::NoSuchPasskey)));
}

#[tokio::test]
async fn a_passkey_that_is_removed_ends_what_it_began() {
    let (world, device, passkey) = registered().await;
    let tokens = begin_session(&world, &login(&world, &device).await.unwrap()).await;
    let strong = world.identity.authenticate(tokens.token.expose()).await.unwrap();
    let (derived, _) = world.token(&strong, 60).await.unwrap();
    remove(&world, &strong, &passkey.id).await.unwrap();
    for gone in [&tokens.token, &derived] {
        assert_eq!(world.refusal(gone.expose()).await, Some(CredentialProblem::Revoked));
    }
    let refresh = tokens.refresh.unwrap();
    let refreshed = world.write(move |identity, tx| {
        identity.refresh_session(tx, refresh.expose(), Duration::from_secs(60), None)
    });
    assert_eq!(refreshed.await.unwrap().unwrap_err(), CredentialProblem::Revoked);
    let outcome = login(&world, &device).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownPasskey))));
    assert_eq!(world.count("passkey.removed").await, 1);
    // Nobody is left who could not begin anew.
    let alice = by_password(&world, "alice").await;
    register(&world, &alice, &mut Device::new()).await.unwrap();
}

#[tokio::test]
async fn who_may_grant_helps_others_and_not_itself() {
    let (world, device, _) = registered().await;
    let weak = by_password(&world, "alice").await;
    let strong = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let reset = async |actor: &str, shown: Option<Authenticated>| {
        let actor = id(actor);
        world
            .write(move |identity, tx| {
                let permit = match actor.as_str() {
                    "alice" => of_oneself(&actor),
                    _ => grant(),
                };
                let right = CredentialRight::Granted(&permit);
                identity.reset_passkeys(tx, right, shown.as_ref(), &id("alice"), None)
            })
            .await
    };
    assert!(matches!(reset("alice", Some(weak)).await, Err(IdentityError::FactorNotShown)));
    assert!(matches!(reset("alice", None).await, Err(IdentityError::FactorNotShown)));
    assert_eq!(reset("alice", Some(strong)).await.unwrap(), 1);
    assert!(matches!(reset("admin", None).await, Err(IdentityError::NoSuchPasskey)));
    register(&world, &by_password(&world, "alice").await, &mut Device::new()).await.unwrap();
    assert_eq!(reset("admin", None).await.unwrap(), 1);
    assert_eq!(list(&world, "alice").await, []);
}

#[tokio::test]
async fn who_is_disabled_or_gone_is_kept_out() {
    let (world, device, _) = registered().await;
    world.set_disabled("alice", true).await.unwrap();
    let outcome = login(&world, &device).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::Disabled))));
    world.set_disabled("alice", false).await.unwrap();
    login(&world, &device).await.unwrap();
    world.delete("alice").await.unwrap();
    let outcome = login(&world, &device).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownPasskey))));
    // A namesake has none of it.
    person(&world, "alice").await;
    assert!(login(&world, &device).await.is_err());
    assert_eq!(list(&world, "alice").await, []);
}

#[tokio::test]
async fn tenants_have_nothing_to_do_with_each_other() {
    let (world, device, passkey) = registered().await;
    let acme = TenantId::parse("acme").unwrap();
    let new = NewTenant { id: acme.clone(), name: None, open: false, administrator: Some(id("alice")) };
    let (_, key) =
        world.write(move |identity, tx| identity.create_tenant(tx, &of_tenants(), new, None)).await.unwrap();
    let elsewhere = {
        let hash = world.identity.hash_password(Secret::new(PASSWORD.to_owned())).await.unwrap();
        let tenant = acme.clone();
        world
            .write(move |identity, tx| {
                let permit = foreign(&tenant);
                identity.set_password(tx, CredentialRight::Granted(&permit), &id("alice"), hash, None)
            })
            .await
            .unwrap();
        let password = Secret::new(PASSWORD.to_owned());
        world.identity.login(&acme, &id("alice"), password, &source(1), None).await.unwrap()
    };
    drop(key);
    let elsewhere = in_session(&world, &elsewhere).await;
    // A permit of one tenant does nothing for who is known in another.
    assert!(matches!(begin(&world, &elsewhere).await, Err(IdentityError::WrongPermit)));
    assert!(matches!(remove(&world, &elsewhere, &passkey.id).await, Err(IdentityError::WrongPermit)));
    // What was begun in one is not finished in another, not even by a namesake.
    let strong = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let challenge = begin(&world, &strong).await.unwrap();
    let made = Device::new().make(&challenge);
    let outcome = world.identity.check_passkey(&elsewhere, &challenge.state, made).await;
    assert!(matches!(outcome, Err(IdentityError::PasskeyRefused(PasskeyProblem::Challenge))));
    let of_acme = list_of(&world, &acme).await;
    assert_eq!(of_acme, []);
}

async fn list_of(world: &World, tenant: &TenantId) -> Vec<PasskeyInfo> {
    let tenant = tenant.clone();
    world.read(move |identity, tx| identity.passkeys(tx, &tenant, &id("alice"))).await.unwrap()
}

#[tokio::test]
async fn a_tenant_that_is_closed_lets_nobody_in() {
    let (world, device, _) = registered().await;
    // The first tenant is never closed; its row is, as that of another would be.
    let closed = world.write(|_, tx| {
        let row = tx.get::<crate::table::Tenants>(&tenant())?.unwrap();
        tx.put::<crate::table::Tenants>(&tenant(), &crate::table::TenantRow { leaving: true, ..row })?;
        Ok(())
    });
    closed.await.unwrap();
    let outcome = login(&world, &device).await;
    assert!(
        matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::Disabled))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn there_are_sixteen_at_most() {
    let (world, device, _) = registered().await;
    let strong = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let early = begin(&world, &strong).await.unwrap();
    for _ in 1..PASSKEYS_MAX {
        register(&world, &strong, &mut Device::new()).await.unwrap();
    }
    let excluded = early.options["excludeCredentials"].as_array().unwrap().len();
    assert_eq!(excluded, 1, "a device that has one is told so");
    let outcome = register(&world, &strong, &mut Device::new()).await;
    assert!(matches!(outcome, Err(IdentityError::TooManyPasskeys { max: PASSKEYS_MAX })));
    let made = Device::new().make(&early);
    let outcome = finish(&world, &strong, (&early.state, made), "one more").await;
    assert!(matches!(outcome, Err(IdentityError::TooManyPasskeys { .. })), "also when it was begun before");
    assert_eq!(list(&world, "alice").await.len(), PASSKEYS_MAX);
}

#[tokio::test]
async fn failures_are_counted_as_those_of_passwords() {
    let (world, mut device, _) = registered().await;
    device.verifies = false;
    for _ in 0..5 {
        check_refused(login(&world, &device).await, PasskeyProblem::NotVerified);
    }
    device.verifies = true;
    assert!(matches!(login(&world, &device).await, Err(IdentityError::Locked { .. })));
    assert!(
        matches!(world.login("alice", PASSWORD).await, Err(IdentityError::Locked { .. })),
        "one lock for both"
    );
    assert_eq!((world.count("login.failed").await, world.count("principal.locked").await), (5, 1));
    world.advance(30);
    login(&world, &device).await.unwrap();
}

#[tokio::test]
async fn credentials_that_nobody_has_count_for_their_source_alone() {
    let (world, device, _) = registered().await;
    let stranger = Device { handle: device.handle.clone(), ..Device::new() };
    for _ in 0..100 {
        let outcome = login(&world, &stranger).await;
        assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownPasskey))));
    }
    assert!(matches!(login(&world, &stranger).await, Err(IdentityError::Locked { .. })));
    let challenge = world.identity.begin_passkey_login().unwrap();
    let signed = device.sign(&challenge);
    let outcome = world.identity.login_with_passkey(&challenge.state, signed, &source(2), None).await;
    outcome.expect("others are none the worse");
    let nonsense = json!({ "id": 3 });
    let outcome = world.identity.login_with_passkey(&challenge.state, nonsense, &source(2), None).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownPasskey))));
}

#[tokio::test]
async fn used_challenges_are_forgotten_when_they_are_over() {
    let (world, device, _) = registered().await;
    let kept = async || {
        world
            .read(|_, tx| {
                let all = cm_db::KeyRange::all();
                Ok(tx.range::<crate::table::SpentChallenges>(all, cm_db::Direction::Forward, 100)?.len())
            })
            .await
            .unwrap()
    };
    for _ in 0..10 {
        login(&world, &device).await.unwrap();
    }
    assert_eq!(kept().await, 11, "ten logins and a registration");
    world.advance(601);
    login(&world, &device).await.unwrap();
    assert_eq!(kept().await, 1);
    for _ in 0..100 {
        world.identity.begin_passkey_login().unwrap();
    }
    assert_eq!(kept().await, 1, "who only asks leaves nothing behind");
}

#[tokio::test]
async fn a_node_that_no_browser_knows_has_none() {
    let world = World::new().await;
    person(&world, "alice").await;
    let alice = by_password(&world, "alice").await;
    assert!(matches!(world.identity.begin_passkey_login(), Err(IdentityError::PasskeysOff)));
    assert!(matches!(begin(&world, &alice).await, Err(IdentityError::PasskeysOff)));
    let outcome = world.identity.login_with_passkey("x", json!({}), &source(1), None).await;
    assert!(matches!(&outcome, Err(IdentityError::PasskeysOff)));
    assert!(outcome.unwrap_err().to_string().contains("identity.passkeys.origins"));
}

#[tokio::test]
async fn factors_are_enrolled_soon_after_the_login() {
    let world = world().await;
    let tokens = begin_session(&world, &world.login("alice", PASSWORD).await.unwrap()).await;
    let now = async |token: &Secret<String>| world.identity.authenticate(token.expose()).await.unwrap();
    let first = now(&tokens.token).await;
    world.advance(599);
    let (challenge, mut device) = (begin(&world, &first).await.unwrap(), Device::new());
    let made = device.make(&challenge);
    world.advance(1);
    let is_late = |error: Option<IdentityError>| {
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        matches!(error, Some(IdentityError::LoginTooLongAgo { .. })) && text.starts_with("log in again: ")
    };
    assert!(is_late(finish(&world, &first, (&challenge.state, made), "late").await.err()));
    assert!(is_late(begin(&world, &first).await.err()));
    // A token that is refreshed is young, the session is not.
    let refresh = tokens.refresh.unwrap();
    let refreshed = world.write(move |identity, tx| {
        identity.refresh_session(tx, refresh.expose(), Duration::from_secs(60), None)
    });
    let (_, refreshed) = refreshed.await.unwrap().unwrap();
    let young = now(&refreshed.token).await;
    assert!(is_late(begin(&world, &young).await.err()));
    let require = async |who: &Authenticated| {
        let who = who.clone();
        world.read(move |identity, tx| identity.require_enrolment(tx, &who)).await
    };
    assert!(is_late(require(&young).await.err()));
    // Whoever logs in again may.
    let again = by_password(&world, "alice").await;
    require(&again).await.unwrap();
    register(&world, &again, &mut device).await.unwrap();
    // So it is for a further one; to rename and to remove is no enrolment.
    let strong = in_session(&world, &login(&world, &device).await.unwrap()).await;
    let passkey = list(&world, "alice").await.remove(0);
    world.advance(600);
    assert!(is_late(begin(&world, &strong).await.err()));
    remove(&world, &strong, &passkey.id).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_no_login_recent() {
    let world = world().await;
    let alice = by_password(&world, "alice").await;
    let now = world.identity.now();
    assert!(world.identity.is_recent(&alice));
    assert!(world.identity.is_recent(&alice.clone().since(now.after(Duration::from_secs(60)))));
    assert!(!world.identity.is_recent(&alice.since(now.after(Duration::from_secs(61)))));
}

/// The owner changes her password by the old one.
async fn end(world: &World, factor_shown: bool) -> EndedPasskeys {
    let ended = world
        .write(move |identity, tx| {
            let (alice, right) = (id("alice"), own(&id("alice")));
            identity.end_passkeys(tx, CredentialRight::Own(&right), (&alice, factor_shown), None)
        })
        .await
        .unwrap();
    world.set_password("alice", PASSWORD).await.unwrap();
    ended
}

#[tokio::test]
async fn a_new_password_with_a_factor_shown_removes_passkeys() {
    let (world, device, _) = registered().await;
    assert_eq!(end(&world, true).await, EndedPasskeys { removed: 1, closed: 0 });
    assert_eq!((list(&world, "alice").await, world.count("passkey.removed").await), (Vec::new(), 1));
    let outcome = login(&world, &device).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::UnknownPasskey))));
    register(&world, &by_password(&world, "alice").await, &mut Device::new()).await.unwrap();
}

#[tokio::test]
async fn a_new_password_without_closes_them_and_gets_nobody_past_the_factor() {
    let (world, device, passkey) = registered().await;
    assert_eq!(end(&world, false).await, EndedPasskeys { removed: 0, closed: 1 });
    let outcome = login(&world, &device).await;
    assert!(matches!(outcome, Err(IdentityError::InvalidCredential(CredentialProblem::Revoked))));
    assert!(list(&world, "alice").await[0].closed);
    // Whoever has the password alone is where it was.
    let weak = by_password(&world, "alice").await;
    assert!(matches!(begin(&world, &weak).await, Err(IdentityError::FactorNotShown)));
    assert!(matches!(remove(&world, &weak, &passkey.id).await, Err(IdentityError::FactorNotShown)));
    assert_eq!(end(&world, false).await, EndedPasskeys { removed: 0, closed: 1 });
    assert_eq!(world.count("passkey.closed").await, 1, "told once");
    let reset = world.write(|identity, tx| {
        identity.reset_passkeys(tx, CredentialRight::Granted(&grant()), None, &id("alice"), None)
    });
    assert_eq!(reset.await.unwrap(), 1);
    register(&world, &by_password(&world, "alice").await, &mut Device::new()).await.unwrap();
}
