//! Fractions with a fixed number of binary places, and functions of them.
//!
//! A fraction `v` with `f` places is the integer `⌊v·2^f⌉`. Sums are local; a product has `2f` places and is cut back to `f`, exactly rounded down.
//! Products before cutting must stay nearer to zero than a quarter of the order: 2^59 in the field of order 2^61-1, so values of up to
//! `59 - 2f` bits before the point on both sides together.
//!
//! Quotients take integers of up to [`QUOTIENT_BITS`] bits, and [`Session::exp`], [`Session::sigmoid`] take `4 ≤ f ≤ 14`.

use crate::error::MpcError;
use crate::field::Field;
use crate::operation::Operation;
use crate::session::Session;
use crate::shared::Shared;

/// Bits of the integers that [`Session::div_fixed`] divides, fraction included: they are below `2^28`, and so is the magnitude of the divisor.
pub const QUOTIENT_BITS: usize = 28;

/// Places that the functions are approximated with, at most.
const PLACES_MAX: usize = 14;

/// `e^x` is computed for `|x|` up to this.
pub const EXP_RANGE: f64 = 11.0;

/// Bits of the whole part of the power of two that the exponential is, with an offset of 16.
const EXP_WHOLE_BITS: usize = 5;

/// `2^v` for `0 ≤ v ≤ 1` within 4e-06: the interpolation at the five Chebyshev points, coefficients from the constant one.
const POWER_OF_TWO: [f64; 5] = [1.000_003_493, 0.692_972_922, 0.241_604_357, 0.051_744_998, 0.013_670_309];

/// Significant bits of the reciprocal of a public number of rows.
const RECIPROCAL_BITS: usize = 20;

/// Rows that a mean is taken of, at most.
const ROWS_MAX: usize = 1 << 20;

fn fixed<F: Field>(value: f64, places: usize) -> F {
    F::from_i64((value * (1u64 << places) as f64).round() as i64)
}

impl Session {
    /// Products of fractions, rounded down.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn mul_fixed<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        let products = self.mul(a, b).await?;
        self.truncate(&products, places).await
    }

    /// The inner product of fractions, rounded down once, as one element.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn dot_fixed<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        let product = self.dot(a, b).await?;
        self.truncate(&product, places).await
    }

    /// The product of matrices of fractions, each element rounded down once; see [`Session::matmul`].
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], or what ends a run.
    pub async fn matmul_fixed<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        [rows, inner, columns]: [usize; 3],
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        let product = self.matmul(a, b, rows, inner, columns).await?;
        self.truncate(&product, places).await
    }

    /// Fractions times the same public number, rounded down.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn scale_fixed<F: Field>(
        &mut self,
        x: &Shared<F>,
        factor: f64,
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        self.truncate(&x.scale(fixed(factor, places)), places).await
    }

    /// Quotients of fractions. Both are integers nearer to zero than `2^28` (see [`QUOTIENT_BITS`]), places included.
    ///
    /// The error is at most that of a dividend two units of the last place off, plus two units of the quotient; a quotient by zero is zero.
    /// Goldschmidt's and Newton's method as in Catrina and Saxena, "Secure Computation with Fixed-Point Numbers", FC 2010.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`], [`MpcError::Parameter`] for more places than 28, or what ends a run.
    pub async fn div_fixed<F: Field>(
        &mut self,
        a: &Shared<F>,
        b: &Shared<F>,
        places: usize,
    ) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::DivideFixed)?;
        b.expect_len(a.len())?;
        if places > QUOTIENT_BITS {
            return Err(MpcError::Parameter("quotients have at most 28 binary places"));
        }
        if a.is_empty() {
            return Ok(a.clone());
        }
        let len = a.len();
        // Signs: both are multiplied by the divisor's.
        let sign = self.less_than_zero(b).await?;
        let sign = sign.scale(-(F::ONE + F::ONE)).add_constant(F::ONE);
        let positive = self.mul(&sign.repeat(2), &Shared::concat([a, b])).await?;
        let (a, b) = (positive.slice(0..len), positive.slice(len..2 * len));
        // The divisor times the power of two that brings its highest bit to the top.
        let bits = self.bits(&b, QUOTIENT_BITS).await?;
        let any = self.any_above(bits).await?;
        let mut power = Shared::constant(F::ZERO, len);
        for (weight, any_here) in any.iter().enumerate() {
            let highest = any.get(weight + 1).map_or_else(|| any_here.clone(), |above| any_here.sub(above));
            power = power.add(&highest.scale(F::power_of_two(QUOTIENT_BITS - 1 - weight)));
        }
        let divisor = self.mul(&b, &power).await?;
        // Between one half and one with 28 places. 2.9142 - 2d is its reciprocal within 0.086; each step squares the error.
        let mut reciprocal = divisor.scale(-F::from_u64(2)).add_constant(fixed(2.9142, QUOTIENT_BITS));
        for _ in 0..3 {
            let product = self.mul_fixed(&divisor, &reciprocal, QUOTIENT_BITS).await?;
            let rest = product.neg().add_constant(F::power_of_two(QUOTIENT_BITS + 1));
            reciprocal = self.mul_fixed(&reciprocal, &rest, QUOTIENT_BITS).await?;
        }
        let quotient = self.mul_fixed(&a, &reciprocal, QUOTIENT_BITS).await?;
        self.mul_fixed(&quotient, &power, QUOTIENT_BITS - places).await
    }

    /// For each weight: whether a bit of it or above is set.
    async fn any_above<F: Field>(&mut self, bits: Vec<Shared<F>>) -> Result<Vec<Shared<F>>, MpcError> {
        let count = bits.len();
        let len = bits.first().map_or(0, Shared::len);
        // From the top; `none` says that no bit of the run is set.
        let mut none: Vec<Shared<F>> = bits.iter().rev().map(Shared::not).collect();
        let mut reach = 1;
        while reach < count {
            let targets: Vec<usize> = (0..count).filter(|place| place & reach != 0).collect();
            let left = Shared::concat(targets.iter().map(|&place| &none[place]));
            let right = Shared::concat(targets.iter().map(|&place| &none[(place & !(reach - 1)) - 1]));
            let products = self.mul(&left, &right).await?;
            for (number, &place) in targets.iter().enumerate() {
                none[place] = products.slice(number * len..(number + 1) * len);
            }
            reach *= 2;
        }
        Ok(none.iter().rev().map(Shared::not).collect())
    }

    /// `e^x` of fractions, for `|x| ≤` [`EXP_RANGE`]; beyond, that of the nearest bound.
    ///
    /// The result `y` is off by at most `y·2^-(f-2)` and one unit of the last place.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] unless `4 ≤ f ≤ 14`, or what ends a run.
    pub async fn exp<F: Field>(&mut self, x: &Shared<F>, places: usize) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Exp)?;
        expect_places(places)?;
        if x.is_empty() {
            return Ok(x.clone());
        }
        let len = x.len();
        let bound = fixed::<F>(EXP_RANGE, places);
        let x = self.max(x, &Shared::constant(-bound, len)).await?;
        let x = self.min(&x, &Shared::constant(bound, len)).await?;
        // e^x = 2^(whole - 16) · 2^fraction. The factor has more places than x, the range of x being known.
        let extra = 20;
        let exponent = self.truncate(&x.scale(fixed(std::f64::consts::LOG2_E, extra)), extra).await?;
        let exponent = exponent.add_constant(F::power_of_two(places + 4));
        let whole = self.truncate(&exponent, places).await?;
        let fraction = exponent.sub(&whole.scale(F::power_of_two(places)));
        let mut power = Shared::constant(fixed::<F>(POWER_OF_TWO[4], PLACES_MAX + 2), len);
        for &coefficient in POWER_OF_TWO[..4].iter().rev() {
            let product = self.mul(&power, &fraction).await?;
            power = self.truncate(&product, places).await?.add_constant(fixed(coefficient, PLACES_MAX + 2));
        }
        let bits = self.bits(&whole, EXP_WHOLE_BITS).await?;
        let factors = bits
            .iter()
            .enumerate()
            .map(|(weight, bit)| bit.scale(F::power_of_two(1 << weight) - F::ONE).add_constant(F::ONE));
        let scale = self.product_of_columns(factors.collect()).await?;
        let product = self.mul(&power, &scale).await?;
        self.truncate(&product, 16 + PLACES_MAX + 2 - places).await
    }

    /// `1/(1 + e^-x)` of fractions, within 0.0190 for all `x`: four straight pieces on each side (Amin, Curtis and Hayes-Gill, "Piecewise linear approximation
    /// applied to nonlinear function of a neural network", 1997). Four comparisons at once, and three layers of products.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] unless `4 ≤ f ≤ 14`, or what ends a run.
    pub async fn sigmoid<F: Field>(&mut self, x: &Shared<F>, places: usize) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Sigmoid)?;
        expect_places(places)?;
        if x.is_empty() {
            return Ok(x.clone());
        }
        let len = x.len();
        // On the positive side: slope 2^-k below the knee, from the steepest. Each further piece changes slope and constant.
        let pieces = [(0.0, 0.25, 0.5), (1.0, 0.125, 0.625), (2.375, 0.031_25, 0.843_75), (5.0, 0.0, 1.0)];
        let negative = self.less_than_zero(x).await?;
        let sign = negative.scale(-F::from_u64(2)).add_constant(F::ONE);
        let magnitude = self.mul(x, &sign).await?;
        let knees = Shared::concat(
            pieces[1..]
                .iter()
                .map(|&(knee, _, _)| magnitude.add_constant(-fixed::<F>(knee, places)))
                .collect::<Vec<_>>()
                .iter(),
        );
        let beyond = self.less_than_zero(&knees).await?.not();
        // Slopes have five places, so that the product is exact until it is cut.
        let mut slope = Shared::constant(fixed::<F>(0.25, 5), len);
        let mut constant = Shared::constant(fixed::<F>(0.5, places + 5), len);
        for (piece, pair) in pieces.windows(2).enumerate() {
            let here = beyond.slice(piece * len..(piece + 1) * len);
            slope = slope.add(&here.scale(fixed(pair[1].1 - pair[0].1, 5)));
            constant = constant.add(&here.scale(fixed(pair[1].2 - pair[0].2, places + 5)));
        }
        let positive = self.mul(&slope, &magnitude).await?.add(&constant);
        let positive = self.truncate(&positive, 5).await?;
        // For a negative x it is one minus that of the positive one.
        let difference = positive.scale(-F::from_u64(2)).add_constant(F::power_of_two(places));
        Ok(self.mul(&negative, &difference).await?.add(&positive))
    }

    /// The greater of each value and zero, exactly.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn relu<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Relu)?;
        let negative = self.less_than_zero(x).await?;
        self.mul(x, &negative.not()).await
    }

    /// The mean of fractions, as one element: within one unit of the last place and a millionth of itself. The sum stays below `2^37`.
    ///
    /// # Errors
    ///
    /// [`MpcError::Parameter`] for none or more than a million values, or what ends a run.
    pub async fn mean<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Statistics)?;
        self.divide_by_count(&x.sum(), x.len()).await
    }

    /// The variance of fractions, the mean of the squared distances from the mean, as one element. Distances squared stay below `2^58` in sum.
    ///
    /// # Errors
    ///
    /// As [`Session::mean`].
    pub async fn variance<F: Field>(&mut self, x: &Shared<F>, places: usize) -> Result<Shared<F>, MpcError> {
        let mean = self.mean(x).await?;
        let distances = x.sub(&mean.repeat(x.len()));
        let sum = self.dot_fixed(&distances, &distances, places).await?;
        self.divide_by_count(&sum, x.len()).await
    }

    async fn divide_by_count<F: Field>(
        &mut self,
        sum: &Shared<F>,
        count: usize,
    ) -> Result<Shared<F>, MpcError> {
        if count == 0 || count > ROWS_MAX {
            return Err(MpcError::Parameter("a mean is taken of one to a million values"));
        }
        let places = RECIPROCAL_BITS + count.next_power_of_two().ilog2() as usize;
        self.truncate(&sum.scale(fixed(1.0 / count as f64, places)), places).await
    }
}

fn expect_places(places: usize) -> Result<(), MpcError> {
    if (4..=PLACES_MAX).contains(&places) {
        Ok(())
    } else {
        Err(MpcError::Parameter("this function is approximated for fractions of 4 to 14 binary places"))
    }
}
