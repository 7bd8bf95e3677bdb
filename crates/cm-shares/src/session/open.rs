//! Opening: the moment at which a value stops being secret. Nothing is opened before every product is verified.

use crate::committee::{Party, Tier};
use crate::error::{Check, MpcError};
use crate::field::{Field, lagrange, point};
use crate::reconstruct::decode_all;
use crate::session::Session;
use crate::session::deal::{append, step_parts};
use crate::shared::Shared;

/// Whether a sharing is known to lie on polynomials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    Verified,
    Unverified,
}

impl Session {
    /// The values, for everybody. One round, after verification.
    ///
    /// `semi-honest`: from `t+1` shares. `malicious-abort`: all shares lie on a polynomial of degree `t`, or the run ends. `robust`: up to `t` wrong
    /// shares are corrected, and whose they are is remembered.
    ///
    /// # Errors
    ///
    /// [`MpcError::Cheating`] or [`MpcError::Cheated`] when the parties' shares contradict each other, or what ends a run.
    pub async fn open<F: Field>(&mut self, x: &Shared<F>) -> Result<Vec<F>, MpcError> {
        self.verify().await?;
        let opened = self.open_among(x, Sharing::Verified, |_| true).await?;
        Ok(opened.expect("it is opened to everybody"))
    }

    /// The values, for these parties only; `None` for all others. One round, after verification.
    ///
    /// # Errors
    ///
    /// As [`Session::open`]; [`MpcError::Parameter`] for a party that is none.
    pub async fn open_to<F: Field>(
        &mut self,
        x: &Shared<F>,
        parties: &[Party],
    ) -> Result<Option<Vec<F>>, MpcError> {
        if parties.iter().any(|party| party.index() >= self.n()) {
            return Err(MpcError::Parameter("a value can be opened to parties of the committee"));
        }
        self.verify().await?;
        self.open_among(x, Sharing::Verified, |party| parties.contains(&party)).await
    }

    /// This party's own shares, for a client who is to learn the values and puts them together with [`crate::reconstruct`]. After verification.
    ///
    /// # Errors
    ///
    /// As [`Session::verify`].
    pub async fn release<F: Field>(&mut self, x: &Shared<F>) -> Result<Vec<F>, MpcError> {
        self.verify().await?;
        Ok(x.as_slice().to_vec())
    }

    /// Opens what no unverified product has touched, or what is uniformly random whatever came before.
    pub(super) async fn open_unverified<F: Field>(&mut self, x: &Shared<F>) -> Result<Vec<F>, MpcError> {
        let opened = self.open_among(x, Sharing::Unverified, |_| true).await?;
        Ok(opened.expect("it is opened to everybody"))
    }

    /// Opens values to parties. In the tier `semi-honest` only as many shares travel as are needed.
    pub(super) async fn open_among<F: Field>(
        &mut self,
        x: &Shared<F>,
        sharing: Sharing,
        receives: impl Fn(Party) -> bool + Copy,
    ) -> Result<Option<Vec<F>>, MpcError> {
        let mut opened = receives(self.me).then(Vec::new);
        for part in step_parts::<F>(x.len()) {
            let values = if part.len() == x.len() {
                self.open_step(x, sharing, receives).await?
            } else {
                self.open_step(&x.slice(part), sharing, receives).await?
            };
            if let (Some(opened), Some(values)) = (&mut opened, values) {
                append(opened, values);
            }
        }
        Ok(opened)
    }

    async fn open_step<F: Field>(
        &mut self,
        x: &Shared<F>,
        sharing: Sharing,
        receives: impl Fn(Party) -> bool,
    ) -> Result<Option<Vec<F>>, MpcError> {
        let (me, n, t) = (self.me, self.n(), self.t());
        let step = self.next_step()?;
        let sends = |from: Party, to: Party| {
            let distance = (to.index() + n - from.index()) % n;
            distance != 0 && receives(to) && (self.tier() != Tier::SemiHonest || distance <= t)
        };
        for to in self.peers().filter(|&to| sends(me, to)) {
            self.send_elements(to, step, x.as_slice());
        }
        if !receives(me) {
            return Ok(None);
        }
        let mut received: Vec<(Party, Vec<F>)> = Vec::new();
        for from in self.peers().filter(|&from| sends(from, me)) {
            match self.receive_elements(from, step, x.len()).await? {
                Some(values) => received.push((from, values)),
                None if self.tier() == Tier::Robust => {}
                None => return Err(MpcError::Lost { party: from }),
            }
        }
        let mut shares: Vec<(Party, &[F])> = vec![(me, x.as_slice())];
        shares.extend(received.iter().map(|(party, values)| (*party, values.as_slice())));
        self.put_together(&shares, sharing).map(Some)
    }

    /// Values out of shares, as the tier demands.
    fn put_together<F: Field>(&self, shares: &[(Party, &[F])], sharing: Sharing) -> Result<Vec<F>, MpcError> {
        let degree = self.t();
        match self.tier() {
            Tier::SemiHonest => {
                let points: Vec<F> = shares.iter().map(|(party, _)| point(party.index())).collect();
                let weights = lagrange(&points, F::ZERO);
                let value = |place: usize| {
                    let term = |sum, (&weight, (_, values)): (&F, &(Party, &[F]))| {
                        F::accumulate(sum, weight, values[place])
                    };
                    F::reduce(weights.iter().zip(shares).fold(F::Wide::default(), term))
                };
                Ok((0..shares[0].1.len()).map(value).collect())
            }
            Tier::MaliciousAbort => {
                let decoded =
                    decode_all(shares, degree, self.t()).map_err(|_| MpcError::Cheating(Check::Degree))?;
                // With n ≥ 3t+1 the correction is certain, with fewer, t cheaters could make others look wrong; so can they before verification, by
                // what they contributed to a product.
                let certain = sharing == Sharing::Verified && shares.len() > degree + 2 * self.t();
                match decoded.wrong.first() {
                    None => Ok(decoded.values),
                    Some(&party) if certain => {
                        self.wire.condemn(party);
                        Err(MpcError::Cheated { party, check: Check::Degree })
                    }
                    Some(_) => Err(MpcError::Cheating(Check::Degree)),
                }
            }
            Tier::Robust => {
                let decoded =
                    decode_all(shares, degree, self.t()).map_err(|_| MpcError::Cheating(Check::Degree))?;
                for &party in &decoded.wrong {
                    self.wire.condemn(party);
                }
                Ok(decoded.values)
            }
        }
    }
}
