//! How values come in: from a party, or from a client who is none.

use crate::committee::{Party, Tier};
use crate::error::MpcError;
use crate::field::{Field, Scalar};
use crate::operation::Operation;
use crate::session::Session;
use crate::session::open::Sharing;
use crate::shared::Shared;
use crate::vss::{Commitments, DealtShares};

impl Session {
    /// Values that one party knows. The others pass `None`.
    ///
    /// `semi-honest`: it deals shares. Otherwise it learns a random mask, and tells everybody the values plus the mask: what comes out is a right
    /// sharing whatever it says, and that it says the same to all is checked.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`] when the party has not `len` values, [`MpcError::MissingInput`] when it provides none (`robust`), or what ends a run.
    pub async fn input<F: Field>(
        &mut self,
        from: Party,
        len: usize,
        values: Option<&[F]>,
    ) -> Result<Shared<F>, MpcError> {
        if from.index() >= self.n() {
            return Err(MpcError::Parameter("an input belongs to a party of the committee"));
        }
        let mine = if from == self.me { values.unwrap_or_default() } else { &[] };
        if from == self.me && mine.len() != len {
            return Err(MpcError::Lengths { expected: len, got: mine.len() });
        }
        if self.tier() == Tier::SemiHonest {
            return self.deal(from, len, mine).await;
        }
        let mask = self.random::<F>(len).await?;
        let opened = self.open_among(&mask, Sharing::Verified, |party| party == from).await?;
        let masked: Vec<F> = opened.iter().flatten().zip(mine).map(|(&mask, &value)| value + mask).collect();
        let masked = self
            .announce_elements(from, len, &masked)
            .await?
            .ok_or(MpcError::MissingInput { party: from })?;
        Ok(mask.neg().add_public(&masked))
    }

    /// Shares that a client made, this party's part. The client sends each party its part of what [`crate::split`] makes.
    ///
    /// `malicious-abort` checks the degree, so that a client cannot give contradicting shares. `robust` refuses: a wrong share could not be told from
    /// a wrong party; use [`Session::masks`].
    ///
    /// # Errors
    ///
    /// [`MpcError::InconsistentInput`], [`MpcError::Unsupported`], or what ends a run.
    pub async fn accept<F: Field>(&mut self, shares: Vec<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::ClientShares)?;
        let shares = Shared::from_shares(shares);
        if self.tier() == Tier::MaliciousAbort && !shares.is_empty() {
            self.check_degree(&shares).await?;
        }
        Ok(shares)
    }

    /// Random masks for a client, who is given every party's shares of them, puts them together, and tells all parties the values plus the masks.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn masks<F: Field>(&mut self, len: usize) -> Result<Shared<F>, MpcError> {
        self.random(len).await
    }

    /// A client's values, of which it told every party the sum with masks that it had been given.
    ///
    /// # Errors
    ///
    /// [`MpcError::InconsistentInput`] when it did not tell all the same; [`MpcError::Lengths`]; what ends a run.
    pub async fn accept_masked<F: Field>(
        &mut self,
        masked: &[F],
        masks: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        masks.expect_len(masked.len())?;
        let settled = match self.settle_elements(masked.len(), Some(masked.to_vec()), None).await {
            Ok(settled) => settled.ok_or(MpcError::InconsistentInput)?,
            Err(MpcError::Cheating(crate::Check::Echo)) => return Err(MpcError::InconsistentInput),
            Err(error) => return Err(error),
        };
        Ok(masks.neg().add_public(&settled))
    }

    /// Shares that a client dealt with commitments, this party's part (see [`crate::vss`]). Each party checks its own, and all see to it that they check against the
    /// same commitments and are all content.
    ///
    /// # Errors
    ///
    /// [`MpcError::InconsistentInput`] if one of them is not; [`MpcError::Unsupported`] under `robust`, as for [`Session::accept`]; what ends a run.
    pub async fn accept_verifiable(
        &mut self,
        commitments: &Commitments,
        shares: &DealtShares,
    ) -> Result<Shared<Scalar>, MpcError> {
        self.expect::<Scalar>(Operation::ClientShares)?;
        let content =
            commitments.committee() == self.terms().committee() && commitments.check(self.me, shares).is_ok();
        // Whoever is not content says something that nobody else says.
        let verdict = if content { commitments.digest() } else { [self.me.0; 32] };
        let step = self.next_step()?;
        for to in self.peers() {
            let mut frame = self.wire.frame(to, step, 0, 32);
            frame.extend_from_slice(&verdict);
            self.wire.send(to, frame);
        }
        let mut agreed = content;
        for from in self.peers() {
            let theirs = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            agreed &= theirs[..] == verdict;
        }
        if agreed { Ok(Shared::from_shares(shares.values.clone())) } else { Err(MpcError::InconsistentInput) }
    }
}
