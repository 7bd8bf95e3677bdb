use super::*;

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let text = "#".repeat(FILE_LEN_MAX + 1);
    assert_eq!(problems(&text), ["1:1: the file has more than 4194304 bytes"]);
    assert!(parse(&text[1..]).resources().is_empty());
}

#[test]
fn nesting_is_bounded_in_blocks_flows_and_aliases() {
    let block: String = (0..60).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let flow = "{a: ".repeat(100_000);
    let mixed = format!("a:\n  b: {}{}", "[".repeat(31), "]".repeat(31));
    let chain: String = (1..60).map(|link| format!("- &a{link} [*a{}]\n", link - 1)).collect();
    let chain = format!("- &a0 x\n{chain}");
    for text in [block, flow, mixed, chain] {
        let found = problems(&text);
        assert!(found[0].ends_with("nested more than 32 levels deep"), "{found:?}");
    }
}

#[test]
fn aliases_cannot_make_much_of_little() {
    let mut laughs = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (letter, before) in ('b'..='z').zip('a'..) {
        let aliases = vec![format!("*{before}"); 9].join(", ");
        laughs.push_str(&format!("{letter}: &{letter} [{aliases}]\n"));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(100));
    let shells = format!("a: &a [{}]\n{}", "x, ".repeat(30_000), "b: *a\n".repeat(3));
    for text in [laughs, long, shells] {
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.contains("aliases repeat too much")), "{found:?}");
    }
}

#[test]
fn the_number_of_values_is_bounded() {
    let text = format!("roles: [{}]\n", "a,".repeat(1_100_000));
    assert!(problems(&text)[0].ends_with("more than 1000000 values"));
}

#[test]
fn the_first_problems_are_told_and_the_others_counted() {
    let text: String = (0..1000).map(|at| format!("section{at}: {{}}\n")).collect();
    let refused = Manifest::parse(text.as_bytes()).unwrap_err();
    assert_eq!((refused.problems.len(), refused.omitted), (PROBLEMS_MAX, 900));
    let lines: Vec<usize> = refused.problems.iter().map(|problem| problem.at.line).collect();
    assert_eq!(lines, (1..=PROBLEMS_MAX).collect::<Vec<_>>());
}

#[test]
fn messages_repeat_little_of_the_file() {
    let long = "x".repeat(100_000);
    let text = format!(
        "{long}: {{}}
roles: {{{long}y: {{{long}: 1, labels: {{{long}: a, b: {long}}}}}}}
endpoints: {{e: {{image: [{long}], resources: {{ram: {long}, cpu: {long}}}, id: {long}}}}}
cryptomesh: {long}
"
    )
    .replace(&format!("{long}:"), &format!("? {long}\n:"));
    let found = problems(&text);
    assert!(!found.is_empty());
    for problem in found {
        assert!(problem.len() < 600, "{} bytes", problem.len());
    }
}
