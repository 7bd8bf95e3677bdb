use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = r#"apac: v1
available-resources:
  edge: [peer-1, peer-2]
  core:
    - peer-3
who: [core]
what: [scans, reports.2024/summary.pdf, "logs.app-*"]
where: [edge, core.peer-3]
how: ACTIVE
when:
  - popular: $GET_COUNTER > 10 & $ACCESS_FREQUENCY > 60.6%
  - new: $GET_COUNTER == 0
"#;

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

fn demands(policy: &Policy, bucket: &str, key: &str, holder: &str, gets: u64, percent: f64) -> Vec<String> {
    let readings = Readings { gets, access_percent: percent };
    let (bucket, key) = (bucket.parse().unwrap(), key.parse().unwrap());
    policy.demands(&bucket, &key, &[id(holder)], &readings).map(ToString::to_string).collect()
}

#[test]
fn a_policy_says_about_which_buckets_it_is() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let about = |bucket: &str| policy.is_about(&bucket.parse().unwrap());
    assert!(about("scans") && about("reports") && about("logs") && about("logs.app-1"));
    assert!(!about("scan") && !about("report") && !about("films"));
}

#[test]
fn a_policy_is_followed_when_its_condition_holds() {
    let policy = Policy::parse(EXAMPLE).unwrap();
    let all = ["peer-1", "peer-2", "peer-3"];
    assert_eq!(demands(&policy, "scans", "a", "peer-3", 11, 61.0), all);
    assert_eq!(demands(&policy, "scans", "a", "peer-3", 0, 0.0), all);
    assert!(demands(&policy, "scans", "a", "peer-3", 11, 60.0).is_empty(), "neither condition holds");
    assert!(demands(&policy, "scans", "a", "peer-9", 11, 61.0).is_empty(), "nobody of `who` holds it");
    assert_eq!(demands(&policy, "reports", "2024/summary.pdf", "peer-3", 0, 0.0), all);
    assert!(demands(&policy, "reports", "2024/other.pdf", "peer-3", 0, 0.0).is_empty());
    assert_eq!(demands(&policy, "logs", "app-7", "peer-3", 0, 0.0), all);
    assert!(demands(&policy, "logs", "db-7", "peer-3", 0, 0.0).is_empty());
    assert!(demands(&policy, "scan", "a", "peer-3", 0, 0.0).is_empty());
    assert_eq!(policy.conditions()[1].0, "new");
}

#[test]
fn what_is_left_out_restricts_nothing() {
    let text = "apac: v1\navailable-resources: {pool: [a, b]}\nwhat: bucket-*\nwhere: pool.b\n";
    let policy = Policy::parse(text).unwrap();
    assert_eq!(demands(&policy, "bucket-1", "k", "z", 0, 0.0), ["b"]);
    assert!(demands(&policy, "bucket", "k", "z", 0, 0.0).is_empty());
}

#[test]
fn mistakes_are_found_where_they_are() {
    let check = |from: &str, to: &str, line: usize, column: usize, part: &str| {
        assert!(EXAMPLE.contains(from), "{from}");
        let problem = Policy::parse(&EXAMPLE.replacen(from, to, 1)).expect_err(to);
        let found = (problem.at.line, problem.at.column);
        assert_eq!(found, (line, column), "{to}: {problem}");
        assert!(problem.to_string().contains(part), "{to}: {problem}");
    };
    check("apac: v1", "apac: v2", 1, 7, "v1");
    check("apac: v1", "what2: x", 1, 1, "not understood");
    check("how: ACTIVE", "how: PASSIVE", 9, 6, "not supported");
    check("how: ACTIVE", "how: ACTIVE\nhow: ACTIVE", 10, 1, "second time");
    check("where: [edge", "where: [sky", 8, 9, "available-resources");
    check("core.peer-3", "core.peer-1", 8, 15, "available-resources");
    check("[peer-1", "[\"p 1\"", 3, 11, "no peer");
    check("what: [scans", "what: [\"*\"", 7, 9, "names no objects");
    check("where: [edge, core.peer-3]\n", "", 1, 1, "`where` is missing");
    check("$GET_COUNTER == 0", "$GET_COUNTER = 0", 12, 23, "one of");
    check("$GET_COUNTER == 0", "\"$GET_COUNTER == x\"", 12, 27, "a number");
    check("60.6%", "606%", 11, 54, "100");
    check("- new: $GET_COUNTER == 0", "- new", 12, 5, "NAME: CONDITION");
    check("edge: [peer-1", "edge: &x [peer-1", 3, 12, "anchors");
    check("apac: v1", "apac: !!str v1", 1, 13, "tags");
}

#[test]
fn texts_that_grow_out_of_bounds_are_refused() {
    let reason = |text: &str| Policy::parse(text).map_err(|problem| problem.reason);
    assert_eq!(reason(&"x".repeat(TEXT_LEN_MAX + 1)), Err(Reason::TooMuch));
    assert!(reason(&"[".repeat(1000)).is_err());
    let many = format!("apac: v1\nwhat: [{}]\nwhere: x", "a,".repeat(20_000));
    assert_eq!(reason(&many), Err(Reason::TooMuch));
    assert!(reason("what: [").is_err());
    assert!(reason("").is_err() && reason("--- a\n--- b\n").is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn changed_examples_are_read_or_refused(at in any::<prop::sample::Index>(), with in "[\\[\\]{}:,&*!|>'\"%#\n a-z-]{0,6}") {
        let mut text = EXAMPLE.to_owned();
        let at = at.index(text.len());
        text.replace_range(at..(at + 3).min(text.len()), &with);
        let _ = Policy::parse(&text);
    }
}
