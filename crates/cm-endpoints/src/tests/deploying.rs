//! From cold to warm, and what keeps an endpoint from it.

use std::time::Instant;

use cm_kernel::catalog::CatalogError;
use cm_kernel::catalog::kinds::Function;
use cm_kernel::policy::Update as UpdatePermit;
use cm_kernel::{ErrorClass, KernelError};

use super::simulated::Mood;
use super::*;
use crate::{FunctionStatus, News};

#[tokio::test]
async fn an_endpoint_is_warmed_and_cooled() {
    let house = House::open().await;
    house.create("e", &endpoint()).await;
    let record = house.deploy("e").await.unwrap();
    assert_eq!(record.status["state"], "warming");
    assert!(record.status["req_res_port"].is_u64() && record.status["pubsub_port"].is_u64());
    let warm = house.until("e", "warm").await;
    assert_eq!(warm["node"], "this-node");
    assert_eq!(warm["launcher"], "simulated");
    assert_eq!(warm["req_res_port"], record.status["req_res_port"]);
    let cold = house.detach("e").await.unwrap().status;
    assert_eq!((&cold["state"], &cold["reason"]), (&json!("cold"), &json!("detached")));
    assert!(cold.get("req_res_port").is_none(), "a cold endpoint has ports: {cold}");
    let states = house.states("e").await;
    let names: Vec<&str> = states.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(names, ["warming", "warm", "draining", "cold"]);
    for (state, metadata) in &states {
        assert_eq!(metadata["launcher"], "simulated", "{state}");
        assert_eq!(metadata["runs_image"], "false", "{state}");
        assert_eq!(metadata["req_res_port"], record.status["req_res_port"].to_string(), "{state}");
    }
    assert_eq!((&states[2].1["reason"], &states[2].1["by"]), (&json!("detached"), &json!("admin")));
    // And again.
    house.deploy("e").await.unwrap();
    house.until("e", "warm").await;
    assert_eq!(house.endpoints.deployed_count(), 1);
}

#[tokio::test]
async fn an_endpoint_is_created_and_deployed_at_once() {
    let house = House::open().await;
    let record = house.create_deployed("e", &endpoint()).await.unwrap();
    assert_eq!(record.status["state"], "warming");
    assert_eq!(record.header.updated_at, record.header.created_at);
    house.until("e", "warm").await;
    assert_eq!(house.state_names("e").await, ["warming", "warm"]);
}

#[tokio::test]
async fn a_failed_launch_says_why_and_takes_no_place() {
    let house = House::open_with(|config| config.quota.endpoints_max = 1).await;
    house.launcher.set(Mood::Failing);
    house.create_deployed("bad", &endpoint()).await.unwrap();
    let cold = house.until("bad", "cold").await;
    let reason = cold["reason"].as_str().unwrap();
    assert!(reason.contains("it was told to fail"), "{reason}");
    let states = house.states("bad").await;
    assert_eq!(states.last().unwrap().1["reason"], *reason);
    house.launcher.set(Mood::Willing);
    house.create_deployed("good", &endpoint()).await.unwrap();
    house.until("good", "warm").await;
}

#[tokio::test]
async fn a_dead_launcher_delays_nobody() {
    let house = House::open_with(|config| {
        config.launches_max = 1;
        config.launch_timeout = Duration::from_millis(300);
    })
    .await;
    house.launcher.set(Mood::Dead);
    let began = Instant::now();
    for id in ["a", "b"] {
        house.create_deployed(id, &endpoint()).await.unwrap();
    }
    // Both were answered although the first one still holds the only turn to launch.
    assert_eq!(house.status("b").await["state"], "warming");
    assert!(house.launcher.servers().len() <= 1 || began.elapsed() >= Duration::from_millis(300));
    for id in ["a", "b"] {
        let cold = house.until(id, "cold").await;
        assert!(cold["reason"].as_str().unwrap().contains("did not serve within 300 ms"), "{cold}");
    }
}

#[tokio::test]
async fn a_slow_launch_can_be_given_up() {
    let house = House::open_with(|config| config.launches_max = 1).await;
    house.launcher.set(Mood::Slow);
    house.create_deployed("slow", &endpoint()).await.unwrap();
    house.launcher.launched(1).await;
    house.create_deployed("waiting", &endpoint()).await.unwrap();
    let cold = house.detach("slow").await.unwrap().status;
    assert_eq!(cold["state"], "cold");
    assert!(cold["reason"].as_str().unwrap().starts_with("detached"), "{cold}");
    // The one behind it is launched next.
    house.launcher.launched(2).await;
    house.launcher.allowed.send_replace(true);
    house.until("waiting", "warm").await;
    assert_eq!(house.state_names("slow").await, ["warming", "cold"]);
}

#[tokio::test]
async fn steps_that_do_not_lead_on_are_conflicts() {
    let house = House::open().await;
    let from_to = |outcome: Result<Record, EndpointError>| match outcome {
        Err(EndpointError::Kernel(error)) => {
            assert_eq!(error.class(), ErrorClass::Conflict);
            match error {
                KernelError::Catalog(CatalogError::IllegalTransition { from, to, .. }) => (from, to),
                error => panic!("{error:?}"),
            }
        }
        outcome => panic!("{outcome:?}"),
    };
    house.create("e", &endpoint()).await;
    assert_eq!(from_to(house.detach("e").await), ("cold".into(), "draining".into()));
    house.launcher.set(Mood::Slow);
    house.deploy("e").await.unwrap();
    assert_eq!(from_to(house.deploy("e").await), ("warming".into(), "warming".into()));
    house.launcher.allowed.send_replace(true);
    house.until("e", "warm").await;
    assert_eq!(from_to(house.deploy("e").await), ("warm".into(), "warming".into()));
    assert_eq!(house.state_names("e").await, ["warming", "warm"]);
}

#[tokio::test]
async fn an_endpoint_is_told_of_its_functions() {
    let house = House::open().await;
    house.create_deployed("e", &endpoint()).await.unwrap();
    house.until("e", "warm").await;
    let server = house.launcher.launched(1).await.remove(0);
    let on = Function { endpoint_id: Some(ResourceId::parse("e").unwrap()), ..Function::default() };
    house.create("f", &on).await;
    house.create("elsewhere", &Function::default()).await;
    let told = |status: &str| {
        let function = FunctionStatus {
            function_id: ResourceId::parse("f").unwrap(),
            deployment_status: status.to_owned(),
        };
        News::Functions { functions: vec![function] }
    };
    let all = server.until_told(|all| all.contains(&told("initiated"))).await;
    assert!(matches!(&all[0], News::State(moment) if moment.state == "warm"), "{all:?}");
    let (_, permit) =
        house.kernel.look_up::<UpdatePermit>(&house.admin, ResourceKind::Function, "f").await.unwrap();
    let id = ResourceId::parse("f").unwrap();
    let status = json!({ "deployment_status": "deploying" });
    house.kernel.set_record_status(&house.admin, &permit, &id, status).await.unwrap();
    server.until_told(|all| all.contains(&told("deploying"))).await;
}
