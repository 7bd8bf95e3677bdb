//! The least-squares line through pairs of numbers.
//!
//! # Files
//!
//! | name | bytes |
//! | --- | --- |
//! | `/input-0` | LEB128 count, then that many pairs (x, y), each two little-endian `f64` |
//! | `/output` | gradient, then intercept: two little-endian `f64`, sixteen bytes |
//!
//! # The computation, step by step
//!
//! Results are reproducible bit for bit because every operation is an IEEE 754 binary64 addition, subtraction,
//! multiplication or division, rounded once, in this order; nothing is fused or reordered:
//!
//! 1. `sum_x`, `sum_y`: start at 0.0, add the values in input order. `mean_x = sum_x / n`, `mean_y = sum_y / n`.
//! 2. `s_xx`, `s_xy`: start at 0.0; for each pair in input order, with `dx = x - mean_x` and `dy = y - mean_y`,
//!    `s_xx = s_xx + dx * dx`, then `s_xy = s_xy + dx * dy`.
//! 3. `gradient = s_xy / s_xx`, `intercept = mean_y - gradient * mean_x`.
//!
//! Two passes over centred values lose far fewer digits than the one-pass textbook formula when the mean is large
//! against the spread.

use std::fmt;

use guest::codec::{DecodeError, Reader, put_float};

/// A line: y = gradient * x + intercept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much y grows when x grows by one.
    pub gradient: f64,
    /// The value of y where x is zero.
    pub intercept: f64,
}

/// Why there is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FitError {
    /// The input is not a list of pairs.
    Decode(DecodeError),
    /// Fewer than two pairs.
    TooFewPairs,
    /// All x are equal, so that no finite gradient exists; also numbers so large that sums overflow.
    NoFiniteLine,
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::TooFewPairs => f.write_str("a line needs at least two pairs"),
            Self::NoFiniteLine => f.write_str("no finite line fits: all x are equal or a sum overflows"),
        }
    }
}

impl std::error::Error for FitError {}

impl From<DecodeError> for FitError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// The whole program: input bytes to output bytes.
pub fn run(input: &[u8]) -> Result<Vec<u8>, FitError> {
    let line = fit(&decode(input)?)?;
    let mut out = Vec::with_capacity(16);
    put_float(&mut out, line.gradient);
    put_float(&mut out, line.intercept);
    Ok(out)
}

/// Reads the pairs. Refuses trailing bytes and numbers that are not finite.
pub fn decode(input: &[u8]) -> Result<Vec<(f64, f64)>, DecodeError> {
    let mut reader = Reader::new(input);
    let count = reader.count(16)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((reader.float()?, reader.float()?));
    }
    reader.finish()?;
    Ok(pairs)
}

/// The least-squares line, computed exactly as the crate's documentation says.
pub fn fit(pairs: &[(f64, f64)]) -> Result<Line, FitError> {
    if pairs.len() < 2 {
        return Err(FitError::TooFewPairs);
    }
    let n = pairs.len() as f64;
    let (mut sum_x, mut sum_y) = (0.0, 0.0);
    for (x, y) in pairs {
        sum_x += x;
        sum_y += y;
    }
    let (mean_x, mean_y) = (sum_x / n, sum_y / n);
    let (mut s_xx, mut s_xy) = (0.0, 0.0);
    for (x, y) in pairs {
        let (dx, dy) = (x - mean_x, y - mean_y);
        s_xx += dx * dx;
        s_xy += dx * dy;
    }
    let gradient = s_xy / s_xx;
    let intercept = mean_y - gradient * mean_x;
    if gradient.is_finite() && intercept.is_finite() {
        Ok(Line { gradient, intercept })
    } else {
        Err(FitError::NoFiniteLine)
    }
}

#[cfg(test)]
mod tests;
