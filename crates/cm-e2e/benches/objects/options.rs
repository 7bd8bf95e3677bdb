//! What to measure.

use std::path::PathBuf;
use std::time::Duration;

use cm_e2e::measure::Outcome;

use crate::garage;

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whether to store and read.
    pub(crate) transfers: bool,
    /// How many objects to list; none leaves the group out.
    pub(crate) objects: usize,
    /// The sizes of objects, in bytes.
    pub(crate) sizes: Vec<usize>,
    /// How many connections there are.
    pub(crate) connections: Vec<usize>,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// How long one run takes at least.
    pub(crate) window: Duration,
    /// The executable of the reference server, if there is one.
    pub(crate) garage: Option<PathBuf>,
    /// Where everything is stored.
    pub(crate) dir: PathBuf,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Options> {
        let mut options = Options {
            transfers: false,
            objects: 100_000,
            sizes: vec![4 << 10, 1 << 20, 64 << 20],
            connections: vec![1, 8, 32],
            rounds: 3,
            window: Duration::from_millis(1_000),
            garage: garage::find(),
            dir: std::env::temp_dir(),
        };
        let mut listing = false;
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: expected a value"));
            match word {
                "transfers" => options.transfers = true,
                "listing" => listing = true,
                "--short" => {
                    options.sizes = vec![4 << 10, 1 << 20];
                    options.connections = vec![1, 8];
                    (options.rounds, options.objects) = (1, 2_500);
                    options.window = Duration::from_millis(200);
                }
                "--sizes" => options.sizes = several(value()?, size)?,
                "--connections" => options.connections = several(value()?, count)?,
                "--rounds" => options.rounds = count(value()?)?,
                "--millis" => options.window = Duration::from_millis(count(value()?)? as u64),
                "--objects" => options.objects = value()?.parse()?,
                "--garage" => options.garage = Some(value()?.into()),
                "--no-garage" => options.garage = None,
                "--dir" => options.dir = value()?.into(),
                word => return Err(format!("`{word}` is no option of this benchmark").into()),
            }
        }
        match (options.transfers, listing) {
            (false, false) => options.transfers = true,
            (true, false) => options.objects = 0,
            _ => {}
        }
        Ok(options)
    }
}

fn several(text: &str, one: impl Fn(&str) -> Outcome<usize>) -> Outcome<Vec<usize>> {
    text.split(',').map(one).collect()
}

fn count(text: &str) -> Outcome<usize> {
    let number: usize = text.parse().map_err(|error| format!("{text}: {error}"))?;
    if number == 0 { Err("0 is too few".into()) } else { Ok(number) }
}

fn size(text: &str) -> Outcome<usize> {
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
