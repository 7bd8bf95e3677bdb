mod examples;
mod random;

use super::*;

/// A document that is well formed.
fn document(text: &str) -> Document {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

fn check_errors(text: &str, expected: &[&str]) {
    let errors = parse(text).expect_err(text).0;
    let found: Vec<String> = errors.iter().map(PdlError::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "found {found}, expected {expected}");
    }
}

#[test]
fn the_index_of_a_document_is_bounded() {
    let list = |what: &str, count: usize| {
        let each: Vec<String> = (0..count).map(|at| format!("{what} \"x{at}\"")).collect();
        each.join(", ")
    };
    let statement = format!("allow {} to read on {}\n", list("user", 250), list("bucket", 200));
    document(&format!("pdl 1\n{statement}{statement}"));
    check_errors(
        &format!("pdl 1\n{statement}{statement}allow anyone to read on bucket"),
        &["4:1: the statements up to this one take more than 100000 entries"],
    );
}

#[test]
fn a_mark_of_the_byte_order_is_passed_over() {
    document("\u{feff}pdl 1\nallow anyone to read on bucket");
    check_errors("\u{feff}pdl 2", &["1:5: a document begins"]);
    check_errors("pdl 1 \u{feff}", &["1:7: unexpected character"]);
}

/// What a document of the greatest length is compared with is bounded by what can meet, or this takes minutes.
#[test]
fn long_documents_are_checked_and_compared() {
    let statement = |at: usize| format!("allow user \"u{at}\" to read on bucket \"b{at}/*\"\n");
    let text: String = (0..STATEMENTS_MAX - 1).map(statement).collect();
    let old = document(&format!("pdl 1\n{text}allow user \"eve\" to read on bucket \"b7/*\""));
    let new = document(&format!("pdl 1\n{text}deny user \"u7\" to read on bucket \"b7/*\""));
    assert_eq!(check(&old), vec![]);
    let denied = check(&new);
    assert_eq!(denied.len(), 1, "{denied:?}");
    let who: Vec<String> = diff::diff(&old, &new).changes.into_iter().map(|change| change.who).collect();
    assert!(
        !who.is_empty() && who.iter().all(|who| ["user eve", "user u7"].contains(&who.as_str())),
        "{who:?}"
    );
    assert_eq!(diff::diff(&old, &old).changes, []);
}

#[test]
fn errors_say_where() {
    check_errors("", &["1:1: a document begins with `pdl 1`"]);
    check_errors("pdl 2", &["1:5: a document begins"]);
    check_errors("pdl 1\nallow role a read on bucket", &["2:14: expected `,` or `to`, found `read`"]);
    check_errors("pdl 1\nallow role a to fly on bucket", &["2:17: unknown action `fly`"]);
    check_errors("pdl 1\nallow role a to read on buckets", &["2:25: unknown kind `buckets`"]);
    check_errors(
        "pdl 1\nallow role a to read on bucket \"x",
        ["2:32: the text has no closing", "3:1: x"][..1].as_ref(),
    );
    check_errors("pdl 1\nallow anyone to read on bucket \"a\\n\"", &["2:32: only"]);
    check_errors(
        "pdl 1\nallow anyone to read on bucket when time in 8:00..9:00",
        &["2:51: `8:00..9:00` is no part of a day"],
    );
    check_errors(
        "pdl 1\nallow anyone to read on bucket when time in 08:00..09:00 Moon/Base",
        &["2:58: `Moon/Base` is no time zone"],
    );
    check_errors("pdl 1\nallow anyone to read on bucket when day in mon, tues", &["2:49: `tues` is no day"]);
    check_errors(
        "pdl 1\nallow anyone to read on bucket when address in 10.0.0.0/40",
        &["2:48: `10.0.0.0/40` is no network"],
    );
    check_errors(
        "pdl 1\nallow anyone to read on bucket when before 2027-02-30",
        &["2:44: `2027-02-30` is no moment"],
    );
    check_errors(
        "pdl 1\nallow anyone to read on bucket when colour = \"red\"",
        &["2:37: `colour` is no condition"],
    );
    check_errors(
        "pdl 1\nallow anyone to read on bucket when label.a < \"b\"",
        &["2:50: `<` compares whole numbers"],
    );
    check_errors(
        "pdl 1\nallow anyone to read on bucket when label.a like 3",
        &["2:51: `like` takes a pattern"],
    );
    check_errors("pdl 1\nallow anyone to read on bucket when mfa tls", &["2:41: expected `and`"]);
    check_errors("pdl 1\nallow anyone to read on bucket when (mfa", &["2:41: expected `)`"]);
    check_errors("pdl 1\nallow anyone to read on bucket § ", &["2:32: unexpected character `§`"]);
    check_errors("pdl 1\nallow role to to read on bucket", &["2:12: expected a name"]);
    check_errors("pdl 1\nread on bucket", &["2:1: expected `allow` or `deny`, found `read`"]);
}

#[test]
fn all_statements_are_looked_at() {
    check_errors(
        "pdl 1\nallow x to read on bucket\ndeny anyone to read on bucket\nallow anyone to sing on bucket\n\ndeny",
        &["2:7: expected `role`", "4:17: unknown action `sing`", "6:5: expected `role`"],
    );
}

#[test]
fn everything_is_bounded() {
    let deep = |depth: usize| {
        format!("pdl 1 allow anyone to read on bucket when {}mfa{}", "(".repeat(depth), ")".repeat(depth))
    };
    assert!(parse(&deep(DEPTH_MAX)).is_ok());
    assert_eq!(parse(&deep(DEPTH_MAX + 1)).unwrap_err().0[0].problem, Problem::TooDeep);
    assert!(parse(&deep(100_000)).is_err(), "deep nesting needs no stack");
    let not = format!("pdl 1 allow anyone to read on bucket when {} mfa", "not ".repeat(100_000));
    assert_eq!(parse(&not).unwrap_err().0[0].problem, Problem::TooDeep);
    let many = format!("pdl 1 allow {} to read on bucket", vec!["anyone"; PARTS_MAX + 1].join(","));
    assert_eq!(parse(&many).unwrap_err().0[0].problem, Problem::TooManyParts);
    assert_eq!(parse(&" ".repeat(BYTES_MAX + 1)).unwrap_err().0[0].problem, Problem::TooLong);
    let long = format!("pdl 1 allow user \"{}\" to read on bucket", "x".repeat(TEXT_MAX + 1));
    assert_eq!(parse(&long).unwrap_err().0[0].problem, Problem::LongText);
    let statements = "deny anyone to read on bucket\n".repeat(STATEMENTS_MAX + 1);
    assert_eq!(parse(&format!("pdl 1\n{statements}")).unwrap_err().0[0].problem, Problem::TooManyStatements);
    // Wrong everywhere, on one line: told quickly, and a few times only.
    let wrong = format!("pdl 1 {}", "allow ".repeat(80_000));
    assert_eq!(parse(&wrong).unwrap_err().0.len(), ERRORS_MAX);
}

#[test]
fn there_is_one_way_to_write_a_document() {
    let text = "# who may see scans\npdl   1  # the first version\nallow role analyst,user \"alice b\" to read,\n list on\tbucket \
                \"ct-scans/*\" # scans\n   when (mfa and time in 08:00..18:00 Europe/Madrid) or (not tls)\n\n\n\n\n# never\n\
                deny anyone to do anything on anything unless owner or role admin or address in 10.0.0.0/8,::1 # mine\n# the end";
    let formatted = format(&document(text));
    assert_eq!(format(&document(&formatted)), formatted);
    assert!(
        formatted.contains("    when (mfa and time in 08:00..18:00 Europe/Madrid) or not tls\n"),
        "{formatted}"
    );
    for comment in
        ["# who may see scans", "# the first version", "# scans", "# never", " # mine\n", "# the end"]
    {
        assert_eq!(formatted.matches(comment).count(), 1, "{comment} in {formatted}");
    }
}

#[test]
fn what_is_hardly_meant_is_told() {
    let check = |statements: &str, expected: &[&str]| {
        let found = check(&document(&format!("pdl 1\n{statements}")));
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{statements}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{statements}: {found}");
        }
    };
    check("allow role a to read on bucket", &[]);
    check(
        "allow role a to read on bucket when mfa and not mfa",
        &["2:1: warning: the statement has no effect: its conditions"],
    );
    check("allow role a to read on bucket when mfa unless mfa or tls", &["contradict"]);
    check("allow role a to read on bucket when after 2027-01-01 and before 2026-01-01", &["contradict"]);
    check("allow role a to read on bucket unless anyone", &["contradict"]);
    check(
        "allow role a to read on bucket\ndeny authenticated to view on anything",
        &["the one at 3:1 denies all"],
    );
    check(
        "allow role a to read on bucket\ndeny role a to read on bucket \"x\"",
        &["note: the one at 3:1 denies a part"],
    );
    check("allow role a to read on bucket\ndeny anyone to read on bucket when tls", &["denies a part"]);
    check(
        "allow role a to read on bucket \"a*\"\nallow role a to view on bucket",
        &["2:1: warning: the statement is not needed"],
    );
    check(
        "deny role a to read on bucket\ndeny role a to read on bucket",
        &["3:1: warning: the statement is not needed"],
    );
    check("allow role a to read on object \"b/x\"\ndeny role a to read on object \"c/*\"", &[]);
    check(
        "allow role a to read on bucket \"b/*\"\ndeny anyone to read on object \"b/*\"",
        &["denies a part"],
    );
    check("allow role a to invoke on bucket", &["nobody can invoke"]);
    check("allow anyone to write on object \"drop/*\"", &["it allows create to everybody"]);
}

#[test]
fn a_diff_says_who_gains_and_who_loses() {
    let old = document(
        "pdl 1\nallow role analyst to read on bucket \"ct/*\"\nallow user eve to delete on function\nallow role intern to read on function",
    );
    let new = document(
        "pdl 1\nallow role analyst to read, list on bucket \"ct/*\" when mfa and time in 08:00..18:00\n\
         allow role intern to read on function\nallow anyone to read on object \"public/*\"",
    );
    let diff = diff::diff(&old, &new);
    assert!(!diff.is_sampled);
    let said: Vec<String> = diff
        .changes
        .iter()
        .map(|change| {
            let verb = if change.gains { "gains" } else { "loses" };
            format!("{} {verb} {} on {} {:?}", change.who, change.action, change.what, change.when)
        })
        .collect();
    let has = |beginning: &str| said.iter().any(|line| line.starts_with(beginning));
    assert!(has("user eve loses delete on function (any other) []"), "{said:#?}");
    assert!(has("anyone gains read on object \"public/*\" []"), "{said:#?}");
    assert!(has("role analyst gains list on bucket \"ct\" [\"mfa\", \"at "), "{said:#?}");
    assert!(
        has("role analyst loses read on object \"ct/*\" [\"no mfa\"]")
            || has("role analyst loses read on object \"ct/*\" [\"at "),
        "{said:#?}"
    );
    assert!(
        !said.iter().any(|line| line.starts_with("role intern") && line.contains("function")),
        "{said:#?}"
    );
    assert_eq!(diff::diff(&new, &new).changes, []);
}

#[test]
fn policies_of_the_earlier_service_are_taken_over() {
    let text = r#"[{"policy_id": "p1", "description": "Doctors in the day", "effect": "permit", "events": [
        {"event_id": "e1", "subject": {"attribute": "role", "value": "doctor"}, "asset": {"attribute": "bucket", "value": "ct/*"},
         "space": {"attribute": "ip", "value": "10.0.0.0/8"}, "time": {"attribute": "hours", "value": "08:00-18:00"},
         "action": {"attribute": "action", "value": "read"}},
        {"event_id": "e2", "subject": {"attribute": "department", "value": "radiology"}, "asset": {"attribute": "sensitivity", "value": "low"},
         "space": {"attribute": "building", "value": "B"}, "time": {"attribute": "any", "value": "*"}, "action": {"attribute": "a", "value": "write"}}]},
        {"policy_id": "p2", "description": "", "effect": "deny", "events": [
        {"event_id": "", "subject": {"attribute": "user", "value": "eve"}, "asset": {"attribute": "any", "value": "*"},
         "action": {"attribute": "a", "value": "*"}}]}]"#;
    let expected = "pdl 1\n\n# p1\n# Doctors in the day\n\
        allow role doctor to read on bucket \"ct/*\" when address in 10.0.0.0/8 and time in 08:00..18:00 # e1\n\
        allow authenticated to write on anything\n    \
        when subject.department = \"radiology\" and label.sensitivity = \"low\" and request.building = \"B\" # e2\n\n\
        # p2\ndeny user eve to do anything on anything\n";
    assert_eq!(format(&import::abac_json(text).unwrap()), expected);
    let wrong = text.replace("08:00-18:00", "in the morning");
    assert!(
        import::abac_json(&wrong)
            .unwrap_err()
            .to_string()
            .contains("event `e1`: time `hours` = `in the morning`")
    );
    assert!(import::abac_json("{}").is_err());
}

/// The documents of `examples/policies`, with their expected decisions.
#[test]
fn the_policies_of_the_examples_decide_as_they_say() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
    let mut documents = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "pdl") {
            continue;
        }
        documents += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        let document = document(&text);
        assert_eq!(format(&document), text, "{} is written otherwise", path.display());
        let warnings: Vec<Finding> = check(&document).into_iter().filter(Finding::is_warning).collect();
        assert_eq!(warnings, [], "{}", path.display());
        let cases = std::fs::read_to_string(path.with_extension("cases")).unwrap();
        let compiled = Compiled::new(&[("", &document)]);
        for case in CaseFile::parse(&cases).unwrap().cases {
            let verdict = compiled.judge(&case.request());
            assert!(case.expects(&verdict), "{}: {}: {verdict:?}", path.display(), case.text);
        }
    }
    assert_eq!(documents, 4);
}
