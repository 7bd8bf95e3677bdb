//! The API beside the same SQL alone and a bare handler.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::check::{self, check};
use crate::fill::Filled;
use cm_e2e::measure::{Request, Run, Runs, Server, ask, ask_for, progress};

use crate::options::Options;
use crate::place::{Engine, LOG_LEVEL_DEFAULT, Place, copy, postgres};
use crate::statements::Transaction;
use crate::table::{compared, legend, row, table};
use crate::{CALLERS, Outcome, postgres_alone, sqlite_alone};
use cm_e2e::measure::Usage;

/// Records of the catalogue.
const RECORDS: u64 = 10_000;
/// The part of what the same SQL alone does that the API shall do.
const AIM: f64 = 0.60;

/// Measures and prints the group.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let mut filled = Filled::new()?;
    filled.fill_to(RECORDS)?;
    let bare = Bare::start()?;
    for engine in options.engines() {
        check(&filled, engine)?;
        progress(&format!("{}: the recorded statements are those that the node issues", engine.name()));
        measure(options, &filled, engine, &bare)?;
    }
    Ok(())
}

fn measure(options: &Options, filled: &Filled, engine: Engine, bare: &Bare) -> Outcome<()> {
    let server = (engine == Engine::Postgres).then(postgres);
    let root = filled.root().join(format!("compare-{}", engine.name()));
    let place = Place::serve(filled, root.clone(), engine, server.as_ref(), LOG_LEVEL_DEFAULT)?;
    let node = place.server()?;
    let mut alone = match &server {
        None => {
            let copied: PathBuf = root.join("alone.db");
            copy(&filled.data_dir().join(cm_kernel::kernel::DATABASE_FILE), &copied)?;
            Alone::Sqlite(sqlite_alone::Alone::open(&copied, &node.token)?)
        }
        Some(server) => Alone::Postgres(postgres_alone::Alone::open(filled.copy_to(server)?, &node.token)?),
    };
    let title = format!(
        "{}, {RECORDS} records, {CALLERS} connections: {} rounds of {:.1} s",
        engine.name(),
        options.rounds,
        options.window().as_secs_f64()
    );
    let mut report = table(&title);
    for operation in check::OPERATIONS {
        progress(&format!("{}: {}", engine.name(), operation.name()));
        let body = ask(&node, &operation.request(&place, 0))?.body.len();
        let idle = Server { address: bare.address(), pid: bare.pid(), token: node.token.clone() };
        let transactions = operation.transactions(engine);
        let (mut api, mut sql, mut nothing) = (Runs::default(), Runs::default(), Runs::default());
        // The first round finds caches cold and statements not prepared.
        for round in 0..=options.rounds {
            let window = if round == 0 { options.window() / 4 } else { options.window() };
            let runs = [
                ask_for(&node, CALLERS, window, |n| operation.request(&place, n))?,
                alone.measure(&place, &transactions, window)?,
                ask_for(&idle, CALLERS, window, |n| bare_request(operation.request(&place, n), body))?,
            ];
            if round > 0 {
                let [a, s, b] = runs;
                api.push(a);
                sql.push(s);
                nothing.push(b);
            }
        }
        let name = operation.name();
        report.line(compared(&format!("{name}: the API"), &api, &sql, "the SQL alone"));
        report.line(row("  the same SQL alone", &sql));
        report.line(row(&format!("  a bare handler, {body} bytes"), &nothing));
        let of_bare = api.ratio(&nothing, |run| run.rate);
        report.line(format!("  the API does {of_bare:.2} of what the bare handler does"));
        let ratio = api.ratio(&sql, |run| run.rate);
        let aim = format!("{name} at {:.0} % of the same SQL alone", AIM * 100.0);
        report.aim(&aim, format!("{:.0} %", ratio * 100.0), ratio >= AIM);
    }
    alone.close()?;
    legend(&mut report);
    report.print()?;
    drop(place);
    Ok(std::fs::remove_dir_all(root)?)
}

/// The same request for a server that answers so many bytes.
fn bare_request(request: Request, bytes: usize) -> Request {
    Request { path: format!("/{bytes}"), status: 200, ..request }
}

/// The same SQL alone, in one of the databases.
enum Alone {
    Sqlite(sqlite_alone::Alone),
    Postgres(postgres_alone::Alone),
}

impl Alone {
    fn measure(&mut self, place: &Place, transactions: &[Transaction], window: Duration) -> Outcome<Run> {
        match self {
            Alone::Sqlite(alone) => together(alone.callers(), place.records, window, |caller, record| {
                caller.request(transactions, record)
            }),
            Alone::Postgres(alone) => together(alone.callers(), place.records, window, |caller, record| {
                caller.request(transactions, record)
            }),
        }
    }

    fn close(self) -> Outcome<()> {
        match self {
            Alone::Sqlite(alone) => alone.close(),
            Alone::Postgres(alone) => alone.close(),
        }
    }
}

/// Lets every caller ask in a thread of its own for some time.
fn together<C: Send>(
    callers: &mut [C],
    records: u64,
    window: Duration,
    request: impl Fn(&mut C, u64) -> Outcome<()> + Sync,
) -> Outcome<Run> {
    let before = Usage::of(std::process::id());
    let began = Instant::now();
    let request = &request;
    let waits = std::thread::scope(|scope| {
        let running: Vec<_> = callers
            .iter_mut()
            .enumerate()
            .map(|(at, caller)| {
                scope.spawn(move || {
                    let mut waits = Vec::with_capacity(4096);
                    let mut n = at as u64;
                    while began.elapsed() < window {
                        let asked = Instant::now();
                        request(caller, crate::place::some_of(records, n))?;
                        waits.push(asked.elapsed());
                        n += CALLERS as u64;
                    }
                    Outcome::Ok(waits)
                })
            })
            .collect();
        let mut waits = Vec::new();
        for caller in running {
            waits.extend(caller.join().map_err(|_| "a caller panicked")??);
        }
        Outcome::Ok(waits)
    })?;
    let mut run = Run::of(waits, began.elapsed());
    (run.server, run.machine) = Usage::of(std::process::id()).since(before);
    Ok(run)
}
