//! How many events a node takes in a second, verified, kept and passed on, on disk and in memory, beside what a core and all cores verify, and beside a
//! peer in Python; how long a hop takes; and how fast shelves are that TAXII serves:
//! `cargo run --release -p cm-intel --example throughput -- [DIRECTORY [EVENTS [OBJECTS]]]`.

mod python;
mod shelves;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cm_crypto::pss::PssSigningKey;
use cm_db::{Db, open_memory};
use cm_intel::{Draft, Identity, Intel, IntelConfig, ThreatEvent, Verifier, sign, store};
use cm_kernel::{Kernel, KernelConfig};
use cm_runtime::{SystemClock, Tasks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const EVENTS: usize = 40_000;
const HOPS: usize = 500;
const KEYS: usize = 20;
/// Events for the peer in Python: as many as it takes in a second or two.
const FOR_PYTHON: usize = 2000;
/// Objects on the shelf, at first and at last.
const OBJECTS: usize = 1_000_000;
const OBJECTS_FIRST: usize = 10_000;

type Failed = Box<dyn std::error::Error>;

fn events(count: usize) -> Result<(Vec<PssSigningKey>, Vec<ThreatEvent>), Failed> {
    let keys = (0..KEYS).map(|_| PssSigningKey::generate()).collect::<Result<Vec<_>, _>>()?;
    let parts = std::thread::available_parallelism()?.get();
    let events = std::thread::scope(|scope| {
        let part = |part: usize| {
            let keys = &keys;
            scope.spawn(move || {
                let own = (0..count).filter(|number| number % parts == part);
                let draft = |number: usize| Draft {
                    source_ip: format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255),
                    threat_type: "port scan".to_owned(),
                    severity: "medium".to_owned(),
                    timestamp: "2026-11-21 10:00:00".to_owned(),
                };
                let signed = own.map(|number| sign(&keys[number % KEYS], draft(number)));
                signed.map(|signed| ThreatEvent::clone(signed.event())).collect::<Vec<_>>()
            })
        };
        let running: Vec<_> = (0..parts).map(part).collect();
        running.into_iter().filter_map(|running| running.join().ok()).flatten().collect()
    });
    Ok((keys, events))
}

fn frames(events: &[ThreatEvent]) -> Vec<Vec<u8>> {
    let now = cm_types::Timestamp::from_micros(0);
    events.iter().filter_map(|event| cm_intel::wire::message::event(event, now)).collect()
}

/// An engine on this database; anchors are not limited.
async fn engine(
    dir: &Path,
    db: Db,
    keys: &[PssSigningKey],
    tasks: &Tasks,
) -> Result<(Intel, TcpStream), Failed> {
    let config = KernelConfig {
        data_dir: dir.to_owned(),
        limits: cm_kernel::catalog::Limits::default(),
        integrity: cm_kernel::catalog::Integrity::Enforced,
        objects: cm_kernel::objects::Config {
            object_bytes_max: 1 << 20,
            ..cm_kernel::objects::Config::default()
        },
        node_name: "bench".to_owned(),
    };
    let kernel = Kernel::open(config, Arc::new(SystemClock), tasks, |_| Ok(())).await?;
    let identity = Identity::new(&Identity::generate(kernel.now())?)?;
    let mut anchors = Vec::new();
    for key in keys {
        anchors.push(cm_intel::KeyId(cm_crypto::pss::PssKey::from_pem(&key.public_pem())?.id()));
    }
    let config =
        IntelConfig { data_dir: dir.to_owned(), own_events: false, anchors, ..IntelConfig::default() };
    let intel = Intel::open_on(db, PssSigningKey::generate()?, kernel, tasks, config, identity).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    intel.serve(Some(listener), None).await?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    // A byte of a frame shows at once which version is spoken.
    let hello = cm_intel::wire::message::hello(&Default::default(), cm_types::Timestamp::from_micros(0));
    stream.write_all(&hello).await?;
    Ok((intel, stream))
}

/// Sends everything on one connection, and waits until it is kept.
async fn ingest(what: &str, intel: &Intel, mut stream: TcpStream, frames: &[Vec<u8>]) -> Result<f64, Failed> {
    let mut head = intel.head();
    let wanted = frames.len() as u64;
    let bytes: Vec<u8> = frames.concat();
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        writer.write_all(&bytes).await?;
        head.wait_for(|head| *head >= wanted).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(())
    };
    let draining = async {
        let mut buffer = [0; 65536];
        while reader.read(&mut buffer).await.is_ok_and(|len| len > 0) {}
    };
    tokio::select! {
        sent = sending => sent?,
        () = draining => return Err("the node closed the connection".into()),
    }
    let rate = frames.len() as f64 / begun.elapsed().as_secs_f64();
    print(&format!("{what}: {rate:.0} events/s"));
    Ok(rate)
}

/// One event at a time, from one connection to another.
async fn hops(
    what: &str,
    mut from: TcpStream,
    to_address: std::net::SocketAddr,
    frames: &[Vec<u8>],
) -> Result<(), Failed> {
    let mut to = TcpStream::connect(to_address).await?;
    let hello = cm_intel::wire::message::hello(&Default::default(), cm_types::Timestamp::from_micros(0));
    to.write_all(&hello).await?;
    // Its greeting shows that it is a link.
    read_frame(&mut to).await?;
    let mut times = Vec::new();
    for frame in frames {
        let begun = Instant::now();
        from.write_all(frame).await?;
        while !read_frame(&mut to).await?.windows(7).any(|part| part == b"\"event\"") {}
        times.push(begun.elapsed());
    }
    print(&format!("{what}: hop {}", percentiles(times)));
    Ok(())
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    let at = |percent| at(percent).copied().unwrap_or_default();
    format!("p50 {:.2?}, p99 {:.2?}", at(50), at(99))
}

/// What all cores verify together.
fn verified_by_all(all: &[ThreatEvent]) -> Result<f64, Failed> {
    let (parts, verifier) = (std::thread::available_parallelism()?.get(), Verifier::default());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for part in all.chunks(all.len().div_ceil(parts)) {
            let verifier = &verifier;
            scope.spawn(move || part.iter().all(|event| verifier.verify(ThreatEvent::clone(event)).is_ok()));
        }
    });
    Ok(all.len() as f64 / begun.elapsed().as_secs_f64())
}

async fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>, Failed> {
    let len = stream.read_u32().await?;
    let mut body = vec![0; len as usize];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

#[allow(clippy::print_stdout, reason = "printing is what this program is for")]
fn print(line: &str) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let place = args.next().map_or_else(std::env::temp_dir, Into::into);
    let count = args.next().map_or(Ok(EVENTS), |text| text.parse())?;
    let objects = args.next().map_or(Ok(OBJECTS), |text| text.parse())?;
    let (keys, all) = events(count + 2 * HOPS)?;
    let verifier = Verifier::default();
    let begun = Instant::now();
    let valid =
        all.iter().take(10_000).filter(|event| verifier.verify(ThreatEvent::clone(event)).is_ok()).count();
    let bare = valid as f64 / begun.elapsed().as_secs_f64();
    print(&format!("bare verification, one core: {bare:.0} events/s"));
    let together = verified_by_all(&all[..10_000.min(all.len())])?;
    print(&format!("bare verification, all cores: {together:.0} events/s"));
    let frames = frames(&all);
    for (what, on_disk) in [("on disk", true), ("in memory", false)] {
        let dir = place.join(format!("intel-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let tasks = Tasks::new();
        let db = if on_disk { store::open(&dir)? } else { open_memory(&store::schema()) };
        let (intel, stream) = engine(&dir, db, &keys, &tasks).await?;
        let address = stream.peer_addr()?;
        let rate = ingest(&format!("taken in {what}"), &intel, stream, &frames[..count]).await?;
        print(&format!(
            "  that is {:.2} of what a core verifies, {:.2} of what all cores do",
            rate / bare,
            rate / together
        ));
        if on_disk {
            python::measure(&frames[..FOR_PYTHON.min(count)], rate).await?;
        }
        let from = TcpStream::connect(address).await?;
        from.set_nodelay(true)?;
        let part = if on_disk { count..count + HOPS } else { count + HOPS..count + 2 * HOPS };
        hops(what, from, address, &frames[part]).await?;
        tasks.drain(Duration::from_secs(10)).await;
        intel.close().await?;
        std::fs::remove_dir_all(&dir)?;
    }
    let dir = place.join(format!("intel-shelf-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let measured = shelves::measure(&dir, &[OBJECTS_FIRST.min(objects), objects]).await;
    std::fs::remove_dir_all(&dir)?;
    measured
}
