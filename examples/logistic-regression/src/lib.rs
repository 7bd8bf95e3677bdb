//! Logistic-regression inference: probabilities from a trained model.
//!
//! # Files
//!
//! | name | bytes |
//! | --- | --- |
//! | `/model` | intercept: little-endian `f64`; then the weights: LEB128 count and that many little-endian `f64` |
//! | `/input-0` | LEB128 count of rows; each row: LEB128 count and that many little-endian `f64` |
//! | `/output` | one little-endian `f64` per row, in input order: the probability of the positive class |
//!
//! Every row has as many features as the model has weights; anything else is refused.
//!
//! # The computation, step by step
//!
//! 1. `z = intercept`, then for each feature in order `z = z + weight * feature`.
//! 2. `z >= 0`: `p = 1 / (1 + exp(-z))`; otherwise `e = exp(z)`, `p = e / (1 + e)`. Neither form overflows.
//!
//! `exp` is the one of the `libm` crate (a port of musl's, compiled in), not the machine's, so that every platform
//! gives the same bits. The other operations are IEEE 754 binary64, rounded once, in this order.

use std::fmt;

use guest::codec::{DecodeError, Reader, put_float};

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The log-odds where every feature is zero.
    pub intercept: f64,
    /// What one unit of each feature adds to the log-odds.
    pub weights: Vec<f64>,
}

/// Why there are no probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InferenceError {
    /// The model file is not a model.
    Model(DecodeError),
    /// The input is not a table.
    Rows(DecodeError),
    /// A row has another number of features than the model has weights.
    FeatureCount {
        /// Which row, counted from zero.
        row: usize,
        /// How many features it has.
        found: usize,
        /// How many weights the model has.
        expected: usize,
    },
    /// The log-odds of a row overflow.
    Overflow {
        /// Which row, counted from zero.
        row: usize,
    },
}

impl fmt::Display for InferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => write!(f, "model: {error}"),
            Self::Rows(error) => write!(f, "rows: {error}"),
            Self::FeatureCount { row, found, expected } => {
                write!(f, "row {row} has {found} features, the model has {expected}")
            }
            Self::Overflow { row } => write!(f, "row {row} overflows"),
        }
    }
}

impl std::error::Error for InferenceError {}

/// The whole program: model and input bytes to output bytes.
pub fn run(model: &[u8], input: &[u8]) -> Result<Vec<u8>, InferenceError> {
    let model = decode_model(model).map_err(InferenceError::Model)?;
    let rows = decode_rows(input).map_err(InferenceError::Rows)?;
    let mut out = Vec::with_capacity(rows.len() * 8);
    for (index, row) in rows.iter().enumerate() {
        put_float(&mut out, probability(&model, index, row)?);
    }
    Ok(out)
}

/// Reads a model.
pub fn decode_model(bytes: &[u8]) -> Result<Model, DecodeError> {
    let mut reader = Reader::new(bytes);
    let model = Model { intercept: reader.float()?, weights: reader.row()? };
    reader.finish()?;
    Ok(model)
}

fn decode_rows(bytes: &[u8]) -> Result<Vec<Vec<f64>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let rows = reader.table()?;
    reader.finish()?;
    Ok(rows)
}

/// The probability of the positive class for one row; `index` only names the row in an error.
pub fn probability(model: &Model, index: usize, row: &[f64]) -> Result<f64, InferenceError> {
    if row.len() != model.weights.len() {
        return Err(InferenceError::FeatureCount {
            row: index,
            found: row.len(),
            expected: model.weights.len(),
        });
    }
    let mut z = model.intercept;
    for (weight, feature) in model.weights.iter().zip(row) {
        z += weight * feature;
    }
    if !z.is_finite() {
        return Err(InferenceError::Overflow { row: index });
    }
    Ok(sigmoid(z))
}

fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + libm::exp(-z))
    } else {
        let e = libm::exp(z);
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests;
