use super::*;

fn columns(text: &str, x: usize, y: usize) -> Vec<(f64, f64)> {
    let number = |line: &str, column: usize| line.split(',').nth(column).unwrap().parse::<f64>().unwrap();
    text.lines().skip(1).map(|line| (number(line, x), number(line, y))).collect()
}

fn check(pairs: &[(f64, f64)], gradient: f64, intercept: f64, tolerance: f64) {
    let line = fit(pairs).unwrap();
    assert!((line.gradient - gradient).abs() < tolerance, "{line:?}");
    assert!((line.intercept - intercept).abs() < tolerance, "{line:?}");
}

#[test]
fn published_coefficients_are_found() {
    check(&columns(include_str!("../../data/women.csv"), 0, 1), 3.45, -87.516_67, 1e-5);
    check(&columns(include_str!("../../data/cars.csv"), 0, 1), 3.932_4, -17.579_1, 1e-4);
    let anscombe = include_str!("../../data/anscombe.csv");
    for set in 0..4 {
        check(&columns(anscombe, set, set + 4), 0.500, 3.00, 3e-3);
    }
}

#[test]
fn the_bytes_of_a_result_never_change() {
    let mut input = vec![15];
    for (x, y) in columns(include_str!("../../data/women.csv"), 0, 1) {
        put_float(&mut input, x);
        put_float(&mut input, y);
    }
    let output = run(&input).unwrap();
    let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "9a99999999990b401211111111e155c0");
}

#[test]
fn input_without_a_line_is_refused() {
    assert_eq!(fit(&[(1.0, 2.0)]), Err(FitError::TooFewPairs));
    assert_eq!(fit(&[(1.0, 2.0), (1.0, 3.0)]), Err(FitError::NoFiniteLine));
    assert_eq!(run(&[]), Err(FitError::Decode(DecodeError::Truncated)));
    assert_eq!(run(&[2, 0, 0]), Err(FitError::Decode(DecodeError::Truncated)));
    assert_eq!(run(&[0, 0]), Err(FitError::Decode(DecodeError::TrailingBytes)));
}
