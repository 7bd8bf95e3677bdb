use std::sync::Arc;

use cm_runtime::Tasks;
use cm_types::PrincipalId;

use super::support::*;
use crate::identity::API_KEYS_MAX;
use crate::{
    Credential, Identity, IdentityError, NodeKeyError, NodeKeys, PrincipalChange, recorded_node_key,
};

#[tokio::test]
async fn the_first_start_makes_an_administrator_with_a_key() {
    let world = World::new().await;
    let admin = world.identity.authenticate(world.admin_key.expose()).await.unwrap();
    assert_eq!(admin.principal().id, PrincipalId::admin());
    assert_eq!(admin.principal().roles, [role("admin")]);
    assert!(matches!(admin.credential(), Credential::ApiKey { .. }));
    assert!(!admin.principal().has_password);
    assert_eq!(world.count("principal.created").await, 1);
    assert_eq!(world.count("api-key.created").await, 1);
}

#[tokio::test]
async fn later_starts_change_nothing() {
    let world = World::new().await;
    let before = world.events().await;
    let again = world.write(|identity, tx| identity.bootstrap(tx)).await.unwrap();
    assert!(again.is_none());
    assert_eq!(world.events().await, before);
    let recorded = world.read(|_, tx| Ok(recorded_node_key(tx)?)).await.unwrap();
    assert_eq!(recorded, Some(world.identity.keys().key_id()));
}

#[tokio::test]
async fn data_of_another_nodes_keys_is_refused() {
    let world = World::new().await;
    let temp = tempfile::tempdir().unwrap();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let other = Arc::new(NodeKeys::open_or_create(&temp.path().join("keys"), None, now).unwrap());
    let events = world.identity.events().clone();
    let clock = Arc::new(world.clock.clone());
    let stranger = Identity::new(world.db.clone(), events, clock, other, Tasks::new());
    let error = world.db.write(move |tx| stranger.bootstrap(tx)).await.unwrap_err();
    assert!(matches!(error, IdentityError::NodeKeys(NodeKeyError::Mismatch { .. })), "{error:?}");
}

#[tokio::test]
async fn the_administrator_is_let_in_again_whatever_happened() {
    let world = World::new().await;
    let recover = async || {
        let key = world.write(|identity, tx| identity.recover_admin(tx)).await.unwrap();
        let admin = world.identity.authenticate(key.expose()).await.unwrap();
        assert_eq!(admin.principal().roles, [role("admin")]);
        key
    };
    recover().await;
    assert_eq!(world.refusal(world.admin_key.expose()).await, None, "other keys stay");
    for _ in 2..API_KEYS_MAX {
        world.api_key("admin").await.unwrap();
    }
    world.create_with("second", &["admin"], Some(grant())).await.unwrap();
    world.api_key("second").await.unwrap();
    let change = PrincipalChange { roles: Some(vec![]), disabled: Some(true), ..PrincipalChange::default() };
    world.update("admin", change).await.unwrap();
    recover().await;
    world.delete("admin").await.unwrap();
    let last = recover().await;
    assert_eq!(world.refusal(last.expose()).await, None);
    assert_eq!(world.count("principal.recovered").await, 3);
}
