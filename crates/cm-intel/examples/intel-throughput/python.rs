//! The same events, taken by the peer in Python that the end-to-end tests have: verified and kept in memory, without the published node's database.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::{Failed, print};

/// Sends everything on one connection, and waits until it is kept. Says so where there is no Python that can verify.
pub(crate) async fn measure(frames: &[Vec<u8>], own: f64) -> Result<(), Failed> {
    let python = std::env::var("CRYPTOMESH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cm-e2e/intel/peer.py");
    let spawned = Command::new(&python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut process) = spawned else {
        print(&format!(
            "Python: `{python}` cannot be run; name one with `cryptography` in CRYPTOMESH_PYTHON"
        ));
        return Ok(());
    };
    let (Some(mut orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
        return Err("the peer's pipes are gone".into());
    };
    let mut answers = BufReader::new(answers);
    let mut ask = |order: &str| -> Result<Option<Value>, Failed> {
        let mut answer = String::new();
        let asked =
            writeln!(orders, "{}", json!({ "do": order })).and_then(|()| answers.read_line(&mut answer));
        Ok(asked.ok().filter(|len| *len > 0).and_then(|_| serde_json::from_str(&answer).ok()))
    };
    let port = ask("count")?.and_then(|state| state["port"].as_u64());
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        print(&format!("Python: `{python}` has no `cryptography`; name one that has in CRYPTOMESH_PYTHON"));
        process.kill()?;
        process.wait()?;
        return Ok(());
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let begun = Instant::now();
    stream.write_all(&frames.concat()).await?;
    while ask("count")?.and_then(|state| state["events"].as_u64()) != Some(frames.len() as u64) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let rate = frames.len() as f64 / begun.elapsed().as_secs_f64();
    print(&format!(
        "taken in by the peer in Python, in memory: {rate:.0} events/s; the node on disk is {:.1} times as fast",
        own / rate
    ));
    process.kill()?;
    process.wait()?;
    Ok(())
}
