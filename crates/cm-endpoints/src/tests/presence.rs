//! What other nodes on the same catalogue leave behind.

use std::collections::BTreeMap;

use cm_kernel::DeploymentTerms;

use super::*;

/// An endpoint that another node has deployed.
async fn deployed_on(house: &House, node: &str) {
    house.create(node, &endpoint()).await;
    let (_, permit) = house.look_up::<Update>(node).await;
    let terms = DeploymentTerms {
        node: node.to_owned(),
        req_res_port: 1,
        pubsub_port: 2,
        facts: BTreeMap::new(),
        quota: house.config.quota,
    };
    let id = ResourceId::parse(node).unwrap();
    house.kernel.begin_deployment(&house.admin, &permit, &id, terms).await.unwrap();
}

#[tokio::test]
async fn what_a_node_that_is_gone_deployed_becomes_cold() {
    let house = House::open_with(|config| config.quota.endpoints_max = 2).await;
    deployed_on(&house, "gone").await;
    deployed_on(&house, "alive").await;
    let lease = house.kernel.leases().acquire("node/alive", PATIENCE).await.unwrap().unwrap();
    house.endpoints.end_abandoned().await.unwrap();
    let cold = house.status("gone").await;
    assert_eq!((&cold["state"], &cold["reason"]), (&json!("cold"), &json!("its node is gone")));
    assert_eq!(house.status("alive").await["state"], "warming");
    // Its place under the limit is free again.
    house.create_deployed("here", &endpoint()).await.unwrap();
    house.until("here", "warm").await;
    house.kernel.leases().release(lease).await.unwrap();
    house.endpoints.end_abandoned().await.unwrap();
    assert_eq!(house.status("alive").await["state"], "cold");
    assert_eq!(house.status("here").await["state"], "warm", "this node's own are its own to judge");
}

#[tokio::test]
async fn a_node_says_that_it_is_there() {
    let house = House::open().await;
    let holder = async {
        while house.kernel.leases().holder("node/this-node").await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, holder).await.expect("the lease is taken");
}
