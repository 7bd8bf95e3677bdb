use super::*;
use crate::tests::{LONG, cluster};

#[tokio::test]
async fn one_client_uses_up_nobody_elses_messages() {
    let nodes = cluster(1, LONG).await;
    let computations = &nodes[0].computations;
    assert_eq!(computations.use_message("ada", b"first").await.unwrap(), MessageUse::First);
    let at = nodes[0].kernel.now();
    let filled = computations.0.journal.db().write(move |tx| {
        for message in 1..MESSAGES_MAX {
            tx.put::<Used>(&used_key("ada", message.to_string().as_bytes()).1, &UsedRow { at })?;
        }
        Ok::<_, cm_db::DbError>(())
    });
    filled.await.unwrap();
    assert_eq!(computations.use_message("ada", b"7").await.unwrap(), MessageUse::Again);
    assert_eq!(computations.use_message("ada", b"one more").await.unwrap(), MessageUse::Full);
    assert_eq!(computations.use_message("eve", b"7").await.unwrap(), MessageUse::First);
}

#[tokio::test]
async fn a_key_that_two_claim_is_disputed_until_one_proves_it() {
    let nodes = cluster(1, LONG).await;
    let computations = &nodes[0].computations;
    let claim = |principal: &str, proven| Client {
        public_key: "04ab".to_owned(),
        hostname: String::new(),
        alias: String::new(),
        description: String::new(),
        health: "healthy".to_owned(),
        tenant: TenantId::default_tenant(),
        principal: principal.parse().unwrap(),
        proven,
        disputed: false,
    };
    let register = |principal, proven| computations.register_client(claim(principal, proven));
    assert_eq!(register("eve", false).await.unwrap(), Registered::New);
    assert_eq!(register("eve", false).await.unwrap(), Registered::Taken);
    assert!(!computations.clients().await.unwrap()[0].disputed, "nobody else claims it");
    assert_eq!(register("ada", false).await.unwrap(), Registered::Taken);
    assert!(computations.clients().await.unwrap()[0].disputed);
    assert_eq!(register("ada", true).await.unwrap(), Registered::New);
    assert_eq!(register("eve", false).await.unwrap(), Registered::Taken);
    assert_eq!(computations.clients().await.unwrap(), [claim("ada", true)]);
}
