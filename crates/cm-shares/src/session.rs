//! A party's side of one run: what it holds, and the steps it takes together with the others.

mod announce;
mod deal;
mod input;
pub(crate) mod ledger;
mod open;
mod random;
mod signing;
mod triples;
mod verify;

use crate::committee::{Party, Terms, Tier};
use crate::error::MpcError;
use crate::field::Field;
use crate::keys::{Keys, Stream};
use crate::operation::{Operation, support};
use crate::shared::Shared;
use crate::wire::Wire;
use ledger::{Claim, Ledger, Ledgers};
use random::Seeds;
pub use signing::Signed;

/// Bytes of elements per frame. Small enough that a link carries one while the next is computed.
pub const CHUNK_BYTES: usize = 32 << 10;

/// Products that may wait for verification. That many stay in a processor's cache, and the rounds of the check hardly count for each.
const PENDING_MAX: usize = 1 << 18;

/// A party's side of one run.
///
/// Every method that talks is a step that all parties take in the same order with operands of the same lengths. What an error leaves
/// behind is not to be computed with: the run has ended.
pub struct Session {
    terms: Terms,
    me: Party,
    keys: Keys,
    wire: Wire,
    pairs: Vec<Stream>,
    seeds: Option<Seeds>,
    ledgers: Ledgers,
    step: u32,
    complaints: Vec<usize>,
}

impl Session {
    pub(crate) fn new(terms: Terms, keys: &Keys, wire: Wire) -> Self {
        let stream = |peer| Stream::new(&keys.pair(peer, terms.job(), "cryptomesh/mpc/stream/v1"));
        Self {
            terms,
            me: keys.party(),
            wire,
            pairs: (0..keys.parties()).map(stream).collect(),
            seeds: None,
            ledgers: Ledgers::new(&terms, keys.party()),
            step: 0,
            complaints: vec![0; keys.parties()],
            keys: keys.clone(),
        }
    }

    /// Whose side it is.
    pub fn me(&self) -> Party {
        self.me
    }

    /// What the parties agreed on.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    fn n(&self) -> usize {
        self.terms.committee().parties()
    }

    fn t(&self) -> usize {
        self.terms.committee().threshold()
    }

    fn tier(&self) -> Tier {
        self.terms.tier()
    }

    fn peers(&self) -> impl Iterator<Item = Party> + use<> {
        let me = self.me;
        self.terms.committee().members().filter(move |&party| party != me)
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(crate) fn pair_stream(&self, peer: Party) -> &Stream {
        &self.pairs[peer.index()]
    }

    pub(crate) fn next_step(&mut self) -> Result<u32, MpcError> {
        self.step = self.step.checked_add(1).ok_or(MpcError::TooLong)?;
        Ok(self.step)
    }

    fn ledger<F: Field>(&mut self) -> &mut Ledger<F> {
        F::ledger(&mut self.ledgers)
    }

    /// Products, element by element. One round.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn mul<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        b.expect_len(a.len())?;
        if self.tier() == Tier::Robust {
            return self.multiply_by_triples(a, b).await;
        }
        let (x, y) = (a.as_slice(), b.as_slice());
        let products = |start: usize, out: &mut [F]| {
            let len = out.len();
            for ((out, &x), &y) in out.iter_mut().zip(&x[start..start + len]).zip(&y[start..start + len]) {
                *out = x * y;
            }
        };
        let z = self.reduce_degree(a.len(), products).await?;
        self.claim(Claim::Dots { x: a.clone(), y: b.clone(), z: z.clone(), inner: 1 }).await?;
        Ok(z)
    }

    /// The inner product of each `inner` elements in a row: as much to send as one product each, whatever `inner` is. One round.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn dots<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        inner: usize,
    ) -> Result<Shared<F>, MpcError> {
        b.expect_len(a.len())?;
        if inner == 0 || !a.len().is_multiple_of(inner) {
            return Err(MpcError::Lengths { expected: inner, got: a.len() });
        }
        if self.tier() == Tier::Robust {
            return Ok(self.multiply_by_triples(a, b).await?.sum_each(inner));
        }
        let (x, y) = (a.as_slice(), b.as_slice());
        let products = |start: usize, out: &mut [F]| {
            for (place, out) in (start..).zip(out) {
                *out = F::dot(&x[place * inner..(place + 1) * inner], &y[place * inner..(place + 1) * inner]);
            }
        };
        let z = self.reduce_degree(a.len() / inner, products).await?;
        self.claim(Claim::Dots { x: a.clone(), y: b.clone(), z: z.clone(), inner }).await?;
        Ok(z)
    }

    /// The inner product of everything, as one element; zero for nothing.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn dot<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        if a.is_empty() && b.is_empty() {
            return Ok(Shared::constant(F::ZERO, 1));
        }
        self.dots(a, b, a.len()).await
    }

    /// The product of matrices in rows: `rows × inner` times `inner × columns`. As much to send as one product for each element of the result.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn matmul<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        rows: usize,
        inner: usize,
        columns: usize,
    ) -> Result<Shared<F>, MpcError> {
        a.expect_len(rows * inner)?;
        b.expect_len(inner * columns)?;
        let len = rows * columns;
        if len == 0 || inner == 0 {
            return Ok(Shared::constant(F::ZERO, len));
        }
        let transposed = b.transpose(inner);
        if self.tier() == Tier::Robust {
            let left =
                a.gather((0..len).flat_map(|place| (0..inner).map(move |k| place / columns * inner + k)));
            let right = transposed
                .gather((0..len).flat_map(|place| (0..inner).map(move |k| place % columns * inner + k)));
            return Ok(self.multiply_by_triples(&left, &right).await?.sum_each(inner));
        }
        let (x, y) = (a.as_slice(), transposed.as_slice());
        let products = |start: usize, out: &mut [F]| {
            for (place, out) in (start..).zip(out) {
                let (row, column) = (place / columns, place % columns);
                *out = F::dot(&x[row * inner..(row + 1) * inner], &y[column * inner..(column + 1) * inner]);
            }
        };
        let z = self.reduce_degree(len, products).await?;
        self.claim(Claim::Matrix { x: a.clone(), y_columns: transposed, z: z.clone(), inner }).await?;
        Ok(z)
    }

    /// Remembers products until they are verified; with too many of them, verifies now.
    async fn claim<F: Field>(&mut self, claim: Claim<F>) -> Result<(), MpcError> {
        if self.tier() != Tier::MaliciousAbort {
            return Ok(());
        }
        let ledger = self.ledger::<F>();
        ledger.pending_products += match &claim {
            Claim::Dots { x, .. } => x.len(),
            Claim::Matrix { x, y_columns, z, .. } => x.len() + y_columns.len() + z.len(),
        };
        ledger.pending.push(claim);
        if ledger.pending_products > PENDING_MAX {
            self.verify_field::<F>().await?;
        }
        Ok(())
    }

    /// Verifies all products so far. [`Session::open`] and [`Session::release`] do it by themselves.
    ///
    /// # Errors
    ///
    /// [`MpcError::Cheating`] when one of them is wrong.
    pub async fn verify(&mut self) -> Result<(), MpcError> {
        self.verify_field::<crate::F61>().await?;
        self.verify_field::<crate::Scalar>().await
    }

    /// Refuses an operation that the terms do not allow.
    pub(crate) fn expect<F: Field>(&self, operation: Operation) -> Result<(), MpcError> {
        support(operation, F::KIND, &self.terms)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("terms", &self.terms)
            .field("me", &self.me)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}
