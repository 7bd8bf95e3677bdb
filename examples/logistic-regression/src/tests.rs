use super::*;
use guest::codec::{put_integer, put_row};

/// The model for versicolor (0) against virginica (1), and their hundred rows of the iris data.
fn iris() -> (Model, Vec<(Vec<f64>, bool)>) {
    let terms: Vec<f64> = include_str!("../../data/iris-model.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
        .collect();
    let rows = include_str!("../../data/iris.csv")
        .lines()
        .skip(51)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            (fields[..4].iter().map(|field| field.parse().unwrap()).collect(), fields[4] == "virginica")
        })
        .collect();
    (Model { intercept: terms[0], weights: terms[1..].to_vec() }, rows)
}

#[test]
fn the_iris_model_errs_on_two_flowers_as_published() {
    let (model, rows) = iris();
    let wrong =
        rows.iter().filter(|(row, truth)| (probability(&model, 0, row).unwrap() > 0.5) != *truth).count();
    assert_eq!((rows.len(), wrong), (100, 2));
    let total: f64 = rows.iter().map(|(row, _)| probability(&model, 0, row).unwrap()).sum();
    assert!((total - 50.0).abs() < 1e-3, "a fitted model's probabilities add up to the positives: {total}");
}

#[test]
fn the_bytes_of_a_result_never_change() {
    let mut model = Vec::new();
    put_float(&mut model, -0.5);
    put_row(&mut model, &[1.5, -2.0]);
    let mut input = Vec::new();
    put_integer(&mut input, 2);
    put_row(&mut input, &[1.0, 0.25]);
    put_row(&mut input, &[-3.0, 1.0]);
    let output = run(&model, &input).unwrap();
    let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "9143d3d42febe33f8911df8a73da4d3f");
}

#[test]
fn extremes_saturate_without_overflow() {
    let model = Model { intercept: 0.0, weights: vec![1.0] };
    assert_eq!(probability(&model, 0, &[0.0]), Ok(0.5));
    assert_eq!(probability(&model, 0, &[1e4]), Ok(1.0));
    assert_eq!(probability(&model, 0, &[-1e4]), Ok(0.0));
    let large = Model { intercept: 0.0, weights: vec![f64::MAX] };
    assert_eq!(probability(&large, 3, &[2.0]), Err(InferenceError::Overflow { row: 3 }));
}

#[test]
fn rows_of_another_shape_are_refused() {
    let model = Model { intercept: 0.0, weights: vec![1.0] };
    let expected = InferenceError::FeatureCount { row: 1, found: 2, expected: 1 };
    assert_eq!(probability(&model, 1, &[1.0, 2.0]), Err(expected));
    assert_eq!(run(&[0; 4], &[0]), Err(InferenceError::Model(DecodeError::Truncated)));
    assert_eq!(run(&[0; 9], &[5]), Err(InferenceError::Rows(DecodeError::Truncated)));
}
