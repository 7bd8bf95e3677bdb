use super::*;
use crate::{Settings, Shape};

/// A ciphertext as the first system writes it, with what it was masked with.
fn masked(value: Scalar) -> String {
    let mask = -Scalar::from_u64(77);
    let shown = |value: Scalar| match crate::number::decimal(value.to_be_bytes().to_vec()) {
        digits if digits.is_empty() => "0".to_owned(),
        digits => digits,
    };
    let (sealed, mask) = (shown(value + mask), shown(mask));
    format!(r#"{{"encrypted_value": {sealed}, "ephemeral_public_key": "04", "shared_secret": {mask}}}"#)
}

fn step(kind: &str, name: &str, parameters: &str, node: usize) -> PublishedStep {
    PublishedStep {
        step_type: kind.to_owned(),
        variable_name: name.to_owned(),
        variable_type: "shard".to_owned(),
        parameters: Some(parameters.to_owned()).filter(|text| !text.is_empty()),
        assigned_node_public_key: node.to_string(),
        dest_node_public_key: node.to_string(),
        ..PublishedStep::default()
    }
}

/// A value that is split among three, with coefficients that the test knows.
fn split(name: &str, value: u64) -> Vec<PublishedStep> {
    let shares = (1..=3_u64).map(|x| {
        let at = Scalar::from_u64(x);
        let y = Scalar::from_u64(value) + Scalar::from_u64(5) * at - Scalar::from_u64(1 << 40) * at * at;
        let point = serde_json::json!({ "x": masked(at), "y": masked(y) });
        PublishedStep { output_value: Some(point.to_string()), ..step("init_variable", name, "", x as usize) }
    });
    shares.collect()
}

fn on_all(kind: &str, name: &str, parameters: &str) -> Vec<PublishedStep> {
    (1..=3).map(|node| step(kind, name, parameters, node)).collect()
}

fn job(steps: Vec<Vec<PublishedStep>>) -> PublishedJob {
    PublishedJob { name: "job".to_owned(), steps: steps.concat(), ..PublishedJob::default() }
}

fn translate(job: &PublishedJob) -> Result<Translated, PublishedError> {
    job.translate(3, &|_| None)
}

#[test]
fn a_sum_and_a_difference_are_steps_of_ours() {
    let difference = r#"{"variable_a": "(a) + (b)", "variable_b": "b", "coef_1": 1, "coef_2": -1}"#;
    let job = job(vec![
        split("a", 4),
        split("b", 5),
        on_all("add", "(a) + (b)", r#"{"variable_a": "a", "variable_b": "b"}"#),
        on_all("add", "d", difference),
    ]);
    let translated = translate(&job).unwrap();
    let lowered = translated.job.lower("ada", &Settings::default(), |_| None).unwrap();
    let mut values: Vec<String> =
        lowered.assigned.iter().map(|assigned| assigned.values[0].to_string()).collect();
    values.sort();
    assert_eq!(values, ["4", "5"]);
    let outputs: Vec<_> = lowered.program.outputs().map(|output| output.name.to_owned()).collect();
    assert_eq!(outputs.len(), 1, "only the end is revealed");
    assert_eq!(translated.names[&outputs[0]], "d");
    assert_eq!(job.own_names()["d"], outputs[0]);
    assert_eq!(lowered.program.node(lowered.program.outputs().next().unwrap().node).shape, Shape::SCALAR);
}

#[test]
fn a_spelled_out_product_is_computed_on_shares() {
    let private = |kind: &str, name: &str, parameters: &str| {
        vec![PublishedStep {
            variable_type: "private_variable".to_owned(),
            ..step(kind, name, parameters, 1)
        }]
    };
    let job = job(vec![
        split("x", 4),
        private("create_private_random_variable", "Aa", ""),
        private("apply_affine_transform", "r", r#"{"x": "Aa", "coef": "Aa", "intercept": "Aa"}"#),
        on_all(
            "assign_variable",
            "s",
            r#"{"source_variable_name": "r", "source_variable_type": "private_variable"}"#,
        ),
        on_all("add", "delta", r#"{"variable_a": "x", "variable_b": "s"}"#),
        private(
            "assign_variable",
            "delta",
            r#"{"source_variable_name": "delta", "source_variable_type": "shard"}"#,
        ),
        on_all("multiply", "z", r#"{"variable_a": "delta", "variable_b": "x"}"#),
    ]);
    let translated = translate(&job).unwrap();
    assert_eq!(translated.job.steps.len(), 6);
    translated.job.lower("ada", &Settings::default(), |_| None).unwrap();
}

#[test]
fn what_cannot_be_is_refused_with_its_step() {
    let problem = |job: &PublishedJob| translate(job).unwrap_err().to_string();
    let mut lacking = job(vec![split("a", 4)]);
    lacking.steps.pop();
    assert_eq!(problem(&lacking), "step 1: output_value: a split value needs one share for each node");
    let mut twice = job(vec![split("a", 4)]);
    twice.steps[2] = twice.steps[0].clone();
    assert!(problem(&twice).contains("of the same node"));
    let mut sealed = job(vec![split("a", 4)]);
    sealed.steps[1].output_value = Some(r#"{"x": "{\"encrypted_value\": 4}", "y": "{}"}"#.to_owned());
    assert!(problem(&sealed).starts_with("step 2: output_value: sealed to a key"));
    let vector = job(vec![vec![PublishedStep {
        variable_type: "vector_shard".to_owned(),
        ..step("init_variable", "v", "", 1)
    }]]);
    assert!(problem(&vector).contains("vectors"));
    let unknown = job(vec![on_all("shards_to_variable", "v", "")]);
    assert!(problem(&unknown).starts_with("step 1: step_type"));
    let two = job(vec![split("a", 1), on_all("multiply", "a", r#"{"variable_a": "a", "variable_b": "a"}"#)]);
    assert!(problem(&two).contains("defined by another step"));
}

#[test]
fn one_variable_has_one_value() {
    let whole = |value: u64| {
        vec![PublishedStep {
            variable_type: "private_variable".to_owned(),
            output_value: Some(masked(Scalar::from_u64(value))),
            ..step("init_variable", "a", "", 1)
        }]
    };
    let translated = translate(&job(vec![whole(4), whole(4), split("a", 4)])).unwrap();
    assert_eq!(translated.job.steps.len(), 1);
    for (steps, at) in [
        (vec![whole(4), whole(5)], 2),
        (vec![whole(5), split("a", 4)], 2),
        (vec![split("a", 4), whole(5)], 1),
    ] {
        let refused = translate(&job(steps)).unwrap_err();
        assert_eq!((refused.step, refused.problem), (at, OTHER_VALUE));
    }
}

#[test]
fn a_mask_of_this_node_is_taken_away() {
    let sealed = r#"{"encrypted_value": 12, "ephemeral_public_key": "04ab"}"#;
    let unmask = |key: &str| {
        let mut mask = [0; 32];
        mask[31] = 5;
        (key == "04ab").then_some(mask)
    };
    assert_eq!(opened(sealed, &unmask), Ok(Scalar::from_u64(7)));
    assert!(opened(sealed, &|_| None).is_err());
}

#[test]
fn large_numbers_are_quoted_and_nothing_else() {
    let large = "115792089237316195423570985008687907852837564279074904382605163141518161494336";
    let check = |text: &str, expected: &str| assert_eq!(quote_large(text), expected);
    check(
        &format!(r#"{{"value": {large}, "n": -{large}}}"#),
        &format!(r#"{{"value": "{large}", "n": "-{large}"}}"#),
    );
    check(&format!(r#"["{large}", 1.{large}, 12]"#), &format!(r#"["{large}", 1.{large}, 12]"#));
    check(
        &format!(r#"{{"a\"{large}": 5, "ä\\": {large}}}"#),
        &format!(r#"{{"a\"{large}": 5, "ä\\": "{large}"}}"#),
    );
    check("\"\\", "\"\\");
    check("", "");
}
