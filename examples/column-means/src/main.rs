//! The means of every table in `/input/`, written to `/output/` under the same names, and a line per table to standard
//! output. Arguments choose tables by name.

use std::process::ExitCode;

fn run(wanted: &[String]) -> std::io::Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/input")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names.iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        let table = std::fs::read_to_string(format!("/input/{name}"))?;
        let means = column_means::means(&table);
        std::fs::write(format!("/output/{name}"), &means)?;
        println!("{name}: {} columns", means.lines().count());
    }
    Ok(())
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
