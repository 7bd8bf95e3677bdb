use super::*;

const NOW: i64 = 1_700_000_000_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_micros(NOW + secs * 1_000_000)
}

fn from(last: u8) -> Source {
    Source::of([192, 0, 2, last].into())
}

fn secs(wait: Option<Duration>) -> u64 {
    wait.map_or(0, |wait| wait.as_secs())
}

#[test]
fn the_fifth_failure_locks_and_each_further_one_doubles() {
    let mut attempts = Attempts::default();
    attempts.succeed(&from(1), at(0));
    let mut lock_secs = Vec::new();
    for _ in 0..13 {
        attempts.fail(&from(1), at(0));
        lock_secs.push(secs(attempts.locked_for(&from(1), at(0))));
    }
    assert_eq!(lock_secs, [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900]);
}

#[test]
fn a_lock_ends_and_is_never_prolonged_by_a_clock_set_back() {
    let mut attempts = Attempts::default();
    (0..5).for_each(|_| attempts.fail(&from(1), at(0)));
    assert_eq!(secs(attempts.locked_for(&from(1), at(29))), 1);
    assert_eq!(attempts.locked_for(&from(1), at(30)), None);
    assert_eq!(attempts.locked_for(&from(1), at(-86_400)), Some(LOCK_MAX));
}

#[test]
fn a_great_many_failures_do_not_overflow() {
    let mut attempts = Attempts::default();
    attempts.fail(&from(1), at(0));
    attempts.failures[0].count = u32::MAX;
    attempts.fail(&from(1), at(0));
    assert_eq!(attempts.locked_for(&from(1), at(0)), Some(LOCK_MAX));
}

#[test]
fn one_source_does_not_lock_another() {
    let mut attempts = Attempts::default();
    (0..5).for_each(|_| attempts.fail(&from(1), at(0)));
    assert!(attempts.locked_for(&from(1), at(0)).is_some());
    assert_eq!(attempts.locked_for(&from(2), at(0)), None);
}

#[test]
fn strangers_share_an_allowance_that_known_sources_do_not_need() {
    let mut attempts = Attempts::default();
    attempts.succeed(&from(200), at(0));
    let mut judged = 0;
    for source in 0..100 {
        for _ in 0..3 {
            if attempts.locked_for(&from(source), at(1)).is_none() {
                attempts.fail(&from(source), at(1));
                judged += 1;
            }
        }
    }
    assert_eq!(judged, STRANGERS_BURST);
    assert_eq!(secs(attempts.locked_for(&from(150), at(1))), 30, "a stranger waits");
    assert_eq!(attempts.locked_for(&from(150), at(31)), None, "but not for ever");
    assert_eq!(attempts.locked_for(&from(200), at(1)), None, "who was here before does not");
    let long_after = at(KNOWN_FOR.as_secs() as i64 + 1);
    assert!(!attempts.knows(&from(200), long_after));
}

#[test]
fn an_attack_for_a_year_never_keeps_the_owner_out() {
    let mut attempts = Attempts::default();
    let home = from(250);
    attempts.succeed(&home, at(0));
    let mut guesses = 0u64;
    for minute in 0..(365 * 24 * 60) {
        let now = at(minute * 60);
        for source in 0..4 {
            let source = from((minute % 60) as u8 * 4 + source);
            if source != home && attempts.locked_for(&source, now).is_none() {
                attempts.fail(&source, now);
                guesses += 1;
            }
        }
        if minute % (24 * 60) == 0 {
            assert_eq!(attempts.locked_for(&home, now), None, "day {}", minute / 1440);
            attempts.succeed(&home, now);
        }
    }
    assert!(guesses <= 365 * 2880 + u64::from(STRANGERS_BURST), "{guesses}");
    assert!(attempts.failures.len() <= SOURCES_MAX);
}

#[test]
fn few_sources_are_remembered() {
    let mut attempts = Attempts::default();
    for number in 0..1000u32 {
        let source = Source::of(std::net::Ipv4Addr::from(number).into());
        attempts.fail(&source, at(i64::from(number)));
        attempts.succeed(&source, at(i64::from(number)));
        attempts.fail(&source, at(i64::from(number)));
    }
    assert_eq!((attempts.failures.len(), attempts.known.len()), (SOURCES_MAX, KNOWN_MAX));
}

#[test]
fn networks_of_ipv6_are_one_source() {
    let of = |text: &str| Source::of(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2::bbbb"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
}

#[test]
fn spraying_is_bounded_and_the_bound_is_bounded() {
    let mut sprays = Sprays::default();
    for _ in 0..SPRAY_BURST {
        assert_eq!(sprays.wait(&from(1), at(0)), None);
        sprays.fail(&from(1), at(0));
    }
    assert_eq!(sprays.wait(&from(1), at(0)), Some(SPRAY_REFILL));
    assert_eq!(sprays.wait(&from(2), at(0)), None);
    for number in 0..(2 * SPRAYS_MAX as u32) {
        sprays.fail(&Source::of(std::net::Ipv4Addr::from(number).into()), at(0));
    }
    assert!(sprays.0.len() <= SPRAYS_MAX);
}

#[test]
fn unknown_names_are_counted_within_bounds() {
    let mut names = UnknownNames::default();
    let name =
        |number: usize| (TenantId::default_tenant(), PrincipalId::parse(format!("ghost-{number}")).unwrap());
    for _ in 0..5 {
        names.fail(name(0), &from(1), at(0));
    }
    assert!(names.get(&name(0)).locked_for(&from(1), at(0)).is_some());
    for number in 1..=UNKNOWN_NAMES_MAX {
        names.fail(name(number), &from(1), at(0));
    }
    assert_eq!(names.attempts.len(), UNKNOWN_NAMES_MAX);
    assert_eq!(names.oldest_first.len(), UNKNOWN_NAMES_MAX);
    assert_eq!(names.get(&name(0)), Attempts::default());
    assert_eq!(names.get(&name(UNKNOWN_NAMES_MAX)).count(&from(1)), 1);
}

#[test]
fn events_about_unknown_names_are_few() {
    let mut names = UnknownNames::default();
    assert!(names.event_due(at(0)));
    assert!(!names.event_due(at(0)));
    assert!(names.event_due(at(1)));
    assert!(names.event_due(at(-5)), "a clock set back does not silence them");
}

#[test]
fn rows_of_the_first_version_are_read() {
    let old = br#"{"count":7,"locked_until":null}"#;
    assert_eq!(Attempts::decode_old(1, old).unwrap(), Attempts::default());
    let locked = format!(r#"{{"count":7,"locked_until":{}}}"#, serde_json::to_string(&at(60)).unwrap());
    let attempts = Attempts::decode_old(1, locked.as_bytes()).unwrap();
    assert_eq!(attempts.locked_for(&from(1), at(0)), None, "the lock of an account is no more");
    assert!(Attempts::decode_old(0, old).is_err());
}
