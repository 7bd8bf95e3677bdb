//! What a session keeps for each field: weights, products that nobody has verified yet, and prepared randomness.

use std::collections::VecDeque;

use crate::committee::{Party, Terms};
use crate::field::{F61, Field, Scalar, lagrange, point};
use crate::shared::Shared;

/// One ledger for each field.
pub struct Ledgers {
    pub(crate) f61: Ledger<F61>,
    pub(crate) scalar: Ledger<Scalar>,
}

impl Ledgers {
    pub(crate) fn new(terms: &Terms, me: Party) -> Self {
        Self { f61: Ledger::new(terms, me), scalar: Ledger::new(terms, me) }
    }
}

/// What a session keeps for a field.
pub struct Ledger<F> {
    pub(crate) dealing: Dealing<F>,
    pub(crate) pending: Vec<Claim<F>>,
    pub(crate) pending_products: usize,
    pub(crate) bits: VecDeque<F>,
    pub(crate) triples: VecDeque<[F; 3]>,
}

impl<F: Field> Ledger<F> {
    fn new(terms: &Terms, me: Party) -> Self {
        Self {
            dealing: Dealing::new(terms, me),
            pending: Vec::new(),
            pending_products: 0,
            bits: VecDeque::new(),
            triples: VecDeque::new(),
        }
    }
}

/// Products that are claimed to be right.
pub(crate) enum Claim<F> {
    /// `z[k] = x[k·inner ..] · y[k·inner ..]`
    Dots { x: Shared<F>, y: Shared<F>, z: Shared<F>, inner: usize },
    /// `z = x · y`, matrices in rows; `y` by columns.
    Matrix { x: Shared<F>, y_columns: Shared<F>, z: Shared<F>, inner: usize },
}

impl<F: Field> Claim<F> {
    /// How many products its inner product has when all are combined.
    pub(crate) fn factors(&self) -> usize {
        match self {
            Self::Dots { x, .. } => x.len(),
            Self::Matrix { inner, .. } => *inner,
        }
    }
}

/// How this party shares a value: `t` receivers have their shares by a common seed, so only the others are sent something. Fixing `t` points of
/// a polynomial of degree `t` at random is the same as choosing its coefficients at random.
pub(crate) struct Dealing<F> {
    /// Who draws a share from the seed in common, in the order of the weights.
    pub(crate) seeded: Vec<Party>,
    /// The weights of secret and seeded shares in the share of everybody else, this party included.
    pub(crate) rows: Vec<(Party, Vec<F>)>,
    /// The weight of this party's product in the value, where the first `2t+1` parties share theirs.
    pub(crate) weight: F,
}

impl<F: Field> Dealing<F> {
    fn new(terms: &Terms, me: Party) -> Self {
        let (n, t) = (terms.committee().parties(), terms.committee().threshold());
        let seeded: Vec<Party> = seeded_by(me, n, t).collect();
        let mut points = vec![F::ZERO];
        points.extend(seeded.iter().map(|party| point::<F>(party.index())));
        let others = (0..n).map(Party::at).filter(|party| !seeded.contains(party));
        let rows = others.map(|party| (party, lagrange(&points, point(party.index())))).collect();
        let dealers: Vec<F> = (0..2 * t + 1).map(point).collect();
        let weight = lagrange(&dealers, F::ZERO).get(me.index()).copied().unwrap_or_default();
        Self { seeded, rows, weight }
    }
}

/// Who has its share of what `dealer` shares by a seed.
pub(crate) fn seeded_by(dealer: Party, n: usize, t: usize) -> impl Iterator<Item = Party> {
    (1..=t).map(move |step| Party::at((dealer.index() + step) % n))
}
