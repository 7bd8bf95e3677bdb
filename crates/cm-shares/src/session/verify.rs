//! The check that all products are right, before anything opens.
//!
//! Goyal and Song, "Malicious Security Comes Free in Honest-Majority MPC" (ePrint 2020/134), after Boneh, Boyle, Corrigan-Gibbs, Gilboa and Ishai, "Zero-Knowledge
//! Proofs on Secret-Shared Data via Fully Linear PCPs" (CRYPTO 2019). Multiplication as it is done here is secure but for an error that the
//! cheaters choose without knowing the factors, and add (Genkin et al., STOC 2014). So it is enough to find whether all errors are zero:
//!
//! 1. A random combination of all claims `x·y = z` is one inner product `⟨X, Y⟩ = Z`.
//! 2. It is halved: with `f(1)`, `f(2)` the halves of `X`, `g(1)`, `g(2)` those of `Y`, `h = ⟨f, g⟩` has degree 2; `h(1)` and `h(3)` are computed as products,
//!    `h(2) = Z - h(1)`, and the claim becomes `⟨f(r), g(r)⟩ = h(r)` for a random `r`. As often as there is something to halve.
//! 3. The last pair of factors is halved together with a random one, then all three values are opened and compared.
//!
//! What is sent grows with the logarithm of the number of products. A wrong product passes with probability at most `(2·log₂ m + 6) / |F|` for `m` factors: one over the order for the
//! combination (two for matrices), two for each halving, two for the last one. With at most 2^26 factors that is below 2^-55 in the field of order 2^61-1 and below 2^-248 for
//! scalars. The challenges come out of 183 random bits, opened after everything that they test has arrived everywhere: Goyal and Song assume synchronous rounds, links here are
//! not synchronous, so a barrier goes before each challenge (see `coin`).

use crate::committee::Tier;
use crate::error::{Check, MpcError};
use crate::field::{Field, lagrange};
use crate::keys::{Domain, Stream};
use crate::session::Session;
use crate::session::deal::chunk_elements;
use crate::session::ledger::Claim;
use crate::shared::Shared;

/// An inner product that is claimed to be right.
struct Inner<F> {
    x: Vec<F>,
    y: Vec<F>,
    z: F,
    /// A random combination of the products, whose sharing must have degree `t`.
    combined: F,
}

impl<F: Field> Inner<F> {
    /// The random combination of claims.
    fn combine(claims: &[Claim<F>], coin: &Stream, with_degree: bool) -> Self {
        let factors = claims.iter().map(Claim::factors).sum();
        let (mut x, mut y) = (Vec::with_capacity(factors), Vec::with_capacity(factors));
        let (mut z, mut combined) = (F::ZERO, F::ZERO);
        for (number, claim) in (0u32..).zip(claims) {
            match claim {
                Claim::Dots { x: left, y: right, z: products, inner } => {
                    let factors = coefficients::<F>(coin, 0, number, products.len());
                    y.extend_from_slice(right.as_slice());
                    for (left, &factor) in left.as_slice().chunks(*inner).zip(&factors) {
                        x.extend(left.iter().map(|&share| share * factor));
                    }
                    z += F::dot(&factors, products.as_slice());
                }
                Claim::Matrix { x: left, y_columns, z: products, inner } => {
                    // uᵀ(XY)v = (uᵀX)·(Yv): the check is as long as the inner dimension.
                    let (rows, columns) = (left.len() / inner, y_columns.len() / inner);
                    let u = coefficients::<F>(coin, 1, number, rows);
                    let v = coefficients::<F>(coin, 2, number, columns);
                    x.extend(weighted_sum(left.as_slice(), &u, *inner));
                    y.extend(weighted_sum(y_columns.as_slice(), &v, *inner));
                    for (row, &factor) in products.as_slice().chunks(columns).zip(&u) {
                        z += factor * F::dot(row, &v);
                    }
                }
            }
            if with_degree {
                let (Claim::Dots { z: products, .. } | Claim::Matrix { z: products, .. }) = claim;
                combined += F::dot(&coefficients::<F>(coin, 3, number, products.len()), products.as_slice());
            }
        }
        Self { x, y, z, combined }
    }
}

/// The sum of rows of `inner` elements, each times its factor.
fn weighted_sum<F: Field>(rows: &[F], factors: &[F], inner: usize) -> Vec<F> {
    let mut sum = vec![F::ZERO; inner];
    for (row, &factor) in rows.chunks(inner).zip(factors) {
        for (sum, &share) in sum.iter_mut().zip(row) {
            *sum += share * factor;
        }
    }
    sum
}

fn coefficients<F: Field>(coin: &Stream, lane: u8, number: u32, len: usize) -> Vec<F> {
    let size = chunk_elements::<F>();
    let mut coefficients = Vec::with_capacity(len);
    for (chunk, start) in (0u32..).zip((0..len).step_by(size)) {
        coefficients.append(&mut coin.elements::<F>(
            Domain::Coefficients,
            lane,
            number,
            chunk,
            size.min(len - start),
        ));
    }
    coefficients
}

/// A challenge that is none of the points one, two and three.
fn challenge<F: Field>(coin: &Stream) -> F {
    let drawn = coin.elements::<F>(Domain::Challenge, 0, 0, 0, 8);
    let small = [F::ZERO, F::ONE, F::from_u64(2), F::from_u64(3)];
    drawn.into_iter().find(|value| !small.contains(value)).unwrap_or(F::from_u64(4))
}

impl Session {
    /// Verifies what waits for it in one field.
    pub(super) async fn verify_field<F: Field>(&mut self) -> Result<(), MpcError> {
        let claims = std::mem::take(&mut self.ledger::<F>().pending);
        self.ledger::<F>().pending_products = 0;
        if claims.is_empty() || self.tier() != Tier::MaliciousAbort {
            return Ok(());
        }
        let coin = self.coin().await?;
        // With n = 2t+1 the honest parties alone determine each polynomial, so no product can have another degree.
        let mut claim = Inner::combine(&claims, &coin, self.n() > 2 * self.t() + 1);
        drop(claims);
        while claim.x.len() > 1 {
            claim = self.halve(claim).await?;
        }
        self.check_last(claim).await
    }

    /// Half as long a claim, true if and (but for a small probability) only if this one is.
    async fn halve<F: Field>(&mut self, claim: Inner<F>) -> Result<Inner<F>, MpcError> {
        let Inner { mut x, mut y, z, combined } = claim;
        if x.len() % 2 == 1 {
            x.push(F::ZERO);
            y.push(F::ZERO);
        }
        let half = x.len() / 2;
        let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at(half));
        let third = third_point(x1, x2, y1, y2);
        let sums = [F::dot(x1, y1), third];
        let values =
            self.reduce_degree(2, |start, out| out.copy_from_slice(&sums[start..start + out.len()])).await?;
        let (h1, h3) = (values.as_slice()[0], values.as_slice()[1]);
        let r = challenge::<F>(&self.coin().await?);
        at_challenge(&mut x, r);
        at_challenge(&mut y, r);
        Ok(Inner { x, y, z: interpolate([h1, z - h1, h3], r), combined })
    }

    /// Opens a claim about one product behind a random one.
    async fn check_last<F: Field>(&mut self, claim: Inner<F>) -> Result<(), MpcError> {
        let masks = self.random::<F>(3).await?;
        let (a, b, mask) = (masks.as_slice()[0], masks.as_slice()[1], masks.as_slice()[2]);
        let (x, y) = (claim.x[0], claim.y[0]);
        let sums = [a * b, third_point(&[x], &[a], &[y], &[b])];
        let values =
            self.reduce_degree(2, |start, out| out.copy_from_slice(&sums[start..start + out.len()])).await?;
        let r = challenge::<F>(&self.coin().await?);
        let (mut f, mut g) = (vec![x, a], vec![y, b]);
        at_challenge(&mut f, r);
        at_challenge(&mut g, r);
        let h = interpolate([claim.z, values.as_slice()[0], values.as_slice()[1]], r);
        let opened =
            self.open_unverified(&Shared::from_shares(vec![f[0], g[0], h, claim.combined + mask])).await?;
        if opened[0] * opened[1] == opened[2] { Ok(()) } else { Err(MpcError::Cheating(Check::Products)) }
    }

    /// Whether a client's shares, given to all parties, lie on polynomials of degree `t`: a random combination of them is opened behind a mask.
    pub(super) async fn check_degree<F: Field>(&mut self, shares: &Shared<F>) -> Result<(), MpcError> {
        let mask = self.random::<F>(1).await?;
        let coin = self.coin().await?;
        let factors = coefficients::<F>(&coin, 4, 0, shares.len());
        let combined = F::dot(&factors, shares.as_slice()) + mask.as_slice()[0];
        match self.open_unverified(&Shared::from_shares(vec![combined])).await {
            Ok(_) => Ok(()),
            Err(MpcError::Cheating(Check::Degree) | MpcError::Cheated { check: Check::Degree, .. }) => {
                Err(MpcError::InconsistentInput)
            }
            Err(error) => Err(error),
        }
    }
}

/// `⟨f(3), g(3)⟩` for the lines through the halves.
fn third_point<F: Field>(x1: &[F], x2: &[F], y1: &[F], y2: &[F]) -> F {
    let mut total = F::ZERO;
    for ((x1, x2), (y1, y2)) in x1.chunks(56).zip(x2.chunks(56)).zip(y1.chunks(56).zip(y2.chunks(56))) {
        let mut sum = F::Wide::default();
        for ((&x1, &x2), (&y1, &y2)) in x1.iter().zip(x2).zip(y1.iter().zip(y2)) {
            sum = F::accumulate(sum, x2 + x2 - x1, y2 + y2 - y1);
        }
        total += F::reduce(sum);
    }
    total
}

/// The lines through the halves, at `r`.
fn at_challenge<F: Field>(values: &mut Vec<F>, r: F) {
    let half = values.len() / 2;
    let (first, second) = values.split_at_mut(half);
    let step = r - F::ONE;
    for (first, &mut second) in first.iter_mut().zip(second) {
        *first += (second - *first) * step;
    }
    values.truncate(half);
}

/// The value at `r` of the polynomial of degree two with these values at one, two and three.
fn interpolate<F: Field>(values: [F; 3], r: F) -> F {
    let weights = lagrange(&[F::ONE, F::from_u64(2), F::from_u64(3)], r);
    F::dot(&weights, &values)
}
