//! The fields of which shares are elements.

mod f61;
mod scalar;

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Mul, Neg, Sub};

pub use f61::F61;
pub use scalar::Scalar;

use crate::session::ledger::{Ledger, Ledgers};

/// What elements shares can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Integers modulo 2^61 - 1.
    F61,
    /// Integers modulo the order of secp256k1.
    Scalar,
    /// Integers modulo 2^64, replicated, three parties.
    Ring64,
    /// Bits, 64 to a word, replicated, three parties.
    Bits,
}

impl std::fmt::Display for FieldKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F61 => "the field of order 2^61-1",
            Self::Scalar => "the field of the order of secp256k1",
            Self::Ring64 => "the ring of 64-bit integers",
            Self::Bits => "bits",
        })
    }
}

/// A prime field of which shares are elements. Sums, products and inverses take the same time for all operands.
pub trait Field:
    Copy
    + Default
    + PartialEq
    + Eq
    + Debug
    + Send
    + Sync
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Owned
    + 'static
{
    /// Which field it is.
    const KIND: FieldKind;
    /// Bytes of an encoded element, little-endian.
    const BYTES: usize;
    /// Bits of the order of the field.
    const BITS: usize;
    /// Neutral for sums.
    const ZERO: Self;
    /// Neutral for products.
    const ONE: Self;

    /// A sum of products that has not been reduced.
    type Wide: Copy + Default + Send;

    /// Adds a product to a sum of at most 60.
    fn accumulate(sum: Self::Wide, a: Self, b: Self) -> Self::Wide;

    /// The element that a sum of at most 60 products is.
    fn reduce(sum: Self::Wide) -> Self;

    /// The element of this number.
    fn from_u64(value: u64) -> Self;

    /// The number as an element: negative ones count down from the order.
    fn from_i64(value: i64) -> Self {
        let magnitude = Self::from_u64(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    }

    /// The number nearest to zero that this element stands for, if it fits.
    fn to_i64(self) -> Option<i64>;

    /// One divided by it; none for zero. Takes the same time for all elements.
    fn invert(self) -> Option<Self>;

    /// A square root of an element that everybody knows; none if there is none.
    fn square_root(self) -> Option<Self>;

    /// One divided by a square root of an element that everybody knows; none for zero and for what has no root.
    fn inverse_square_root(self) -> Option<Self> {
        self.square_root().and_then(Self::invert)
    }

    /// As [`Field::inverse_square_root`], for many at once.
    fn inverse_square_roots(values: &[Self]) -> Vec<Option<Self>> {
        values.iter().map(|value| value.inverse_square_root()).collect()
    }

    /// Half of it.
    fn half(self) -> Self {
        self * Self::HALF
    }

    /// One half.
    const HALF: Self;

    /// The bit of this weight in the number between zero and the order.
    fn bit(self, weight: usize) -> bool;

    /// The bit of this weight in the order of the field.
    fn order_bit(weight: usize) -> bool;

    /// Writes [`Self::BYTES`] bytes.
    fn write(self, bytes: &mut [u8]);

    /// Reads an element; none if the bytes are not the one encoding of one.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// An element out of uniform bytes; none if they say a number that is none, which hardly ever happens.
    fn sample(bytes: &[u8]) -> Option<Self>;

    /// Two to the power.
    fn power_of_two(exponent: usize) -> Self {
        let mut power = Self::ONE;
        for _ in 0..exponent {
            power = power + power;
        }
        power
    }

    /// The sum of the products of elements with the same place.
    fn dot(a: &[Self], b: &[Self]) -> Self {
        let mut total = Self::ZERO;
        for (a, b) in a.chunks(56).zip(b.chunks(56)) {
            let mut sum = Self::Wide::default();
            for (&a, &b) in a.iter().zip(b) {
                sum = Self::accumulate(sum, a, b);
            }
            total += Self::reduce(sum);
        }
        total
    }

    /// The power with this exponent, in a time that depends on the exponent.
    fn power(self, exponent: u64) -> Self {
        let mut result = Self::ONE;
        for bit in (0..64 - exponent.leading_zeros()).rev() {
            result = result * result;
            if exponent >> bit & 1 == 1 {
                result = result * self;
            }
        }
        result
    }
}

/// Where a session keeps what it owes to a field. Keeps others from adding fields, too.
pub trait Owned: Sized {
    #[doc(hidden)]
    #[allow(private_interfaces)]
    fn ledger(ledgers: &mut Ledgers) -> &mut Ledger<Self>
    where
        Self: Field;
}

/// The weights with which values at `points` make up the value at `at` of the polynomial through them (Lagrange). The points differ.
pub(crate) fn lagrange<F: Field>(points: &[F], at: F) -> Vec<F> {
    points
        .iter()
        .enumerate()
        .map(|(i, &point)| {
            let mut numerator = F::ONE;
            let mut denominator = F::ONE;
            for (j, &other) in points.iter().enumerate() {
                if i != j {
                    numerator = numerator * (at - other);
                    denominator = denominator * (point - other);
                }
            }
            numerator * denominator.invert().expect("the points differ")
        })
        .collect()
}

/// The point of a party's shares.
pub(crate) fn point<F: Field>(index: usize) -> F {
    F::from_u64(index as u64 + 1)
}

/// The elements as bytes.
pub(crate) fn encode<F: Field>(values: &[F], bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + values.len() * F::BYTES, 0);
    for (value, bytes) in values.iter().zip(bytes[start..].chunks_exact_mut(F::BYTES)) {
        value.write(bytes);
    }
}

/// The bytes as elements; none unless they are exactly `len`.
pub(crate) fn decode<F: Field>(bytes: &[u8], len: usize) -> Option<Vec<F>> {
    if bytes.len() != len * F::BYTES {
        return None;
    }
    let mut values = Vec::with_capacity(len);
    for bytes in bytes.chunks_exact(F::BYTES) {
        values.push(F::read(bytes)?);
    }
    Some(values)
}

#[cfg(test)]
mod tests;
