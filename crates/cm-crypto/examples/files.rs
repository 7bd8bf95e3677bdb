//! How quickly files are sealed and opened, and in how much memory: `files [--megabytes N]`, 256 unless told.
//!
//! A file in the temporary directory is written by one and read by the other, so that the disk's cache is part of what is
//! measured; copying it is measured beside, and the ratio to that is printed. The memory is the most that the process held during
//! that very step, where the system lets it forget what it held before. There is one file at a time, as long as N says.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use cm_crypto::aes_file::{self, AesKey};
use cm_crypto::seal::{Opener, Sealer};
use cm_crypto::x25519::SecretKey;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How long the file is unless told, in millions of bytes.
const MEGABYTES: u64 = 256;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let megabytes: u64 = match arguments.as_slice() {
        [] => MEGABYTES,
        [word, number] if word == "--megabytes" => number.parse()?,
        _ => return Err("expected nothing, or `--megabytes N`".into()),
    };
    let bytes = megabytes * 1_000_000;
    let path = std::env::temp_dir().join(format!("cryptomesh-files-{}", std::process::id()));
    let measured = measure(bytes, &path);
    let _ = std::fs::remove_file(&path);
    measured
}

fn measure(bytes: u64, path: &Path) -> Outcome<()> {
    writeln!(io::stdout(), "a file of {bytes} bytes; load average {}", load())?;
    let copied = timed(bytes, || write(bytes, File::create(path)?))?;
    say("writing", copied, copied)?;

    let secret = SecretKey::generate();
    let sealed = timed(bytes, || {
        let mut sealer = Sealer::new(File::create(path)?, &[secret.public_key().to_recipient()])?;
        io::copy(&mut source(bytes), &mut sealer)?;
        sealer.finish()?;
        Ok(())
    })?;
    say("sealing for a recipient", sealed, copied)?;
    let opened = timed(bytes, || {
        let mut opener = Opener::new(File::open(path)?, &secret.to_recipient())?;
        expect_all(bytes, io::copy(&mut opener, &mut io::sink())?)
    })?;
    say("opening", opened, copied)?;

    for bits in [128, 256] {
        let key = AesKey::generate(bits).ok_or("a length of keys")?;
        earlier(bytes, path, copied, &format!("AES-{bits}-GCM file"), &key)?;
    }
    let shared = secret.agree_raw(&SecretKey::generate().public_key())?;
    earlier(bytes, path, copied, "file of an X25519 exchange", &AesKey::from_bytes(shared.expose())?)?;
    writeln!(io::stdout(), "load average {}", load())?;
    Ok(())
}

/// A file of the earlier library, under this key.
fn earlier(bytes: u64, path: &Path, copied: f64, what: &str, key: &AesKey) -> Outcome<()> {
    let sealed = timed(bytes, || {
        aes_file::seal(key, b"", source(bytes), BufWriter::new(File::create(path)?), |_| Ok(()))?;
        Ok(())
    })?;
    say(&format!("sealing, {what}"), sealed, copied)?;
    let opened = timed(bytes, || {
        let mut count = Count(0);
        aes_file::open(key, b"", File::open(path)?, &mut count, |_| Ok(()))?;
        expect_all(bytes, count.0)
    })?;
    say(&format!("opening, {what}"), opened, copied)
}

/// Counts what is written to it.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn expect_all(bytes: u64, opened: u64) -> Outcome<()> {
    match opened == bytes {
        true => Ok(()),
        false => Err(format!("{opened} of {bytes} bytes came out").into()),
    }
}

fn source(bytes: u64) -> impl Read {
    io::repeat(0x5a).take(bytes)
}

fn write(bytes: u64, mut file: File) -> Outcome<()> {
    io::copy(&mut source(bytes), &mut file)?;
    Ok(())
}

/// Megabytes a second.
fn timed(bytes: u64, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    // The fifth command of clear_refs, proc(5): forget the most that was held. Without it, what is told is of all steps so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let started = Instant::now();
    work()?;
    Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}

fn say(what: &str, rate: f64, copied: f64) -> Outcome<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim();
    let ratio = rate / copied;
    writeln!(io::stdout(), "{what:<38}{rate:>8.0} MB/s, {ratio:.2} of writing; {peak} held at most")?;
    Ok(())
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split(' ')
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}
