//! What the node's operator finds: everything on disk and in the log is searched for the data and the result.

use std::path::Path;

use anyhow::{Context, ensure};

use super::Narrator;
use super::dataset::Points;
use super::mesh::Mesh;
use super::story::Ending;

/// Searches the node's directory and log while the node and the instance still run. Also shows that the search
/// finds what is there: it is run over a file that holds the plaintext.
pub(super) async fn search(
    mesh: &Mesh,
    data: &Points,
    ending: &Ending,
    narrator: &mut Narrator<'_>,
) -> anyhow::Result<()> {
    narrator.chapter("The node's operator looks for plaintext");
    let mut traces = data.traces();
    traces.push(ending.result.clone());
    traces.push(format!("{}", ending.slope).into_bytes());
    let control = tempfile::tempdir()?;
    std::fs::write(control.path().join("plain"), data.encode())?;
    std::fs::write(control.path().join("result"), &ending.result)?;
    let found = hits(control.path(), &traces)?;
    ensure!(found.files == 2 && found.hits >= 2, "the search does not find plaintext that is there");
    narrator.step(&format!("the search works: it finds {} traces in a copy of the plaintext", found.hits));

    let found = hits(mesh.root(), &traces)?;
    ensure!(found.hits == 0, "plaintext found in {:?}", found.first);
    narrator.step(&format!(
        "nothing found: {} files, {} bytes of data directory and log, {} traces of data and result",
        found.files,
        found.bytes,
        traces.len()
    ));
    if let Some(pid) = ending.pid_of_node {
        let environment =
            std::fs::read(format!("/proc/{pid}/environ")).context("cannot read the node's environment")?;
        ensure!(count(&environment, &traces) == 0, "plaintext found in the node's environment");
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    files: usize,
    bytes: u64,
    hits: usize,
    first: Option<std::path::PathBuf>,
}

fn hits(dir: &Path, traces: &[Vec<u8>]) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // A file may go while the node works, as a write-ahead log does.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let here = count(&bytes, traces);
            found.files += 1;
            found.bytes += bytes.len() as u64;
            found.hits += here;
            if here > 0 {
                found.first.get_or_insert(path);
            }
        }
    }
    Ok(found)
}

fn count(bytes: &[u8], traces: &[Vec<u8>]) -> usize {
    let mut by_first: [Vec<&[u8]>; 256] = [const { Vec::new() }; 256];
    for trace in traces.iter().filter(|trace| trace.len() >= 8) {
        by_first[usize::from(trace[0])].push(trace);
    }
    (0..bytes.len())
        .map(|at| {
            by_first[usize::from(bytes[at])].iter().filter(|trace| bytes[at..].starts_with(trace)).count()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_counted() {
        let traces = vec![b"abcdefgh".to_vec(), b"bcdefghi".to_vec(), b"short".to_vec()];
        assert_eq!(count(b"xxabcdefghixxabcdefgh short", &traces), 3);
        assert_eq!(count(b"abcdefg", &traces), 0);
    }
}
