//! Shares that prove themselves: verifiable secret sharing for the inputs of clients who are not trusted.
//!
//! The dealer commits to the coefficients of its polynomials by points of secp256k1; every party checks its own share against them, alone. Feldman ("A Practical
//! Scheme for Non-interactive Verifiable Secret Sharing", FOCS 1987) shows the value times the generator, which gives away values that can be guessed;
//! Pedersen ("Non-Interactive and Information-Theoretic Secure Verifiable Secret Sharing", CRYPTO 1991) hides them perfectly and doubles the shares.
//!
//! Many values are checked at once by a random combination of 128 bits: a wrong share passes with probability 2^-128.

use cm_crypto::Secret;
use cm_crypto::digest::Sha256;
use cm_crypto::secret::random_bytes;
use k256::elliptic_curve::group::GroupEncoding as _;
use k256::{CompressedPoint, ProjectivePoint};

use crate::committee::{Committee, Party};
use crate::error::MpcError;
use crate::field::{Field, Scalar, point};
use crate::keys::{Domain, Stream, digest_of};

/// Bytes of an encoded point.
const POINT_BYTES: usize = 33;

/// Values in one dealing, at most.
pub const DEALING_MAX: usize = 1 << 16;

/// How the dealer commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Commitments show the value times the generator.
    Feldman,
    /// Commitments show nothing.
    Pedersen,
}

/// Commitments to the polynomials of many values, the same for all parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments {
    scheme: Scheme,
    committee: Committee,
    /// For each value the commitments to its coefficients, the constant one first.
    points: Vec<Vec<ProjectivePoint>>,
}

/// What one party is given.
#[derive(Clone, PartialEq, Eq)]
pub struct DealtShares {
    /// Its shares of the values.
    pub values: Vec<Scalar>,
    /// Its shares of the blinding polynomials; none under [`Scheme::Feldman`].
    pub blindings: Vec<Scalar>,
}

impl std::fmt::Debug for DealtShares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DealtShares({} values)", self.values.len())
    }
}

/// Shares of values for every party, and commitments by which each checks its own.
///
/// # Errors
///
/// [`MpcError::Parameter`] for more than [`DEALING_MAX`] values.
pub fn deal(
    scheme: Scheme,
    values: &[Scalar],
    committee: Committee,
) -> Result<(Commitments, Vec<DealtShares>), MpcError> {
    if values.len() > DEALING_MAX {
        return Err(MpcError::Parameter("at most 65536 values are dealt at once"));
    }
    let stream = Stream::new(&Secret::new(random_bytes()));
    let draw = |lane: u8, number: usize| {
        stream.elements::<Scalar>(Domain::Local, lane, 0, number as u32, committee.threshold() + 1)
    };
    let blinding_base = blinding_base();
    let mut points = Vec::with_capacity(values.len());
    let mut shares = vec![DealtShares { values: Vec::new(), blindings: Vec::new() }; committee.parties()];
    for (number, &value) in values.iter().enumerate() {
        let mut coefficients = draw(0, number);
        coefficients[0] = value;
        let blindings = if scheme == Scheme::Pedersen { draw(1, number) } else { Vec::new() };
        for (index, shares) in shares.iter_mut().enumerate() {
            shares.values.push(evaluate(&coefficients, index));
            if scheme == Scheme::Pedersen {
                shares.blindings.push(evaluate(&blindings, index));
            }
        }
        let mut commitments: Vec<ProjectivePoint> =
            coefficients.iter().map(|c| ProjectivePoint::GENERATOR * c.inner()).collect();
        for (commitment, blinding) in commitments.iter_mut().zip(&blindings) {
            *commitment += blinding_base * blinding.inner();
        }
        points.push(commitments);
    }
    Ok((Commitments { scheme, committee, points }, shares))
}

fn evaluate(coefficients: &[Scalar], index: usize) -> Scalar {
    let x = point::<Scalar>(index);
    coefficients.iter().rev().fold(Scalar::ZERO, |sum, &coefficient| sum * x + coefficient)
}

/// A point of which nobody knows the discrete logarithm: the first x-coordinate among digests of a text and a number that is one.
fn blinding_base() -> ProjectivePoint {
    (0u32..)
        .find_map(|number| {
            let mut digest = Sha256::new();
            digest.update(b"cryptomesh/mpc/pedersen/v1");
            digest.update(&number.to_le_bytes());
            let mut bytes = [2; POINT_BYTES];
            bytes[1..].copy_from_slice(digest.finish().as_bytes());
            read_point(&bytes)
        })
        .expect("every second number is the coordinate of a point")
}

fn read_point(bytes: &[u8]) -> Option<ProjectivePoint> {
    let compressed = CompressedPoint::try_from(bytes).ok()?;
    Option::from(ProjectivePoint::from_bytes(&compressed))
}

impl Commitments {
    /// For whom the shares are.
    pub fn committee(&self) -> Committee {
        self.committee
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Whether the shares are those that the dealer committed to.
    ///
    /// # Errors
    ///
    /// [`MpcError::InconsistentInput`] if not, [`MpcError::Lengths`] for another number of them.
    pub fn check(&self, party: Party, shares: &DealtShares) -> Result<(), MpcError> {
        let blindings = if self.scheme == Scheme::Pedersen { self.len() } else { 0 };
        for (expected, got) in [(self.len(), shares.values.len()), (blindings, shares.blindings.len())] {
            if expected != got {
                return Err(MpcError::Lengths { expected, got });
            }
        }
        let factors: Vec<Scalar> = (0..self.len())
            .map(|_| {
                let [low, high] =
                    [random_bytes(), random_bytes()].map(u64::from_le_bytes).map(Scalar::from_u64);
                high * Scalar::power_of_two(64) + low
            })
            .collect();
        let value = Scalar::dot(&factors, &shares.values);
        let mut expected = ProjectivePoint::GENERATOR * value.inner();
        if self.scheme == Scheme::Pedersen {
            expected += blinding_base() * Scalar::dot(&factors, &shares.blindings).inner();
        }
        let x = point::<Scalar>(party.index()).inner();
        let mut committed = ProjectivePoint::IDENTITY;
        for degree in (0..=self.committee.threshold()).rev() {
            let coefficient: ProjectivePoint = self
                .points
                .iter()
                .zip(&factors)
                .map(|(points, factor)| points[degree] * factor.inner())
                .sum();
            committed = committed * x + coefficient;
        }
        if committed == expected { Ok(()) } else { Err(MpcError::InconsistentInput) }
    }

    /// A digest that parties compare, so that all check against the same commitments.
    pub fn digest(&self) -> [u8; 32] {
        digest_of(&[b"commitments", &self.to_bytes()])
    }

    /// The commitments as bytes: scheme, parties, threshold, then compressed points.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (n, t) = (self.committee.parties(), self.committee.threshold());
        let mut bytes = vec![u8::from(self.scheme == Scheme::Pedersen), Party::at(n).0, Party::at(t).0];
        for point in self.points.iter().flatten() {
            bytes.extend_from_slice(&point.to_bytes());
        }
        bytes
    }

    /// Reads what [`Commitments::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`MpcError::Encoding`] for anything else, [`MpcError::Committee`] for a committee that cannot be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MpcError> {
        const REFUSED: MpcError = MpcError::Encoding("commitments");
        let (&[scheme, parties, threshold], rest) = bytes.split_first_chunk::<3>().ok_or(REFUSED)?;
        let scheme = match scheme {
            0 => Scheme::Feldman,
            1 => Scheme::Pedersen,
            _ => return Err(REFUSED),
        };
        let committee = Committee::with_threshold(parties.into(), threshold.into())?;
        let row = (committee.threshold() + 1) * POINT_BYTES;
        if rest.len() % row != 0 || rest.len() / row > DEALING_MAX {
            return Err(REFUSED);
        }
        let read = |row: &[u8]| row.chunks_exact(POINT_BYTES).map(read_point).collect::<Option<Vec<_>>>();
        let points = rest.chunks_exact(row).map(read).collect::<Option<Vec<_>>>().ok_or(REFUSED)?;
        Ok(Self { scheme, committee, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconstruct;

    #[test]
    fn shares_prove_themselves() {
        let committee = Committee::of(5).unwrap();
        let values: Vec<Scalar> = [3, 0, 77].map(Scalar::from_u64).to_vec();
        for scheme in [Scheme::Feldman, Scheme::Pedersen] {
            let (commitments, shares) = deal(scheme, &values, committee).unwrap();
            let commitments = Commitments::from_bytes(&commitments.to_bytes()).unwrap();
            for (index, share) in shares.iter().enumerate() {
                assert_eq!(commitments.check(Party::at(index), share), Ok(()));
                assert!(commitments.check(Party::at((index + 1) % 5), share).is_err(), "of another party");
                let mut wrong = share.clone();
                wrong.values[1] += Scalar::ONE;
                assert_eq!(commitments.check(Party::at(index), &wrong), Err(MpcError::InconsistentInput));
            }
            let all: Vec<(Party, Vec<Scalar>)> = shares
                .into_iter()
                .enumerate()
                .map(|(index, shares)| (Party::at(index), shares.values))
                .collect();
            assert_eq!(reconstruct(committee, &all[1..4]).unwrap().values, values);
        }
    }

    #[test]
    fn only_pedersen_hides_what_can_be_guessed() {
        let committee = Committee::of(3).unwrap();
        let shown = |scheme| deal(scheme, &[Scalar::from_u64(5)], committee).unwrap().0.points[0][0];
        assert_eq!(shown(Scheme::Feldman), ProjectivePoint::GENERATOR * Scalar::from_u64(5).inner());
        assert_ne!(shown(Scheme::Pedersen), shown(Scheme::Pedersen));
    }

    #[test]
    fn what_is_no_commitment_is_refused() {
        let (commitments, _) = deal(Scheme::Feldman, &[Scalar::ONE], Committee::of(3).unwrap()).unwrap();
        let bytes = commitments.to_bytes();
        assert!(Commitments::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Commitments::from_bytes(&[]).is_err());
        let mut other = bytes.clone();
        other[0] = 7;
        assert!(Commitments::from_bytes(&other).is_err());
        other = bytes;
        other[3] = 9;
        assert!(Commitments::from_bytes(&other).is_err());
    }
}
