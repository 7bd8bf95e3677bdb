//! What a person needs around the example programs: CSV to the bytes that they read, and the bytes that they write
//! to text.
//!
//! [`csv`] reads a table of numbers, [`Kind`] names the files that there are, [`encode`] and [`decode`] go there and
//! back. The byte formats themselves are [`guest::codec`]'s and are told in the documentation of each program.

pub mod csv;
mod decode;
mod encode;
mod kind;

pub use decode::decode;
pub use encode::{EncodeError, encode};
pub use kind::Kind;

#[cfg(test)]
mod tests;
