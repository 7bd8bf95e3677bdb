//! Replicated sharing among three parties: words of 64 bits, as integers or as bits. Under the tier `semi-honest` only.
//!
//! A word is the sum of three; party `i` holds the `i`-th and the next. A product costs one word per party (Araki, Furukawa, Lindell, Nof and Ohara,
//! "High-Throughput Semi-Honest Secure Three-Party Computation with an Honest Majority", CCS 2016). What two parties hold of such a sharing is a Shamir share after
//! multiplication by a constant (Cramer, Damgård and Ishai, TCC 2005): conversion is local.

mod compare;

use std::marker::PhantomData;

use crate::committee::Party;
use crate::error::MpcError;
use crate::field::FieldKind;
use crate::operation::{Operation, support};
use crate::session::{CHUNK_BYTES, Session};

/// Words per frame.
const CHUNK_WORDS: usize = CHUNK_BYTES / 8;

/// How words add and multiply.
pub trait Ring: Copy + Send + Sync + 'static {
    /// Which ring it is.
    const KIND: FieldKind;
    /// The sum.
    fn add(a: u64, b: u64) -> u64;
    /// The difference.
    fn sub(a: u64, b: u64) -> u64;
    /// The product.
    fn mul(a: u64, b: u64) -> u64;
}

/// Integers modulo 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integers;

/// 64 bits side by side: exclusive or is the sum, conjunction the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits;

impl Ring for Integers {
    const KIND: FieldKind = FieldKind::Ring64;
    #[inline(always)]
    fn add(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn sub(a: u64, b: u64) -> u64 {
        a.wrapping_sub(b)
    }
    #[inline(always)]
    fn mul(a: u64, b: u64) -> u64 {
        a.wrapping_mul(b)
    }
}

impl Ring for Bits {
    const KIND: FieldKind = FieldKind::Bits;
    #[inline(always)]
    fn add(a: u64, b: u64) -> u64 {
        a ^ b
    }
    #[inline(always)]
    fn sub(a: u64, b: u64) -> u64 {
        a ^ b
    }
    #[inline(always)]
    fn mul(a: u64, b: u64) -> u64 {
        a & b
    }
}

/// One of three parties' part of many words: two of the three summands of each.
#[derive(Clone, PartialEq, Eq)]
pub struct Replicated<R> {
    mine: Vec<u64>,
    next: Vec<u64>,
    ring: PhantomData<R>,
}

impl<R> std::fmt::Debug for Replicated<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Replicated({} words)", self.mine.len())
    }
}

impl<R: Ring> Replicated<R> {
    fn new(mine: Vec<u64>, next: Vec<u64>) -> Self {
        Self { mine, next, ring: PhantomData }
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.mine.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.mine.is_empty()
    }

    fn expect_len(&self, expected: usize) -> Result<(), MpcError> {
        if self.len() == expected { Ok(()) } else { Err(MpcError::Lengths { expected, got: self.len() }) }
    }

    fn map(&self, f: impl Fn(u64) -> u64) -> Self {
        Self::new(
            self.mine.iter().map(|&word| f(word)).collect(),
            self.next.iter().map(|&word| f(word)).collect(),
        )
    }

    fn with(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(self.len(), other.len(), "operands have the same length");
        let zip = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect();
        Self::new(zip(&self.mine, &other.mine), zip(&self.next, &other.next))
    }

    /// Sums. Operands have the same length.
    pub fn add(&self, other: &Self) -> Self {
        self.with(other, R::add)
    }

    /// Differences. Operands have the same length.
    pub fn sub(&self, other: &Self) -> Self {
        self.with(other, R::sub)
    }

    /// All words times the same public one.
    pub fn scale(&self, factor: u64) -> Self {
        self.map(|word| R::mul(word, factor))
    }

    /// Some of the words.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self::new(self.mine[range.clone()].to_vec(), self.next[range].to_vec())
    }

    /// All words one after the other.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::new(Vec::new(), Vec::new());
        for part in parts {
            all.mine.extend_from_slice(&part.mine);
            all.next.extend_from_slice(&part.next);
        }
        all
    }
}

impl Session {
    fn before(&self) -> Party {
        Party((self.me().0 + 2) % 3)
    }

    fn after(&self) -> Party {
        Party((self.me().0 + 1) % 3)
    }

    /// Sends words to the party before this one, and takes as many from the one after it.
    async fn pass_words(&mut self, step: u32, words: &[u64]) -> Result<Vec<u64>, MpcError> {
        let (before, after) = (self.before(), self.after());
        for (chunk, words) in (0u32..).zip(words.chunks(CHUNK_WORDS)) {
            self.send_words(before, step, chunk, words);
        }
        let mut received = Vec::with_capacity(words.len());
        for (chunk, words) in (0u32..).zip(words.chunks(CHUNK_WORDS)) {
            self.receive_words(after, step, chunk, words.len(), &mut received).await?;
        }
        Ok(received)
    }

    fn send_words(&self, to: Party, step: u32, chunk: u32, words: &[u64]) {
        let mut frame = self.wire().frame(to, step, chunk, words.len() * 8);
        for word in words {
            frame.extend_from_slice(&word.to_le_bytes());
        }
        self.wire().send(to, frame);
    }

    async fn receive_words(
        &self,
        from: Party,
        step: u32,
        chunk: u32,
        len: usize,
        words: &mut Vec<u64>,
    ) -> Result<(), MpcError> {
        let body = self.wire().receive(from, step, chunk).await?.ok_or(MpcError::Lost { party: from })?;
        if body.len() != len * 8 {
            return Err(MpcError::Malformed { party: from });
        }
        words.extend(
            body.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight"))),
        );
        Ok(())
    }

    /// Words of which every party has its own: each party's, in the order of parties. One word to send for each of one's own.
    async fn words_of_each<R: Ring>(&mut self, mine: &[u64]) -> Result<[Replicated<R>; 3], MpcError> {
        let step = self.next_step()?;
        let (me, len) = (self.me().index(), mine.len());
        // Of party d's words, summand d+1 is drawn by d and d+1, summand d is what is missing and goes to d-1, and the third is zero.
        let drawn = self.draw_words(self.after(), 0, step, len);
        let rest: Vec<u64> = mine.iter().zip(&drawn).map(|(&word, &drawn)| R::sub(word, drawn)).collect();
        let from_after = self.pass_words(step, &rest).await?;
        let from_before = self.draw_words(self.before(), 0, step, len);
        let part = |dealer: usize| match (dealer + 3 - me) % 3 {
            0 => Replicated::new(rest.clone(), drawn.clone()),
            1 => Replicated::new(vec![0; len], from_after.clone()),
            _ => Replicated::new(from_before.clone(), vec![0; len]),
        };
        Ok([part(0), part(1), part(2)])
    }

    /// Words that this party and another draw alike.
    fn draw_words(&self, peer: Party, lane: u8, step: u32, len: usize) -> Vec<u64> {
        let mut words = Vec::with_capacity(len);
        for (chunk, start) in (0u32..).zip((0..len).step_by(CHUNK_WORDS)) {
            words.extend(self.pair_stream(peer).words(lane, step, chunk, CHUNK_WORDS.min(len - start)));
        }
        words
    }

    /// Words that one party knows. The others pass `None`.
    ///
    /// # Errors
    ///
    /// [`MpcError::Unsupported`] but for three parties under `semi-honest`; [`MpcError::Lengths`]; what ends a run.
    pub async fn input_words<R: Ring>(
        &mut self,
        from: Party,
        len: usize,
        words: Option<&[u64]>,
    ) -> Result<Replicated<R>, MpcError> {
        support(Operation::Input, R::KIND, self.terms())?;
        let mine = match words {
            Some(words) if from == self.me() => words.to_vec(),
            _ => vec![0; len],
        };
        if mine.len() != len || from.index() > 2 {
            return Err(MpcError::Lengths { expected: len, got: mine.len() });
        }
        let all = self.words_of_each::<R>(&mine).await?;
        let [a, b, c] = all;
        Ok([a, b, c].into_iter().nth(from.index()).expect("there are three parties"))
    }

    /// Products, word by word. One round, one word.
    ///
    /// # Errors
    ///
    /// [`MpcError::Unsupported`] but for three parties under `semi-honest`; [`MpcError::Lengths`]; what ends a run.
    pub async fn mul_words<R: Ring>(
        &mut self,
        x: &Replicated<R>,
        y: &Replicated<R>,
    ) -> Result<Replicated<R>, MpcError> {
        y.expect_len(x.len())?;
        self.dot_words(x, y, 1).await
    }

    /// The inner product of each `inner` words in a row. One round, one word for each.
    ///
    /// # Errors
    ///
    /// As [`Session::mul_words`].
    pub async fn dot_words<R: Ring>(
        &mut self,
        x: &Replicated<R>,
        y: &Replicated<R>,
        inner: usize,
    ) -> Result<Replicated<R>, MpcError> {
        support(Operation::Multiply, R::KIND, self.terms())?;
        y.expect_len(x.len())?;
        if inner == 0 || !x.len().is_multiple_of(inner) {
            return Err(MpcError::Lengths { expected: inner, got: x.len() });
        }
        let term = |place: usize| {
            let both = R::add(y.mine[place], y.next[place]);
            R::add(R::mul(x.mine[place], both), R::mul(x.next[place], y.mine[place]))
        };
        self.reshare_words(x.len() / inner, |place| {
            (place * inner + 1..(place + 1) * inner)
                .fold(term(place * inner), |sum, place| R::add(sum, term(place)))
        })
        .await
    }

    /// The product of matrices in rows, `rows × inner` times `inner × columns`. One round, one word for each element of the result.
    ///
    /// # Errors
    ///
    /// As [`Session::mul_words`].
    pub async fn matmul_words<R: Ring>(
        &mut self,
        x: &Replicated<R>,
        y: &Replicated<R>,
        rows: usize,
        inner: usize,
        columns: usize,
    ) -> Result<Replicated<R>, MpcError> {
        support(Operation::Matmul, R::KIND, self.terms())?;
        x.expect_len(rows * inner)?;
        y.expect_len(inner * columns)?;
        let term = |left: usize, right: usize| {
            let both = R::add(y.mine[right], y.next[right]);
            R::add(R::mul(x.mine[left], both), R::mul(x.next[left], y.mine[right]))
        };
        self.reshare_words(rows * columns, |place| {
            let (row, column) = (place / columns, place % columns);
            (0..inner).fold(0, |sum, k| R::add(sum, term(row * inner + k, k * columns + column)))
        })
        .await
    }

    /// Makes replicated words of summands of which each party has one.
    async fn reshare_words<R: Ring>(
        &mut self,
        len: usize,
        summand: impl Fn(usize) -> u64,
    ) -> Result<Replicated<R>, MpcError> {
        let step = self.next_step()?;
        let (before, after) = (self.before(), self.after());
        let mut mine = Vec::with_capacity(len);
        for (chunk, start) in (0u32..).zip((0..len).step_by(CHUNK_WORDS)) {
            let size = CHUNK_WORDS.min(len - start);
            // Summands of zero: what is drawn with the next party minus what is drawn with the one before.
            let plus = self.pair_stream(after).words(1, step, chunk, size);
            let minus = self.pair_stream(before).words(1, step, chunk, size);
            mine.extend(
                plus.iter()
                    .zip(&minus)
                    .zip(start..)
                    .map(|((&plus, &minus), place)| R::add(summand(place), R::sub(plus, minus))),
            );
            self.send_words(before, step, chunk, &mine[start..]);
        }
        let mut next = Vec::with_capacity(len);
        for (chunk, start) in (0u32..).zip((0..len).step_by(CHUNK_WORDS)) {
            self.receive_words(after, step, chunk, CHUNK_WORDS.min(len - start), &mut next).await?;
        }
        Ok(Replicated::new(mine, next))
    }

    /// The words, for everybody. One round, one word.
    ///
    /// # Errors
    ///
    /// [`MpcError::Unsupported`] but for three parties under `semi-honest`; what ends a run.
    pub async fn open_words<R: Ring>(&mut self, x: &Replicated<R>) -> Result<Vec<u64>, MpcError> {
        support(Operation::Open, R::KIND, self.terms())?;
        let step = self.next_step()?;
        // The party before lacks the summand after its own two, which this party has as `next`.
        let missing = self.pass_words(step, &x.next).await?;
        Ok((0..x.len()).map(|place| R::add(R::add(x.mine[place], x.next[place]), missing[place])).collect())
    }
}
