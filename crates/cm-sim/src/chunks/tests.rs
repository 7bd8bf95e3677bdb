use super::*;

/// Schedules of a usual test run; `CRYPTOMESH_SIM_SCHEDULES` says otherwise.
const SCHEDULES: u64 = 24;
/// The first seed; `CRYPTOMESH_SIM_SEED` says otherwise.
const FIRST_SEED: u64 = 1;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn random_faults_lose_no_chunk_and_leave_none() {
    let first = setting("CRYPTOMESH_SIM_SEED", FIRST_SEED);
    let schedules = setting("CRYPTOMESH_SIM_SCHEDULES", SCHEDULES);
    for coded in [false, true] {
        let mut sum = Report::default();
        for seed in first..first + schedules {
            let report = match run(seed, &Options { coded, ..Options::default() }) {
                Ok(report) => report,
                Err(violation) => panic!(
                    "coded {coded}: {violation}; again with CRYPTOMESH_SIM_SEED={seed} CRYPTOMESH_SIM_SCHEDULES=1"
                ),
            };
            sum.events += report.events;
            sum.puts += report.puts;
            sum.reused += report.reused;
            sum.refused += report.refused;
            sum.renewed += report.renewed;
            sum.condemned += report.condemned;
            sum.deleted += report.deleted;
            sum.spared += report.spared;
            sum.dropped += report.dropped;
            sum.mended += report.mended;
            sum.crashes += report.crashes;
            sum.epochs += report.epochs;
        }
        println!("{schedules} schedules from seed {first}, coded {coded}: {sum:?}");
        if schedules >= SCHEDULES {
            // Otherwise it would show nothing.
            assert!(sum.puts > schedules * 20 && sum.reused > schedules && sum.crashes > schedules / 2);
            assert!(sum.renewed > 0 && sum.spared > schedules && sum.condemned > schedules);
            assert!(sum.dropped > schedules && sum.mended > schedules && sum.epochs > schedules / 2);
        }
    }
}

/// Some schedule within the first ones finds it out.
fn is_found_out(options: Options) {
    let found = (1..=SCHEDULES).find_map(|seed| run(seed, &options).err());
    let violation = found.expect("nobody noticed");
    assert!(violation.what.contains("not safe"), "{violation}");
}

#[test]
fn counting_what_was_condemned_is_found_out() {
    is_found_out(Options { unfenced: true, ..Options::default() });
}

#[test]
fn promises_that_are_forgotten_are_found_out() {
    is_found_out(Options { forgetful: true, ..Options::default() });
}

#[test]
fn a_seed_decides_everything() {
    let options = Options { coded: true, duration: Duration::from_secs(3), ..Options::default() };
    assert_eq!(run(7, &options), run(7, &options));
}
