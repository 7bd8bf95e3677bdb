//! What to measure.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::garage;

/// What storing and reading objects costs, beside what it is compared with in the same run.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench objects --")]
pub(crate) struct Options {
    /// Only these groups.
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// A run of a few seconds that shows that everything works; its figures mean little.
    #[arg(long)]
    short: bool,
    /// The sizes of objects that are stored and read.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = size,
        default_value = "4KiB,1MiB,64MiB",
        default_value_if("short", "true", "4KiB,1MiB")
    )]
    pub(crate) sizes: Vec<usize>,
    /// How many connections there are at once.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = count,
        default_value = "1,8,32",
        default_value_if("short", "true", "1,8")
    )]
    pub(crate) connections: Vec<usize>,
    /// How often everything is measured.
    #[arg(long, value_parser = count, default_value = "3", default_value_if("short", "true", "1"))]
    pub(crate) rounds: usize,
    /// How long one run of a round takes at least, in milliseconds.
    #[arg(long = "millis", value_parser = millis, default_value = "1000", default_value_if("short", "true", "200"))]
    pub(crate) window: Duration,
    /// How many small objects are listed.
    #[arg(long, value_parser = count, default_value = "100000", default_value_if("short", "true", "2500"))]
    pub(crate) objects: usize,
    /// The executable of the reference server [default: where cargo installs it, or the search path].
    #[arg(long, value_name = "FILE")]
    pub(crate) garage: Option<PathBuf>,
    /// Leave the reference server out.
    #[arg(long, conflicts_with = "garage")]
    no_garage: bool,
    /// Where everything is stored.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    pub(crate) dir: PathBuf,
    /// What cargo itself adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Objects stored and read.
    Transfers,
    /// All keys of a bucket of small objects listed.
    Listing,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn read() -> Options {
        let mut options = Options::parse();
        options.garage = match options.no_garage {
            true => None,
            false => options.garage.or_else(garage::find),
        };
        options
    }

    /// Whether a group is to be measured.
    pub(crate) fn has(&self, group: Group) -> bool {
        self.groups.is_empty() || self.groups.contains(&group)
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 is too few".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn millis(text: &str) -> Result<Duration, String> {
    count(text).map(|millis| Duration::from_millis(millis as u64))
}

fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = match (text.strip_suffix("KiB"), text.strip_suffix("MiB")) {
        (Some(number), _) => (number, 10),
        (_, Some(number)) => (number, 20),
        _ => (text, 0),
    };
    Ok(count(number)? << unit)
}

/// A size, for people.
pub(crate) fn size_text(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    }
}
