//! Whole runs of all parties in one thread.

mod cheating;
mod core;
mod operations;
mod privacy;
mod renewal;
mod signing;

use crate::*;

/// Every committee and tier that the tests go through.
pub(crate) fn all_terms() -> Vec<Terms> {
    let mut terms = Vec::new();
    for n in [3, 4, 5, 7] {
        for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
            terms.push(Terms::new(Committee::of(n).unwrap(), tier, JobTag([n as u8; 32])).unwrap());
        }
    }
    for (n, t) in [(4, 1), (5, 1), (7, 2)] {
        terms.push(
            Terms::new(Committee::with_threshold(n, t).unwrap(), Tier::Robust, JobTag([n as u8; 32]))
                .unwrap(),
        );
    }
    terms
}

pub(crate) fn terms(n: usize, tier: Tier) -> Terms {
    let t = if tier == Tier::Robust { (n - 1) / 3 } else { (n - 1) / 2 };
    Terms::new(Committee::with_threshold(n, t).unwrap(), tier, JobTag([n as u8; 32])).unwrap()
}

/// Numbers that a test can repeat.
pub(crate) fn numbers<F: Field>(len: usize, seed: u64) -> Vec<F> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| F::from_u64(next()) * F::from_u64(next()) + F::from_u64(next())).collect()
}

/// All parties' results, which must be the same.
pub(crate) fn agreed<T: PartialEq + std::fmt::Debug>(rehearsal: Rehearsal<T>) -> T {
    let mut results = rehearsal.results.into_iter().map(|result| result.expect("the run ends well"));
    let first = results.next().unwrap();
    for other in results {
        assert_eq!(first, other);
    }
    first
}

/// Shares of values of which party 0 is the owner.
pub(crate) async fn owned<F: Field>(session: &mut Session, values: &[F]) -> Result<Shared<F>, MpcError> {
    let mine = (session.me() == Party(0)).then_some(values);
    session.input(Party(0), values.len(), mine).await
}
