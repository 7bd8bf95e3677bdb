//! Least and greatest values, values in order, values in an order that nobody knows, and what two sets have in common.

use crate::error::MpcError;
use crate::field::Field;
use crate::operation::Operation;
use crate::operation::bits::{SLICE_ELEMENTS, weigh};
use crate::session::Session;
use crate::shared::Shared;

/// Bits of the keys by which values are shuffled: two are equal with a probability of 2^-58 for each pair.
const SHUFFLE_KEY_BITS: usize = 58;

/// Pairs that the size of an intersection may take: some half an hour for a core under `semi-honest`.
pub const INTERSECTION_PAIRS_MAX: u64 = 1 << 32;

/// The steps of a sorting network: pairs of places that are put in order, at the same time within a step.
///
/// Batcher's merge exchange for any number of places (Knuth, "The Art of Computer Programming", volume 3, algorithm 5.2.2M).
fn network(len: usize) -> Vec<Vec<(usize, usize)>> {
    let mut steps = Vec::new();
    if len < 2 {
        return steps;
    }
    let top = len.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            let pairs: Vec<(usize, usize)> =
                (0..len - d).filter(|i| i & p == r).map(|i| (i, i + d)).collect();
            if !pairs.is_empty() {
                steps.push(pairs);
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    steps
}

impl Session {
    /// The lesser of two values, element by element; see [`Session::lt`] for their range.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn min<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        let less = self.lt(a, b).await?;
        self.select(&less, a, b).await
    }

    /// The greater of two values, element by element; see [`Session::lt`] for their range.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn max<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        let less = self.lt(a, b).await?;
        self.select(&less, b, a).await
    }

    /// The least of all values, as one element.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for none, or what ends a run.
    pub async fn min_of<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        Ok(self.max_of(&x.neg()).await?.neg())
    }

    /// The greatest of all values, as one element.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for none, or what ends a run.
    pub async fn max_of<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Extremum)?;
        if x.is_empty() {
            return Err(MpcError::Parameter("nothing has no extremum"));
        }
        let mut left = x.clone();
        while left.len() > 1 {
            let half = left.len() / 2;
            let winners = self.max(&left.slice(0..half), &left.slice(half..2 * half)).await?;
            left = Shared::concat([&winners, &left.slice(2 * half..left.len())]);
        }
        Ok(left)
    }

    /// Values from the least to the greatest.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn sort<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        Ok(self.sort_by(x, &[]).await?.0)
    }

    /// Keys from the least to the greatest, and columns in the same order. About `m·log²(m)/4` comparisons in `log²(m)/2` layers. The order of
    /// equal keys is arbitrary.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn sort_by<F: Field>(
        &mut self,
        keys: &Shared<F>,
        columns: &[Shared<F>],
    ) -> Result<(Shared<F>, Vec<Shared<F>>), MpcError> {
        self.expect::<F>(Operation::Sort)?;
        let len = keys.len();
        let mut table: Vec<Vec<F>> = vec![keys.as_slice().to_vec()];
        for column in columns {
            column.expect_len(len)?;
            table.push(column.as_slice().to_vec());
        }
        for pairs in network(len) {
            let side = |column: &[F], right: bool| {
                Shared::from_shares(
                    pairs.iter().map(|&(low, high)| column[if right { high } else { low }]).collect(),
                )
            };
            let swap = self.lt(&side(&table[0], true), &side(&table[0], false)).await?;
            let differences: Vec<Shared<F>> =
                table.iter().map(|column| side(column, true).sub(&side(column, false))).collect();
            let moved = self.mul(&swap.repeat(table.len()), &Shared::concat(&differences)).await?;
            for (column, moved) in table.iter_mut().zip(moved.as_slice().chunks(pairs.len())) {
                for (&(low, high), &moved) in pairs.iter().zip(moved) {
                    column[low] += moved;
                    column[high] = column[high] - moved;
                }
            }
        }
        let mut sorted = table.into_iter().map(Shared::from_shares);
        Ok((sorted.next().expect("keys are the first column"), sorted.collect()))
    }

    /// Rows in an order that nobody knows, all orders equally likely but for a distance of `m²/2^58`. As dear as sorting.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn shuffle<F: Field>(&mut self, columns: &[Shared<F>]) -> Result<Vec<Shared<F>>, MpcError> {
        self.expect::<F>(Operation::Shuffle)?;
        let len = columns.first().map_or(0, Shared::len);
        let at_once = SLICE_ELEMENTS / SHUFFLE_KEY_BITS;
        let mut keys = Vec::with_capacity(len);
        for start in (0..len).step_by(at_once) {
            let len = at_once.min(len - start);
            let bits = self.random_bits::<F>(len * SHUFFLE_KEY_BITS).await?;
            let bits: Vec<Shared<F>> =
                (0..SHUFFLE_KEY_BITS).map(|weight| bits.slice(weight * len..(weight + 1) * len)).collect();
            keys.extend_from_slice(weigh(&bits, len).as_slice());
        }
        Ok(self.sort_by(&Shared::from_shares(keys), columns).await?.1)
    }

    /// How many values of `b` are in `a`, as one element: the size of the intersection of sets, which have no value twice. `|a|·|b|` products.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for more than [`INTERSECTION_PAIRS_MAX`](crate::INTERSECTION_PAIRS_MAX) pairs, or what ends a run.
    pub async fn intersection_size<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::IntersectionSize)?;
        if a.is_empty() || b.is_empty() {
            return Ok(Shared::constant(F::ZERO, 1));
        }
        if a.len() as u64 * b.len() as u64 > INTERSECTION_PAIRS_MAX {
            return Err(MpcError::Parameter(
                "two sets whose intersection is counted may have at most 2^32 pairs (2^16 values each); compare them in parts",
            ));
        }
        // The product of a value's differences from all of `a` is zero if it is one of them. What is made at once is bounded by the longer of a slice and `a`.
        let at_once = (SLICE_ELEMENTS / a.len()).max(1);
        let mut products = Vec::with_capacity(b.len());
        for start in (0..b.len()).step_by(at_once) {
            let b = b.slice(start..b.len().min(start + at_once));
            let differences =
                a.as_slice().iter().map(|&share| Shared::constant(share, b.len()).sub(&b).neg());
            let product = self.product_of_columns(differences.collect()).await?;
            products.extend_from_slice(product.as_slice());
        }
        Ok(self.eq_zero(&Shared::from_shares(products)).await?.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sorts all sequences of zeros and ones sorts everything (Knuth, theorem 5.3.4Z).
    #[test]
    fn the_network_sorts() {
        for len in 0..=12usize {
            let steps = network(len);
            for pairs in &steps {
                let mut places: Vec<usize> = pairs.iter().flat_map(|&(low, high)| [low, high]).collect();
                places.sort_unstable();
                places.dedup();
                assert_eq!(places.len(), 2 * pairs.len(), "places of a step are different");
            }
            for input in 0u32..1 << len {
                let mut bits: Vec<bool> = (0..len).map(|place| input >> place & 1 == 1).collect();
                for &(low, high) in steps.iter().flatten() {
                    if bits[low] && !bits[high] {
                        bits.swap(low, high);
                    }
                }
                assert!(bits.is_sorted(), "{len} {input}");
            }
        }
    }
}
