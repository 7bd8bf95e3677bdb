//! What a source declares, by example. Sources that mean harm are in `hostile`.

use serde_json::{Value, json};

use crate::{Method, Parameter, Position, Schema, SourceError, parse};

mod hostile;
mod properties;

#[track_caller]
fn check(source: &str, expected: &Value) {
    let schema = parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *expected, "{source}");
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema, "what we write, we read");
}

/// `a: int = 1, b` as `[["a", "int", false, 1], ["b", "Any", true, null]]`, of the one method `f`.
#[track_caller]
fn check_parameters(parameters: &str, expected: &Value) {
    let source = format!("class A:\n    def f(self{parameters}): pass\n");
    let schema = parse(&source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let found: Vec<Value> = schema.methods[0]
        .parameters
        .iter()
        .map(|parameter| json!([parameter.name, parameter.type_name, parameter.required, parameter.default]))
        .collect();
    assert_eq!(Value::from(found), *expected, "{parameters}");
}

#[track_caller]
fn check_methods(source: &str, expected: &[(&str, &[&str])]) {
    let schema = parse(source).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let found: Vec<(&str, Vec<&str>)> = schema
        .methods
        .iter()
        .map(|method| {
            (method.name.as_str(), method.parameters.iter().map(|each| each.name.as_str()).collect())
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|(name, parameters)| (*name, parameters.to_vec())).collect();
    assert_eq!(found, expected, "{source}");
}

#[track_caller]
fn check_refused(source: &str, line: usize, column: usize, reason: &str) {
    match parse(source) {
        Err(SourceError::Syntax { position, reason: told }) => {
            assert_eq!(position, Position { line, column }, "{told}\n{source}");
            assert!(told.contains(reason), "{told}\n{source}");
        }
        other => panic!("{other:?}\n{source}"),
    }
}

#[test]
fn the_schema_as_clients_read_it() {
    check(
        r#"
import numpy as np
from axo import Axo, axo_method

LIMIT = 3

class Calculator(Axo):
    """Calculates."""

    def __init__(self, base: int, scale: float = 1.5, tags: List[str] = None, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.base = base

    @axo_method
    def add(self, x: int, y: int = -2, *, strict: bool = False, **kwargs) -> int:
        return x + y + self.base

    async def fit(self, data: np.ndarray, rounds=LIMIT):
        pass

class Other:
    def ignored(self): pass
"#,
        &json!({
            "class_name": "Calculator",
            "init": [
                {"name": "base", "type": "int", "description": null, "required": true, "default": null},
                {"name": "scale", "type": "float", "description": null, "required": false, "default": 1.5},
                {"name": "tags", "type": "Any", "description": null, "required": false, "default": null},
            ],
            "methods": {
                "add": [
                    {"name": "x", "type": "int", "description": null, "required": true, "default": null},
                    {"name": "y", "type": "int", "description": null, "required": false, "default": -2},
                ],
                "fit": [
                    {"name": "data", "type": "Any", "description": null, "required": true, "default": null},
                    {"name": "rounds", "type": "Any", "description": null, "required": false, "default": null},
                ],
            },
        }),
    );
}

#[test]
fn a_source_without_a_class_declares_nothing_under_one_name() {
    for source in
        ["", "\n\n", "# only a comment", "x = 1", "def f(a): pass", "if x:\n class A: pass\n", "\u{feff}"]
    {
        check(source, &json!({"class_name": "GenericAO", "init": [], "methods": {}}));
    }
}

#[test]
fn defaults_that_json_can_say_are_kept() {
    check_parameters(", a", &json!([["a", "Any", true, null]]));
    check_parameters(
        ", a='x', b=1, c=1.5, d=True, e=None, f=-1, g=-0.5, h=+3",
        &json!([
            ["a", "Any", false, "x"],
            ["b", "Any", false, 1],
            ["c", "Any", false, 1.5],
            ["d", "Any", false, true],
            ["e", "Any", false, null],
            ["f", "Any", false, -1],
            ["g", "Any", false, -0.5],
            ["h", "Any", false, 3]
        ]),
    );
    check_parameters(
        ", a=[1, 'x', [None]], b=(1, 2), c={3, 4}, d={'k': (1,), 5: {}}, e=(), f=0xff, g='a' \"b\", h='ü\\n\\x41'",
        &json!([
            ["a", "Any", false, [1, "x", [null]]],
            ["b", "Any", false, [1, 2]],
            ["c", "Any", false, [3, 4]],
            ["d", "Any", false, {"k": [1], "5": {}}],
            ["e", "Any", false, []],
            ["f", "Any", false, 255],
            ["g", "Any", false, "ab"],
            ["h", "Any", false, "ü\nA"]
        ]),
    );
    check_parameters(
        ", a=18446744073709551615, b=-9223372036854775808",
        &json!([["a", "Any", false, u64::MAX], ["b", "Any", false, i64::MIN]]),
    );
}

#[test]
fn other_defaults_are_null_and_not_required() {
    for default in [
        "x",
        "f()",
        "1 + 1",
        "[x]",
        "{**x}",
        "{'a': x}",
        "(1, *x)",
        "b'bytes'",
        "2j",
        "1e999",
        "18446744073709551616",
        "...",
        "lambda: 1",
        "f'x'",
        "f'{x}'",
        "'a' f'{x}'",
        "not True",
        "-True",
        "- -1",
        "{1.5: 2}",
        "{(1,): 2}",
    ] {
        check_parameters(&format!(", a={default}"), &json!([["a", "Any", false, null]]));
    }
    let deep = |levels| format!(", a={}{}", "[".repeat(levels), "]".repeat(levels));
    check_parameters(&deep(33), &json!([["a", "Any", false, null]]));
    assert_ne!(
        parse(&format!("class A:\n def f(self{}): 0", deep(32))).unwrap().methods[0].parameters[0].default,
        Value::Null
    );
}

#[test]
fn only_bare_names_are_types() {
    check_parameters(
        ", a: int, b: Model, c: List[int], d: np.ndarray, e: 'int', f: None, g: int | str, h: Größe, i: Any",
        &json!([
            ["a", "int", true, null],
            ["b", "Model", true, null],
            ["c", "Any", true, null],
            ["d", "Any", true, null],
            ["e", "Any", true, null],
            ["f", "Any", true, null],
            ["g", "Any", true, null],
            ["h", "Größe", true, null],
            ["i", "Any", true, null]
        ]),
    );
}

#[test]
fn positional_parameters_count_and_others_do_not() {
    check_methods(
        "class A:\n def f(self, a, /, b, *c, d, e=1, **g): pass\n def h(self, a, *, b): pass\n def i(): pass\n",
        &[("f", &["a", "b"]), ("h", &["a"]), ("i", &[])],
    );
    check_methods("class A:\n def f(self, /, a): pass\n", &[("f", &["a"])]);
}

#[test]
fn the_receiver_is_no_parameter() {
    check_methods(
        "
class A:
    @classmethod
    def a(cls, x): pass
    @classmethod
    def b(klass, x): pass
    @staticmethod
    def c(x, y): pass
    @staticmethod
    def d(self, y): pass
    @abc.abstractmethod
    def e(self, x): pass
    def f(this, x): pass
    def g(x, self): pass
    def __new__(cls, x): pass
",
        &[
            ("a", &["x"]),
            ("b", &["x"]),
            ("c", &["x", "y"]),
            ("d", &["self", "y"]),
            ("e", &["x"]),
            ("f", &["this", "x"]),
            ("g", &["x", "self"]),
            ("__new__", &["x"]),
        ],
    );
}

#[test]
fn every_function_directly_in_the_class_is_a_method_but_properties() {
    check_methods(
        "
class A:
    def _private(self): pass
    def __call__(self, x): pass
    async def later(self): pass
    @property
    def p(self): pass
    @p.setter
    def p(self, value): pass
    @functools.cached_property
    def q(self): pass
    @retry(times=3)
    @log
    def decorated(self): 
        def nested(a): pass
        class Nested:
            def m(self): pass
    class Inner:
        def m(self): pass
    if True:
        def conditional(self): pass
    x = lambda self: 1
",
        &[("_private", &[]), ("__call__", &["x"]), ("later", &[]), ("decorated", &[])],
    );
}

#[test]
fn the_last_declaration_of_a_name_counts() {
    check_methods(
        "class A:\n def f(self, a): pass\n def g(self): pass\n def f(self, b): pass\n",
        &[("f", &["b"]), ("g", &[])],
    );
    let schema =
        parse("class A:\n def __init__(self, a): pass\n def __init__(self, b): pass\nclass A:\n x = 1\n")
            .unwrap();
    assert_eq!(schema.init[0].name, "b");
    assert_eq!(schema.method("f"), None);
}

#[test]
fn all_of_python_is_understood() {
    for source in [
        "class A:\r\n\tdef f(self, a):\r\n\t\tpass\r\n",
        "class A:\r def f(self, a): pass\r",
        "\u{feff}class A:\n def f(self, a): pass",
        "class A:\n  def f(self, a): pass # no line end",
        "class A: \n\n    # comment\n  # another\n    def f(self, a): pass\n# end",
        "class A:\n def f(self, a):\n  return f'{a!r:>{width}} {{}} {a[\"k\"]} {a=} {a:%Y-%m} {f\"{a}\"}'\n",
        "class A:\n def f(self, a):\n  return f\"{a[\"k\"]} { {1: 2}[1] } \\N{BULLET} {a:{1}{2}}\" 'x' f'' f\"\"\"{\na}\"\"\"\n",
        "class A:\n def f(self, a):\n  return rf'\\{a}' fR'''{a!s}''' + t'{a}'\n",
        "class A:\n def f(self, a):\n  if (n := a) > 1 and n != 2: return n\n  return [x async for x in y if not x]\n",
        "class A:\n def f(self, a):\n  match a:\n   case {'k': [1, *_], **r} if a: pass\n   case B(x=1) | None as q: pass\n   case _: pass\n",
        "class A[T: (int, str), *Ts, **P = [int]]:\n def f[U](self, a: T) -> U: pass\ntype X[T] = list[T]\n",
        "@d\n@e(1)\nclass A(B, metaclass=M):\n @g\n def f(self, a): yield a, lambda x, *y, z=1: (x, y)\n",
        "class A:\n def f(self, a):\n  try: pass\n  except* (B, C) as e: raise e from None\n  with (a as b, c as d): pass\n",
        "class A:\n x = 'it''s' \"#\" '''\n'\"' ''' r'\\\\' + 1.5e-3 + 0b1 + 1_000 + .5 + 1.j + 0xFf\n def f(self, a): pass\n",
        "class A:\n def f(self, a): return\"x\" if\"y\" else 2or\\\n   1; x = y; del x\n",
        "class A:\n    \\\n        x = 1\n\\\n    y = 1\n    def f(self, a): print(a, end='')\n",
        "class A:\n\x0c def f(self, a): global b; b: int = 1; b <<= 1; b @= ~-a ** -2 // 3\n",
    ] {
        check_methods(source, &[("f", &["a"])]);
    }
    let schema = parse("class Größe:\n    def 計算(self, ñ: Größe = 'é'): pass\n").unwrap();
    assert_eq!(
        schema,
        Schema {
            class_name: "Größe".into(),
            init: vec![],
            methods: vec![Method {
                name: "計算".into(),
                parameters: vec![Parameter {
                    name: "ñ".into(),
                    type_name: "Größe".into(),
                    description: None,
                    required: false,
                    default: json!("é"),
                }],
            }],
        }
    );
}

#[test]
fn what_is_not_python_is_refused_with_its_place() {
    check_refused("class A\n    pass\n", 1, 8, "Expected");
    check_refused("x = 1\nclass A:\npass\n", 3, 1, "indented block");
    check_refused("class A:\n    def f(self, 1): pass\n", 2, 17, "");
    check_refused("é = (1,\n     2", 1, 5, "'(' was never closed");
    check_refused("\u{feff}x = ]", 1, 5, "nothing is open that ']' closes");
    check_refused("x = (]", 1, 6, "']' does not close '('");
    check_refused("a\r\nb\rc = 'x\ny'", 3, 5, "does not end on its line");
    check_refused("x = '''abc", 1, 5, "does not end");
    check_refused("x = 5 $ 3", 1, 7, "unexpected character '$'");
    check_refused("x = 5 € 3", 1, 7, "unexpected character '€'");
    check_refused("a\0b", 1, 2, "unexpected character");
    check_refused("x = \\ y", 1, 5, "continues");
    check_refused("print 'hello'\n", 1, 7, "");
    check_refused("x = 0xlambda y: 1", 1, 5, "may not follow a number");
    check_refused("x = lambda\ny: 1", 1, 5, "no colon");
    check_refused("if x:\n        a\n    b\n", 3, 5, "indentation");
}

#[test]
fn what_is_wrong_within_f_strings_is_refused_with_its_place() {
    check_refused("x = f'{a b}'", 1, 10, "");
    check_refused("y = 1\nx = f'''{a}\n {b + }'''", 3, 7, "");
    check_refused("x = f'{a:{b c}}'", 1, 13, "");
    check_refused("x = f'{f\"{a b}\"}'", 1, 13, "");
    check_refused("x = f'{}'", 1, 8, "expression is missing");
    check_refused("x = f'}'", 1, 7, "single '}'");
    check_refused("x = f'{a'", 1, 9, "does not end");
    check_refused("x = f'{a!z}'", 1, 9, "conversion");
    check_refused("x = f'{(a}'", 1, 10, "does not close");
    check_refused("x = f'{a:>5'", 1, 12, "'}' is missing");
}

#[test]
fn docstrings_describe_parameters() {
    #[track_caller]
    fn check_described(docstring: &str) {
        let source = format!(
            "class A:\n    def f(self, rounds, rate=1, other=2):\n        \"\"\"{docstring}\n        \"\"\"\n"
        );
        let parameters = parse(&source).unwrap().methods.remove(0).parameters;
        let found: Vec<_> = parameters.iter().map(|each| each.description.as_deref()).collect();
        assert_eq!(found, [Some("how often: at least once"), Some("how quickly"), None], "{docstring}");
    }
    check_described(
        "Fits.

        :param rounds: how often:
            at least once
        :param float rate: how quickly
        :type rate: float
        :returns: nothing",
    );
    check_described(
        "Fits.

        Args:
            rounds (int): how often:
                at least once
            rate: how quickly
        Returns:
            other: nothing",
    );
    check_described(
        "Fits.

        Parameters
        ----------
        rounds : int
            how often:
            at least once
        rate
            how quickly

        Returns
        -------
        other : int
            nothing",
    );
}

#[test]
fn prose_describes_nothing() {
    let source = "class A:\n def f(self, a):\n  'Takes a: the thing. :param a: not at the beginning'\n";
    assert_eq!(parse(source).unwrap().methods[0].parameters[0].description, None);
}
