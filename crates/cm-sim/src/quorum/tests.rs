use super::*;

/// Schedules of a usual test run; `CRYPTOMESH_SIM_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 40;
/// The first seed; `CRYPTOMESH_SIM_SEED` says otherwise.
const FIRST_SEED: u64 = 1;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn random_faults_break_no_promise() {
    let first = setting("CRYPTOMESH_SIM_SEED", FIRST_SEED);
    let schedules = setting("CRYPTOMESH_SIM_SCHEDULES", SCHEDULES);
    let mut sum = Report::default();
    for seed in first..first + schedules {
        let report = match run(seed, &Options::default()) {
            Ok(report) => report,
            Err(violation) => {
                panic!("{violation}; again with CRYPTOMESH_SIM_SEED={seed} CRYPTOMESH_SIM_SCHEDULES=1")
            }
        };
        sum.events += report.events;
        sum.batches += report.batches;
        sum.operations += report.operations;
        sum.unknown += report.unknown;
        sum.stale += report.stale;
        sum.crashes += report.crashes;
        sum.terms += report.terms;
        sum.snapshots += report.snapshots;
        sum.changes += report.changes;
    }
    println!("{schedules} schedules from seed {first}: {sum:?}");
    if schedules >= SCHEDULES {
        // Otherwise it would show nothing.
        assert!(sum.operations > schedules * 50 && sum.crashes > schedules && sum.snapshots > schedules / 4);
        assert!(sum.unknown > 0 && sum.stale > 0 && sum.terms > schedules * 2 && sum.changes > schedules / 4);
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let options = Options::default();
    let first = run(3, &options).unwrap();
    assert_eq!(run(3, &options).unwrap(), first);
    assert_ne!(run(4, &options).unwrap().trace, first.trace);
}

/// The first violation among the seeds from one on that is one of those expected; any other one fails.
fn finds(options: &Options, first: u64, expected: impl Fn(&Violation) -> bool) -> bool {
    (first..400).any(|seed| match run(seed, options) {
        Ok(_) => false,
        Err(violation) if expected(&violation) => true,
        Err(violation) => panic!("seed {seed}: another rule was broken: {violation}"),
    })
}

#[test]
fn disks_that_forget_are_found_out() {
    let options = Options { forgetful_disks: true, ..Options::default() };
    // What was promised is missed by whoever meets it: the log, a copy, a client, or a leader who believes that a member has it.
    let lost = |violation: &Violation| {
        matches!(
            violation,
            Violation::Contradiction { .. }
                | Violation::TwoLeaders { .. }
                | Violation::Copies { .. }
                | Violation::NotLinearizable { .. }
                | Violation::NotAvailable { .. }
        )
    };
    // The run of the seventh seed shows it, too, but only after a minute in which its cluster tries to heal.
    assert!(finds(&options, 8, lost), "no run noticed that answered writes were lost");
}

#[test]
fn effects_of_what_was_computed_in_vain_are_found_out() {
    let options = Options { unfenced: true, ..Options::default() };
    let seen = |violation: &Violation| matches!(violation, Violation::NotLinearizable { .. });
    assert!(finds(&options, 1, seen), "no run noticed that entries had effects that they must not have");
}
