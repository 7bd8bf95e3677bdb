//! The worked examples, against the same in the clear.

use super::tests::run_all;

fn file(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/mpc/");
    std::fs::read_to_string(format!("{path}{name}")).unwrap()
}

fn column(name: &str, column: &str) -> Vec<f64> {
    let text = file(name);
    let mut lines = text.lines();
    let at = lines.next().unwrap().split(',').position(|head| head == column).unwrap();
    lines.map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn near(found: f64, expected: f64, error: f64) {
    assert!((found - expected).abs() < error, "{found} is not {expected}");
}

#[test]
fn a_line_through_rows_of_three_owners() {
    let owners = ["ada", "bob", "carol"];
    let rows = |name: &str, of: &str| column(&format!("cars-{name}.csv"), of);
    let [x, y] = ["speed", "distance"].map(|of| owners.map(|owner| rows(owner, of)));
    let found = run_all(
        &file("regression.mpc"),
        &[("x1", &x[0]), ("y1", &y[0]), ("x2", &x[1]), ("y2", &y[1]), ("x3", &x[2]), ("y3", &y[2])],
    );
    let (x, y) = (x.concat(), y.concat());
    let (mx, my) = (mean(&x), mean(&y));
    let covariance: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let spread: f64 = x.iter().map(|x| (x - mx) * (x - mx)).sum();
    let slope = covariance / spread;
    near(slope, 3.932_409, 1e-6);
    near(found["slope"][0], slope, 0.01);
    near(found["intercept"][0], my - slope * mx, 0.2);
}

#[test]
fn a_model_and_data_of_different_owners() {
    let (weight, bias) = (column("model.csv", "weight"), column("model.csv", "bias"));
    let temperature = column("temperatures.csv", "temperature");
    let found = run_all(
        &file("inference.mpc"),
        &[("weight", &weight), ("bias", &bias), ("temperature", &temperature)],
    );
    for (found, temperature) in found["risk"].iter().zip(&temperature) {
        near(*found, 1.0 / (1.0 + (-(weight[0] * temperature + bias[0])).exp()), 0.02);
    }
}

#[test]
fn two_hospitals_know_together_what_neither_shows() {
    let [a, b] =
        ["hospital-a.csv", "hospital-b.csv"].map(|name| (column(name, "age"), column(name, "patient")));
    let found = run_all(
        &file("hospitals.mpc"),
        &[("ages_a", &a.0), ("ages_b", &b.0), ("patients_a", &a.1), ("patients_b", &b.1)],
    );
    let ages = [a.0, b.0].concat();
    let middle = mean(&ages);
    near(found["mean_age"][0], middle, 0.01);
    let squares: Vec<f64> = ages.iter().map(|age| (age - middle) * (age - middle)).collect();
    near(found["variance_of_age"][0], mean(&squares), 0.1);
    #[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
    let counts = [30.0, 40.0, 50.0, 60.0]
        .map(|from| ages.iter().filter(|age| (from..from + 10.0).contains(*age)).count() as f64);
    assert_eq!(found["by_decade"], counts);
    #[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
    let common = a.1.iter().filter(|patient| b.1.contains(patient)).count() as f64;
    assert_eq!(found["in_common"], [common]);
}
