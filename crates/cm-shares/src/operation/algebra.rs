//! Inverses, quotients, products of many, polynomials.

use crate::error::MpcError;
use crate::field::Field;
use crate::operation::Operation;
use crate::session::Session;
use crate::shared::Shared;

impl Session {
    /// One divided by each value (Bar-Ilan and Beaver, "Non-Cryptographic Fault-Tolerant Computing in a Constant Number of Rounds of Interaction", PODC 1989).
    ///
    /// # Errors
    ///
    /// [`MpcError::ZeroDivisor`] if one is zero; everybody then learns that. Or what ends a run.
    pub async fn inverse<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Inverse)?;
        let random = self.random::<F>(x.len()).await?;
        let masked = self.mul(x, &random).await?;
        let opened = self.open(&masked).await?;
        let inverses: Option<Vec<F>> = opened.into_iter().map(F::invert).collect();
        Ok(random.scale_by(&inverses.ok_or(MpcError::ZeroDivisor)?))
    }

    /// The quotients in the field: what times `b` is `a`. For quotients of fractions see [`Session::div_fixed`].
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`]; [`MpcError::ZeroDivisor`] if a divisor is zero; everybody then learns that. Or what ends a run.
    pub async fn div<F: Field>(&mut self, a: &Shared<F>, b: &Shared<F>) -> Result<Shared<F>, MpcError> {
        b.expect_len(a.len())?;
        let inverses = self.inverse(b).await?;
        self.mul(a, &inverses).await
    }

    /// The product of all values, as one element; one for none.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn product<F: Field>(&mut self, x: &Shared<F>) -> Result<Shared<F>, MpcError> {
        if x.is_empty() {
            return Ok(Shared::constant(F::ONE, 1));
        }
        let columns = (0..x.len()).map(|place| x.slice(place..place + 1)).collect();
        self.product_of_columns(columns).await
    }

    /// The powers with exponents from one to `degree`: `degree - 1` products in `log₂(degree)` rounds.
    async fn powers<F: Field>(&mut self, x: &Shared<F>, degree: usize) -> Result<Vec<Shared<F>>, MpcError> {
        let mut powers = vec![x.clone()];
        while powers.len() < degree {
            let known = powers.len();
            let more = known.min(degree - known);
            let products =
                self.mul(&powers[known - 1].repeat(more), &Shared::concat(&powers[..more])).await?;
            powers.extend((0..more).map(|power| products.slice(power * x.len()..(power + 1) * x.len())));
        }
        Ok(powers)
    }

    /// A public polynomial at each value; coefficients from the constant one.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn polynomial<F: Field>(
        &mut self,
        x: &Shared<F>,
        coefficients: &[F],
    ) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Polynomial)?;
        let Some((&constant, above)) = coefficients.split_first() else {
            return Ok(Shared::constant(F::ZERO, x.len()));
        };
        let mut value = Shared::constant(constant, x.len());
        if !above.is_empty() {
            for (power, &coefficient) in self.powers(x, above.len()).await?.iter().zip(above) {
                value = value.add(&power.scale(coefficient));
            }
        }
        Ok(value)
    }

    /// A shared polynomial at each value; coefficients from the constant one.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn polynomial_shared<F: Field>(
        &mut self,
        x: &Shared<F>,
        coefficients: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        self.expect::<F>(Operation::Polynomial)?;
        if coefficients.len() <= 1 {
            return Ok(Shared::constant(coefficients.sum().as_slice()[0], x.len()));
        }
        let inner = coefficients.len() - 1;
        let powers = self.powers(x, inner).await?;
        let rows = Shared::concat(&powers).transpose(inner);
        let above = self.matmul(&rows, &coefficients.slice(1..inner + 1), x.len(), inner, 1).await?;
        Ok(above.add(&coefficients.slice(0..1).repeat(x.len())))
    }
}
