use cm_crypto::Secret;

use super::support::*;
use crate::signing::{PublicKey, Purpose};
use crate::table::SigningKeys;
use crate::{IdentityError, MasterKey};

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
    assert!(matches!(found, Err(IdentityError::MasterKey { expected }) if expected == name));
}
