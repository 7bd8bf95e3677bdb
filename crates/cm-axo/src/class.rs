//! From the tree of a module to the schema of its first class.

use std::collections::HashMap;

use ruff_python_ast::{Decorator, Expr, ParameterWithDefault, Stmt, StmtClassDef, StmtFunctionDef};
use serde_json::Value;

use crate::schema::{DEFAULT_CLASS_NAME, Method, Parameter, Schema};
use crate::{docstring, literal};

const ANY: &str = "Any";

/// The first class at the top level of a module counts; one within an `if`, a function or another class does not.
pub(crate) fn schema(module: &[Stmt]) -> Schema {
    let class = module.iter().find_map(Stmt::as_class_def_stmt);
    class.map_or_else(
        || Schema { class_name: DEFAULT_CLASS_NAME.to_owned(), init: Vec::new(), methods: Vec::new() },
        class_schema,
    )
}

/// Every function directly in the class is a method, whatever its name: the earlier implementation lists `_private` and
/// `__call__` too, and clients call them.
fn class_schema(class: &StmtClassDef) -> Schema {
    let mut init = Vec::new();
    let mut methods: Vec<Method> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for function in class.body.iter().filter_map(Stmt::as_function_def_stmt) {
        if is_property(function) {
            continue;
        }
        let name = function.name.as_str();
        let parameters = parameters(function);
        if name == "__init__" {
            init = parameters;
        } else if let Some(place) = places.get(name) {
            methods[*place].parameters = parameters;
        } else {
            places.insert(name, methods.len());
            methods.push(Method { name: name.to_owned(), parameters });
        }
    }
    Schema { class_name: class.name.as_str().to_owned(), init, methods }
}

/// Positional parameters in order; keyword-only ones, `*args` and `**kwargs` are none.
fn parameters(function: &StmtFunctionDef) -> Vec<Parameter> {
    let declared = function.parameters.posonlyargs.iter().chain(&function.parameters.args);
    let descriptions = docstring::text(&function.body).map(docstring::descriptions).unwrap_or_default();
    declared
        .enumerate()
        .filter(|(place, parameter)| *place > 0 || !is_receiver(function, parameter))
        .map(|(_, parameter)| describe(parameter, &descriptions))
        .collect()
}

fn describe(parameter: &ParameterWithDefault, descriptions: &HashMap<String, String>) -> Parameter {
    let name = parameter.parameter.name.as_str();
    let type_name = match parameter.parameter.annotation.as_deref() {
        Some(Expr::Name(annotation)) => annotation.id.as_str(),
        _ => ANY,
    };
    Parameter {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        description: descriptions.get(name).cloned(),
        required: parameter.default.is_none(),
        default: parameter.default.as_deref().and_then(literal::value).unwrap_or(Value::Null),
    }
}

/// Whether the first parameter is what Python binds: that of a class method, and one called `self` or `cls`. Under
/// another name it is kept, as the earlier implementation did.
fn is_receiver(function: &StmtFunctionDef, first: &ParameterWithDefault) -> bool {
    let decorated = |name| function.decorator_list.iter().any(|decorator| last_name(decorator) == Some(name));
    !decorated("staticmethod")
        && (decorated("classmethod") || matches!(first.parameter.name.as_str(), "self" | "cls"))
}

fn is_property(function: &StmtFunctionDef) -> bool {
    function.decorator_list.iter().filter_map(last_name).any(|name| {
        matches!(name, "property" | "cached_property" | "abstractproperty" | "setter" | "getter" | "deleter")
    })
}

/// `property` of `@property`, `cached_property` of `@functools.cached_property`, `setter` of `@x.setter`.
fn last_name(decorator: &Decorator) -> Option<&str> {
    match &decorator.expression {
        Expr::Name(name) => Some(name.id.as_str()),
        Expr::Attribute(attribute) => Some(attribute.attr.as_str()),
        _ => None,
    }
}
