//! Compute kernels for benchmarks.
//!
//! Each kernel is one function from a size to a checksum, so that the work cannot be optimised away and every build can
//! be compared with every other: a library call natively, the same source as a WebAssembly program inside an
//! instance or in bare wasmtime.
//!
//! | program | size means | exercises |
//! | --- | --- | --- |
//! | `matrix-multiply` | rows of two square matrices | floating point, memory access |
//! | `sha-256` | KiB hashed | integer and bitwise operations |
//! | `n-body` | time steps | floating-point latency, division and square root |
//!
//! Files: `/input` is the size, a little-endian `u32`; `/output` is the checksum, a little-endian `u64`.

pub mod matrix_multiply;
pub mod n_body;
pub mod sha_256;

use std::fmt;

/// A kernel: a size to a checksum.
pub type Kernel = fn(u32) -> u64;

/// The input is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// The input is not exactly four bytes.
    Length,
    /// The size is zero or above the kernel's limit.
    OutOfRange {
        /// The largest size that is accepted.
        max: u32,
    },
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("the size is a little-endian u32: four bytes"),
            Self::OutOfRange { max } => write!(f, "the size must be 1 to {max}"),
        }
    }
}

impl std::error::Error for SizeError {}

/// The whole program: input bytes to output bytes.
pub fn run(kernel: Kernel, max: u32, input: &[u8]) -> Result<Vec<u8>, SizeError> {
    let bytes = <[u8; 4]>::try_from(input).map_err(|_| SizeError::Length)?;
    let size = u32::from_le_bytes(bytes);
    if size == 0 || size > max {
        return Err(SizeError::OutOfRange { max });
    }
    Ok(kernel(size).to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_out_of_range_is_refused() {
        assert_eq!(run(sha_256::run, 10, &[0; 4]), Err(SizeError::OutOfRange { max: 10 }));
        assert_eq!(run(sha_256::run, 10, &[11, 0, 0, 0]), Err(SizeError::OutOfRange { max: 10 }));
        assert_eq!(run(sha_256::run, 10, &[1]), Err(SizeError::Length));
        assert_eq!(run(sha_256::run, 10, &[1, 0, 0, 0]).map(|bytes| bytes.len()), Ok(8));
    }
}
