use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// The programs that run when these paths exist.
fn runs(text: &str, existing: &[&str]) -> Vec<String> {
    let pipeline = Pipeline::parse(text).unwrap();
    let mut evaluation = pipeline.begin();
    let mut programs = Vec::new();
    let mut exists = |path: &GuestPath| Ok::<_, Infallible>(existing.contains(&path.as_str()));
    while let Ok(Some(program)) = evaluation.next_program(&mut exists) {
        programs.push(program.to_string());
    }
    programs
}

#[track_caller]
fn refused(text: &str, at: usize, words: &str) {
    let error = Pipeline::parse(text).expect_err(text);
    assert_eq!(error.at, at, "{text}: {error}");
    assert!(error.to_string().contains(words), "{text}: {error}");
}

#[test]
fn steps_run_in_order_and_conditions_choose() {
    assert_eq!(runs("a.wasm", &[]), ["/a.wasm"]);
    assert_eq!(runs(" a.wasm;/b/c.wasm ; ", &[]), ["/a.wasm", "/b/c.wasm"]);
    let text = "a.wasm ; if /x { b.wasm } else { c.wasm }";
    assert_eq!(runs(text, &["/x"]), ["/a.wasm", "/b.wasm"]);
    assert_eq!(runs(text, &[]), ["/a.wasm", "/c.wasm"]);
    let nested = "if x { if y { a } b; } else{} if z {} else { c;d }\n\tlast";
    assert_eq!(runs(nested, &["/x", "/y", "/z"]), ["/a", "/b", "/last"]);
    assert_eq!(runs(nested, &["/x"]), ["/b", "/c", "/d", "/last"]);
    assert_eq!(runs(nested, &[]), ["/c", "/d", "/last"]);
    assert_eq!(runs("/if ; /else ; iff", &[]), ["/if", "/else", "/iff"]);
}

#[test]
fn a_condition_that_cannot_be_answered_ends_the_evaluation() {
    let pipeline = Pipeline::parse("a ; if /x { b }").unwrap();
    let mut evaluation = pipeline.begin();
    assert_eq!(evaluation.next_program(|_| Err("no")).unwrap().unwrap().as_str(), "/a");
    assert_eq!(evaluation.next_program(|_| Err("no")), Err("no"));
}

#[test]
fn mistakes_are_located() {
    refused("", 1, "runs no program");
    refused("if /x { } else { }", 1, "runs no program");
    refused("a b", 3, "expected `;`, found `b`");
    refused("ä b", 3, "expected `;`");
    refused("; a", 1, "expected a program, `if` or the end, found `;`");
    refused("a ;; b", 4, "found `;`");
    refused("if { a }", 4, "the path that `if` asks for");
    refused("if /x a", 7, "expected `{`, found `a`");
    refused("if /x { a", 10, "`}`, found the end");
    refused("a }", 3, "found `}`");
    refused("a {", 3, "expected `;`, found `{`");
    refused("if /x { a } else b", 18, "expected `{`");
    refused("else { a }", 1, "expected a program or `if`");
    refused("a ; ../b", 5, "contains `..`");
    refused("a ; b/", 5, "names a directory");
    refused("/", 1, "names a directory");
    refused("a\0b", 1, "control character");
}

#[test]
fn everything_is_bounded() {
    let many = vec!["a"; STEPS_MAX].join(";");
    assert_eq!(Pipeline::parse(many.as_str()).unwrap().programs().len(), STEPS_MAX);
    refused(&format!("{many};b"), many.len() + 2, "at most 256");
    let deep = |depth: usize| format!("{}a{}", "if x {".repeat(depth), "}".repeat(depth));
    assert_eq!(Pipeline::parse(deep(DEPTH_MAX)).unwrap().conditions().len(), DEPTH_MAX);
    refused(&deep(DEPTH_MAX + 1), DEPTH_MAX * 6 + 1, "within each other");
    refused(&" ".repeat(PIPELINE_LEN_MAX + 1), 1, "bytes");
}

#[test]
fn the_text_is_kept_and_the_meaning_compared() {
    let pipeline: Pipeline = serde_json::from_str(r#""a.wasm;b.wasm;""#).unwrap();
    assert_eq!(serde_json::to_string(&pipeline).unwrap(), r#""a.wasm;b.wasm;""#);
    assert_eq!(pipeline, Pipeline::parse("/a.wasm ; b.wasm").unwrap());
    assert_eq!(pipeline.to_string(), "/a.wasm ; /b.wasm");
    assert!(serde_json::from_str::<Pipeline>(r#""a b""#).is_err());
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = "[a-zé0-9./:$=\"-]{1,8}";
    let path = name.prop_filter_map("no path", |text| GuestPath::parse(&text).ok());
    let program = path.clone().prop_filter("the root is no program", |path| !path.is_root());
    let leaf = prop::collection::vec(program.prop_map(Step::Run), 0..3);
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let condition = (path.clone(), inner.clone(), inner.clone())
            .prop_map(|(exists, then, otherwise)| vec![Step::If { exists, then, otherwise }]);
        prop::collection::vec(prop_oneof![inner, condition], 0..3).prop_map(|lists| lists.concat())
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_the_same(steps in steps()) {
        let written = Pipeline { text: String::new(), steps };
        match Pipeline::parse(written.to_string()) {
            Ok(read) => prop_assert_eq!(read, written),
            Err(error) => prop_assert!(
                matches!(error.problem, PipelineProblem::Empty | PipelineProblem::TooManySteps),
                "{written}: {error}"
            ),
        }
    }

    #[test]
    fn foreign_text_is_refused_or_has_a_normal_form(text in "(if|else|[a/]{1,3}|[ ;{}]|.){0,30}") {
        match Pipeline::parse(text.as_str()) {
            Ok(pipeline) => {
                let again = Pipeline::parse(pipeline.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), pipeline.to_string());
                prop_assert_eq!(again, pipeline);
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.at)),
        }
    }
}
