//! What the API costs as the catalogue grows: one node for each size, measured in turns.

use crate::CALLERS;
use crate::fill::Filled;
use cm_e2e::measure::{Outcome, Runs, ask_for, progress};

use crate::options::Options;
use crate::place::{Engine, LOG_LEVEL_DEFAULT, Place, postgres};
use crate::statements::Operation;
use crate::table::{compared, legend, table};

/// The longest that 99 of 100 requests may take with the largest catalogue, in milliseconds.
const P99_MS_MAX: f64 = 20.0;
/// How many times as long a page of the largest catalogue may take as one of the smallest.
const FLAT: f64 = 1.5;

const OPERATIONS: [Operation; 5] =
    [Operation::Post, Operation::Get, Operation::Put, Operation::List, Operation::ListMiddle];

/// Measures and prints the group.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let mut filled = Filled::new()?;
    let servers: Vec<_> = options
        .engines()
        .into_iter()
        .map(|engine| (engine, (engine == Engine::Postgres).then(postgres)))
        .collect();
    let mut places: Vec<Vec<Place>> = servers.iter().map(|_| Vec::new()).collect();
    for size in options.sizes() {
        filled.fill_to(size)?;
        for ((engine, server), places) in servers.iter().zip(&mut places) {
            let root = filled.root().join(format!("{}-{size}", engine.name()));
            let mut place = Place::serve(&filled, root, *engine, server.as_ref(), LOG_LEVEL_DEFAULT)?;
            place.find_middle()?;
            progress(&format!("{} with {size} records is served", engine.name()));
            places.push(place);
        }
    }
    for places in &places {
        measure(options, places)?;
    }
    Ok(())
}

fn measure(options: &Options, places: &[Place]) -> Outcome<()> {
    let (Some(smallest), Some(largest)) = (places.first(), places.last()) else { return Ok(()) };
    let engine = smallest.engine.name();
    let mut report = table(&format!("{engine}, as the catalogue grows: {} rounds", options.rounds));
    for operation in OPERATIONS {
        progress(&format!("{engine}: {}", operation.name()));
        let mut runs: Vec<Runs> = places.iter().map(|_| Runs::default()).collect();
        // The first round finds caches cold.
        for round in 0..=options.rounds {
            for (place, runs) in places.iter().zip(&mut runs) {
                let window = if round == 0 { options.window() / 4 } else { options.window() };
                let run = ask_for(&place.server()?, CALLERS, window, |n| operation.request(place, n))?;
                if round > 0 {
                    runs.push(run);
                }
            }
        }
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else { continue };
        for (place, runs) in places.iter().zip(&runs) {
            let label = format!("{}, {} records", operation.name(), place.records);
            report.line(compared(&label, runs, first, &format!("that with {}", smallest.records)));
        }
        let p99 = last.median(|run| run.p99);
        let aim = format!("{} p99 within {P99_MS_MAX} ms with {} records", operation.name(), largest.records);
        report.aim(&aim, format!("{p99:.1} ms"), p99 <= P99_MS_MAX);
        if matches!(operation, Operation::List | Operation::ListMiddle) {
            let slower = first.ratio(last, |run| run.rate);
            let aim = format!(
                "{} within {FLAT} times from {} to {} records",
                operation.name(),
                smallest.records,
                largest.records
            );
            report.aim(&aim, format!("{slower:.2} times"), slower <= FLAT);
        }
    }
    legend(&mut report);
    report.print()
}
