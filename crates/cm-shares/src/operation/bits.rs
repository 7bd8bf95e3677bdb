//! Random bits, and what is made of them: comparison, equality, bits of a value, truncation.
//!
//! A random bit is `(r/√(r²) + 1)/2` for a random `r` whose square is opened (Damgård, Fitzi, Kiltz, Nielsen and Toft, "Unconditionally Secure
//! Constant-Rounds Multi-party Computation for Equality, Comparison, Bits and Exponentiation", TCC 2006). As many bits as the order has
//! make a mask: uniform but for a distance of 2^-61 (2^-128 for scalars). A value plus a mask may be opened, and bits of the value follow from bits of
//! the mask and from whether the sum exceeded the order (Nishide and Ohta, "Multiparty Computation for Interval, Equality, and Comparison
//! without Bit-Decomposition Protocol", PKC 2007). Nothing is hidden statistically only: the whole range of the field can be used.

use crate::error::MpcError;
use crate::field::Field;
use crate::operation::Operation;
use crate::session::Session;
use crate::shared::Shared;

/// Shared elements that an operation makes at once; longer operands are worked on in slices. 32 megabytes in the field of order 2^61-1, 128 for scalars.
pub(crate) const SLICE_ELEMENTS: usize = if cfg!(test) { 1 << 12 } else { 1 << 22 };

/// Words of bits that a comparison by words takes for each value.
const WORDS_EACH: usize = 16;

/// Values that are masked at once, with a bit for each bit of the order.
const fn masked_at_once<F: Field>() -> usize {
    SLICE_ELEMENTS / F::BITS
}

/// A random value with its bits, from the lowest: one vector for each weight.
pub(crate) struct Mask<F> {
    pub(crate) value: Shared<F>,
    pub(crate) bits: Vec<Shared<F>>,
}

/// For a run of bits of two numbers: whether the second is greater there, and whether they are equal.
struct Compared<F> {
    greater: Shared<F>,
    equal: Shared<F>,
}

impl Session {
    /// Bits that nobody knows. Prepared ones first.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn random_bits<F: Field>(&mut self, len: usize) -> Result<Shared<F>, MpcError> {
        let missing = len.saturating_sub(self.bits_prepared::<F>());
        if missing > 0 {
            self.prepare_bits::<F>(missing).await?;
        }
        Ok(self.draw_bits(len))
    }

    /// Prepares random bits ahead of time; what needs some uses each of them once. Two rounds, one product and one opening for each.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn prepare_bits<F: Field>(&mut self, count: usize) -> Result<(), MpcError> {
        let target = self.bits_prepared::<F>() + count;
        loop {
            let missing = target.saturating_sub(self.bits_prepared::<F>());
            if missing == 0 {
                return Ok(());
            }
            let random = self.random::<F>(missing.min(SLICE_ELEMENTS)).await?;
            let squares = self.mul(&random, &random).await?;
            let opened = self.open(&squares).await?;
            // Zero, one draw in 2^61, has no sign; it is left out.
            let roots = F::inverse_square_roots(&opened);
            let bits = random
                .as_slice()
                .iter()
                .zip(roots)
                .filter_map(|(&share, root)| Some((share * root? + F::ONE).half()));
            let bits: Vec<F> = bits.collect();
            self.store_bits(&bits);
        }
    }

    /// Refuses values that are not zero or one: opens `c·c - c`, which is zero for those and tells nothing about them. One product each, and one opening.
    ///
    /// For bits that somebody else made, of which operations on bits take for granted that they are some.
    ///
    /// # Errors
    ///
    /// [`MpcError::InconsistentInput`] if one is something else; everybody then learns its `c·c - c`. Or what ends a run.
    pub async fn expect_bits<F: Field>(&mut self, c: &Shared<F>) -> Result<(), MpcError> {
        for start in (0..c.len()).step_by(SLICE_ELEMENTS) {
            let c = c.slice(start..c.len().min(start + SLICE_ELEMENTS));
            let excess = self.mul(&c, &c).await?.sub(&c);
            if self.open(&excess).await?.iter().any(|&excess| excess != F::ZERO) {
                return Err(MpcError::InconsistentInput);
            }
        }
        Ok(())
    }

    /// Random values with their bits.
    pub(crate) async fn masks_with_bits<F: Field>(&mut self, len: usize) -> Result<Mask<F>, MpcError> {
        let all = self.random_bits::<F>(len * F::BITS).await?;
        let bits: Vec<Shared<F>> =
            (0..F::BITS).map(|weight| all.slice(weight * len..(weight + 1) * len)).collect();
        Ok(Mask { value: weigh(&bits, len), bits })
    }

    /// Whether a value counts as negative: one for the upper half of the field, zero for the rest. `8` rounds in the field of order 2^61-1.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn less_than_zero<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Less)?;
        let mut signs = Vec::with_capacity(x.len());
        let mut rest = 0..x.len();
        while !rest.is_empty() {
            let words = x.slice(rest.start..rest.end.min(rest.start + SLICE_ELEMENTS / WORDS_EACH));
            if let Some(by_words) = self.signs_by_words(&words).await? {
                signs.extend_from_slice(by_words.as_slice());
                rest.start += words.len();
                continue;
            }
            let slice = x.slice(rest.start..rest.end.min(rest.start + masked_at_once::<F>()));
            signs.extend_from_slice(self.signs_by_bits(&slice).await?.as_slice());
            rest.start += slice.len();
        }
        Ok(Shared::from_shares(signs))
    }

    /// What [`Session::less_than_zero`] says, by random bits.
    async fn signs_by_bits<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        // A value is in the upper half if its double, reduced, is odd.
        let mask = self.masks_with_bits::<F>(x.len()).await?;
        let opened = self.open(&x.add(x).add(&mask.value)).await?;
        let wrapped = self.public_less(&opened, &mask.bits).await?;
        let odd = xor_public(&mask.bits[0], opened.iter().map(|sum| sum.bit(0)));
        self.xor(&odd, &wrapped).await
    }

    /// Whether `a < b`, as one or zero, for values whose difference is nearer to zero than half the order (2^60 in the field of order 2^61-1).
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn lt<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        b.expect_len(a.len())?;
        self.less_than_zero(&a.sub(b)).await
    }

    /// Whether a value is zero, as one or zero.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn eq_zero<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Equal)?;
        let mut zeros = Vec::with_capacity(x.len());
        for start in (0..x.len()).step_by(masked_at_once::<F>()) {
            let slice = x.slice(start..x.len().min(start + masked_at_once::<F>()));
            zeros.extend_from_slice(self.slice_eq_zero(&slice).await?.as_slice());
        }
        Ok(Shared::from_shares(zeros))
    }

    async fn slice_eq_zero<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        let mask = self.masks_with_bits::<F>(x.len()).await?;
        let opened = self.open(&x.add(&mask.value)).await?;
        let equal = mask
            .bits
            .iter()
            .enumerate()
            .map(|(weight, bit)| xor_public(bit, opened.iter().map(|sum| !sum.bit(weight))));
        self.product_of_columns(equal.collect()).await
    }

    /// Whether values are equal, as one or zero.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn eq<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        b.expect_len(a.len())?;
        self.eq_zero(&a.sub(b)).await
    }

    /// `a` where the bit is one, `b` where it is zero. One round.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn select<F: Field>(
        &mut self,
        bit: &Shared<F>,
        a: &Shared<F>,
        b: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        a.expect_len(bit.len())?;
        b.expect_len(bit.len())?;
        Ok(self.mul(bit, &a.sub(b)).await?.add(b))
    }

    /// The lowest `count` bits of values as numbers between zero and the order: one vector for each weight, from the lowest.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for more bits than the order has, or what ends a run.
    pub async fn bits<F: Field>(&mut self, x: &Shared<F>, count: usize) -> Result<Vec<Shared<F>>, MpcError> {
        self.expect::<F>(Operation::Bits)?;
        if count > F::BITS {
            return Err(MpcError::Parameter("a value has no more bits than the order of its field"));
        }
        if x.is_empty() || count == 0 {
            return Ok(vec![x.clone(); count]);
        }
        let mut all: Vec<Vec<F>> = vec![Vec::with_capacity(x.len()); count];
        for start in (0..x.len()).step_by(masked_at_once::<F>()) {
            let slice = x.slice(start..x.len().min(start + masked_at_once::<F>()));
            for (all, bits) in all.iter_mut().zip(self.slice_bits(&slice, count).await?) {
                all.extend_from_slice(bits.as_slice());
            }
        }
        Ok(all.into_iter().map(Shared::from_shares).collect())
    }

    async fn slice_bits<F: Field>(
        &mut self,
        x: &Shared<F>,
        count: usize,
    ) -> Result<Vec<Shared<F>>, MpcError> {
        let len = x.len();
        let mask = self.masks_with_bits::<F>(len).await?;
        let opened = self.open(&x.add(&mask.value)).await?;
        let wrapped = self.public_less(&opened, &mask.bits).await?;
        // x = d - mask with d = opened, plus the order where the sum wrapped. Each bit of d is a public one, or one of two by `wrapped`.
        let carried: Vec<Vec<bool>> = opened.iter().map(|&sum| plus_order(sum)).collect();
        let minuend: Vec<Shared<F>> = (0..count)
            .map(|weight| {
                let low: Vec<F> = opened.iter().map(|sum| bit_element(sum.bit(weight))).collect();
                let step: Vec<F> = carried
                    .iter()
                    .zip(&low)
                    .map(|(carried, &low)| bit_element::<F>(carried[weight]) - low)
                    .collect();
                wrapped.scale_by(&step).add_public(&low)
            })
            .collect();
        let both = self.mul(&Shared::concat(&minuend), &Shared::concat(&mask.bits[..count])).await?;
        let column = |weight: usize| both.slice(weight * len..(weight + 1) * len);
        let mut differs = Vec::with_capacity(count);
        let mut prefix = Vec::with_capacity(count);
        for (weight, (d, r)) in minuend.iter().zip(&mask.bits).enumerate() {
            let both = column(weight);
            let differ = d.add(r).sub(&both).sub(&both);
            prefix.push(Compared { greater: r.sub(&both), equal: differ.not() });
            differs.push(differ);
        }
        let borrows = self.prefixes(prefix, len).await?;
        if count == 1 {
            return Ok(differs);
        }
        let rest = self.xor(&Shared::concat(&differs[1..]), &Shared::concat(&borrows[..count - 1])).await?;
        let mut bits = vec![differs.swap_remove(0)];
        bits.extend((0..count - 1).map(|weight| rest.slice(weight * len..(weight + 1) * len)));
        Ok(bits)
    }

    /// Values divided by `2^places` and rounded down, exactly. For values that are nearer to zero than a quarter of the order (2^59 in the field of
    /// order 2^61-1).
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for more places than such a value has, or what ends a run.
    pub async fn truncate<F: Field>(&mut self, x: &Shared<F>, places: usize) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Truncate)?;
        if places > F::BITS - 2 {
            return Err(MpcError::Parameter(
                "a value cannot be cut by as many bits as the order of its field has",
            ));
        }
        if x.is_empty() || places == 0 {
            return Ok(x.clone());
        }
        let mut truncated = Vec::with_capacity(x.len());
        for start in (0..x.len()).step_by(masked_at_once::<F>()) {
            let slice = x.slice(start..x.len().min(start + masked_at_once::<F>()));
            truncated.extend_from_slice(self.slice_truncate(&slice, places).await?.as_slice());
        }
        Ok(Shared::from_shares(truncated))
    }

    async fn slice_truncate<F: Field>(
        &mut self,
        x: &Shared<F>,
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        let len = x.len();
        let offset = F::power_of_two(F::BITS - 2);
        let positive = x.add_constant(offset);
        let mask = self.masks_with_bits::<F>(len).await?;
        let opened = self.open(&positive.add(&mask.value)).await?;
        let wrapped = self.public_less(&opened, &mask.bits).await?;
        // What is cut off is the low part of `opened - mask`, or of `opened + order - mask`: both are computed, and one is selected.
        let carried: Vec<Vec<bool>> = opened.iter().map(|&sum| plus_order(sum)).collect();
        let plain: Vec<Vec<bool>> =
            opened.iter().map(|sum| (0..places).map(|weight| sum.bit(weight)).collect()).collect();
        let low_bits: Vec<Shared<F>> = mask.bits[..places].iter().map(|bits| bits.repeat(2)).collect();
        let publics: Vec<&[bool]> = plain.iter().chain(&carried).map(|bits| &bits[..places]).collect();
        let borrowed = self.public_bits_less(&publics, &low_bits).await?;
        let mask_low = weigh(&low_bits, 2 * len);
        let public_low: Vec<F> = publics.iter().map(|bits| number(bits)).collect();
        let low = mask_low.neg().add_public(&public_low).add(&borrowed.scale(F::power_of_two(places)));
        let low = self.select(&wrapped, &low.slice(len..2 * len), &low.slice(0..len)).await?;
        let divisor = F::power_of_two(places).invert().expect("a power of two is not zero");
        Ok(positive.sub(&low).scale(divisor).add_constant(-(offset * divisor)))
    }

    /// Exclusive or of bits. One round.
    pub(crate) async fn xor<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        let both = self.mul(a, b).await?;
        Ok(a.add(b).sub(&both).sub(&both))
    }

    /// Whether public numbers are less than shared ones.
    async fn public_less<F: Field>(
        &mut self,
        public: &[F],
        bits: &[Shared<F>],
    ) -> Result<Shared<F>, MpcError> {
        let rows: Vec<Vec<bool>> =
            public.iter().map(|value| (0..bits.len()).map(|weight| value.bit(weight)).collect()).collect();
        let rows: Vec<&[bool]> = rows.iter().map(Vec::as_slice).collect();
        self.public_bits_less(&rows, bits).await
    }

    /// As `public_less`, for numbers given by their bits. `2·k` products for `k` bits, in a tree.
    async fn public_bits_less<F: Field>(
        &mut self,
        public: &[&[bool]],
        bits: &[Shared<F>],
    ) -> Result<Shared<F>, MpcError> {
        let len = public.len();
        let mut runs: Vec<Compared<F>> = bits
            .iter()
            .enumerate()
            .map(|(weight, bit)| Compared {
                greater: bit
                    .scale_by(&public.iter().map(|row| bit_element(!row[weight])).collect::<Vec<F>>()),
                equal: xor_public(bit, public.iter().map(|row| !row[weight])),
            })
            .collect();
        while runs.len() > 1 {
            let pairs = runs.len() / 2;
            // Whether the lowest run is equal does not matter.
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for pair in 0..pairs {
                let (low, high) = (&runs[2 * pair], &runs[2 * pair + 1]);
                left.push(&high.equal);
                right.push(&low.greater);
                if pair > 0 {
                    left.push(&high.equal);
                    right.push(&low.equal);
                }
            }
            let products = self.mul(&Shared::concat(left), &Shared::concat(right)).await?;
            let mut columns =
                (0..2 * pairs - 1).map(|column| products.slice(column * len..(column + 1) * len));
            let mut next = Vec::with_capacity(pairs + 1);
            for pair in 0..pairs {
                let greater = runs[2 * pair + 1].greater.add(&columns.next().expect("one for each pair"));
                let equal = if pair > 0 {
                    columns.next().expect("one for each but the lowest")
                } else {
                    greater.clone()
                };
                next.push(Compared { greater, equal });
            }
            if runs.len() % 2 == 1 {
                next.extend(runs.pop());
            }
            runs = next;
        }
        Ok(runs.pop().expect("numbers have bits").greater)
    }

    /// For each run from the lowest bit: whether the second number is greater (Sklansky, "Conditional-Sum Addition Logic", 1960).
    async fn prefixes<F: Field>(
        &mut self,
        mut runs: Vec<Compared<F>>,
        len: usize,
    ) -> Result<Vec<Shared<F>>, MpcError> {
        let mut reach = 1;
        while reach < runs.len() {
            let targets: Vec<usize> = (0..runs.len()).filter(|place| place & reach != 0).collect();
            let source = |place: usize| (place & !(reach - 1)) - 1;
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for &place in &targets {
                left.extend([&runs[place].equal, &runs[place].equal]);
                right.extend([&runs[source(place)].greater, &runs[source(place)].equal]);
            }
            let products = self.mul(&Shared::concat(left), &Shared::concat(right)).await?;
            for (number, &place) in targets.iter().enumerate() {
                let column = |column: usize| products.slice(column * len..(column + 1) * len);
                runs[place].greater = runs[place].greater.add(&column(2 * number));
                runs[place].equal = column(2 * number + 1);
            }
            reach *= 2;
        }
        Ok(runs.into_iter().map(|run| run.greater).collect())
    }

    /// The product of vectors, element by element, in a tree.
    pub(crate) async fn product_of_columns<F: Field>(
        &mut self,
        mut columns: Vec<Shared<F>>,
    ) -> Result<Shared<F>, MpcError> {
        while columns.len() > 1 {
            let odd = if columns.len() % 2 == 1 { columns.pop() } else { None };
            let len = columns[0].len();
            let (left, right) = columns.split_at(columns.len() / 2);
            let products = self.mul(&Shared::concat(left), &Shared::concat(right)).await?;
            let mut next: Vec<Shared<F>> =
                (0..left.len()).map(|column| products.slice(column * len..(column + 1) * len)).collect();
            next.extend(odd);
            columns = next;
        }
        columns.pop().ok_or(MpcError::Parameter("a product takes at least one factor"))
    }
}

pub(crate) fn bit_element<F: Field>(bit: bool) -> F {
    if bit { F::ONE } else { F::ZERO }
}

/// Shared bits, negated where the public one is set.
fn xor_public<F: Field>(bits: &Shared<F>, public: impl Iterator<Item = bool>) -> Shared<F> {
    let flipped =
        bits.as_slice().iter().zip(public).map(|(&bit, flip)| if flip { F::ONE - bit } else { bit });
    Shared::from_shares(flipped.collect())
}

/// Numbers out of bits, one vector for each weight.
pub(crate) fn weigh<F: Field>(bits: &[Shared<F>], len: usize) -> Shared<F> {
    let mut sums = vec![F::ZERO; len];
    let mut weight = F::ONE;
    for column in bits {
        for (sum, &bit) in sums.iter_mut().zip(column.as_slice()) {
            *sum += bit * weight;
        }
        weight = weight + weight;
    }
    Shared::from_shares(sums)
}

fn number<F: Field>(bits: &[bool]) -> F {
    bits.iter().rev().fold(F::ZERO, |sum, &bit| sum + sum + bit_element(bit))
}

/// The bits of the sum of a number and the order, one more than the order has.
fn plus_order<F: Field>(value: F) -> Vec<bool> {
    let mut carry = false;
    let mut bits: Vec<bool> = (0..F::BITS)
        .map(|weight| {
            let (a, b) = (value.bit(weight), F::order_bit(weight));
            let sum = a ^ b ^ carry;
            carry = (a & b) | (carry & (a ^ b));
            sum
        })
        .collect();
    bits.push(carry);
    bits
}
