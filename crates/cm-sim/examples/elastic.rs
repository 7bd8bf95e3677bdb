//! Elastic replication against the earlier system's strategy, on traces of reads: `cargo xtask bench elastic -- [SEED] [FILE.svg]`.
//!
//! Prints tables, and draws latency over time into the file if one is named.

// Tables are what it is for.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use cm_sim::elastic::{Outcome, Popularity, Setting, Strategy, Trace, World, plot, table};

const SEED: u64 = 1;
const SECS: f64 = 1800.0;
const LOAD: f64 = 0.4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let seed = arguments.next().map_or(Ok(SEED), |text| text.parse())?;
    let file = arguments.next();
    let crowd = Popularity::FlashCrowd { s: 0.8, from_secs: 600.0, until_secs: 900.0, strength: 0.5 };
    let trace = |name, popularity, load| Trace { name, popularity, load, secs: SECS };
    let traces = [
        trace("Zipf 1.0", Popularity::Zipf { s: 1.0 }, LOAD),
        trace("Zipf 1.5", Popularity::Zipf { s: 1.5 }, LOAD),
        trace("Pareto 1, at most 200", Popularity::Pareto { most: 200.0 }, LOAD),
        trace("flash crowd", crowd, LOAD),
    ];
    println!("seed {seed}, {:?}, load {LOAD}\n", Setting::default());
    let mut panels: Vec<(&str, Vec<Outcome>)> = Vec::new();
    for trace in &traces {
        let begun = Instant::now();
        let run = |strategy| World::new(Setting::default(), trace, strategy, seed).run();
        let outcomes: Vec<_> = Strategy::ALL.into_iter().map(run).collect();
        println!("{}", table(trace.name, &outcomes));
        eprintln!("{} took {:.1?}", trace.name, begun.elapsed());
        panels.push((trace.name, outcomes));
    }
    let setting = Setting { placed: 3, ..Setting::default() };
    for trace in &traces {
        let run = |strategy| World::new(setting.clone(), trace, strategy, seed).run();
        let outcomes: Vec<_> = Strategy::ALL.into_iter().map(run).collect();
        println!("{}", table(&format!("{}, three copies placed", trace.name), &outcomes));
    }
    if let Some(file) = file {
        std::fs::write(&file, plot(&panels))?;
        eprintln!("drawn into {file}");
    }
    Ok(())
}
