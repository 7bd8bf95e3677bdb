//! What cheaters see says nothing about inputs.
//!
//! Views of `t` parties are gathered over many runs with fresh seeds. A run opens nothing, so everything they are sent must be uniformly random whatever the inputs are. A sharing of degree zero,
//! a mask that is left out, or one that is used twice shows as bits that are set too often or too rarely, as words that repeat, or as words that depend on the inputs alone.

use std::collections::{BTreeMap, HashSet};

use super::*;

const RUNS: u64 = 48;

/// What parties receive from the others in one run, in words of eight bytes.
fn view<P, R>(terms: Terms, number: u64, corrupted: &[Party], program: P) -> Vec<u64>
where
    P: Fn(Session) -> R,
    R: Future<Output = Result<(), MpcError>> + Send + 'static,
{
    // By links, so that one place of the view is the same in all runs.
    let mut words: BTreeMap<(Party, Party), Vec<u64>> = BTreeMap::new();
    let rehearsal = rehearse_with(terms, number, program, |from, to, frame| {
        if !corrupted.contains(&from) && corrupted.contains(&to) {
            let link = words.entry((from, to)).or_default();
            link.extend(
                frame[FRAME_HEADER_BYTES..]
                    .chunks_exact(8)
                    .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())),
            );
        }
        Fate::Arrives
    });
    assert!(rehearsal.results.into_iter().all(|result| result.is_ok()));
    words.into_values().flatten().collect()
}

/// Fails if views over many runs are not what random words are.
fn looks_random<P, R>(terms: Terms, corrupted: &[Party], bits: u32, name: &str, program: P)
where
    P: Fn(Session) -> R + Copy,
    R: Future<Output = Result<(), MpcError>> + Send + 'static,
{
    let mut seen = HashSet::new();
    let mut columns: Vec<Vec<u64>> = Vec::new();
    for number in 0..RUNS {
        let words = view(terms, 1000 + number, corrupted, program);
        columns.resize(words.len(), Vec::new());
        for (column, &word) in columns.iter_mut().zip(&words) {
            column.push(word);
        }
        seen.extend(words.iter().copied());
    }
    assert!(!columns.is_empty(), "{name}: something is seen");
    // An echo repeats a digest, so not every word is new; in one place of the view no two runs agree.
    for (place, column) in columns.iter().enumerate() {
        let different: HashSet<u64> = column.iter().copied().collect();
        assert_eq!(different.len() as u64, RUNS, "{name}, {terms:?}: word {place} repeats in another run");
    }
    assert!(
        seen.len() as u64 > RUNS * columns.len() as u64 / 4,
        "{name}, {terms:?}: words repeat within runs"
    );
    if terms.tier() == Tier::SemiHonest {
        // What two places have in common would show in their difference (as elements and as bits); echoes of other tiers are the same on purpose.
        for (place, column) in columns.iter().enumerate() {
            for other in &columns[..place] {
                let apart = |f: fn(u64, u64) -> u64| {
                    column.iter().zip(other).any(|(&a, &b)| f(a, b) != f(column[0], other[0]))
                };
                let subtract = |a, b| (F61::from_u64(a) - F61::from_u64(b)).to_u64();
                assert!(
                    apart(subtract) && apart(|a, b| a ^ b) && apart(u64::wrapping_sub),
                    "{name}, {terms:?}: a mask is used twice"
                );
            }
        }
    }
    let samples = RUNS as f64 * columns.len() as f64;
    for bit in 0..bits {
        let ones = columns.iter().flatten().filter(|&&word| word >> bit & 1 == 1).count() as f64;
        // Echoes repeat words up to four times, which widens the distribution.
        let deviation = (ones - samples / 2.0).abs() / (samples.sqrt() / 2.0);
        assert!(deviation < 10.0, "{name}, {terms:?}: bit {bit} is set {ones} times of {samples}");
    }
}

/// A program of inputs, products and comparisons that opens nothing at the end.
async fn computing(mut session: Session, value: u64) -> Result<(), MpcError> {
    let x = owned(&mut session, &vec![F61::from_u64(value); 40]).await?;
    let y = session.mul(&x, &x).await?;
    let z = session.mul(&x, &x).await?;
    let sum = session.dot(&y, &z).await?;
    session.mul(&sum, &sum).await?;
    session.verify().await
}

#[test]
fn views_of_products_are_random_whatever_the_inputs() {
    for (terms, corrupted) in [
        (terms(3, Tier::SemiHonest), vec![Party(1)]),
        (terms(3, Tier::SemiHonest), vec![Party(2)]),
        (terms(3, Tier::MaliciousAbort), vec![Party(1)]),
        (terms(3, Tier::MaliciousAbort), vec![Party(2)]),
        (terms(5, Tier::SemiHonest), vec![Party(1), Party(3)]),
        (terms(5, Tier::MaliciousAbort), vec![Party(2), Party(4)]),
    ] {
        looks_random(terms, &corrupted, 60, "zero", |session| computing(session, 0));
        looks_random(terms, &corrupted, 60, "one", |session| computing(session, 1));
        looks_random(terms, &corrupted, 60, "large", |session| computing(session, (1 << 61) - 2));
    }
}

#[test]
fn words_of_three_parties_are_random_whatever_the_inputs() {
    for value in [0u64, 1, u64::MAX] {
        for corrupted in [Party(0), Party(1), Party(2)] {
            // Party 0 owns the input: what it sees must be random all the same.
            looks_random(terms(3, Tier::SemiHonest), &[corrupted], 64, "words", |mut session| async move {
                let words = vec![value; 40];
                let mine = (session.me() == Party(0)).then_some(&words[..]);
                let x = session.input_words::<Integers>(Party(0), 40, mine).await?;
                let y = session.mul_words(&x, &x).await?;
                session.mul_words(&y, &x).await.map(|_| ())
            });
        }
    }
}

/// The tests above can fail: a value that is shown is seen.
#[test]
#[should_panic(expected = "repeats in another run")]
fn a_value_that_is_shown_would_be_noticed() {
    looks_random(terms(3, Tier::SemiHonest), &[Party(1)], 60, "shown", |mut session| async move {
        let x = owned(&mut session, &[F61::from_u64(77)]).await?;
        let degree_zero = Shared::public(&[F61::from_u64(77)]);
        session.open_to(&degree_zero, &[Party(1)]).await?;
        session.mul(&x, &x).await.map(|_| ())
    });
}

/// And a triple that is used twice is seen.
#[test]
#[should_panic(expected = "a mask is used twice")]
fn a_triple_that_is_used_twice_would_be_noticed() {
    looks_random(terms(3, Tier::SemiHonest), &[Party(1)], 60, "reused", |mut session| async move {
        let x = owned(&mut session, &[F61::from_u64(77)]).await?;
        session.prepare_triples::<F61>(1).await?;
        let triple = session.take_triples::<F61>();
        session.provide_triples(&triple)?;
        session.multiply_prepared(&x, &x).await?;
        session.provide_triples(&triple)?;
        session.multiply_prepared(&x.add(&x), &x).await.map(|_| ())
    });
}

/// Two parties of five hold two points of a polynomial of degree two. Were the degree one, the line through them would show the value.
#[test]
fn fewer_shares_than_it_takes_say_nothing_about_the_value() {
    for tier in [Tier::SemiHonest, Tier::MaliciousAbort] {
        for value in [0u64, 12_345] {
            let rehearsal = rehearse(terms(5, tier), 77, move |mut session| async move {
                let x = owned(&mut session, &vec![F61::from_u64(value); 2000]).await?;
                let product = session.mul(&x, &x).await?;
                session.verify().await?;
                Ok((x.as_slice().to_vec(), product.as_slice().to_vec()))
            });
            let shares: Vec<_> = rehearsal.results.into_iter().map(Result::unwrap).collect();
            for (a, b) in [(0usize, 1usize), (1, 4), (2, 3)] {
                let weights = crate::field::lagrange(
                    &[crate::field::point::<F61>(a), crate::field::point(b)],
                    F61::ZERO,
                );
                let line = |x: &[F61], y: &[F61]| -> Vec<u64> {
                    x.iter().zip(y).map(|(&x, &y)| (x * weights[0] + y * weights[1]).to_u64()).collect()
                };
                for guess in [line(&shares[a].0, &shares[b].0), line(&shares[a].1, &shares[b].1)] {
                    let different: HashSet<u64> = guess.iter().copied().collect();
                    assert_eq!(different.len(), guess.len());
                    for bit in 0..60 {
                        let ones = guess.iter().filter(|&&word| word >> bit & 1 == 1).count();
                        assert!(
                            (850..1150).contains(&ones),
                            "{tier} {value}: bit {bit} is set {ones} times of 2000"
                        );
                    }
                }
            }
        }
    }
}

/// The same run under another tag shares no word with it: nothing is drawn twice in an epoch.
#[test]
fn two_jobs_never_see_the_same_randomness() {
    let words = |tag: u8| {
        let terms = Terms::new(Committee::of(3).unwrap(), Tier::MaliciousAbort, JobTag([tag; 32])).unwrap();
        let words = view(terms, 5, &[Party(1)], |session| computing(session, 9));
        words.into_iter().collect::<HashSet<u64>>()
    };
    assert!(words(1).is_disjoint(&words(2)));
}

/// What is opened inside of comparisons hides the value under a mask of the whole field.
#[test]
fn openings_inside_of_operations_are_random() {
    for value in [0u64, 1, 1 << 40] {
        let mut opened = Vec::new();
        for number in 0..RUNS {
            rehearse_with(
                terms(4, Tier::SemiHonest),
                number,
                move |mut session| async move {
                    let x = owned(&mut session, &[F61::from_u64(value)]).await?;
                    let masks = session.masks_with_bits::<F61>(1).await?;
                    session.open(&x.add(&masks.value)).await
                },
                |_, _, _| Fate::Arrives,
            )
            .results
            .into_iter()
            .for_each(|result| opened.push(result.unwrap()[0].to_u64()));
        }
        let different: HashSet<u64> = opened.iter().copied().collect();
        assert_eq!(different.len() as u64, RUNS);
        for bit in 0..60 {
            let ones = different.iter().filter(|&&word| word >> bit & 1 == 1).count();
            assert!((6..=42).contains(&ones), "{value}: bit {bit} is set {ones} times of {RUNS}");
        }
    }
}
