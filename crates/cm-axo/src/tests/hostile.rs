//! Sources made to exhaust stack, memory or time. They are read with the bound of the depth alone to protect them: on a
//! thread with half the stack that a worker of the runtime has. What overflows it ends the whole test run.

use std::thread;

use ruff_python_parser::{Mode, ParseOptions, parse_unchecked};

use crate::source::parse_here;
use crate::stack::on_large;
use crate::{INDENTATION_MAX, NESTING_MAX, SOURCE_LEN_MAX, Schema, SourceError, parse};

const STACK_LEN: usize = 1024 * 1024;

fn parse_on_a_small_stack(source: String) -> Result<Schema, SourceError> {
    thread::Builder::new().stack_size(STACK_LEN).spawn(move || parse_here(&source)).unwrap().join().unwrap()
}

/// What the scan refuses, parsed and dropped nevertheless, as if its bound had a hole.
#[test]
fn a_hole_in_the_bound_would_not_overflow_the_stack() {
    let levels = 20_000;
    let blocks =
        |first: &str| -> String { (0..600).map(|level| format!("{}{first}\n", " ".repeat(level))).collect() };
    let within_brackets = format!("(a b\nif x:\n{})", "     if x:\n  if x:\n".repeat(levels));
    for source in [
        "[".repeat(levels),
        "-".repeat(levels),
        "~".repeat(levels),
        format!("a{}", ".a".repeat(levels)),
        format!("a{}", "()".repeat(levels)),
        format!("a{}", "+a".repeat(levels)),
        "f(a,*".repeat(levels),
        "{a:".repeat(levels),
        "{**".repeat(levels),
        "lambda:".repeat(levels),
        "lambda x=".repeat(levels),
        "(x:=".repeat(levels),
        "x[a:".repeat(levels),
        "[x for x in ".repeat(levels),
        "a<b and(".repeat(levels),
        "1 if 1else ".repeat(levels),
        blocks("if x:"),
        blocks("def f():"),
        blocks("match x:"),
        within_brackets,
    ] {
        on_large(|| drop(parse_unchecked(&source, ParseOptions::from(Mode::Module))));
    }
}

#[test]
fn many_at_once_wait_for_each_other_and_panics_return_their_turn() {
    thread::scope(|scope| {
        for turn in 0..12 {
            scope.spawn(move || {
                let outcome = std::panic::catch_unwind(|| on_large(|| assert!(turn % 3 > 0, "meant")));
                assert_eq!(outcome.is_ok(), turn % 3 > 0);
            });
        }
    });
    assert_eq!(on_large(|| 1), 1);
}

#[track_caller]
fn check_too_deep(source: String) {
    let start = source.chars().take(40).collect::<String>();
    let outcome = parse_on_a_small_stack(source);
    assert!(matches!(outcome, Err(SourceError::TooDeep { .. })), "{start}: {outcome:?}");
}

/// Whatever the answer is, there is one.
fn check_answered(source: String) {
    drop(parse_on_a_small_stack(source));
}

#[test]
fn what_is_too_long_is_not_read() {
    let source = " ".repeat(SOURCE_LEN_MAX);
    assert!(parse(&source).is_ok());
    let error = parse(&(source + " ")).unwrap_err();
    assert_eq!(error, SourceError::TooLong { len: SOURCE_LEN_MAX + 1 });
    assert_eq!(error.position(), None);
}

#[test]
fn what_nests_without_end_is_refused() {
    let n = 100_000;
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("{", "1", "}"),
        ("{1:", "1", "}"),
        ("f(", "", ")"),
        ("a[", "1", "]"),
        ("-", "1", ""),
        ("not ", "1", ""),
        ("~", "1", ""),
        ("await ", "1", ""),
        ("lambda: ", "1", ""),
        ("lambda x, y=", "1", ""),
        ("lambda :=,", "", ""),
        ("yield a, ", "1", ""),
        ("async ", "def f(): pass", ""),
        ("1 if 1 else ", "1", ""),
        ("1if 1else ", "1", ""),
        ("2 ** ", "1", ""),
        ("", "a", ".a"),
        ("", "a", "()"),
        ("", "a", "[0]"),
        ("", "a", "{}"),
        ("", "\"a\"", "+\"a\""),
        ("", "1", "*1"),
        ("", "1", "<<1"),
        ("", "[x", " for x in y"),
        ("", "@a", ".b"),
        ("", "match x:\n case a", ".b"),
        ("*", "a", ""),
        ("(a, ", "b", ")"),
        ("{", "", ""),
        ("([{", "", ""),
        ("f'{", "x", "}'"),
        ("f\"{(", "x", ")}\""),
        ("f'{x:{", "x", "}}'"),
    ] {
        let repeats = n.min(SOURCE_LEN_MAX / (open.len() + close.len()) - 100);
        let body = format!("{}{middle}{}", open.repeat(repeats), close.repeat(repeats));
        if open.starts_with("f'{x:{") {
            // Formats within formats lie side by side in what is parsed.
            check_answered(format!("x = {body}\n"));
        } else {
            check_too_deep(format!("x = {body}\n"));
        }
        check_answered(body);
    }
}

#[test]
fn indentation_without_end_is_refused() {
    let blocks = |levels: usize, first: &str| -> String {
        (0..levels).map(|level| format!("{}{first}\n", " ".repeat(level))).collect::<String>()
            + &" ".repeat(levels)
            + "pass\n"
    };
    check_too_deep(blocks(1_400, "if x:"));
    check_too_deep(blocks(1_000, "def f():"));
    check_too_deep(blocks(900, "if x:\\\n"));
    let with_brackets = |level| format!("{0}(\n)\n{0}if x:\n", " ".repeat(level));
    check_too_deep((0..500).map(with_brackets).collect());
    check_too_deep(blocks(500, "if x: # (\n\n"));
    let continued: String = (0..900).map(|level| format!("\\\n{}if x:\n", " ".repeat(level))).collect();
    check_too_deep(continued);
    assert!(parse(&blocks(INDENTATION_MAX, "if x:")).is_ok());
    assert!(parse(&blocks(INDENTATION_MAX + 1, "if x:")).is_err());
}

/// After an error within a bracket the parser reads what follows as statements, with their indentation, which may be
/// anything there: each of these rounds would nest once more and nothing would ever close it.
#[test]
fn lines_within_brackets_have_no_indentation() {
    for round in [
        "     for a, b in c:\n  for a, b in c:\n",
        "     with a, b:\n  async with a, b:\n",
        "     for a, b in c: # (\r  for a, b in c:\\\n\r",
        ")\nf(a,\n     for a, b in c:\n  for a, b in c:\n",
        "     if x:\n  if x:\n",
        "     def f(a):\n  class A:\n",
        "     match x:\n  case y:\n",
        "     else:\n  try:\n",
    ] {
        let lines = round.repeat(20_000);
        for source in [
            format!("f(a,\nif x:\n{lines})\n"),
            format!("f(a, [b\ndef f():\n{lines}])\n"),
            format!("if x:\n with (a,\nif y:\n{lines})\n"),
            format!("x = f'''{{f(a,\nif x:\n{lines})}}'''\n"),
            format!(
                "(a, b\ndef f():\n{}\n)",
                (0..1_000).map(|n| " ".repeat(n) + "if x:\n").collect::<String>()
            ),
        ] {
            assert!(parse_on_a_small_stack(source).is_err(), "{round}");
        }
    }
    assert!(parse("def f(a,\n     b, # c\n  d): pass\nx = [\n a\n   for a in b # (\n  if c\n]\n").is_ok());
}

/// The parser neither opens nor closes a level at a line whose indentation depends on the width of a tab.
#[test]
fn tabs_and_spaces_may_not_contradict_each_other() {
    let error = parse("if x:\n        y\n\tz\n").unwrap_err();
    assert!(error.to_string().contains("line 3, column 2: tabs and spaces"), "{error}");
    let round = "        if x:\n\t\tif x:\n   if x:\n";
    assert!(parse_on_a_small_stack(format!("if x:\n  if x:\n{}", round.repeat(20_000))).is_err());
    assert!(parse("if x:\n\tif y:\n\t    z\n\tx\n").is_ok());
}

#[test]
fn what_is_long_but_flat_is_read() {
    let lines = |line: &str, count: usize| line.repeat(count);
    for source in [
        format!("if x: pass\n{}", lines("elif x: pass\n", 50_000)),
        format!("x = [{}]\n", lines("(1, 'a', -b, c.d),", 40_000)),
        format!("x = ({})\n", lines("'a' ", 100_000)),
        format!("x = 1{}\n", lines(" and 1", 100_000)),
        format!("x = 1{}\n", lines(" == 1", 100_000)),
        lines("x = y = z\n", 80_000),
        lines("\n", 1_000_000),
        lines("#", 1_000_000),
        lines("f'{x}'\n", 100_000),
        format!("x = f'{}'", lines("{x}", 100_000)),
        format!("x = f'''{}'''", lines("{{}}\n", 100_000)),
        format!("x = '''{}'''", lines("((((", 200_000)),
        format!("x = {{{}}}", lines("'k': lambda a, b: a,", 20_000)),
        format!("class A:\n{}", lines(" def f(self, a): pass\n", 40_000)),
        format!("def f({}): pass", (0..50_000).map(|n| format!("a{n},")).collect::<String>()),
        format!("class A:\n def f(self, a):\n  '''{}'''\n", lines("  :param a: b\n", 40_000)),
    ] {
        let start = source.chars().take(40).collect::<String>();
        let outcome = parse_on_a_small_stack(source);
        assert!(outcome.is_ok(), "{start}: {outcome:?}");
    }
}

/// As deep as is allowed, in every way at once, right and wrong.
#[test]
fn the_deepest_that_is_read_fits_the_stack() {
    for (open, close, weight) in [
        ("(", ")", 1),
        ("[1, ", "]", 1),
        ("f(a, *", ")", 2),
        ("f(a)(b=", ")", 3),
        ("{1: ", "}", 2),
        ("{**", "}", 3),
        ("a < b and c or (d, ", ")", 1),
        ("a < b and c or not ", "", 1),
        ("lambda x: ", "", 1),
        ("lambda x=", ": 1", 2),
        ("- ", "", 1),
        ("(x := ", ")", 3),
        ("x[a:", "]", 2),
        ("[x for x in ", "]", 2),
        ("1 if a < b else ", "", 2),
        ("", ".a", 1),
        ("", "()", 1),
        ("", "[1]", 1),
        ("", " + 1", 1),
    ] {
        let repeats = (NESTING_MAX - 4) / weight;
        let deep = format!("{}a{}", open.repeat(repeats), close.repeat(repeats));
        let blocks: String =
            (0..INDENTATION_MAX - 1).map(|n| format!("{}with a:\n", " ".repeat(n))).collect();
        let indent = " ".repeat(INDENTATION_MAX - 1);
        for source in [
            format!("{blocks}{indent}{deep}\n"),
            format!("{blocks}{indent}{deep} !\n"),
            format!("{blocks}{indent}x = f'''{{{deep}}}'''\n"),
            format!("match x:\n case {deep}: pass\n"),
            format!("class A:\n def f(self, a={deep}): pass\n"),
        ] {
            let outcome = parse_on_a_small_stack(source);
            assert!(!matches!(outcome, Err(SourceError::TooDeep { .. })), "{open}{close}: {outcome:?}");
        }
    }
}

/// Recovery from an error within an f-string would read text as code, were the text there.
#[test]
fn text_does_not_become_code_by_errors() {
    let deep = "(".repeat(500_000);
    check_answered(format!("f\"{{[a def \"{deep}\"]}}\""));
    check_answered(format!("f\"\"\"{{[a def '{{{deep}' ]}}\"\"\""));
    check_answered(format!("f\"{{x!r\"{deep}"));
    check_answered(format!("f'{{x' '{deep}'"));
    check_answered(format!("(f'{{a b}}' def '''{deep}'''"));
    check_answered(format!("f'{{x:{deep}}}'"));
    check_answered(format!("1.e5f\"{{\"{deep}"));
    check_answered(format!("0xf\"{{'{deep}'}}\""));
}
