//! Parties that die, fall silent, or are cut off; and nodes that are started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cm_computation::{Settings, parse};
use cm_kernel::policy::Invoke;

use super::{LONG, cluster, identity, introduce, open};
use crate::journal::{Binding, digest_of};
use crate::{Failure, state_of};

const ADD: &str = r#"{"steps": [
    {"operation": "assign", "variable_name": "a", "value": 10},
    {"operation": "add", "variable_name": "result", "operand1": "a", "operand2": 20}]}"#;

/// Long enough that a party can be lost in the middle of it.
const CHAIN: &str =
    "tier semi-honest\ninput x[2000] from ada\nrepeat 2000 { x = x * x }\nreveal sum(x) as s to ada";

fn failure(record: &cm_kernel::catalog::Record) -> Failure {
    serde_json::from_value(record.status["failure"].clone()).unwrap_or_else(|_| panic!("{}", record.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_that_dies_in_the_middle_is_named_and_the_next_job_works() {
    let patience = Duration::from_secs(5);
    let mut nodes = cluster(4, patience).await;
    for layers in [0, 1, 300] {
        let record = nodes[0].submit_text(CHAIN, &[("x", &[1.0; 2000])], 3).await;
        let (record, permit) = nodes[0].look_up::<Invoke>(&record).await;
        let mut progress = nodes[0].computations.start(&nodes[0].op(), &record, &permit, None).await.unwrap();
        progress.wait_for(|progress| progress.layers_done >= layers).await.unwrap();
        // The third node dies; its name comes back with another key and place.
        let dying = nodes.remove(2);
        let began = Instant::now();
        dying.stop().await;
        progress.wait_for(|progress| progress.state != "running").await.unwrap();
        assert!(began.elapsed() < patience + LONG / 2, "nothing hangs");
        let (record, _) = nodes[0].look_up::<Invoke>(&record).await;
        match failure(&record) {
            Failure::Lost { party, .. } => assert_eq!(party, "n3"),
            other => panic!("{other}"),
        }
        let reborn = open(tempfile::TempDir::new().unwrap(), "n3", identity(), patience).await;
        nodes.insert(2, reborn);
        introduce(&nodes).await;
        let settings = Settings::default();
        let record = nodes[0].submit(ADD, &settings, 3).await;
        let record = nodes[0].run(&record).await;
        assert_eq!(state_of(&record), "completed", "{}", record.status);
        assert_eq!(nodes[0].result(&record, "result").await, ["30"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_can_be_cancelled_and_started_again() {
    let nodes = cluster(3, LONG).await;
    let record = nodes[0].submit_text(CHAIN, &[("x", &[1.0; 2000])], 3).await;
    let (record, permit) = nodes[0].look_up::<Invoke>(&record).await;
    let mut progress = nodes[0].computations.start(&nodes[0].op(), &record, &permit, None).await.unwrap();
    progress.wait_for(|progress| progress.layers_done > 2).await.unwrap();
    assert!(nodes[0].computations.cancel(&nodes[0].op(), &record, &permit).unwrap());
    progress.wait_for(|progress| progress.state != "running").await.unwrap();
    let (record, _) = nodes[0].look_up::<Invoke>(&record).await;
    assert_eq!((state_of(&record), failure(&record)), ("cancelled", Failure::Cancelled));
    let record = nodes[0].run(&record).await;
    assert_eq!(state_of(&record), "completed", "{}", record.status);
    assert_eq!(nodes[0].result(&record, "s").await, ["2000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_started_again_says_that_its_run_failed() {
    let mut nodes = cluster(3, LONG).await;
    let record = nodes[0].submit_text(CHAIN, &[("x", &[1.0; 2000])], 3).await;
    let (record, permit) = nodes[0].look_up::<Invoke>(&record).await;
    // As a process leaves it that was taken from its run: begun, and not ended.
    let row = crate::journal::RunRow {
        leads: Some((record.header.tenant.clone(), record.header.id.clone())),
        plan: *nodes[0].computations.plan(&record).unwrap().digest(),
        ended: false,
    };
    let run = uuid::Uuid::now_v7();
    assert!(nodes[0].computations.0.journal.begin(run, row.clone()).await.unwrap());
    assert!(!nodes[0].computations.0.journal.begin(run, row).await.unwrap(), "no run begins twice");
    drop(permit);
    let dir = nodes.remove(0).stop().await;
    let again = open(dir, "n1", identity(), LONG).await;
    let (found, _) = again.look_up::<Invoke>(&record).await;
    assert_eq!(failure(&found), Failure::Restarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_strangers_is_refused_by_its_parties() {
    let nodes = cluster(3, LONG).await;
    let record = nodes[0].submit(ADD, &Settings::default(), 3).await;
    nodes[1].computations.remove_peer("n3").await.unwrap();
    let record = nodes[0].run(&record).await;
    match failure(&record) {
        Failure::Refused { party, why } => {
            assert_eq!(party, "n2");
            assert!(why.contains("`n3` is not known here"), "{why}");
        }
        other => panic!("{other}"),
    }
    assert!(parse("reveal 1 as x to all").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_carried_out_once_and_with_one_set_of_inputs() {
    let nodes = cluster(3, Duration::from_secs(5)).await;
    let record = nodes[0].submit(ADD, &Settings::default(), 3).await;
    let plan = *nodes[0].computations.plan(&record).unwrap().digest();
    let journal = &nodes[1].computations.0.journal;
    let inputs = |byte: u8| digest_of(&BTreeMap::from([("a".to_owned(), vec![byte])]));
    // As an earlier run leaves it that did not come to its end.
    assert_eq!(journal.bind(&plan, inputs(1), None).await.unwrap(), Binding::Bound);
    assert_eq!(journal.bind(&plan, inputs(1), None).await.unwrap(), Binding::Bound, "the same run again");
    let failed = nodes[0].run(&record).await;
    match failure(&failed) {
        Failure::Refused { party, why } => {
            assert_eq!(party, "n2");
            assert!(why.contains("other inputs"), "{why}");
        }
        other => panic!("{other}"),
    }
    let record = nodes[0].submit(ADD, &Settings::default(), 3).await;
    let plan = *nodes[0].computations.plan(&record).unwrap().digest();
    assert_eq!(state_of(&nodes[0].run(&record).await), "completed");
    for node in &nodes {
        let journal = &node.computations.0.journal;
        assert_eq!(journal.bind(&plan, inputs(1), None).await.unwrap(), Binding::Spent);
        assert!(!journal.spend(&plan).await.unwrap(), "nobody is given results twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_tells_no_key_is_not_asked_again_at_once() {
    use crate::computations::ClientKey;
    let mut nodes = cluster(2, LONG).await;
    let peer = |at: &super::Node| at.computations.peers().remove(0);
    let mut other = peer(&nodes[0]);
    nodes.pop().unwrap().stop().await;
    // As it looked a moment ago.
    other.is_up = true;
    nodes[0].computations.client_keys().clear();
    assert_eq!(nodes[0].computations.client_key_of(&other).await, None);
    let remembered = |node: &super::Node| node.computations.client_keys().get("n2").cloned();
    let first = remembered(&nodes[0]);
    assert!(matches!(first, Some(ClientKey::Missing(_))), "{first:?}");
    assert_eq!(nodes[0].computations.client_key_of(&other).await, None);
    assert_eq!(remembered(&nodes[0]), first, "it was not asked once more");
    // Whoever is introduced anew is asked.
    let reborn = open(tempfile::TempDir::new().unwrap(), "n2", identity(), LONG).await;
    nodes.push(reborn);
    introduce(&nodes).await;
    assert_eq!(nodes[0].computations.client_key_of(&other).await, Some(nodes[1].computations.client_key()));
}
