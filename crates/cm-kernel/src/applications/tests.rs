use super::*;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(secs * 1_000_000)
}

#[test]
fn models_read_back_from_their_records() {
    let mut scopes = Scopes::default();
    scopes.create("ops").unwrap();
    scopes.assign("alice", "Ops").unwrap();
    scopes.license("alice", "ops", at(10), (at(0), true)).unwrap();
    assert_eq!(Scopes::of(scopes.records()), scopes);
    let mut lists = Lists::default();
    lists.claim("alice", "a/b c").unwrap();
    let grantee = cm_policy::declared::grants::Grantee::User("bob".to_owned());
    let rights = [cm_policy::declared::grants::Right::Manage].into();
    lists.grant("alice", "a/b c", grantee, &rights).unwrap();
    assert_eq!(Lists::of(lists.records()), lists);
}

#[test]
fn scopes_admit_whom_they_were_given_to_until_the_licence_ends() {
    let mut scopes = Scopes::default();
    scopes.create(" ops ").unwrap();
    assert!(scopes.create("OPS").is_err() && scopes.create("a/b").is_err() && scopes.create(" ").is_err());
    assert!(!scopes.admits("alice", "ops", at(0)));
    scopes.assign("alice", "ops").unwrap();
    assert!(scopes.admits("alice", "oPs", at(0)));
    assert_eq!(scopes.license("alice", "ops", at(10), (at(0), false)).unwrap(), at(10));
    assert_eq!(scopes.license("alice", "ops", at(20), (at(0), false)).unwrap(), at(10), "not by force");
    assert!(scopes.admits("alice", "ops", at(9)) && !scopes.admits("alice", "ops", at(10)));
    assert_eq!(scopes.license("alice", "ops", at(20), (at(10), false)).unwrap(), at(20), "it was over");
    assert!(scopes.license("bob", "ops", at(20), (at(0), true)).is_err());
    scopes.unassign("alice", "ops").unwrap();
    assert!(scopes.licences.is_empty() && scopes.unassign("alice", "ops").is_err());
    assert!(scopes.assign("alice", "none").is_err() && scopes.remove("none").is_err());
    scopes.assign("alice", "ops").unwrap();
    scopes.forget("alice");
    assert!(!scopes.admits("alice", "ops", at(0)));
}

#[test]
fn a_licence_that_is_taken_away_admits_nobody() {
    let mut scopes = Scopes::default();
    scopes.create("ops").unwrap();
    scopes.assign("alice", "ops").unwrap();
    assert!(scopes.unlicense("alice", "ops", at(1)).is_err(), "there is none");
    scopes.license("alice", "ops", at(10), (at(0), true)).unwrap();
    scopes.unlicense("alice", "ops", at(5)).unwrap();
    assert!(scopes.unlicense("alice", "ops", at(5)).is_err(), "it is over");
    assert!(!scopes.admits("alice", "ops", at(5)) && !scopes.admits("alice", "ops", at(99)));
    assert_eq!(scopes.license("alice", "ops", at(20), (at(6), false)).unwrap(), at(20));
    assert!(scopes.admits("alice", "ops", at(7)));
}

#[test]
fn records_and_models_have_a_longest_length_and_may_always_get_shorter() {
    let records = |count: usize, len: usize| -> Records {
        let one = |at: usize| (("policy", format!("{at:05}")), Value::from("x".repeat(len)));
        (0..count).map(one).collect()
    };
    let nothing = Records::new();
    assert!(demand_size(&nothing, &records(1, RECORD_BYTES_MAX - 7)).is_ok());
    assert!(demand_size(&nothing, &records(1, RECORD_BYTES_MAX)).is_err());
    assert!(demand_size(&records(1, RECORD_BYTES_MAX + 1), &records(1, RECORD_BYTES_MAX)).is_ok());
    let each = 8 << 10;
    assert!(demand_size(&nothing, &records(1000, each)).is_ok());
    assert!(demand_size(&nothing, &records(1100, each)).is_err());
    assert!(demand_size(&records(1100, each), &records(1099, each)).is_ok());
}
