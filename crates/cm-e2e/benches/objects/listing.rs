//! All keys of a bucket of small objects, page by page.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::client::{Connection, Server};
use crate::contenders::{Contender, Running};
use crate::content::Content;
use crate::garage::BUCKET;
use crate::options::Options;
use cm_e2e::measure::Outcome;
use cm_e2e::measure::{Run, Runs, Usage, memory_peak, progress};

use crate::table::{row, table};

/// Keys on a page.
const PAGE: usize = 1000;
/// Length of each object.
const SIZE: usize = 64;
/// Connections that store them.
const CALLERS: usize = 32;

/// Measures and prints the group.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let mut report = table(&format!("listing {} objects, {PAGE} a page, one caller", options.objects));
    let contenders = Contender::all(options).into_iter();
    let listed = |contender: &Contender| {
        matches!(contender, Contender::Native | Contender::Signed | Contender::Garage { fsync: false })
    };
    for contender in contenders.filter(listed) {
        progress(&format!("{}: storing {} objects", contender.name(), options.objects));
        let running = contender.start(options)?;
        let began = Instant::now();
        fill(&running, options.objects)?;
        let filled = began.elapsed().as_secs_f64();
        let mut runs = Runs::default();
        for _ in 0..options.rounds {
            runs.push(list(&running, contender, options.objects)?);
        }
        let keys = runs.median(|run| run.rate) * PAGE as f64;
        report.line(row(contender.name(), &runs, 0, &format!("pages; {keys:.0} keys per s")));
        report.line(format!(
            "  stored over {CALLERS} connections in {filled:.1} s: {:.0} per s",
            options.objects as f64 / filled
        ));
    }
    report.print()
}

fn fill(running: &Running, objects: usize) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            let mut caller = running.caller()?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= objects {
                    return Outcome::Ok(());
                }
                let content = Content { size: SIZE, number: n as u64 };
                let request =
                    caller.prepare(true, format!("folder-{:03}/object-{n:08}", n % 1000), content)?;
                caller.send(&request)?;
            }
        };
        let threads: Vec<_> = (0..CALLERS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a caller panicked")?)
    })
}

fn list(running: &Running, contender: Contender, objects: usize) -> Outcome<Run> {
    let server = running.server().ok_or("the disk lists nothing")?;
    let mut connection = Connection::open(server.address)?;
    let before = (Usage::of(std::process::id()), Usage::of(server.pid));
    let (mut waits, mut found, mut cursor) = (Vec::new(), 0, None);
    let began = Instant::now();
    loop {
        let (keys, next, wait) = page(&mut connection, server, contender, cursor.as_deref())?;
        waits.push(wait);
        found += keys;
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let mut run = Run::of(waits, began.elapsed());
    if found != objects {
        return Err(format!("{}: {found} keys were listed instead of {objects}", contender.name()).into());
    }
    (run.client, run.machine) = Usage::of(std::process::id()).since(before.0);
    (run.server, _) = Usage::of(server.pid).since(before.1);
    run.memory = memory_peak(server.pid);
    Ok(run)
}

/// One page: how many keys, where the next one begins, and how long it took.
fn page(
    connection: &mut Connection,
    server: &Server,
    contender: Contender,
    cursor: Option<&str>,
) -> Outcome<(usize, Option<String>, std::time::Duration)> {
    let (path, query) = match contender {
        Contender::Native => {
            let after = cursor.map(|cursor| format!("&after={cursor}")).unwrap_or_default();
            (format!("/api/v1/buckets/{BUCKET}/objects"), format!("limit={PAGE}{after}"))
        }
        _ => {
            // Parameters in order, as signatures want them.
            let token = cursor.map(|token| format!("continuation-token={}&", escaped(token)));
            (format!("/{BUCKET}"), format!("{}list-type=2&max-keys={PAGE}", token.unwrap_or_default()))
        }
    };
    let head = server.head("GET", &path, &query, None)?;
    let mut answer = Vec::new();
    let asked = Instant::now();
    let answered = connection.ask_with_head(&head, |bytes| answer.extend_from_slice(bytes))?;
    let wait = asked.elapsed();
    let text = String::from_utf8_lossy(&answer);
    Ok(match contender {
        Contender::Native => {
            let keys = serde_json::from_str::<Vec<serde_json::Value>>(&text)?.len();
            (keys, header(&answered, "next-cursor"), wait)
        }
        _ => (text.matches("<Key>").count(), between(&text, "NextContinuationToken"), wait),
    })
}

/// A header of an answer, as it was written.
fn header(head: &str, name: &str) -> Option<String> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

fn between(text: &str, element: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(text, _)| text.to_owned())
}

/// A value of a query, as signatures want it.
fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
