//! How fast chunks are cut into shards and put together: `cargo xtask bench erasure`.
//!
//! Megabytes of chunk per second on one thread, beside what SHA-256 of the same bytes takes, which writing and reading need anyway. Cutting computes
//! the digest of each shard, but not that of the chunk; joining verifies the chunk.

// Tables are what it is for.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use cm_crypto::digest;
use cm_erasure::{Code, Shard};
use cm_placement::Redundancy;

const CHUNK_LEN: usize = 1 << 20;
const MEASURED_FOR: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes: Vec<u8> =
        (0..CHUNK_LEN as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let chunk = digest::sha256(&bytes);
    println!("chunks of {CHUNK_LEN} bytes, MB/s on one thread");
    println!("SHA-256 alone: {:.0}\n", rate(|| digest::sha256(&bytes)));
    println!("| code | cut | join, nothing lost | join, all losses | rebuild one |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (data, parity) in [(2, 1), (3, 2), (4, 2), (8, 3), (10, 4)] {
        let redundancy = Redundancy::erasure(data, parity)?;
        let code = Code::new(redundancy)?;
        let shards = code.encode(chunk, &bytes)?;
        let cut = rate(|| {
            let shards = code.encode(chunk, &bytes).expect("the chunk is short enough");
            shards.iter().map(|shard| shard.encode().len()).sum::<usize>()
        });
        let join =
            |shards: &[Shard]| rate(|| code.decode(&chunk, CHUNK_LEN, shards).expect("enough is left"));
        let whole = join(&shards[..data]);
        let lossy = join(&shards[parity..]);
        let rebuild =
            rate(|| code.rebuild(&chunk, CHUNK_LEN, &shards[1..], 0).expect("one shard is missing"));
        println!("| {redundancy} | {cut:.0} | {whole:.0} | {lossy:.0} | {rebuild:.0} |");
    }
    Ok(())
}

/// Megabytes of chunk per second.
fn rate<T>(work: impl Fn() -> T) -> f64 {
    let begun = Instant::now();
    let mut times = 0;
    while begun.elapsed() < MEASURED_FOR {
        std::hint::black_box(work());
        times += 1;
    }
    f64::from(times) * CHUNK_LEN as f64 / 1e6 / begun.elapsed().as_secs_f64()
}
