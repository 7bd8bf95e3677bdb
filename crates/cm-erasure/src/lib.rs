//! Chunks cut into shards: `k` carry the bytes, `m` more make up for as many that are lost.
//!
//! A [`Code`] cuts a chunk into [`Shard`]s. Each says what it is (of which chunk, with which number, in which code) and carries a digest of its
//! own, so that a scrub finds rot without the others. Reading takes any `k` of them; what comes out is compared with the digest of the
//! chunk, the one thing that is known from elsewhere. Should it differ although every shard agrees with itself, then somebody has
//! lied: other shards are tried, and the liars are named.
//!
//! The code is Reed-Solomon over GF(2¹⁶) as in the crate `reed-solomon-simd` (Lin, Al-Naffouri, Han and Chung, "Novel Polynomial Basis
//! with Fast Fourier Transform and Its Application to Reed-Solomon Erasure Codes", 2016). Shards are kept for years: a test
//! holds its output to what it has always been.

mod code;
mod error;
mod shard;

pub use code::{Code, Decoded, TRIALS_MAX};
pub use error::ErasureError;
pub use shard::{HEADER_LEN, Shard};
