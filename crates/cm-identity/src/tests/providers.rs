use std::collections::BTreeMap;
use std::time::Duration;

use cm_crypto::Secret;

use super::support::*;
use crate::table::{ExternalRow, Externals, PrincipalRow, Principals};
use crate::{
    Authenticated, CredentialProblem, CredentialRight, External, IdentityError, NewSession, PrincipalChange,
    Provider, SessionKind,
};

fn provider() -> Provider {
    Provider {
        id: role("idp"),
        issuer: "https://id.example.com".to_owned(),
        audience: "mesh".to_owned(),
        algorithms: vec!["ES256".to_owned()],
        keys_url: None,
        claim: "groups".to_owned(),
        roles: BTreeMap::from([("staff".to_owned(), vec![role("reader")])]),
    }
}

async fn set(world: &World) {
    world
        .write(|identity, tx| identity.set_provider(tx, &of_tenants(), &tenant(), provider(), None))
        .await
        .unwrap();
}

async fn delete(world: &World) {
    world
        .write(|identity, tx| identity.delete_provider(tx, &of_tenants(), (&tenant(), &provider().id), None))
        .await
        .unwrap();
}

async fn admit(world: &World, subject: &str) -> Authenticated {
    let expires_at = world.identity.now().after(Duration::from_secs(3600));
    let external = External { subject: subject.to_owned(), roles: vec![role("reader")], expires_at };
    world
        .write(move |identity, tx| identity.admit_external(tx, &tenant(), (&provider(), &external), None))
        .await
        .unwrap()
}

async fn row_of(world: &World, who: &Authenticated) -> PrincipalRow {
    let id = who.principal().id.clone();
    world.read(move |_, tx| Ok(tx.get::<Principals>(&(tenant(), id))?)).await.unwrap().unwrap()
}

#[tokio::test]
async fn whom_a_provider_vouches_for_gets_no_credential_that_outlives_it() {
    let world = World::new().await;
    set(&world).await;
    let ada = admit(&world, "ada").await;
    let name = ada.principal().id.clone();
    let hash = world.identity.hash_password(Secret::new(PASSWORD.to_owned())).await.unwrap();
    let own_password = {
        let (name, hash) = (name.clone(), hash.clone());
        world.write(move |identity, tx| {
            identity.set_password(tx, CredentialRight::Own(&own(&name)), &name, hash, None)
        })
    };
    assert!(matches!(own_password.await, Err(IdentityError::Vouched)));
    for s3 in [false, true] {
        let name = name.clone();
        let outcome = world.write(move |identity, tx| {
            let permit = own(&name);
            let right = CredentialRight::Own(&permit);
            match s3 {
                false => identity.create_api_key(tx, right, &name, "mine", None),
                true => identity.create_s3_key(tx, right, &name, "mine", None),
            }
        });
        assert!(matches!(outcome.await, Err(IdentityError::Vouched)), "S3: {s3}");
    }
    // Nor does anybody else give it one.
    assert!(matches!(world.api_key(name.as_str()).await, Err(IdentityError::Vouched)));
    let (token, _) = world.token(&ada, 600).await.unwrap();
    let shown = world.identity.authenticate(token.expose()).await.unwrap();
    for proof in [ada, shown] {
        let new = NewSession { kind: SessionKind::Api, label: String::new(), ttl: Duration::from_secs(600) };
        let outcome = world.write(move |identity, tx| identity.begin_session(tx, &proof, new, None)).await;
        assert!(matches!(outcome, Err(IdentityError::Vouched)), "{outcome:?}");
    }
}

#[tokio::test]
async fn distrust_takes_what_the_provider_gave_and_nothing_else() {
    let world = World::new().await;
    world.create("bystander").await;
    set(&world).await;
    let (ada, eve) = (admit(&world, "ada").await, admit(&world, "eve").await);
    // People gave one of them a role besides.
    let roles = vec![role("reader"), role("writer")];
    let change = PrincipalChange { roles: Some(roles), ..PrincipalChange::default() };
    world.update(ada.principal().id.as_str(), change).await.unwrap();
    // A key of before such principals could have none.
    let holder = eve.principal().id.clone();
    let key = world
        .write(move |identity, tx| {
            let external = tx.get::<Externals>(&(tenant(), holder.clone()))?.unwrap();
            tx.delete::<Externals>(&(tenant(), holder.clone()))?;
            let made =
                identity.create_api_key(tx, CredentialRight::Granted(&grant()), &holder, "old", None)?;
            tx.put::<Externals>(&(tenant(), holder), &ExternalRow { ..external })?;
            Ok(made.0)
        })
        .await
        .unwrap();
    assert_eq!(world.refusal(key.expose()).await, None);
    let before = row_of(&world, &ada).await;
    delete(&world).await;
    let after = row_of(&world, &ada).await;
    assert_eq!(after.roles, [role("writer")]);
    assert_ne!(after.credential_epoch, before.credential_epoch);
    assert_eq!(row_of(&world, &eve).await.roles, []);
    assert_eq!(world.refusal(key.expose()).await, Some(CredentialProblem::UnknownKey));
    // Without a provider it gets no credential either.
    let outcome = world.api_key(ada.principal().id.as_str()).await;
    assert!(matches!(outcome, Err(IdentityError::Vouched)), "{outcome:?}");
}

#[tokio::test]
async fn another_trust_does_not_revive_what_an_earlier_one_let_in() {
    let world = World::new().await;
    set(&world).await;
    let ada = admit(&world, "ada").await;
    let (token, _) = world.token(&ada, 600).await.unwrap();
    let shown = world.identity.authenticate(token.expose()).await.unwrap();
    let (derived, _) = world.token(&shown, 600).await.unwrap();
    assert_eq!(world.refusal(derived.expose()).await, None);
    set(&world).await;
    // Even for somebody whose epoch were the one of before: the trust is another one.
    let (id, epoch) = (ada.principal().id.clone(), ada.principal().credential_epoch.clone());
    world
        .write(move |_, tx| {
            let row = tx.get::<Principals>(&(tenant(), id.clone()))?.unwrap();
            Ok(tx.put::<Principals>(&(tenant(), id), &PrincipalRow { credential_epoch: epoch, ..row })?)
        })
        .await
        .unwrap();
    for text in [&token, &derived] {
        assert_eq!(world.refusal(text.expose()).await, Some(CredentialProblem::Revoked));
    }
    let (token, _) = world.token(&admit(&world, "ada").await, 600).await.unwrap();
    assert_eq!(world.refusal(token.expose()).await, None);
    delete(&world).await;
    set(&world).await;
    assert_eq!(world.refusal(token.expose()).await, Some(CredentialProblem::Revoked));
}
