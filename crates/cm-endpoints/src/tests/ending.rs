//! How deployments end: by themselves, with their node, or with their record.

use std::collections::BTreeMap;

use cm_kernel::catalog::kinds::Function;
use cm_kernel::catalog::{CatalogError, Dependents};
use cm_kernel::policy::Delete;
use cm_kernel::{DeploymentStep, DeploymentTerms, ErrorClass, KernelError};

use super::simulated::Mood;
use super::*;
use crate::Ended;

#[tokio::test]
async fn a_server_that_ends_by_itself_makes_its_endpoint_cold() {
    let house = House::open_with(|config| config.quota.endpoints_max = 1).await;
    for (how, text) in [(Ended::Exited(3), "status 3"), (Ended::Killed(9), "signal 9")] {
        let id = format!("e{}", text.replace(' ', ""));
        house.create_deployed(&id, &endpoint()).await.unwrap();
        house.until(&id, "warm").await;
        house.launcher.servers().last().unwrap().ended.send_replace(Some(how));
        let cold = house.until(&id, "cold").await;
        assert!(cold["reason"].as_str().unwrap().contains(text), "{cold}");
        assert_eq!(house.state_names(&id).await, ["warming", "warm", "cold"]);
    }
}

#[tokio::test]
async fn a_server_that_does_not_finish_is_killed() {
    let house = House::open_with(|config| config.drain_timeout = Duration::from_millis(100)).await;
    house.launcher.set(Mood::Stubborn);
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
    let cold = house.detach("e").await.unwrap().status;
    assert_eq!(cold["reason"], "detached; the server did not finish within 100 ms");
    assert_eq!(*house.launcher.servers()[0].ended.borrow(), Some(Ended::Killed(9)));
}

#[tokio::test]
async fn a_server_that_does_not_listen_ends_within_the_same_time() {
    let house = House::open_with(|config| config.drain_timeout = Duration::from_millis(100)).await;
    house.launcher.set(Mood::Deaf);
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
    let cold =
        tokio::time::timeout(PATIENCE, house.detach("e")).await.expect("it has to end").unwrap().status;
    assert_eq!(cold["reason"], "detached; the server did not finish within 100 ms");
}

#[tokio::test]
async fn two_who_detach_wait_for_the_same_end() {
    let house = House::open_with(|config| config.drain_timeout = Duration::from_millis(300)).await;
    house.launcher.set(Mood::Stubborn);
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
    let (first, second) = tokio::join!(house.detach("e"), house.detach("e"));
    assert_eq!(
        (&first.unwrap().status["state"], &second.unwrap().status["state"]),
        (&json!("cold"), &json!("cold"))
    );
    assert_eq!(house.state_names("e").await, ["warming", "warm", "draining", "cold"]);
}

#[tokio::test]
async fn a_stopping_node_makes_its_endpoints_cold() {
    let house = House::open().await;
    house.create_deployed("warm", &endpoint()).await.unwrap();
    house.until("warm", "warm").await;
    house.launcher.set(Mood::Dead);
    house.create_deployed("warming", &endpoint()).await.unwrap();
    let drained = tokio::time::timeout(PATIENCE, house.endpoints.drain(Duration::from_secs(1)));
    drained.await.expect("the endpoints did not end");
    for id in ["warm", "warming"] {
        let status = house.status(id).await;
        assert_eq!(status["state"], "cold", "{id}");
        assert!(status["reason"].as_str().unwrap().starts_with("the node was stopped"), "{status}");
    }
    assert_eq!(house.endpoints.deployed_count(), 0);
    house.create("late", &endpoint()).await;
    assert!(matches!(house.deploy("late").await, Err(EndpointError::Draining)));
    assert_eq!(house.tasks.drain(PATIENCE).await, cm_runtime::Drained::All);
}

#[tokio::test]
async fn what_a_crashed_node_left_is_made_cold_by_itself_alone() {
    let house = House::open_with(|config| config.quota.endpoints_max = 2).await;
    let other_config = EndpointsConfig { node: "another-node".to_owned(), ..config() };
    let launcher = house.launcher.clone();
    let other = Endpoints::open(house.kernel.clone(), &house.tasks, other_config, launcher).await.unwrap();
    house.launcher.set(Mood::Dead);
    house.create_deployed("mine", &endpoint()).await.unwrap();
    house.create("theirs", &endpoint()).await;
    let (record, permit) = house.look_up::<Update>("theirs").await;
    other.deploy(&house.admin, &record, &permit).await.unwrap();

    // The service is opened anew, as a restarted node does.
    let launcher = Arc::new(Simulated::default());
    let config = EndpointsConfig { quota: house.config.quota, ..super::config() };
    let restarted =
        Endpoints::open(house.kernel.clone(), &house.tasks, config, launcher.clone()).await.unwrap();
    let mine = house.status("mine").await;
    assert_eq!((&mine["state"], &mine["reason"]), (&json!("cold"), &json!("the node was restarted")));
    assert_eq!(house.status("theirs").await["state"], "warming");
    // Its place is free again, and another node's endpoints count as before.
    let (record, permit) = house.look_up::<Update>("mine").await;
    restarted.deploy(&house.admin, &record, &permit).await.unwrap();
    house.until("mine", "warm").await;
    let (record, permit) = house.look_up::<Update>("theirs").await;
    let outcome = restarted.detach(&house.admin, &record, &permit).await;
    assert!(matches!(outcome, Err(EndpointError::Elsewhere { node, .. }) if node == "another-node"));
}

#[tokio::test]
async fn a_late_word_about_an_earlier_deployment_has_no_effect() {
    let house = House::open().await;
    let (first, _) = (house.create_deployed("e", &endpoint()).await.unwrap(), house.until("e", "warm").await);
    let earlier = house.kernel.deployment_of(&first).await.unwrap().unwrap();
    house.detach("e").await.unwrap();
    assert_eq!(house.kernel.deployment_of(&first).await.unwrap(), None);
    house.deploy("e").await.unwrap();
    house.until("e", "warm").await;
    for step in [DeploymentStep::Warm, DeploymentStep::Draining, DeploymentStep::Cold] {
        let late = house.kernel.advance_deployment(&house.admin, &earlier, step, BTreeMap::new()).await;
        assert!(matches!(late, Err(KernelError::NotDeployed(_))), "{late:?}");
    }
    assert_eq!(house.status("e").await["state"], "warm");
}

#[tokio::test]
async fn who_detaches_at_once_waits_for_what_was_just_decided() {
    let house = House::open().await;
    house.create("e", &endpoint()).await;
    // As in the moment when the kernel has decided and the task is not there yet.
    let deciding = house.endpoints.0.deciding.lock().await;
    let (record, permit) = house.look_up::<Update>("e").await;
    let terms = DeploymentTerms {
        node: house.config.node.clone(),
        req_res_port: 1,
        pubsub_port: 2,
        facts: BTreeMap::new(),
        quota: house.config.quota,
    };
    house.kernel.begin_deployment(&house.admin, &permit, &record.header.id, terms).await.unwrap();
    let mut detach = std::pin::pin!(house.detach("e"));
    assert!(tokio::time::timeout(Duration::from_millis(200), detach.as_mut()).await.is_err());
    assert_eq!(house.status("e").await["state"], "warming", "what was being begun was taken for a leftover");
    // Where no task came of it, it is one.
    drop(deciding);
    assert_eq!(detach.await.unwrap().status["reason"], "its server is gone");
}

#[tokio::test]
async fn a_deployed_endpoint_is_not_deleted_before_it_has_ended() {
    let house = House::open().await;
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
    let (record, permit) = house.look_up::<Delete>("e").await;
    let delete =
        |dependents| house.kernel.delete_record(&house.admin, &permit, &record.header.id, None, dependents);
    let outcome = delete(Dependents::Refuse).await;
    assert!(
        matches!(&outcome, Err(error @ KernelError::StillDeployed(_)) if error.class() == ErrorClass::Conflict)
    );

    // What would be refused anyway ends nothing.
    let on = Function { endpoint_id: Some(ResourceId::parse("e").unwrap()), ..Function::default() };
    house.create("f", &on).await;
    let end = |dependents| house.endpoints.end_before_deletion(&house.admin, &record, &permit, dependents);
    let outcome = end(Dependents::Refuse).await;
    let referenced = |error: &EndpointError| {
        matches!(error, EndpointError::Kernel(KernelError::Catalog(CatalogError::StillReferenced { .. })))
    };
    assert!(outcome.as_ref().is_err_and(referenced), "{outcome:?}");
    assert_eq!(house.status("e").await["state"], "warm");

    let ended = end(Dependents::Orphan).await.unwrap();
    assert_eq!(ended.status["state"], "cold");
    delete(Dependents::Orphan).await.unwrap();
    let gone = house.kernel.look_up::<Read>(&house.admin, ResourceKind::Endpoint, "e").await;
    assert!(matches!(gone, Err(KernelError::NotFound(_))));
    // The same id begins anew.
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
}
