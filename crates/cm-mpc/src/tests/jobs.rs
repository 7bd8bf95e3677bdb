//! Jobs that end well.

use std::time::Duration;

use cm_computation::{FieldName, Settings, TierName};
use cm_kernel::policy::{Create, Invoke};
use cm_types::{Labels, ResourceKind};

use super::{LONG, cluster};
use crate::{ComputationError, NewComputation, state_of};

const ADD: &str = r#"{"name": "add_shards", "steps": [
    {"step_id": "assign_a", "operation": "assign", "destination_node": 1, "variable_name": "a", "variable_type": "shard", "value": 10},
    {"step_id": "assign_b", "operation": "assign", "destination_node": 1, "variable_name": "b", "variable_type": "shard", "value": 20},
    {"step_id": "add", "operation": "add", "variable_name": "result", "operand1": "a", "operand2": "b", "dependencies": ["assign_a", "assign_b"]}]}"#;
const MULTIPLY: &str = r#"{"name": "multiply_shards", "steps": [
    {"step_id": "set_x", "operation": "assign", "destination_node": 1, "variable_name": "x", "variable_type": "shard", "value": 4},
    {"step_id": "set_y", "operation": "assign", "destination_node": 1, "variable_name": "y", "variable_type": "private", "value": 5},
    {"step_id": "multiply", "operation": "multiply", "variable_name": "product", "operand1": "x", "operand2": "y", "dependencies": ["set_x", "set_y"]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_examples_come_out_right_under_every_terms() {
    let nodes = cluster(3, LONG).await;
    for field in [FieldName::F61, FieldName::Secp256k1] {
        for tier in [TierName::SemiHonest, TierName::MaliciousAbort] {
            let settings = Settings { field, tier, ..Settings::default() };
            for (job, output, expected) in [(ADD, "result", "30"), (MULTIPLY, "product", "20")] {
                let record = nodes[0].submit(job, &settings, 3).await;
                let record = nodes[0].run(&record).await;
                assert_eq!(state_of(&record), "completed", "{}", record.status);
                assert_eq!(record.status["tier"], tier.as_str());
                assert_eq!(nodes[0].result(&record, output).await, [expected], "{field:?} {tier:?}");
            }
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_party_leads_and_large_vectors_pass() {
    let nodes = cluster(4, LONG).await;
    let numbers: Vec<f64> = (0..50_000).map(f64::from).collect();
    let source = "tier semi-honest\ninput x[50000] from ada\ninput y[50000] from bob\np = x * y * y\n\
                  reveal p to ada\nreveal dot(x, y) as d to all";
    let record = nodes[3].submit_text(source, &[("x", &numbers), ("y", &numbers)], 4).await;
    let record = nodes[3].run(&record).await;
    assert_eq!(state_of(&record), "completed", "{}", record.status);
    let sum: u64 = (0..50_000_u64).map(|number| number * number).sum();
    assert_eq!(record.status["open"]["d"][0], sum);
    let products = nodes[3].result(&record, "p").await;
    assert_eq!(products[49_999], (49_999_i64.pow(3)).to_string());
    assert!(record.status["bytes_sent"].as_u64().unwrap() > 50_000 * 8);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_robust_tier_goes_on_without_a_party() {
    let mut nodes = cluster(4, Duration::from_secs(2)).await;
    let settings = Settings { tier: TierName::Robust, ..Settings::default() };
    // Private to a party: shares of clients cannot be checked robustly.
    let job = r#"{"steps": [
        {"operation": "assign", "destination_node": 1, "variable_name": "x", "variable_type": "private", "value": 6},
        {"operation": "multiply", "variable_name": "p", "operand1": "x", "operand2": "x"}]}"#;
    let record = nodes[0].submit(job, &settings, 4).await;
    nodes.pop().unwrap().stop().await;
    let record = nodes[0].run(&record).await;
    assert_eq!(state_of(&record), "completed", "{}", record.status);
    assert_eq!(nodes[0].result(&record, "p").await, ["36"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_it_starts() {
    let nodes = cluster(3, LONG).await;
    let node = &nodes[0];
    let program = cm_computation::parse("input x from bob\nreveal x * x as y to ada").unwrap();
    let record = node.create(program.clone(), 3).await;
    let (record, permit) = node.look_up::<Invoke>(&record).await;
    let missing = node.computations.start(&node.op(), &record, &permit, None).await.unwrap_err();
    assert_eq!(missing.to_string(), "inputs are missing: `x` of bob");
    let op = node.op();
    let foreign = node.computations.put_input(&op, &record, &permit, "x", "n1", &[0; 56]).await.unwrap_err();
    assert!(matches!(foreign, ComputationError::NotYourInput { .. }));
    let created = node.kernel.authorize::<Create>(&op, ResourceKind::Computation).await.unwrap();
    let new = |parties: &[&str]| NewComputation {
        name: "job".to_owned(),
        description: None,
        program: program.clone(),
        source: None,
        parties: parties.iter().map(|name| (*name).to_owned()).collect(),
        receivers: [("ada".to_owned(), node.computations.sealing_key())].into(),
        sign: None,
        labels: Labels::new(),
    };
    let error = async |parties: &[&str]| {
        node.computations.create(&op, &created, new(parties)).await.unwrap_err().to_string()
    };
    assert!(error(&["n1", "n2", "n9"]).await.starts_with("party `n9` is not known here"));
    assert!(error(&["n2", "n3"]).await.contains("must be one of the parties"));
    assert!(error(&["n1", "n2"]).await.contains("2 parties"));
    assert!(error(&["n1", "n2", "n2"]).await.contains("named twice"));
    let mut unkeyed = new(&["n1", "n2", "n3"]);
    unkeyed.receivers.clear();
    let error = node.computations.create(&op, &created, unkeyed).await.unwrap_err();
    assert!(error.to_string().starts_with("`ada` learns a result and has no key"));
}
