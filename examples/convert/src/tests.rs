use super::*;
use crate::csv::CsvError;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("../../data/", $name))
    };
}

/// A committed input is what its CSV encodes to, and can be read back.
fn check(kind: Kind, csv: &[u8], input: &[u8]) {
    let text = std::str::from_utf8(csv).unwrap();
    assert_eq!(encode(kind, text).unwrap(), input, "{kind:?}");
    let read_back = decode(kind, input).unwrap();
    assert_eq!(encode(kind, &read_back).unwrap(), input, "{kind:?}: {read_back}");
}

#[test]
fn the_committed_inputs_are_what_the_tables_say() {
    check(Kind::Pairs, data!("cars.csv"), data!("cars.points"));
    check(Kind::Rows, data!("iris.csv"), data!("iris.rows"));
    check(Kind::Model, data!("iris-model.csv"), data!("iris.model"));
    check(Kind::Parameters, data!("iris-k-means.csv"), data!("iris-k-means.parameters"));
}

#[test]
fn the_committed_results_are_what_the_libraries_compute() {
    assert_eq!(linear_regression::run(data!("cars.points")).unwrap(), data!("cars.line"));
    let probabilities = logistic_regression::run(data!("iris.model"), data!("iris.rows")).unwrap();
    assert_eq!(probabilities, data!("iris.probabilities"));
    let clusters = k_means::run(data!("iris-k-means.parameters"), data!("iris.rows")).unwrap();
    assert_eq!(clusters, data!("iris.clusters"));
}

#[test]
fn results_read_as_published() {
    let line = decode(Kind::Line, data!("cars.line")).unwrap();
    assert!(line.starts_with("gradient,3.93240875912"), "{line}");
    assert!(line.contains("\nintercept,-17.5790948905"), "{line}");

    let probabilities = decode(Kind::Numbers, data!("iris.probabilities")).unwrap();
    let positive: Vec<bool> =
        probabilities.lines().skip(50).map(|line| line.parse::<f64>().unwrap() > 0.5).collect();
    let wrong = positive.iter().enumerate().filter(|(row, positive)| **positive != (*row >= 50)).count();
    assert_eq!((positive.len(), wrong), (100, 2));

    let clusters = decode(Kind::Clusters, data!("iris.clusters")).unwrap();
    assert!(clusters.starts_with("sum_of_squares,78.85144"), "{clusters}");
    for size in [50, 62, 38] {
        let found = clusters
            .lines()
            .any(|line| line.starts_with("cluster,") && line.split(',').nth(2) == Some(&size.to_string()));
        assert!(found, "no cluster has {size} points: {clusters}");
    }
    assert_eq!(clusters.lines().filter(|line| line.starts_with("point,")).count(), 150);
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |kind, text, error| assert_eq!(encode(kind, text), Err(error), "{kind:?} {text:?}");
    refused(Kind::Pairs, "1\n2\n", EncodeError::Columns { needed: 2, found: 1 });
    refused(Kind::Model, "1,2\n", EncodeError::Columns { needed: 1, found: 2 });
    refused(Kind::Rows, "", EncodeError::Csv(CsvError::Empty));
    for text in ["1\n2\n", "1\n2\n0.5\n", "1\n2\n-1\n", "1\n2\n1e17\n"] {
        refused(Kind::Parameters, text, EncodeError::Parameters);
    }
    refused(Kind::Line, "1\n2\n", EncodeError::Result);
    for (name, kind) in Kind::ALL {
        assert!(decode(*kind, &[0xff; 3]).is_err(), "{name} accepts what is cut off");
    }
    assert_eq!(Kind::parse("clusters"), Some(Kind::Clusters));
    assert_eq!(Kind::parse("cluster"), None);
}
