use std::time::Duration;

use cm_crypto::CryptoError;
use cm_crypto::cert::{self, CertificateRequest, generate_request};
use cm_crypto::svid::TrustBundle;
use cm_types::{SpiffeId, TrustDomain};
use serde_json::{Value, json};

use super::support::*;
use crate::signing::{PUBLISHED_BEFORE, Purpose};
use crate::{
    Authenticated, CredentialRight, IdentityError, InvalidInput, IssuedSvid, SVID_TTL_MAX, TrustedDomain,
};

const HOUR: Duration = Duration::from_secs(3600);

fn domain() -> TrustDomain {
    TrustDomain::parse("one.example").unwrap()
}

async fn world() -> World {
    let world = World::new().await;
    world.identity.use_trust_domain(domain()).unwrap();
    world.create("web").await;
    world
}

async fn register(world: &World, name: &str) -> Result<SpiffeId, IdentityError> {
    let name = id(name);
    world.write(move |identity, tx| identity.register_workload(tx, &grant(), &name, SVID_TTL_MAX, None)).await
}

fn request() -> CertificateRequest {
    CertificateRequest::from_pem(&generate_request().unwrap().1).unwrap()
}

async fn certificate(
    world: &World,
    shown: Option<Authenticated>,
    ttl: Duration,
) -> Result<IssuedSvid, IdentityError> {
    world
        .write(move |identity, tx| {
            let permit = own(&id("web"));
            let right = (CredentialRight::Own(&permit), shown.as_ref());
            identity.issue_certificate(tx, right, &id("web"), (&request(), ttl), None)
        })
        .await
}

async fn bundle(world: &World) -> TrustBundle {
    let document = world.write(|identity, tx| identity.own_bundle(tx)).await.unwrap();
    TrustBundle::parse(document.to_string().as_bytes()).unwrap()
}

fn der(issued: &IssuedSvid) -> [Vec<u8>; 1] {
    [cert::pem_to_der(&issued.certificate).unwrap()]
}

#[tokio::test]
async fn a_workload_is_named_by_what_it_is_and_for_as_long_as_it_is_one() {
    let world = world().await;
    assert!(matches!(certificate(&world, None, HOUR).await, Err(IdentityError::NotAWorkload)));
    let name = register(&world, "web").await.unwrap();
    assert_eq!(name.to_string(), "spiffe://one.example/tenant/default/principal/web");
    let issued = certificate(&world, None, HOUR).await.unwrap();
    assert_eq!(issued.id, name);
    assert_eq!(issued.expires_at.as_secs(), world.identity.now().after(HOUR).as_secs());
    let now = world.identity.now();
    let found = bundle(&world).await.verify_certificates(&domain(), &der(&issued), now).unwrap();
    assert_eq!(found.id, name);
    for ttl in [Duration::ZERO, SVID_TTL_MAX + Duration::from_secs(1)] {
        let refused = certificate(&world, None, ttl).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(InvalidInput::Ttl { .. }))));
    }
    world.set_disabled("web", true).await.unwrap();
    assert!(matches!(certificate(&world, None, HOUR).await, Err(IdentityError::NotAWorkload)));
    world.set_disabled("web", false).await.unwrap();
    world.write(|identity, tx| identity.remove_workload(tx, &grant(), &id("web"), None)).await.unwrap();
    assert!(matches!(certificate(&world, None, HOUR).await, Err(IdentityError::NotAWorkload)));
    for verb in ["workload.registered", "svid.issued", "workload.removed"] {
        assert_eq!(world.count(verb).await, 1, "{verb}");
    }
}

#[tokio::test]
async fn names_that_do_not_fit_and_nodes_without_a_domain_are_refused() {
    let world = world().await;
    world.create("me@home").await;
    assert!(matches!(register(&world, "me@home").await, Err(IdentityError::UnnameableWorkload(_))));
    assert!(matches!(register(&world, "nobody").await, Err(IdentityError::NoSuchPrincipal)));
    let nameless = World::new().await;
    nameless.create("web").await;
    assert!(matches!(register(&nameless, "web").await, Err(IdentityError::NoTrustDomain)));
    let refused = nameless.write(|identity, tx| identity.own_bundle(tx)).await;
    assert!(matches!(refused, Err(IdentityError::NoTrustDomain)));
}

#[tokio::test]
async fn nobody_gets_documents_of_somebody_else_by_its_own_right() {
    let world = world().await;
    world.create("other").await;
    register(&world, "web").await.unwrap();
    let refused = world
        .write(|identity, tx| {
            let permit = own(&id("other"));
            let right = (CredentialRight::Own(&permit), None);
            identity.issue_certificate(tx, right, &id("web"), (&request(), HOUR), None)
        })
        .await;
    assert!(matches!(refused, Err(IdentityError::WrongPermit)));
}

#[tokio::test]
async fn no_document_outlives_the_token_by_which_it_was_asked_for() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    world.set_password("web", PASSWORD).await.unwrap();
    let by_password = world.login("web", PASSWORD).await.unwrap();
    let (token, info) = world.token(&by_password, 900).await.unwrap();
    let shown = world.identity.authenticate(token.expose()).await.unwrap();
    let issued = certificate(&world, Some(shown.clone()), HOUR).await.unwrap();
    assert_eq!(issued.expires_at.as_secs(), info.expires_at.as_secs());
    world.set_password("web", "another horse battery").await.unwrap();
    let refused = certificate(&world, Some(shown), HOUR).await;
    assert!(matches!(refused, Err(IdentityError::InvalidCredential(_))), "proven before the new password");
}

#[tokio::test]
async fn tokens_are_for_their_audience() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    let token = async |audience: &[&str]| {
        let audience: Vec<String> = audience.iter().map(|text| (*text).to_owned()).collect();
        world
            .write(move |identity, tx| {
                let permit = own(&id("web"));
                let right = (CredentialRight::Own(&permit), None);
                identity.issue_workload_token(tx, right, &id("web"), (&audience, HOUR), None)
            })
            .await
    };
    let issued = token(&["backend", "front"]).await.unwrap();
    let (bundle, now) = (bundle(&world).await, world.identity.now());
    for audience in ["backend", "front"] {
        let found = bundle.verify_token(&domain(), issued.token.expose(), audience, now).unwrap();
        assert_eq!(found.id, issued.id);
    }
    let other = bundle.verify_token(&domain(), issued.token.expose(), "other", now);
    assert_eq!(other, Err(CryptoError::Audience));
    for bad in [&[][..], &[""], &["a\nb"]] {
        let refused = token(bad).await;
        assert!(matches!(refused, Err(IdentityError::Invalid(InvalidInput::Audience { .. }))), "{bad:?}");
    }
    // It is none of the tokens that open the API.
    let refused = world.identity.authenticate(issued.token.expose()).await;
    assert!(matches!(refused, Err(IdentityError::InvalidCredential(_))));
}

#[tokio::test]
async fn documents_hold_over_a_rotation_until_it_is_one_at_once() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    let before = certificate(&world, None, HOUR).await.unwrap();
    let first = bundle(&world).await;
    let rotate = async |at_once: bool| {
        world
            .write(move |identity, tx| {
                identity.rotate_signing_key(tx, &of_tenants(), Purpose::Workloads, at_once, None)
            })
            .await
            .unwrap()
    };
    world.clock.advance(Duration::from_secs(1));
    let rotated = rotate(false).await;
    assert!(!rotated.is_active, "it is published first");
    let second = bundle(&world).await;
    assert!(second.sequence() > first.sequence());
    // Peers who have not asked for the bundle since go on knowing what is issued.
    world.clock.advance(PUBLISHED_BEFORE - Duration::from_secs(1));
    let meanwhile = certificate(&world, None, HOUR).await.unwrap();
    first.verify_certificates(&domain(), &der(&meanwhile), world.identity.now()).unwrap();
    world.clock.advance(Duration::from_secs(1));
    let after = certificate(&world, None, HOUR).await.unwrap();
    let now = world.identity.now();
    let listed = world.read(|identity, tx| identity.list_signing_keys(tx)).await.unwrap();
    let authorities: Vec<_> = listed.iter().filter(|key| key.purpose == Purpose::Workloads).collect();
    assert_eq!(authorities.iter().map(|key| key.is_active).collect::<Vec<_>>(), [false, true]);
    // The old one verifies for as long as what it signed last may live.
    assert_eq!(authorities[0].ends_at, Some(now.after(SVID_TTL_MAX)));
    for issued in [&before, &meanwhile, &after] {
        second.verify_certificates(&domain(), &der(issued), now).unwrap();
    }
    let unknown = first.verify_certificates(&domain(), &der(&after), now);
    assert_eq!(unknown, Err(CryptoError::UntrustedSigner));
    assert!(rotate(true).await.is_active);
    let third = bundle(&world).await;
    assert_eq!(third.authorities().len(), 1);
    let at_once = certificate(&world, None, HOUR).await.unwrap();
    third.verify_certificates(&domain(), &der(&at_once), now).unwrap();
    let gone = third.verify_certificates(&domain(), &der(&before), now);
    assert_eq!(gone, Err(CryptoError::UntrustedSigner));
}

#[tokio::test]
async fn an_authority_is_replaced_before_its_end() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    certificate(&world, None, HOUR).await.unwrap();
    let first = bundle(&world).await;
    world.clock.advance(Duration::from_secs(2 * 365 * 24 * 3600) - 31 * 24 * HOUR);
    certificate(&world, None, HOUR).await.unwrap();
    assert_eq!(bundle(&world).await.authorities(), first.authorities(), "there is time");
    world.clock.advance(2 * 24 * HOUR);
    let issued = certificate(&world, None, HOUR).await.unwrap();
    let both = bundle(&world).await;
    assert_eq!(both.authorities().len(), 2);
    let now = world.identity.now();
    both.verify_certificates(&domain(), &der(&issued), now).unwrap();
    first.verify_certificates(&domain(), &der(&issued), now).expect("the other is published first");
    certificate(&world, None, HOUR).await.unwrap();
    assert_eq!(bundle(&world).await.authorities().len(), 2, "one successor is enough");
    world.clock.advance(PUBLISHED_BEFORE);
    let (issued, now) = (certificate(&world, None, HOUR).await.unwrap(), world.identity.now());
    both.verify_certificates(&domain(), &der(&issued), now).unwrap();
    assert!(first.verify_certificates(&domain(), &der(&issued), now).is_err());
}

#[tokio::test]
async fn an_authority_that_has_ended_is_not_waited_for() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    certificate(&world, None, HOUR).await.unwrap();
    world.clock.advance(Duration::from_secs(2 * 365 * 24 * 3600));
    let issued = certificate(&world, None, HOUR).await.unwrap();
    let now = world.identity.now();
    bundle(&world).await.verify_certificates(&domain(), &der(&issued), now).unwrap();
}

#[tokio::test]
async fn authorities_that_are_rotated_often_sign_in_their_order() {
    let world = world().await;
    register(&world, "web").await.unwrap();
    certificate(&world, None, HOUR).await.unwrap();
    let active = async || {
        let listed = world.read(|identity, tx| identity.list_signing_keys(tx)).await.unwrap();
        let active: Vec<_> = listed.into_iter().filter(|key| key.is_active).map(|key| key.id).collect();
        active.into_iter().next_back().unwrap()
    };
    let mut order = vec![active().await];
    for _ in 0..2 {
        world.clock.advance(PUBLISHED_BEFORE / 2);
        let rotated = world.write(move |identity, tx| {
            identity.rotate_signing_key(tx, &of_tenants(), Purpose::Workloads, false, None)
        });
        order.push(rotated.await.unwrap().id);
    }
    for id in order {
        assert_eq!(active().await, id);
        world.clock.advance(PUBLISHED_BEFORE / 2);
    }
}

fn trusted(document: &Value) -> TrustedDomain {
    TrustedDomain {
        domain: TrustDomain::parse("two.example").unwrap(),
        bundle: document.to_string(),
        endpoint: Some("https://two.example/bundle".to_owned()),
        endpoint_certificates: None,
        refreshed_at: cm_types::Timestamp::from_micros(0),
    }
}

#[tokio::test]
async fn another_domain_is_trusted_by_its_bundle_and_never_by_an_older_one() {
    let (one, two) = (world().await, World::new().await);
    two.identity.use_trust_domain(TrustDomain::parse("two.example").unwrap()).unwrap();
    let document = two.write(|identity, tx| identity.own_bundle(tx)).await.unwrap();
    let trust = async |spec: TrustedDomain| {
        one.write(move |identity, tx| identity.trust_domain_of_others(tx, &of_tenants(), &spec, None)).await
    };
    let good = trusted(&document);
    trust(good.clone()).await.unwrap();
    for (bad, field) in [
        (TrustedDomain { domain: domain(), ..good.clone() }, "domain"),
        (TrustedDomain { endpoint: Some("http://two.example/".to_owned()), ..good.clone() }, "endpoint"),
        (
            TrustedDomain { endpoint_certificates: Some("PEM".to_owned()), ..good.clone() },
            "endpoint_certificates",
        ),
        (TrustedDomain { bundle: "{}".to_owned(), ..good.clone() }, "bundle"),
    ] {
        match trust(bad).await {
            Err(IdentityError::Invalid(InvalidInput::TrustDomain { field: found, .. })) => {
                assert_eq!(found, field);
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    let refresh = async |fetched_for: TrustedDomain, document: Value| {
        one.write(move |identity, tx| identity.refresh_domain(tx, &fetched_for, document.to_string(), None))
            .await
    };
    assert!(!refresh(good.clone(), document.clone()).await.unwrap(), "the same is no new one");
    let number = document["spiffe_sequence"].as_u64().unwrap();
    let with = |number: u64| {
        let mut document = document.clone();
        document["spiffe_sequence"] = json!(number);
        document
    };
    assert!(refresh(good.clone(), with(number + 1)).await.unwrap());
    assert!(refresh(good.clone(), with(number)).await.is_err(), "an older one");
    assert!(refresh(good.clone(), json!({ "keys": [] })).await.is_err(), "none at all");
    let elsewhere = TrustedDomain { endpoint: Some("https://three.example/".to_owned()), ..good.clone() };
    assert!(!refresh(elsewhere, with(number + 2)).await.unwrap(), "fetched from where it is no more");
    let kept = one.read(|identity, tx| identity.trusted_domains(tx)).await.unwrap();
    assert_eq!(kept[0].bundle().unwrap().sequence(), Some(number + 1));
    let name = good.domain.clone();
    one.write(move |identity, tx| identity.distrust_domain(tx, &of_tenants(), &name, None)).await.unwrap();
    assert!(!refresh(good.clone(), with(number + 2)).await.unwrap(), "trusted no more");
    assert!(one.read(|identity, tx| identity.trusted_domains(tx)).await.unwrap().is_empty());
}
