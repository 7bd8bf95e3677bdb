//! The decisions of `examples.txt`.

use super::*;

const EXAMPLES: &str = include_str!("examples.txt");

#[test]
fn every_example_is_decided_as_it_says() {
    let mut examples = 0;
    let mut wrong = Vec::new();
    for section in EXAMPLES.split("\n=== ").skip(1) {
        let (title, rest) = section.split_once('\n').unwrap();
        let (policy, cases) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{title} has no cases"));
        let document = document(policy.trim_start());
        assert_eq!(format(&super::document(&format(&document))), format(&document), "{title}");
        let documents = [("example", &document)];
        let compiled = Compiled::new(&documents);
        for case in CaseFile::parse(cases).unwrap_or_else(|error| panic!("{title}: {error}")).cases {
            examples += 1;
            let verdict = compiled.judge(&case.request());
            assert_eq!(verdict, interpret(&documents, &case.request()), "{title}: {}", case.text);
            if !case.expects(&verdict) || case.decided_at.is_none() {
                wrong.push(format!("{title}: {}: {verdict:?}", case.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(examples >= 200, "only {examples} examples");
}
