//! What to measure.

use std::time::Duration;

use crate::place::Engine;
use cm_e2e::measure::Outcome;

/// The sizes of catalogues in the group `growth`.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    /// Whether to compare with the SQL alone and a bare handler.
    pub(crate) compare: bool,
    /// Whether to measure catalogues of different sizes.
    pub(crate) growth: bool,
    /// The databases.
    pub(crate) engines: Vec<Engine>,
    /// The sizes of catalogues.
    pub(crate) sizes: Vec<u64>,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// How long one run takes.
    pub(crate) window: Duration,
}

impl Options {
    /// Reads the command line.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Options> {
        let (mut compare, mut growth) = (false, false);
        let mut engines = Vec::new();
        let (mut records_max, mut rounds, mut millis) = (1_000_000, 5, 2_000);
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut number = || -> Outcome<u64> {
                let text = words.next().ok_or_else(|| format!("{word}: expected a number"))?;
                Ok(text.parse().map_err(|error| format!("{word} {text}: {error}"))?)
            };
            match word {
                "compare" => compare = true,
                "growth" => growth = true,
                "sqlite" => engines.push(Engine::Sqlite),
                "postgres" => engines.push(Engine::Postgres),
                "--records-max" => records_max = number()?,
                "--rounds" => rounds = usize::try_from(number()?)?.max(1),
                "--millis" => millis = number()?.max(100),
                word => return Err(format!("`{word}` is no option of this benchmark").into()),
            }
        }
        if !compare && !growth {
            (compare, growth) = (true, true);
        }
        if engines.is_empty() {
            engines = vec![Engine::Sqlite, Engine::Postgres];
        }
        let sizes = SIZES.into_iter().filter(|size| *size <= records_max.max(SIZES[0])).collect();
        Ok(Options { compare, growth, engines, sizes, rounds, window: Duration::from_millis(millis) })
    }
}
