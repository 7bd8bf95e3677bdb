//! Functions of the language, and operations of JSON steps: both by the same names.

use crate::{Builder, Id, Kind, Literal, Op, ProgramError, Shape};

/// What functions there are, with what they take.
pub const FUNCTIONS: &[(&str, &str)] = &[
    ("add", "two values"),
    ("sub", "two values"),
    ("multiply", "two values"),
    ("divide", "two values: the field's quotient of integers, the rounded one of reals"),
    ("negate", "a value"),
    ("square", "a value"),
    ("inverse", "an integer value"),
    ("dot", "two vectors"),
    ("matmul", "two matrices, or a matrix and a vector"),
    ("transpose", "a matrix"),
    ("sum", "a value"),
    ("mean", "a value"),
    ("variance", "a value: the mean squared distance from the mean"),
    ("lt", "two values"),
    ("le", "two values"),
    ("gt", "two values"),
    ("ge", "two values"),
    ("eq", "two values"),
    ("ne", "two values"),
    ("select", "a bit, the value where it is 1, the value where it is 0"),
    ("min", "a vector, or two values"),
    ("max", "a vector, or two values"),
    ("sort", "a vector"),
    ("polynomial", "a value, and known coefficients from the constant upwards"),
    ("exp", "a value"),
    ("sigmoid", "a value"),
    ("relu", "a value"),
    ("histogram", "a vector, and known rising edges: how many numbers lie from each edge to the next"),
    ("intersection_size", "two integer vectors, each without repetition"),
    ("concat", "numbers and vectors, or matrices of equal width"),
    ("real", "a value: the same as real numbers"),
    ("random", "how many"),
];

/// Another spelling of an operation's name, as the first system and others have it.
fn usual(name: &str) -> &str {
    match name {
        "addition" | "sum_of" => "add",
        "subtract" | "subtraction" => "sub",
        "mul" | "multiplication" | "mul_public" => "multiply",
        "div" | "division" => "divide",
        "neg" => "negate",
        "inv" => "inverse",
        "polyeval" => "polynomial",
        "is_larger_than" => "gt",
        other => other,
    }
}

/// An argument: a value of the program, or known numbers in brackets.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A value.
    Value(Id),
    /// Numbers.
    List(Vec<Literal>),
}

/// Applies an operation by its name.
///
/// # Errors
/// When there is none, or its arguments do not fit.
pub fn apply(builder: &mut Builder, name: &str, arguments: &[Argument]) -> Result<Id, ProgramError> {
    let name = usual(name);
    let Some((_, takes)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(ProgramError::UnknownOperation(name.chars().take(80).collect()));
    };
    let operands = || ProgramError::Operands { operation: name.to_owned(), takes, given: arguments.len() };
    match name {
        "polynomial" | "histogram" => {
            let [first, Argument::List(list)] = arguments else { return Err(operands()) };
            let a = value(builder, first)?;
            return match name {
                "polynomial" => builder.push(Op::Polynomial { a, coefficients: list.clone() }),
                _ => histogram(builder, a, list),
            };
        }
        "random" => {
            let [Argument::Value(len)] = arguments else { return Err(operands()) };
            let len = known(builder, *len).and_then(|len| usize::try_from(len).ok());
            let len = len.ok_or(ProgramError::NotPublic("random"))?;
            let shape = Shape::new(&[len], crate::ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
            return builder.random(shape);
        }
        _ => {}
    }
    let values: Vec<Id> = arguments.iter().map(|a| value(builder, a)).collect::<Result<_, _>>()?;
    match (name, values.as_slice()) {
        ("add", &[a, b]) => folded(builder, Op::Add { a, b }),
        ("sub", &[a, b]) => folded(builder, Op::Sub { a, b }),
        ("multiply", &[a, b]) => folded(builder, Op::Mul { a, b }),
        ("divide", &[a, b]) => divide(builder, a, b),
        ("negate", &[a]) => builder.push(Op::Neg { a }),
        ("square", &[a]) => builder.push(Op::Mul { a, b: a }),
        ("inverse", &[a]) => builder.push(Op::Inverse { a }),
        ("dot", &[a, b]) => builder.push(Op::Dot { a, b }),
        ("matmul", &[a, b]) => builder.push(Op::MatMul { a, b }),
        ("transpose", &[a]) => builder.push(Op::Transpose { a }),
        ("sum", &[a]) => builder.push(Op::Sum { a }),
        ("mean", &[a]) => mean(builder, a),
        ("variance", &[a]) => variance(builder, a),
        ("lt", &[a, b]) => builder.push(Op::Less { a, b }),
        ("gt", &[a, b]) => builder.push(Op::Less { a: b, b: a }),
        ("le", &[a, b]) => {
            let more = builder.push(Op::Less { a: b, b: a })?;
            not(builder, more)
        }
        ("ge", &[a, b]) => {
            let less = builder.push(Op::Less { a, b })?;
            not(builder, less)
        }
        ("eq", &[a, b]) => builder.push(Op::Equal { a, b }),
        ("ne", &[a, b]) => {
            let equal = builder.push(Op::Equal { a, b })?;
            not(builder, equal)
        }
        ("select", &[bit, a, b]) => builder.push(Op::Select { bit, a, b }),
        ("min", &[a]) => builder.push(Op::MinOf { a }),
        ("max", &[a]) => builder.push(Op::MaxOf { a }),
        ("min", &[a, b]) => builder.extreme(a, b, true),
        ("max", &[a, b]) => builder.extreme(a, b, false),
        ("sort", &[a]) => builder.push(Op::Sort { a }),
        ("exp", &[a]) => builder.push(Op::Exp { a }),
        ("sigmoid", &[a]) => builder.push(Op::Sigmoid { a }),
        ("relu", &[a]) => builder.push(Op::Relu { a }),
        ("intersection_size", &[a, b]) => builder.push(Op::IntersectionSize { a, b }),
        ("concat", parts) if !parts.is_empty() => builder.push(Op::Concat { parts: parts.to_vec() }),
        ("real", &[a]) => builder.to_real(a),
        _ => Err(operands()),
    }
}

fn value(builder: &mut Builder, argument: &Argument) -> Result<Id, ProgramError> {
    match argument {
        Argument::Value(id) => Ok(*id),
        Argument::List(values) => vector(builder, values.clone()),
    }
}

/// Known numbers as a value.
pub(super) fn vector(builder: &mut Builder, values: Vec<Literal>) -> Result<Id, ProgramError> {
    let kind = if values.iter().all(Literal::is_integer) { Kind::Integer } else { Kind::Real };
    let shape = Shape::new(&[values.len()], crate::ELEMENTS_MAX).ok_or(ProgramError::BadShape)?;
    builder.constant(values, shape, kind)
}

/// A single number that is known.
fn literal(builder: &Builder, id: Id) -> Option<&Literal> {
    match &builder.node(id).op {
        Op::Constant { values } if builder.node(id).shape.is_scalar() => values.first(),
        _ => None,
    }
}

fn known(builder: &Builder, id: Id) -> Option<i64> {
    literal(builder, id)?.to_i64()
}

/// Known numbers are computed with at once.
pub(super) fn folded(builder: &mut Builder, op: Op) -> Result<Id, ProgramError> {
    let both = match &op {
        Op::Add { a, b } | Op::Sub { a, b } | Op::Mul { a, b } => {
            literal(builder, *a).zip(literal(builder, *b))
        }
        _ => None,
    };
    let Some((left, right)) = both else { return builder.push(op) };
    let result = match (left.to_i64(), right.to_i64()) {
        (Some(left), Some(right)) => {
            let result = match op {
                Op::Add { .. } => left.checked_add(right),
                Op::Sub { .. } => left.checked_sub(right),
                _ => left.checked_mul(right),
            };
            result.map(Literal::integer)
        }
        _ if left.is_integer() && right.is_integer() => None,
        _ => {
            let (left, right) = (left.to_f64(), right.to_f64());
            Some(Literal::Real(match op {
                Op::Add { .. } => left + right,
                Op::Sub { .. } => left - right,
                _ => left * right,
            }))
        }
    };
    match result {
        Some(result) => builder.number(result),
        None => builder.push(op),
    }
}

/// A real divided by a known number is multiplied by what one divided by it is.
pub(super) fn divide(builder: &mut Builder, a: Id, b: Id) -> Result<Id, ProgramError> {
    let Some(divisor) = literal(builder, b).map(Literal::to_f64).filter(|divisor| *divisor != 0.0) else {
        return builder.push(Op::Div { a, b });
    };
    if let Some(dividend) = literal(builder, a) {
        let result = match (dividend.to_i64(), known(builder, b)) {
            (Some(dividend), Some(divisor)) if dividend % divisor == 0 => {
                Literal::integer(dividend / divisor)
            }
            _ => Literal::Real(dividend.to_f64() / divisor),
        };
        return builder.number(result);
    }
    if builder.node(a).kind != Kind::Real && builder.node(b).kind != Kind::Real {
        return builder.push(Op::Div { a, b });
    }
    let a = builder.to_real(a)?;
    let b = builder.number(Literal::Real(1.0 / divisor))?;
    builder.push(Op::Mul { a, b })
}

fn not(builder: &mut Builder, bit: Id) -> Result<Id, ProgramError> {
    let one = builder.constant(vec![Literal::integer(1)], Shape::SCALAR, Kind::Bit)?;
    // Of what is 0 or 1, the product with itself and the difference to 1 are, too; a product of bits is a bit.
    let zero = builder.constant(vec![Literal::integer(0)], Shape::SCALAR, Kind::Bit)?;
    builder.push(Op::Select { bit, a: zero, b: one })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn mean(builder: &mut Builder, a: Id) -> Result<Id, ProgramError> {
    let len = builder.node(a).shape.len();
    let sum = builder.push(Op::Sum { a })?;
    let sum = builder.to_real(sum)?;
    let b = builder.number(Literal::Real(1.0 / len as f64))?;
    builder.push(Op::Mul { a: sum, b })
}

fn variance(builder: &mut Builder, a: Id) -> Result<Id, ProgramError> {
    let a = builder.to_real(a)?;
    let middle = mean(builder, a)?;
    let distances = builder.push(Op::Sub { a, b: middle })?;
    let squares = builder.push(Op::Mul { a: distances, b: distances })?;
    mean(builder, squares)
}

fn histogram(builder: &mut Builder, a: Id, edges: &[Literal]) -> Result<Id, ProgramError> {
    const EDGES_MAX: usize = 1000;
    let rising = edges.windows(2).all(|pair| pair[0].to_f64() < pair[1].to_f64());
    if !(2..=EDGES_MAX).contains(&edges.len()) || !rising {
        return Err(ProgramError::Operands {
            operation: "histogram".to_owned(),
            takes: "2 to 1000 rising edges",
            given: edges.len(),
        });
    }
    let mut below = Vec::with_capacity(edges.len());
    for edge in edges {
        let b = builder.number(edge.clone())?;
        let bits = builder.push(Op::Less { a, b })?;
        below.push(builder.push(Op::Sum { a: bits })?);
    }
    let mut counts = Vec::with_capacity(edges.len() - 1);
    for pair in below.windows(2) {
        counts.push(builder.push(Op::Sub { a: pair[1], b: pair[0] })?);
    }
    builder.push(Op::Concat { parts: counts })
}
