//! Counts and floats as bytes.
//!
//! A count is an unsigned LEB128 integer of at most ten bytes. A float is eight bytes, little-endian IEEE 754
//! binary64, and must be finite: infinities and NaN make results depend on the machine. A row is a count followed by
//! that many floats; a table is a count of rows followed by the rows. These are the bytes of postcard's `u64`,
//! `f64`, `Vec<f64>` and `Vec<Vec<f64>>`.

use std::fmt;

/// Why input could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ends before the value does; also a count larger than the remaining bytes can hold.
    Truncated,
    /// Bytes remain after the last value.
    TrailingBytes,
    /// A count is longer than ten bytes or does not fit 64 bits.
    CountTooLong,
    /// A float is infinite or not a number.
    NotFinite,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the input is truncated",
            Self::TrailingBytes => "the input has trailing bytes",
            Self::CountTooLong => "a count does not fit 64 bits",
            Self::NotFinite => "a number is infinite or not a number",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Reads values from the front of a byte slice.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One unsigned LEB128 integer.
    pub fn integer(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::CountTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::CountTooLong)
    }

    /// A count of items that take at least `item_bytes` bytes each. Refuses a count that the remaining bytes
    /// cannot hold, so that nobody reserves memory for a lie.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.integer()?).map_err(|_| DecodeError::Truncated)?;
        match count.checked_mul(item_bytes) {
            Some(needed) if needed <= self.rest.len() => Ok(count),
            _ => Err(DecodeError::Truncated),
        }
    }

    /// One finite float.
    pub fn float(&mut self) -> Result<f64, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        let value = f64::from_le_bytes(*bytes);
        if value.is_finite() { Ok(value) } else { Err(DecodeError::NotFinite) }
    }

    /// A row: a count and that many floats.
    pub fn row(&mut self) -> Result<Vec<f64>, DecodeError> {
        let count = self.count(8)?;
        (0..count).map(|_| self.float()).collect()
    }

    /// A table: a count and that many rows.
    pub fn table(&mut self) -> Result<Vec<Vec<f64>>, DecodeError> {
        let count = self.count(1)?;
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.push(self.row()?);
        }
        Ok(rows)
    }

    /// Demands that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Appends an unsigned LEB128 integer.
pub fn put_integer(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a float.
pub fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a row: a count and that many floats.
pub fn put_row(out: &mut Vec<u8>, row: &[f64]) {
    put_integer(out, row.len() as u64);
    for &value in row {
        put_float(out, value);
    }
}

/// Appends a table: a count and that many rows.
pub fn put_table(out: &mut Vec<u8>, rows: &[Vec<f64>]) {
    put_integer(out, rows.len() as u64);
    for row in rows {
        put_row(out, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_trip_and_have_the_known_bytes() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_integer(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.integer(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
        let mut bytes = Vec::new();
        put_integer(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 0x02]);
    }

    #[test]
    fn a_count_that_the_input_cannot_hold_is_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0x7f]).row(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0x80; 11]).integer(), Err(DecodeError::CountTooLong));
        let mut over = vec![0xff; 9];
        over.push(0x02);
        assert_eq!(Reader::new(&over).integer(), Err(DecodeError::CountTooLong));
        assert_eq!(Reader::new(&[]).integer(), Err(DecodeError::Truncated));
    }

    #[test]
    fn tables_round_trip_and_refuse_what_is_not_finite() {
        let table = vec![vec![1.0, -0.0], vec![], vec![f64::MIN_POSITIVE]];
        let mut bytes = Vec::new();
        put_table(&mut bytes, &table);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.table(), Ok(table));
        assert_eq!(reader.finish(), Ok(()));
        let mut nan = vec![1];
        put_float(&mut nan, f64::NAN);
        assert_eq!(Reader::new(&nan).row(), Err(DecodeError::NotFinite));
        assert_eq!(Reader::new(&[7]).finish(), Err(DecodeError::TrailingBytes));
    }
}
