//! k-means clustering (Lloyd's algorithm) with a fixed initialisation and a fixed number of iterations.
//!
//! # Files
//!
//! | name | bytes |
//! | --- | --- |
//! | `/parameters` | three LEB128 integers: clusters k (1 to 4096), iterations (at most 10000), index of the first centre |
//! | `/input-0` | LEB128 count of points; each point: LEB128 count and that many little-endian `f64` |
//! | `/output` | the centres as a table (like `/input-0`); then LEB128 count and one LEB128 cluster per point, in input order; then one little-endian `f64`: the sum of squared distances to the assigned centres |
//!
//! All points have the same number of coordinates, at least one, and there are at least k of them.
//!
//! # The computation, step by step
//!
//! 1. The first centre is the point whose index is given, modulo the number of points. Each further centre is the
//!    point farthest from its nearest centre (Gonzalez 1985); of equal ones the first in input order.
//! 2. An iteration assigns each point to the nearest centre (of equal ones the lowest cluster), then moves each centre
//!    to the mean of its points: coordinates are added in input order, starting at 0.0, and divided by the
//!    count. A cluster without points keeps its centre.
//! 3. After the last iteration the points are assigned once more; that assignment is written.
//!
//! A squared distance starts at 0.0 and adds `d * d` per coordinate in order. All operations are IEEE 754 binary64,
//! rounded once, in this order, so that results are reproducible bit for bit.

use std::fmt;

use guest::codec::{DecodeError, Reader, put_float, put_integer, put_table};

/// The most clusters that are accepted.
pub const CLUSTERS_MAX: u64 = 4096;
/// The most iterations that are accepted.
pub const ITERATIONS_MAX: u64 = 10_000;

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// How many clusters.
    pub clusters: usize,
    /// How many times the centres move.
    pub iterations: u64,
    /// Which point is the first centre, modulo the number of points.
    pub first: u64,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// One centre per cluster.
    pub centres: Vec<Vec<f64>>,
    /// The cluster of each point, in input order.
    pub assignment: Vec<usize>,
    /// The sum of squared distances of the points to their centres.
    pub inertia: f64,
}

/// Why there is no clustering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterError {
    /// The parameter file is not three integers.
    Parameters(DecodeError),
    /// A parameter is out of its range.
    OutOfRange,
    /// The input is not a table.
    Points(DecodeError),
    /// Fewer points than clusters.
    TooFewPoints,
    /// Points without coordinates, or with different numbers of them.
    Ragged,
    /// A sum or a distance overflows.
    Overflow,
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters(error) => write!(f, "parameters: {error}"),
            Self::OutOfRange => {
                write!(f, "clusters must be 1 to {CLUSTERS_MAX}, iterations at most {ITERATIONS_MAX}")
            }
            Self::Points(error) => write!(f, "points: {error}"),
            Self::TooFewPoints => f.write_str("there are fewer points than clusters"),
            Self::Ragged => f.write_str("points must have the same number of coordinates, at least one"),
            Self::Overflow => f.write_str("a sum or a distance overflows"),
        }
    }
}

impl std::error::Error for ClusterError {}

/// The whole program: parameter and input bytes to output bytes.
pub fn run(parameters: &[u8], input: &[u8]) -> Result<Vec<u8>, ClusterError> {
    let parameters = decode_parameters(parameters)?;
    let points = decode_points(input).map_err(ClusterError::Points)?;
    let clustering = cluster(parameters, &points)?;
    let mut out = Vec::new();
    put_table(&mut out, &clustering.centres);
    put_integer(&mut out, clustering.assignment.len() as u64);
    for &cluster in &clustering.assignment {
        put_integer(&mut out, cluster as u64);
    }
    put_float(&mut out, clustering.inertia);
    Ok(out)
}

/// Reads and checks the parameters.
pub fn decode_parameters(bytes: &[u8]) -> Result<Parameters, ClusterError> {
    let read = || -> Result<[u64; 3], DecodeError> {
        let mut reader = Reader::new(bytes);
        let values = [reader.integer()?, reader.integer()?, reader.integer()?];
        reader.finish()?;
        Ok(values)
    };
    let [clusters, iterations, first] = read().map_err(ClusterError::Parameters)?;
    if clusters == 0 || clusters > CLUSTERS_MAX || iterations > ITERATIONS_MAX {
        return Err(ClusterError::OutOfRange);
    }
    Ok(Parameters { clusters: clusters as usize, iterations, first })
}

fn decode_points(bytes: &[u8]) -> Result<Vec<Vec<f64>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let points = reader.table()?;
    reader.finish()?;
    Ok(points)
}

/// Clusters the points, exactly as the crate's documentation says.
pub fn cluster(parameters: Parameters, points: &[Vec<f64>]) -> Result<Clustering, ClusterError> {
    let dimensions = points.first().map_or(0, Vec::len);
    if points.len() < parameters.clusters {
        return Err(ClusterError::TooFewPoints);
    }
    if dimensions == 0 || points.iter().any(|point| point.len() != dimensions) {
        return Err(ClusterError::Ragged);
    }
    let mut centres = initial_centres(parameters, points);
    for _ in 0..parameters.iterations {
        let (assignment, _) = assign(&centres, points);
        move_centres(&mut centres, &assignment, points);
    }
    let (assignment, inertia) = assign(&centres, points);
    let finite = inertia.is_finite() && centres.iter().flatten().all(|value| value.is_finite());
    if finite { Ok(Clustering { centres, assignment, inertia }) } else { Err(ClusterError::Overflow) }
}

/// Farthest-first traversal from the given point.
fn initial_centres(parameters: Parameters, points: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut next = (parameters.first % points.len() as u64) as usize;
    let mut nearest = vec![f64::INFINITY; points.len()];
    let mut centres = Vec::with_capacity(parameters.clusters);
    loop {
        let centre = points[next].clone();
        for (distance, point) in nearest.iter_mut().zip(points) {
            let to_centre = distance_squared(point, &centre);
            if to_centre < *distance {
                *distance = to_centre;
            }
        }
        centres.push(centre);
        if centres.len() == parameters.clusters {
            return centres;
        }
        next = 0;
        for (index, distance) in nearest.iter().enumerate() {
            if *distance > nearest[next] {
                next = index;
            }
        }
    }
}

/// The nearest centre of each point, and the sum of the squared distances.
fn assign(centres: &[Vec<f64>], points: &[Vec<f64>]) -> (Vec<usize>, f64) {
    let mut inertia = 0.0;
    let assignment = points
        .iter()
        .map(|point| {
            let (mut best, mut best_distance) = (0, distance_squared(point, &centres[0]));
            for (index, centre) in centres.iter().enumerate().skip(1) {
                let distance = distance_squared(point, centre);
                if distance < best_distance {
                    (best, best_distance) = (index, distance);
                }
            }
            inertia += best_distance;
            best
        })
        .collect();
    (assignment, inertia)
}

/// Moves each centre to the mean of its points.
fn move_centres(centres: &mut [Vec<f64>], assignment: &[usize], points: &[Vec<f64>]) {
    let dimensions = points[0].len();
    let mut sums = vec![vec![0.0; dimensions]; centres.len()];
    let mut counts = vec![0u64; centres.len()];
    for (&cluster, point) in assignment.iter().zip(points) {
        counts[cluster] += 1;
        for (sum, value) in sums[cluster].iter_mut().zip(point) {
            *sum += value;
        }
    }
    for ((centre, sum), count) in centres.iter_mut().zip(sums).zip(counts) {
        if count > 0 {
            *centre = sum.into_iter().map(|value| value / count as f64).collect();
        }
    }
}

fn distance_squared(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (left, right) in a.iter().zip(b) {
        let d = left - right;
        sum += d * d;
    }
    sum
}

#[cfg(test)]
mod tests;
