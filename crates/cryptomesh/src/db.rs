//! `cryptomesh db`: the catalogue's database as a whole, without a node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use cm_cli::{Connection, Format, Outcome, output};
use cm_node::{Config, Overrides, database};
use serde_json::json;

/// `cryptomesh db`
#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Bring the data to this program's version, as starting a node does.
    ///
    /// Older nodes on the same PostgreSQL database go on working. Once none of them is left, `--finish` says so; from
    /// then on they are refused, and newer programs may rely on it.
    Migrate {
        #[command(flatten)]
        settings: Settings,
        /// No node older than this program will run again.
        #[arg(long)]
        finish: bool,
    },
    /// Write all tables, as of one moment, to a file. Nodes go on meanwhile.
    ///
    /// The file restores into SQLite as well as PostgreSQL. It holds secrets, though only hashed ones, and gets mode 0600. The keys
    /// and the contents of objects are not in it: they are files of the data directory (`keys`, `objects`).
    Backup {
        #[command(flatten)]
        settings: Settings,
        /// Where to; an existing file is replaced once the new one is whole.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Fill an empty database from a backup. Nothing is changed unless the backup is whole.
    ///
    /// The nodes that serve the restored catalogue need the folder `keys` of a node that wrote it.
    Restore {
        #[command(flatten)]
        settings: Settings,
        /// What `cryptomesh db backup` wrote.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Which database: that of the data directory, or the one that `database.url` names.
#[derive(Args)]
pub(crate) struct Settings {
    /// The node's configuration file in TOML.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Set one key of the configuration, such as `database.url`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    fn gather(self, data_dir: Option<PathBuf>) -> anyhow::Result<Config> {
        let overrides = Overrides { data_dir, file: self.config, set: self.set, open: false };
        Ok(Config::gather(overrides, crate::up::variables())?)
    }
}

/// Runs the command. `data_dir` is that of the flag, if it was given.
pub(crate) async fn run(command: DbCommand, data_dir: Option<PathBuf>, connection: &Connection) -> Outcome {
    match command {
        DbCommand::Migrate { settings, finish } => {
            let (before, after) = database::migrate(&settings.gather(data_dir)?, finish).await?;
            let versions = |versions: cm_node::Versions| json!({ "version": versions.data, "compatible_from": versions.compatible_from });
            if connection.output == Format::Json {
                output::line(&json!({ "before": versions(before), "after": versions(after) }).to_string());
            } else {
                let old =
                    if before.data == 0 { "empty".to_owned() } else { format!("version {}", before.data) };
                output::line(&format!(
                    "version {} (was {old}), for programs from version {}",
                    after.data, after.compatible_from
                ));
            }
        }
        DbCommand::Backup { settings, file } => {
            let summary = database::backup(&settings.gather(data_dir)?, &file).await?;
            report(connection, "written", &file, &summary);
        }
        DbCommand::Restore { settings, file } => {
            let summary = database::restore(&settings.gather(data_dir)?, &file).await?;
            report(connection, "restored", &file, &summary);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report(connection: &Connection, done: &str, file: &std::path::Path, summary: &cm_node::BackupSummary) {
    let (tables, rows, version) = (summary.tables, summary.rows, summary.versions.data);
    if connection.output == Format::Json {
        let report = json!({ "file": file, "tables": tables, "rows": rows, "version": version });
        output::line(&report.to_string());
    } else {
        let file = file.display();
        output::line(&format!("{file}: {done}, {rows} rows of {tables} tables, data of version {version}"));
    }
}
