//! How quickly files are sealed and opened, and in how much memory: `files [MEGABYTES]`.
//!
//! A file in the temporary directory is written by one and read by the other, so that the disk's cache is part of what is
//! measured; copying it is measured beside, and the ratio to that is printed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::time::Instant;

use cm_crypto::aes_file::{self, AesKey};
use cm_crypto::seal::{Opener, Sealer};
use cm_crypto::x25519::SecretKey;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: u64 = std::env::args().nth(1).map_or(Ok(1024), |text| text.parse())?;
    let bytes = megabytes * 1_000_000;
    let path = std::env::temp_dir().join(format!("cryptomesh-files-{}", std::process::id()));
    let measured = measure(bytes, &path);
    let _ = std::fs::remove_file(&path);
    measured
}

fn measure(bytes: u64, path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout();
    let copied = timed(bytes, || write(bytes, File::create(path)?))?;
    writeln!(out, "{:<28}{copied:>8.0} MB/s", "writing")?;
    let mut say =
        |what: &str, rate: f64| writeln!(out, "{what:<28}{rate:>8.0} MB/s, {:.2} of writing", rate / copied);

    let secret = SecretKey::generate();
    let sealed = timed(bytes, || {
        let mut sealer = Sealer::new(File::create(path)?, &[secret.public_key().to_recipient()])?;
        io::copy(&mut source(bytes), &mut sealer)?;
        sealer.finish()?;
        Ok(())
    })?;
    say("sealing for a recipient", sealed)?;
    let opened = timed(bytes, || {
        let mut opener = Opener::new(File::open(path)?, &secret.to_recipient())?;
        io::copy(&mut opener, &mut io::sink())?;
        Ok(())
    })?;
    say("opening", opened)?;

    for bits in [128, 256] {
        let key = AesKey::generate(bits).ok_or("a length of keys")?;
        let sealed = timed(bytes, || {
            aes_file::seal(&key, b"", source(bytes), BufWriter::new(File::create(path)?), |_| Ok(()))?;
            Ok(())
        })?;
        say(&format!("sealing, AES-{bits}-GCM file"), sealed)?;
        let opened = timed(bytes, || {
            aes_file::open(&key, b"", File::open(path)?, io::sink(), |_| Ok(()))?;
            Ok(())
        })?;
        say(&format!("opening, AES-{bits}-GCM file"), opened)?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    writeln!(out, "most memory that was held: {}", peak.trim_start_matches("VmHWM:").trim())?;
    Ok(())
}

fn source(bytes: u64) -> impl Read {
    io::repeat(0x5a).take(bytes)
}

fn write(bytes: u64, mut file: File) -> Result<(), Box<dyn std::error::Error>> {
    io::copy(&mut source(bytes), &mut file)?;
    Ok(())
}

/// Megabytes a second.
fn timed(
    bytes: u64,
    work: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<f64, Box<dyn std::error::Error>> {
    let started = Instant::now();
    work()?;
    Ok(bytes as f64 / 1e6 / started.elapsed().as_secs_f64())
}
