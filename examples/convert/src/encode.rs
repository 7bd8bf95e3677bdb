//! CSV to what programs read.

use std::fmt;

use guest::codec::{put_float, put_integer, put_row, put_table};

use crate::Kind;
use crate::csv::{self, CsvError};

/// The largest integer up to which every integer is a float.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Why there are no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The text is no table of numbers.
    Csv(CsvError),
    /// Pairs need two columns of numbers; models and parameters need one.
    Columns {
        /// How many are needed.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// A parameter is not a whole number from zero, or there are not three.
    Parameters,
    /// The kind is one that programs write.
    Result,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Csv(error) => error.fmt(f),
            Self::Columns { needed, found } => {
                write!(f, "there are {found} columns of numbers, {needed} are needed")
            }
            Self::Parameters => f.write_str("parameters are three whole numbers from zero"),
            Self::Result => f.write_str("programs write this kind, they do not read it"),
        }
    }
}

impl std::error::Error for EncodeError {}

impl From<CsvError> for EncodeError {
    fn from(error: CsvError) -> Self {
        Self::Csv(error)
    }
}

/// The bytes of what a CSV text says. Pairs are its first two columns of numbers, rows are all of them; a model is one
/// column, the intercept first; parameters are one column: clusters, iterations, first centre.
pub fn encode(kind: Kind, text: &str) -> Result<Vec<u8>, EncodeError> {
    let rows = csv::numbers(text)?;
    let mut out = Vec::new();
    match kind {
        Kind::Pairs => put_pairs(&mut out, &rows)?,
        Kind::Rows => put_table(&mut out, &rows),
        Kind::Model => {
            let terms = column(&rows)?;
            put_float(&mut out, terms[0]);
            put_row(&mut out, &terms[1..]);
        }
        Kind::Parameters => put_parameters(&mut out, &column(&rows)?)?,
        Kind::Line | Kind::Numbers | Kind::Clusters => return Err(EncodeError::Result),
    }
    Ok(out)
}

fn put_pairs(out: &mut Vec<u8>, rows: &[Vec<f64>]) -> Result<(), EncodeError> {
    put_integer(out, rows.len() as u64);
    for row in rows {
        let [x, y, ..] = row[..] else {
            return Err(EncodeError::Columns { needed: 2, found: row.len() });
        };
        put_float(out, x);
        put_float(out, y);
    }
    Ok(())
}

fn put_parameters(out: &mut Vec<u8>, values: &[f64]) -> Result<(), EncodeError> {
    let whole = |value: &f64| value.fract() == 0.0 && (0.0..=INTEGER_MAX).contains(value);
    if values.len() != 3 || !values.iter().all(whole) {
        return Err(EncodeError::Parameters);
    }
    for &value in values {
        put_integer(out, value as u64);
    }
    Ok(())
}

/// The only column of a table, which has at least one row.
fn column(rows: &[Vec<f64>]) -> Result<Vec<f64>, EncodeError> {
    rows.iter()
        .map(|row| match row[..] {
            [value] => Ok(value),
            _ => Err(EncodeError::Columns { needed: 1, found: row.len() }),
        })
        .collect()
}
