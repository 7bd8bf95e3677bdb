//! How long confidential functions take, beside what they are compared with in the same run.
//!
//! `cargo xtask bench functions [-- GROUP...]`; without groups all of them:
//!
//! | group | measures | against |
//! | --- | --- | --- |
//! | [`starts`] | from asking for an instance to the first byte of a result | the same module in bare wasmtime |
//! | [`rate`] | instances per second, from request to removal | one caller alone |
//! | [`provisioning`] | sending files into an instance, and its memory | a plain TLS 1.3 stream into memory |
//! | [`verifications`] | judging recorded evidence, by format | nothing |
//! | [`compute`] | programs that only compute | bare wasmtime, and the same source built natively |
//!
//! The node is the release binary, started as a process of its own on a new data directory. What is compared runs
//! in turns (A B A B), so that a busy machine slows both. A ratio is the median over the rounds of the ratio
//! within a round. Aims are printed with what was found and never asserted: a busy machine is no failure.

mod bare;
mod compute;
mod mesh;
mod plain_tls;
mod provisioning;
mod rate;
mod starts;
mod table;
mod verifications;

use std::process::ExitCode;

use cm_e2e::measure::Outcome;

use mesh::Mesh;

const GROUPS: [&str; 5] = ["starts", "rate", "provisioning", "verifications", "compute"];

fn main() -> ExitCode {
    // cargo itself adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [bare::PROCESS, artefact] => bare::process(artefact.as_ref()),
        [plain_tls::RECEIVER] => plain_tls::receive(),
        _ => match words.iter().find(|word| !GROUPS.contains(word)) {
            Some(unknown) => Err(format!("no group `{unknown}`; there are: {}", GROUPS.join(", ")).into()),
            None => measure(if words.is_empty() { &GROUPS } else { &words }),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(groups: &[&str]) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mesh = Mesh::start(0).await?;
        for group in groups {
            match *group {
                "starts" => starts::measure(&mesh).await?,
                "rate" => rate::measure(&mesh).await?,
                "provisioning" => provisioning::measure(&mesh).await?,
                "verifications" => verifications::measure()?,
                _ => compute::measure(&mesh).await?,
            }
        }
        mesh.stop();
        Ok(())
    })
}
