//! Whatever the text is: an answer, no panic, and no memory of what was not asked for.

use proptest::prelude::*;
use ruff_python_ast::AnyNodeRef;
use ruff_python_ast::visitor::source_order::{SourceOrderVisitor, TraversalSignal};
use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};

use crate::scan::scan;
use crate::{INDENTATION_MAX, NESTING_MAX, Schema, parse};

const SAMPLE: &str = r#"@d
class A[T](B):
	"""Doc.

	Args:
	    a: b
	"""
	def __init__(self, a: int = -1, /, b=[1, {"k": (None,)}], *c, d, **e): pass
	async def f(self, x: np.x = lambda y, z=1: y): return f"{x!r:>{y}} {z["k"]} {{}}" 'a' rb'\''
	@property
	def g(self):
		match x:
			case {"a": [1, *_]} | B(c=1) as d if (e := d): yield d, e
		return x if y else not -z ** 2 @ [w async for w in v if w]; \
			x <<= 1
"#;

/// Pieces of which nearly-Python is made.
const PIECES: &[&str] = &[
    "class A",
    "def f",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "\n",
    "\n ",
    "\n  ",
    "\r",
    "\\\n",
    "self",
    "'",
    "\"",
    "'''",
    "\"\"\"",
    "f'",
    "f\"",
    "f\"\"\"",
    "rb'",
    "t'",
    "!r",
    "=",
    ":=",
    "lambda ",
    "yield ",
    "async ",
    "await ",
    " if ",
    " else ",
    "match x",
    "case ",
    "1",
    "0x",
    "1.",
    "e5",
    "é",
    "€",
    "#",
    "*",
    "**",
    ".",
    "x",
    " ",
    "\t",
    "\x0c",
    "\\",
    "\0",
    "{{",
    "}}",
    "\\N{DASH}",
    "pass",
    "for ",
    " in ",
    "import ",
    "with ",
    "@",
    "->",
    "...",
    ";",
    "elif ",
    "not ",
    "None",
    "type X",
    "global ",
];

fn check(source: &str) {
    match parse(source) {
        Ok(schema) => {
            let text = serde_json::to_string(&schema).unwrap();
            assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
            assert!(!schema.class_name.is_empty());
        }
        Err(error) => {
            let position = error.position().expect("the sources are short");
            assert!(position.line >= 1 && position.column >= 1);
            assert!(position.line <= source.matches(['\n', '\r']).count() + 1, "{error}\n{source}");
        }
    }
}

/// How deep a tree is.
#[derive(Default)]
struct Depth {
    now: usize,
    most: usize,
}

impl<'a> SourceOrderVisitor<'a> for Depth {
    fn enter_node(&mut self, _: AnyNodeRef<'a>) -> TraversalSignal {
        self.now += 1;
        self.most = self.most.max(self.now);
        TraversalSignal::Traverse
    }

    fn leave_node(&mut self, _: AnyNodeRef<'a>) {
        self.now -= 1;
    }
}

/// Whether the trees that the parser builds, errors or not, are as shallow as the scan promises.
fn check_depth(source: &str) {
    let Ok(scan) = scan(source) else { return };
    for code in [&*scan.code, &scan.embedded(source).text] {
        let parsed = parse_unchecked(code, ParseOptions::from(Mode::Module));
        let mut depth = Depth::default();
        match parsed.syntax() {
            ruff_python_ast::Mod::Module(module) => depth.visit_body(&module.body),
            ruff_python_ast::Mod::Expression(_) => unreachable!("a module was asked for"),
        }
        // A token that weighs one makes at most four nodes, as an argument does, a comparison and a conjunction; a level of
        // indentation makes two.
        let most = 4 * NESTING_MAX + 2 * INDENTATION_MAX;
        assert!(depth.most <= most, "{} levels", depth.most);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Nesting without end is something repeated.
    #[test]
    fn what_is_repeated_is_refused_or_flat(
        before in proptest::collection::vec(proptest::sample::select(PIECES), 0..5),
        repeated in proptest::collection::vec(proptest::sample::select(PIECES), 1..8),
        after in proptest::collection::vec(proptest::sample::select(PIECES), 0..5),
    ) {
        let source = before.concat() + &repeated.concat().repeat(1_500) + &after.concat();
        let outcome = std::thread::Builder::new()
            .stack_size(64 * 1024 * 1024)
            .spawn(move || check_depth(&source))
            .unwrap()
            .join();
        prop_assert!(outcome.is_ok());
    }

    #[test]
    fn any_text_is_answered(source in "\\PC{0,200}") {
        check(&source);
    }

    #[test]
    fn any_bytes_that_are_text_are_answered(bytes in proptest::collection::vec(0u8..128, 0..200)) {
        check(&String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn nearly_python_is_answered(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        check(&pieces.concat());
    }

    #[test]
    fn changed_python_is_answered(
        changes in proptest::collection::vec(
            (0..SAMPLE.len(), 0usize..12, proptest::sample::select(PIECES)),
            0..6,
        )
    ) {
        let mut source = SAMPLE.to_owned();
        for (at, len, piece) in changes {
            let at = source.floor_char_boundary(at.min(source.len()));
            let end = source.floor_char_boundary((at + len).min(source.len()));
            source.replace_range(at..end, piece);
        }
        check(&source);
    }
}
