//! New shares of old values: refreshed among the same parties, or handed to others.
//!
//! Herzberg, Jarecki, Krawczyk and Yung, "Proactive Secret Sharing", CRYPTO 1995; Desmedt and Jajodia, "Redistributing Secret Shares to New Access Structures", 1997.
//! Shares that were stolen before a refresh and shares that were stolen after it do not add up.

use cm_crypto::Secret;
use cm_crypto::secret::random_bytes;

use crate::committee::{Committee, Tier};
use crate::error::MpcError;
use crate::field::{Field, lagrange, point};
use crate::keys::Stream;
use crate::operation::Operation;
use crate::reconstruct::split_by;
use crate::session::Session;
use crate::shared::Shared;

/// What a party of an old committee hands to each party of a new one: a sharing of its own shares, one vector for each new party.
///
/// The vector of a party is for that party alone. It is taken in by [`Session::take_over`].
pub fn hand_over<F: Field>(shares: &Shared<F>, new: Committee) -> Vec<Vec<F>> {
    split_by(shares.as_slice(), new, &Stream::new(&Secret::new(random_bytes())))
}

impl Session {
    /// The same values under new shares that do not depend on the old ones. One round.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn refresh<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Refresh)?;
        let random = self.random::<F>(x.len()).await?;
        // Uniformly random, so it may be known.
        let masked = self.open(&x.add(&random)).await?;
        Ok(random.neg().add_public(&masked))
    }

    /// Values that an old committee hands over: `parts` is what this party was given by each old party ([`hand_over`]), in the order of their numbers.
    ///
    /// `malicious-abort`: every part must be a sharing of the right degree, and what the old parties shared must lie on polynomials of the old threshold; with
    /// no more cheaters among the old than their threshold, nobody can change a value. All old parties are needed for that.
    ///
    /// # Errors
    ///
    /// [`MpcError::Unsupported`] under `robust`; [`MpcError::InconsistentInput`] when an old party cheated; [`MpcError::Lengths`]; what ends a run.
    pub async fn take_over<F: Field>(
        &mut self,
        old: Committee,
        parts: &[Vec<F>],
    ) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Reshare)?;
        if parts.len() != old.parties() {
            return Err(MpcError::Lengths { expected: old.parties(), got: parts.len() });
        }
        let parts: Vec<Shared<F>> = parts.iter().cloned().map(Shared::from_shares).collect();
        let len = parts[0].len();
        for part in &parts {
            part.expect_len(len)?;
        }
        let degree = old.threshold();
        let points: Vec<F> = (0..=degree).map(point).collect();
        let combine = |weights: &[F]| {
            weights
                .iter()
                .zip(&parts)
                .fold(Shared::constant(F::ZERO, len), |sum, (&weight, part)| sum.add(&part.scale(weight)))
        };
        if self.terms().tier() == Tier::MaliciousAbort && len > 0 {
            if old.parties() < 2 * degree + 1 {
                return Err(MpcError::Committee {
                    parties: old.parties(),
                    threshold: degree,
                    need: "handing over safely takes more than twice the threshold",
                });
            }
            self.accept(Shared::concat(&parts).as_slice().to_vec()).await?;
            // What the first parties shared predicts what the others did: differences are zero, and nothing else opens.
            let differences: Vec<Shared<F>> = (degree + 1..old.parties())
                .map(|party| combine(&lagrange(&points, point(party))).sub(&parts[party]))
                .collect();
            let opened = self.open(&Shared::concat(&differences)).await?;
            if opened.iter().any(|&difference| difference != F::ZERO) {
                return Err(MpcError::InconsistentInput);
            }
        }
        Ok(combine(&lagrange(&points, F::ZERO)))
    }
}
