use super::*;
use crate::{Op, Receivers, schedule};

const ADD: &str = r#"{"name": "add_shards", "steps": [
    {"step_id": "assign_a", "operation": "assign", "destination_node": 1, "variable_name": "a", "variable_type": "shard", "value": 10},
    {"step_id": "assign_b", "operation": "assign", "destination_node": 1, "variable_name": "b", "variable_type": "shard", "value": 20},
    {"step_id": "add", "operation": "add", "variable_name": "result", "operand1": "a", "operand2": "b", "dependencies": ["assign_a", "assign_b"]}]}"#;

fn lower(text: &str) -> Result<Lowered, ProgramError> {
    let job: Job = serde_json::from_str(text).unwrap();
    job.lower("ada", &Settings::default(), |node| (node <= 3).then(|| format!("n{node}")))
}

fn check(steps: &str, message: &str) {
    let error = lower(&format!(r#"{{"steps": [{steps}]}}"#)).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_first_example_reveals_its_sum_to_its_owner() {
    let lowered = lower(ADD).unwrap();
    let outputs: Vec<_> = lowered.program.outputs().collect();
    assert_eq!(outputs.len(), 1);
    assert_eq!((outputs[0].name, outputs[0].to), ("result", &Receivers::Clients(vec!["ada".to_owned()])));
    assert_eq!(lowered.assigned.len(), 2);
    assert_eq!(lowered.steps[2], ("add".to_owned(), Some(Id(2))));
    assert_eq!(lowered.program.node(Id(2)).op, Op::Add { a: Id(0), b: Id(1) });
    // Inputs, and revealing: a sum takes no round.
    assert_eq!(schedule(&lowered.program).iter().map(|layer| layer.batches.len()).sum::<usize>(), 2);
}

#[test]
fn steps_are_sorted_by_what_they_need() {
    let lowered = lower(
        r#"{"field": "secp256k1", "steps": [
        {"operation": "multiply", "variable_name": "p", "operand1": "x", "operand2": "y"},
        {"operation": "assign", "variable_name": "y", "value": "115792089237316195423570985008687907852837564279074904382605163141518161494336"},
        {"operation": "assign", "variable_name": "x", "variable_type": "private", "destination_node": 2, "value": 4},
        {"operation": "expr", "variable_name": "q", "expr": "p * p + 1"},
        {"operation": "reveal", "operand1": "q", "to": ["bob", "all"]}]}"#,
    )
    .unwrap();
    assert_eq!(lowered.program.outputs().next().unwrap().to, &Receivers::Everybody);
    let owners: Vec<_> = lowered.program.inputs().map(|(name, owner, _)| (name, owner.to_string())).collect();
    assert_eq!(owners, [("y", "ada".to_owned()), ("x", "party n2".to_owned())]);
    assert_eq!(lowered.assigned[1].private_to, Some(2));
}

#[test]
fn what_cannot_be_is_said() {
    check(
        r#"{"step_id": "p", "operation": "add", "variable_name": "p", "operand1": "q", "operand2": 1},
           {"step_id": "q", "operation": "add", "variable_name": "q", "operand1": "p", "operand2": 1}"#,
        "the steps p, q wait for each other; a computation may not have a cycle",
    );
    check(
        r#"{"step_id": "p", "operation": "add", "variable_name": "p", "operand1": "q", "operand2": 1}"#,
        "`q` is not known here; give it a value or declare it as an input first",
    );
    check(
        r#"{"step_id": "p", "operation": "assign", "variable_name": "p", "value": 1, "dependencies": ["z"]}"#,
        "step `p` depends on `z`, which is no step of the job",
    );
    check(r#"{"operation": "assign", "variable_name": "p"}"#, "step `step_1` needs `value`");
    check(r#"{"operation": "frobnicate", "variable_name": "p"}"#, "there is no operation `frobnicate`");
    check(
        r#"{"operation": "assign", "variable_name": "p", "value": [[1], [2, 3]]}"#,
        &ProgramError::BadShape.to_string(),
    );
    check("", "the computation reveals nothing; say what is revealed to whom, as in `reveal x to alice`");
}

#[test]
fn a_program_of_elsewhere_is_checked_anew() {
    let program = lower(ADD).unwrap().program;
    let text = serde_json::to_string(&program).unwrap();
    assert_eq!(serde_json::from_str::<Program>(&text).unwrap().checked().unwrap(), program);
    let forward = text.replace(r#""op":"add","a":0,"b":1"#, r#""op":"add","a":0,"b":3"#);
    assert_ne!(forward, text);
    assert!(serde_json::from_str::<Program>(&forward).unwrap().checked().is_err());
    let larger = text.replacen(r#""shape":[]"#, r#""shape":[7]"#, 3);
    assert!(
        serde_json::from_str::<Program>(&larger).unwrap().checked().is_err(),
        "the result claims no other shape"
    );
}
