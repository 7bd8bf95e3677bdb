use cm_crypto::Secret;
use cm_db::WriteTx;
use cm_types::TrustDomain;

use super::support::*;
use crate::signing::{PublicKey, Purpose};
use crate::table::{SigningKeyRow, SigningKeys};
use crate::{Identity, IdentityError, MasterKey};

#[tokio::test]
async fn keys_take_turns_and_are_listed_without_being_shown() {
    let world = World::new().await;
    for purpose in Purpose::ALL {
        let rotate = || {
            world.write(move |identity, tx| {
                identity.rotate_signing_key(tx, &of_tenants(), purpose, false, None)
            })
        };
        let first = rotate().await.unwrap();
        world.advance(1);
        let second = rotate().await.unwrap();
        assert_ne!(first.id, second.id);
        let listed = world.read(|identity, tx| identity.list_signing_keys(tx)).await.unwrap();
        let of_purpose: Vec<_> = listed.into_iter().filter(|key| key.purpose == purpose).collect();
        assert_eq!(of_purpose.len(), 2);
        assert!(of_purpose[0].ends_at.is_some() && of_purpose[1].ends_at.is_none());
        let public = world.read(move |identity, tx| identity.public_keys(tx, purpose)).await.unwrap();
        assert_eq!(public.len(), if purpose == Purpose::Xolo { 0 } else { 2 }, "{purpose}");
        assert_eq!(
            matches!(public.first(), Some((_, PublicKey::Authority(_)))),
            purpose == Purpose::Workloads
        );
    }
    world.advance(40 * 24 * 3600);
    let listed = world.read(|identity, tx| identity.list_signing_keys(tx)).await.unwrap();
    assert_eq!(listed.len(), Purpose::ALL.len(), "what has ended is not listed");
    assert_eq!(world.count("signing-key.created").await, 8);
}

#[tokio::test]
async fn keys_are_sealed_and_open_under_their_master_key_only() {
    let world = World::new().await;
    let master = MasterKey::new(&Secret::new([7; 32]));
    let name = master.name().to_owned();
    world.identity.use_master_key(master).unwrap();
    assert!(world.identity.use_master_key(MasterKey::new(&Secret::new([8; 32]))).is_err());
    let key = world
        .write(|identity, tx| identity.rotate_signing_key(tx, &of_tenants(), Purpose::Tokens, false, None))
        .await
        .unwrap();
    assert_eq!(key.master, name);
    // Another node that was given another master key.
    world
        .write(move |_, tx| {
            let place = ("tokens".to_owned(), key.id.clone());
            let mut row = tx.get::<SigningKeys>(&place)?.unwrap();
            assert!(!row.sealed.contains("PRIVATE"));
            row.sealed.replace_range(20..21, if &row.sealed[20..21] == "A" { "B" } else { "A" });
            Ok(tx.put::<SigningKeys>(&place, &row)?)
        })
        .await
        .unwrap();
    let found = world.read(|identity, tx| identity.public_keys(tx, Purpose::Tokens)).await;
    assert_eq!(found.unwrap().len(), 0, "what does not open is left out");
    let active = world.write(|identity, tx| identity.active_key(tx, Purpose::Tokens).map(|_| ())).await;
    assert!(matches!(active, Err(IdentityError::MasterKey { expected }) if expected == name));
    // Others are as good as ever.
    let rotate = |identity: &Identity, tx: &mut WriteTx<'_>| {
        identity.rotate_signing_key(tx, &of_tenants(), Purpose::Tokens, false, None)
    };
    let second = world.write(rotate).await.unwrap();
    let found = world.read(|identity, tx| identity.public_keys(tx, Purpose::Tokens)).await.unwrap();
    assert_eq!(found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [second.id.as_str()]);
}

#[tokio::test]
async fn a_bundle_holds_the_keys_that_open() {
    let world = World::new().await;
    world.identity.use_trust_domain(TrustDomain::parse("mesh.example").unwrap()).unwrap();
    let bundle = async || world.write(|identity, tx| identity.own_bundle(tx)).await;
    let keys = |bundle: &serde_json::Value| bundle["keys"].as_array().unwrap().len();
    assert_eq!(keys(&bundle().await.unwrap()), 2);
    world
        .write(|identity, tx| {
            identity.rotate_signing_key(tx, &of_tenants(), Purpose::WorkloadTokens, false, None)
        })
        .await
        .unwrap();
    assert_eq!(keys(&bundle().await.unwrap()), 3);
    world.break_key(Purpose::WorkloadTokens, true).await;
    assert_eq!(keys(&bundle().await.unwrap()), 2);
    world.break_key(Purpose::WorkloadTokens, false).await;
    assert!(matches!(bundle().await, Err(IdentityError::MasterKey { .. })));
}

impl World {
    /// Makes the retired keys of a purpose, or the active one, such that they do not open.
    async fn break_key(&self, purpose: Purpose, retired: bool) {
        let broken = self.write(move |identity, tx| {
            for key in identity.list_signing_keys(tx)? {
                let place = (purpose.as_str().to_owned(), key.id.clone());
                if key.purpose == purpose && key.retired_at.is_some() == retired {
                    let row = tx.get::<SigningKeys>(&place)?.unwrap();
                    tx.put::<SigningKeys>(&place, &SigningKeyRow { sealed: "AAAA".to_owned(), ..row })?;
                }
            }
            // As of a node that was started anew.
            identity.forget_opened();
            Ok(())
        });
        broken.await.unwrap();
    }
}
