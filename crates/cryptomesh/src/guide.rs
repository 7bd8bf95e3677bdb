//! What the guide tells people to type is taken.

use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use crate::Cli;

/// What ends a command on a line of a shell.
const ENDS: [&str; 7] = ["|", "||", "&&", ";", ">", ">>", "<"];

/// The commands in the blocks of a page, each as one line.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(|line| line.trim().trim_start_matches("$ ").to_owned()).collect::<Vec<_>>()
    });
    lines.filter(|line| line.starts_with("cryptomesh ")).collect()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path());
    let pages = guide.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain([root.join("README.md")]).collect()
}

#[test]
fn every_command_of_the_guide_is_one() {
    let (mut count, mut wrong) = (0, Vec::new());
    for path in pages() {
        for line in commands(&std::fs::read_to_string(&path).unwrap()) {
            let words = shlex::split(&line).unwrap_or_else(|| panic!("{}: {line}", path.display()));
            for command in words.split(|word| ENDS.contains(&word.as_str())) {
                // What a page shortens, or has a shell put in, is not to be had from it.
                let is_whole = !command.iter().any(|word| word.contains(['…', '$']));
                if !is_whole || command.first().is_none_or(|word| word != "cryptomesh") {
                    continue;
                }
                count += 1;
                if let Err(error) = Cli::try_parse_from(command)
                    && !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
                {
                    wrong.push(format!("{}: {line}\n{error}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "{count} commands were found");
}
