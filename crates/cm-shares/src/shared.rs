//! One party's shares of many values, and what can be done with them without a word to anybody.

use std::ops::Range;
use std::sync::Arc;

use crate::error::MpcError;
use crate::field::Field;

/// One Shamir share for each of many values, side by side. Cloning copies nothing.
///
/// Linear operations are local. They demand operands of the same length and panic otherwise, as slices do; whoever takes lengths from
/// outside compares them first.
#[derive(Clone, PartialEq, Eq)]
pub struct Shared<F>(Arc<Vec<F>>);

impl<F> std::fmt::Debug for Shared<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} values)", self.0.len())
    }
}

impl<F: Field> Shared<F> {
    /// Shares that were kept, made by a client, or computed.
    pub fn from_shares(shares: Vec<F>) -> Self {
        Self(Arc::new(shares))
    }

    /// Values that everybody knows: each party's share is the value.
    pub fn public(values: &[F]) -> Self {
        Self::from_shares(values.to_vec())
    }

    /// The same public value, `len` times.
    pub fn constant(value: F, len: usize) -> Self {
        Self::from_shares(vec![value; len])
    }

    /// The shares themselves. They go to whoever may learn the values, and nowhere else.
    pub fn as_slice(&self) -> &[F] {
        &self.0
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            all.extend_from_slice(&part.0);
        }
        Self::from_shares(all)
    }

    /// Some of the values.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self::from_shares(self.0[range].to_vec())
    }

    /// The values at these places, in this order.
    pub fn gather(&self, places: impl IntoIterator<Item = usize>) -> Self {
        Self::from_shares(places.into_iter().map(|place| self.0[place]).collect())
    }

    /// Each value `times` times in a row.
    pub fn repeat_each(&self, times: usize) -> Self {
        Self::from_shares(self.0.iter().flat_map(|&share| std::iter::repeat_n(share, times)).collect())
    }

    /// All values, `times` times.
    pub fn repeat(&self, times: usize) -> Self {
        Self::from_shares(self.0.repeat(times))
    }

    /// A matrix of `rows` rows with its columns as rows.
    pub fn transpose(&self, rows: usize) -> Self {
        let columns = self.len().checked_div(rows).unwrap_or(0);
        self.gather((0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column)))
    }

    fn with(&self, other: &[F], f: impl Fn(F, F) -> F) -> Self {
        assert_eq!(self.len(), other.len(), "operands have the same length");
        Self::from_shares(self.0.iter().zip(other).map(|(&a, &b)| f(a, b)).collect())
    }

    fn map(&self, f: impl Fn(F) -> F) -> Self {
        Self::from_shares(self.0.iter().map(|&a| f(a)).collect())
    }

    /// Sums.
    pub fn add(&self, other: &Self) -> Self {
        self.with(&other.0, |a, b| a + b)
    }

    /// Differences.
    pub fn sub(&self, other: &Self) -> Self {
        self.with(&other.0, |a, b| a - b)
    }

    /// Negatives.
    pub fn neg(&self) -> Self {
        self.map(|a| -a)
    }

    /// All values times the same public one.
    pub fn scale(&self, factor: F) -> Self {
        self.map(|a| a * factor)
    }

    /// Each value times its public one.
    pub fn scale_by(&self, factors: &[F]) -> Self {
        self.with(factors, |a, b| a * b)
    }

    /// Each value plus its public one.
    pub fn add_public(&self, values: &[F]) -> Self {
        self.with(values, |a, b| a + b)
    }

    /// All values plus the same public one.
    pub fn add_constant(&self, value: F) -> Self {
        self.map(|a| a + value)
    }

    /// One minus each: the negation of bits.
    pub fn not(&self) -> Self {
        self.map(|a| F::ONE - a)
    }

    /// The sum of each `inner` values in a row.
    pub fn sum_each(&self, inner: usize) -> Self {
        let sum = |part: &[F]| part.iter().fold(F::ZERO, |sum, &share| sum + share);
        Self::from_shares(self.0.chunks(inner.max(1)).map(sum).collect())
    }

    /// The sum of all values, as one.
    pub fn sum(&self) -> Self {
        Self::from_shares(vec![self.0.iter().fold(F::ZERO, |sum, &share| sum + share)])
    }

    pub(crate) fn expect_len(&self, expected: usize) -> Result<(), MpcError> {
        if self.len() == expected { Ok(()) } else { Err(MpcError::Lengths { expected, got: self.len() }) }
    }
}
