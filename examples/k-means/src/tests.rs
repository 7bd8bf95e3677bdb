use super::*;

fn iris() -> Vec<Vec<f64>> {
    include_str!("../../data/iris.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').take(4).map(|field| field.parse().unwrap()).collect())
        .collect()
}

#[test]
fn iris_falls_into_the_published_clusters() {
    let clustering = cluster(Parameters { clusters: 3, iterations: 50, first: 0 }, &iris()).unwrap();
    assert!((clustering.inertia - 78.851_44).abs() < 1e-4, "{}", clustering.inertia);
    let mut sizes = [0; 3];
    for cluster in &clustering.assignment {
        sizes[*cluster] += 1;
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [38, 50, 62]);
    let setosa = &clustering.centres[clustering.assignment[0]];
    for (found, mean) in setosa.iter().zip([5.006, 3.428, 1.462, 0.246]) {
        assert!((found - mean).abs() < 1e-9, "{setosa:?}");
    }
}

#[test]
fn ties_go_to_the_first() {
    let points: Vec<Vec<f64>> = [0.0, 10.0, -10.0, 5.0].map(|x| vec![x]).to_vec();
    let clustering = cluster(Parameters { clusters: 2, iterations: 0, first: 4 }, &points).unwrap();
    assert_eq!(clustering.centres, [[0.0], [10.0]]);
    assert_eq!(clustering.assignment, [0, 1, 0, 0]);
    assert_eq!(clustering.inertia, 125.0);
}

#[test]
fn the_bytes_of_a_result_never_change() {
    let mut input = Vec::new();
    put_table(&mut input, &[vec![0.0], vec![1.0], vec![8.0]]);
    let output = run(&[2, 1, 0], &input).unwrap();
    let mut expected = Vec::new();
    put_table(&mut expected, &[vec![0.5], vec![8.0]]);
    expected.extend([3, 0, 0, 1]);
    put_float(&mut expected, 0.5);
    assert_eq!(output, expected);
}

#[test]
fn an_empty_cluster_keeps_its_centre() {
    let points = vec![vec![1.0], vec![1.0]];
    let clustering = cluster(Parameters { clusters: 2, iterations: 3, first: 0 }, &points).unwrap();
    assert_eq!((clustering.centres, clustering.assignment), (vec![vec![1.0], vec![1.0]], vec![0, 0]));
}

#[test]
fn wrong_input_is_refused() {
    assert_eq!(run(&[0, 1, 0], &[0]), Err(ClusterError::OutOfRange));
    assert_eq!(run(&[1, 0x91, 0x4e, 0], &[0]), Err(ClusterError::OutOfRange));
    assert_eq!(run(&[1], &[0]), Err(ClusterError::Parameters(DecodeError::Truncated)));
    assert_eq!(run(&[1, 1, 0], &[0]), Err(ClusterError::TooFewPoints));
    assert_eq!(run(&[1, 1, 0], &[1, 0]), Err(ClusterError::Ragged));
    let large = vec![vec![f64::MAX], vec![-f64::MAX]];
    let parameters = Parameters { clusters: 1, iterations: 1, first: 0 };
    assert_eq!(cluster(parameters, &large), Err(ClusterError::Overflow));
}
