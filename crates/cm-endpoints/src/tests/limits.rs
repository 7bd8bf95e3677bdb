//! What a tenant may have deployed, and that no two endpoints have the same ports.

use std::collections::BTreeSet;

use cm_kernel::{ErrorClass, KernelError, QuotaKind};

use super::simulated::Mood;
use super::*;

#[track_caller]
fn reached(outcome: Result<Record, EndpointError>) -> (QuotaKind, u64, u64, u64) {
    match outcome {
        Err(EndpointError::Kernel(error)) => {
            assert!(matches!(error.class(), ErrorClass::TooMany { .. }));
            match error {
                KernelError::QuotaReached { quota, limit, taken, asked } => (quota, limit, taken, asked),
                error => panic!("{error:?}"),
            }
        }
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn of_ten_at_a_time_exactly_as_many_succeed_as_may() {
    let house = House::open_with(|config| config.quota.endpoints_max = 2).await;
    house.launcher.set(Mood::Slow);
    let spec = endpoint();
    let all = (0..10).map(|n| {
        let (house, spec, id) = (&house, &spec, format!("e{n}"));
        async move { house.create_deployed(&id, spec).await }
    });
    let outcomes = futures::future::join_all(all).await;
    let (deployed, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((deployed.len(), refused.len()), (2, 8));
    for outcome in refused {
        assert_eq!(reached(outcome), (QuotaKind::Endpoints, 2, 2, 1));
    }
    let permit = house.kernel.authorize::<List>(&house.admin, ResourceKind::Endpoint).await.unwrap();
    let query = Query::of(ResourceKind::Endpoint);
    let records = house.kernel.list_records(&house.admin, &permit, query).await.unwrap().items;
    assert_eq!(records.len(), 2, "a refused deployment left its record");
    // Those that were refused moved no ports.
    let ports: BTreeSet<u64> =
        records.iter().filter_map(|record| record.status["req_res_port"].as_u64()).collect();
    let lowest = u64::from(house.config.req_res_base_port);
    assert!(ports.len() == 2 && ports.iter().all(|port| *port < lowest + 8), "{ports:?}");
    // A place that becomes free is given again, and one that was never deployed takes none.
    for n in 0..5 {
        house.create(&format!("idle{n}"), &endpoint()).await;
    }
    house.detach(records[0].header.id.as_str()).await.unwrap();
    house.deploy("idle0").await.unwrap();
    assert_eq!(reached(house.deploy("idle1").await), (QuotaKind::Endpoints, 2, 2, 1));
}

#[tokio::test]
async fn what_is_deployed_is_summed() {
    let house = House::open_with(|config| {
        config.quota.cpu_max = Some(4);
        config.quota.ram_max = Some(3_000_000_000);
    })
    .await;
    let of = |cpu: u32, ram: &str| asking(json!({ "resources": { "cpu": cpu, "ram": ram } }));
    house.create_deployed("a", &of(3, "1GB")).await.unwrap();
    assert_eq!(reached(house.create_deployed("b", &of(2, "1GB")).await), (QuotaKind::Cpu, 4, 3, 2));
    let outcome = house.create_deployed("b", &of(1, "2.5GB")).await;
    assert_eq!(reached(outcome), (QuotaKind::Ram, 3_000_000_000, 1_000_000_000, 2_500_000_000));
    house.create_deployed("b", &of(1, "2GB")).await.unwrap();
    // Who asks for nothing is not counted.
    house.create_deployed("c", &endpoint()).await.unwrap();
}

#[tokio::test]
async fn ports_are_never_those_of_another_endpoint() {
    let house = House::open().await;
    let ports = |status: &Value| (status["req_res_port"].as_u64(), status["pubsub_port"].as_u64());
    let mut had = Vec::new();
    for id in ["a", "b", "c"] {
        had.push(ports(&house.create_deployed(id, &endpoint()).await.unwrap().status));
    }
    assert_eq!(had.iter().collect::<BTreeSet<_>>().len(), 3, "{had:?}");
    house.until("a", "warm").await;
    house.detach("a").await.unwrap();
    let again = ports(&house.create_deployed("d", &endpoint()).await.unwrap().status);
    assert!(!had[1..].contains(&again), "{again:?} is one of {had:?}");
    assert_eq!(again, had[0], "the lowest free ports were not taken");
    let servers = house.launcher.launched(4).await;
    let served: Vec<_> = servers.iter().map(|server| (&*server.endpoint, server.ports)).collect();
    assert!(served.iter().any(|(id, (req_res, _))| *id == "d" && Some(u64::from(*req_res)) == again.0));
}

#[tokio::test]
async fn without_ports_nothing_is_deployed() {
    let house = House::open_with(|config| config.pubsub_base_port = config.req_res_base_port).await;
    house.create("e", &endpoint()).await;
    let outcome = house.deploy("e").await;
    assert!(matches!(outcome, Err(EndpointError::NoPorts)), "{outcome:?}");
    assert!(house.states("e").await.is_empty());
}
