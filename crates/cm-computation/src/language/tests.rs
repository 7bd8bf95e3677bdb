use proptest::prelude::*;

use super::*;
use crate::{Kind, Receivers, schedule};

fn check_error(source: &str, message: &str) {
    assert_eq!(parse(source).unwrap_err().to_string(), message, "{source}");
}

#[test]
fn the_example_is_a_program() {
    let program = parse(
        "# predict\ninput x[4] from ada as real; input w[4] from bob as real\ninput b from party node-1 as real\n\
         r = dot(x, w) + b\nreveal r to alice, \"bob@example\"",
    )
    .unwrap();
    let outputs: Vec<_> = program.outputs().collect();
    assert_eq!(outputs[0].name, "r");
    let to = Receivers::Clients(vec!["alice".to_owned(), "bob@example".to_owned()]);
    assert_eq!(outputs[0].to, &to);
    assert_eq!(program.inputs().last().unwrap().1.to_string(), "party node-1");
    assert_eq!(program.node(outputs[0].node).kind, Kind::Real);
}

#[test]
fn independent_products_share_a_round() {
    let program = parse(
        "tier semi-honest\ninput x[8] from a\ninput y[8] from b\np = x * y\nq = x * x\nr = (p + q) * 2 * y\n\
         reveal sum(r) as s to a",
    )
    .unwrap();
    let rounds = schedule(&program).iter().map(|layer| layer.batches.len()).collect::<Vec<_>>();
    assert_eq!(rounds, [1, 1, 1, 1], "inputs, two products at once, one product, the result");
}

#[test]
fn blocks_are_repeated_and_known_numbers_folded() {
    let program =
        parse("input x from a\nrepeat 3 { x = x * x\n repeat 2 { x = x + 1 } }\nreveal x to all").unwrap();
    let products = program.nodes().iter().filter(|node| matches!(node.op, crate::Op::Mul { .. })).count();
    assert_eq!(products, 3);
    let program = parse("input x from a as real\nreveal x * (1 / 4 - 2 * 0.5) as y to a").unwrap();
    let known: Vec<_> = program
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            crate::Op::Constant { values } => Some(values[0].to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(known.last().unwrap(), "-0.75");
}

#[test]
fn every_function_is_there() {
    let calls = "add(x, 1) sub(x, y) multiply(x, y) divide(u, v) negate(x) square(x) inverse(x) dot(x, y) matmul(m, x) \
                 transpose(m) sum(x) mean(x) variance(x) lt(x, y) le(x, y) gt(x, y) ge(x, y) eq(x, y) ne(x, y) \
                 select(x < y, x, y) min(x) max(x, y) sort(x) polynomial(x, [1, 2]) exp(u) sigmoid(u) relu(x) \
                 histogram(u, [0, 1.5, 3]) intersection_size(x, y) concat(x, 1, y) real(x) random(3)";
    let source = "input x[3] from a; input y[3] from b; input m[2, 3] from a; input u[2] from a as real; input v from b as real\n";
    let mut seen = 0;
    for call in calls.split_inclusive(')').scan(String::new(), |open, part| {
        open.push_str(part);
        let balanced = open.matches('(').count() == open.matches(')').count();
        Some(balanced.then(|| std::mem::take(open)))
    }) {
        let Some(call) = call else { continue };
        parse(&format!("{source}reveal {call} as r to a")).unwrap_or_else(|error| panic!("{call}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, FUNCTIONS.len());
}

#[test]
fn mistakes_have_a_place() {
    check_error(
        "input x from a\nr = x + z\n",
        "line 2, column 9: `z` is not known here; give it a value or declare it as an input first",
    );
    check_error("r = (1 + 2\nreveal r to a", "line 2, column 1: expected `)`, found `reveal`");
    check_error(
        "input x[2] from a; input y[3] from b\nr = x * y",
        "line 2, column 7: `*` cannot combine [2] and [3]",
    );
    check_error("input x from a\nfield f61", "line 2, column 1: settings come before everything else");
    check_error("x = 3 $ 4", "line 1, column 7: `$` has no meaning here");
    check_error("x = 3x", "line 1, column 5: `3x` is no number");
    check_error(
        "input x[0] from a",
        "line 1, column 7: a value has at most two dimensions of at least 1, and at most 16777216 numbers",
    );
    check_error(
        "field secp256k1\ninput x from a as real",
        "line 2, column 7: real numbers need the field f61, and fraction bits between 1 and 24",
    );
    check_error(
        "tier very-safe",
        "line 1, column 1: `very-safe` is no tier; it is one of semi-honest, malicious-abort, robust",
    );
    check_error(
        "x = 1",
        "line 1, column 6: the computation reveals nothing; say what is revealed to whom, as in `reveal x to alice`",
    );
    let deep = format!("x = {}1{}", "(".repeat(100), ")".repeat(100));
    assert!(matches!(parse(&deep).unwrap_err().kind, SourceErrorKind::TooDeep(_)));
    let deep = format!("x = {}1", "-".repeat(100_000));
    assert!(matches!(parse(&deep).unwrap_err().kind, SourceErrorKind::TooDeep(_)));
    let long = "input x from a\nrepeat 10000 { repeat 10000 { x = x * x } }\nreveal x to a";
    assert!(matches!(parse(long).unwrap_err().kind, SourceErrorKind::Program(ProgramError::TooLarge)));
}

proptest! {
    #[test]
    fn no_text_is_too_strange(source in "[a-z0-9 =+*/@()\\[\\]{},.:;<>#\"\n-]{0,200}") {
        let _ = parse(&source);
    }

    #[test]
    fn what_is_parsed_survives_its_journey(
        words in proptest::collection::vec("(input|x|y|from|a|=|\\+|\\*|\\(|\\)|1|0\\.5|reveal|to|sum|\n|;)", 0..60)
    ) {
        if let Ok(program) = parse(&words.join(" ")) {
            let text = serde_json::to_string(&program).unwrap();
            prop_assert_eq!(serde_json::from_str::<Program>(&text).unwrap().checked().unwrap(), program);
        }
    }
}
