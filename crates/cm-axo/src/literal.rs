//! Defaults that JSON can say.

use ruff_python_ast::{Expr, Number, UnaryOp};
use serde_json::{Map, Value};

/// How deep a default may nest and still be kept. Readers of JSON commonly stop at 128 levels, and a stored record
/// has levels of its own.
const DEPTH_MAX: usize = 32;

/// The value of a literal, or nothing when the expression is none or JSON has no such value: byte strings,
/// complex numbers, integers beyond 64 bits, infinite floats. Elements of a set stay as they are written.
pub(crate) fn value(expression: &Expr) -> Option<Value> {
    value_below(expression, DEPTH_MAX)
}

fn value_below(expression: &Expr, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    match expression {
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::BooleanLiteral(literal) => Some(Value::Bool(literal.value)),
        Expr::StringLiteral(literal) => Some(Value::String(literal.value.to_str().to_owned())),
        Expr::NumberLiteral(literal) => number(&literal.value, false),
        Expr::UnaryOp(unary) => match (&unary.op, &*unary.operand) {
            (UnaryOp::USub, Expr::NumberLiteral(literal)) => number(&literal.value, true),
            (UnaryOp::UAdd, Expr::NumberLiteral(literal)) => number(&literal.value, false),
            _ => None,
        },
        Expr::List(list) => array(&list.elts, depth),
        Expr::Tuple(tuple) => array(&tuple.elts, depth),
        Expr::Set(set) => array(&set.elts, depth),
        Expr::Dict(dict) => {
            let mut object = Map::new();
            for item in &dict.items {
                object.insert(key(item.key.as_ref()?)?, value_below(&item.value, depth)?);
            }
            Some(Value::Object(object))
        }
        _ => None,
    }
}

fn array(elements: &[Expr], depth: usize) -> Option<Value> {
    elements.iter().map(|element| value_below(element, depth)).collect::<Option<_>>().map(Value::Array)
}

fn key(expression: &Expr) -> Option<String> {
    match value_below(expression, 1)? {
        Value::String(text) => Some(text),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

fn number(number: &Number, negative: bool) -> Option<Value> {
    match number {
        Number::Int(int) => {
            let magnitude = int.as_u64()?;
            if negative {
                0i64.checked_sub_unsigned(magnitude).map(Value::from)
            } else {
                Some(Value::from(magnitude))
            }
        }
        Number::Float(float) => {
            let float = if negative { -float } else { *float };
            serde_json::Number::from_f64(float).map(Value::Number)
        }
        Number::Complex { .. } => None,
    }
}
