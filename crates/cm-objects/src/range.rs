//! Parts of an object.

use std::ops::Range;

use crate::ObjectError;

/// A part of an object as clients ask for it (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From a byte to the end.
    From(u64),
    /// From a byte to a byte, both included. What lies beyond the object is left out.
    Inclusive(u64, u64),
    /// The last so many bytes, or all if there are fewer.
    Suffix(u64),
}

impl ByteRange {
    /// The bytes that are meant in an object of that size.
    ///
    /// # Errors
    /// [`ObjectError::RangeNotSatisfiable`] if there is not a single one.
    pub fn resolve(self, size: u64) -> Result<Range<u64>, ObjectError> {
        let range = match self {
            ByteRange::From(start) => start..size,
            ByteRange::Inclusive(start, end) => start..end.saturating_add(1).min(size),
            ByteRange::Suffix(count) => size.saturating_sub(count)..size,
        };
        if range.is_empty() { Err(ObjectError::RangeNotSatisfiable { size }) } else { Ok(range) }
    }
}
