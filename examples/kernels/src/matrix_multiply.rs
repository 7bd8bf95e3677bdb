//! The product of two square matrices of `f64`, by the plain triple loop in row, inner, column order.

/// The largest size accepted: three matrices of this size take 384 MiB.
pub const SIZE_MAX: u32 = 4096;

/// Multiplies two matrices of `size` rows. The checksum adds the bit patterns of the product's elements, wrapping.
pub fn run(size: u32) -> u64 {
    let n = size as usize;
    let (left, right) = (filled(n, 1), filled(n, 2));
    product(n, &left, &right).iter().fold(0u64, |sum, value| sum.wrapping_add(value.to_bits()))
}

/// The product of two row-major matrices. The inner dimension is the middle loop, so that both operands of the innermost
/// one are contiguous.
pub fn product(n: usize, left: &[f64], right: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for (row, out_row) in left.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        for (factor, right_row) in row.iter().zip(right.chunks_exact(n)) {
            for (sum, value) in out_row.iter_mut().zip(right_row) {
                *sum += factor * value;
            }
        }
    }
    out
}

/// Numbers in [0, 1) from a linear congruential generator (Knuth's MMIX constants).
fn filled(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..n * n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_product() {
        assert_eq!(product(2, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]), [19.0, 22.0, 43.0, 50.0]);
    }
}
