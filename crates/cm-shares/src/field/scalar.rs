//! Integers modulo the order of the curve secp256k1: what keys and signatures of that curve are made of.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use k256::Scalar as Inner;
use k256::elliptic_curve::ff::{Field as _, PrimeField as _};

use super::{Field, FieldKind, Owned};
use crate::session::ledger::{Ledger, Ledgers};

/// The order, little-endian: FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFE BAAEDCE6 AF48A03B BFD25E8C D0364141.
const ORDER: [u64; 4] =
    [0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, 0xffff_ffff_ffff_fffe, 0xffff_ffff_ffff_ffff];

/// An element of the field of the order of secp256k1.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scalar(Inner);

impl Scalar {
    /// The element of a number of 32 bytes, most significant first; none from the order upwards.
    pub fn from_be_bytes(bytes: [u8; 32]) -> Option<Self> {
        Option::from(Inner::from_repr(bytes.into())).map(Self)
    }

    /// The number as 32 bytes, most significant first.
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_repr().into()
    }

    pub(crate) fn inner(self) -> Inner {
        self.0
    }
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.to_be_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Add for Scalar {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Scalar {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Scalar {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Scalar {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Mul for Scalar {
    type Output = Self;
    #[inline]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl Owned for Scalar {
    #[allow(private_interfaces)]
    fn ledger(ledgers: &mut Ledgers) -> &mut Ledger<Self> {
        &mut ledgers.scalar
    }
}

impl Field for Scalar {
    const KIND: FieldKind = FieldKind::Scalar;
    const BYTES: usize = 32;
    const BITS: usize = 256;
    const ZERO: Self = Self(Inner::ZERO);
    const ONE: Self = Self(Inner::ONE);
    const HALF: Self = Self(Inner::TWO_INV);

    type Wide = Self;

    #[inline]
    fn accumulate(sum: Self, a: Self, b: Self) -> Self {
        sum + a * b
    }

    #[inline]
    fn reduce(sum: Self) -> Self {
        sum
    }

    fn from_u64(value: u64) -> Self {
        Self(Inner::from(value))
    }

    fn to_i64(self) -> Option<i64> {
        let small = |value: Self| {
            let bytes = value.to_be_bytes();
            let magnitude = u64::from_be_bytes(bytes[24..].try_into().expect("eight bytes"));
            bytes[..24].iter().all(|&byte| byte == 0).then_some(magnitude)
        };
        match (small(self), small(-self)) {
            (Some(magnitude), _) => i64::try_from(magnitude).ok(),
            (None, Some(magnitude)) => 0i64.checked_sub_unsigned(magnitude),
            (None, None) => None,
        }
    }

    fn invert(self) -> Option<Self> {
        Option::from(self.0.invert()).map(Self)
    }

    fn square_root(self) -> Option<Self> {
        Option::from(self.0.sqrt()).map(Self)
    }

    fn bit(self, weight: usize) -> bool {
        self.to_be_bytes()[31 - weight / 8] >> (weight % 8) & 1 == 1
    }

    fn order_bit(weight: usize) -> bool {
        ORDER[weight / 64] >> (weight % 64) & 1 == 1
    }

    fn write(self, bytes: &mut [u8]) {
        let mut value = self.to_be_bytes();
        value.reverse();
        bytes.copy_from_slice(&value);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut value: [u8; 32] = bytes.try_into().ok()?;
        value.reverse();
        Self::from_be_bytes(value)
    }

    fn sample(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }
}
