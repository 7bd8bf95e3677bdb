//! Comparison of 64 bits at a time, by an adder over bits.
//!
//! The summands of a value are added as bits (Mohassel and Rindal, "ABY3: A Mixed Protocol Framework for Machine Learning", CCS 2018): a carry-save adder makes two numbers of
//! three, a parallel prefix (Kogge and Stone, 1973) gives the one carry that is asked for. Sixteen words per comparison, against some 240
//! products in a field.

use crate::committee::Tier;
use crate::error::MpcError;
use crate::field::{Field, FieldKind, lagrange, point};
use crate::operation::{Operation, support};
use crate::replicated::{Bits, Integers, Replicated, Ring};
use crate::session::Session;
use crate::shared::Shared;

/// Whether the bits below some weight carry, and whether they would pass a carry on.
struct Carry {
    generated: Replicated<Bits>,
    passed: Replicated<Bits>,
}

impl Session {
    /// Whether values count as negative, if there is a faster way than by random bits: for three parties under `semi-honest` in the field of order 2^61-1.
    pub(crate) async fn signs_by_words<F: Field>(
        &mut self,
        x: &Shared<F>,
    ) -> Result<Option<Shared<F>>, MpcError> {
        let committee = self.terms().committee();
        if F::KIND != FieldKind::F61
            || self.terms().tier() != Tier::SemiHonest
            || (committee.parties(), committee.threshold()) != (3, 1)
        {
            return Ok(None);
        }
        // The double is a sum of what each party has: s = d0 + d1 + d2 below three times the order p. Reduced it is odd if s is, unless s exceeds p
        // and not 2p. With s+1 and s+2 the exceeding shows in bits 61 and 62.
        let points: Vec<F> = (0..3).map(point).collect();
        let weight = lagrange(&points, F::ZERO)[self.me().index()];
        let mine: Vec<u64> = x
            .as_slice()
            .iter()
            .map(|&share| {
                let mut bytes = [0; 8];
                ((share + share) * weight).write(&mut bytes);
                u64::from_le_bytes(bytes)
            })
            .collect();
        let summands = self.words_of_each::<Bits>(&mine).await?;
        let (u, v) = self.save_carries(&summands).await?;
        // v is even, so carries start at bit one, with u's lowest bit for s+1 and with one for s+2. Run over bits 1 to 60; bit 61 follows.
        let run = self.carry(&u.map(|word| word >> 1), &v.map(|word| word >> 1), 60).await?;
        let low = u.map(|word| word & 1);
        let at_61 = u.add(&v).map(|word| word >> 61 & 1);
        let passed_61 = self.mul_words(&run.passed, &at_61).await?;
        let last = self.mul_words(&run.passed.add(&passed_61), &low).await?;
        let odd = low.add(&at_61).add(&run.generated).add(&last).add(&passed_61);
        self.bits_to_field(&odd.map(|word| word & 1)).await.map(Some)
    }

    /// Whether `a < b`, as one or zero, for integers whose difference is between -2^63 and 2^63.
    ///
    /// # Errors
    ///
    /// [`MpcError::Unsupported`] but for three parties under `semi-honest`; [`MpcError::Lengths`]; what ends a run.
    pub async fn lt_words(
        &mut self,
        a: &Replicated<Integers>,
        b: &Replicated<Integers>,
    ) -> Result<Replicated<Integers>, MpcError> {
        support(Operation::Less, FieldKind::Ring64, self.terms())?;
        b.expect_len(a.len())?;
        let difference = a.sub(b);
        let (u, v) = self.save_carries(&self.summands(&difference)).await?;
        let run = self.carry(&u, &v, 63).await?;
        let sign = u.add(&v).map(|word| word >> 63).add(&run.generated);
        let [x, y, z] = self
            .summands(&sign.map(|word| word & 1))
            .map(|part| Replicated::<Integers>::new(part.mine, part.next));
        let xor = |a: &Replicated<Integers>, b: &Replicated<Integers>, both: &Replicated<Integers>| {
            a.add(b).sub(&both.scale(2))
        };
        let both = self.mul_words(&x, &y).await?;
        let two = xor(&x, &y, &both);
        let both = self.mul_words(&two, &z).await?;
        Ok(xor(&two, &z, &both))
    }

    /// Each summand of shared words as shared words of bits: local, since two parties know each.
    fn summands<R: Ring>(&self, x: &Replicated<R>) -> [Replicated<Bits>; 3] {
        let zeros = vec![0; x.len()];
        let me = self.me().index();
        [0, 1, 2].map(|summand| match (summand + 3 - me) % 3 {
            0 => Replicated::new(x.mine.clone(), zeros.clone()),
            1 => Replicated::new(zeros.clone(), x.next.clone()),
            _ => Replicated::new(zeros.clone(), zeros.clone()),
        })
    }

    /// Two numbers with the sum of three.
    async fn save_carries(
        &mut self,
        [a, b, c]: &[Replicated<Bits>; 3],
    ) -> Result<(Replicated<Bits>, Replicated<Bits>), MpcError> {
        let both = self.mul_words(&a.add(c), &b.add(c)).await?;
        Ok((a.add(b).add(c), both.add(c).map(|word| word << 1)))
    }

    /// The carry out of the lowest `width` bits, in the lowest bit of each word.
    async fn carry(
        &mut self,
        u: &Replicated<Bits>,
        v: &Replicated<Bits>,
        width: u32,
    ) -> Result<Carry, MpcError> {
        let len = u.len();
        let mut generated = self.mul_words(u, v).await?;
        let mut passed = u.add(v);
        let mut reach = 1;
        while reach < width {
            let lower = |words: &Replicated<Bits>| words.map(|word| word << reach);
            // Below the lowest bit nothing is generated, and everything is passed: the ones that move in are public.
            let ones = (1u64 << reach) - 1;
            let below = self.add_public_bits(&lower(&passed), ones);
            let products = self
                .mul_words(
                    &Replicated::concat([&passed, &passed]),
                    &Replicated::concat([&lower(&generated), &below]),
                )
                .await?;
            generated = generated.add(&products.slice(0..len));
            passed = products.slice(len..2 * len);
            reach *= 2;
        }
        let top = |words: &Replicated<Bits>| words.map(|word| word >> (width - 1) & 1);
        Ok(Carry { generated: top(&generated), passed: top(&passed) })
    }

    /// Exclusive or with a public word: the first summand takes it.
    fn add_public_bits(&self, x: &Replicated<Bits>, word: u64) -> Replicated<Bits> {
        let flip = |words: &[u64], own: bool| {
            words.iter().map(|&share| if own { share ^ word } else { share }).collect()
        };
        Replicated::new(flip(&x.mine, self.me().0 == 0), flip(&x.next, self.me().0 == 2))
    }

    /// Bits as elements of a field: each of the three summands is a Shamir sharing, and their exclusive or takes two products.
    async fn bits_to_field<F: Field>(&mut self, bits: &Replicated<Bits>) -> Result<Shared<F>, MpcError> {
        let me = self.me().index();
        let summands = [0, 1, 2].map(|summand| {
            // Summand s is known to parties s and s-1: the line that is one at zero and zero at the third party.
            let absent = (summand + 1) % 3;
            let weight = lagrange(&[F::ZERO, point(absent)], point(me))[0];
            let known = match (summand + 3 - me) % 3 {
                0 => Some(&bits.mine),
                1 => Some(&bits.next),
                _ => None,
            };
            let shares = known.map_or_else(
                || vec![F::ZERO; bits.len()],
                |words| words.iter().map(|&word| F::from_u64(word) * weight).collect(),
            );
            Shared::from_shares(shares)
        });
        let two = self.xor(&summands[0], &summands[1]).await?;
        self.xor(&two, &summands[2]).await
    }
}
