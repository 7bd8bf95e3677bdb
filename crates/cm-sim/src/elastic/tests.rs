use std::time::Duration;

use super::*;

fn small() -> Setting {
    Setting { peers: 5, objects: 200, ..Setting::default() }
}

fn run(popularity: Popularity, load: f64, strategy: Strategy) -> Outcome {
    let trace = Trace { name: "test", popularity, load, secs: 240.0 };
    World::new(small(), &trace, strategy, 3).run()
}

fn crowd(strategy: Strategy) -> Outcome {
    let crowd = Popularity::FlashCrowd { s: 0.8, from_secs: 60.0, until_secs: 120.0, strength: 0.8 };
    run(crowd, 0.3, strategy)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for strategy in Strategy::ALL {
        assert_eq!(crowd(strategy), crowd(strategy));
    }
}

#[test]
fn without_load_a_read_takes_what_its_bytes_take() {
    let setting = small();
    let least = setting.overhead.as_secs_f64() + setting.bytes.0 as f64 / setting.bytes_per_sec;
    let most = setting.overhead.as_secs_f64() + setting.bytes.1 as f64 / setting.bytes_per_sec;
    let idle = run(Popularity::Zipf { s: 1.0 }, 0.001, Strategy::Fixed);
    assert!(idle.p50_ms >= least * 1000.0 && idle.p99_ms <= most * 1000.0 + 0.001, "{idle:?}");
    assert!(idle.reads > 5 && idle.bytes_moved == 0);
}

#[test]
fn the_load_is_what_was_asked_for() {
    // With as many copies as there are peers the load is divided equally, but for chance.
    let trace = Trace { name: "test", popularity: Popularity::Zipf { s: 0.5 }, load: 0.4, secs: 240.0 };
    let setting = Setting { placed: 5, ..small() };
    let outcome = World::new(setting, &trace, Strategy::Fixed, 3).run();
    assert!((0.37..0.45).contains(&outcome.busiest), "{outcome:?}");
}

#[test]
fn copies_go_where_a_crowd_comes_and_go_again() {
    let (fixed, mean, elastic) =
        (crowd(Strategy::Fixed), crowd(Strategy::MeanTemperature), crowd(Strategy::Elastic));
    assert_eq!((fixed.copies, fixed.bytes_moved), (0, 0));
    assert!(mean.copies > 0 && mean.copies <= 24 && mean.drops == 0, "one in ten seconds: {mean:?}");
    assert!(elastic.p99_ms < mean.p99_ms && mean.p99_ms < fixed.p99_ms, "{elastic:?} {mean:?} {fixed:?}");
    assert!(elastic.copies > 0 && elastic.drops > 0, "{elastic:?}");
    assert_eq!(fixed.reads, elastic.reads, "all reads are answered, whatever it takes");
    // What may be copied in a second bounds what is copied in all.
    assert!(elastic.bytes_moved <= 32_000_000 * Duration::from_secs(240).as_secs() + (4 << 20));
}

#[test]
fn the_plot_has_a_line_for_each_run() {
    let drawn = plot(&[("one", vec![crowd(Strategy::Fixed), crowd(Strategy::Elastic)])]);
    assert_eq!(drawn.matches("<polyline").count(), 2);
    assert!(drawn.contains("elastic") && !drawn.contains("NaN") && !drawn.contains("inf"));
}
