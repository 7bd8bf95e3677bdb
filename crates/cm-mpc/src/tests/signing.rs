//! Results that the parties sign.

use std::time::Duration;

use cm_computation::{Proof, SignatureKey};
use cm_crypto::threshold::GroupKey;
use cm_kernel::catalog::Record;
use cm_kernel::policy::{Invoke, Read};
use serde_json::Value;

use super::{ANCHORED, LONG, Node, cluster};
use crate::{Anchored, ComputationError, Sign, state_of};

const SQUARE: &str = "input x from ada\nreveal x * x as y to ada\nreveal x + 1 as z to all";
const ROBUST: &str = "tier robust\ninput x from party n1\nreveal x * x as y to ada\nreveal 7 as z to all";

async fn completed(node: &Node, source: &str, parties: usize, sign: Sign) -> (Record, Proof) {
    let record = node.submit_signed(source, &[("x", &[6.0])], parties, Some(sign)).await;
    let record = node.run(&record).await;
    assert_eq!(state_of(&record), "completed", "{}", record.status);
    let (record, permit) = node.look_up::<Read>(&record).await;
    let proof = node.computations.proof(&record, &permit).unwrap();
    (record, proof)
}

fn key_of(node: &Node, record: &Record) -> Option<SignatureKey> {
    node.computations.plan(record).unwrap().plan().signature.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn parties_make_a_key_in_one_run_and_sign_by_it_in_the_next() {
    let mut nodes = cluster(3, LONG).await;
    let (record, proof) = completed(&nodes[0], SQUARE, 3, Sign::Any).await;
    assert_eq!(key_of(&nodes[0], &record), Some(SignatureKey::Fresh), "there was none");
    let key: GroupKey = proof.group_key.parse().unwrap();
    assert_eq!(proof.verify(&key), Ok(()));
    assert_eq!(proof.verify_plan(&nodes[0].computations.plan(&record).unwrap()), Ok(()));
    assert_eq!(proof.statement.open["z"], ["7"]);
    assert_eq!(proof.statement.signers().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    assert_eq!(nodes[0].result(&record, "y").await, ["36"]);
    for node in &nodes {
        let held = node.computations.group_keys().await.unwrap();
        assert_eq!((held.len(), held[0].key.as_str(), held[0].threshold), (1, proof.group_key.as_str(), 1));
        assert_eq!(held[0].parties, ["n1", "n2", "n3"]);
    }
    // Another leader, and the same key.
    let (record, second) = completed(&nodes[1], SQUARE, 3, Sign::Any).await;
    assert_eq!(key_of(&nodes[1], &record), Some(SignatureKey::Group(proof.group_key.clone())));
    assert_eq!(second.verify(&key), Ok(()));
    assert_ne!(second.result_sha256, proof.result_sha256);
    // A fresh one is another.
    let (_, fresh) = completed(&nodes[0], SQUARE, 3, Sign::Fresh).await;
    assert!(fresh.verify(&key).is_err());
    assert_eq!(fresh.verify(&fresh.group_key.parse().unwrap()), Ok(()));
    let program = cm_computation::parse("reveal 1 as one to all").unwrap();
    let unknown = nodes[0].create_signed(program.clone(), 3, Some(Sign::Group("02".repeat(33)))).await;
    assert!(unknown.is_err());
    nodes.push(super::open(tempfile::TempDir::new().unwrap(), "n4", super::identity(), LONG).await);
    super::introduce(&nodes).await;
    let other = nodes[0].create_signed(program, 4, Some(Sign::Group(proof.group_key.clone()))).await;
    assert!(matches!(other, Err(ComputationError::OtherGroup(_))), "{other:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_robust_tier_signs_without_a_party() {
    let mut nodes = cluster(4, Duration::from_secs(2)).await;
    let (_, first) = completed(&nodes[0], ROBUST, 4, Sign::Fresh).await;
    let key: GroupKey = first.group_key.parse().unwrap();
    assert_eq!(first.statement.signers().count(), 4);
    let record = nodes[0].submit_signed(ROBUST, &[("x", &[6.0])], 4, Some(Sign::Any)).await;
    nodes.pop().unwrap().stop().await;
    let record = nodes[0].run(&record).await;
    assert_eq!(state_of(&record), "completed", "{}", record.status);
    let (record, permit) = nodes[0].look_up::<Read>(&record).await;
    let proof = nodes[0].computations.proof(&record, &permit).unwrap();
    assert_eq!(proof.verify(&key), Ok(()));
    assert_eq!(proof.statement.signers().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    assert_eq!(nodes[0].result(&record, "y").await, ["36"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_a_key_opens_for_its_own_key_only() {
    let nodes = cluster(3, LONG).await;
    let (_, first) = completed(&nodes[0], SQUARE, 3, Sign::Fresh).await;
    let (_, second) = completed(&nodes[0], SQUARE, 3, Sign::Fresh).await;
    let journal = &nodes[2].computations.0.journal;
    let (from, to) = (second.group_key.clone(), first.group_key.clone());
    let moved = journal.db().write(move |tx| {
        let row = tx.get::<crate::group_keys::GroupKeys>(&from)?.expect("it was kept");
        tx.put::<crate::group_keys::GroupKeys>(&to, &row)
    });
    moved.await.unwrap();
    let sign = Sign::Group(first.group_key.clone());
    let record = nodes[0].submit_signed(SQUARE, &[("x", &[6.0])], 3, Some(sign)).await;
    let record = nodes[0].run(&record).await;
    let message = record.status["message"].as_str().unwrap_or_default();
    assert!(message.contains("party `n3` refused") && message.contains("cannot be used"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_results_are_recorded_and_others_are_not() {
    let nodes = cluster(3, LONG).await;
    let node = &nodes[0];
    let (record, proof) = completed(node, SQUARE, 3, Sign::Fresh).await;
    let path = node.dir.path().join(ANCHORED);
    let until = std::time::Instant::now() + LONG;
    let recorded = loop {
        let (record, _) = node.look_up::<Read>(&record).await;
        if record.status["anchor"]["state"] == "recorded" {
            break record;
        }
        assert!(std::time::Instant::now() < until, "{}", record.status);
        tokio::task::yield_now().await;
    };
    assert_eq!(recorded.status["state"], "completed", "the rest of the status stays");
    let lines = || -> Vec<Anchored> {
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(lines().len(), 1);
    assert_eq!(lines()[0].result_sha256, proof.result_sha256);
    // Whoever asks again is told where it is, and nothing is recorded twice.
    let (found, permit) = node.look_up::<Invoke>(&record).await;
    let said = node.computations.anchor(&node.op(), &found, &permit).await.unwrap();
    assert_eq!(said, recorded.status["anchor"]);
    // Nor if nobody waited for the confirmation; only what failed is submitted anew.
    for (state, expected) in [("submitted", 1), ("failed", 2)] {
        let mut status = recorded.status.clone();
        status["anchor"]["state"] = state.into();
        node.computations.set_status(&crate::lead::key(&record), status).await.unwrap();
        let (found, permit) = node.look_up::<Invoke>(&record).await;
        let said = node.computations.anchor(&node.op(), &found, &permit).await.unwrap();
        assert_eq!((&said["state"], lines().len()), (&"recorded".into(), expected));
    }
    let unsigned = node.submit_text(SQUARE, &[("x", &[6.0])], 3).await;
    let unsigned = node.run(&unsigned).await;
    assert_eq!(unsigned.status.get("proof"), None::<&Value>);
    let (unsigned, permit) = node.look_up::<Invoke>(&unsigned).await;
    let refused = node.computations.anchor(&node.op(), &unsigned, &permit).await;
    assert!(matches!(refused, Err(ComputationError::NotSigned)), "{refused:?}");
}
