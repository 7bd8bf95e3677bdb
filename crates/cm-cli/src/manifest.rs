//! `diff`, `apply` and `export`: what files declare, against what a node has.
//!
//! `files` reads and judges the files, `changes` shows what becomes of what they declare, [`export`] goes the other way.

mod changes;
pub mod export;
mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cm_client::manifests::{Applied, DECLARATIONS_MAX, Effect};
use cm_client::{Api, ClientError};

use crate::{Connection, Outcome, UsageError, output};
use files::Files;

/// What is wrong stands in a file.
const EXIT_WRONG: u8 = 2;
/// Something would change.
const EXIT_DIFFERENT: u8 = 1;

/// `cryptomesh diff`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh diff -f mesh.yml
  cryptomesh export | cryptomesh diff --url https://other.example -f -

Exit codes: 0 nothing would change, 1 something would, 2 a file is wrong, others as for every command.")]
pub struct DiffArgs {
    /// A file of declarations; `-` reads standard input. May be repeated.
    #[arg(long = "file", short, value_name = "FILE", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Exit with 0 also when something would change.
    #[arg(long)]
    pub exit_zero: bool,
}

/// `cryptomesh apply`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh apply -f mesh.yml
  cryptomesh apply -f roles.yml services.yml --dry-run

All files are applied in one transaction: all of it or nothing. What they do not declare stays as it is.")]
pub struct ApplyArgs {
    /// A file of declarations; `-` reads standard input. May be repeated.
    #[arg(long = "file", short, value_name = "FILE", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Only show what would change.
    #[arg(long)]
    pub dry_run: bool,
}

/// Shows what would change.
pub async fn diff(args: DiffArgs, connection: &Connection) -> Outcome {
    let Some(files) = files::read(&args.files)? else { return Ok(ExitCode::from(EXIT_WRONG)) };
    files.show_warnings(connection);
    let api = connection.api()?;
    let applied = match send(&files, &api, true).await {
        Ok(applied) => applied,
        Err(error) => return refused(&files, error),
    };
    changes::show(connection, &applied, true);
    mention_roles(connection, &files, &applied, true);
    let same = applied.iter().all(|one| one.effect == Effect::Unchanged);
    Ok(if same || args.exit_zero { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DIFFERENT) })
}

/// Makes it so.
pub async fn apply(args: ApplyArgs, connection: &Connection) -> Outcome {
    let Some(files) = files::read(&args.files)? else { return Ok(ExitCode::from(EXIT_WRONG)) };
    files.show_warnings(connection);
    let api = connection.api()?;
    let applied = match send(&files, &api, args.dry_run).await {
        Ok(applied) => applied,
        Err(error) => return refused(&files, error),
    };
    changes::show(connection, &applied, args.dry_run);
    mention_roles(connection, &files, &applied, args.dry_run);
    Ok(ExitCode::SUCCESS)
}

async fn send(files: &Files, api: &Api, dry_run: bool) -> anyhow::Result<Vec<Applied>> {
    let sent = files.sent();
    if sent.len() > DECLARATIONS_MAX {
        let message =
            format!("{} resources are declared, at most {DECLARATIONS_MAX} are applied at once", sent.len());
        return Err(UsageError(message).into());
    }
    Ok(api.apply(&sent, dry_run).await?)
}

/// Says where in the files the refusal is, if it is about something there.
fn refused(files: &Files, error: anyhow::Error) -> Outcome {
    let Some(ClientError::Refused(refusal)) = error.downcast_ref::<ClientError>() else { return Err(error) };
    let Some(place) = refusal.place() else { return Err(error) };
    if !files.show_refusal(&place) {
        return Err(error);
    }
    output::error("the node refused this; nothing was changed");
    Ok(ExitCode::from(crate::exit_code(&error)))
}

fn mention_roles(connection: &Connection, files: &Files, applied: &[Applied], dry_run: bool) {
    let made = applied.iter().take(files.roles().len()).filter(|role| role.effect == Effect::Created);
    for role in made {
        let done = if dry_run { "would be created" } else { "created" };
        output::note(connection, &format!("role/{} {done} without permissions; nobody has it yet", role.id));
    }
}
