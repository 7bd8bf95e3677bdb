//! PUT and GET, by everybody in turns.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::contenders::{Contender, Running};
use crate::content::Content;
use crate::options::{Options, size_text};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::{Report, Run, Runs, Usage, memory_peak, progress};

use crate::table::{aim, legend, row, table};

/// Objects from this size on are large ones, bound by bytes and not by requests.
const LARGE_BYTES: usize = 64 << 20;
/// Objects up to this size are small ones, bound by requests.
const SMALL_BYTES: usize = 4 << 10;
/// The part of what the disk, and loopback, does that large objects shall have.
const AIM_LARGE: f64 = 0.70;
/// The most by which the peak of memory may differ between sizes of objects and still be called flat.
const AIM_FLAT: f64 = 0.80;

/// What became of one contender at one size.
struct Found {
    contender: Contender,
    put: Runs,
    get: Runs,
}

/// The peak of memory of one contender: size, connections, MiB.
type Peaks = Vec<(Contender, usize, usize, f64)>;

/// Measures and prints the group.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    legend()?;
    let mut peaks = Peaks::new();
    for size in &options.sizes {
        for connections in &options.connections {
            measure(options, *size, *connections, &mut peaks)?;
        }
    }
    print_memory(options, &peaks)
}

fn measure(options: &Options, size: usize, connections: usize, peaks: &mut Peaks) -> Outcome<()> {
    let title = format!(
        "{}, {connections} connections: {} rounds of at least {:.1} s",
        size_text(size),
        options.rounds,
        options.window.as_secs_f64()
    );
    let (mut puts, mut gets) = (table(&format!("PUT {title}")), table(&format!("GET {title}")));
    let new = |contender| Found { contender, put: Runs::default(), get: Runs::default() };
    let mut all: Vec<Found> = Contender::all(options).into_iter().map(new).collect();
    for round in 1..=options.rounds {
        progress(&format!("{}, {connections} connections, round {round}", size_text(size)));
        for found in &mut all {
            let running = found.contender.start(options)?;
            let stored: Vec<AtomicU64> = (0..connections).map(|_| AtomicU64::new(0)).collect();
            let named = |error| format!("{}: {error}", found.contender.name());
            found.put.push(together(&running, true, size, &stored, options.window).map_err(named)?);
            found.get.push(together(&running, false, size, &stored, options.window).map_err(named)?);
        }
    }
    for found in &all {
        peaks.push((found.contender, size, connections, found.get.median(|run| run.memory)));
    }
    print_table(&mut puts, &all, size, |found| &found.put);
    print_table(&mut gets, &all, size, |found| &found.get);
    aims(&mut puts, &mut gets, &all, size);
    puts.print()?;
    gets.print()
}

fn print_table(report: &mut Report, all: &[Found], size: usize, of: impl Fn(&Found) -> &Runs) {
    for found in all {
        let others = all.iter().filter(|other| !other.contender.is_own());
        let compared: Vec<_> = match found.contender.is_own() {
            true => others
                .map(|other| format!("{:.2} of {}", rate(of(found), of(other)), short(other.contender)))
                .collect(),
            false => Vec::new(),
        };
        report.line(row(found.contender.name(), of(found), size, &compared.join(", ")));
    }
    if let (Some(signed), Some(unsigned)) = (find(all, Contender::Signed), find(all, Contender::Unsigned)) {
        let ratio = rate(of(signed), of(unsigned));
        report.line(format!("signed requests do {ratio:.2} of what unsigned ones do"));
    }
}

/// How many times the rate of the reference.
fn rate(own: &Runs, reference: &Runs) -> f64 {
    own.ratio(reference, |run| run.rate)
}

fn short(contender: Contender) -> &'static str {
    contender.name().split(", hashed").next().unwrap_or_default().trim_end_matches(", bare handler")
}

fn find(all: &[Found], contender: Contender) -> Option<&Found> {
    all.iter().find(|found| found.contender == contender)
}

fn aims(puts: &mut Report, gets: &mut Report, all: &[Found], size: usize) {
    for own in all.iter().filter(|found| matches!(found.contender, Contender::Native | Contender::Signed)) {
        let name = own.contender.name();
        if size >= LARGE_BYTES {
            if let Some(disk) = find(all, Contender::Disk) {
                aim(puts, &format!("{name}, of the disk"), rate(&own.put, &disk.put), AIM_LARGE);
            }
            if let Some(loopback) = find(all, Contender::Loopback) {
                aim(gets, &format!("{name}, of loopback"), rate(&own.get, &loopback.get), AIM_LARGE);
            }
        }
        if let (true, Some(garage)) = (size <= SMALL_BYTES, find(all, Contender::Garage { fsync: true })) {
            aim(puts, &format!("{name}, of Garage with fsync"), rate(&own.put, &garage.put), 1.0);
            aim(gets, &format!("{name}, of Garage with fsync"), rate(&own.get, &garage.get), 1.0);
        }
    }
}

/// Lets every caller ask over a connection of its own for some time, and once at least. `stored` counts what each of them
/// has stored: that is what it reads.
fn together(
    running: &Running,
    is_put: bool,
    size: usize,
    stored: &[AtomicU64],
    window: Duration,
) -> Outcome<Run> {
    let barrier = Barrier::new(stored.len() + 1);
    let (own, pid) = (std::process::id(), running.pid());
    let (waits, elapsed, before) = std::thread::scope(|scope| {
        let threads: Vec<_> = stored
            .iter()
            .enumerate()
            .map(|(caller, stored)| {
                let barrier = &barrier;
                scope.spawn(move || callers_work(running, is_put, size, (caller, stored), window, barrier))
            })
            .collect();
        barrier.wait();
        let before = (Usage::of(own), Usage::of(pid));
        let began = Instant::now();
        let mut waits = Vec::new();
        for thread in threads {
            waits.extend(thread.join().map_err(|_| "a caller panicked")??);
        }
        Outcome::Ok((waits, began.elapsed(), before))
    })?;
    let mut run = Run::of(waits, elapsed);
    (run.client, run.machine) = Usage::of(own).since(before.0);
    if pid != own {
        (run.server, _) = Usage::of(pid).since(before.1);
        run.memory = memory_peak(pid);
    }
    Ok(run)
}

fn callers_work(
    running: &Running,
    is_put: bool,
    size: usize,
    (caller, stored): (usize, &AtomicU64),
    window: Duration,
    barrier: &Barrier,
) -> Outcome<Vec<Duration>> {
    let opened = running.caller();
    barrier.wait();
    let mut connection = opened?;
    let mut waits = Vec::with_capacity(4096);
    let began = Instant::now();
    let readable = stored.load(Ordering::Relaxed).max(1);
    let mut n = 0;
    while n == 0 || began.elapsed() < window {
        let at = if is_put { n } else { n % readable };
        let content = Content { size, number: (caller as u64) << 40 | at };
        let request = connection.prepare(is_put, format!("object-{caller}-{at}"), content)?;
        let asked = Instant::now();
        connection.send(&request)?;
        waits.push(asked.elapsed());
        n += 1;
        if is_put {
            stored.store(n, Ordering::Relaxed);
        }
    }
    Ok(waits)
}

fn print_memory(options: &Options, peaks: &Peaks) -> Outcome<()> {
    let mut report = Report::new("the most memory that the server ever had, in MiB, by the size of objects");
    let sizes: String = options.sizes.iter().map(|size| format!(" {:>9}", size_text(*size))).collect();
    report.line(format!("{:<26} {:>11}{sizes}", "", "connections"));
    let (Some(smallest), Some(largest)) = (options.sizes.iter().min(), options.sizes.iter().max()) else {
        return Ok(());
    };
    let of = |contender, size, connections| {
        let found = peaks.iter().find(|peak| (peak.0, peak.1, peak.2) == (contender, size, connections));
        found.map_or(f64::NAN, |peak| peak.3)
    };
    for contender in Contender::all(options).into_iter().filter(|contender| *contender != Contender::Disk) {
        for connections in &options.connections {
            let values = options.sizes.iter().map(|size| of(contender, *size, *connections));
            let values: String = values.map(|peak| format!(" {peak:>9.1}")).collect();
            report.line(format!("{:<26} {connections:>11}{values}", contender.name()));
        }
    }
    // Small objects move one piece each, hence are no measure of what pieces under way cost.
    let middle = options.sizes.iter().filter(|size| **size >= 1 << 20).min().unwrap_or(smallest);
    for connections in options.connections.iter().filter(|_| middle < largest) {
        let ratio =
            of(Contender::Signed, *middle, *connections) / of(Contender::Signed, *largest, *connections);
        let what = format!(
            "S3, signed, {connections} connections: memory at {} of that at {}",
            size_text(*middle),
            size_text(*largest)
        );
        aim(&mut report, &what, ratio, AIM_FLAT);
    }
    report.print()
}
