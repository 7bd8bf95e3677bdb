//! Every operation against plain arithmetic: all committees and tiers, in both fields.

use super::*;

fn of<F: Field>(values: &[i64]) -> Vec<F> {
    values.iter().map(|&value| F::from_i64(value)).collect()
}

fn to<F: Field>(values: &[F]) -> Vec<i64> {
    values.iter().map(|value| value.to_i64().expect("results of tests are small")).collect()
}

/// Runs a program on shared inputs and compares what it opens.
fn check_in<F, P, R>(terms: Terms, inputs: &[&[i64]], expected: &[i64], program: P)
where
    F: Field,
    P: Fn(Session, Vec<Shared<F>>) -> R + Copy + Send + 'static,
    R: Future<Output = Result<(Session, Shared<F>), MpcError>> + Send + 'static,
{
    let inputs: Vec<Vec<F>> = inputs.iter().map(|values| of(values)).collect();
    let opened = agreed(rehearse(terms, 3, move |mut session| {
        let inputs = inputs.clone();
        async move {
            let mut shared = Vec::new();
            for values in &inputs {
                shared.push(owned(&mut session, values).await?);
            }
            let (mut session, result) = program(session, shared).await?;
            session.open(&result).await
        }
    }));
    assert_eq!(to(&opened), expected, "{terms:?} {}", F::KIND);
}

macro_rules! check {
    ($inputs:expr, $expected:expr, |$session:ident, $shared:ident| $body:expr) => {
        check!(all_terms(), $inputs, $expected, |$session, $shared| $body);
        check!(in Scalar: [terms(3, Tier::SemiHonest), terms(4, Tier::MaliciousAbort)], $inputs, $expected, |$session, $shared| $body);
    };
    ($terms:expr, $inputs:expr, $expected:expr, |$session:ident, $shared:ident| $body:expr) => {
        check!(in F61: $terms, $inputs, $expected, |$session, $shared| $body);
    };
    (in $field:ty: $terms:expr, $inputs:expr, $expected:expr, |$session:ident, $shared:ident| $body:expr) => {
        for terms in $terms {
            check_in::<$field, _, _>(terms, $inputs, $expected, |mut $session: Session, $shared: Vec<Shared<$field>>| async move {
                let result = $body;
                Ok(($session, result))
            });
        }
    };
}

const LARGE: i64 = (1 << 58) + 12_345;

#[test]
fn comparison() {
    let a = [0, 1, -1, 5, 5, -7, LARGE, -LARGE, 1 << 32, 0];
    let b = [1, 0, 0, 5, 6, -8, -LARGE, LARGE, (1 << 32) - 1, 0];
    let less: Vec<i64> = a.iter().zip(&b).map(|(a, b)| i64::from(a < b)).collect();
    check!(&[&a, &b], &less, |session, x| session.lt(&x[0], &x[1]).await?);
}

#[test]
fn equality() {
    let a = [0, 1, -1, 5, 5, LARGE];
    let b = [0, 0, -1, 5, 6, LARGE];
    check!(&[&a, &b], &[1, 0, 1, 1, 0, 1], |session, x| session.eq(&x[0], &x[1]).await?);
}

#[test]
fn selection_and_extremes() {
    check!(&[&[0, 1], &[10, 20], &[30, 40]], &[30, 20], |session, x| session
        .select(&x[0], &x[1], &x[2])
        .await?);
    check!(&[&[3, -1], &[2, 7]], &[2, -1, 3, 7], |session, x| {
        let min = session.min(&x[0], &x[1]).await?;
        let max = session.max(&x[0], &x[1]).await?;
        Shared::concat([&min, &max])
    });
    check!(&[&[3, -1, 9, 4, -8]], &[9, -8], |session, x| {
        let max = session.max_of(&x[0]).await?;
        let min = session.min_of(&x[0]).await?;
        Shared::concat([&max, &min])
    });
}

#[test]
fn sorting() {
    let values = [5, -3, 9, 0, 0, 7, -20, LARGE / 2, 1];
    let mut sorted = values;
    sorted.sort_unstable();
    check!(all_terms(), &[&values], &sorted, |session, x| session.sort(&x[0]).await?);
    check!(all_terms(), &[&[3, 1, 2], &[30, 10, 20]], &[10, 20, 30], |session, x| session
        .sort_by(&x[0], &x[1..])
        .await?
        .1
        .remove(0));
}

#[test]
fn shuffling_keeps_rows() {
    for terms in [terms(3, Tier::SemiHonest), terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let values: Vec<F61> = (0..12).map(F61::from_u64).collect();
        let opened = agreed(rehearse(terms, 3, move |mut session| {
            let values = values.clone();
            async move {
                let x = owned(&mut session, &values).await?;
                let shuffled = session.shuffle(&[x.clone(), x.add(&x)]).await?;
                session.open(&Shared::concat(&shuffled)).await
            }
        }));
        let rows: Vec<(u64, u64)> =
            (0..12).map(|row| (opened[row].to_u64(), opened[12 + row].to_u64())).collect();
        assert!(rows.iter().all(|&(a, b)| b == 2 * a), "{rows:?}");
        let mut sorted: Vec<u64> = rows.iter().map(|row| row.0).collect();
        assert!(!sorted.is_sorted());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<u64>>());
    }
}

#[test]
fn intersections() {
    check!(&[&[1, 5, 9, -4], &[5, 2, -4, 7, 8]], &[2], |session, x| session
        .intersection_size(&x[0], &x[1])
        .await?);
    check!(all_terms(), &[&[1], &[2, 3]], &[0], |session, x| session.intersection_size(&x[0], &x[1]).await?);
}

#[test]
fn bits_of_values() {
    let bits: Vec<i64> =
        (0..10).flat_map(|weight| [0b10_1101_0011i64, 0, 1023].map(|value| value >> weight & 1)).collect();
    check!(&[&[0b10_1101_0011, 0, 1023]], &bits, |session, x| Shared::concat(
        &session.bits(&x[0], 10).await?
    ));
    // Minus one is the order minus one: all bits but the lowest.
    let mut bits = vec![1; 61];
    bits[0] = 0;
    check!(all_terms(), &[&[-1]], &bits, |session, x| Shared::concat(&session.bits(&x[0], 61).await?));
}

#[test]
fn truncation_rounds_down() {
    let values = [0, 1, -1, 7, 8, 9, -7, -8, -9, LARGE, -LARGE];
    let expected: Vec<i64> = values.iter().map(|value| value >> 3).collect();
    check!(&[&values], &expected, |session, x| session.truncate(&x[0], 3).await?);
    let expected: Vec<i64> = values.iter().map(|value| value >> 40).collect();
    check!(all_terms(), &[&values], &expected, |session, x| session.truncate(&x[0], 40).await?);
}

#[test]
fn quotients_and_polynomials() {
    check!(&[&[6, -10, 0], &[2, 5, 3]], &[3, -2, 0], |session, x| session.div(&x[0], &x[1]).await?);
    check!(&[&[2, 3, -4]], &[-24], |session, x| session.product(&x[0]).await?);
    check!(&[&[2, -3, 0]], &[2 + 3 * 4 - 16, 2 + 3 * 9 - 81, 2], |session, x| {
        session.polynomial(&x[0], &[2, 0, 3, 0, -1].map(Field::from_i64)).await?
    });
    check!(&[&[2, -3, 0], &[7, -1, 4]], &[7 - 2 + 16, 7 + 3 + 36, 7], |session, x| session
        .polynomial_shared(&x[0], &x[1])
        .await?);
    let failed = rehearse(terms(3, Tier::MaliciousAbort), 3, |mut session| async move {
        let x = owned(&mut session, &of::<F61>(&[1, 0])).await?;
        session.inverse(&x).await.map(|_| ())
    });
    assert!(failed.results.into_iter().all(|result| result == Err(MpcError::ZeroDivisor)));
}

#[test]
fn fresh_shares_have_the_same_values() {
    check!(&[&[6, -10, LARGE]], &[6, -10, LARGE], |session, x| {
        let fresh = session.refresh(&x[0]).await?;
        assert_ne!(fresh, x[0]);
        fresh
    });
}

/// Fractions in, fractions out, and how far each result may be off.
fn fractions<P, R>(
    terms: Terms,
    places: usize,
    inputs: &[&[f64]],
    expected: &[f64],
    off: impl Fn(f64) -> f64,
    program: P,
) where
    P: Fn(Session, Vec<Shared<F61>>) -> R + Copy + Send + 'static,
    R: Future<Output = Result<(Session, Shared<F61>), MpcError>> + Send + 'static,
{
    let unit = (1u64 << places) as f64;
    let inputs: Vec<Vec<F61>> = inputs
        .iter()
        .map(|values| values.iter().map(|value| F61::from_i64((value * unit).round() as i64)).collect())
        .collect();
    let opened = agreed(rehearse(terms, 3, move |mut session| {
        let inputs = inputs.clone();
        async move {
            let mut shared = Vec::new();
            for values in &inputs {
                shared.push(owned(&mut session, values).await?);
            }
            let (mut session, result) = program(session, shared).await?;
            session.open(&result).await
        }
    }));
    assert_eq!(opened.len(), expected.len());
    for (opened, &expected) in opened.iter().zip(expected) {
        let got = opened.to_i64().unwrap() as f64 / unit;
        assert!((got - expected).abs() <= off(expected), "{terms:?}: {got} instead of {expected}");
    }
}

fn few_terms() -> [Terms; 3] {
    [terms(3, Tier::SemiHonest), terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)]
}

#[test]
fn quotients_of_fractions() {
    let a = [1.0, 10.0, -7.5, 0.0, 3.0, 8000.0, 0.125, 5.0];
    let b = [3.0, -4.0, -2.5, 9.0, 0.01, 7.0, 8000.0, 0.0];
    let f = 14;
    let unit = (-14f64).exp2();
    let expected: Vec<f64> = a
        .iter()
        .zip(&b)
        .map(|(a, b)| if *b == 0.0 { 0.0 } else { a / ((b / unit).round() * unit) })
        .collect();
    for terms in few_terms() {
        fractions(
            terms,
            f,
            &[&a, &b],
            &expected,
            |y| 2.0 * unit / 0.01 + 2.0 * unit + y.abs() * 1e-7,
            |mut session, x| async move {
                let quotient = session.div_fixed(&x[0], &x[1], 14).await?;
                Ok((session, quotient))
            },
        );
    }
    fractions(
        few_terms()[0],
        f,
        &[&a[..3], &b[..3]],
        &expected[..3],
        |_| 3.0 * unit,
        |mut session, x| async move {
            let quotient = session.div_fixed(&x[0], &x[1], 14).await?;
            Ok((session, quotient))
        },
    );
}

#[test]
fn functions_of_fractions() {
    let x = [-20.0, -11.0, -3.3, -1.0, -0.1, 0.0, 0.5, 1.0, 2.0, 2.4, 4.9, 5.1, 10.9, 30.0];
    for (places, terms) in [(14, few_terms()[0]), (10, few_terms()[1]), (8, few_terms()[2])] {
        let unit = (-(places as f64)).exp2();
        let expected: Vec<f64> = x.iter().map(|x: &f64| x.clamp(-11.0, 11.0).exp()).collect();
        let exp = move |mut session: Session, x: Vec<Shared<F61>>| async move {
            let y = session.exp(&x[0], places).await?;
            Ok((session, y))
        };
        // The input itself is rounded by half a unit.
        fractions(terms, places, &[&x], &expected, |y| y * unit * 4.5 + unit, exp);
        let expected: Vec<f64> = x.iter().map(|x: &f64| 1.0 / (1.0 + (-x).exp())).collect();
        let sigmoid = move |mut session: Session, x: Vec<Shared<F61>>| async move {
            let y = session.sigmoid(&x[0], places).await?;
            Ok((session, y))
        };
        fractions(terms, places, &[&x], &expected, |_| 0.019 + 2.0 * unit, sigmoid);
        let expected: Vec<f64> = x.iter().map(|x: &f64| x.max(0.0)).collect();
        fractions(
            terms,
            places,
            &[&x],
            &expected,
            |_| unit,
            |mut session, x| async move {
                let y = session.relu(&x[0]).await?;
                Ok((session, y))
            },
        );
    }
}

#[test]
fn statistics() {
    let x = [170.5, 181.0, 165.25, 190.0, 158.75, 174.0, 169.5];
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64;
    for terms in few_terms() {
        fractions(
            terms,
            12,
            &[&x],
            &[mean, variance],
            |y| 0.002 + y * 1e-5,
            |mut session, x| async move {
                let mean = session.mean(&x[0]).await?;
                let variance = session.variance(&x[0], 12).await?;
                Ok((session, Shared::concat([&mean, &variance])))
            },
        );
    }
}

#[test]
fn words_among_three() {
    let terms = terms(3, Tier::SemiHonest);
    let (a, b) = ([5u64, 7, u64::MAX, 1 << 63], [6u64, 3, 2, 9]);
    let opened = agreed(rehearse(terms, 3, move |mut session| async move {
        let mine = (session.me() == Party(1)).then_some(&a[..]);
        let x = session.input_words::<Integers>(Party(1), 4, mine).await?;
        let mine = (session.me() == Party(2)).then_some(&b[..]);
        let y = session.input_words::<Integers>(Party(2), 4, mine).await?;
        let product = session.mul_words(&x, &y).await?;
        let dot = session.dot_words(&x, &y, 4).await?;
        let matrix = session.matmul_words(&x, &y, 2, 2, 2).await?;
        let less = session.lt_words(&x, &y).await?;
        session.open_words(&Replicated::concat([&product, &dot, &matrix, &less])).await
    }));
    let product: Vec<u64> = a.iter().zip(&b).map(|(&a, &b)| a.wrapping_mul(b)).collect();
    assert_eq!(opened[..4], product);
    assert_eq!(opened[4], product.iter().fold(0u64, |sum, &x| sum.wrapping_add(x)));
    let at = |row: usize, column: usize| {
        (0..2).fold(0u64, |sum, k| sum.wrapping_add(a[row * 2 + k].wrapping_mul(b[k * 2 + column])))
    };
    assert_eq!(opened[5..9], [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]);
    let less: Vec<u64> = a.iter().zip(&b).map(|(&a, &b)| u64::from((a.wrapping_sub(b) as i64) < 0)).collect();
    assert_eq!(opened[9..], less);
    let refused = rehearse(super::terms(4, Tier::SemiHonest), 3, |mut session| async move {
        session.input_words::<Bits>(Party(0), 0, None).await.map(|_| ())
    });
    assert!(refused.results.into_iter().all(|result| matches!(result, Err(MpcError::Unsupported { .. }))));
}

#[test]
fn what_is_not_there_is_refused_before_anything_starts() {
    for terms in all_terms() {
        for operation in Operation::ALL {
            for field in [FieldKind::F61, FieldKind::Scalar] {
                let refused = support(operation, field, &terms).is_err();
                let expected = terms.tier() == Tier::Robust
                    && matches!(operation, Operation::ClientShares | Operation::Reshare);
                assert_eq!(refused, expected, "{operation} {terms:?}");
            }
            let three = terms.committee().parties() == 3 && terms.tier() == Tier::SemiHonest;
            assert!(three || support(operation, FieldKind::Ring64, &terms).is_err());
        }
    }
}

#[test]
fn bits_of_others_are_some_or_refused() {
    for terms in all_terms() {
        for (third, expected) in [(1, Ok(())), (2, Err(MpcError::InconsistentInput))] {
            let rehearsal = rehearse(terms, 5, move |mut session| async move {
                let bits = owned(&mut session, &[0, 1, third].map(F61::from_u64)).await?;
                session.expect_bits(&bits).await
            });
            for result in rehearsal.results {
                assert_eq!(result, expected, "{terms:?}");
            }
        }
    }
}

#[test]
fn an_intersection_beyond_its_budget_is_refused() {
    let rehearsal = rehearse(terms(3, Tier::SemiHonest), 5, |mut session| async move {
        let set = Shared::constant(F61::ONE, (1 << 16) + 1);
        session.intersection_size(&set, &set).await.map(|_| ())
    });
    for result in rehearsal.results {
        assert!(matches!(result, Err(MpcError::Parameter(_))), "{result:?}");
    }
}

#[test]
fn long_operands_are_worked_on_in_slices() {
    // Tests have short slices: 67 values under masks, 256 under words, 65536 elements in a step.
    for terms in [terms(3, Tier::SemiHonest), terms(4, Tier::SemiHonest)] {
        let opened = agreed(rehearse(terms, 3, |mut session| async move {
            let values: Vec<F61> = (0..300).map(|value| F61::from_u64(value) - F61::from_u64(150)).collect();
            let x = owned(&mut session, &values).await?;
            let less = session.less_than_zero(&x).await?;
            let zero = session.eq_zero(&x).await?;
            let common = session.intersection_size(&x, &x.slice(10..110)).await?;
            let long = owned(&mut session, &numbers::<F61>(140_000, 1)).await?;
            let squares = session.mul(&long, &long).await?;
            let squares = session.open(&squares).await?;
            assert!(squares.iter().zip(numbers::<F61>(140_000, 1)).all(|(&square, x)| square == x * x));
            session.open(&Shared::concat([&less, &zero, &common])).await
        }));
        for place in 0..300 {
            assert_eq!(opened[place], F61::from_u64(u64::from(place < 150)), "{place}");
            assert_eq!(opened[300 + place], F61::from_u64(u64::from(place == 150)), "{place}");
        }
        assert_eq!(opened[600], F61::from_u64(100));
    }
}
