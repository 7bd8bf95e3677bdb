//! Splitting values into shares, and putting shares together: checking their degree, correcting wrong ones, naming whose they are.
//!
//! Shares of a value are points of a polynomial of degree `t`, a Reed-Solomon code. The usual case is checked first: the first points predict the
//! others. Only where they do not, the code is decoded (Welch and Berlekamp, US patent 4,633,470 of 1986, long expired; in the form of Gemmell and
//! Sudan, "Highly Resilient Correctors for Polynomials", 1992).

use cm_crypto::Secret;
use cm_crypto::secret::random_bytes;

use crate::committee::{Committee, Party};
use crate::error::MpcError;
use crate::field::{Field, lagrange, point};
use crate::keys::{Domain, Stream};

/// Values that were put together from shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconstructed<F> {
    /// The values.
    pub values: Vec<F>,
    /// Whose shares were wrong, in at least one place.
    pub wrong: Vec<Party>,
}

/// One vector of shares for each party, any `t` of which say nothing about the values.
pub fn split<F: Field>(values: &[F], committee: Committee) -> Vec<Vec<F>> {
    let stream = Stream::new(&Secret::new(random_bytes()));
    split_by(values, committee, &stream)
}

pub(crate) fn split_by<F: Field>(values: &[F], committee: Committee, stream: &Stream) -> Vec<Vec<F>> {
    let mut shares = vec![Vec::with_capacity(values.len()); committee.parties()];
    for (chunk, values) in (0u32..).zip(values.chunks(4096)) {
        let draw = |power| stream.elements::<F>(Domain::Local, power, 0, chunk, values.len());
        let coefficients: Vec<Vec<F>> = (0..Party::at(committee.threshold()).0).map(draw).collect();
        for (index, shares) in shares.iter_mut().enumerate() {
            let x = point::<F>(index);
            shares.extend(values.iter().enumerate().map(|(place, &value)| {
                let above = coefficients
                    .iter()
                    .rev()
                    .fold(F::ZERO, |sum, coefficient| (sum + coefficient[place]) * x);
                above + value
            }));
        }
    }
    shares
}

/// Puts values together from the shares of some parties, with every error corrected that can be.
///
/// `n` shares of threshold `t` correct `(n-t-1)/2` wrong ones and find `n-t-1`.
///
/// # Errors
///
/// [`MpcError::TooFewShares`] for `t` or fewer, [`MpcError::Lengths`] for vectors of different lengths, [`MpcError::WrongShares`] when they
/// contradict each other beyond repair, [`MpcError::Parameter`] for a party that is none or occurs twice.
pub fn reconstruct<F: Field>(
    committee: Committee,
    shares: &[(Party, Vec<F>)],
) -> Result<Reconstructed<F>, MpcError> {
    let mut seen = [false; crate::PARTIES_MAX];
    for (party, _) in shares {
        if party.index() >= committee.parties() || std::mem::replace(&mut seen[party.index()], true) {
            return Err(MpcError::Parameter("shares come from different parties of the committee"));
        }
    }
    let shares: Vec<(Party, &[F])> =
        shares.iter().map(|(party, shares)| (*party, shares.as_slice())).collect();
    decode_all(&shares, committee.threshold(), usize::MAX)
}

/// Decodes vectors of points of polynomials of this degree with at most `errors_max` wrong points each.
pub(crate) fn decode_all<F: Field>(
    shares: &[(Party, &[F])],
    degree: usize,
    errors_max: usize,
) -> Result<Reconstructed<F>, MpcError> {
    if shares.len() <= degree {
        return Err(MpcError::TooFewShares { have: shares.len(), need: degree + 1 });
    }
    let len = shares[0].1.len();
    if let Some((_, other)) = shares.iter().find(|(_, values)| values.len() != len) {
        return Err(MpcError::Lengths { expected: len, got: other.len() });
    }
    let points: Vec<F> = shares.iter().map(|(party, _)| point(party.index())).collect();
    let (basis, rest) = shares.split_at(degree + 1);
    let combine = |weights: &[F], place: usize| {
        let sum = weights.iter().zip(basis).fold(F::Wide::default(), |sum, (&weight, (_, values))| {
            F::accumulate(sum, weight, values[place])
        });
        F::reduce(sum)
    };
    let secret = lagrange(&points[..degree + 1], F::ZERO);
    let predictions: Vec<Vec<F>> =
        points[degree + 1..].iter().map(|&at| lagrange(&points[..degree + 1], at)).collect();
    let mut values: Vec<F> = (0..len).map(|place| combine(&secret, place)).collect();
    let mut suspect = vec![false; len];
    for (weights, (_, shares)) in predictions.iter().zip(rest) {
        for (place, suspect) in suspect.iter_mut().enumerate() {
            *suspect |= combine(weights, place) != shares[place];
        }
    }
    let errors_max = errors_max.min((shares.len() - degree - 1) / 2);
    let mut wrong = vec![false; shares.len()];
    for place in (0..len).filter(|&place| suspect[place]) {
        let received: Vec<F> = shares.iter().map(|(_, values)| values[place]).collect();
        let polynomial = correct(&points, &received, degree, errors_max).ok_or(MpcError::WrongShares)?;
        values[place] = polynomial[0];
        for ((wrong, &x), &y) in wrong.iter_mut().zip(&points).zip(&received) {
            *wrong |= evaluate(&polynomial, x) != y;
        }
    }
    let wrong = shares.iter().zip(wrong).filter(|(_, wrong)| *wrong).map(|((party, _), _)| *party).collect();
    Ok(Reconstructed { values, wrong })
}

fn evaluate<F: Field>(polynomial: &[F], x: F) -> F {
    polynomial.iter().rev().fold(F::ZERO, |sum, &coefficient| sum * x + coefficient)
}

/// The polynomial of this degree that all but `errors` of the points lie on.
fn correct<F: Field>(points: &[F], values: &[F], degree: usize, errors: usize) -> Option<Vec<F>> {
    // Q(x) = y·E(x) at every point, E monic of degree `errors`, Q of degree `errors + degree`. Unknowns: Q's coefficients, then E's below the first.
    let unknowns = degree + 1 + 2 * errors;
    let rows = points.iter().zip(values).map(|(&x, &y)| {
        let mut row = Vec::with_capacity(unknowns + 1);
        let mut power = F::ONE;
        for _ in 0..=degree + errors {
            row.push(power);
            power = power * x;
        }
        let mut power = F::ONE;
        for _ in 0..errors {
            row.push(-(y * power));
            power = power * x;
        }
        row.push(y * power);
        row
    });
    let solution = solve(rows.collect(), unknowns)?;
    let mut dividend = solution[..=degree + errors].to_vec();
    let mut divisor = solution[degree + errors + 1..].to_vec();
    divisor.push(F::ONE);
    let mut quotient = vec![F::ZERO; degree + 1];
    for place in (0..=degree).rev() {
        let factor = dividend[place + errors];
        quotient[place] = factor;
        for (offset, &coefficient) in divisor.iter().enumerate() {
            dividend[place + offset] = dividend[place + offset] - factor * coefficient;
        }
    }
    let off = points.iter().zip(values).filter(|&(&x, &y)| evaluate(&quotient, x) != y).count();
    (off <= errors).then_some(quotient)
}

/// A solution of linear equations, each a row that ends in its right side. Unknowns that are free become zero.
fn solve<F: Field>(mut rows: Vec<Vec<F>>, unknowns: usize) -> Option<Vec<F>> {
    let mut pivots = Vec::new();
    for column in 0..unknowns {
        let rank = pivots.len();
        let Some(found) = (rank..rows.len()).find(|&row| rows[row][column] != F::ZERO) else { continue };
        rows.swap(rank, found);
        let inverse = rows[rank][column].invert().expect("a pivot is not zero");
        let pivot: Vec<F> = rows[rank].iter().map(|&value| value * inverse).collect();
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[column];
            if index != rank && factor != F::ZERO {
                for (value, &pivot) in row.iter_mut().zip(&pivot) {
                    *value = *value - factor * pivot;
                }
            }
        }
        rows[rank] = pivot;
        pivots.push(column);
    }
    if rows[pivots.len()..].iter().any(|row| row[unknowns] != F::ZERO) {
        return None;
    }
    let mut solution = vec![F::ZERO; unknowns];
    for (row, &column) in rows.iter().zip(&pivots) {
        solution[column] = row[unknowns];
    }
    Some(solution)
}

#[cfg(test)]
mod tests;
