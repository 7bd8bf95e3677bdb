//! Products, inner products, openings: in every committee, under every tier, in both fields.

use super::*;

fn products_of<F: Field>(terms: Terms) {
    for len in [1, 5, 70] {
        let (x, y) = (numbers::<F>(len, 1), numbers::<F>(len, 2));
        let expected: Vec<F> = x.iter().zip(&y).map(|(&x, &y)| x * y * x + x).collect();
        let opened = agreed(rehearse(terms, 7, move |mut session| {
            let (x, y) = (x.clone(), y.clone());
            async move {
                let x = owned(&mut session, &x).await?;
                let y = owned(&mut session, &y).await?;
                let product = session.mul(&x, &y).await?;
                let product = session.mul(&product, &x).await?;
                session.open(&product.add(&x)).await
            }
        }));
        assert_eq!(opened, expected, "{terms:?} {len}");
    }
}

#[test]
fn products_are_products() {
    for terms in all_terms() {
        products_of::<F61>(terms);
        products_of::<Scalar>(terms);
    }
}

#[test]
fn long_vectors_travel_in_chunks() {
    for terms in [terms(3, Tier::SemiHonest), terms(3, Tier::MaliciousAbort), terms(4, Tier::Robust)] {
        let (x, y) = (numbers::<F61>(10_000, 1), numbers::<F61>(10_000, 2));
        let expected: Vec<F61> = x.iter().zip(&y).map(|(&x, &y)| x * y).collect();
        let opened = agreed(rehearse(terms, 3, move |mut session| {
            let (x, y) = (x.clone(), y.clone());
            async move {
                let x = owned(&mut session, &x).await?;
                let y = owned(&mut session, &y).await?;
                let product = session.mul(&x, &y).await?;
                session.open(&product).await
            }
        }));
        assert_eq!(opened, expected);
    }
}

#[test]
fn matrices_multiply() {
    let (rows, inner, columns) = (3, 5, 2);
    let (a, b) = (numbers::<F61>(rows * inner, 1), numbers::<F61>(inner * columns, 2));
    let mut expected = vec![F61::ZERO; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            for k in 0..inner {
                expected[row * columns + column] += a[row * inner + k] * b[k * columns + column];
            }
        }
    }
    let dot = F61::dot(&a, &a);
    for terms in all_terms() {
        let (a, b) = (a.clone(), b.clone());
        let opened = agreed(rehearse(terms, 7, move |mut session| {
            let (a, b) = (a.clone(), b.clone());
            async move {
                let a = owned(&mut session, &a).await?;
                let b = owned(&mut session, &b).await?;
                let product = session.matmul(&a, &b, rows, inner, columns).await?;
                let dot = session.dot(&a, &a).await?;
                session.open(&Shared::concat([&product, &dot])).await
            }
        }));
        assert_eq!(opened[..rows * columns], expected, "{terms:?}");
        assert_eq!(opened[rows * columns], dot, "{terms:?}");
    }
}

#[test]
fn a_value_opens_to_whom_it_is_for() {
    for terms in all_terms() {
        let rehearsal = rehearse(terms, 5, |mut session| async move {
            let x = owned(&mut session, &[F61::from_u64(42)]).await?;
            session.open_to(&x, &[Party(2)]).await
        });
        for (index, result) in rehearsal.results.into_iter().enumerate() {
            assert_eq!(result.unwrap(), (index == 2).then(|| vec![F61::from_u64(42)]));
        }
    }
}

#[test]
fn clients_bring_shares_or_masked_values_and_take_shares_home() {
    let values: Vec<Scalar> = numbers(9, 4);
    for terms in all_terms() {
        let shares = split(&values, terms.committee());
        let rehearsal = rehearse(terms, 5, move |mut session| {
            let mine = shares[session.me().index()].clone();
            async move {
                let x = match session.accept(mine.clone()).await {
                    Err(MpcError::Unsupported { .. }) if session.terms().tier() == Tier::Robust => {
                        Shared::from_shares(mine)
                    }
                    other => other?,
                };
                let square = session.mul(&x, &x).await?;
                session.release(&square).await
            }
        });
        let released: Vec<(Party, Vec<Scalar>)> = rehearsal
            .results
            .into_iter()
            .enumerate()
            .map(|(index, shares)| (Party(index as u8), shares.unwrap()))
            .collect();
        let expected: Vec<Scalar> = values.iter().map(|&x| x * x).collect();
        assert_eq!(
            reconstruct(terms.committee(), &released).unwrap(),
            Reconstructed { values: expected, wrong: Vec::new() }
        );
    }
    for terms in all_terms() {
        // The client knows the masks; here it is played by everybody, who opens them.
        let opened = agreed(rehearse(terms, 5, |mut session| async move {
            let masks = session.masks::<F61>(3).await?;
            let known = session.open(&masks).await?;
            let masked: Vec<F61> =
                known.iter().zip(1..).map(|(&mask, value)| mask + F61::from_u64(value)).collect();
            let x = session.accept_masked(&masked, &masks).await?;
            session.open(&x).await
        }));
        assert_eq!(opened, [1, 2, 3].map(F61::from_u64));
    }
}

#[test]
fn random_values_lie_on_polynomials_of_the_right_degree() {
    for terms in all_terms() {
        let rehearsal = rehearse(terms, 5, |mut session| async move {
            let random = session.random::<F61>(50).await?;
            Ok(random.as_slice().to_vec())
        });
        let shares: Vec<(Party, Vec<F61>)> = rehearsal
            .results
            .into_iter()
            .enumerate()
            .map(|(index, shares)| (Party(index as u8), shares.unwrap()))
            .collect();
        let whole = reconstruct(terms.committee(), &shares).unwrap();
        assert!(whole.wrong.is_empty());
        let lower = Committee::with_threshold(terms.committee().parties(), terms.committee().threshold() - 1)
            .unwrap();
        assert!(
            reconstruct(lower, &shares).is_err_and(|error| error == MpcError::WrongShares),
            "the degree is not lower"
        );
    }
}

#[test]
fn prepared_triples_are_used_once() {
    for terms in all_terms() {
        let opened = agreed(rehearse(terms, 5, |mut session| async move {
            session.prepare_triples::<F61>(3).await?;
            let prepared = session.take_triples::<F61>();
            session.provide_triples(&prepared.slice(0..9))?;
            let x = owned(&mut session, &[2, 3, 4].map(F61::from_u64)).await?;
            let product = session.multiply_prepared(&x, &x).await?;
            let spent = session.multiply_prepared(&x, &x).await;
            assert_eq!(spent, Err(MpcError::StockSpent { asked: 3, left: 0 }));
            session.open(&product).await
        }));
        assert_eq!(opened, [4, 9, 16].map(F61::from_u64));
    }
}
