//! What to measure.

use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};

use crate::place::Engine;

/// The sizes of catalogues in the group `growth`.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// What the API costs, beside what it is compared with in the same run.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench api --")]
pub(crate) struct Options {
    /// Only these groups, and only these databases.
    #[arg(value_enum)]
    only: Vec<Only>,
    /// The largest catalogue of the group `growth`.
    #[arg(long, value_name = "COUNT", default_value = "1000000", value_parser = RangedU64ValueParser::<u64>::new().range(1_000..))]
    records_max: u64,
    /// How often everything is measured.
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) rounds: usize,
    /// How long one run of a round takes, in milliseconds.
    #[arg(long, value_name = "TIME", default_value = "2000", value_parser = RangedU64ValueParser::<u64>::new().range(100..))]
    millis: u64,
    /// What cargo itself adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of what can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// The comparison with the SQL alone and a bare handler.
    Compare,
    /// Catalogues of different sizes.
    Growth,
    /// The embedded database.
    Sqlite,
    /// The database server.
    Postgres,
}

impl Options {
    /// Whether to compare with the SQL alone and a bare handler.
    pub(crate) fn compare(&self) -> bool {
        self.has(Only::Compare, Only::Growth)
    }

    /// Whether to measure catalogues of different sizes.
    pub(crate) fn growth(&self) -> bool {
        self.has(Only::Growth, Only::Compare)
    }

    /// One of two is measured if it is named, or if the other is not.
    fn has(&self, one: Only, other: Only) -> bool {
        self.only.contains(&one) || !self.only.contains(&other)
    }

    /// The databases.
    pub(crate) fn engines(&self) -> Vec<Engine> {
        let sqlite = self.has(Only::Sqlite, Only::Postgres).then_some(Engine::Sqlite);
        let postgres = self.has(Only::Postgres, Only::Sqlite).then_some(Engine::Postgres);
        sqlite.into_iter().chain(postgres).collect()
    }

    /// The sizes of catalogues.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = u64> {
        SIZES.into_iter().filter(|size| *size <= self.records_max)
    }

    /// How long one run takes.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.millis)
    }
}
