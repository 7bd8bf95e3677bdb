use cm_shares::{F61, JobTag, Party, reconstruct, rehearse, split};

use super::*;
use crate::{parse, plan};

/// Runs a job among three parties in memory and puts its results together.
pub(super) fn run_all(source: &str, inputs: &[(&str, &[f64])]) -> BTreeMap<String, Vec<f64>> {
    let program = Arc::new(parse(source).unwrap_or_else(|error| panic!("{error}")));
    let terms = plan::terms(program.settings(), 3, JobTag([7; 32])).unwrap();
    let bits = program.settings().fraction_bits;
    let mut shares: Vec<BTreeMap<String, Vec<F61>>> = vec![BTreeMap::new(); 3];
    for (name, _, id) in program.inputs() {
        let values = inputs.iter().find(|(input, _)| *input == name).unwrap().1;
        let kind = program.node(id).kind;
        let literal = |value: &f64| {
            if kind == Kind::Real { Literal::Real(*value) } else { format!("{value:.0}").parse().unwrap() }
        };
        let elements: Vec<F61> =
            values.iter().map(|v| to_element(&literal(v), kind, bits).unwrap()).collect();
        for (party, share) in split(&elements, terms.committee()).into_iter().enumerate() {
            shares[party].insert(name.to_owned(), share);
        }
    }
    let rehearsed = rehearse(terms, 5, |session| {
        let me = session.me();
        let given = Given {
            me,
            parties: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            shares: shares[me.index()].clone(),
            private: BTreeMap::new(),
        };
        interpret(session, program.clone(), given, Advance::default())
    });
    let mut parts: BTreeMap<Id, Vec<(Party, Vec<F61>)>> = BTreeMap::new();
    let mut opened: BTreeMap<Id, Vec<F61>> = BTreeMap::new();
    for (party, result) in rehearsed.results.into_iter().enumerate() {
        for (id, released) in result.unwrap_or_else(|error| panic!("{source}: {error}")) {
            match released {
                Released::Share(share) => {
                    parts.entry(id).or_default().push((Party(u8::try_from(party).unwrap()), share));
                }
                Released::Open(values) => drop(opened.insert(id, values)),
            }
        }
    }
    for (id, shares) in parts {
        opened.insert(id, reconstruct(terms.committee(), &shares).unwrap().values);
    }
    let named = program.outputs().map(|output| {
        let values = literals(&opened[&output.node], program.node(output.node).kind, bits);
        (output.name.to_owned(), values.iter().map(Literal::to_f64).collect())
    });
    named.collect()
}

/// The result of a job that has one.
fn run(source: &str, inputs: &[(&str, &[f64])]) -> Vec<f64> {
    run_all(source, inputs).into_values().next().unwrap()
}

fn check(source: &str, inputs: &[(&str, &[f64])], expected: &[f64], error: f64) {
    let found = run(source, inputs);
    assert_eq!(found.len(), expected.len(), "{source}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= error, "{source}: {found} is not {expected}");
    }
}

const X: (&str, &[f64]) = ("x", &[3.0, -1.0, 7.0, 7.0]);
const Y: (&str, &[f64]) = ("y", &[2.0, 5.0, 7.0, -9.0]);

fn whole(expression: &str, expected: &[f64]) {
    for tier in ["semi-honest", "malicious-abort"] {
        let source =
            format!("tier {tier}\ninput x[4] from a\ninput y[4] from b\nreveal {expression} as r to a");
        check(&source, &[X, Y], expected, 0.0);
    }
}

#[test]
fn operations_on_integers_are_exact() {
    whole("x + y * 2 - 1", &[6.0, 8.0, 20.0, -12.0]);
    whole("10 - x", &[7.0, 11.0, 3.0, 3.0]);
    whole("x * y", &[6.0, -5.0, 49.0, -63.0]);
    whole("dot(x, y)", &[-13.0]);
    whole("sum(x * [1, 2, 3, 4])", &[50.0]);
    whole("x[1:3] * y[0]", &[-2.0, 14.0]);
    whole("concat(x[0], y)", &[3.0, 2.0, 5.0, 7.0, -9.0]);
    whole("x / [3, 1, 7, 1]", &[1.0, -1.0, 1.0, 7.0]);
    whole("inverse(x) * x", &[1.0; 4]);
    whole("x < y", &[0.0, 1.0, 0.0, 0.0]);
    whole("x >= y", &[1.0, 0.0, 1.0, 1.0]);
    whole("x == y", &[0.0, 0.0, 1.0, 0.0]);
    whole("x != 7", &[1.0, 1.0, 0.0, 0.0]);
    whole("select(x < y, x, y)", &[2.0, -1.0, 7.0, -9.0]);
    whole("max(x, y)", &[3.0, 5.0, 7.0, 7.0]);
    whole("min(y)", &[-9.0]);
    whole("max(y)", &[7.0]);
    whole("sort(y)", &[-9.0, 2.0, 5.0, 7.0]);
    whole("relu(x)", &[3.0, 0.0, 7.0, 7.0]);
    whole("polynomial(x, [1, 0, 2])", &[19.0, 3.0, 99.0, 99.0]);
    whole("histogram(x, [-2, 0, 5, 10])", &[1.0, 1.0, 2.0]);
    whole("intersection_size(x[0:3], y)", &[1.0]);
}

#[test]
fn matrices_multiply() {
    let source = "input m[2, 3] from a\ninput n[3, 2] from b\nreveal (m @ n) @ transpose(m) as r to a";
    let m: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    // [[22, 28], [49, 64]] times [[1, 4], [2, 5], [3, 6]] transposed has the wrong inner length: with n it fits.
    assert!(parse(source).is_err());
    let source = "input m[2, 3] from a\ninput n[3, 2] from b\nreveal transpose(m @ n) as r to a";
    check(source, &[("m", &m), ("n", &m)], &[22.0, 49.0, 28.0, 64.0], 0.0);
    let source = "input m[2, 3] from a\nreveal m @ [1, 0, -1] as r to all";
    check(source, &[("m", &m)], &[-2.0, -2.0], 0.0);
}

#[test]
fn operations_on_reals_are_as_near_as_their_places() {
    let real = |expression: &str, expected: &[f64], error: f64| {
        let source =
            format!("input u[3] from a as real\ninput v[3] from b as real\nreveal {expression} as r to a");
        check(&source, &[("u", &[0.5, -2.25, 3.0]), ("v", &[1.5, 4.0, -0.125])], expected, error);
    };
    real("u * v", &[0.75, -9.0, -0.375], 0.001);
    real("u * 0.1 + 1", &[1.05, 0.775, 1.3], 0.001);
    real("dot(u, v)", &[-8.625], 0.001);
    real("mean(u)", &[1.25 / 3.0], 0.001);
    real("sum(u) * 1000 / 1000", &[1.25], 0.01);
    real("variance(u)", &[4.597_222], 0.01);
    real("u / v", &[1.0 / 3.0, -0.5625, -24.0], 0.05);
    real("u < v", &[1.0, 1.0, 0.0], 0.0);
    real("sigmoid(u)", &[0.622_459, 0.095_349, 0.952_574], 0.02);
    real("exp(u)", &[1.648_721, 0.105_399, 20.085_537], 0.1);
    real("relu(u)", &[0.5, 0.0, 3.0], 0.0001);
    real("polynomial(u, [1, 0.5, 0.25])", &[1.3125, 1.140_625, 4.75], 0.001);
}

#[test]
fn costs_are_known_before() {
    let program =
        parse("tier semi-honest\ninput x[100] from a\nrepeat 5 { x = x * x }\nreveal x to a").unwrap();
    let explained = crate::explain::explain(&program, 3).unwrap();
    assert!((5..=8).contains(&explained.rounds.unwrap()), "{explained:?}");
    assert!(explained.bytes_per_party.unwrap().iter().all(|bytes| *bytes > 5 * 800));
    assert_eq!(explained.outputs, [("x".to_owned(), "a".to_owned(), 100)]);
    assert!(crate::explain::explain(&program, 2).is_err());
}

#[test]
fn an_input_of_bits_that_is_none_ends_the_run() {
    let program = Arc::new(
        parse("input b[2] from a as bit\ninput x from a\nreveal select(b[0], x, 0) as r to a").unwrap(),
    );
    for (values, refused) in [([1, 0], false), ([1, 2], true)] {
        let terms = plan::terms(program.settings(), 3, JobTag([7; 32])).unwrap();
        let bits = split(&values.map(F61::from_u64), terms.committee());
        let numbers = split(&[F61::from_u64(9)], terms.committee());
        let rehearsed = rehearse(terms, 5, |session| {
            let me = session.me();
            let shares =
                [("b".to_owned(), bits[me.index()].clone()), ("x".to_owned(), numbers[me.index()].clone())];
            let parties = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
            let given = Given { me, parties, shares: shares.into(), private: BTreeMap::new() };
            interpret(session, program.clone(), given, Advance::default())
        });
        for result in rehearsed.results {
            assert_eq!(matches!(result, Err(MpcError::InconsistentInput)), refused, "{result:?}");
        }
    }
}
