use cm_identity::{CredentialProblem, Source};
use cm_types::{RequestId, TenantId};

use super::*;

/// How long what is promised soon may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
const REFUSED: u64 = 5;

async fn refuse(kernel: &Kernel) {
    let source = Source::of([192, 0, 2, 7].into());
    for _ in 0..REFUSED {
        let refused = kernel.authenticate_at_door("nothing", &source, &RequestId::random()).await;
        assert_eq!(class(refused), ErrorClass::Unauthenticated);
    }
}

/// How many refusals the records stand for.
async fn counted(kernel: &Kernel) -> u64 {
    let admin = op(Actor::node());
    let permit = kernel.authorize::<List>(&admin, ResourceKind::Event).await.unwrap();
    let filter = EventFilter { verb_prefix: Some("credential.refused".to_owned()), ..EventFilter::default() };
    let page = kernel.event_page(&permit, 0, PageLimit::MAX, filter).await.unwrap();
    page.items.iter().map(|event| event.facts["count"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn every_refusal_is_counted_soon_though_it_does_not_happen_again() {
    let house = House::open().await;
    let mut head = house.kernel.events().head();
    refuse(&house.kernel).await;
    let all = async {
        while counted(&house.kernel).await < REFUSED {
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("some refusals are in no record");
    assert_eq!(counted(&house.kernel).await, REFUSED);
}

#[tokio::test]
async fn tenants_that_are_not_there_get_no_records_of_their_own() {
    let house = House::open().await;
    let named = 50;
    for at in 0..named {
        let tenant = TenantId::parse(format!("nowhere-{at}")).unwrap();
        house.kernel.refuse_credential(&house.admin, &tenant, CredentialProblem::NotOurs).await;
    }
    let permit = house.kernel.authorize::<List>(&house.admin, ResourceKind::Event).await.unwrap();
    let filter = EventFilter { verb_prefix: Some("credential.refused".to_owned()), ..EventFilter::default() };
    let page = house.kernel.event_page(&permit, 0, PageLimit::MAX, filter).await.unwrap();
    assert!((1..named).contains(&page.items.len()), "{}", page.items.len());
}

#[tokio::test]
async fn what_waits_to_be_counted_is_when_the_node_stops() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let (kernel, _) = open_with(dir.path(), &tasks, Limits::default()).await.unwrap();
    refuse(&kernel).await;
    tasks.drain(DRAIN).await;
    kernel.close().await.unwrap();
    drop(kernel);
    let tasks = Tasks::new();
    let (kernel, _) = open_with(dir.path(), &tasks, Limits::default()).await.unwrap();
    assert_eq!(counted(&kernel).await, REFUSED);
    drop(kernel);
    tasks.drain(DRAIN).await;
}
