//! Correlated randomness made ahead of time, kept, and used exactly once.
//!
//! A [`Stock`] holds one party's part of what an earlier run prepared. A run takes out of it by a [`Lease`], a range that begins where the one before it
//! ended: never by name, so two products can never come to share a triple. Whoever keeps the stock stores its cursor before the lease is used. A lease that is lost in a
//! crash is lost: what it covered is never used.

use crate::error::MpcError;
use crate::field::{Field, FieldKind, decode, encode};
use crate::shared::Shared;

/// The first bytes of an encoded stock, and its version.
const MAGIC: &[u8; 8] = b"cm-stk\x00\x01";

/// Bytes in front of the elements.
const HEADER_BYTES: usize = 8 + 2;

/// What a stock is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockKind {
    /// Random bits: one element each.
    Bits,
    /// Triples: three elements each.
    Triples,
}

impl StockKind {
    fn elements(self) -> usize {
        match self {
            Self::Bits => 1,
            Self::Triples => 3,
        }
    }
}

/// A range of a stock that belongs to one run. It can be neither copied nor made by hand, and is given up by using it.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    from: u64,
    to: u64,
}

impl Lease {
    /// The first item.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The item after the last; the cursor to store before the lease is used.
    pub fn to(&self) -> u64 {
        self.to
    }
}

/// One party's part of prepared randomness.
#[derive(Debug)]
pub struct Stock<F> {
    kind: StockKind,
    elements: Shared<F>,
    cursor: u64,
}

impl<F: Field> Stock<F> {
    /// What [`crate::Session::take_bits`] or [`crate::Session::take_triples`] took out of a run.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`] if the last item is incomplete.
    pub fn new(kind: StockKind, elements: Shared<F>) -> Result<Self, MpcError> {
        if !elements.len().is_multiple_of(kind.elements()) {
            return Err(MpcError::Lengths { expected: kind.elements(), got: elements.len() });
        }
        Ok(Self { kind, elements, cursor: 0 })
    }

    /// What it is of.
    pub fn kind(&self) -> StockKind {
        self.kind
    }

    /// How many items have been leased; the smallest number that a stored cursor may say.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// How many items are left.
    pub fn left(&self) -> u64 {
        (self.elements.len() / self.kind.elements()) as u64 - self.cursor
    }

    /// The next items, for one run. Every party leases the same range for the same run: the parties agree on [`Lease::from`] with the plan.
    ///
    /// # Errors
    ///
    /// [`MpcError::StockSpent`] when fewer are left.
    pub fn lease(&mut self, count: u64) -> Result<Lease, MpcError> {
        if count > self.left() {
            return Err(MpcError::StockSpent { asked: count, left: self.left() });
        }
        let from = self.cursor;
        self.cursor += count;
        Ok(Lease { from, to: self.cursor })
    }

    /// Gives up everything before a place, for a party that lags behind what all agreed on.
    ///
    /// # Errors
    ///
    /// [`MpcError::StockSpent`] if there is less, or if it would go back.
    pub fn skip_to(&mut self, cursor: u64) -> Result<(), MpcError> {
        if cursor < self.cursor || cursor - self.cursor > self.left() {
            return Err(MpcError::StockSpent { asked: cursor.abs_diff(self.cursor), left: self.left() });
        }
        self.cursor = cursor;
        Ok(())
    }

    /// The shares that a lease of this stock covers, for [`crate::Session::provide_bits`] or [`crate::Session::provide_triples`].
    pub fn draw(&self, lease: Lease) -> Shared<F> {
        let each = self.kind.elements();
        self.elements.slice(lease.from as usize * each..lease.to as usize * each)
    }

    /// The stock as bytes, without its cursor. They are as secret as shares are.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.elements.len() * F::BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.push(field_byte(F::KIND));
        bytes.push(self.kind.elements() as u8);
        encode(self.elements.as_slice(), &mut bytes);
        bytes
    }

    /// Reads what [`Stock::to_bytes`] wrote, with the cursor that was stored.
    ///
    /// # Errors
    ///
    /// [`MpcError::Encoding`] for anything else, [`MpcError::StockSpent`] for a cursor behind its end.
    pub fn from_bytes(bytes: &[u8], cursor: u64) -> Result<Self, MpcError> {
        const REFUSED: MpcError = MpcError::Encoding("a stock");
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(REFUSED)?;
        let kind = match header[9] {
            1 => StockKind::Bits,
            3 => StockKind::Triples,
            _ => return Err(REFUSED),
        };
        if header[..8] != MAGIC[..] || header[8] != field_byte(F::KIND) {
            return Err(REFUSED);
        }
        let elements = decode(rest, rest.len() / F::BYTES).ok_or(REFUSED)?;
        let mut stock = Self::new(kind, Shared::from_shares(elements)).map_err(|_| REFUSED)?;
        stock.skip_to(cursor)?;
        Ok(stock)
    }
}

fn field_byte(kind: FieldKind) -> u8 {
    match kind {
        FieldKind::F61 => 1,
        FieldKind::Scalar => 2,
        FieldKind::Ring64 => 3,
        FieldKind::Bits => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{F61, Scalar};

    fn stock() -> Stock<F61> {
        Stock::new(StockKind::Triples, Shared::from_shares((0..12).map(F61::from_u64).collect())).unwrap()
    }

    #[test]
    fn every_item_is_leased_once() {
        let mut stock = stock();
        let first = stock.lease(1).unwrap();
        let second = stock.lease(2).unwrap();
        assert_eq!((first.to(), second.from(), second.to()), (1, 1, 3));
        assert_eq!(stock.draw(second).as_slice(), (3..9).map(F61::from_u64).collect::<Vec<_>>());
        assert_eq!(stock.lease(2), Err(MpcError::StockSpent { asked: 2, left: 1 }));
        // After a restart the stored cursor counts, whatever became of the leases.
        let mut kept = Stock::<F61>::from_bytes(&stock.to_bytes(), stock.cursor()).unwrap();
        assert_eq!(kept.lease(1).unwrap().from(), 3);
        assert_eq!(kept.left(), 0);
        assert!(kept.skip_to(2).is_err(), "a cursor never goes back");
        assert!(Stock::<F61>::from_bytes(&stock.to_bytes(), 5).is_err());
    }

    #[test]
    fn what_is_no_stock_is_refused() {
        let bytes = stock().to_bytes();
        assert!(Stock::<Scalar>::from_bytes(&bytes, 0).is_err());
        assert!(Stock::<F61>::from_bytes(&bytes[..bytes.len() - 1], 0).is_err());
        assert!(Stock::<F61>::from_bytes(&bytes[..bytes.len() - 8], 0).is_err(), "half a triple");
        assert!(Stock::<F61>::from_bytes(&[], 0).is_err());
        let mut other = bytes.clone();
        other[9] = 2;
        assert!(Stock::<F61>::from_bytes(&other, 0).is_err());
        other = bytes;
        other[HEADER_BYTES..HEADER_BYTES + 8].fill(0xff);
        assert!(Stock::<F61>::from_bytes(&other, 0).is_err(), "no element");
    }
}
