//! How many numbers a value holds, and how they are arranged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number (no dimensions), a vector (one) or a matrix (rows, columns). Elements are kept row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// One number.
    pub const SCALAR: Shape = Shape(Vec::new());

    /// The shape of these dimensions; `None` if there are more than two, one is zero, or the product is beyond `max`.
    pub fn new(dimensions: &[usize], max: usize) -> Option<Self> {
        let len = dimensions.iter().try_fold(1_usize, |len, dimension| len.checked_mul(*dimension))?;
        (dimensions.len() <= 2 && len > 0 && len <= max).then(|| Self(dimensions.to_vec()))
    }

    /// A vector.
    pub fn vector(len: usize) -> Self {
        Self(vec![len])
    }

    /// A matrix.
    pub fn matrix(rows: usize, columns: usize) -> Self {
        Self(vec![rows, columns])
    }

    /// How many numbers.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// Never: every dimension is at least one.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The dimensions.
    pub fn dimensions(&self) -> &[usize] {
        &self.0
    }

    /// Whether it is one number.
    pub fn is_scalar(&self) -> bool {
        self.0.is_empty()
    }

    /// What comes of combining two values number by number: both have the same shape, or one is a single number.
    pub fn joined(&self, other: &Shape) -> Option<Shape> {
        match () {
            () if self == other || other.is_scalar() => Some(self.clone()),
            () if self.is_scalar() => Some(other.clone()),
            () => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_scalar() {
            return f.write_str("one number");
        }
        let dimensions: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", dimensions.join(", "))
    }
}
